#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "silu.h"

qp_status qp_silu_cpu(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    for (int64_t i = 0; i < a.n; i++) {
        const float x = qp_bf16_to_f32(a.x[i]);
        a.y[i] = qp_bf16_from_f32(x / (1.0f + qp_exp(-x))); /* R1, R2, R3, R4 */
    }
    return QP_OK;
}
