#include "../cuda.cuh"
#include "silu.h"

namespace {

constexpr int kThreads = 128, kVector = 8;

struct alignas(16) vector {
    qp_bf16 at[kVector];
};

bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % sizeof(vector) == 0; }

/* PyTorch's compiler contracts expf's last multiplication, by a power of two, and R2 into one fma. That is the same
 * value: the product is exact unless it is below 2^-126, where the sum is 1 either way, or overflows, as the sum then
 * does. */
__device__ qp_bf16 silu_of(qp_bf16 value)
{
    const float x = qp_bf16_to_f32(value);
    return qp_bf16_from_f32(__fdiv_rn(x, __fadd_rn(1.0f, expf(-x)))); /* R1, R2, R3, R4 */
}

/* A thread has kVector neighbouring elements: in one access where `vectors` allows it, one by one otherwise and at the
 * end. */
__global__ void __launch_bounds__(kThreads) silu(const qp_silu_args a, const bool vectors)
{
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
    if (vectors && first + kVector <= a.n) {
        const vector x = *reinterpret_cast<const vector *>(a.x + first);
        vector y;
#pragma unroll
        for (int i = 0; i < kVector; i++) y.at[i] = silu_of(x.at[i]);
        *reinterpret_cast<vector *>(a.y + first) = y;
        return;
    }
    for (int64_t i = first; i < min(first + kVector, a.n); i++) a.y[i] = silu_of(a.x[i]);
}

} // namespace

qp_status qp_silu_cuda(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    const bool vectors = aligned(a.x) && aligned(a.y);
    silu<<<qp::blocks_for(a.n, kThreads * kVector), kThreads, 0, qp::stream_of(call)>>>(a, vectors);
    return qp::launched("silu");
}
