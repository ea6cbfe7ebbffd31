#include "../numerics/strict_fp.h"
#include "multiply.h"

qp_status qp_multiply_cpu(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    for (int64_t i = 0; i < a.n; i++)
        a.y[i] = qp_bf16_from_f32(qp_bf16_to_f32(a.a[i]) * qp_bf16_to_f32(a.b[i])); /* R1: the f32 product is exact */
    return QP_OK;
}
