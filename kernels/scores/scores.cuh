/* What both CUDA implementations of scores do with a product. */
#ifndef QP_SCORES_CUH
#define QP_SCORES_CUH

#include "../cuda.cuh"
#include "scores.h"

namespace qp {

/* R2 and R3 for the query of token t and the key s. A masked score is not simply the mask: a scaled product far below
 * zero makes it -inf. */
__device__ __forceinline__ qp_bf16 scale_and_mask(const qp_scores_args &a, qp_bf16 product, int64_t t, int64_t s)
{
    const qp_bf16 scaled = qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(product), a.scale)); /* R2 */
    return qp_bf16_from_f32(__fadd_rn(qp_bf16_to_f32(scaled), qp_scores_mask(&a, t, s))); /* R3 */
}

} // namespace qp

#endif
