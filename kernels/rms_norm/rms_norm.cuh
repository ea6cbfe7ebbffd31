/* The arithmetic of rms_norm on the card, for every kernel that normalises: R1 to R5 of rms_norm.h. The order of the mean
 * is numerics/reduce.cuh's. */
#ifndef QP_RMS_NORM_CUH
#define QP_RMS_NORM_CUH

#include "../cuda.cuh"
#include "../numerics/reduce.cuh"

namespace qp {

/* What the mean sums. `vectors`: rows begin where loads of four elements may. */
struct squares {
    const qp_bf16 *x;
    bool vectors;

    __device__ static float of(qp_bf16 value)
    {
        return __fmul_rn(qp_bf16_to_f32(value), qp_bf16_to_f32(value)); /* R1 */
    }
    /* M3 of a lane that has one vector. */
    __device__ static float sum_of(const vector<QP_MEAN_VECTOR> &values)
    {
        float sum = of(values.at[0]);
#pragma unroll
        for (int i = 1; i < QP_MEAN_VECTOR; i++) sum = __fadd_rn(sum, of(values.at[i]));
        return sum;
    }
    __device__ float one(int64_t i) const { return of(x[i]); }
    __device__ float4 four(int64_t i) const
    {
        using vector4 = vector<QP_MEAN_VECTOR>;
        const vector4 v =
            vectors ? *reinterpret_cast<const vector4 *>(x + i) : vector4{ { x[i], x[i + 1], x[i + 2], x[i + 3] } };
        return make_float4(of(v.at[0]), of(v.at[1]), of(v.at[2]), of(v.at[3]));
    }
};

/* R2 and R3, of the sum of the squares; the factor is qp_mean_factor's. */
__device__ __forceinline__ float rms_norm_scale(float sum, float factor, float eps)
{
    return rsqrtf(__fadd_rn(__fmul_rn(sum, factor), eps));
}

__device__ __forceinline__ qp_bf16 rms_norm_element(qp_bf16 x, qp_bf16 weight, float scale)
{
    const qp_bf16 normalised = qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(x), scale));       /* R4 */
    return qp_bf16_from_f32(__fmul_rn(qp_bf16_to_f32(weight), qp_bf16_to_f32(normalised))); /* R5 */
}

} // namespace qp

#endif
