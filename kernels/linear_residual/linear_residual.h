/* linear_residual: y[m, n] = residual[m, n] + sum over k of x[m, k] * weight[n, k]
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3DecoderLayer.forward: o_proj and down_proj, each with the addition
 * behind it. It replaces two nodes of the reference plan.
 * Order and rounding points (linear.h, residual_add.h):
 *   C1  linear, its result in bf16.
 *   C2  residual_add: the sum in f32 rounded to bf16.
 * On CUDA, up to eight tokens are one launch, which sums as `part` says, if K and the parts are multiples of 64. Otherwise
 * the products are PyTorch's own calls of cuBLAS (cublas.h), which have its order whatever it is, with our kernels around
 * them.
 * Preconditions:
 *   P1  that of linear. */
#ifndef QP_LINEAR_RESIDUAL_H
#define QP_LINEAR_RESIDUAL_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_LINEAR_RESIDUAL_M, QP_LINEAR_RESIDUAL_N, QP_LINEAR_RESIDUAL_K };
enum { QP_LINEAR_RESIDUAL_X, QP_LINEAR_RESIDUAL_WEIGHT, QP_LINEAR_RESIDUAL_RESIDUAL };

typedef struct qp_linear_residual_args {
    const qp_bf16 *x;        /* in  [M, K], bf16 */
    const qp_bf16 *weight;   /* in  [N, K], bf16 */
    const qp_bf16 *residual; /* in  [M, N], bf16 */
    qp_bf16 *y;              /* out [M, N], bf16 */
    int64_t m, n, k;
    int64_t part; /* elements of K in a part of a split; K without a split */
} qp_linear_residual_args;

extern const qp_operation qp_linear_residual_operation;

qp_linear_residual_args qp_linear_residual_bind(const qp_call *call);
QP_MUST_USE qp_status qp_linear_residual_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_linear_residual_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_linear_residual_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_linear_residual_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
