#include "rms_norm.cuh"
#include "rms_norm.h"

namespace {

using namespace qp;

constexpr int kMinThreads = 128, kVector = QP_MEAN_VECTOR;

using vector4 = vector<kVector>;

/* blockDim.x lanes share a row, as O1 says, and a block has blockDim.y rows. */
__global__ void __launch_bounds__(QP_MEAN_MAX_LANES)
    rms_norm(const qp_rms_norm_args a, const float factor, const bool vectors)
{
    __shared__ float sums[QP_MEAN_MAX_LANES], scales[kMinThreads / kWarp];
    const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
    const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const qp_bf16 *x = a.x + row * a.dim;
    qp_bf16 *y = a.y + row * a.dim;

    float sum = row < a.rows ? mean_lane_sum(squares{ x, vectors }, a.dim, lane, lanes) : 0.0f;
    sum = mean_fold(sum, lane, lanes, sums + threadIdx.y * blockDim.x);
    if (lane == 0) scales[threadIdx.y] = rms_norm_scale(sum, factor, a.eps); /* O1, R2, R3 */
    __syncthreads();
    if (row >= a.rows) return;

    const float scale = scales[threadIdx.y];
    if (vectors) {
        for (int64_t c = kVector * lane; c < a.dim; c += kVector * lanes) {
            const vector4 v = *reinterpret_cast<const vector4 *>(x + c),
                          weight = *reinterpret_cast<const vector4 *>(a.weight + c);
            vector4 result;
#pragma unroll
            for (int i = 0; i < kVector; i++) result.at[i] = rms_norm_element(v.at[i], weight.at[i], scale);
            *reinterpret_cast<vector4 *>(y + c) = result;
        }
    } else {
        for (int64_t c = lane; c < a.dim; c += lanes) y[c] = rms_norm_element(x[c], a.weight[c], scale);
    }
}

} // namespace

qp_status qp_rms_norm_cuda(const qp_call *call)
{
    const qp_rms_norm_args a = qp_rms_norm_bind(call);
    const unsigned lanes = static_cast<unsigned>(qp_mean_lanes(a.dim, a.rows));
    const dim3 block(lanes, lanes < kMinThreads ? kMinThreads / lanes : 1);
    const bool vectors = a.dim % kVector == 0 && qp::aligned<kVector>(a.x, a.weight, a.y);
    rms_norm<<<blocks_for(a.rows, block.y), block, 0, stream_of(call)>>>(a, qp_mean_factor(a.dim, a.rows), vectors);
    return launched("rms_norm");
}
