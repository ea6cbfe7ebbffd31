#include "linear.h"

#include "../numerics/block_fma.h"
#include "../threads.h"

qp_linear_args qp_linear_bind(const qp_call *call)
{
    return (qp_linear_args){
        .x = call->in[QP_LINEAR_X],
        .weight = call->in[QP_LINEAR_WEIGHT],
        .y = call->out[0],
        .m = call->extent[QP_LINEAR_M],
        .n = call->extent[QP_LINEAR_N],
        .k = call->extent[QP_LINEAR_K],
        .part = call->params.part > 0 ? call->params.part : call->extent[QP_LINEAR_K],
    };
}

qp_status qp_linear_unrounded(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    float *y = call->out[0];
#pragma omp parallel for if (QP_WORTH_THREADS(a.m * a.n * a.k))
    for (int64_t i = 0; i < a.m * a.n; i++)
        y[i] = qp_split_chain_fma(a.x + i / a.n * a.k, a.weight + i % a.n * a.k, a.k, a.part);
    return QP_OK;
}

static const char *precondition(const qp_call *call)
{
    return call->params.part % 16 ? "a part of a split K is not a multiple of 16" : NULL;
}

static uint64_t flops(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    return 2 * (uint64_t)a.m * (uint64_t)a.n * (uint64_t)a.k;
}

/* { M, N, K } of Qwen3-0.6B, then sizes that no kernel likes. */
static const qp_case cases[] = {
    { .name = "q_proj_decode", .extent = { 1, 2048, 1024 } },
    { .name = "k_proj_prefill_7", .extent = { 7, 1024, 1024 } },
    { .name = "down_proj_split", .extent = { 1, 1024, 3072 }, .params = { .part = 1536 } },
    { .name = "unequal_parts", .extent = { 3, 40, 1000 }, .params = { .part = 384 } },
    { .name = "odd", .extent = { 5, 33, 1000 }, .fill = QP_FILL_WIDE },
    { .name = "k_15", .extent = { 3, 7, 15 } },
    { .name = "k_17_edges", .extent = { 3, 7, 17 }, .fill = QP_FILL_EDGES },
    { .name = "one_element", .extent = { 1, 1, 1 } },
    { .name = NULL },
};

const qp_operation qp_linear_operation = {
    .name = "linear",
    .formula = "y[m, n] = sum over k of x[m, k] * weight[n, k]",
    .extents = { "M", "N", "K" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_LINEAR_M, QP_LINEAR_K } },
            { "weight", QP_BF16, QP_WEIGHT, 2, { QP_LINEAR_N, QP_LINEAR_K } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 2, { QP_LINEAR_M, QP_LINEAR_N } } },
    .precondition = precondition,
    .oracle = qp_linear_oracle,
    .flops = flops,
    .cases = cases,
};
