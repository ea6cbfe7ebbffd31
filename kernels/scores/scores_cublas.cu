#include "../cublas.cuh"
#include "../cuda.cuh"
#include "scores.cuh"
#include "scores.h"

/* PyTorch's own steps: the key heads repeated into [Hq, S, D], torch.matmul(q, keys.transpose(2, 3)), then scale and mask.
 * The order of the product (O1, O2) is what cuBLAS makes of it. */

namespace {

using namespace qp;

constexpr int kThreads = 256;

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
    return piece_bytes(a.query_heads * a.keys_count * a.d) + piece_bytes(a.query_heads * a.tokens * a.keys_count);
}

qp_status qp_scores_cublas(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const cudaStream_t stream = stream_of(call);
    const int64_t keys_elements = a.query_heads * a.keys_count * a.d, elements = a.query_heads * a.tokens * a.keys_count;
    char *workspace = static_cast<char *>(call->launch->workspace);
    qp_bf16 *keys = reinterpret_cast<qp_bf16 *>(workspace);
    qp_bf16 *product = reinterpret_cast<qp_bf16 *>(workspace + piece_bytes(keys_elements));

    exchange_axes(a.keys, keys, a.query_heads, a.keys_count, a.d, a.query_heads / a.key_heads, stream);
    QP_TRY(launched("scores: repeated keys"));
    /* q is a view [Hq, T, D] of [T, Hq, D]. PyTorch passes it as it lies; of a single token the stride is D. */
    const qp_cublas_batch query = { a.q, { a.d, a.tokens == 1 ? a.d : a.query_heads * a.d, 1 } };
    const qp_cublas_batch transposed_keys = { keys, { a.keys_count * a.d, 1, a.d } };
    QP_TRY(qp_cublas_gemm_batched(call->launch->cublas, &query, &transposed_keys, product, a.query_heads, a.tokens,
                                  a.keys_count, a.d)); /* R1 */
    scale_and_mask_all<<<blocks_for(elements, kThreads), kThreads, 0, stream>>>(a, product);
    return launched("scores");
}
