/* context: y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :]
 * group = Hq / Hkv query heads share a value head.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward (the second matmul and the transpose).
 * Order:
 *   O1  the keys are summed by the tensor core in ascending blocks of 16 (numerics/block_fma.h), the masked ones
 *       included, whose probability is zero: `lanes` is 0. A `run` above 0 says that the first `run` keys fill blocks of
 *       their own before the rest (numerics/lane_fma.h, qp_ordered_fma). Or
 *   O2  where cuBLAS chose a kernel without, by `lanes` lanes in runs of `run` (numerics/lane_fma.h). The choice depends
 *       on the numbers of queries, heads and keys, and comes with the golden.
 * Rounding points:
 *   R1  the sum is rounded to bf16.
 * Not yet exact: the CPU implementation, where cuBLAS took a kernel whose order is none of these: for one query with many
 * heads or keys, where the golden then holds no order and the usual one is used, and perhaps for more queries. Two f32 sums
 * of the same products in different orders differ in their last bits, so R1 changes for the few elements near a tie, by
 * 1 ulp, but by any number of ulp where the sum nearly cancels.
 * Bound: 2 of 1,000 elements, for the CPU implementation's gate.
 * On CUDA every implementation has to be exact. "cublas" makes PyTorch's own call (cublas.h) and so has its order, whatever
 * it is; it does not look at `lanes` and `run`. "contract" sums as O1 and O2 say, so it needs an order that the golden knows.
 * Preconditions:
 *   P1  Hq is a multiple of Hkv.
 *   P2  (lanes, run) is an order that is known: qp_order_is_known. */
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
    int lanes, run;
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
