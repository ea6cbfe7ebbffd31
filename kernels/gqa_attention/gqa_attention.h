/* gqa_attention: y[t, h, :] = sum over s of probs[h, t, s] * values[s, h / group, :],
 *   probs[h, t, :] = softmax over s of scale * (q[t, h, :] . keys[s, h / group, :]) + mask[t, s]
 * group = Hq / Hkv query heads share a key head and a value head.
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward. It replaces three nodes of the reference plan;
 * neither scores nor probabilities reach memory, unless CUDA has no fused kernel for the shape (gqa_attention.cu).
 * Order and rounding points (scores.h, softmax.h, context.h):
 *   C1  scores, summed as `order` says, scaled and masked. bf16.
 *   C2  softmax over S, in the order of PyTorch's kernel for rows of S. bf16.
 *   C3  context, summed as `context_order` says. bf16.
 * A key behind the query has probability +0, and a block of such keys changes no sum: CUDA skips it. Were its value an
 * infinity or a NaN, PyTorch's context would be NaN, and CUDA's would not.
 * Preconditions:
 *   P1  those of scores, softmax and context. */
#ifndef QP_GQA_ATTENTION_H
#define QP_GQA_ATTENTION_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_GQA_ATTENTION_T, QP_GQA_ATTENTION_S, QP_GQA_ATTENTION_HQ, QP_GQA_ATTENTION_HKV, QP_GQA_ATTENTION_D };
enum { QP_GQA_ATTENTION_Q, QP_GQA_ATTENTION_KEYS, QP_GQA_ATTENTION_VALUES };

typedef struct qp_gqa_attention_args {
    const qp_bf16 *q;      /* in  [T, Hq, D], bf16                             */
    const qp_bf16 *keys;   /* in  [S, Hkv, D], bf16, the cache: T new rows last */
    const qp_bf16 *values; /* in  [S, Hkv, D], bf16, the cache                 */
    qp_bf16 *y;            /* out [T, Hq, D], bf16                             */
    int64_t tokens, keys_count, query_heads, key_heads, d;
    float scale;
    qp_sum_order order, context_order;
} qp_gqa_attention_args;

extern const qp_operation qp_gqa_attention_operation;

qp_gqa_attention_args qp_gqa_attention_bind(const qp_call *call);
QP_MUST_USE qp_status qp_gqa_attention_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_gqa_attention_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_gqa_attention_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_gqa_attention_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
