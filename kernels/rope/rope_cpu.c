#include "../numerics/strict_fp.h"
#include "rope.h"

qp_status qp_rope_cpu(const qp_call *call)
{
    const qp_rope_args a = qp_rope_bind(call);
    const int64_t half = a.d / 2;
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t h = 0; h < a.heads; h++) {
            const qp_bf16 *x = a.x + (t * a.heads + h) * a.d;
            qp_bf16 *y = a.y + (t * a.heads + h) * a.d;
            for (int64_t j = 0; j < a.d; j++) {
                const float rotated = j < half ? -qp_bf16_to_f32(x[j + half]) : qp_bf16_to_f32(x[j - half]);
                const qp_bf16 p = qp_bf16_from_f32(qp_bf16_to_f32(x[j]) * qp_bf16_to_f32(a.cos[t * a.d + j])); /* R1 */
                const qp_bf16 q = qp_bf16_from_f32(rotated * qp_bf16_to_f32(a.sin[t * a.d + j]));              /* R2 */
                y[j] = qp_bf16_from_f32(qp_bf16_to_f32(p) + qp_bf16_to_f32(q));                                /* R3 */
            }
        }
    return QP_OK;
}
