#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Far beyond any Qwen3, and small enough that the product of any two sizes fits in 48 bits. */
enum { MAX_SIZE = 1 << 24, MAX_LAYERS = 1024 };

static const struct size_field {
    const char *name;
    size_t offset;
    int64_t max;
} size_fields[] = {
    { "hidden_size", offsetof(qp_config, hidden_size), MAX_SIZE },
    { "intermediate_size", offsetof(qp_config, intermediate_size), MAX_SIZE },
    { "num_hidden_layers", offsetof(qp_config, num_hidden_layers), MAX_LAYERS },
    { "num_attention_heads", offsetof(qp_config, num_attention_heads), MAX_SIZE },
    { "num_key_value_heads", offsetof(qp_config, num_key_value_heads), MAX_SIZE },
    { "head_dim", offsetof(qp_config, head_dim), MAX_SIZE },
    { "vocab_size", offsetof(qp_config, vocab_size), MAX_SIZE },
    { "max_position_embeddings", offsetof(qp_config, max_position_embeddings), MAX_SIZE },
};
enum { SIZE_FIELDS = sizeof size_fields / sizeof size_fields[0] };

static int64_t size_of(const qp_config *config, int field)
{
    int64_t value;
    memcpy(&value, (const char *)config + size_fields[field].offset, sizeof value);
    return value;
}

static qp_status read_sizes(qp_json_node root, const char *origin, qp_config *config)
{
    for (int i = 0; i < SIZE_FIELDS; i++) {
        const struct size_field *const field = &size_fields[i];
        int64_t value;
        if (strcmp(field->name, "head_dim") == 0) {
            QP_TRY(qp_json_get_int64_or(root, field->name, 128, &value)); /* the default of Qwen3Config */
        } else {
            QP_TRY(qp_json_get_int64(root, field->name, &value));
        }
        if (value < 1 || value > field->max)
            return qp_fail(QP_FORMAT, "%s in %s is %" PRId64 ", but must be between 1 and %" PRId64, field->name,
                           origin, value, field->max);
        memcpy((char *)config + field->offset, &value, sizeof value);
    }
    if (config->num_attention_heads % config->num_key_value_heads != 0)
        return qp_fail(QP_FORMAT,
                       "num_attention_heads %" PRId64 " in %s is not a multiple of num_key_value_heads %" PRId64,
                       config->num_attention_heads, origin, config->num_key_value_heads);
    if (config->head_dim % 2 != 0)
        return qp_fail(QP_FORMAT, "head_dim %" PRId64 " in %s is odd, but rotary embedding works on pairs",
                       config->head_dim, origin);
    return QP_OK;
}

/* Refuses a rope that is more than theta. Both spellings occur: rope_scaling, and rope_parameters of newer files. */
static qp_status check_rope(qp_json_node rope, const char *name, const char *origin)
{
    const qp_json_kind kind = qp_json_kind_of(rope);
    if (kind <= QP_JSON_NULL) return QP_OK;
    if (kind != QP_JSON_OBJECT) return qp_fail(QP_FORMAT, "%s in %s is neither null nor an object", name, origin);
    const char *type;
    double share;
    QP_TRY(qp_json_get_string_or(rope, "type", "default", &type));
    QP_TRY(qp_json_get_string_or(rope, "rope_type", type, &type));
    if (strcmp(type, "default") != 0)
        return qp_fail(QP_UNSUPPORTED, "%s in %s asks for rope type \"%.64s\", but only \"default\" is supported", name,
                       origin, type);
    QP_TRY(qp_json_get_double_or(rope, "partial_rotary_factor", 1.0, &share));
    if (share != 1.0)
        return qp_fail(QP_UNSUPPORTED, "partial_rotary_factor in %s is %g, but only 1 is supported", origin, share);
    return QP_OK;
}

static qp_status read_rope(qp_json_node root, const char *origin, qp_config *config)
{
    const qp_json_node parameters = qp_json_find(root, "rope_parameters");
    QP_TRY(check_rope(qp_json_find(root, "rope_scaling"), "rope_scaling", origin));
    QP_TRY(check_rope(parameters, "rope_parameters", origin));
    if (qp_json_kind_of(qp_json_find(parameters, "rope_theta")) > QP_JSON_NULL)
        QP_TRY(qp_json_get_double(parameters, "rope_theta", &config->rope_theta));
    else
        QP_TRY(qp_json_get_double(root, "rope_theta", &config->rope_theta));
    if (!(config->rope_theta >= 1.0 && config->rope_theta <= 1e15))
        return qp_fail(QP_FORMAT, "rope_theta in %s is %g, but must be between 1 and 1e15", origin, config->rope_theta);
    return QP_OK;
}

/* Refuses every other model, and every switch that would need other arithmetic. */
static qp_status check_kind(qp_json_node root, const char *origin, qp_config *config)
{
    const char *type, *activation, *dtype;
    QP_TRY(qp_json_get_string(root, "model_type", &type));
    if (strcmp(type, "qwen3") != 0)
        return qp_fail(QP_UNSUPPORTED, "model_type in %s is \"%.64s\", but only \"qwen3\" is supported", origin, type);

    static const char *const must_be_off[] = { "attention_bias", "mlp_bias", "use_sliding_window" };
    for (size_t i = 0; i < sizeof must_be_off / sizeof must_be_off[0]; i++) {
        bool on;
        QP_TRY(qp_json_get_bool_or(root, must_be_off[i], false, &on));
        if (on) return qp_fail(QP_UNSUPPORTED, "%s in %s is true, which is not supported", must_be_off[i], origin);
    }
    const qp_json_node layers = qp_json_find(root, "layer_types");
    if (qp_json_kind_of(layers) > QP_JSON_NULL && qp_json_kind_of(layers) != QP_JSON_ARRAY)
        return qp_fail(QP_FORMAT, "layer_types in %s is neither null nor a list", origin);
    for (qp_json_node n = qp_json_first(layers); n.item != NULL; n = qp_json_next(n)) {
        const char *layer;
        QP_TRY(qp_json_as_string(n, &layer));
        if (strcmp(layer, "full_attention") != 0)
            return qp_fail(QP_UNSUPPORTED, "layer_types in %s names \"%.64s\", but only full_attention is supported",
                           origin, layer);
    }
    if (qp_json_kind_of(qp_json_find(root, "quantization_config")) > QP_JSON_NULL)
        return qp_fail(QP_UNSUPPORTED, "%s is of a quantized model, but only bf16 weights are supported", origin);
    QP_TRY(qp_json_get_string_or(root, "hidden_act", "silu", &activation));
    if (strcmp(activation, "silu") != 0)
        return qp_fail(QP_UNSUPPORTED, "hidden_act in %s is \"%.64s\", but only \"silu\" is supported", origin,
                       activation);
    /* "dtype" since transformers 4.56, "torch_dtype" before. Without either, the weights' own types decide. */
    QP_TRY(qp_json_get_string_or(root, "torch_dtype", "bfloat16", &dtype));
    QP_TRY(qp_json_get_string_or(root, "dtype", dtype, &dtype));
    if (strncmp(dtype, "torch.", 6) == 0) dtype += 6;
    if (strcmp(dtype, "bfloat16") != 0)
        return qp_fail(QP_UNSUPPORTED, "dtype in %s is \"%.64s\", but only \"bfloat16\" is supported", origin, dtype);
    (void)snprintf(config->dtype, sizeof config->dtype, "%s", dtype);
    return QP_OK;
}

static qp_status add_eos(qp_json_node node, const char *origin, qp_config *config)
{
    int64_t id;
    QP_TRY(qp_json_as_int64(node, &id));
    if (id < 0 || id >= config->vocab_size)
        return qp_fail(QP_FORMAT, "eos_token_id in %s is %" PRId64 ", but the vocabulary has %" PRId64 " tokens",
                       origin, id, config->vocab_size);
    if (config->eos_count == QP_CONFIG_MAX_EOS)
        return qp_fail(QP_UNSUPPORTED, "eos_token_id in %s lists more than %d tokens", origin, QP_CONFIG_MAX_EOS);
    config->eos_ids[config->eos_count++] = id;
    return QP_OK;
}

/* What the file says replaces what was known; what it does not say stays. */
static qp_status read_ids(qp_json_node root, const char *origin, qp_config *config)
{
    QP_TRY(qp_json_get_int64_or(root, "bos_token_id", config->bos_id, &config->bos_id));
    if (config->bos_id < -1 || config->bos_id >= config->vocab_size)
        return qp_fail(QP_FORMAT, "bos_token_id in %s is %" PRId64 ", but the vocabulary has %" PRId64 " tokens",
                       origin, config->bos_id, config->vocab_size);
    const qp_json_node eos = qp_json_find(root, "eos_token_id");
    if (qp_json_kind_of(eos) <= QP_JSON_NULL) return QP_OK;
    config->eos_count = 0;
    if (qp_json_kind_of(eos) != QP_JSON_ARRAY) return add_eos(eos, origin, config);
    for (qp_json_node n = qp_json_first(eos); n.item != NULL; n = qp_json_next(n)) QP_TRY(add_eos(n, origin, config));
    return QP_OK;
}

static qp_status read_sampling(qp_json_node root, const char *origin, qp_config *config)
{
    QP_TRY(qp_json_get_bool_or(root, "do_sample", false, &config->do_sample));
    QP_TRY(qp_json_get_double_or(root, "temperature", 1.0, &config->temperature));
    QP_TRY(qp_json_get_int64_or(root, "top_k", 0, &config->top_k));
    QP_TRY(qp_json_get_double_or(root, "top_p", 1.0, &config->top_p));
    if (!(config->temperature >= 0.0 && isfinite(config->temperature)))
        return qp_fail(QP_FORMAT, "temperature in %s is %g, but must not be negative", origin, config->temperature);
    if (config->top_k < 0)
        return qp_fail(QP_FORMAT, "top_k in %s is %" PRId64 ", but must not be negative", origin, config->top_k);
    if (!(config->top_p > 0.0 && config->top_p <= 1.0))
        return qp_fail(QP_FORMAT, "top_p in %s is %g, but must be above 0 and at most 1", origin, config->top_p);
    return QP_OK;
}

static qp_status read_model(const qp_json *json, qp_config *config)
{
    const qp_json_node root = qp_json_root(json);
    const char *const origin = qp_json_origin(json);
    double eps;
    config->bos_id = -1;
    config->temperature = config->top_p = 1.0;
    QP_TRY(check_kind(root, origin, config));
    QP_TRY(read_sizes(root, origin, config));
    QP_TRY(read_rope(root, origin, config));
    QP_TRY(qp_json_get_double(root, "rms_norm_eps", &eps));
    if (!(eps > 0.0 && eps < 1.0))
        return qp_fail(QP_FORMAT, "rms_norm_eps in %s is %g, but must be between 0 and 1", origin, eps);
    config->rms_norm_eps = (float)eps;
    QP_TRY(qp_json_get_bool_or(root, "tie_word_embeddings", false, &config->tie_word_embeddings));
    return read_ids(root, origin, config);
}

qp_status qp_config_from_json_text(const char *text, const char *origin, qp_config *config)
{
    qp_json *json;
    *config = (qp_config){ 0 };
    QP_TRY(qp_json_parse(text, (int64_t)strlen(text), origin, &json));
    const qp_status status = read_model(json, config);
    qp_json_free(json);
    if (status != QP_OK) *config = (qp_config){ 0 };
    return status;
}

qp_status qp_config_read(const char *dir, qp_config *config)
{
    qp_status status = QP_OK;
    qp_json *model = NULL, *generation = NULL;
    *config = (qp_config){ 0 };
    const size_t size = strlen(dir) + sizeof "/generation_config.json";
    char *const path = malloc(size);
    if (path == NULL) return qp_fail(QP_NO_MEMORY, "not enough memory to read %s", dir);

    (void)snprintf(path, size, "%s/config.json", dir);
    if ((status = qp_json_read_file(path, &model)) != QP_OK) goto done;
    if ((status = read_model(model, config)) != QP_OK) goto done;

    (void)snprintf(path, size, "%s/generation_config.json", dir);
    if (access(path, F_OK) != 0) goto done;
    if ((status = qp_json_read_file(path, &generation)) != QP_OK) goto done;
    if ((status = read_ids(qp_json_root(generation), path, config)) != QP_OK) goto done;
    status = read_sampling(qp_json_root(generation), path, config);

done:
    qp_json_free(generation);
    qp_json_free(model);
    free(path);
    if (status != QP_OK) *config = (qp_config){ 0 };
    return status;
}

const char *qp_config_difference(const qp_config *a, const qp_config *b)
{
    for (int i = 0; i < SIZE_FIELDS; i++)
        if (size_of(a, i) != size_of(b, i)) return size_fields[i].name;
    /* Equal only if the comparison says so: a NaN differs. */
    if (!(a->rms_norm_eps == b->rms_norm_eps)) return "rms_norm_eps";
    if (!(a->rope_theta == b->rope_theta)) return "rope_theta";
    if (a->tie_word_embeddings != b->tie_word_embeddings) return "tie_word_embeddings";
    return NULL;
}
