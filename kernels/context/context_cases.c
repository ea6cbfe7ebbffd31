#include "context.h"

qp_context_args qp_context_bind(const qp_call *call)
{
    return (qp_context_args){
        .probs = call->in[QP_CONTEXT_PROBS],
        .values = call->in[QP_CONTEXT_VALUES],
        .y = call->out[0],
        .tokens = call->extent[QP_CONTEXT_T],
        .keys_count = call->extent[QP_CONTEXT_S],
        .query_heads = call->extent[QP_CONTEXT_HQ],
        .value_heads = call->extent[QP_CONTEXT_HKV],
        .d = call->extent[QP_CONTEXT_D],
        .order = call->params.order,
    };
}

static const char *precondition(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    if (a.query_heads % a.value_heads) return "the query heads are not a multiple of the value heads"; /* P1 */
    if (!qp_sum_order_is_known(a.order)) return "the order of summation is not known";                 /* P2 */
    return NULL;
}

static uint64_t flops(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    return 2 * (uint64_t)a.query_heads * (uint64_t)a.tokens * (uint64_t)a.keys_count * (uint64_t)a.d;
}

static const qp_case cases[] = {
    { .name = "decode_200", .extent = { 1, 200, 16, 8, 128 } },
    { .name = "decode_255_lanes", .extent = { 1, 255, 4, 2, 128 }, .params = { .order = { .lanes = 32, .run = 4 } } },
    { .name = "prefill_33", .extent = { 33, 33, 16, 8, 128 } },
    { .name = "wide", .extent = { 3, 7, 3, 1, 40 }, .fill = QP_FILL_WIDE },
    { .name = "one_element", .extent = { 1, 1, 1, 1, 1 } },
    { .name = NULL },
};

const qp_operation qp_context_operation = {
    .name = "context",
    .formula = "y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :]",
    .extents = { "T", "S", "Hq", "Hkv", "D" },
    .in = { { "probs", QP_BF16, QP_ACTIVATION, 3, { QP_CONTEXT_HQ, QP_CONTEXT_T, QP_CONTEXT_S } },
            { "values", QP_BF16, QP_ACTIVATION, 3, { QP_CONTEXT_S, QP_CONTEXT_HKV, QP_CONTEXT_D } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 3, { QP_CONTEXT_T, QP_CONTEXT_HQ, QP_CONTEXT_D } } },
    .precondition = precondition,
    .oracle = qp_context_oracle,
    .flops = flops,
    .cases = cases,
};
