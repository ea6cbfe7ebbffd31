#include "../elementwise.cuh"
#include "silu.h"

namespace {

/* PyTorch's compiler contracts expf's last multiplication, by a power of two, and R2 into one fma. That is the same
 * value: the product is exact unless it is below 2^-126, where the sum is 1 either way, or overflows, as the sum then
 * does. */
struct silu {
    __device__ qp_bf16 operator()(qp_bf16 value) const
    {
        const float x = qp_bf16_to_f32(value);
        return qp_bf16_from_f32(__fdiv_rn(x, __fadd_rn(1.0f, expf(-x)))); /* R1, R2, R3, R4 */
    }
};

} // namespace

qp_status qp_silu_cuda(const qp_call *call)
{
    const qp_silu_args a = qp_silu_bind(call);
    qp::launch_elementwise(call, silu(), a.y, a.n, a.x);
    return qp::launched("silu");
}
