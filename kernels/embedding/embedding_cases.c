#include "embedding.h"

qp_embedding_args qp_embedding_bind(const qp_call *call)
{
    return (qp_embedding_args){
        .ids = call->in[QP_EMBEDDING_IDS],
        .table = call->in[QP_EMBEDDING_TABLE],
        .y = call->out[0],
        .tokens = call->extent[QP_EMBEDDING_T],
        .vocabulary = call->extent[QP_EMBEDDING_V],
        .hidden = call->extent[QP_EMBEDDING_HIDDEN],
    };
}

static uint64_t flops(const qp_call *call)
{
    (void)call;
    return 0;
}

/* Of the table, only the rows that are asked for. */
static uint64_t bytes(const qp_call *call)
{
    const qp_embedding_args a = qp_embedding_bind(call);
    return (uint64_t)a.tokens * (sizeof *a.ids + 2 * (uint64_t)a.hidden * sizeof *a.y);
}

static const qp_case cases[] = {
    { .name = "decode", .extent = { 1, 4096, 1024 } },
    { .name = "prefill_33", .extent = { 33, 4096, 256 } },
    { .name = "one_element", .extent = { 1, 1, 1 } },
    { .name = NULL },
};

const qp_operation qp_embedding_operation = {
    .name = "embedding",
    .formula = "y[t, :] = table[ids[t], :]",
    .extents = { "T", "V", "H" },
    .in = { { "ids", QP_I64, QP_ACTIVATION, 1, { QP_EMBEDDING_T } },
            { "table", QP_BF16, QP_WEIGHT, 2, { QP_EMBEDDING_V, QP_EMBEDDING_HIDDEN } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 2, { QP_EMBEDDING_T, QP_EMBEDDING_HIDDEN } } },
    .oracle = qp_embedding_oracle,
    .flops = flops,
    .bytes = bytes,
    .cases = cases,
};
