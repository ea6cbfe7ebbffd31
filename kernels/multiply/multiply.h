/* multiply: y[i] = a[i] * b[i]
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3MLP.forward: act_fn(gate) * up.
 * Rounding points:
 *   R1  the product, exact in f32, is rounded once to bf16. */
#ifndef QP_MULTIPLY_H
#define QP_MULTIPLY_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MULTIPLY_N };
enum { QP_MULTIPLY_A, QP_MULTIPLY_B };

typedef struct qp_multiply_args {
    const qp_bf16 *a, *b; /* in  [N], bf16 */
    qp_bf16 *y;           /* out [N], bf16 */
    int64_t n;
} qp_multiply_args;

extern const qp_operation qp_multiply_operation;

qp_multiply_args qp_multiply_bind(const qp_call *call);
QP_MUST_USE qp_status qp_multiply_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_multiply_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_multiply_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
