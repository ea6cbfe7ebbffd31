#include "../elementwise.cuh"
#include "residual_add.cuh"
#include "residual_add.h"

namespace {

struct add {
    __device__ qp_bf16 operator()(qp_bf16 residual, qp_bf16 x) const { return qp::residual_add_element(residual, x); }
};

} // namespace

qp_status qp_residual_add_cuda(const qp_call *call)
{
    const qp_residual_add_args a = qp_residual_add_bind(call);
    qp::launch_elementwise(call, add(), a.y, a.n, a.residual, a.x);
    return qp::launched("residual_add");
}
