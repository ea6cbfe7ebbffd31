#include "../cuda.cuh"
#include "../numerics/reduce.cuh"
#include "softmax.h"

namespace {

using namespace qp;

constexpr int kThreads = 128; /* of a block that has several rows */

/* What O1 sums. Computed again wherever it is needed: it has the same bits each time. */
struct exponentials {
    const qp_bf16 *x;
    float max;

    __device__ float one(int64_t i) const { return expf(__fsub_rn(qp_bf16_to_f32(x[i]), max)); } /* R1, R2 */
};

__device__ float largest(const qp_bf16 *x, int64_t n, int first, int step)
{
    float max = -INFINITY; /* a NaN may get lost here: it makes the sum, and so the row, NaN all the same */
    for (int64_t i = first; i < n; i += step) max = fmaxf(max, qp_bf16_to_f32(x[i]));
    return max;
}

/* Of `lanes` neighbouring threads; each of them gets it. */
__device__ float largest_of(float max, int lanes)
{
    for (int offset = lanes / 2; offset > 0; offset /= 2) max = fmaxf(max, __shfl_xor_sync(kWholeWarp, max, offset));
    return max;
}

__device__ void write_row(qp_bf16 *y, const exponentials &e, float sum, int64_t n, int first, int step)
{
    for (int64_t i = first; i < n; i += step) y[i] = qp_bf16_from_f32(__fdiv_rn(e.one(i), sum)); /* R3, R4 */
}

/* S1. blockDim.x lanes share a row, and a block has blockDim.y rows. A row past the end is empty. */
__global__ void __launch_bounds__(kThreads) softmax_warps(const qp_softmax_args a)
{
    const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
    const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const int64_t n = row < a.rows ? a.s : 0;
    const qp_bf16 *x = a.x + row * a.s;
    const exponentials e = { x, largest_of(largest(x, n, lane, lanes), lanes) };
    const float sum = softmax_warp_sum(e, n, lane, lanes); /* O1 */
    write_row(a.y + row * a.s, e, sum, n, lane, lanes);
}

/* S2, S3, S4. A block a row. */
__global__ void __launch_bounds__(QP_SOFTMAX_THREADS) softmax_block(const qp_softmax_args a)
{
    __shared__ float of_warps[QP_SOFTMAX_THREADS / kWarp];
    const int t = static_cast<int>(threadIdx.x);
    const int64_t row = blockIdx.x;
    const qp_bf16 *x = a.x + row * a.s;

    float max = largest_of(largest(x, a.s, t, QP_SOFTMAX_THREADS), kWarp);
    if (t % kWarp == 0) of_warps[t / kWarp] = max;
    __syncthreads();
    max = largest_of(of_warps[t % kWarp], kWarp); /* as many warps as lanes */

    const exponentials e = { x, max };
    const float sum = softmax_block_sum(e, a.s, row, of_warps); /* O1 */
    write_row(a.y + row * a.s, e, sum, a.s, t, QP_SOFTMAX_THREADS);
}

} // namespace

qp_status qp_softmax_cuda(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    if (a.s > QP_SOFTMAX_WARP_MAX) {
        softmax_block<<<blocks_for(a.rows, 1), QP_SOFTMAX_THREADS, 0, stream_of(call)>>>(a);
    } else {
        const unsigned lanes = static_cast<unsigned>(qp_softmax_lanes(a.s));
        const dim3 block(lanes, kThreads / lanes);
        softmax_warps<<<blocks_for(a.rows, block.y), block, 0, stream_of(call)>>>(a);
    }
    return launched("softmax");
}
