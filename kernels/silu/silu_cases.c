#include "silu.h"

qp_silu_args qp_silu_bind(const qp_call *call)
{
    return (qp_silu_args){ .x = call->in[QP_SILU_X], .y = call->out[0], .n = call->extent[QP_SILU_N] };
}

static uint64_t flops(const qp_call *call) { return 4 * (uint64_t)call->extent[QP_SILU_N]; }

static const qp_case cases[] = {
    { .name = "decode", .extent = { 3072 } },
    { .name = "wide", .extent = { 1001 }, .fill = QP_FILL_WIDE },
    { .name = "edges", .extent = { 64 }, .fill = QP_FILL_EDGES },
    { .name = "one_element", .extent = { 1 } },
    { .name = NULL },
};

const qp_operation qp_silu_operation = {
    .name = "silu",
    .formula = "y[i] = x[i] / (1 + exp(-x[i]))",
    .extents = { "N" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 1, { QP_SILU_N } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 1, { QP_SILU_N } } },
    .oracle = qp_silu_oracle,
    .flops = flops,
    .cases = cases,
};
