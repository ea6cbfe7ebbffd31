#include <stdlib.h>

#include "../numerics/reduce.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "softmax.h"

/* Row `row` of the tensor, before R4. */
static void probabilities(const qp_bf16 *x, int64_t s_count, int64_t row, float *power)
{
    float max = qp_bf16_to_f32(x[0]);
    for (int64_t s = 1; s < s_count; s++) {
        const float value = qp_bf16_to_f32(x[s]);
        max = value > max ? value : max;
    }
    for (int64_t s = 0; s < s_count; s++) power[s] = qp_exp(qp_bf16_to_f32(x[s]) - max); /* R1, R2 */
    const float sum = qp_softmax_sum(power, s_count, row);                               /* O1 */
    for (int64_t s = 0; s < s_count; s++) power[s] /= sum;                               /* R3 */
}

qp_status qp_softmax_cpu(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    float *row = malloc((size_t)a.s * sizeof *row);
    if (!row) return qp_fail(QP_NO_MEMORY, "softmax: no memory for a row of %lld values", (long long)a.s);
    for (int64_t r = 0; r < a.rows; r++) {
        probabilities(a.x + r * a.s, a.s, r, row);
        for (int64_t s = 0; s < a.s; s++) a.y[r * a.s + s] = qp_bf16_from_f32(row[s]); /* R4 */
    }
    free(row);
    return QP_OK;
}

qp_status qp_softmax_unrounded(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    for (int64_t r = 0; r < a.rows; r++) probabilities(a.x + r * a.s, a.s, r, (float *)call->out[0] + r * a.s);
    return QP_OK;
}
