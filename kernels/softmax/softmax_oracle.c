#include <math.h>

#include "softmax.h"

qp_status qp_softmax_oracle(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    const double *x = call->in[QP_SOFTMAX_X];
    double *y = call->out[0];
    for (int64_t r = 0; r < a.rows; r++, x += a.s, y += a.s) {
        double max = x[0], sum = 0.0;
        for (int64_t s = 1; s < a.s; s++) max = fmax(max, x[s]);
        for (int64_t s = 0; s < a.s; s++) sum += y[s] = exp(x[s] - max);
        for (int64_t s = 0; s < a.s; s++) y[s] /= sum;
    }
    return QP_OK;
}
