#include <math.h>

#include "../threads.h"
#include "softmax.h"

qp_status qp_softmax_oracle(const qp_call *call)
{
    const qp_softmax_args a = qp_softmax_bind(call);
    const double *all = call->in[QP_SOFTMAX_X];
    double *out = call->out[0];
#pragma omp parallel for if (QP_WORTH_THREADS(a.rows * a.s))
    for (int64_t r = 0; r < a.rows; r++) {
        const double *x = all + r * a.s;
        double *y = out + r * a.s, max = x[0], sum = 0.0;
        for (int64_t s = 1; s < a.s; s++) max = fmax(max, x[s]);
        for (int64_t s = 0; s < a.s; s++) sum += y[s] = exp(x[s] - max);
        for (int64_t s = 0; s < a.s; s++) y[s] /= sum;
    }
    return QP_OK;
}
