/* Operations that take each element by itself: y[i] = f(x[i], ...). */
#ifndef QP_ELEMENTWISE_CUH
#define QP_ELEMENTWISE_CUH

#include "cuda.cuh"

namespace qp {

constexpr int kElementwiseThreads = 128, kElementwiseVector = 8;

/* A thread has eight neighbouring elements: in one access where `vectors` allows it, one by one otherwise and at the
 * end. */
template <class F, class... Operand>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise(const F f, qp_bf16 *y, const int64_t n, const bool vectors, const Operand *...x)
{
    using vector8 = vector<kElementwiseVector>;
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x) * kElementwiseVector;
    if (vectors && first + kElementwiseVector <= n) {
        const auto all = [&](const auto &...of_x) {
            vector8 result;
#pragma unroll
            for (int i = 0; i < kElementwiseVector; i++) result.at[i] = f(of_x.at[i]...);
            return result;
        };
        *reinterpret_cast<vector8 *>(y + first) = all(*reinterpret_cast<const vector8 *>(x + first)...);
        return;
    }
    for (int64_t i = first; i < min(first + kElementwiseVector, n); i++) y[i] = f(x[i]...);
}

/* Enqueues it for n elements. */
template <class F, class... Operand>
void launch_elementwise(const qp_call *call, F f, qp_bf16 *y, int64_t n, const Operand *...x)
{
    const bool vectors = aligned<kElementwiseVector>(y, x...);
    const unsigned blocks = blocks_for(n, kElementwiseThreads * kElementwiseVector);
    elementwise<<<blocks, kElementwiseThreads, 0, stream_of(call)>>>(f, y, n, vectors, x...);
}

} // namespace qp

#endif
