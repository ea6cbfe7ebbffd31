/* softmax: y[r, s] = exp(x[r, s] - max) / sum over s of exp(x[r, s] - max)
 *
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward: softmax(..., dtype=float32).to(bf16).
 * Order:
 *   O1  the sum follows PyTorch's softmax kernels (numerics/reduce.h, qp_softmax_sum).
 * Rounding points, each one IEEE f32 operation unless said otherwise:
 *   R1  x is widened to f32; the maximum is subtracted.
 *   R2  expf (numerics/special.h).
 *   R3  each exponential is divided by the sum.
 *   R4  the quotient is rounded to bf16.
 * Exact against PyTorch on an H200 (reports/published): the CUDA implementation for 1 to 2,108 and for 9,301 to 9,305 keys,
 * the CPU's for 1 to 2,053. */
#ifndef QP_SOFTMAX_H
#define QP_SOFTMAX_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_SOFTMAX_ROWS, QP_SOFTMAX_S };
enum { QP_SOFTMAX_X };

typedef struct qp_softmax_args {
    const qp_bf16 *x; /* in  [rows, S], bf16 */
    qp_bf16 *y;       /* out [rows, S], bf16 */
    int64_t rows, s;
} qp_softmax_args;

extern const qp_operation qp_softmax_operation;

qp_softmax_args qp_softmax_bind(const qp_call *call);
QP_MUST_USE qp_status qp_softmax_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_softmax_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_softmax_oracle(const qp_call *call); /* the same operands, activations in f64 */

/* For planted faults of fused operations: R4 is left out, y is f32. */
QP_MUST_USE qp_status qp_softmax_unrounded(const qp_call *call);

#ifdef __cplusplus
}
#endif
#endif
