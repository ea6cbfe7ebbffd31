#include "../elementwise.cuh"
#include "silu.cuh"
#include "silu.h"

qp_status qp_silu_cuda(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    qp::launch_elementwise(call, qp::silu_element(), a.y, a.n, a.x);
    return qp::launched("silu");
}
