#include "../cublas.cuh"
#include "../cuda.cuh"
#include "scores.cuh"
#include "scores.h"

/* PyTorch's own steps: the key heads repeated into [Hq, S, D], torch.matmul(q, keys.transpose(2, 3)), then scale and
 * mask. The order of the product is what cuBLAS makes of it. */

namespace {

using namespace qp;

constexpr int kThreads = 256;

repeated_heads keys_of(const qp_scores_args &a)
{
    return { a.keys, a.keys_count, a.key_heads, a.d, a.query_heads / a.key_heads };
}

__global__ void __launch_bounds__(kThreads) scale_and_mask_all(const qp_scores_args a, const qp_bf16 *product)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= a.query_heads * a.tokens * a.keys_count) return;
    const int64_t s = i % a.keys_count, t = i / a.keys_count % a.tokens;
    a.y[i] = scale_and_mask(a, product[i], t, s); /* R2, R3 */
}

} // namespace

size_t qp_scores_cublas_workspace(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    return keys_of(a).bytes() + piece_bytes(a.query_heads * a.tokens * a.keys_count);
}

qp_status qp_scores_cublas(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const cudaStream_t stream = stream_of(call);
    char *workspace = static_cast<char *>(call->launch->workspace);
    qp_bf16 *product = reinterpret_cast<qp_bf16 *>(workspace + keys_of(a).bytes());

    const qp_cublas_batch keys = keys_of(a).make(reinterpret_cast<qp_bf16 *>(workspace), stream);
    QP_TRY(launched("scores: the repeated keys"));
    /* q is a view [Hq, T, D] of [T, Hq, D]. PyTorch passes it as it lies; of a single token the stride is D. */
    const qp_cublas_batch query = { a.q, { a.d, a.tokens == 1 ? a.d : a.query_heads * a.d, 1 } };
    const qp_cublas_batch transposed = { keys.data, { keys.stride[0], keys.stride[2], keys.stride[1] } };
    QP_TRY(qp_cublas_gemm_batched(call->launch->cublas, &query, &transposed, product, a.query_heads, a.tokens,
                                  a.keys_count, a.d)); /* R1 */
    const unsigned blocks = blocks_for(a.query_heads * a.tokens * a.keys_count, kThreads);
    scale_and_mask_all<<<blocks, kThreads, 0, stream>>>(a, product);
    return launched("scores");
}
