#include "random_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text_hash.h"

enum { HEAD_DIM = 128, VOCABULARY = 151936, POSITIONS = 40960 };

static const struct known_shape {
    const char *name;
    int64_t hidden, inner, layers, query_heads, key_heads;
    bool tied;
} known_shapes[] = {
    { "qwen3-0.6b", 1024, 3072, 28, 16, 8, true },  { "qwen3-1.7b", 2048, 6144, 28, 16, 8, true },
    { "qwen3-4b", 2560, 9728, 36, 32, 8, true },    { "qwen3-8b", 4096, 12288, 36, 32, 8, false },
    { "qwen3-14b", 5120, 17408, 40, 40, 8, false }, { "qwen3-32b", 5120, 25600, 64, 64, 8, false },
};
enum { SHAPES = sizeof known_shapes / sizeof known_shapes[0] };

static qp_status find_shape(const char *name, const struct known_shape **shape)
{
    char known[160] = "";
    for (int i = 0; i < SHAPES; i++) {
        const size_t used = strlen(known);
        if (!strcmp(known_shapes[i].name, name)) {
            *shape = &known_shapes[i];
            return QP_OK;
        }
        (void)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", known_shapes[i].name);
    }
    return qp_fail(QP_USAGE, "there is no shape '%s'; there are %s", name, known);
}

static qp_config config_of(const struct known_shape *shape, int64_t layers)
{
    return (qp_config){ .hidden_size = shape->hidden,
                        .intermediate_size = shape->inner,
                        .num_hidden_layers = layers,
                        .num_attention_heads = shape->query_heads,
                        .num_key_value_heads = shape->key_heads,
                        .head_dim = HEAD_DIM,
                        .vocab_size = VOCABULARY,
                        .max_position_embeddings = POSITIONS,
                        .rms_norm_eps = 1e-6f,
                        .rope_theta = 1e6,
                        .tie_word_embeddings = shape->tied,
                        .dtype = "bfloat16",
                        .bos_id = -1,
                        .temperature = 1.0,
                        .top_p = 1.0 };
}

/* Four values from one hash, 16 bits each. */
void qp_random_fill(uint64_t seed, float low, float high, qp_bf16 *values, int64_t n)
{
    const float step = (high - low) / 65536.0f;
#pragma omp parallel for
    for (int64_t start = 0; start < n; start += 4) {
        const uint64_t bits = qp_hash_of(seed, (uint64_t)(start / 4));
        for (int64_t i = 0; i < 4 && start + i < n; i++)
            values[start + i] = qp_bf16_from_f32(low + step * ((float)(bits >> (16 * i) & 0xffff) + 0.5f));
    }
}

/* The tensor's own seed. */
static uint64_t seed_of(uint64_t seed, const char *name) { return qp_hash_of(seed, qp_text_hash(name)); }

static void fill_tensor(uint64_t seed, const qp_checkpoint_tensor *tensor)
{
    qp_bf16 *const values = (qp_bf16 *)tensor->data; /* allocated for this */
    const int64_t n = tensor->bytes / (int64_t)sizeof *values;
    const uint64_t own = seed_of(seed, tensor->name);
    if (tensor->rank == 1) {
        qp_random_fill(own, 0.2f, 1.2f, values, n);
        if (strstr(tensor->name, "k_norm")) values[3] = values[3 + HEAD_DIM / 2] = qp_bf16_from_f32(96.5f);
        return;
    }
    const float bound =
        sqrtf(3.0f / (float)tensor->dims[1]); /* of a uniform distribution with deviation 1/sqrt(columns) */
    qp_random_fill(own, -bound, bound, values, n);
}

qp_status qp_model_open_random(const char *shape, int64_t layers, uint64_t seed, qp_model *model)
{
    const struct known_shape *known = NULL;
    memset(model, 0, sizeof *model);
    QP_TRY(find_shape(shape, &known));
    if (layers < 0 || layers > known->layers)
        return qp_fail(QP_USAGE, "%s has %" PRId64 " layers, so %" PRId64 " of them cannot be made", shape,
                       known->layers, layers);
    model->config = config_of(known, layers ? layers : known->layers);
    qp_status status = qp_checkpoint_allocate(shape, &model->config, &model->checkpoint);
    for (int64_t i = 0; status == QP_OK && i < qp_checkpoint_count(model->checkpoint); i++)
        fill_tensor(seed, qp_checkpoint_at(model->checkpoint, i));
    if (status == QP_OK) status = qp_checkpoint_require_qwen3(model->checkpoint, &model->config);
    if (status != QP_OK) qp_model_close(model);
    return status;
}
