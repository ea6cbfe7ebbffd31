#include <stdlib.h>
#include <string.h>

#include "../numerics/strict_fp.h"
#include "scores.h"

qp_scores_args qp_scores_bind(const qp_call *call)
{
    return (qp_scores_args){
        .q = call->in[QP_SCORES_Q],
        .keys = call->in[QP_SCORES_KEYS],
        .y = call->out[0],
        .tokens = call->extent[QP_SCORES_T],
        .keys_count = call->extent[QP_SCORES_S],
        .query_heads = call->extent[QP_SCORES_HQ],
        .key_heads = call->extent[QP_SCORES_HKV],
        .d = call->extent[QP_SCORES_D],
        .order = call->params.order,
        .scale = call->params.scale,
    };
}

static const char *precondition(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    if (a.keys_count < a.tokens) return "there are fewer keys than queries";                       /* P1 */
    if (a.query_heads % a.key_heads) return "the query heads are not a multiple of the key heads"; /* P2 */
    if (!qp_sum_order_is_known(a.order)) return "the order of summation is not known";             /* P3 */
    return NULL;
}

static uint64_t flops(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    return 2 * (uint64_t)a.query_heads * (uint64_t)a.tokens * (uint64_t)a.keys_count * (uint64_t)a.d;
}

#define SCALE .params = { .scale = 0.08838834764f }

static const qp_case cases[] = {
    { .name = "decode_200", .extent = { 1, 200, 16, 8, 128 }, SCALE },
    { .name = "decode_33_lanes",
      .extent = { 1, 33, 4, 2, 128 },
      .params = { .scale = 0.08838834764f, .order = { .lanes = 16, .run = 8 } } },
    { .name = "prefill_33", .extent = { 33, 33, 16, 8, 128 }, SCALE },
    { .name = "chunk_after_17", .extent = { 5, 22, 4, 2, 128 }, SCALE },
    { .name = "wide", .extent = { 3, 3, 3, 1, 40 }, SCALE, .fill = QP_FILL_WIDE },
    { .name = "one_element", .extent = { 1, 1, 1, 1, 1 }, SCALE },
    { .name = NULL },
};

static qp_status scale_off_1_percent(const qp_call *call)
{
    qp_call wrong = *call;
    wrong.params.scale *= 1.01f;
    return qp_scores_cpu(&wrong);
}

/* Runs the right operation on altered keys. */
static qp_status with_keys(const qp_call *call, void (*alter)(const qp_scores_args *, qp_bf16 *keys))
{
    const qp_scores_args a = qp_scores_bind(call);
    const size_t bytes = (size_t)(a.keys_count * a.key_heads * a.d) * sizeof(qp_bf16);
    qp_bf16 *keys = malloc(bytes);
    if (!keys) return qp_fail(QP_NO_MEMORY, "scores: no memory for altered keys");
    memcpy(keys, a.keys, bytes);
    alter(&a, keys);
    qp_call wrong = *call;
    wrong.in[QP_SCORES_KEYS] = keys;
    const qp_status status = qp_scores_cpu(&wrong);
    free(keys);
    return status;
}

static void next_head(const qp_scores_args *a, qp_bf16 *keys)
{
    for (int64_t s = 0; s < a->keys_count; s++)
        for (int64_t h = 0; h < a->key_heads; h++)
            memcpy(keys + (s * a->key_heads + h) * a->d, a->keys + (s * a->key_heads + (h + 1) % a->key_heads) * a->d,
                   (size_t)a->d * sizeof *keys);
}

static qp_status wrong_head_of_group(const qp_call *call) { return with_keys(call, next_head); }

/* The newest row of the cache was not written before it was read: it holds what stood before it. */
static void newest_row_is_stale(const qp_scores_args *a, qp_bf16 *keys)
{
    const int64_t row = a->key_heads * a->d, newest = a->keys_count - 1;
    if (newest > 0)
        memcpy(keys + newest * row, a->keys + (newest - 1) * row, (size_t)row * sizeof *keys);
    else
        memset(keys, 0, (size_t)row * sizeof *keys);
}

static qp_status stale_cache_row(const qp_call *call) { return with_keys(call, newest_row_is_stale); }

/* Each query sees one key too many: the one behind it. */
static qp_status mask_off_by_one(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    QP_TRY(qp_scores_cpu(call));
    for (int64_t t = 0; t + 1 < a.tokens; t++) {
        /* The query of token t over the keys up to and including t + 1 is one row of a shorter call. */
        const int64_t s = a.keys_count - a.tokens + t + 2;
        qp_bf16 *row = malloc((size_t)(a.query_heads * s) * sizeof *row);
        if (!row) return qp_fail(QP_NO_MEMORY, "scores: no memory for a row");
        qp_call one = *call;
        one.extent[QP_SCORES_T] = 1;
        one.extent[QP_SCORES_S] = s;
        one.in[QP_SCORES_Q] = a.q + t * a.query_heads * a.d;
        one.out[0] = row;
        const qp_status status = qp_scores_cpu(&one);
        for (int64_t h = 0; h < a.query_heads; h++) a.y[(h * a.tokens + t) * a.keys_count + s - 1] = row[h * s + s - 1];
        free(row);
        QP_TRY(status);
    }
    return QP_OK;
}

static const qp_fault faults[] = {
    { "scale-off-1-percent", "the scale is 1 % too large", "*", scale_off_1_percent },
    { "wrong-head-of-group", "each group of query heads reads the next key head", "*", wrong_head_of_group },
    { "mask-off-by-one", "each query sees the key behind it", "*", mask_off_by_one },
    { "stale-cache-row", "the newest row of the key cache is the row before it", "*", stale_cache_row },
    { .name = NULL },
};

const qp_operation qp_scores_operation = {
    .name = "scores",
    .formula = "y[h, t, s] = scale * (q[t, h, :] . keys[s, h / group, :]) + mask[t, s]",
    .extents = { "T", "S", "Hq", "Hkv", "D" },
    .in = { { "q", QP_BF16, QP_ACTIVATION, 3, { QP_SCORES_T, QP_SCORES_HQ, QP_SCORES_D } },
            { "keys", QP_BF16, QP_ACTIVATION, 3, { QP_SCORES_S, QP_SCORES_HKV, QP_SCORES_D } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 3, { QP_SCORES_HQ, QP_SCORES_T, QP_SCORES_S } } },
    .precondition = precondition,
    .oracle = qp_scores_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
};
