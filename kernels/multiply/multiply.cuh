/* The arithmetic of multiply on the card: R1 of multiply.h. */
#ifndef QP_MULTIPLY_CUH
#define QP_MULTIPLY_CUH

#include "../cuda.cuh"

namespace qp {

__device__ __forceinline__ qp_bf16 multiply_element(qp_bf16 a, qp_bf16 b)
{
    return qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(a), qp_bf16_to_f32(b))); /* R1 */
}

} // namespace qp

#endif
