/* How the paths for AVX2 and AVX-512 rearrange B, with AVX2's shuffles; included after vector_chain.h. */
#ifndef QP_VECTOR_X86_H
#define QP_VECTOR_X86_H

#include <immintrin.h>
#include <stdint.h>

#include "vector_path.h"

static inline __m256i load_256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Eight columns, `step` apart, whose 16 elements lie side by side: an 8 x 8 transposition of words. Returns the largest
 * fields seen, joined with `fields`. */
static inline __m256i pack_8_columns(const qp_bf16 *b, int64_t step, uint32_t *pairs, __m256i fields)
{
    __m256i x[8], y[8];
    for (int i = 0; i < 8; i++) {
        x[i] = load_256(b + i * step);
        fields = _mm256_max_epu16(fields, _mm256_and_si256(x[i], _mm256_set1_epi16(0x7f80)));
    }
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int half = 0; half < 2; half++) {
            x[i + 2 * half] = _mm256_unpacklo_epi64(y[i + half], y[i + 2 + half]);
            x[i + 2 * half + 1] = _mm256_unpackhi_epi64(y[i + half], y[i + 2 + half]);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_store_si256((__m256i *)(pairs + i * LANES), _mm256_permute2x128_si256(x[i], x[i + 4], 0x20));
        _mm256_store_si256((__m256i *)(pairs + (i + 4) * LANES), _mm256_permute2x128_si256(x[i], x[i + 4], 0x31));
    }
    return fields;
}

/* Sixteen columns that lie side by side, whose elements are `step` apart. */
static inline __m256i pack_16_rows(const qp_bf16 *b, int64_t step, uint32_t *pairs, __m256i fields)
{
    for (int j = 0; j < QP_PAIRS; j++, b += 2 * step, pairs += LANES) {
        const __m256i even = load_256(b), odd = load_256(b + step), mask = _mm256_set1_epi16(0x7f80);
        const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
        fields = _mm256_max_epu16(fields, _mm256_max_epu16(_mm256_and_si256(even, mask), _mm256_and_si256(odd, mask)));
        _mm256_store_si256((__m256i *)pairs, _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_store_si256((__m256i *)(pairs + 8), _mm256_permute2x128_si256(low, high, 0x31));
    }
    return fields;
}

static inline bool are_common(__m256i fields)
{
    const __m256i most = _mm256_set1_epi16(QP_VECTOR_COMMON_END - 1); /* positive, as all fields are */
    return _mm256_testz_si256(_mm256_cmpgt_epi16(fields, most), _mm256_set1_epi16(-1));
}

static bool pack_columns(const qp_bf16 *b, int64_t step, uint32_t *pairs)
{
    __m256i fields = _mm256_setzero_si256();
    for (int i = 0; i < LANES; i += 8) fields = pack_8_columns(b + i * step, step, pairs + i, fields);
    return are_common(fields);
}

static bool pack_rows(const qp_bf16 *b, int64_t step, uint32_t *pairs)
{
    __m256i fields = _mm256_setzero_si256();
    for (int i = 0; i < LANES; i += 16) fields = pack_16_rows(b + i, step, pairs + i, fields);
    return are_common(fields);
}

#endif
