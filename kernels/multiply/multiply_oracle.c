#include "multiply.h"

qp_status qp_multiply_oracle(const qp_call *call)
{
    const double *a = call->in[QP_MULTIPLY_A], *b = call->in[QP_MULTIPLY_B];
    double *y = call->out[0];
    for (int64_t i = 0; i < call->extent[QP_MULTIPLY_N]; i++) y[i] = a[i] * b[i];
    return QP_OK;
}
