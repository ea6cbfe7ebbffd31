/* rms_norm: y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + eps)
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3RMSNorm.forward. Used over the hidden size by input_layernorm,
 * post_attention_layernorm and model.norm, and over the head dimension by q_norm and k_norm.
 * Order:
 *   O1  the mean of the squares follows torch.mean, which depends on `rows` and dim (numerics/reduce.h).
 * Rounding points, each one IEEE f32 operation unless said otherwise:
 *   R1  x is widened to f32 (exact) and squared; the square is rounded to f32 before it is added.
 *   R2  eps is added to the mean.
 *   R3  rsqrt of that, as the card's rsqrt.approx.f32 gives it (numerics/special.h).
 *   R4  x is multiplied by it in f32, and the product is rounded to bf16 BEFORE the weight is applied.
 *   R5  weight times that: an exact product of two bf16, rounded once to bf16.
 * Preconditions:
 *   P1  the order of the mean is known for (rows, dim): qp_mean_is_known. */
#ifndef QP_RMS_NORM_H
#define QP_RMS_NORM_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_RMS_NORM_ROWS, QP_RMS_NORM_DIM };
enum { QP_RMS_NORM_X, QP_RMS_NORM_WEIGHT };

typedef struct qp_rms_norm_args {
    const qp_bf16 *x;      /* in  [rows, dim], bf16 */
    const qp_bf16 *weight; /* in  [dim], bf16      */
    qp_bf16 *y;            /* out [rows, dim], bf16 */
    int64_t rows, dim;
    float eps; /* 1e-6 in every released Qwen3 */
} qp_rms_norm_args;

extern const qp_operation qp_rms_norm_operation;

qp_rms_norm_args qp_rms_norm_bind(const qp_call *call);
QP_MUST_USE qp_status qp_rms_norm_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_rms_norm_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_rms_norm_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
