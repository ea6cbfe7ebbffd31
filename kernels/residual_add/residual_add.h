/* residual_add: y[i] = residual[i] + x[i]
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3DecoderLayer.forward: residual + hidden_states.
 * Rounding points:
 *   R1  the sum is rounded to f32 and then to bf16. */
#ifndef QP_RESIDUAL_ADD_H
#define QP_RESIDUAL_ADD_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_RESIDUAL_ADD_N };
enum { QP_RESIDUAL_ADD_RESIDUAL, QP_RESIDUAL_ADD_X };

typedef struct qp_residual_add_args {
    const qp_bf16 *residual, *x; /* in  [N], bf16 */
    qp_bf16 *y;                  /* out [N], bf16 */
    int64_t n;
} qp_residual_add_args;

extern const qp_operation qp_residual_add_operation;

qp_residual_add_args qp_residual_add_bind(const qp_call *call);
QP_MUST_USE qp_status qp_residual_add_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_residual_add_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_residual_add_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
