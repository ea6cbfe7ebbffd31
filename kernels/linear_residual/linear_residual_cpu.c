#include "../sequence.h"
#include "linear_residual.h"

qp_status qp_linear_residual_cpu(const qp_call *call)
{
    return qp_fused_run(&qp_linear_residual_operation, call, QP_CONTRACT);
}
