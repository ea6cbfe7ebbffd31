/* Special functions in f32, bit for bit as an H200 computes them in code that nvcc 13.0 compiled without fast-math.
 *
 * Each is a contract in numbered steps. "fma" is one rounding, to nearest even, and so is every other f32 operation, if
 * nothing else is said; subnormals are kept, if nothing else is said. Every NaN that goes in or arises gives the NaN
 * 0x7FFFFFFF, whatever its sign and payload.
 *
 * Source: the steps of expf, cosf and sinf are the PTX that nvcc 13.0 writes for them (-arch=compute_90). rsqrtf is the
 * instruction rsqrt.approx alone. rsqrt.approx and ex2.approx end in the special-function unit, special_unit.h; the
 * steps around it were found by measuring. Compared with an H200 for all 2^32 inputs, each of the five, by checksums of
 * runs of 2^16: none differs. */
#ifndef QP_SPECIAL_H
#define QP_SPECIAL_H

#ifdef __cplusplus
extern "C" {
#endif

/* rsqrtf(x), which is rsqrt.approx.f32:
 * Q1  +0 gives +infinity and -0 gives -infinity; any other negative number gives the NaN; +infinity gives +0.
 * Q2  otherwise x = (1 + fraction * 2^-23) * 2^e, subnormals normalised. With odd = e mod 2, in {0, 1}, the result is
 *     qp_unit_rsqrt(odd, fraction) * 2^-((e - odd) / 2), exact: it is never subnormal. */
float qp_rsqrt(float x);

/* ex2.approx.ftz.f32(x), an approximation of 2^x:
 * P1  x >= 128 gives +infinity; x < -126, whose result would be subnormal, gives +0.
 * P2  x is cut, toward zero, to a multiple of 2^-23, so that a subnormal x and any other below 2^-23 count as 0.
 * P3  if that is an integer n, the result is 2^n.
 * P4  otherwise, if x < 0, 2^-23 is taken away: the unit complements the bits of |x| and does not add the 1 that would
 *     make it the negative.
 * P5  with n = floor(x) of that, the result is qp_unit_ex2((x - n) * 2^23) * 2^n. */
float qp_ex2(float x);

/* expf(x), for which 2^x does the work:
 * E1  j = fma(x, 0x3BBB989D, 0.5), about x / (252 ln 2) + 1/2, clamped to [0, 1].
 * E2  n = floor(252 j) - 126, an integer in -126 .. 126.
 * E3  t = fma(x, 0x32A57060, fma(x, 0x3FB8AA3B, -n)), about x log2(e) - n; the constants are log2(e) in two parts.
 * E4  the result is ex2(t) * 2^n. The product keeps subnormals; where ex2 does not (P1), it would be 0 all the same. */
float qp_exp(float x);

/* sinf(x) and cosf(x): x is reduced to x = q * pi/2 + r, |r| <= about pi/4, and a polynomial of r gives the result.
 * T1  |x| < 105615 (0x47CE4780): q is x * 0x3F22F983 (about 2/pi), rounded to f32 and then to an integer, ties to even;
 *     r = fma(q, 0xA7C234C5, fma(q, 0xB3A22168, fma(q, 0xBFC90FDA, x))), where the constants are -pi/2 in three parts.
 * T2  |x| >= 105615: |x| is multiplied in integers with the first 192 bits of 2/pi (Payne and Hanek), and cut below
 *     2^-62 of a quadrant; q is its integer part modulo 4. If the 62 bits behind it are 1/2 or more, q is one more
 *     and the fraction, with two zero bits appended, is complemented and counts as negative, no 1 added. Its 64 bits as
 *     an integer, rounded to f64, times 0x3BF921FB54442D19 (pi/2 * 2^-64) in f64, rounded to f32, are |r|. A negative x
 *     negates q and r.
 * T3  an infinity gives the NaN.
 * T4  for cosf, q is one more from here on: cos x = sin(x + pi/2).
 * T5  with s = r * r rounded: for q even, an odd polynomial, sin r, with
 *         b = r, p = fma(fma(0xB94D4153, s, 0x3C0885E4), s, 0xBE2AAAA8);
 *     for q odd, an even one, cos r, with
 *         b = 1, p = fma(fma(fma(0x37CBAC00, s, 0xBAB607ED), s, 0x3D2AAABB), s, 0xBEFFFFFF).
 *     Its value is fma(p, fma(s, b, 0), b).
 * T6  q & 2 negates it, as fma(value, -1, 0), which makes no -0. */
float qp_sin(float x);
float qp_cos(float x);

#ifdef __cplusplus
}
#endif
#endif
