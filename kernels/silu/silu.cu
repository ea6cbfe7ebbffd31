#include "../elementwise.cuh"
#include "silu.cuh"
#include "silu.h"

namespace {

struct silu {
    __device__ qp_bf16 operator()(qp_bf16 x) const { return qp::silu_element(x); }
};

} // namespace

qp_status qp_silu_cuda(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    qp::launch_elementwise(call, silu(), a.y, a.n, a.x);
    return qp::launched("silu");
}
