/* The dot product by lanes on the card, twin of sum_order.h. The lanes are threads; how they come together for L3 is the
 * kernel's choice. */
#ifndef QP_SUM_ORDER_CUH
#define QP_SUM_ORDER_CUH

#include <cuda_runtime.h>

#include "bf16.h"
#include "block_fma.cuh"
#include "sum_order.h"

namespace qp {

/* The chain over the elements [k, end) in blocks of 16, or of 8 (T2). */
template <int kInFlight, int kTiles, class A, class B>
__device__ __forceinline__ void chain_of_blocks(float (&accumulator)[kTiles][4], const A &a, const B &b, int64_t k,
                                                int64_t end, bool narrow)
{
    if (!narrow) {
        chain_fma<kInFlight>(accumulator, a, b, k, end);
        return;
    }
    constexpr int kNarrow = QP_BLOCK_K / 2;
    for (; k < end; k += kNarrow) last_block_fma(accumulator, a, b, k, min(end - k, static_cast<int64_t>(kNarrow)));
}

/* The tensor core's orders over n elements, into accumulators that are zero: T1, T2. */
template <int kInFlight, int kTiles, class A, class B>
__device__ __forceinline__ void tensor_core_fma(float (&accumulator)[kTiles][4], const A &a, const B &b, int64_t n,
                                                qp_sum_order order)
{
    const int64_t first = min(static_cast<int64_t>(order.run), n);
    chain_of_blocks<kInFlight>(accumulator, a, b, 0, first, order.narrow);
    chain_of_blocks<kInFlight>(accumulator, a, b, first, n, order.narrow);
}

/* L1, L2: what one lane sums of a[k] * b[k * b_stride]. */
__device__ __forceinline__ float lane_sum(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k,
                                          qp_sum_order order, int lane)
{
    const int lanes = order.lanes, run = order.run;
    float sum = 0.0f;
    for (int64_t start = static_cast<int64_t>(lane) * run; start < k; start += static_cast<int64_t>(lanes) * run) {
        const int64_t end = k - start < run ? k : start + run;
        for (int64_t i = start; i < end; i++)
            sum = __fmaf_rn(qp_bf16_to_f32(a[i]), qp_bf16_to_f32(b[i * b_stride]), sum);
    }
    return sum;
}

/* L3 among `order.lanes` neighbouring threads of a warp, all of which take part. The first of them gets the sum. */
__device__ __forceinline__ float fold_lanes(float sum, qp_sum_order order)
{
    if (order.fold == QP_FOLD_IN_TURN) {
        float total = sum;
        for (int l = 1; l < order.lanes; l++) total = __fadd_rn(total, __shfl_sync(kWholeWarp, sum, l, order.lanes));
        return total;
    }
    for (int offset = order.lanes / 2; offset > 0; offset /= 2)
        sum = __fadd_rn(sum, __shfl_down_sync(kWholeWarp, sum, static_cast<unsigned>(offset), order.lanes));
    return sum;
}

/* L3 in halves of kSums sums at once, among kLanes neighbouring threads of a warp. Wherever two of them would add the same
 * two numbers, each takes half of the sums instead: so the thread l ends with the sum l / (kLanes / kSums), in sum[0]. */
template <int kLanes, int kSums> __device__ __forceinline__ void fold_lanes_together(float (&sum)[kSums])
{
    static_assert(kSums <= kLanes && (kSums & (kSums - 1)) == 0 && kLanes <= kWarp, "halves of halves");
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
    int left = kSums;
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
        const bool upper = lane & offset;
        if (left == 1) {
            sum[0] = __fadd_rn(sum[0], __shfl_xor_sync(kWholeWarp, sum[0], offset));
            continue;
        }
        left /= 2;
#pragma unroll
        for (int i = 0; i < kSums / 2; i++) {
            if (i >= left) break;
            const float own = upper ? sum[i + left] : sum[i], other = upper ? sum[i] : sum[i + left];
            sum[i] = __fadd_rn(own, __shfl_xor_sync(kWholeWarp, other, offset));
        }
    }
}

} // namespace qp

#endif
