/* The arithmetic of silu on the card: R1 to R4 of silu.h. */
#ifndef QP_SILU_CUH
#define QP_SILU_CUH

#include "../cuda.cuh"

namespace qp {

/* PyTorch's compiler contracts expf's last multiplication, by a power of two, and R2 into one fma. That is the same
 * value: the product is exact unless it is below 2^-126, where the sum is 1 either way, or overflows, as the sum then
 * does. */
struct silu_element {
    __device__ __forceinline__ qp_bf16 operator()(qp_bf16 value) const
    {
        const float x = qp_bf16_to_f32(value);
        return qp_bf16_from_f32(__fdiv_rn(x, __fadd_rn(1.0f, expf(-x)))); /* R1, R2, R3, R4 */
    }
};

} // namespace qp

#endif
