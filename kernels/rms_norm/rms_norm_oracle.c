#include <math.h>

#include "rms_norm.h"

qp_status qp_rms_norm_oracle(const qp_call *call)
{
    const qp_rms_norm_args a = qp_rms_norm_bind(call);
    const double *x = call->in[QP_RMS_NORM_X];
    double *y = call->out[0];
    for (int64_t r = 0; r < a.rows; r++, x += a.dim, y += a.dim) {
        double sum = 0.0;
        for (int64_t c = 0; c < a.dim; c++) sum += x[c] * x[c];
        const double scale = 1.0 / sqrt(sum / (double)a.dim + (double)a.eps);
        for (int64_t c = 0; c < a.dim; c++) y[c] = (double)qp_bf16_to_f32(a.weight[c]) * (x[c] * scale);
    }
    return QP_OK;
}
