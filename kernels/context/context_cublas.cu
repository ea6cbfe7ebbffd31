#include "../cublas.cuh"
#include "../cuda.cuh"
#include "context.h"

/* PyTorch's own steps: the value heads repeated into [Hq, S, D], torch.matmul(probs, values), and the transpose. The order
 * of the product (O1, O2) is what cuBLAS makes of it. */

using namespace qp;

size_t qp_context_cublas_workspace(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const int64_t product = a.tokens == 1 ? 0 : a.query_heads * a.tokens * a.d;
    return piece_bytes(a.query_heads * a.keys_count * a.d) + piece_bytes(product);
}

qp_status qp_context_cublas(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const cudaStream_t stream = stream_of(call);
    const int64_t values_elements = a.query_heads * a.keys_count * a.d;
    char *workspace = static_cast<char *>(call->launch->workspace);
    qp_bf16 *values = reinterpret_cast<qp_bf16 *>(workspace);
    /* Of a single token the transpose moves nothing, and PyTorch does not copy either. */
    qp_bf16 *product = a.tokens == 1 ? a.y : reinterpret_cast<qp_bf16 *>(workspace + piece_bytes(values_elements));

    exchange_axes(a.values, values, a.query_heads, a.keys_count, a.d, a.query_heads / a.value_heads, stream);
    QP_TRY(launched("context: repeated values"));
    const qp_cublas_batch probs = { a.probs, { a.tokens * a.keys_count, a.keys_count, 1 } };
    const qp_cublas_batch repeated = { values, { a.keys_count * a.d, a.d, 1 } };
    QP_TRY(qp_cublas_gemm_batched(call->launch->cublas, &probs, &repeated, product, a.query_heads, a.tokens, a.d,
                                  a.keys_count)); /* R1 */
    if (a.tokens > 1) exchange_axes(product, a.y, a.tokens, a.query_heads, a.d, 1, stream);
    return launched("context");
}
