#include "../cuda.cuh"
#include "residual_add.h"

namespace {

constexpr int kThreads = 128, kVector = 8;

struct alignas(16) vector {
    qp_bf16 at[kVector];
};

bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % sizeof(vector) == 0; }

__device__ qp_bf16 add(qp_bf16 residual, qp_bf16 x)
{
    return qp_bf16_from_f32(__fadd_rn(qp_bf16_to_f32(residual), qp_bf16_to_f32(x))); /* R1 */
}

/* A thread has kVector neighbouring elements: in one access where `vectors` allows it, one by one otherwise and at the
 * end. */
__global__ void __launch_bounds__(kThreads) residual_add(const qp_residual_add_args a, const bool vectors)
{
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
    if (vectors && first + kVector <= a.n) {
        const vector residual = *reinterpret_cast<const vector *>(a.residual + first);
        const vector x = *reinterpret_cast<const vector *>(a.x + first);
        vector y;
#pragma unroll
        for (int i = 0; i < kVector; i++) y.at[i] = add(residual.at[i], x.at[i]);
        *reinterpret_cast<vector *>(a.y + first) = y;
        return;
    }
    for (int64_t i = first; i < min(first + kVector, a.n); i++) a.y[i] = add(a.residual[i], a.x[i]);
}

} // namespace

qp_status qp_residual_add_cuda(const qp_call *call)
{
    const qp_residual_add_args a = qp_residual_add_bind(call);
    const bool vectors = aligned(a.residual) && aligned(a.x) && aligned(a.y);
    residual_add<<<qp::blocks_for(a.n, kThreads * kVector), kThreads, 0, qp::stream_of(call)>>>(a, vectors);
    return qp::launched("residual_add");
}
