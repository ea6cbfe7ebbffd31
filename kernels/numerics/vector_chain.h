/* The block step of vector_path.h for vectors of VECTOR floats, in the vector notation that GCC and Clang share. A path
 * includes this after it has defined VECTOR and VECTORS; then it defines the four functions declared below. A tile is
 * VECTORS vectors: their chains overlap in the processor, and they share what is broadcast. */
#ifndef QP_VECTOR_CHAIN_H
#define QP_VECTOR_CHAIN_H

#include <math.h>
#include <string.h>

#include "vector_path.h"

enum { LANES = VECTOR * VECTORS };

typedef uint32_t words __attribute__((vector_size(4 * VECTOR)));
typedef int32_t integers __attribute__((vector_size(4 * VECTOR)));
typedef float floats __attribute__((vector_size(4 * VECTOR)));

static inline words larger_halves(words a, words b);   /* unsigned, 16 bits each */
static inline integers larger(integers a, integers b); /* signed */
static inline integers cut_to_integers(floats x);      /* toward zero; anything for what does not fit */
static inline floats cut_to_floats(integers x);        /* toward zero */
static inline uint32_t signs(integers x);              /* bit i: lane i is negative */

static inline words load_words(const uint32_t *p)
{
    words x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline floats load_floats(const float *p)
{
    floats x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* acc goes on by one block whose factors are `common`. Returns the lanes for which next[] is not right. */
static inline uint32_t step(floats next[VECTORS], const floats acc[VECTORS], const qp_block_a *a, const uint32_t *pairs)
{
    words fields[VECTORS];
    floats scale[VECTORS];
    integers low[VECTORS], high[VECTORS]; /* eight products below 2^27 each stay below 2^30 */
    for (int v = 0; v < VECTORS; v++) fields[v] = (words){ 0 };
    for (int j = 0; j < QP_PAIRS; j++)
        for (int v = 0; v < VECTORS; v++) {
            const words w = load_words(pairs + j * LANES + VECTOR * v);
            fields[v] = larger_halves(fields[v], (w & 0x7f807f80u) + a->fields[j]); /* no carry: 15 bits and 15 bits */
        }
    for (int v = 0; v < VECTORS; v++) { /* B2 */
        const words own = ((words)acc[v] << 1 >> 24) + 127;
        fields[v] = larger_halves(fields[v], fields[v] << 16) >> (16 + 7);
        fields[v] = (words)larger((integers)fields[v], (integers)own);
        scale[v] = (floats)((QP_VECTOR_SCALE_FIELDS - fields[v]) << 23);
        low[v] = cut_to_integers(acc[v] * scale[v]); /* B3 */
        high[v] = (integers){ 0 };
    }
    for (int j = 0; j < QP_PAIRS; j++)
        for (int v = 0; v < VECTORS; v++) { /* B1, B3 */
            const words w = load_words(pairs + j * LANES + VECTOR * v);
            low[v] += cut_to_integers((floats)(w << 16) * a->x[2 * j] * scale[v]);
            high[v] += cut_to_integers((floats)(w & 0xffff0000u) * a->x[2 * j + 1] * scale[v]);
        }
    uint32_t wrong = 0;
    for (int v = 0; v < VECTORS; v++) { /* B4 */
        const integers sum = (integers)((words)low[v] + (words)high[v]);
        const integers overflow = ~(low[v] ^ high[v]) & (low[v] ^ sum); /* in the sign bit, as the next two */
        const integers few = (integers)fields[v] - QP_VECTOR_LEAST_FIELDS,
                       many = QP_VECTOR_MOST_FIELDS - (integers)fields[v];
        next[v] = cut_to_floats(sum) * (floats)((fields[v] - QP_VECTOR_UNSCALE_FIELDS) << 23);
        wrong |= signs(overflow | few | many) << (VECTOR * v);
    }
    return wrong;
}

static void chain(float *accumulator, const qp_block_a *a, const uint32_t *pairs, const bool *common, int64_t count)
{
    const uint32_t all = (uint32_t)((UINT64_C(1) << LANES) - 1);
    floats acc[VECTORS], next[VECTORS];
    for (int v = 0; v < VECTORS; v++) acc[v] = load_floats(accumulator + VECTOR * v);
    for (int64_t block = 0; block < count; block++, a++, pairs += QP_PAIRS * LANES) {
        const bool fast = a->common && common[block];
        if (fast && a->zero) continue;
        const uint32_t wrong = fast ? step(next, acc, a, pairs) : all;
        if (wrong) {
            float before[LANES], after[LANES];
            memcpy(before, acc, sizeof before);
            if (fast) memcpy(after, next, sizeof after);
            for (int i = 0; i < LANES; i++)
                if (wrong >> i & 1) after[i] = qp_vector_lane_step(before[i], a, pairs, LANES, i);
            memcpy(next, after, sizeof next);
        }
        memcpy(acc, next, sizeof acc);
    }
    memcpy(accumulator, acc, sizeof acc);
}

/* A fused multiply-add is the same everywhere; each path compiles it for its own instructions. */
static void lane_sums(float *sums, const float *a, const float *b, int64_t first, int64_t end, qp_sum_order order)
{
    for (int64_t k = first; k < end; k++, b += LANES) {
        float *sum = sums + k / order.run % order.lanes * LANES;
        const float x = a[k - first];
        for (int i = 0; i < LANES; i++) sum[i] = fmaf(x, b[i], sum[i]);
    }
}

#endif
