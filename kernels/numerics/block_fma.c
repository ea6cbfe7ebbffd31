#include "block_fma.h"

#include "strict_fp.h"

enum { MIN_EXPONENT = -126, LEAST_E = -133, F32_FRACTION_BITS = 23, BF16_FRACTION_BITS = 7 };

static const uint32_t canonical_nan = 0x7fffffffu;
static const uint32_t infinity_bits = 0x7f800000u;

/* A finite number as significand * 2^(exponent - fraction bits), its significand an integer. */
typedef struct decoded {
    int64_t significand;
    int exponent;
} decoded;

static int exponent_of_field(uint32_t field) { return field ? (int)field - 127 : MIN_EXPONENT; }

static decoded decode_bf16(qp_bf16 x)
{
    const uint32_t field = (x.bits >> 7) & 0xffu, fraction = x.bits & 0x7fu;
    const int64_t magnitude = field ? fraction | 0x80u : fraction;
    return (decoded){ x.bits & 0x8000u ? -magnitude : magnitude, exponent_of_field(field) };
}

static decoded decode_f32(float x)
{
    const uint32_t bits = qp_f32_bits(x), field = (bits >> 23) & 0xffu, fraction = bits & 0x7fffffu;
    const int64_t magnitude = field ? fraction | 0x800000u : fraction;
    return (decoded){ bits >> 31 ? -magnitude : magnitude, exponent_of_field(field) };
}

/* The magnitude of `significand * 2^-shift`, cut toward zero; a negative shift is exact. */
static int64_t cut(int64_t significand, int shift)
{
    const int64_t magnitude = significand < 0 ? -significand : significand;
    const int64_t kept = shift <= 0 ? magnitude << -shift : shift < 63 ? magnitude >> shift : 0;
    return significand < 0 ? -kept : kept;
}

/* sum * 2^scale cut toward zero to f32 (B4, B5). */
static float f32_cut(int64_t sum, int scale)
{
    if (sum == 0) return 0.0f;
    const uint32_t sign = sum < 0 ? 0x80000000u : 0;
    uint64_t magnitude = sum < 0 ? (uint64_t)-sum : (uint64_t)sum;
    int top = 63;
    while (!(magnitude >> top)) top--;
    const int exponent = top + scale;
    if (exponent > 127) return qp_f32_from_bits(sign | infinity_bits);
    /* The weight of the last bit kept: 2^(exponent - 23), or 2^-149 among the subnormals. */
    const int last = (exponent < MIN_EXPONENT ? MIN_EXPONENT : exponent) - F32_FRACTION_BITS;
    magnitude = last > scale ? (last - scale < 64 ? magnitude >> (last - scale) : 0) : magnitude << (scale - last);
    if (magnitude == 0) return 0.0f;
    const uint32_t field = exponent < MIN_EXPONENT ? 0 : (uint32_t)(exponent + 127);
    return qp_f32_from_bits(sign | field << 23 | ((uint32_t)magnitude & 0x7fffffu));
}

/* B5 for a block that holds an infinity or a NaN. */
static float special_sum(float accumulator, const qp_bf16 *a, const qp_bf16 *b)
{
    float sum = accumulator; /* IEEE addition and multiplication know the same classes */
    for (int k = 0; k < QP_BLOCK_K; k++) {
        const float x = qp_bf16_to_f32(a[k]), y = qp_bf16_to_f32(b[k]);
        const float classes[] = { x, y };
        float product = 1.0f; /* of the factors' classes: a finite product must not overflow into an infinity */
        for (int i = 0; i < 2; i++) {
            const uint32_t bits = qp_f32_bits(classes[i]);
            const int finite = (bits & infinity_bits) != infinity_bits;
            const float one = bits >> 31 ? -1.0f : 1.0f;
            product *= finite ? (bits << 1 ? one : 0.0f) : classes[i];
        }
        sum += product;
    }
    return sum != sum ? qp_f32_from_bits(canonical_nan) : sum;
}

static int is_special_f32(float x) { return (qp_f32_bits(x) & infinity_bits) == infinity_bits; }

float qp_block_fma(float accumulator, const qp_bf16 a[QP_BLOCK_K], const qp_bf16 b[QP_BLOCK_K])
{
    int special = is_special_f32(accumulator);
    for (int k = 0; k < QP_BLOCK_K; k++)
        special |= (a[k].bits & 0x7f80u) == 0x7f80u || (b[k].bits & 0x7f80u) == 0x7f80u;
    if (special) return special_sum(accumulator, a, b);

    const decoded acc = decode_f32(accumulator);
    decoded product[QP_BLOCK_K];
    int largest = acc.significand ? acc.exponent : LEAST_E;
    for (int k = 0; k < QP_BLOCK_K; k++) { /* B1, B2 */
        const decoded x = decode_bf16(a[k]), y = decode_bf16(b[k]);
        product[k] = (decoded){ x.significand * y.significand, x.exponent + y.exponent };
        if (product[k].significand && product[k].exponent > largest) largest = product[k].exponent;
    }

    /* A term is significand * 2^(exponent - fraction bits); counted in units of 2^(E - 25) it is
     * significand * 2^(exponent - E + 25 - fraction bits). (B3) */
    int64_t sum = cut(acc.significand, largest - acc.exponent - (QP_KEPT_BITS - F32_FRACTION_BITS));
    for (int k = 0; k < QP_BLOCK_K; k++)
        if (product[k].significand)
            sum += cut(product[k].significand, largest - product[k].exponent - (QP_KEPT_BITS - 2 * BF16_FRACTION_BITS));
    return f32_cut(sum, largest - QP_KEPT_BITS); /* B4 */
}

float qp_chain_fma(float accumulator, const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k)
{
    for (int64_t i = 0; i < k; i += QP_BLOCK_K) {
        qp_bf16 x[QP_BLOCK_K] = { { 0 } }, y[QP_BLOCK_K] = { { 0 } };
        for (int64_t j = 0; j < QP_BLOCK_K && i + j < k; j++) {
            x[j] = a[i + j];
            y[j] = b[(i + j) * b_stride];
        }
        accumulator = qp_block_fma(accumulator, x, y);
    }
    return accumulator;
}

float qp_split_chain_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t k, int64_t part)
{
    float sum = qp_chain_fma(0.0f, a, b, 1, part < k ? part : k);
    for (int64_t start = part; start < k; start += part)
        sum += qp_chain_fma(0.0f, a + start, b + start, 1, k - start < part ? k - start : part);
    return sum;
}
