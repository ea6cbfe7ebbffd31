#include "../linear/linear.h"
#include "../numerics/strict_fp.h"
#include "../residual_add/residual_add.h"
#include "../sequence.h"
#include "linear_residual.h"

qp_linear_residual_args qp_linear_residual_bind(const qp_call *call)
{
    return (qp_linear_residual_args){
        .x = call->in[QP_LINEAR_RESIDUAL_X],
        .weight = call->in[QP_LINEAR_RESIDUAL_WEIGHT],
        .residual = call->in[QP_LINEAR_RESIDUAL_RESIDUAL],
        .y = call->out[0],
        .m = call->extent[QP_LINEAR_RESIDUAL_M],
        .n = call->extent[QP_LINEAR_RESIDUAL_N],
        .k = call->extent[QP_LINEAR_RESIDUAL_K],
        .part = call->params.part > 0 ? call->params.part : call->extent[QP_LINEAR_RESIDUAL_K],
    };
}

enum { PRODUCT = QP_VALUE_TEMPORARY };

static qp_sequence sequence(const qp_call *call)
{
    const qp_linear_residual_args a = qp_linear_residual_bind(call);
    const qp_params given = call->params;
    enum { X = QP_LINEAR_RESIDUAL_X, WEIGHT = QP_LINEAR_RESIDUAL_WEIGHT, RESIDUAL = QP_LINEAR_RESIDUAL_RESIDUAL };
    return (qp_sequence){
        .count = 2,
        .step = {
            { &qp_linear_operation, { a.m, a.n, a.k }, given, { X, WEIGHT }, .out = PRODUCT },
            { &qp_residual_add_operation, { a.m * a.n }, given, { RESIDUAL, PRODUCT }, .out = QP_VALUE_OUT },
        },
    };
}

static const char *precondition(const qp_call *call)
{
    return qp_fused_precondition(&qp_linear_residual_operation, call);
}

static uint64_t flops(const qp_call *call) { return qp_fused_flops(&qp_linear_residual_operation, call); }

static const qp_case cases[] = {
    { .name = "o_proj_0.6b", .extent = { 1, 1024, 2048 } },
    { .name = "down_proj_0.6b", .extent = { 1, 1024, 3072 }, .params = { .part = 1024 } },
    { .name = "down_proj_8b", .extent = { 1, 256, 12288 }, .params = { .part = 3072 } },
    { .name = "unequal_parts", .extent = { 3, 40, 1088 }, .params = { .part = 448 } },
    { .name = "prefill_7", .extent = { 7, 256, 768 } },
    { .name = "prefill_8_split", .extent = { 8, 256, 768 }, .params = { .part = 256 } },
    { .name = "prefill_9_wide", .extent = { 9, 264, 512 }, .fill = QP_FILL_WIDE },
    { .name = "prefill_33", .extent = { 33, 256, 512 } },
    { .name = "edges", .extent = { 3, 64, 256 }, .fill = QP_FILL_EDGES },
    { .name = "odd", .extent = { 5, 33, 1001 } },
    { .name = "one_element", .extent = { 1, 1, 1 } },
    { .name = NULL },
};

/* residual_add of a product that is still in f32. */
static qp_status add_of_f32(const qp_call *call)
{
    const qp_residual_add_args a = qp_residual_add_bind(call);
    const float *x = call->in[QP_RESIDUAL_ADD_X];
    for (int64_t i = 0; i < a.n; i++) a.y[i] = qp_bf16_from_f32(qp_bf16_to_f32(a.residual[i]) + x[i]);
    return QP_OK;
}

static qp_status residual_before_cast(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, PRODUCT, qp_linear_unrounded, true);
    qp_sequence_plant(&steps, QP_VALUE_OUT, add_of_f32, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status wrong_split(const qp_call *call)
{
    qp_call wrong = *call;
    const int64_t half = call->extent[QP_LINEAR_RESIDUAL_K] / 2;
    wrong.params.part = call->params.part > 0 ? 0 : half - half % 16;
    return qp_linear_residual_cpu(&wrong);
}

static const qp_fault faults[] = {
    { "residual-before-cast", "the residual is added before the product is rounded to bf16", "*",
      residual_before_cast },
    { "wrong-split", "K is summed in one chain where cuBLAS splits it, and in two or three where it does not", "*",
      wrong_split },
    { .name = NULL },
};

const qp_operation qp_linear_residual_operation = {
    .name = "linear_residual",
    .formula = "y[m, n] = residual[m, n] + sum over k of x[m, k] * weight[n, k]",
    .extents = { "M", "N", "K" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_LINEAR_RESIDUAL_M, QP_LINEAR_RESIDUAL_K } },
            { "weight", QP_BF16, QP_WEIGHT, 2, { QP_LINEAR_RESIDUAL_N, QP_LINEAR_RESIDUAL_K } },
            { "residual", QP_BF16, QP_ACTIVATION, 2, { QP_LINEAR_RESIDUAL_M, QP_LINEAR_RESIDUAL_N } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 2, { QP_LINEAR_RESIDUAL_M, QP_LINEAR_RESIDUAL_N } } },
    .precondition = precondition,
    .oracle = qp_linear_residual_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
    .sequence = sequence,
};
