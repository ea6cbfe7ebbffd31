/* silu: y[i] = x[i] / (1 + exp(-x[i]))
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3MLP.act_fn; PyTorch 2.11, ActivationSiluKernel.cu.
 * Rounding points, each one IEEE f32 operation unless said otherwise:
 *   R1  x is widened to f32 and negated; expf of that (numerics/special.h).
 *   R2  1 is added.
 *   R3  x is divided by the sum.
 *   R4  the quotient is rounded to bf16. */
#ifndef QP_SILU_H
#define QP_SILU_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_SILU_N };
enum { QP_SILU_X };

typedef struct qp_silu_args {
    const qp_bf16 *x; /* in  [N], bf16 */
    qp_bf16 *y;       /* out [N], bf16 */
    int64_t n;
} qp_silu_args;

extern const qp_operation qp_silu_operation;

qp_silu_args qp_silu_bind(const qp_call *call);
QP_MUST_USE qp_status qp_silu_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_silu_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_silu_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
