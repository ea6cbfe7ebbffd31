#include "../sequence.h"
#include "rmsnorm_gate_up_silu.h"

qp_status qp_rmsnorm_gate_up_silu_cpu(const qp_call *call)
{
    return qp_fused_run(&qp_rmsnorm_gate_up_silu_operation, call, QP_CONTRACT);
}
