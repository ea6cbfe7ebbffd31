#include <math.h>

#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "rotary_embedding.h"

qp_status qp_rotary_embedding_cpu(const qp_call *call)
{
    const qp_rotary_embedding_args a = qp_rotary_embedding_bind(call);
    const int64_t half = a.d / 2;
    for (int64_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)a.d;
        const float power = (float)pow(a.theta, (double)exponent);
        a.inv_freq[i] = 1.0f / power; /* R1 */
    }
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t i = 0; i < half; i++) {
            const float angle = a.inv_freq[i] * (float)a.positions[t]; /* R2 */
            qp_bf16 *cos = a.cos + t * a.d + i, *sin = a.sin + t * a.d + i;
            cos[0] = cos[half] = qp_bf16_from_f32(qp_cos(angle)); /* R3, R4, R5 */
            sin[0] = sin[half] = qp_bf16_from_f32(qp_sin(angle));
        }
    return QP_OK;
}
