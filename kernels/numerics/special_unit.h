/* The special-function unit (MUFU) of an H200, bit for bit: rsqrt.approx and ex2.approx on one period of their arguments.
 * special.h makes whole functions of it.
 *
 * It is a quadratic interpolator in fixed point, of the kind that Oberman and Siu describe ("A High-Performance
 * Area-Efficient Multifunction Interpolator", ARITH 2005):
 *   U1  the 23 bits of the fraction are a segment (the upper 6; for rsqrt the parity of the exponent comes before them)
 *       and x (the lower 17, unsigned).
 *   U2  each segment has coefficients c0, c1, c2 of 26, 16 and 10 bits (special_unit.c).
 *   U3  S(x), x^2 in units of 2^19: of x^2 = sum of x_i 2^(2i) + sum over i < j of x_i x_j 2^(i + j + 1), with the bits
 *       x_i, the terms below 2^19 are left out. Nothing else is cut before the end.
 *   U4  ex2: (2^13 c0 + c1 x + c2 S + 6114) / 2^15, cut to an integer, is the result in units of 2^-23.
 *   U5  rsqrt: (2^14 c0 - c1 x - 1 + 4 c2 S) / 2^16, cut to an integer, is the result in units of 2^-24. The -1 is that
 *       of a one's complement in place of a negation.
 *   U6  rsqrt(1) is exactly 1, where U5 gives 1 - 2^-24.
 *
 * Source: derived from what the card returns for all 3 * 2^23 arguments, golden/profiles/sm_90.h5; tests/check_profile.c
 * compares every one. Where the 6114 comes from is not known. */
#ifndef QP_SPECIAL_UNIT_H
#define QP_SPECIAL_UNIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The f32 bits of rsqrt.approx((1 + fraction * 2^-23) * (odd ? 2 : 1)), in [0.5, 1]. fraction < 2^23; odd is 0 or 1. */
uint32_t qp_unit_rsqrt(int odd, uint32_t fraction);

/* The f32 bits of ex2.approx(fraction * 2^-23), in [1, 2). fraction < 2^23. */
uint32_t qp_unit_ex2(uint32_t fraction);

#ifdef __cplusplus
}
#endif
#endif
