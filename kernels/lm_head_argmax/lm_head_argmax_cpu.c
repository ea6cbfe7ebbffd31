#include "../sequence.h"
#include "lm_head_argmax.h"

qp_status qp_lm_head_argmax_cpu(const qp_call *call)
{
    return qp_fused_run(&qp_lm_head_argmax_operation, call, QP_CONTRACT);
}
