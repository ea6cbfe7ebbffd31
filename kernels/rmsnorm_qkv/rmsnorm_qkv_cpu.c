#include "../sequence.h"
#include "rmsnorm_qkv.h"

qp_status qp_rmsnorm_qkv_cpu(const qp_call *call) { return qp_fused_run(&qp_rmsnorm_qkv_operation, call, QP_CONTRACT); }
