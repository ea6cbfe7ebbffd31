#include "../sequence.h"
#include "gqa_attention.h"

qp_status qp_gqa_attention_cpu(const qp_call *call)
{
    return qp_fused_run(&qp_gqa_attention_operation, call, QP_CONTRACT);
}
