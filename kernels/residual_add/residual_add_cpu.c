#include "../numerics/strict_fp.h"
#include "residual_add.h"

qp_status qp_residual_add_cpu(const qp_call *call)
{
    const qp_residual_add_args a = qp_residual_add_bind(call);
    for (int64_t i = 0; i < a.n; i++)
        a.y[i] = qp_bf16_from_f32(qp_bf16_to_f32(a.residual[i]) + qp_bf16_to_f32(a.x[i])); /* R1 */
    return QP_OK;
}
