/* argmax: y = the index of the largest element of the last row of x
 *
 * Source: PyTorch 2.11, torch.argmax over the last position's logits (SharedReduceOps.h, GreaterOrNan).
 * Order:
 *   O1  of equal values the lowest index wins; +0 and -0 are equal. A NaN is larger than anything, the first of them wins. */
#ifndef QP_ARGMAX_H
#define QP_ARGMAX_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_ARGMAX_T, QP_ARGMAX_V, QP_ARGMAX_ONE };
enum { QP_ARGMAX_X };

typedef struct qp_argmax_args {
    const qp_bf16 *x; /* in  [T, V], bf16; only the last row counts */
    int64_t *y;       /* out [1]                                    */
    int64_t tokens, v;
} qp_argmax_args;

extern const qp_operation qp_argmax_operation;

qp_argmax_args qp_argmax_bind(const qp_call *call);
QP_MUST_USE qp_status qp_argmax_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_argmax_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_argmax_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
