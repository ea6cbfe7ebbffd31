/* The arithmetic of residual_add on the card: R1 of residual_add.h. */
#ifndef QP_RESIDUAL_ADD_CUH
#define QP_RESIDUAL_ADD_CUH

#include "../cuda.cuh"

namespace qp {

struct residual_add_element {
    __device__ __forceinline__ qp_bf16 operator()(qp_bf16 residual, qp_bf16 x) const
    {
        return qp_bf16_from_f32(__fadd_rn(qp_bf16_to_f32(residual), qp_bf16_to_f32(x))); /* R1 */
    }
};

} // namespace qp

#endif
