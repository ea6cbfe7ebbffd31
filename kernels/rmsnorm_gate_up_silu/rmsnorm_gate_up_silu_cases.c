#include "../linear/linear.h"
#include "../multiply/multiply.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "../rms_norm/rms_norm.h"
#include "../sequence.h"
#include "../silu/silu.h"
#include "rmsnorm_gate_up_silu.h"

qp_rmsnorm_gate_up_silu_args qp_rmsnorm_gate_up_silu_bind(const qp_call *call)
{
    return (qp_rmsnorm_gate_up_silu_args){
        .x = call->in[QP_RMSNORM_GATE_UP_SILU_X],
        .norm_weight = call->in[QP_RMSNORM_GATE_UP_SILU_NORM_WEIGHT],
        .gate_weight = call->in[QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT],
        .up_weight = call->in[QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT],
        .y = call->out[0],
        .tokens = call->extent[QP_RMSNORM_GATE_UP_SILU_T],
        .hidden = call->extent[QP_RMSNORM_GATE_UP_SILU_HIDDEN],
        .inner = call->extent[QP_RMSNORM_GATE_UP_SILU_I],
        .eps = call->params.eps,
        .part = call->params.part > 0 ? call->params.part : call->extent[QP_RMSNORM_GATE_UP_SILU_HIDDEN],
    };
}

enum { NORMED = QP_VALUE_TEMPORARY, GATE, UP, ACTIVATED };

static qp_sequence sequence(const qp_call *call)
{
    const qp_rmsnorm_gate_up_silu_args a = qp_rmsnorm_gate_up_silu_bind(call);
    const int64_t t = a.tokens, h = a.hidden, i = a.inner;
    const qp_params given = call->params;
    enum { X = QP_RMSNORM_GATE_UP_SILU_X, NORM_WEIGHT = QP_RMSNORM_GATE_UP_SILU_NORM_WEIGHT };
    enum { GATE_WEIGHT = QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT, UP_WEIGHT = QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT };
    return (qp_sequence){
        .count = 5,
        .step = {
            { &qp_rms_norm_operation, { t, h }, given, { X, NORM_WEIGHT }, .out = NORMED },
            { &qp_linear_operation, { t, i, h }, given, { NORMED, GATE_WEIGHT }, .out = GATE },
            { &qp_linear_operation, { t, i, h }, given, { NORMED, UP_WEIGHT }, .out = UP },
            { &qp_silu_operation, { t * i }, given, { GATE }, .out = ACTIVATED },
            { &qp_multiply_operation, { t * i }, given, { ACTIVATED, UP }, .out = QP_VALUE_OUT },
        },
    };
}

static const char *precondition(const qp_call *call)
{
    return qp_fused_precondition(&qp_rmsnorm_gate_up_silu_operation, call);
}

static uint64_t flops(const qp_call *call) { return qp_fused_flops(&qp_rmsnorm_gate_up_silu_operation, call); }

#define EPS .eps = 1e-6f

static const qp_case cases[] = {
    { .name = "decode_0.6b", .extent = { 1, 1024, 3072 }, .params = { EPS } },
    { .name = "decode_8b", .extent = { 1, 4096, 256 }, .params = { EPS } },
    { .name = "decode_split", .extent = { 1, 1024, 256 }, .params = { EPS, .part = 512 } },
    { .name = "unequal_parts", .extent = { 3, 1088, 40 }, .params = { EPS, .part = 448 } },
    { .name = "prefill_7", .extent = { 7, 256, 768 }, .params = { EPS } },
    { .name = "prefill_8_split", .extent = { 8, 256, 768 }, .params = { EPS, .part = 128 } },
    { .name = "prefill_9_wide", .extent = { 9, 512, 264 }, .params = { EPS }, .fill = QP_FILL_WIDE },
    { .name = "prefill_33", .extent = { 33, 256, 768 }, .params = { EPS } },
    { .name = "edges", .extent = { 3, 256, 64 }, .params = { EPS }, .fill = QP_FILL_EDGES },
    { .name = "odd", .extent = { 5, 68, 33 }, .params = { EPS } },
    { .name = NULL },
};

/* silu without its last rounding, and the product of that. */
static qp_status silu_to_f32(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    float *y = call->out[0];
    for (int64_t i = 0; i < a.n; i++) {
        const float x = qp_bf16_to_f32(a.x[i]);
        y[i] = x / (1.0f + qp_exp(-x));
    }
    return QP_OK;
}

static qp_status multiply_f32(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    const float *activated = call->in[QP_MULTIPLY_A];
    for (int64_t i = 0; i < a.n; i++) a.y[i] = qp_bf16_from_f32(activated[i] * qp_bf16_to_f32(a.b[i]));
    return QP_OK;
}

static qp_status silu_in_f32(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, ACTIVATED, silu_to_f32, true);
    qp_sequence_plant(&steps, QP_VALUE_OUT, multiply_f32, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status gate_up_swapped(const qp_call *call)
{
    qp_call wrong = *call;
    wrong.in[QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT] = call->in[QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT];
    wrong.in[QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT] = call->in[QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT];
    return qp_rmsnorm_gate_up_silu_cpu(&wrong);
}

static const qp_fault faults[] = {
    { "silu-in-f32", "silu's result is not rounded to bf16 before the multiplication", "*", silu_in_f32 },
    { "gate-up-swapped", "silu is applied to up in place of gate", "*", gate_up_swapped },
    { .name = NULL },
};

const qp_operation qp_rmsnorm_gate_up_silu_operation = {
    .name = "rmsnorm_gate_up_silu",
    .formula = "n = rms_norm(x); y = silu(n Wgate^T) * (n Wup^T)",
    .extents = { "T", "H", "I" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_RMSNORM_GATE_UP_SILU_T, QP_RMSNORM_GATE_UP_SILU_HIDDEN } },
            { "norm_weight", QP_BF16, QP_WEIGHT, 1, { QP_RMSNORM_GATE_UP_SILU_HIDDEN } },
            { "gate_weight", QP_BF16, QP_WEIGHT, 2, { QP_RMSNORM_GATE_UP_SILU_I, QP_RMSNORM_GATE_UP_SILU_HIDDEN } },
            { "up_weight", QP_BF16, QP_WEIGHT, 2, { QP_RMSNORM_GATE_UP_SILU_I, QP_RMSNORM_GATE_UP_SILU_HIDDEN } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 2, { QP_RMSNORM_GATE_UP_SILU_T, QP_RMSNORM_GATE_UP_SILU_I } } },
    .precondition = precondition,
    .oracle = qp_rmsnorm_gate_up_silu_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
    .sequence = sequence,
};
