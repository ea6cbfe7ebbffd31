/* scores: y[h, t, s] = scale * (q[t, h, :] . keys[s, h / group, :]) + mask[t, s],
 *         mask[t, s] = 0 for s <= S - T + t (the keys up to the query's own position), else the least bf16.
 * group = Hq / Hkv query heads share a key head; the reference repeats the keys, which moves no bit.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward; masking_utils.py for the mask.
 * Order:
 *   O1  the product over D is summed in the order (numerics/sum_order.h) that cuBLAS has for these numbers of queries, heads and
 *       keys: the tensor core's chain, but for some numbers that are not multiples of 8.
 * Rounding points:
 *   R1  the product is rounded to bf16.
 *   R2  times scale (the f32 of D^-0.5), rounded to bf16.
 *   R3  plus mask, rounded to bf16. A mask of 0 still turns -0 into +0.
 * On CUDA, "cublas" makes PyTorch's own call (cublas.h) and so has its order, whatever it is. "contract", on the CPU, too,
 * has to be told the order: by a golden, or by the card itself, which is asked (model/choice_search.h). Without either it
 * sums in the order that is usual for the shape (model/plan.c), and where PyTorch has another, a few elements differ.
 * Preconditions:
 *   P1  S >= T.  P2  Hq is a multiple of Hkv.
 *   P3  the order is known: qp_sum_order_is_known. */
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
    qp_sum_order order;
} qp_scores_args;

/* The mask of the key s for the query of token t. A key behind the query has the least finite bf16,
 * torch.finfo(torch.bfloat16).min. */
QP_HOST_DEVICE static inline float qp_scores_mask(const qp_scores_args *a, int64_t t, int64_t s)
{
    return s <= a->keys_count - a->tokens + t ? 0.0f : qp_f32_from_bits(0xff7f0000u);
}

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
