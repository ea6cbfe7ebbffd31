#include <stdlib.h>

#include "../numerics/reduce.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "softmax.h"

qp_status qp_softmax_cpu(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    float *power = malloc((size_t)a.s * sizeof *power);
    if (!power) return qp_fail(QP_NO_MEMORY, "softmax: no memory for a row of %lld values", (long long)a.s);

    for (int64_t r = 0; r < a.rows; r++) {
        const qp_bf16 *x = a.x + r * a.s;
        qp_bf16 *y = a.y + r * a.s;
        float max = qp_bf16_to_f32(x[0]);
        for (int64_t s = 1; s < a.s; s++) {
            const float value = qp_bf16_to_f32(x[s]);
            max = value > max ? value : max;
        }
        for (int64_t s = 0; s < a.s; s++) power[s] = qp_exp(qp_bf16_to_f32(x[s]) - max); /* R1, R2 */
        const float sum = qp_softmax_sum(power, a.s, r);                                 /* O1 */
        for (int64_t s = 0; s < a.s; s++) y[s] = qp_bf16_from_f32(power[s] / sum);       /* R3, R4 */
    }
    free(power);
    return QP_OK;
}
