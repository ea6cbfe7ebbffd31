/* Special functions in f32 as CUDA's math library computes them, as far as IEEE operations alone tell.
 *
 * What the card's special-function unit adds (rsqrt.approx, ex2.approx) is replaced by the correctly rounded
 * value. Measured on an H200: rsqrt.approx is -1, 0 or +1 ulp from it (-2 in 8 of 2^24 cases), ex2.approx -2 to
 * +1 ulp. So results here may differ from the card's by 2 ulp of f32; the operations that use them derive
 * their bounds from that. */
#ifndef QP_SPECIAL_H
#define QP_SPECIAL_H

#ifdef __cplusplus
extern "C" {
#endif

/* How far the functions below may be from the card's, in ulp of f32. */
enum { QP_RSQRT_ULP = 2, QP_EXP_ULP = 2, QP_SINCOS_ULP = 2 };

/* 1 / sqrt(x) for x > 0. */
float qp_rsqrt(float x);

/* expf as nvcc compiles it without fast-math: with n = floor(x * log2 e), clamped to -126 .. 126, and
 * t = fma(x, log2 e, -n) corrected by the low part of log2 e, the result is ex2(t) * 2^n, where ex2 flushes
 * a result below 2^-126 to zero and the product does not. Source: the PTX of nvcc 13.0 for expf. */
float qp_exp(float x);

/* cosf, sinf: correctly rounded here; CUDA's are at most 2 ulp off (CUDA C++ Programming Guide,
 * "Mathematical Functions"). */
float qp_cos(float x);
float qp_sin(float x);

#ifdef __cplusplus
}
#endif
#endif
