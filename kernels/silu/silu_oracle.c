#include <math.h>

#include "../threads.h"
#include "silu.h"

qp_status qp_silu_oracle(const qp_call *call)
{
    const double *x = call->in[QP_SILU_X];
    double *y = call->out[0];
#pragma omp parallel for if (QP_WORTH_THREADS(call->extent[QP_SILU_N]))
    for (int64_t i = 0; i < call->extent[QP_SILU_N]; i++) y[i] = x[i] / (1.0 + exp(-x[i]));
    return QP_OK;
}
