#include <math.h>

#include "../numerics/strict_fp.h"
#include "softmax.h"

qp_softmax_args qp_softmax_bind(const qp_call *call)
{
    return (qp_softmax_args){
        .x = call->in[QP_SOFTMAX_X],
        .y = call->out[0],
        .rows = call->extent[QP_SOFTMAX_ROWS],
        .s = call->extent[QP_SOFTMAX_S],
    };
}

static uint64_t flops(const qp_call *call)
{
    return 4 * (uint64_t)call->extent[QP_SOFTMAX_ROWS] * (uint64_t)call->extent[QP_SOFTMAX_S];
}

static const qp_case cases[] = {
    { .name = "decode_200", .extent = { 16, 200 } },
    { .name = "prefill_33", .extent = { 528, 33 } },
    { .name = "longest_warp_row", .extent = { 2, 2048 } },
    { .name = "shortest_block_row", .extent = { 2, 2049 } },
    { .name = "wide", .extent = { 3, 31 }, .fill = QP_FILL_WIDE },
    { .name = "one_element", .extent = { 1, 1 } },
    { .name = NULL },
};

/* Every intermediate is rounded to bf16, as without dtype=float32. */
static qp_status in_bf16(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    for (int64_t r = 0; r < a.rows; r++) {
        const qp_bf16 *x = a.x + r * a.s;
        qp_bf16 *y = a.y + r * a.s;
        float max = qp_bf16_to_f32(x[0]), sum = 0.0f;
        for (int64_t s = 1; s < a.s; s++) max = fmaxf(max, qp_bf16_to_f32(x[s]));
        for (int64_t s = 0; s < a.s; s++) {
            y[s] = qp_bf16_from_f32(expf(qp_bf16_to_f32(x[s]) - max));
            sum = qp_bf16_to_f32(qp_bf16_from_f32(sum + qp_bf16_to_f32(y[s])));
        }
        for (int64_t s = 0; s < a.s; s++) y[s] = qp_bf16_from_f32(qp_bf16_to_f32(y[s]) / sum);
    }
    return QP_OK;
}

static const qp_fault faults[] = {
    { "softmax-in-bf16", "softmax keeps its intermediates in bf16 in place of f32", "*", in_bf16 },
    { .name = NULL },
};

const qp_operation qp_softmax_operation = {
    .name = "softmax",
    .formula = "y[r, s] = exp(x[r, s] - max of x[r, :]) / sum of the same over s",
    .extents = { "rows", "S" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_SOFTMAX_ROWS, QP_SOFTMAX_S } } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 2, { QP_SOFTMAX_ROWS, QP_SOFTMAX_S } } },
    .oracle = qp_softmax_oracle,
    .flops = flops,
    .cases = cases,
    .faults = faults,
};
