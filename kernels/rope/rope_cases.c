#include <stdlib.h>

#include "rope.h"

qp_rope_args qp_rope_bind(const qp_call *call)
{
    return (qp_rope_args){
        .x = call->in[QP_ROPE_X],
        .cos = call->in[QP_ROPE_COS],
        .sin = call->in[QP_ROPE_SIN],
        .y = call->out[0],
        .tokens = call->extent[QP_ROPE_T],
        .heads = call->extent[QP_ROPE_HEADS],
        .d = call->extent[QP_ROPE_D],
    };
}

static const char *precondition(const qp_call *call)
{
    return call->extent[QP_ROPE_D] % 2 ? "D is odd" : NULL; /* P1 */
}

static uint64_t elements(const qp_call *call)
{
    return (uint64_t)call->extent[QP_ROPE_T] * (uint64_t)call->extent[QP_ROPE_HEADS] *
           (uint64_t)call->extent[QP_ROPE_D];
}

static uint64_t flops(const qp_call *call) { return 3 * elements(call); }

static const qp_case cases[] = {
    { .name = "q_decode", .extent = { 1, 16, 128 } },
    { .name = "k_prefill_33", .extent = { 33, 8, 128 } },
    { .name = "wide", .extent = { 7, 3, 64 }, .fill = QP_FILL_WIDE },
    { .name = "edges", .extent = { 5, 2, 32 }, .fill = QP_FILL_EDGES },
    { .name = "one_pair", .extent = { 1, 1, 2 } },
    { .name = NULL },
};

/* Pairs neighbours (2i, 2i + 1), as other models do: the right rotation on shuffled channels, then shuffled back. */
static qp_status interleaved_pairs(const qp_call *call)
{
    const qp_rope_args a = qp_rope_bind(call);
    const int64_t half = a.d / 2, rows = a.tokens * a.heads;
    qp_bf16 *x = malloc((size_t)(rows * a.d) * sizeof *x), *y = malloc((size_t)(rows * a.d) * sizeof *y);
    qp_status status = QP_OK;
    if (!x || !y) {
        status = qp_fail(QP_NO_MEMORY, "rope: no memory for shuffled channels");
        goto done;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < a.d; j++) x[r * a.d + j] = a.x[r * a.d + (j < half ? 2 * j : 2 * (j - half) + 1)];
    qp_call wrong = *call;
    wrong.in[QP_ROPE_X] = x;
    wrong.out[0] = y;
    status = qp_rope_cpu(&wrong);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < a.d; j++) a.y[r * a.d + (j < half ? 2 * j : 2 * (j - half) + 1)] = y[r * a.d + j];
done:
    free(y);
    free(x);
    return status;
}

static const qp_fault faults[] = {
    { "rope-interleaved", "channels are paired with their neighbours in place of the other half", "*",
      interleaved_pairs },
    { .name = NULL },
};

const qp_operation qp_rope_operation = {
    .name = "rope",
    .formula = "y[t, h, :] = x[t, h, :] * cos[t, :] + rotate_half(x[t, h, :]) * sin[t, :]",
    .extents = { "T", "heads", "D" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 3, { QP_ROPE_T, QP_ROPE_HEADS, QP_ROPE_D } },
            { "cos", QP_BF16, QP_ACTIVATION, 2, { QP_ROPE_T, QP_ROPE_D } },
            { "sin", QP_BF16, QP_ACTIVATION, 2, { QP_ROPE_T, QP_ROPE_D } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 3, { QP_ROPE_T, QP_ROPE_HEADS, QP_ROPE_D } } },
    .precondition = precondition,
    .oracle = qp_rope_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
};
