/* The arithmetic of rope on the card, for every kernel that rotates: R1 to R3 of rope.h. */
#ifndef QP_ROPE_CUH
#define QP_ROPE_CUH

#include "../cuda.cuh"

namespace qp {

__device__ __forceinline__ qp_bf16 rope_element(float x, float rotated, qp_bf16 cos, qp_bf16 sin)
{
    const qp_bf16 p = qp_bf16_from_f32(__fmul_rn(x, qp_bf16_to_f32(cos)));       /* R1 */
    const qp_bf16 q = qp_bf16_from_f32(__fmul_rn(rotated, qp_bf16_to_f32(sin))); /* R2 */
    return qp_bf16_from_f32(__fadd_rn(qp_bf16_to_f32(p), qp_bf16_to_f32(q)));    /* R3 */
}

} // namespace qp

#endif
