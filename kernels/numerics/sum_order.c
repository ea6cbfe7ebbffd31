#include "lane_fma.h"

#include <math.h>

#include "block_fma.h"
#include "strict_fp.h"

float qp_lane_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes, int run)
{
    float sum[QP_MAX_LANES] = { 0 };
    for (int64_t i = 0; i < k; i++) {
        float *lane = &sum[(i / run) % lanes];                                      /* L1 */
        *lane = fmaf(qp_bf16_to_f32(a[i]), qp_bf16_to_f32(b[i * b_stride]), *lane); /* L2 */
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2)
        for (int l = 0; l < offset; l++) sum[l] += sum[l + offset]; /* L3 */
    return sum[0];
}

float qp_ordered_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes, int run)
{
    if (lanes) return qp_lane_fma(a, b, b_stride, k, lanes, run);
    const int64_t first = run < k ? run : k;
    const float accumulator = qp_chain_fma(0.0f, a, b, b_stride, first);
    return qp_chain_fma(accumulator, a + first, b + first * b_stride, b_stride, k - first);
}

bool qp_order_is_known(int lanes, int run)
{
    if (lanes == 0) return run >= 0;
    return lanes > 0 && lanes <= QP_MAX_LANES && (lanes & (lanes - 1)) == 0 && run > 0;
}
