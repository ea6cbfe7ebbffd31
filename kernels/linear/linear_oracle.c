#include "linear.h"

qp_status qp_linear_oracle(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    const double *x = call->in[QP_LINEAR_X];
    double *y = call->out[0];
    for (int64_t n = 0; n < a.n; n++)
        for (int64_t m = 0; m < a.m; m++) {
            double sum = 0.0;
            for (int64_t k = 0; k < a.k; k++) sum += x[m * a.k + k] * (double)qp_bf16_to_f32(a.weight[n * a.k + k]);
            y[m * a.n + n] = sum;
        }
    return QP_OK;
}
