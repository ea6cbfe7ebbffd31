#include "residual_add.h"

qp_residual_add_args qp_residual_add_bind(const qp_call *call)
{
    return (qp_residual_add_args){
        .residual = call->in[QP_RESIDUAL_ADD_RESIDUAL],
        .x = call->in[QP_RESIDUAL_ADD_X],
        .y = call->out[0],
        .n = call->extent[QP_RESIDUAL_ADD_N],
    };
}

static uint64_t flops(const qp_call *call) { return (uint64_t)call->extent[QP_RESIDUAL_ADD_N]; }

static const qp_case cases[] = {
    { .name = "decode", .extent = { 3072 } },
    { .name = "wide", .extent = { 1001 }, .fill = QP_FILL_WIDE },
    { .name = "edges", .extent = { 64 }, .fill = QP_FILL_EDGES },
    { .name = "one_element", .extent = { 1 } },
    { .name = NULL },
};

const qp_operation qp_residual_add_operation = {
    .name = "residual_add",
    .formula = "y[i] = residual[i] + x[i]",
    .extents = { "N" },
    .in = { { "residual", QP_BF16, QP_ACTIVATION, 1, { QP_RESIDUAL_ADD_N } },
            { "x", QP_BF16, QP_ACTIVATION, 1, { QP_RESIDUAL_ADD_N } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 1, { QP_RESIDUAL_ADD_N } } },
    .oracle = qp_residual_add_oracle,
    .flops = flops,
    .cases = cases,
};
