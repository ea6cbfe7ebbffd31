#include "../sequence.h"
#include "rmsnorm_gate_up_silu.h"

qp_status qp_rmsnorm_gate_up_silu_oracle(const qp_call *call)
{
    return qp_fused_run(&qp_rmsnorm_gate_up_silu_operation, call, QP_ORACLE);
}
