/* The arithmetic of multiply on the card: R1 of multiply.h. */
#ifndef QP_MULTIPLY_CUH
#define QP_MULTIPLY_CUH

#include "../cuda.cuh"

namespace qp {

struct multiply_element {
    __device__ __forceinline__ qp_bf16 operator()(qp_bf16 a, qp_bf16 b) const
    {
        return qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(a), qp_bf16_to_f32(b))); /* R1 */
    }
};

} // namespace qp

#endif
