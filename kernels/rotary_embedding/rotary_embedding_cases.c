#include "rotary_embedding.h"

qp_rotary_embedding_args qp_rotary_embedding_bind(const qp_call *call)
{
    return (qp_rotary_embedding_args){
        .positions = call->in[QP_ROTARY_EMBEDDING_POSITIONS],
        .inv_freq = call->out[QP_ROTARY_EMBEDDING_INV_FREQ],
        .cos = call->out[QP_ROTARY_EMBEDDING_COS],
        .sin = call->out[QP_ROTARY_EMBEDDING_SIN],
        .tokens = call->extent[QP_ROTARY_EMBEDDING_T],
        .d = call->extent[QP_ROTARY_EMBEDDING_D],
        .theta = call->params.theta,
    };
}

static const char *precondition(const qp_call *call)
{
    return call->extent[QP_ROTARY_EMBEDDING_D] == 2 * call->extent[QP_ROTARY_EMBEDDING_HALF]
               ? NULL
               : "D is not twice the number of frequencies"; /* P1 */
}

static uint64_t flops(const qp_call *call)
{
    return (uint64_t)call->extent[QP_ROTARY_EMBEDDING_T] * (uint64_t)call->extent[QP_ROTARY_EMBEDDING_HALF];
}

static const qp_case cases[] = {
    { .name = "decode", .extent = { 1, 64, 128 }, .params = { .theta = 1e6 } },
    { .name = "prefill_33", .extent = { 33, 64, 128 }, .params = { .theta = 1e6 } },
    { .name = "theta_5e6", .extent = { 7, 64, 128 }, .params = { .theta = 5e6 } },
    { .name = "one_pair", .extent = { 1, 1, 2 }, .params = { .theta = 1e6 } },
    { .name = NULL },
};

static qp_status theta_1e4(const qp_call *call)
{
    qp_call wrong = *call;
    wrong.params.theta = 1e4;
    return qp_rotary_embedding_cpu(&wrong);
}

static const qp_fault faults[] = {
    { "rope-theta-1e4", "rope theta is 1e4 in place of 1e6", "*", theta_1e4 },
    { .name = NULL },
};

const qp_operation qp_rotary_embedding_operation = {
    .name = "rotary_embedding",
    .formula = "cos[t, j], sin[t, j] of position[t] * theta^(-2 (j mod D/2) / D)",
    .extents = { "T", "D/2", "D" },
    .in = { { "positions", QP_I64, QP_ACTIVATION, 1, { QP_ROTARY_EMBEDDING_T } } },
    .out = { { "inv_freq", QP_F32, QP_ACTIVATION, 1, { QP_ROTARY_EMBEDDING_HALF } },
             { "cos", QP_BF16, QP_ACTIVATION, 2, { QP_ROTARY_EMBEDDING_T, QP_ROTARY_EMBEDDING_D } },
             { "sin", QP_BF16, QP_ACTIVATION, 2, { QP_ROTARY_EMBEDDING_T, QP_ROTARY_EMBEDDING_D } } },
    .precondition = precondition,
    .oracle = qp_rotary_embedding_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
};
