/* linear: y[m, n] = sum over k of x[m, k] * weight[n, k]
 *
 * Source: transformers 5.17, modeling_qwen3.py, the nn.Linear modules without bias; PyTorch 2.11 runs them as one
 * cublasGemmEx with bf16 operands and f32 accumulation.
 * Order:
 *   O1  K is summed by the tensor core: ascending blocks of 16 from an accumulator of +0 (numerics/block_fma.h).
 *   O2  where cuBLAS splits K, each part of `part` elements (the last perhaps shorter) is such a chain, and the parts
 *       are added in f32 from the first to the last. The split is cuBLAS's choice for (M, N, K); a golden
 *       tells it, or the card is asked (model/choice_search.h).
 * Rounding points:
 *   R1  the f32 sum is rounded once to bf16.
 * On CUDA, "contract" sums as O1 and O2 say. "cublas" makes PyTorch's own call (cublas.h) and so has its order,
 * whatever it is; it does not look at `part`.
 * Preconditions:
 *   P1  a part is a multiple of 16. */
#ifndef QP_LINEAR_H
#define QP_LINEAR_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_LINEAR_M, QP_LINEAR_N, QP_LINEAR_K };
enum { QP_LINEAR_X, QP_LINEAR_WEIGHT };

typedef struct qp_linear_args {
    const qp_bf16 *x;      /* in  [M, K], bf16 */
    const qp_bf16 *weight; /* in  [N, K], bf16 */
    qp_bf16 *y;            /* out [M, N], bf16 */
    int64_t m, n, k;
    int64_t part; /* elements of K in a part of a split; K without a split */
} qp_linear_args;

extern const qp_operation qp_linear_operation;

qp_linear_args qp_linear_bind(const qp_call *call);
QP_MUST_USE qp_status qp_linear_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_linear_cuda(const qp_call *call);   /* the contract: our own kernel */
QP_MUST_USE qp_status qp_linear_cublas(const qp_call *call); /* PyTorch's own call */
QP_MUST_USE qp_status qp_linear_oracle(const qp_call *call); /* the same operands, activations in f64 */

/* For planted faults of fused operations: R1 is left out, y is f32. Slow. */
QP_MUST_USE qp_status qp_linear_unrounded(const qp_call *call);

#ifdef __cplusplus
}
#endif
#endif
