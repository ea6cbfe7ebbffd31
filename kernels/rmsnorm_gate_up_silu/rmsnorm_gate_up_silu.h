/* rmsnorm_gate_up_silu: y = silu(n Wgate^T) * (n Wup^T),  n = rms_norm(x) * norm_weight
 *
 * Source: transformers 5.17, modeling_qwen3.py: post_attention_layernorm, then Qwen3MLP.forward up to down_proj. It
 * replaces five nodes of the reference plan.
 * Order and rounding points (rms_norm.h, linear.h, silu.h, multiply.h):
 *   C1  n: rms_norm over H, whose order of the mean depends on T rows. bf16.
 *   C2  gate and up: linear of n, M = T, K = H, both split by `part`. bf16.
 *   C3  silu of gate. bf16.
 *   C4  multiply: that times up. bf16.
 * On CUDA, up to eight tokens are one launch, which sums as `part` says, if H and the parts are multiples of 64. Otherwise
 * the products are PyTorch's own calls of cuBLAS (cublas.h), which have its order whatever it is, with our kernels around
 * them.
 * Preconditions:
 *   P1  those of rms_norm and linear. */
#ifndef QP_RMSNORM_GATE_UP_SILU_H
#define QP_RMSNORM_GATE_UP_SILU_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_RMSNORM_GATE_UP_SILU_T, QP_RMSNORM_GATE_UP_SILU_HIDDEN, QP_RMSNORM_GATE_UP_SILU_I };
enum {
    QP_RMSNORM_GATE_UP_SILU_X,
    QP_RMSNORM_GATE_UP_SILU_NORM_WEIGHT,
    QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT,
    QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT
};

typedef struct qp_rmsnorm_gate_up_silu_args {
    const qp_bf16 *x;                       /* in  [T, H], bf16: the residual stream */
    const qp_bf16 *norm_weight;             /* in  [H], bf16                         */
    const qp_bf16 *gate_weight, *up_weight; /* in  [I, H], bf16                      */
    qp_bf16 *y;                             /* out [T, I], bf16                      */
    int64_t tokens, hidden, inner;
    float eps;
    int64_t part; /* elements of H in a part of a split; H without a split */
} qp_rmsnorm_gate_up_silu_args;

extern const qp_operation qp_rmsnorm_gate_up_silu_operation;

qp_rmsnorm_gate_up_silu_args qp_rmsnorm_gate_up_silu_bind(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_gate_up_silu_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_gate_up_silu_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_rmsnorm_gate_up_silu_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_gate_up_silu_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
