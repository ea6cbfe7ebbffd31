#include "multiply.h"

qp_multiply_args qp_multiply_bind(const qp_call *call)
{
    return (qp_multiply_args){
        .a = call->in[QP_MULTIPLY_A],
        .b = call->in[QP_MULTIPLY_B],
        .y = call->out[0],
        .n = call->extent[QP_MULTIPLY_N],
    };
}

static uint64_t flops(const qp_call *call) { return (uint64_t)call->extent[QP_MULTIPLY_N]; }

static const qp_case cases[] = {
    { .name = "decode", .extent = { 3072 } },
    { .name = "wide", .extent = { 1001 }, .fill = QP_FILL_WIDE },
    { .name = "edges", .extent = { 64 }, .fill = QP_FILL_EDGES },
    { .name = "one_element", .extent = { 1 } },
    { .name = NULL },
};

const qp_operation qp_multiply_operation = {
    .name = "multiply",
    .formula = "y[i] = a[i] * b[i]",
    .extents = { "N" },
    .in = { { "a", QP_BF16, QP_ACTIVATION, 1, { QP_MULTIPLY_N } },
            { "b", QP_BF16, QP_ACTIVATION, 1, { QP_MULTIPLY_N } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 1, { QP_MULTIPLY_N } } },
    .oracle = qp_multiply_oracle,
    .flops = flops,
    .cases = cases,
};
