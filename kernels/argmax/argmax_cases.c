#include "argmax.h"

qp_argmax_args qp_argmax_bind(const qp_call *call)
{
    return (qp_argmax_args){
        .x = call->in[QP_ARGMAX_X],
        .y = call->out[0],
        .tokens = call->extent[QP_ARGMAX_T],
        .v = call->extent[QP_ARGMAX_V],
    };
}

static const char *precondition(const qp_call *call)
{
    return call->extent[QP_ARGMAX_ONE] == 1 ? NULL : "the result is one index";
}

static uint64_t flops(const qp_call *call) { return (uint64_t)call->extent[QP_ARGMAX_V]; }

static const qp_case cases[] = {
    { .name = "vocabulary", .extent = { 1, 151936, 1 } },
    { .name = "last_row", .extent = { 7, 1000, 1 } },
    { .name = "ties", .extent = { 1, 64, 1 }, .fill = QP_FILL_EDGES },
    { .name = "one_element", .extent = { 1, 1, 1 } },
    { .name = NULL },
};

const qp_operation qp_argmax_operation = {
    .name = "argmax",
    .formula = "y = index of the largest element of x[T - 1, :]",
    .extents = { "T", "V", "1" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_ARGMAX_T, QP_ARGMAX_V } } },
    .out = { { "y", QP_I64, QP_ACTIVATION, 1, { QP_ARGMAX_ONE } } },
    .precondition = precondition,
    .oracle = qp_argmax_oracle,
    .flops = flops,
    .cases = cases,
};
