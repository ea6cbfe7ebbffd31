/* context: y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :]
 * group = Hq / Hkv query heads share a value head.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward (the second matmul and the transpose).
 * Order:
 *   O1  the keys are summed by the tensor core in ascending blocks of 16 (numerics/block_fma.h), the masked ones
 *       included, whose probability is zero, or
 *   O2  where cuBLAS chose a kernel without, by `lanes` lanes in runs of `run` (numerics/lane_fma.h). The choice depends
 *       on the numbers of queries, heads and keys, and comes with the golden.
 * Rounding points:
 *   R1  the sum is rounded to bf16.
 * Not yet exact: some of cuBLAS's kernels sum in an order that is neither O1 nor O2: for one query with many heads or keys,
 * where the golden then holds no order and the usual one is used, and perhaps for more queries where the keys are not a
 * multiple of 8 (seen in the context of 16 heads and 100 keys). Two f32 sums of the same products in different orders
 * differ in their last bits, so R1 changes for the few elements near a tie, by 1 ulp, but by any number of ulp where the
 * sum nearly cancels.
 * Bound: 2 of 1,000 elements.
 * Preconditions:
 *   P1  Hq is a multiple of Hkv.
 *   P2  (lanes, run) is an order that is known: qp_lane_order_is_known. */
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
QP_MUST_USE qp_status qp_context_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
