#include "../cublas.cuh"
#include "../cuda.cuh"
#include "context.h"

/* PyTorch's own steps: the value heads repeated into [Hq, S, D], torch.matmul(probs, values), and the transpose. The
 * order of the product is what cuBLAS makes of it. */

namespace {

using namespace qp;

repeated_heads values_of(const qp_context_args &a)
{
    return { a.values, a.keys_count, a.value_heads, a.d, a.query_heads / a.value_heads };
}

/* Of a single token the transpose moves nothing: PyTorch does not copy then, and here the product goes right to y. */
bool is_transposed(const qp_context_args &a) { return a.tokens > 1; }

} // namespace

size_t qp_context_cublas_workspace(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    return values_of(a).bytes() + (is_transposed(a) ? piece_bytes(a.query_heads * a.tokens * a.d) : 0);
}

qp_status qp_context_cublas(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const cudaStream_t stream = stream_of(call);
    char *workspace = static_cast<char *>(call->launch->workspace);
    qp_bf16 *product = is_transposed(a) ? reinterpret_cast<qp_bf16 *>(workspace + values_of(a).bytes()) : a.y;

    const qp_cublas_batch values = values_of(a).make(reinterpret_cast<qp_bf16 *>(workspace), stream);
    QP_TRY(launched("context: the repeated values"));
    const qp_cublas_batch probs = { a.probs, { a.tokens * a.keys_count, a.keys_count, 1 } };
    QP_TRY(qp_cublas_gemm_batched(call->launch->cublas, &probs, &values, product, a.query_heads, a.tokens, a.d,
                                  a.keys_count)); /* R1 */
    if (is_transposed(a)) exchange_axes(product, a.y, a.tokens, a.query_heads, a.d, 1, stream);
    return launched("context");
}
