/* lm_head_argmax: y = the v with the largest weight[v, :] . n,  n = rms_norm(x)[T - 1, :] * norm_weight
 *
 * Source: transformers 5.17, modeling_qwen3.py: Qwen3Model.norm and lm_head, then torch.argmax over the last position's
 * logits. It replaces three nodes of the reference plan; no logit reaches memory.
 * Order and rounding points (rms_norm.h, linear.h, argmax.h):
 *   C1  n: rms_norm over H, whose order of the mean depends on T rows, though only the last is needed. bf16.
 *   C2  linear of that row, split by `part`, which is cuBLAS's choice for as many rows as PyTorch computes logits of.
 *       Each logit is rounded to bf16.
 *   C3  argmax: of equal logits the lowest index wins; a NaN is larger than anything.
 * Preconditions:
 *   P1  those of rms_norm and linear. */
#ifndef QP_LM_HEAD_ARGMAX_H
#define QP_LM_HEAD_ARGMAX_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_LM_HEAD_ARGMAX_T, QP_LM_HEAD_ARGMAX_HIDDEN, QP_LM_HEAD_ARGMAX_V, QP_LM_HEAD_ARGMAX_ONE };
enum { QP_LM_HEAD_ARGMAX_X, QP_LM_HEAD_ARGMAX_NORM_WEIGHT, QP_LM_HEAD_ARGMAX_WEIGHT };

typedef struct qp_lm_head_argmax_args {
    const qp_bf16 *x;           /* in  [T, H], bf16: the residual stream */
    const qp_bf16 *norm_weight; /* in  [H], bf16                         */
    const qp_bf16 *weight;      /* in  [V, H], bf16                      */
    int64_t *y;                 /* out [1]                               */
    int64_t tokens, hidden, vocabulary;
    float eps;
    int64_t part; /* elements of H in a part of a split; H without a split */
} qp_lm_head_argmax_args;

extern const qp_operation qp_lm_head_argmax_operation;

qp_lm_head_argmax_args qp_lm_head_argmax_bind(const qp_call *call);
QP_MUST_USE qp_status qp_lm_head_argmax_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_lm_head_argmax_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_lm_head_argmax_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_lm_head_argmax_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
