#include "residual_add.h"

qp_status qp_residual_add_oracle(const qp_call *call)
{
    const double *residual = call->in[QP_RESIDUAL_ADD_RESIDUAL], *x = call->in[QP_RESIDUAL_ADD_X];
    double *y = call->out[0];
    for (int64_t i = 0; i < call->extent[QP_RESIDUAL_ADD_N]; i++) y[i] = residual[i] + x[i];
    return QP_OK;
}
