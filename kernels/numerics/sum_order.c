#include "sum_order.h"

#include <math.h>

#include "block_fma.h"
#include "strict_fp.h"

const qp_sum_order qp_lane_orders_seen[QP_LANE_ORDERS_SEEN] = {
    { .lanes = 32, .run = 4 }, { .lanes = 16, .run = 8 }, { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN },
    { .lanes = 8, .run = 1 },  { .lanes = 32, .run = 1 }, { .lanes = 8, .run = 64 },
    { .lanes = 4, .run = 64 }
};

static void add_row(float *to, const float *from, int64_t width)
{
    for (int64_t i = 0; i < width; i++) to[i] += from[i];
}

void qp_fold_lanes(float *sums, int64_t width, qp_sum_order order)
{
    if (order.fold == QP_FOLD_IN_TURN)
        for (int l = 1; l < order.lanes; l++) add_row(sums, sums + l * width, width);
    else
        for (int offset = order.lanes / 2; offset > 0; offset /= 2)
            add_row(sums, sums + offset * width, offset * width);
}

static float lane_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, qp_sum_order order)
{
    float sum[QP_MAX_LANES] = { 0 };
    for (int64_t i = 0; i < k; i++) {
        float *lane = &sum[(i / order.run) % order.lanes];                          /* L1 */
        *lane = fmaf(qp_bf16_to_f32(a[i]), qp_bf16_to_f32(b[i * b_stride]), *lane); /* L2 */
    }
    qp_fold_lanes(sum, 1, order); /* L3 */
    return sum[0];
}

/* T2. */
static float narrow_chain_fma(float accumulator, const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k)
{
    enum { NARROW = QP_BLOCK_K / 2 };
    for (int64_t i = 0; i < k; i += NARROW)
        accumulator = qp_chain_fma(accumulator, a + i, b + i * b_stride, b_stride, k - i < NARROW ? k - i : NARROW);
    return accumulator;
}

float qp_ordered_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, qp_sum_order order)
{
    if (order.lanes) return lane_fma(a, b, b_stride, k, order);
    const int64_t first = order.run < k ? order.run : k; /* T1 */
    float (*const chain)(float, const qp_bf16 *, const qp_bf16 *, int64_t, int64_t) =
        order.narrow ? narrow_chain_fma : qp_chain_fma;
    return chain(chain(0.0f, a, b, b_stride, first), a + first, b + first * b_stride, b_stride, k - first);
}

bool qp_sum_order_is_known(qp_sum_order order)
{
    const int lanes = order.lanes;
    if (order.fold != QP_FOLD_HALVES && order.fold != QP_FOLD_IN_TURN) return false;
    if (lanes == 0) return order.run >= 0 && order.fold == QP_FOLD_HALVES;
    return lanes > 0 && lanes <= QP_MAX_LANES && (lanes & (lanes - 1)) == 0 && order.run > 0 && !order.narrow;
}
