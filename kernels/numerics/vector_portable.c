#include <math.h>

#include "strict_fp.h"

/* Vectors of 16 bytes, which SSE2 and NEON have. */
#define VECTOR 4
#define VECTORS 2
#include "vector_chain.inc"

typedef uint16_t halves __attribute__((vector_size(4 * VECTOR)));

static inline words larger_halves(words a, words b)
{
    const halves x = (halves)a, y = (halves)b, first = (halves)(x > y);
    return (words)((x & first) | (y & ~first));
}

static inline integers larger(integers a, integers b)
{
    const integers first = a > b;
    return (a & first) | (b & ~first);
}

static inline integers cut_to_integers(floats x)
{
    const floats limit = (floats){ 0 } + 0x1p31f;
    const integers fits = (x < limit) & (x > -limit); /* the conversion of others is not defined */
    return __builtin_convertvector((floats)((integers)x & fits), integers);
}

static inline floats cut_to_floats(integers x)
{
    const words negative = (words)(x < 0), magnitude = ((words)x ^ negative) - negative;
    words spare = magnitude >> 24; /* the bits that f32 has no room for: as many ones */
    spare |= spare >> 1;
    spare |= spare >> 2;
    spare |= spare >> 4;
    const floats kept = __builtin_convertvector(magnitude & ~spare, floats);
    return (floats)((words)kept | (negative & 0x80000000u));
}

static inline floats fused(float x, floats y, floats z)
{
    for (int i = 0; i < VECTOR; i++) z[i] = fmaf(x, y[i], z[i]);
    return z;
}

static inline uint32_t signs(integers x)
{
    uint32_t bits = 0;
    for (int i = 0; i < VECTOR; i++) bits |= (uint32_t)x[i] >> 31 << i;
    return bits;
}

static bool runs_here(void) { return true; }

static bool pack(const qp_bf16 *b, int64_t lane_step, int64_t k_step, uint32_t *pairs)
{
    uint32_t largest = 0;
    for (int j = 0; j < QP_PAIRS; j++)
        for (int i = 0; i < LANES; i++) {
            const qp_bf16 *at = b + i * lane_step + 2 * j * k_step;
            const uint32_t low = at[0].bits, high = at[k_step].bits, larger_one = low << 17 > high << 17 ? low : high;
            pairs[j * LANES + i] = low | high << 16;
            largest = (larger_one & 0x7fffu) > largest ? larger_one & 0x7fffu : largest;
        }
    return largest < QP_VECTOR_COMMON_END;
}

static void pack_columns(const qp_bf16 *b, int64_t step, int64_t count, uint32_t *pairs, bool *common)
{
    for (int64_t j = 0; j < count; j++) common[j] = pack(b + j * QP_BLOCK_K, step, 1, pairs + j * QP_PAIRS * LANES);
}

static void pack_rows(const qp_bf16 *b, int64_t step, int64_t count, uint32_t *pairs, bool *common)
{
    for (int64_t j = 0; j < count; j++)
        common[j] = pack(b + j * QP_BLOCK_K * step, 1, step, pairs + j * QP_PAIRS * LANES);
}

const qp_vector_path qp_vector_portable = { "portable", LANES, runs_here, pack_columns, pack_rows, chain, lane_sums };
