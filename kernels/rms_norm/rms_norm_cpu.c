#include <stdlib.h>

#include "../numerics/reduce.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "rms_norm.h"

qp_status qp_rms_norm_cpu(const qp_call *call)
{
    const qp_rms_norm_args a = qp_rms_norm_bind(call);
    float *squares = malloc((size_t)a.dim * sizeof *squares);
    if (!squares) return qp_fail(QP_NO_MEMORY, "rms_norm: no memory for a row of %lld squares", (long long)a.dim);

    for (int64_t r = 0; r < a.rows; r++) {
        const qp_bf16 *x = a.x + r * a.dim;
        qp_bf16 *y = a.y + r * a.dim;
        for (int64_t c = 0; c < a.dim; c++) squares[c] = qp_bf16_to_f32(x[c]) * qp_bf16_to_f32(x[c]); /* R1 */
        const float mean = qp_mean(squares, a.dim, a.rows);                                           /* O1 */
        const float scale = qp_rsqrt(mean + a.eps);                                                   /* R2, R3 */
        for (int64_t c = 0; c < a.dim; c++) {
            const qp_bf16 normalised = qp_bf16_from_f32(qp_bf16_to_f32(x[c]) * scale);         /* R4 */
            y[c] = qp_bf16_from_f32(qp_bf16_to_f32(a.weight[c]) * qp_bf16_to_f32(normalised)); /* R5 */
        }
    }
    free(squares);
    return QP_OK;
}
