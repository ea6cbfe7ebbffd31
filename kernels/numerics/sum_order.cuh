/* The dot product by lanes on the card, twin of lane_fma.h. The lanes are threads; how they come together for L3 is the
 * kernel's choice. */
#ifndef QP_LANE_FMA_CUH
#define QP_LANE_FMA_CUH

#include <cuda_runtime.h>

#include "bf16.h"
#include "lane_fma.h"

namespace qp {

/* L1, L2: what one lane sums of a[k] * b[k * b_stride]. */
__device__ __forceinline__ float lane_sum(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes,
                                          int run, int lane)
{
    float sum = 0.0f;
    for (int64_t start = static_cast<int64_t>(lane) * run; start < k; start += static_cast<int64_t>(lanes) * run) {
        const int64_t end = k - start < run ? k : start + run;
        for (int64_t i = start; i < end; i++)
            sum = __fmaf_rn(qp_bf16_to_f32(a[i]), qp_bf16_to_f32(b[i * b_stride]), sum);
    }
    return sum;
}

/* L3 among `lanes` neighbouring threads of a warp, all of which take part. The first of them gets the sum. */
__device__ __forceinline__ float fold_lanes(float sum, int lanes)
{
    for (int offset = lanes / 2; offset > 0; offset /= 2)
        sum = __fadd_rn(sum, __shfl_down_sync(0xffffffffu, sum, static_cast<unsigned>(offset), lanes));
    return sum;
}

} // namespace qp

#endif
