/* rope: y[t, h, j] = x[t, h, j] * cos[t, j] + rotated[t, h, j] * sin[t, j],
 *       rotated[j] = -x[j + D/2] for j < D/2, and x[j - D/2] above: halves are paired, not neighbours.
 *
 * Source: transformers 5.17, modeling_qwen3.py, apply_rotary_pos_emb and rotate_half.
 * Rounding points:
 *   R1  x * cos is rounded to bf16 (the f32 product is exact).
 *   R2  rotated * sin is rounded to bf16.
 *   R3  their sum is rounded to f32 and then to bf16.
 * Preconditions:
 *   P1  D is even. */
#ifndef QP_ROPE_H
#define QP_ROPE_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_ROPE_T, QP_ROPE_HEADS, QP_ROPE_D };
enum { QP_ROPE_X, QP_ROPE_COS, QP_ROPE_SIN };

typedef struct qp_rope_args {
    const qp_bf16 *x;         /* in  [T, heads, D], bf16 */
    const qp_bf16 *cos, *sin; /* in  [T, D], bf16        */
    qp_bf16 *y;               /* out [T, heads, D], bf16 */
    int64_t tokens, heads, d;
} qp_rope_args;

extern const qp_operation qp_rope_operation;

qp_rope_args qp_rope_bind(const qp_call *call);
QP_MUST_USE qp_status qp_rope_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_rope_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_rope_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
