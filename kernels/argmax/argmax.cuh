/* The order of argmax on the card, for every kernel that looks for the largest: O1 of argmax.h. */
#ifndef QP_ARGMAX_CUH
#define QP_ARGMAX_CUH

#include "../cuda.cuh"
#include "../numerics/warp.cuh"

namespace qp {

/* An element and its place; { 0, 0 } is worse than any. */
struct candidate {
    unsigned rank; /* grows with the value */
    int64_t index;
};

/* O1: both zeros have one rank, and so have all NaNs, above the infinity. No value has the rank 0. */
__device__ __forceinline__ unsigned rank_of(qp_bf16 value)
{
    const unsigned magnitude = value.bits & 0x7fffu;
    if (magnitude > 0x7f80u) return 0xffffu;
    return value.bits & 0x8000u ? 0x8000u - magnitude : 0x8000u + magnitude;
}

/* O1: the larger value, and of equal ones the lower index; so the order of comparisons does not matter. */
__device__ __forceinline__ candidate better(candidate a, candidate b)
{
    return a.rank > b.rank || (a.rank == b.rank && a.index < b.index) ? a : b;
}

/* Lane 0 gets the best of the warp. */
__device__ __forceinline__ candidate best_of_warp(candidate best)
{
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
        best = better(best, { __shfl_down_sync(kWholeWarp, best.rank, offset),
                              __shfl_down_sync(kWholeWarp, best.index, offset) });
    return best;
}

/* The best of a block's threads, in thread 0. All call together, once a kernel. */
__device__ __forceinline__ candidate best_of_block(candidate best)
{
    __shared__ candidate of_warps[kWarp];
    const int t = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / kWarp;
    best = best_of_warp(best);
    if (t % kWarp == 0) of_warps[t / kWarp] = best;
    __syncthreads();
    return t < kWarp ? best_of_warp(t < warps ? of_warps[t] : candidate{ 0, 0 }) : best;
}

} // namespace qp

#endif
