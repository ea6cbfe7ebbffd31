#include "golden_model.h"

#include <stdlib.h>
#include <string.h>

#include "../model/json.h"

static const char *attribute(const qp_golden *golden, const char *name)
{
    const char *value = qp_golden_attribute(golden, name);
    return value ? value : "";
}

static qp_status require_config(const qp_golden *golden, const qp_model *model)
{
    qp_config captured;
    QP_TRY(qp_config_from_json_text(attribute(golden, "model_config"), "the golden's model_config", &captured));
    const char *field = qp_config_difference(&captured, &model->config);
    return field ? qp_fail(QP_FORMAT, "the golden was captured from another model: its %s differs", field) : QP_OK;
}

static qp_status require_weights(const qp_golden *golden, const qp_model *model)
{
    const char *text = qp_golden_weights_sha256(golden);
    qp_json *json = NULL;
    QP_TRY(qp_json_parse(text, (int64_t)strlen(text), "the golden's weights_sha256", &json));
    qp_status status = qp_json_count(qp_json_root(json)) > 0
                           ? QP_OK
                           : qp_fail(QP_FORMAT, "the golden's weights_sha256 names no weight; capture it again");
    for (qp_json_node n = qp_json_first(qp_json_root(json)); n.item && status == QP_OK; n = qp_json_next(n)) {
        const char *name = qp_json_key(n), *captured = NULL;
        char here[65];
        status = qp_json_as_string(n, &captured);
        if (status != QP_OK) break;
        const qp_checkpoint_tensor *tensor = name ? qp_checkpoint_find(model->checkpoint, name) : NULL;
        if (!tensor) {
            status = qp_fail(QP_FORMAT, "the golden was captured from another model: it had a weight %s, this one has not",
                             name ? name : "without a name");
            break;
        }
        status = qp_checkpoint_sha256(tensor, here);
        if (status == QP_OK && strcmp(here, captured) != 0)
            status = qp_fail(QP_FORMAT, "the golden was captured from another model: the weight %s differs (SHA-256 %.12s "
                             "in the golden, %.12s here)", name, captured, here);
    }
    qp_json_free(json);
    return status;
}

qp_status qp_golden_require_model(const qp_golden *golden, const qp_model *model)
{
    const char *attention = attribute(golden, "attn_implementation"), *dtype = attribute(golden, "dtype");
    if (strcmp(attention, "eager") != 0)
        return qp_fail(QP_UNSUPPORTED, "the golden was captured with attn_implementation '%s', whose orders are another "
                       "contract; capture it with 'eager'", attention);
    if (strcmp(dtype, "bf16") != 0) return qp_fail(QP_UNSUPPORTED, "the golden was captured in '%s', not in bf16", dtype);
    QP_TRY(require_config(golden, model));
    return require_weights(golden, model);
}

qp_status qp_golden_splits(const qp_golden *golden, qp_split **splits, int *count)
{
    const char *text = attribute(golden, "split_k");
    qp_json *json = NULL;
    *splits = NULL;
    *count = 0;
    QP_TRY(qp_json_parse(text, (int64_t)strlen(text), "the golden's split_k", &json));
    const int64_t entries = qp_json_count(qp_json_root(json));
    qp_status status = QP_OK;
    *splits = malloc((size_t)(entries ? entries : 1) * sizeof **splits);
    if (!*splits) status = qp_fail(QP_NO_MEMORY, "no memory for %lld split shapes", (long long)entries);
    for (qp_json_node n = qp_json_first(qp_json_root(json)); n.item && status == QP_OK; n = qp_json_next(n)) {
        int64_t m = 0, n_out = 0, k = 0, parts = 0;
        status = qp_json_get_int64(n, "m", &m);
        if (status == QP_OK) status = qp_json_get_int64(n, "n", &n_out);
        if (status == QP_OK) status = qp_json_get_int64(n, "k", &k);
        if (status == QP_OK) status = qp_json_get_int64_or(n, "parts", 1, &parts); /* null: none was found */
        if (status == QP_OK && (parts < 1 || parts > 1024))
            status = qp_fail(QP_FORMAT, "the golden's split_k has a shape of %lld parts", (long long)parts);
        if (status == QP_OK) (*splits)[(*count)++] = (qp_split){ m, n_out, k, (int)parts };
    }
    qp_json_free(json);
    if (status != QP_OK) {
        free(*splits);
        *splits = NULL;
        *count = 0;
    }
    return status;
}
