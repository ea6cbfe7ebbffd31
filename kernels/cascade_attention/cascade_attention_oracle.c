#include "../gqa_attention/gqa_attention.h"
#include "../sequence.h"
#include "cascade_attention.h"

qp_status qp_cascade_attention_oracle(const qp_call *call)
{
    return qp_cascade_attention_flat(call, sizeof(double), qp_gqa_attention_oracle);
}

static qp_status rounded(const qp_call *flat)
{
    return qp_fused_run(&qp_gqa_attention_operation, flat, QP_ROUNDING_ORACLE);
}

qp_status qp_cascade_attention_rounding_oracle(const qp_call *call)
{
    return qp_cascade_attention_flat(call, sizeof(double), rounded);
}
