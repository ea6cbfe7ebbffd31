#include <stdlib.h>

#include "../linear/linear.h"
#include "../numerics/reduce.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "../rms_norm/rms_norm.h"
#include "../rope/rope.h"
#include "../sequence.h"
#include "rmsnorm_qkv.h"

qp_rmsnorm_qkv_args qp_rmsnorm_qkv_bind(const qp_call *call)
{
    const int64_t hidden = call->extent[QP_RMSNORM_QKV_HIDDEN];
    return (qp_rmsnorm_qkv_args){
        .x = call->in[QP_RMSNORM_QKV_X],
        .norm_weight = call->in[QP_RMSNORM_QKV_NORM_WEIGHT],
        .q_weight = call->in[QP_RMSNORM_QKV_Q_WEIGHT],
        .k_weight = call->in[QP_RMSNORM_QKV_K_WEIGHT],
        .v_weight = call->in[QP_RMSNORM_QKV_V_WEIGHT],
        .q_norm_weight = call->in[QP_RMSNORM_QKV_Q_NORM],
        .k_norm_weight = call->in[QP_RMSNORM_QKV_K_NORM],
        .cos = call->in[QP_RMSNORM_QKV_COS],
        .sin = call->in[QP_RMSNORM_QKV_SIN],
        .q = call->out[QP_RMSNORM_QKV_Q],
        .k = call->out[QP_RMSNORM_QKV_K],
        .v = call->out[QP_RMSNORM_QKV_V],
        .tokens = call->extent[QP_RMSNORM_QKV_T],
        .hidden = hidden,
        .query_heads = call->extent[QP_RMSNORM_QKV_HQ],
        .key_heads = call->extent[QP_RMSNORM_QKV_HKV],
        .d = call->extent[QP_RMSNORM_QKV_D],
        .eps = call->params.eps,
        .part = call->params.part > 0 ? call->params.part : hidden,
        .part_kv = call->params.part_kv > 0 ? call->params.part_kv : hidden,
    };
}

enum { NORMED = QP_VALUE_TEMPORARY, Q_PROJECTED, Q_NORMED, K_PROJECTED, K_NORMED };
enum { Q = QP_VALUE_OUT + QP_RMSNORM_QKV_Q, K = QP_VALUE_OUT + QP_RMSNORM_QKV_K, V = QP_VALUE_OUT + QP_RMSNORM_QKV_V };

static qp_sequence sequence(const qp_call *call)
{
    const qp_rmsnorm_qkv_args a = qp_rmsnorm_qkv_bind(call);
    const int64_t t = a.tokens, h = a.hidden, hq = a.query_heads, hkv = a.key_heads, d = a.d;
    const qp_params given = call->params, kv = { .part = given.part_kv };
    enum { COS = QP_RMSNORM_QKV_COS, SIN = QP_RMSNORM_QKV_SIN };
    return (qp_sequence){
        .count = 8,
        .step = {
            { &qp_rms_norm_operation, { t, h }, given, { QP_RMSNORM_QKV_X, QP_RMSNORM_QKV_NORM_WEIGHT }, .out = NORMED },
            { &qp_linear_operation, { t, hq * d, h }, given, { NORMED, QP_RMSNORM_QKV_Q_WEIGHT }, .out = Q_PROJECTED },
            { &qp_rms_norm_operation, { t * hq, d }, given, { Q_PROJECTED, QP_RMSNORM_QKV_Q_NORM }, .out = Q_NORMED },
            { &qp_rope_operation, { t, hq, d }, given, { Q_NORMED, COS, SIN }, .out = Q },
            { &qp_linear_operation, { t, hkv * d, h }, kv, { NORMED, QP_RMSNORM_QKV_K_WEIGHT }, .out = K_PROJECTED },
            { &qp_rms_norm_operation, { t * hkv, d }, given, { K_PROJECTED, QP_RMSNORM_QKV_K_NORM }, .out = K_NORMED },
            { &qp_rope_operation, { t, hkv, d }, given, { K_NORMED, COS, SIN }, .out = K },
            { &qp_linear_operation, { t, hkv * d, h }, kv, { NORMED, QP_RMSNORM_QKV_V_WEIGHT }, .out = V },
        },
    };
}

static const char *precondition(const qp_call *call) { return qp_fused_precondition(&qp_rmsnorm_qkv_operation, call); }

static uint64_t flops(const qp_call *call) { return qp_fused_flops(&qp_rmsnorm_qkv_operation, call); }

#define EPS .eps = 1e-6f

static const qp_case cases[] = {
    { .name = "decode_0.6b", .extent = { 1, 1024, 16, 8, 128 }, .params = { EPS } },
    { .name = "decode_8b", .extent = { 1, 4096, 4, 1, 128 }, .params = { EPS } },
    { .name = "decode_32_heads", .extent = { 1, 256, 32, 8, 128 }, .params = { EPS } },
    { .name = "decode_split", .extent = { 1, 1024, 4, 2, 128 }, .params = { EPS, .part = 512, .part_kv = 256 } },
    { .name = "unequal_parts", .extent = { 3, 1088, 5, 1, 128 }, .params = { EPS, .part_kv = 448 } },
    { .name = "prefill_7", .extent = { 7, 256, 4, 2, 128 }, .params = { EPS, .part = 128 } },
    { .name = "prefill_8", .extent = { 8, 256, 4, 2, 128 }, .params = { EPS } },
    { .name = "prefill_9", .extent = { 9, 512, 5, 1, 128 }, .params = { EPS }, .fill = QP_FILL_WIDE },
    { .name = "prefill_33", .extent = { 33, 256, 4, 2, 128 }, .params = { EPS } },
    { .name = "edges", .extent = { 3, 256, 4, 2, 128 }, .params = { EPS }, .fill = QP_FILL_EDGES },
    { .name = "small_heads", .extent = { 2, 68, 3, 3, 64 }, .params = { EPS } },
    { .name = NULL },
};

static qp_status weight_before_cast(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant_known(&steps, NORMED, "weight-before-cast");
    qp_sequence_plant_known(&steps, Q_NORMED, "weight-before-cast");
    qp_sequence_plant_known(&steps, K_NORMED, "weight-before-cast");
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

/* rms_norm over rows that are still in f32. */
static qp_status norm_of_f32(const qp_call *call)
{
    const qp_rms_norm_args a = qp_rms_norm_bind(call);
    float *squares = malloc((size_t)a.dim * sizeof *squares);
    if (!squares) return qp_fail(QP_NO_MEMORY, "rmsnorm_qkv: no memory for a row of %lld squares", (long long)a.dim);
    for (int64_t r = 0; r < a.rows; r++) {
        const float *x = (const float *)call->in[QP_RMS_NORM_X] + r * a.dim;
        for (int64_t c = 0; c < a.dim; c++) squares[c] = x[c] * x[c];
        const float scale = qp_rsqrt(qp_mean(squares, a.dim, a.rows) + a.eps);
        for (int64_t c = 0; c < a.dim; c++) {
            const qp_bf16 normalised = qp_bf16_from_f32(x[c] * scale);
            a.y[r * a.dim + c] = qp_bf16_from_f32(qp_bf16_to_f32(a.weight[c]) * qp_bf16_to_f32(normalised));
        }
    }
    free(squares);
    return QP_OK;
}

static qp_status qk_norm_of_f32(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, Q_PROJECTED, qp_linear_unrounded, true);
    qp_sequence_plant(&steps, Q_NORMED, norm_of_f32, false);
    qp_sequence_plant(&steps, K_PROJECTED, qp_linear_unrounded, true);
    qp_sequence_plant(&steps, K_NORMED, norm_of_f32, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status rope_neighbours(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant_known(&steps, Q, "rope-interleaved");
    qp_sequence_plant_known(&steps, K, "rope-interleaved");
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

/* The rows of a part of the cache, each written one row too late; the last, which has no place, comes first. */
static void shift_rows(qp_bf16 *rows, int64_t count, int64_t width)
{
    for (int64_t j = 0; j < width; j++) {
        const qp_bf16 last = rows[(count - 1) * width + j];
        for (int64_t t = count - 1; t > 0; t--) rows[t * width + j] = rows[(t - 1) * width + j];
        rows[j] = last;
    }
}

static qp_status cache_row(const qp_call *call)
{
    const qp_rmsnorm_qkv_args a = qp_rmsnorm_qkv_bind(call);
    QP_TRY(qp_rmsnorm_qkv_cpu(call));
    shift_rows(a.k, a.tokens, a.key_heads * a.d);
    shift_rows(a.v, a.tokens, a.key_heads * a.d);
    return QP_OK;
}

static const qp_fault faults[] = {
    { "fused-weight-before-cast", "in all three norms the weight is applied before the rounding to bf16", "*",
      weight_before_cast },
    { "fused-qk-norm-of-f32", "queries and keys are normalised before their projections are rounded to bf16", "*",
      qk_norm_of_f32 },
    { "fused-rope-neighbours", "channels are paired with their neighbours in place of the other half", "*",
      rope_neighbours },
    { "fused-cache-row", "keys and values are written one row of the cache too late", "*", cache_row },
    { .name = NULL },
};

const qp_operation qp_rmsnorm_qkv_operation = {
    .name = "rmsnorm_qkv",
    .formula = "n = rms_norm(x); q = rope(rms_norm(n Wq^T)); k = rope(rms_norm(n Wk^T)); v = n Wv^T",
    .extents = { "T", "H", "Hq", "Hkv", "D" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_HIDDEN } },
            { "norm_weight", QP_BF16, QP_WEIGHT, 1, { QP_RMSNORM_QKV_HIDDEN } },
            { "q_weight", QP_BF16, QP_WEIGHT, 3, { QP_RMSNORM_QKV_HQ, QP_RMSNORM_QKV_D, QP_RMSNORM_QKV_HIDDEN } },
            { "k_weight", QP_BF16, QP_WEIGHT, 3, { QP_RMSNORM_QKV_HKV, QP_RMSNORM_QKV_D, QP_RMSNORM_QKV_HIDDEN } },
            { "v_weight", QP_BF16, QP_WEIGHT, 3, { QP_RMSNORM_QKV_HKV, QP_RMSNORM_QKV_D, QP_RMSNORM_QKV_HIDDEN } },
            { "q_norm", QP_BF16, QP_WEIGHT, 1, { QP_RMSNORM_QKV_D } },
            { "k_norm", QP_BF16, QP_WEIGHT, 1, { QP_RMSNORM_QKV_D } },
            { "cos", QP_BF16, QP_ACTIVATION, 2, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_D } },
            { "sin", QP_BF16, QP_ACTIVATION, 2, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_D } } },
    .out = { { "q", QP_BF16, QP_ACTIVATION, 3, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_HQ, QP_RMSNORM_QKV_D } },
             { "k", QP_BF16, QP_ACTIVATION, 3, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_HKV, QP_RMSNORM_QKV_D } },
             { "v", QP_BF16, QP_ACTIVATION, 3, { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_HKV, QP_RMSNORM_QKV_D } } },
    .precondition = precondition,
    .oracle = qp_rmsnorm_qkv_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
    .sequence = sequence,
};
