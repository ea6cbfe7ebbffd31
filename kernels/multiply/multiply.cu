#include "../elementwise.cuh"
#include "multiply.cuh"
#include "multiply.h"

namespace {

struct product {
    __device__ qp_bf16 operator()(qp_bf16 a, qp_bf16 b) const { return qp::multiply_element(a, b); }
};

} // namespace

qp_status qp_multiply_cuda(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    qp::launch_elementwise(call, product(), a.y, a.n, a.a, a.b);
    return qp::launched("multiply");
}
