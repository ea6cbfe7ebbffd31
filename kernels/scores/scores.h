/* scores: y[h, t, s] = scale * (q[t, h, :] . keys[s, h / group, :]) + mask[t, s],
 *         mask[t, s] = 0 for s <= S - T + t (the keys up to the query's own position), else the least bf16.
 * group = Hq / Hkv query heads share a key head; the reference repeats the keys, which moves no bit.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward; masking_utils.py for the mask.
 * Order:
 *   O1  the product over D is summed by the tensor core, in ascending blocks of 16 (numerics/block_fma.h): `lanes` is 0. A
 *       `run` above 0 says that the first `run` channels fill blocks of their own before the rest (qp_ordered_fma). Or
 *   O2  where cuBLAS chose a kernel without, by `lanes` lanes in runs of `run` (numerics/lane_fma.h). The choice depends
 *       on the numbers of queries, heads and keys, and comes with the golden.
 * Rounding points:
 *   R1  the product is rounded to bf16.
 *   R2  times scale (the f32 of D^-0.5), rounded to bf16.
 *   R3  plus mask, rounded to bf16. A mask of 0 still turns -0 into +0.
 * Not yet exact: the CPU implementation, where cuBLAS took a kernel whose order is none of these: for one query with many
 * heads or keys, where the golden then holds no order and the usual one is used, and perhaps for more queries. Two f32 sums
 * of the same products in different orders differ in their last bits, so R1 changes for the few elements near a tie, by
 * 1 ulp, but by any number of ulp where the sum nearly cancels.
 * Bound: 2 of 1,000 elements, for the CPU implementation's gate.
 * On CUDA every implementation has to be exact. "cublas" makes PyTorch's own call (cublas.h) and so has its order, whatever
 * it is; it does not look at `lanes` and `run`. "contract" sums as O1 and O2 say, so it needs an order that the golden knows.
 * Preconditions:
 *   P1  S >= T.  P2  Hq is a multiple of Hkv.
 *   P3  (lanes, run) is an order that is known: qp_order_is_known. */
#ifndef QP_SCORES_H
#define QP_SCORES_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_SCORES_T, QP_SCORES_S, QP_SCORES_HQ, QP_SCORES_HKV, QP_SCORES_D };
enum { QP_SCORES_Q, QP_SCORES_KEYS };

typedef struct qp_scores_args {
    const qp_bf16 *q;    /* in  [T, Hq, D], bf16                        */
    const qp_bf16 *keys; /* in  [S, Hkv, D], bf16, the cache: T new rows last */
    qp_bf16 *y;          /* out [Hq, T, S], bf16                        */
    int64_t tokens, keys_count, query_heads, key_heads, d;
    float scale;
    int lanes, run;
} qp_scores_args;

/* The mask of a key behind the query: the least finite bf16, as torch.finfo(torch.bfloat16).min. */
#define QP_SCORES_MASKED ((qp_bf16){ 0xff7f })

extern const qp_operation qp_scores_operation;

qp_scores_args qp_scores_bind(const qp_call *call);
QP_MUST_USE qp_status qp_scores_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_scores_cuda(const qp_call *call);   /* the contract: our own kernels */
QP_MUST_USE qp_status qp_scores_cublas(const qp_call *call); /* PyTorch's own call */
size_t qp_scores_cublas_workspace(const qp_call *call);      /* the repeated keys and the product */
QP_MUST_USE qp_status qp_scores_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
