/* PyTorch's summation orders on the card, twin of reduce.h, which defines the steps M1 to M4 and S1 to S4. M5 is one
 * multiplication by qp_mean_factor.
 *
 * The threads that share a row are neighbours, and all threads of a warp, or of a block where a function says so, call
 * together. What is summed is a type with a member `one(i)`, the summand i, and for the mean also `four(i)`, the
 * summands i to i + 3: so nothing has to be stored before it is added. Each is asked for once. For softmax `four` may be
 * left out, and Index is the type to count elements in. */
#ifndef QP_REDUCE_CUH
#define QP_REDUCE_CUH

#include <cuda_runtime.h>

#include "reduce.h"
#include "warp.cuh"

namespace qp {

/* Lane 0 gets the sum of the warp: lane l += lane l + offset for the offsets 16, 8, 4, 2, 1. */
__device__ __forceinline__ float fold_warp(float sum)
{
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
        sum = __fadd_rn(sum, __shfl_down_sync(kWholeWarp, sum, offset));
    return sum;
}

/* The same sum for every lane: lanes that add the same two numbers get the same result. */
__device__ __forceinline__ float fold_warp_for_all(float sum)
{
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
        sum = __fadd_rn(sum, __shfl_xor_sync(kWholeWarp, sum, offset));
    return sum;
}

/* M1, M2, M3: what lane `lane` of `lanes` sums of a row of n. Index is the type to count elements in. */
template <typename Summands, typename Index>
__device__ __forceinline__ float mean_lane_sum(const Summands &x, Index n, int lane, int lanes)
{
    float a[QP_MEAN_VECTOR] = {};
    if (n >= QP_MEAN_VECTOR_MIN) { /* M1 */
        for (Index start = QP_MEAN_VECTOR * lane; start < n; start += QP_MEAN_VECTOR * lanes) {
            const float4 v = x.four(start);
            a[0] = __fadd_rn(a[0], v.x);
            a[1] = __fadd_rn(a[1], v.y);
            a[2] = __fadd_rn(a[2], v.z);
            a[3] = __fadd_rn(a[3], v.w);
        }
    } else { /* M2 */
        for (Index start = lane; start < n; start += QP_MEAN_VECTOR * lanes)
#pragma unroll
            for (int i = 0; i < QP_MEAN_VECTOR; i++)
                if (start + i * lanes < n) a[i] = __fadd_rn(a[i], x.one(start + i * lanes));
    }
    return __fadd_rn(__fadd_rn(__fadd_rn(a[0], a[1]), a[2]), a[3]); /* M3 */
}

/* M4: lane 0 gets the sum of the row. `lanes` is a power of two from 32 to QP_MEAN_MAX_LANES; `shared` has a place for each
 * lane of the row. All threads of the block call this together. */
__device__ __forceinline__ float mean_fold(float sum, int lane, int lanes, float *shared)
{
    if (lanes > kWarp) shared[lane] = sum;
    for (int offset = lanes / 2; offset >= kWarp; offset /= 2) {
        __syncthreads();
        if (lane >= offset) continue;
        sum = __fadd_rn(sum, shared[lane + offset]);
        shared[lane] = sum;
    }
    return fold_warp(sum);
}

/* S1: every lane of the row gets the sum. `lanes` is a power of two of at most 32. */
template <typename Index = int64_t, typename Summands>
__device__ __forceinline__ float softmax_warp_sum(const Summands &x, int64_t n, int lane, int lanes)
{
    const Index end = static_cast<Index>(n);
    float sum = 0.0f;
    for (Index i = lane; i < end; i += lanes) sum = __fadd_rn(sum, x.one(i));
    for (int offset = lanes / 2; offset > 0; offset /= 2)
        sum = __fadd_rn(sum, __shfl_xor_sync(kWholeWarp, sum, offset));
    return sum;
}

template <typename Summands, typename Index>
__device__ __forceinline__ auto four_of(const Summands &x, Index i, int) -> decltype(x.four(i))
{
    return x.four(i);
}
/* Without a `four`; where there is one, an int chooses the function above. */
template <typename Summands, typename Index> __device__ __forceinline__ float4 four_of(const Summands &x, Index i, long)
{
    return float4{ x.one(i), x.one(i + 1), x.one(i + 2), x.one(i + 3) };
}

/* S2, S3, S4: what thread t of QP_SOFTMAX_THREADS adds. */
template <typename Index = int64_t, typename Summands>
__device__ __forceinline__ float softmax_thread_sum(const Summands &x, int64_t n, int64_t row, int t)
{
    const qp_softmax_parts parts = qp_softmax_parts_of(n, row);
    const Index head = static_cast<Index>(parts.head), rest = static_cast<Index>(parts.head + parts.body),
                end = static_cast<Index>(n), own = t - (QP_SOFTMAX_THREADS - head);
    float sum = own >= 0 ? x.one(own) : 0.0f;
    for (Index start = head + t * QP_SOFTMAX_VECTOR; start < rest; start += QP_SOFTMAX_THREADS * QP_SOFTMAX_VECTOR) {
        const float4 v = four_of(x, start, 0);
        sum = __fadd_rn(__fadd_rn(__fadd_rn(__fadd_rn(sum, v.x), v.y), v.z), v.w);
    }
#pragma unroll 4
    for (Index i = rest + t; i < end; i += QP_SOFTMAX_THREADS) sum = __fadd_rn(sum, x.one(i));
    return sum;
}

/* The fold of S2, S3, S4: every thread of a block of QP_SOFTMAX_THREADS gets the sum of what they give, and all call
 * together. `shared` has a place for each warp. */
__device__ __forceinline__ float softmax_block_fold(float sum, float *shared)
{
    const int t = static_cast<int>(threadIdx.x);
    sum = fold_warp(sum);
    __syncthreads(); /* what `shared` held before has been read */
    if (t % kWarp == 0) shared[t / kWarp] = sum;
    __syncthreads();
    if (t < kWarp) {
        sum = fold_warp(shared[t]); /* as many warps as lanes */
        if (t == 0) shared[0] = sum;
    }
    __syncthreads();
    return shared[0];
}

/* S2, S3, S4 of a block of QP_SOFTMAX_THREADS, as softmax_block_fold. */
template <typename Index = int64_t, typename Summands>
__device__ __forceinline__ float softmax_block_sum(const Summands &x, int64_t n, int64_t row, float *shared)
{
    return softmax_block_fold(softmax_thread_sum<Index>(x, n, row, static_cast<int>(threadIdx.x)), shared);
}

} // namespace qp

#endif
