#include "../sequence.h"
#include "linear_residual.h"

qp_status qp_linear_residual_oracle(const qp_call *call)
{
    return qp_fused_run(&qp_linear_residual_operation, call, QP_ORACLE);
}
