#include "special.h"

#include <math.h>

#include "bf16.h"
#include "special_unit.h"
#include "strict_fp.h"

enum { FRACTION_BITS = 23, FRACTION_MASK = 0x7fffff, EXPONENT_BIAS = 127 };
#define SIGN_BIT 0x80000000u

/* The one NaN that the card makes. */
static float card_nan(void) { return qp_f32_from_bits(0x7fffffffu); }

/* ---- rsqrt.approx ---- */

float qp_rsqrt(float x)
{
    const uint32_t bits = qp_f32_bits(x);
    if (x == 0.0f) return bits & SIGN_BIT ? -INFINITY : INFINITY;
    if (!(x > 0.0f)) return card_nan();
    if (x == INFINITY) return 0.0f;

    int e = (int)(bits >> FRACTION_BITS) - EXPONENT_BIAS;
    uint32_t fraction = bits & FRACTION_MASK;
    if (e == -EXPONENT_BIAS) { /* subnormal */
        e++;
        for (; fraction <= FRACTION_MASK; e--) fraction <<= 1;
        fraction &= FRACTION_MASK;
    }
    const int odd = e & 1;
    return qp_f32_from_bits(qp_unit_rsqrt(odd, fraction) - ((uint32_t)((e - odd) / 2) << FRACTION_BITS));
}

/* ---- ex2.approx and expf ---- */

float qp_ex2(float x)
{
    if (x != x) return card_nan();
    if (x >= 128.0f) return INFINITY;
    if (x < -126.0f) return 0.0f;
    /* Two's complement: the fraction in the low 23 bits, floor(x) above it. */
    uint32_t fixed = (uint32_t)(int32_t)(x * 0x1p23f);
    if (x < 0.0f && (fixed & FRACTION_MASK)) fixed--;
    const uint32_t fraction = fixed & FRACTION_MASK;
    return qp_f32_from_bits(qp_unit_ex2(fraction) + (fixed - fraction));
}

/* fma in f64, which rounds twice: the product is exact, the sum is rounded to f64 and then to f32. Below that never shows:
 * the whole function is the card's for all 2^32 x (reports/published/special-h200.txt). Without -mfma, fmaf is a call, and
 * expf of scores is hot. */
static float fma_in_expf(float a, float b, float c) { return (float)((double)a * (double)b + (double)c); }

float qp_exp(float x)
{
    const float log2e_over_252 = qp_f32_from_bits(0x3bbb989du);
    const float log2e_high = qp_f32_from_bits(0x3fb8aa3bu), log2e_low = qp_f32_from_bits(0x32a57060u);
    if (x != x) return card_nan();

    float j = fma_in_expf(x, log2e_over_252, 0.5f);
    j = j < 0.0f ? 0.0f : j > 1.0f ? 1.0f : j;
    /* The card adds 252 j in round-down mode to 2^23 + 2^22 + 1, whose ulp is 1; here the product is exact, 24 + 8 bits,
     * and the conversion cuts. */
    const int n = (int)(252.0 * (double)j) - 126;
    const float t = fma_in_expf(x, log2e_low, fma_in_expf(x, log2e_high, (float)-n));
    return qp_ex2(t) * qp_f32_from_bits((uint32_t)(n + EXPONENT_BIAS) << FRACTION_BITS);
}

/* ---- sinf and cosf ---- */

/* x = quadrant * pi/2 + rest; only the quadrant modulo 4 counts. */
typedef struct reduced {
    uint32_t quadrant;
    float rest;
} reduced;

static reduced reduce_small(float x)
{
    const float two_over_pi = qp_f32_from_bits(0x3f22f983u);
    const float high = qp_f32_from_bits(0xbfc90fdau), middle = qp_f32_from_bits(0xb3a22168u);
    const float low = qp_f32_from_bits(0xa7c234c5u);
    /* Below 2^22 in magnitude, adding 1.5 * 2^23 rounds to an integer, ties to even. */
    const float to_integer = 0x1.8p23f;
    const float q = (x * two_over_pi + to_integer) - to_integer;
    return (reduced){ (uint32_t)(int32_t)q, fmaf(q, low, fmaf(q, middle, fmaf(q, high, x))) };
}

/* 2/pi * 2^192, cut; the least significant word first. */
enum { TWO_OVER_PI_WORDS = 6 };
static const uint32_t two_over_pi_words[TWO_OVER_PI_WORDS] = { 0x3c439041u, 0xdb629599u, 0xf534ddc0u,
                                                               0xfc2757d1u, 0x4e441529u, 0xa2f9836eu };

static reduced reduce_large(float x)
{
    const uint32_t bits = qp_f32_bits(x), negative = bits & SIGN_BIT;
    const uint32_t significand = bits << 8 | 0x80000000u;
    uint32_t product[TWO_OVER_PI_WORDS + 1];
    uint64_t carry = 0;
    for (int i = 0; i < TWO_OVER_PI_WORDS; i++) {
        carry += (uint64_t)two_over_pi_words[i] * significand;
        product[i] = (uint32_t)carry;
        carry >>= 32;
    }
    product[TWO_OVER_PI_WORDS] = (uint32_t)carry;

    /* |x| = significand * 2^(e - 30), so that the product shifted left by e has two bits of integer part on top, and
     * above them only multiples of four quadrants. |x| >= 105615 gives 15 <= e <= 127 - 1. */
    const uint32_t e = (bits >> FRACTION_BITS & 0xff) - 128, shift = e & 31;
    const uint32_t *top = product + TWO_OVER_PI_WORDS - (e >> 5);
    uint64_t window = (uint64_t)top[0] << 32 | top[-1];
    if (shift) window = window << shift | top[-2] >> (32 - shift);

    uint32_t quadrant = (uint32_t)(window >> 62);
    uint64_t fraction = window << 2;
    const uint32_t upper_half = (uint32_t)(fraction >> 63);
    if (upper_half) {
        quadrant++;
        fraction = ~fraction;
    }
    const double pi_over_2 = 0x1.921fb54442d19p-64; /* for a fraction of 64 bits */
    const float rest = (float)((double)(int64_t)fraction * pi_over_2);
    return (reduced){ negative ? 0u - quadrant : quadrant, (negative != 0) != (upper_half != 0) ? -rest : rest };
}

static float sin_of_quadrant(uint32_t quadrant, float r)
{
    const float s = r * r;
    float base, p;
    if (quadrant & 1) { /* the cosine of r */
        base = 1.0f;
        p = fmaf(qp_f32_from_bits(0x37cbac00u), s, qp_f32_from_bits(0xbab607edu));
        p = fmaf(p, s, qp_f32_from_bits(0x3d2aaabbu));
        p = fmaf(p, s, qp_f32_from_bits(0xbeffffffu));
    } else {
        base = r;
        p = fmaf(qp_f32_from_bits(0xb94d4153u), s, qp_f32_from_bits(0x3c0885e4u));
        p = fmaf(p, s, qp_f32_from_bits(0xbe2aaaa8u));
    }
    /* "+ 0" as the card has it: it makes +0 of -0. */
    const float value = fmaf(p, fmaf(s, base, 0.0f), base);
    return quadrant & 2 ? fmaf(value, -1.0f, 0.0f) : value;
}

static float sin_of_sum(float x, uint32_t quadrants)
{
    if (!(fabsf(x) < INFINITY)) return card_nan();
    const reduced y = fabsf(x) < 105615.0f ? reduce_small(x) : reduce_large(x);
    return sin_of_quadrant(y.quadrant + quadrants, y.rest);
}

float qp_sin(float x) { return sin_of_sum(x, 0); }
float qp_cos(float x) { return sin_of_sum(x, 1); }
