#include "../numerics/strict_fp.h"
#include "argmax.h"

qp_status qp_argmax_cpu(const qp_call *call)
{
    const qp_argmax_args a = qp_argmax_bind(call);
    const qp_bf16 *row = a.x + (a.tokens - 1) * a.v;
    int64_t best = 0;
    for (int64_t i = 1; i < a.v; i++) {
        const float value = qp_bf16_to_f32(row[i]), top = qp_bf16_to_f32(row[best]);
        if (top == top && (value > top || value != value)) best = i; /* O1 */
    }
    *a.y = best;
    return QP_OK;
}
