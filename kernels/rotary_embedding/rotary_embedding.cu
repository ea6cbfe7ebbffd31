#include "../cuda.cuh"
#include "rotary_embedding.h"

namespace {

constexpr int kThreads = 128, kMaxHalf = 512;

/* R1 of every channel, computed on the CPU as in PyTorch: an argument of the kernel, which may have 4 KiB. */
struct frequencies {
    float of[kMaxHalf];
};

/* A block a token. */
__global__ void __launch_bounds__(kThreads)
    rotary_embedding(const qp_rotary_embedding_args a, const __grid_constant__ frequencies inv_freq)
{
    const int half = static_cast<int>(a.d / 2);
    if (blockIdx.x == 0)
        for (int i = threadIdx.x; i < half; i += kThreads) a.inv_freq[i] = inv_freq.of[i];
    for (int64_t t = blockIdx.x; t < a.tokens; t += gridDim.x) {
        const float position = __ll2float_rn(a.positions[t]);
        for (int i = threadIdx.x; i < half; i += kThreads) {
            const float angle = __fmul_rn(inv_freq.of[i], position); /* R2 */
            qp_bf16 *cos = a.cos + t * a.d + i, *sin = a.sin + t * a.d + i;
            cos[0] = cos[half] = qp_bf16_from_f32(cosf(angle)); /* R3, R4, R5 */
            sin[0] = sin[half] = qp_bf16_from_f32(sinf(angle));
        }
    }
}

} // namespace

qp_status qp_rotary_embedding_cuda(const qp_call *call)
{
    const qp_rotary_embedding_args a = qp_rotary_embedding_bind(call);
    if (a.d / 2 > kMaxHalf)
        return qp_fail(QP_UNSUPPORTED,
                       "rotary_embedding: the CUDA implementation has room for %d frequencies, not for %lld", kMaxHalf,
                       static_cast<long long>(a.d / 2));
    frequencies inv_freq = {};
    qp_rotary_inv_freq(a.theta, a.d, inv_freq.of); /* R1 */
    const unsigned blocks = qp::blocks_of(a.tokens);
    rotary_embedding<<<blocks, kThreads, 0, qp::stream_of(call)>>>(a, inv_freq);
    return qp::launched("rotary_embedding");
}
