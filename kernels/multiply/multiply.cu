#include "../cuda.cuh"
#include "multiply.h"

namespace {

constexpr int kThreads = 128, kVector = 8;

struct alignas(16) vector {
    qp_bf16 at[kVector];
};

bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % sizeof(vector) == 0; }

__device__ qp_bf16 product(qp_bf16 a, qp_bf16 b)
{
    return qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(a), qp_bf16_to_f32(b))); /* R1 */
}

/* A thread has kVector neighbouring elements: in one access where `vectors` allows it, one by one otherwise and at the
 * end. */
__global__ void __launch_bounds__(kThreads) multiply(const qp_multiply_args x, const bool vectors)
{
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
    if (vectors && first + kVector <= x.n) {
        const vector a = *reinterpret_cast<const vector *>(x.a + first);
        const vector b = *reinterpret_cast<const vector *>(x.b + first);
        vector y;
#pragma unroll
        for (int i = 0; i < kVector; i++) y.at[i] = product(a.at[i], b.at[i]);
        *reinterpret_cast<vector *>(x.y + first) = y;
        return;
    }
    for (int64_t i = first; i < min(first + kVector, x.n); i++) x.y[i] = product(x.a[i], x.b[i]);
}

} // namespace

qp_status qp_multiply_cuda(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    const bool vectors = aligned(a.a) && aligned(a.b) && aligned(a.y);
    multiply<<<qp::blocks_for(a.n, kThreads * kVector), kThreads, 0, qp::stream_of(call)>>>(a, vectors);
    return qp::launched("multiply");
}
