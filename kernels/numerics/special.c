#include "special.h"

#include <math.h>

#include "bf16.h"
#include "strict_fp.h"

/* A double carries 29 bits more than a float, so rounding its result to f32 is correct but for values within
 * 2^-29 ulp of a tie. */
float qp_rsqrt(float x) { return (float)(1.0 / sqrt((double)x)); }

float qp_exp(float x)
{
    const float log2e_over_252 = qp_f32_from_bits(0x3bbb989du);
    const float log2e_high = qp_f32_from_bits(0x3fb8aa3bu), log2e_low = qp_f32_from_bits(0x32a57060u);
    if (x != x) return x;

    float j = fmaf(x, log2e_over_252, 0.5f); /* saturates */
    j = j < 0.0f ? 0.0f : j > 1.0f ? 1.0f : j;
    /* The card adds in round-down mode to 2^23 + 2^22 + 1, which leaves floor(252 j) in the low bits. */
    const float floored = (float)floor(252.0 * (double)j); /* exact: 24 + 8 bits */
    const float n = floored - 126.0f;
    const float t = fmaf(x, log2e_low, fmaf(x, log2e_high, -n));
    const double power = exp2((double)t);
    return (power < 0x1p-126 ? 0.0f : (float)power) * qp_f32_from_bits((uint32_t)((int)n + 127) << 23);
}

float qp_cos(float x) { return (float)cos((double)x); }
float qp_sin(float x) { return (float)sin((double)x); }
