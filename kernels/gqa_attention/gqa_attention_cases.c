#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../context/context.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "../scores/scores.h"
#include "../sequence.h"
#include "../softmax/softmax.h"
#include "gqa_attention.h"

qp_gqa_attention_args qp_gqa_attention_bind(const qp_call *call)
{
    return (qp_gqa_attention_args){
        .q = call->in[QP_GQA_ATTENTION_Q],
        .keys = call->in[QP_GQA_ATTENTION_KEYS],
        .values = call->in[QP_GQA_ATTENTION_VALUES],
        .y = call->out[0],
        .tokens = call->extent[QP_GQA_ATTENTION_T],
        .keys_count = call->extent[QP_GQA_ATTENTION_S],
        .query_heads = call->extent[QP_GQA_ATTENTION_HQ],
        .key_heads = call->extent[QP_GQA_ATTENTION_HKV],
        .d = call->extent[QP_GQA_ATTENTION_D],
        .scale = call->params.scale,
        .order = call->params.order,
        .context_order = call->params.context_order,
    };
}

enum { SCORES = QP_VALUE_TEMPORARY, PROBS };

static qp_sequence sequence(const qp_call *call)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(call);
    const int64_t t = a.tokens, s = a.keys_count, hq = a.query_heads, hkv = a.key_heads, d = a.d;
    const qp_params given = call->params, second = { .order = given.context_order };
    enum { Q = QP_GQA_ATTENTION_Q, KEYS = QP_GQA_ATTENTION_KEYS, VALUES = QP_GQA_ATTENTION_VALUES };
    return (qp_sequence){
        .count = 3,
        .step = {
            { &qp_scores_operation, { t, s, hq, hkv, d }, given, { Q, KEYS }, .out = SCORES },
            { &qp_softmax_operation, { hq * t, s }, given, { SCORES }, .out = PROBS },
            { &qp_context_operation, { t, s, hq, hkv, d }, second, { PROBS, VALUES }, .out = QP_VALUE_OUT },
        },
    };
}

static const char *precondition(const qp_call *call)
{
    return qp_fused_precondition(&qp_gqa_attention_operation, call);
}

static uint64_t flops(const qp_call *call) { return qp_fused_flops(&qp_gqa_attention_operation, call); }

#define SCALE .scale = 0.08838834764f

/* cuBLAS's orders for one query and a number of keys that is not a multiple of 8. */
#define LANES .order = { .lanes = 16, .run = 8 }, .context_order = { .lanes = 32, .run = 4 }
#define SINGLE .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN }, .context_order = { .lanes = 32, .run = 4 }
#define IN_TURN .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN }, .context_order = { .lanes = 8, .run = 64 }

static const qp_case cases[] = {
    { .name = "decode_200", .extent = { 1, 200, 16, 8, 128 }, .params = { SCALE } },
    { .name = "decode_255_lanes", .extent = { 1, 255, 16, 8, 128 }, .params = { SCALE, LANES } },
    { .name = "decode_301_in_turn", .extent = { 1, 301, 4, 2, 128 }, .params = { SCALE, IN_TURN } },
    { .name = "decode_8b", .extent = { 1, 104, 32, 8, 128 }, .params = { SCALE } },
    { .name = "decode_129_single", .extent = { 1, 129, 32, 8, 128 }, .params = { SCALE, SINGLE } },
    { .name = "decode_255_single_halves",
      .extent = { 1, 255, 8, 4, 128 },
      .params = { SCALE, .order = { .lanes = 16, .run = 1 }, .context_order = { .lanes = 32, .run = 4 } } },
    { .name = "chunk_8_single", .extent = { 8, 45, 16, 2, 128 }, .params = { SCALE, SINGLE } },
    { .name = "decode_33_5_heads", .extent = { 1, 33, 5, 1, 128 }, .params = { SCALE, LANES } },
    { .name = "decode_2100", .extent = { 1, 2100, 4, 2, 128 }, .params = { SCALE, LANES } },
    { .name = "decode_wide", .extent = { 1, 72, 4, 2, 128 }, .params = { SCALE }, .fill = QP_FILL_WIDE },
    { .name = "chunk_3_after_40", .extent = { 3, 43, 4, 2, 128 }, .params = { SCALE } },
    { .name = "chunk_9_after_91",
      .extent = { 9, 100, 5, 1, 128 },
      .params = { SCALE, .context_order = { .run = 36 } } },
    { .name = "prefill_7", .extent = { 7, 7, 16, 8, 128 }, .params = { SCALE } },
    { .name = "prefill_8_edges", .extent = { 8, 8, 4, 2, 128 }, .params = { SCALE }, .fill = QP_FILL_EDGES },
    { .name = "prefill_33_narrow",
      .extent = { 33, 33, 4, 2, 128 },
      .params = { SCALE, .order = { .narrow = true }, .context_order = { .run = 1, .narrow = true } } },
    { .name = "small_heads", .extent = { 3, 5, 3, 3, 40 }, .params = { SCALE }, .fill = QP_FILL_WIDE },
    { .name = "one_element", .extent = { 1, 1, 1, 1, 1 }, .params = { SCALE } },
    { .name = NULL },
};

/* context of probabilities that are still in f32, key after key. */
static qp_status context_of_f32(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const float *probs = call->in[QP_CONTEXT_PROBS];
    const int64_t group = a.query_heads / a.value_heads;
    for (int64_t i = 0; i < a.tokens * a.query_heads * a.d; i++) {
        const int64_t t = i / a.d / a.query_heads, h = i / a.d % a.query_heads, j = i % a.d;
        float sum = 0.0f;
        for (int64_t s = 0; s < a.keys_count; s++)
            sum += probs[(h * a.tokens + t) * a.keys_count + s] *
                   qp_bf16_to_f32(a.values[(s * a.value_heads + h / group) * a.d + j]);
        a.y[i] = qp_bf16_from_f32(sum);
    }
    return QP_OK;
}

static qp_status probs_in_f32(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, PROBS, qp_softmax_unrounded, true);
    qp_sequence_plant(&steps, QP_VALUE_OUT, context_of_f32, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

/* One query of one head: blocks of keys with a running maximum, whose growth scales down what was summed before. */
static void flash_row(const qp_bf16 *scores, int64_t keys, const qp_bf16 *values, int64_t value_step, int64_t d,
                      qp_bf16 *y, float *sum)
{
    enum { BLOCK = 32 };
    float max = -INFINITY, total = 0.0f;
    for (int64_t j = 0; j < d; j++) sum[j] = 0.0f;
    for (int64_t start = 0; start < keys; start += BLOCK) {
        const int64_t end = start + BLOCK < keys ? start + BLOCK : keys;
        const float before = max;
        for (int64_t s = start; s < end; s++) max = fmaxf(max, qp_bf16_to_f32(scores[s]));
        const float down = qp_exp(before - max);
        total *= down;
        for (int64_t j = 0; j < d; j++) sum[j] *= down;
        for (int64_t s = start; s < end; s++) {
            const float power = qp_exp(qp_bf16_to_f32(scores[s]) - max);
            const float weight = qp_bf16_to_f32(qp_bf16_from_f32(power));
            total += power;
            for (int64_t j = 0; j < d; j++) sum[j] += weight * qp_bf16_to_f32(values[s * value_step + j]);
        }
    }
    for (int64_t j = 0; j < d; j++) y[j] = qp_bf16_from_f32(sum[j] / total);
}

/* softmax and context in one, from the scores. */
static qp_status flash(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const qp_bf16 *scores = a.probs;
    const int64_t group = a.query_heads / a.value_heads;
    float *sum = malloc((size_t)a.d * sizeof *sum);
    if (!sum) return qp_fail(QP_NO_MEMORY, "gqa_attention: no memory for %lld sums", (long long)a.d);
    for (int64_t h = 0; h < a.query_heads; h++)
        for (int64_t t = 0; t < a.tokens; t++)
            flash_row(scores + (h * a.tokens + t) * a.keys_count, a.keys_count, a.values + h / group * a.d,
                      a.value_heads * a.d, a.d, a.y + (t * a.query_heads + h) * a.d, sum);
    free(sum);
    return QP_OK;
}

static qp_status online_softmax(const qp_call *call)
{
    const qp_sequence right = sequence(call);
    qp_sequence steps = { .count = 2, .step = { right.step[0], right.step[2] } };
    steps.step[1].in[QP_CONTEXT_PROBS] = SCORES;
    qp_sequence_plant(&steps, QP_VALUE_OUT, flash, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status mask_off_by_one(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant_known(&steps, SCORES, "mask-off-by-one");
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

/* The head in whose place the right operation reads key head h mod Hkv for head h of this token. */
static int64_t dealt(const qp_gqa_attention_args *a, int64_t h)
{
    const int64_t group = a->query_heads / a->key_heads;
    return h % a->key_heads * group + h / a->key_heads;
}

/* The right operation on query heads in another order, then put back. */
static qp_status heads_dealt(const qp_call *call)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(call);
    const size_t head_bytes = (size_t)a.d * sizeof(qp_bf16), bytes = (size_t)(a.tokens * a.query_heads) * head_bytes;
    qp_bf16 *q = malloc(bytes), *y = malloc(bytes);
    qp_status status = QP_OK;
    if (!q || !y) {
        status = qp_fail(QP_NO_MEMORY, "gqa_attention: no memory for query heads in another order");
        goto done;
    }
    qp_call wrong = *call;
    wrong.in[QP_GQA_ATTENTION_Q] = q;
    wrong.out[0] = y;
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t h = 0; h < a.query_heads; h++) {
            const int64_t row = t * a.query_heads;
            memcpy(q + (row + dealt(&a, h)) * a.d, a.q + (row + h) * a.d, head_bytes);
        }
    status = qp_gqa_attention_cpu(&wrong);
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t h = 0; h < a.query_heads; h++) {
            const int64_t row = t * a.query_heads;
            memcpy(a.y + (row + h) * a.d, y + (row + dealt(&a, h)) * a.d, head_bytes);
        }
done:
    free(y);
    free(q);
    return status;
}

static const qp_fault faults[] = {
    { "probs-in-f32", "probabilities are not rounded to bf16 before the context", "*", probs_in_f32 },
    { "online-softmax", "softmax and context run over blocks of keys with a running maximum", "*", online_softmax },
    { "fused-mask-off-by-one", "each query sees the key behind it", "*", mask_off_by_one },
    { "heads-dealt", "query head h reads key head h mod Hkv in place of h / group", "*", heads_dealt },
    { .name = NULL },
};

const qp_operation qp_gqa_attention_operation = {
    .name = "gqa_attention",
    .formula = "y[t, h, :] = sum over s of softmax(scale * q[t, h, :] . keys[s, h / group, :] + mask) * "
               "values[s, h / group, :]",
    .extents = { "T", "S", "Hq", "Hkv", "D" },
    .in = { { "q", QP_BF16, QP_ACTIVATION, 3, { QP_GQA_ATTENTION_T, QP_GQA_ATTENTION_HQ, QP_GQA_ATTENTION_D } },
            { "keys", QP_BF16, QP_ACTIVATION, 3, { QP_GQA_ATTENTION_S, QP_GQA_ATTENTION_HKV, QP_GQA_ATTENTION_D } },
            { "values", QP_BF16, QP_ACTIVATION, 3, { QP_GQA_ATTENTION_S, QP_GQA_ATTENTION_HKV, QP_GQA_ATTENTION_D } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 3, { QP_GQA_ATTENTION_T, QP_GQA_ATTENTION_HQ, QP_GQA_ATTENTION_D } } },
    .precondition = precondition,
    .oracle = qp_gqa_attention_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
    .sequence = sequence,
};
