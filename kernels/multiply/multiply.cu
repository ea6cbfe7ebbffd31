#include "../elementwise.cuh"
#include "multiply.h"

namespace {

struct product {
    __device__ qp_bf16 operator()(qp_bf16 a, qp_bf16 b) const
    {
        return qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(a), qp_bf16_to_f32(b))); /* R1 */
    }
};

} // namespace

qp_status qp_multiply_cuda(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    qp::launch_elementwise(call, product(), a.y, a.n, a.a, a.b);
    return qp::launched("multiply");
}
