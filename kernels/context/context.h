/* context: y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :]
 * group = Hq / Hkv query heads share a value head.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward (the second matmul and the transpose).
 * Order:
 *   O1  the keys are summed by the tensor core in ascending blocks of 16 (numerics/block_fma.h), the masked ones
 *       included, whose probability is zero, but
 *   O2  with one query (T = 1) and S not a multiple of 8, by 32 lanes in runs of 4 (numerics/lane_fma.h).
 * Rounding points:
 *   R1  the sum is rounded to bf16.
 * Not yet exact: cuBLAS chooses among such kernels by the number of heads and of keys. O2 is what it chose for 4 query
 * heads and up to 300 keys, and for 16 and up to 257; with more heads or keys it also takes kernels with other lanes
 * (golden/README.md). Two f32 sums of the same products in different orders differ in their last bits, so R1 changes
 * for the few elements near a tie, by 1 ulp, but by any number of ulp where the sum nearly cancels.
 * Bound: 2 of 1,000 elements.
 * Preconditions:
 *   P1  Hq is a multiple of Hkv. */
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
} qp_context_args;

extern const qp_operation qp_context_operation;

qp_context_args qp_context_bind(const qp_call *call);
QP_MUST_USE qp_status qp_context_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_context_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
