#include "golden_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/sum_order.h"
#include "../model/json.h"

/* A missing one reads as the text "null", which no reader below takes for what it needs. */
static const char *attribute(const qp_golden *golden, const char *name)
{
    const char *value = qp_golden_attribute(golden, name);
    return value ? value : "null";
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
        char here[QP_SHA256_TEXT];
        status = qp_json_as_string(n, &captured);
        if (status != QP_OK) break;
        const qp_checkpoint_tensor *tensor = name ? qp_checkpoint_find(model->checkpoint, name) : NULL;
        if (!tensor) {
            status =
                qp_fail(QP_FORMAT, "the golden was captured from another model: it had a weight %s, this one has not",
                        name ? name : "without a name");
            break;
        }
        status = qp_checkpoint_sha256(tensor, here);
        if (status == QP_OK && strcmp(here, captured) != 0)
            status = qp_fail(QP_FORMAT,
                             "the golden was captured from another model: the weight %s differs (SHA-256 %.12s "
                             "in the golden, %.12s here)",
                             name, captured, here);
    }
    for (int64_t i = 0; i < qp_checkpoint_count(model->checkpoint) && status == QP_OK; i++) {
        const char *name = qp_checkpoint_at(model->checkpoint, i)->name;
        const bool unused = model->config.tie_word_embeddings && !strcmp(name, "lm_head.weight");
        if (!unused && !qp_json_find(qp_json_root(json), name).item)
            status = qp_fail(QP_FORMAT, "the golden holds no hash of the weight %s; capture it again", name);
    }
    qp_json_free(json);
    return status;
}

/* Every prompt that the capture set out to write is there, and no other. (Its phases: qp_golden_open.) */
static qp_status require_prompts(const qp_golden *golden)
{
    const char *text = attribute(golden, "prompts");
    qp_json *json = NULL;
    int prompts = 0;
    QP_TRY(qp_json_parse(text, (int64_t)strlen(text), "the golden's attribute prompts", &json));
    qp_status status = QP_OK;
    for (qp_json_node n = qp_json_first(qp_json_root(json)); n.item && status == QP_OK; n = qp_json_next(n)) {
        const char *name = NULL;
        bool found = false;
        status = qp_json_as_string(n, &name);
        for (int i = 0; status == QP_OK && i < qp_golden_phase_count(golden); i++)
            found = found || !strcmp(qp_golden_phase_at(golden, i)->prompt, name);
        if (status == QP_OK && !found)
            status = qp_fail(QP_FORMAT, "the golden lacks the prompt '%s' that it names; capture it again", name);
    }
    for (int i = 0; i < qp_golden_phase_count(golden); i++) prompts += qp_golden_phase_at(golden, i)->past == 0;
    if (status == QP_OK && prompts != qp_json_count(qp_json_root(json)))
        status = qp_fail(QP_FORMAT, "the golden holds %d prompts and names %lld; capture it again", prompts,
                         (long long)qp_json_count(qp_json_root(json)));
    qp_json_free(json);
    return status;
}

qp_status qp_golden_require_model(const qp_golden *golden, const qp_model *model)
{
    const char *attention = attribute(golden, "attn_implementation"), *dtype = attribute(golden, "dtype");
    if (strcmp(attention, "eager") != 0)
        return qp_fail(QP_UNSUPPORTED,
                       "the golden was captured with attn_implementation '%s', whose orders are another "
                       "contract; capture it with 'eager'",
                       attention);
    if (strcmp(dtype, "bf16") != 0)
        return qp_fail(QP_UNSUPPORTED, "the golden was captured in '%s', not in bf16", dtype);
    QP_TRY(require_prompts(golden));
    QP_TRY(require_config(golden, model));
    return require_weights(golden, model);
}

/* Reads one entry of a table into a place of its array. */
typedef qp_status (*read_entry)(qp_json_node entry, void *place);

static qp_status read_split(qp_json_node entry, void *place)
{
    qp_split *split = place;
    int64_t parts = 0, length = 0;
    QP_TRY(qp_json_get_int64(entry, "m", &split->m));
    QP_TRY(qp_json_get_int64(entry, "n", &split->n));
    QP_TRY(qp_json_get_int64(entry, "k", &split->k));
    QP_TRY(qp_json_get_int64_or(entry, "parts", 0, &parts)); /* null: no division explains what was seen */
    QP_TRY(qp_json_get_int64_or(entry, "length", split->k, &length));
    if (parts > 1 && (length < 16 || length % 16))
        return qp_fail(QP_FORMAT, "the golden's split_k has parts of %lld elements, not a multiple of 16",
                       (long long)length);
    split->part = parts > 1 ? length : 0;
    split->unknown = parts == 0;
    return QP_OK;
}

static qp_status read_order(qp_json_node entry, void *place)
{
    qp_order *order = place;
    const char *product = NULL;
    const char *fold = NULL;
    int64_t lanes = 0, run = 0, block = 0;
    QP_TRY(qp_json_get_string(entry, "product", &product));
    QP_TRY(qp_json_get_int64(entry, "t", &order->tokens));
    QP_TRY(qp_json_get_int64(entry, "s", &order->keys));
    QP_TRY(qp_json_get_int64_or(entry, "lanes", -1, &lanes)); /* null or missing: the order was not found */
    QP_TRY(qp_json_get_int64_or(entry, "run", -1, &run));
    QP_TRY(qp_json_get_string_or(entry, "fold", "halves", &fold));
    QP_TRY(qp_json_get_int64_or(entry, "block", QP_BLOCK_K, &block));
    order->product = qp_operation_find(product);
    if (!order->product || (strcmp(product, "scores") != 0 && strcmp(product, "context") != 0))
        return qp_fail(QP_FORMAT, "the golden's attention_products names a product '%s'", product);
    order->unknown = lanes < 0;
    order->order.lanes = lanes <= INT32_MAX ? (int)lanes : -1;
    order->order.run = run <= INT32_MAX ? (int)run : -1;
    order->order.fold = strcmp(fold, "in turn") ? QP_FOLD_HALVES : QP_FOLD_IN_TURN;
    order->order.narrow = block == QP_BLOCK_K / 2;
    if (!order->unknown &&
        ((block != QP_BLOCK_K && !order->order.narrow) ||
         (order->order.fold == QP_FOLD_HALVES && strcmp(fold, "halves") != 0) || !qp_sum_order_is_known(order->order)))
        return qp_fail(QP_FORMAT,
                       "the golden's attention_products has an order of %lld lanes in runs of %lld, folded %s, in "
                       "blocks of %lld",
                       (long long)lanes, (long long)run, fold, (long long)block);
    return QP_OK;
}

/* Reads the table in the attribute `name` into a new array of entries of `size` bytes. */
static qp_status read_table(const qp_golden *golden, const char *name, size_t size, read_entry read, void **array,
                            int *count)
{
    const char *text = attribute(golden, name);
    char origin[64];
    qp_json *json = NULL;
    (void)snprintf(origin, sizeof origin, "the golden's %s", name);
    QP_TRY(qp_json_parse(text, (int64_t)strlen(text), origin, &json));
    qp_status status = QP_OK;
    if (qp_json_kind_of(qp_json_root(json)) != QP_JSON_ARRAY) status = qp_fail(QP_FORMAT, "%s is no list", origin);
    *array = calloc((size_t)qp_json_count(qp_json_root(json)) + 1, size);
    if (status == QP_OK && !*array) status = qp_fail(QP_NO_MEMORY, "no memory for %s", origin);
    for (qp_json_node n = qp_json_first(qp_json_root(json)); n.item && status == QP_OK; n = qp_json_next(n)) {
        status = read(n, (char *)*array + (size_t)*count * size);
        ++*count;
    }
    qp_json_free(json);
    return status;
}

qp_status qp_golden_choices(const qp_golden *golden, qp_cublas_choices *choices)
{
    void *splits = NULL, *orders = NULL;
    memset(choices, 0, sizeof *choices);
    qp_status status = read_table(golden, "split_k", sizeof(qp_split), read_split, &splits, &choices->split_count);
    if (status == QP_OK)
        status = read_table(golden, "attention_products", sizeof(qp_order), read_order, &orders, &choices->order_count);
    choices->splits = splits;
    choices->orders = orders;
    if (status != QP_OK) qp_cublas_choices_close(choices);
    return status;
}
