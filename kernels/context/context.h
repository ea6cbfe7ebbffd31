/* context: y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :]
 * group = Hq / Hkv query heads share a value head.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward (the second matmul and the transpose).
 * Order:
 *   O1  the keys are summed in the order (numerics/sum_order.h) that cuBLAS has for these numbers of queries, heads and
 *       keys: the tensor core's chain, but for some numbers that are not multiples of 8. Masked keys, whose
 *       probability is zero, are summed like the others.
 * Rounding points:
 *   R1  the sum is rounded to bf16.
 * On CUDA, "cublas" makes PyTorch's own call (cublas.h) and so has its order, whatever it is. "contract", on the CPU, too,
 * has to be told the order: by a golden, or by the card itself, which is asked (model/choice_search.h). Without either it
 * sums in the order that is usual for the shape (model/plan.c), and where PyTorch has another, a few elements differ.
 * Preconditions:
 *   P1  Hq is a multiple of Hkv.
 *   P2  the order is known: qp_sum_order_is_known. */
#ifndef QP_CONTEXT_H
#define QP_CONTEXT_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_CONTEXT_T, QP_CONTEXT_S, QP_CONTEXT_HQ, QP_CONTEXT_HKV, QP_CONTEXT_D };
enum { QP_CONTEXT_PROBS, QP_CONTEXT_VALUES };

typedef struct qp_context_args {
    const qp_bf16 *probs;  /* in  [Hq, T, S], bf16            */
    const qp_bf16 *values; /* in  [S, Hkv, D], bf16, the cache */
    qp_bf16 *y;            /* out [T, Hq, D], bf16            */
    int64_t tokens, keys_count, query_heads, value_heads, d;
    qp_sum_order order;
} qp_context_args;

extern const qp_operation qp_context_operation;

qp_context_args qp_context_bind(const qp_call *call);
QP_MUST_USE qp_status qp_context_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_context_cuda(const qp_call *call);   /* the contract: our own kernels */
QP_MUST_USE qp_status qp_context_cublas(const qp_call *call); /* PyTorch's own call */
size_t qp_context_cublas_workspace(const qp_call *call);      /* the repeated values and the product */
QP_MUST_USE qp_status qp_context_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
