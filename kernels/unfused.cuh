/* The parts of a fused operation as launches of their own, for sizes that the fused kernel is not made for: many tokens,
 * where the tensor cores want large tiles and cuBLAS, whose orders PyTorch has, gives them; and rows that are not aligned.
 * What lies between two parts is in the workspace. */
#ifndef QP_UNFUSED_CUH
#define QP_UNFUSED_CUH

#include "linear/linear.h"
#include "rms_norm/rms_norm.h"
#include "rope/rope.h"
#include "weight_stream.cuh"

namespace qp {

inline qp_status enqueue_rms_norm(const qp_call *call, const qp_bf16 *x, const qp_bf16 *weight, qp_bf16 *y,
                                  int64_t rows, int64_t dim)
{
    qp_call part = {};
    part.extent[QP_RMS_NORM_ROWS] = rows, part.extent[QP_RMS_NORM_DIM] = dim;
    part.in[QP_RMS_NORM_X] = x, part.in[QP_RMS_NORM_WEIGHT] = weight;
    part.out[0] = y;
    part.params.eps = call->params.eps;
    part.launch = call->launch;
    return qp_rms_norm_cuda(&part);
}

inline qp_status enqueue_rope(const qp_call *call, const qp_bf16 *x, const qp_bf16 *cos, const qp_bf16 *sin, qp_bf16 *y,
                              int64_t tokens, int64_t heads, int64_t d)
{
    qp_call part = {};
    part.extent[QP_ROPE_T] = tokens, part.extent[QP_ROPE_HEADS] = heads, part.extent[QP_ROPE_D] = d;
    part.in[QP_ROPE_X] = x, part.in[QP_ROPE_COS] = cos, part.in[QP_ROPE_SIN] = sin;
    part.out[0] = y;
    part.launch = call->launch;
    return qp_rope_cuda(&part);
}

/* By cuBLAS for many tokens, in whose order it sums then, and by our own kernel otherwise, split into parts of `split`. */
inline qp_status enqueue_linear(const qp_call *call, const qp_bf16 *x, const qp_bf16 *weight, qp_bf16 *y, int64_t m,
                                int64_t n, int64_t k, int64_t split)
{
    qp_call part = {};
    part.extent[QP_LINEAR_M] = m, part.extent[QP_LINEAR_N] = n, part.extent[QP_LINEAR_K] = k;
    part.in[QP_LINEAR_X] = x, part.in[QP_LINEAR_WEIGHT] = weight;
    part.out[0] = y;
    part.params.part = split;
    part.launch = call->launch;
    return m > kStreamTokens ? qp_linear_cublas(&part) : qp_linear_cuda(&part);
}

} // namespace qp

#endif
