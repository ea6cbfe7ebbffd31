#include "rope.cuh"
#include "rope.h"

namespace {

constexpr int kVector = 8, kThreadsPerRow = 8, kRows = 16; /* 8 threads of 8 channels: half a row with D = 128 */

using vector = qp::vector<kVector>;

/* A row is one head of one token. Its channels j and j + D/2 are one thread's, as each is the other's `rotated`. T is a
 * vector, or one element where the operands or D/2 are not aligned for vectors. */
template <typename T> __global__ void __launch_bounds__(kThreadsPerRow *kRows) rope(const qp_rope_args a)
{
    constexpr int kWidth = sizeof(T) / sizeof(qp_bf16);
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.y, half = a.d / 2;
    if (row >= a.tokens * a.heads) return;
    const int64_t t = row / a.heads;
    for (int64_t j = threadIdx.x * kWidth; j < half; j += kThreadsPerRow * kWidth) {
        union {
            T all;
            qp_bf16 at[kWidth];
        } x[2], cos[2], sin[2], y[2];
#pragma unroll
        for (int side = 0; side < 2; side++) {
            x[side].all = *reinterpret_cast<const T *>(a.x + row * a.d + side * half + j);
            cos[side].all = *reinterpret_cast<const T *>(a.cos + t * a.d + side * half + j);
            sin[side].all = *reinterpret_cast<const T *>(a.sin + t * a.d + side * half + j);
        }
#pragma unroll
        for (int i = 0; i < kWidth; i++) {
            const float low = qp_bf16_to_f32(x[0].at[i]), high = qp_bf16_to_f32(x[1].at[i]);
            y[0].at[i] = qp::rope_element(low, -high, cos[0].at[i], sin[0].at[i]);
            y[1].at[i] = qp::rope_element(high, low, cos[1].at[i], sin[1].at[i]);
        }
#pragma unroll
        for (int side = 0; side < 2; side++) *reinterpret_cast<T *>(a.y + row * a.d + side * half + j) = y[side].all;
    }
}

} // namespace

qp_status qp_rope_cuda(const qp_call *call)
{
    const qp_rope_args a = qp_rope_bind(call);
    const unsigned blocks = qp::blocks_for(a.tokens * a.heads, kRows);
    const dim3 block(kThreadsPerRow, kRows);
    if (a.d / 2 % kVector == 0 && qp::aligned<kVector>(a.x, a.cos, a.sin, a.y))
        rope<vector><<<blocks, block, 0, qp::stream_of(call)>>>(a);
    else
        rope<qp_bf16><<<blocks, block, 0, qp::stream_of(call)>>>(a);
    return qp::launched("rope");
}
