/* How a processor's vectors compute chains of blocks: what each path (vector_portable.c, vector_avx2.c, vector_avx512.c)
 * gives to matrix_fma.c. Internal to kernels/numerics, but for the tests.
 *
 * A tile is `lanes` columns of B, and each lane of a vector sums one of them, all with the same row of A. The block step
 * (B1 to B5 of block_fma.h) becomes operations on floats that are exact:
 *   - With fields f = exponent + 127, the largest f(a) + f(b) of 16 products and the accumulator's own decide E. They are
 *     found on 16-bit halves: f stands in bits 7 to 14, so a sum fills at most the whole half.
 *   - A product of two bf16 is exact in f32 unless it is below 2^-126. Times 2^(25 - E) it is exact unless it gets below
 *     2^-126; the conversion to an integer cuts it toward zero (B3). It is below 2^27 then.
 *   - The integers are added, and the sum is cut to 24 bits (B4).
 * That holds while E >= LEAST_E = -99 and all factors of the block are below 2^27: then zero and subnormal factors need
 * no care. Their field counts as -127, so with a factor below 2^27 their product seems to have an exponent of -101 or
 * less (in truth -100), which does not reach E; a product below 2^-126 is cut to zero, since E - 25 >= -124. Nothing
 * overflows: the factors' and the accumulator's exponents are far from the top.
 * Everything else, including a sum that does not fit 32 bits, goes to qp_block_fma, one lane at a time. */
#ifndef QP_VECTOR_PATH_H
#define QP_VECTOR_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "bf16.h"
#include "block_fma.h"
#include "sum_order.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_PAIRS = QP_BLOCK_K / 2, QP_MAX_TILE = 32 };

enum {
    QP_VECTOR_LEAST_FIELDS = 254 - 99,                   /* f(a) + f(b), for LEAST_E */
    QP_VECTOR_MOST_FIELDS = 254 + 127,                   /* of a finite accumulator, f + 127 */
    QP_VECTOR_SCALE_FIELDS = 254 + QP_KEPT_BITS + 127,   /* minus the sum of fields: the field of 2^(25 - E) */
    QP_VECTOR_UNSCALE_FIELDS = 254 + QP_KEPT_BITS - 127, /* the sum of fields minus it: the field of 2^(E - 25) */
    QP_VECTOR_COMMON_END = (127 + 27) << 7               /* bits 7 to 14 of 2^27 */
};

/* A block of a row of A, ready to be broadcast. */
typedef struct qp_block_a {
    float x[QP_BLOCK_K];
    uint32_t fields[QP_PAIRS]; /* bits 7 to 14 of x[2j], and 16 bits above those of x[2j + 1] */
    bool common;               /* all below 2^27 */
    bool zero;                 /* all of them: the block changes nothing unless B holds an infinity or a NaN */
} qp_block_a;

/* Of the `size` elements x; the rest of the block is zeros. */
static inline void qp_block_a_set(qp_block_a *a, const qp_bf16 *x, int size)
{
    uint32_t largest = 0;
    for (int k = 0; k < QP_BLOCK_K; k++) {
        const uint32_t bits = k < size ? x[k].bits : 0, magnitude = bits & 0x7fffu, fields = bits & 0x7f80u;
        a->x[k] = qp_f32_from_bits(bits << 16);
        a->fields[k / 2] = k % 2 ? a->fields[k / 2] | fields << 16 : fields;
        largest = magnitude > largest ? magnitude : largest;
    }
    a->common = largest < QP_VECTOR_COMMON_END;
    a->zero = largest == 0;
}

/* A block of a tile of B is [QP_PAIRS][lanes] words: element 2j of the lane's column in the lower half, 2j + 1 above it.
 * `common` as for A. */
typedef struct qp_vector_path {
    const char *name;
    int lanes; /* at most QP_MAX_TILE */
    bool (*runs_here)(void);
    /* `count` whole blocks of a whole tile, one behind the other in K; pairs is aligned to 64 bytes. Either the columns'
     * elements lie side by side and the columns `step` apart, or the other way round. */
    void (*pack_columns)(const qp_bf16 *b, int64_t step, int64_t count, uint32_t *pairs, bool *common);
    void (*pack_rows)(const qp_bf16 *b, int64_t step, int64_t count, uint32_t *pairs, bool *common);
    /* accumulator[lanes] goes on over `count` blocks. */
    void (*chain)(float *accumulator, const qp_block_a *a, const uint32_t *pairs, const bool *common, int64_t count);
    /* L1 and L2 of sum_order.h, for the elements [first, end) of K: sums is [order.lanes][lanes], a and b start with the
     * element `first`, and b is [end - first][lanes]. */
    void (*lane_sums)(float *sums, const float *a, const float *b, int64_t first, int64_t end, qp_sum_order order);
} qp_vector_path;

extern const qp_vector_path qp_vector_portable, qp_vector_avx2, qp_vector_avx512;

/* A lane's block step by definition. */
static inline float qp_vector_lane_step(float accumulator, const qp_block_a *a, const uint32_t *pairs, int lanes,
                                        int lane)
{
    qp_bf16 x[QP_BLOCK_K], y[QP_BLOCK_K];
    for (int k = 0; k < QP_BLOCK_K; k++) {
        x[k].bits = (uint16_t)(qp_f32_bits(a->x[k]) >> 16);
        y[k].bits = (uint16_t)(pairs[k / 2 * lanes + lane] >> (k % 2 ? 16 : 0));
    }
    return qp_block_fma(accumulator, x, y);
}

#ifdef __cplusplus
}
#endif
#endif
