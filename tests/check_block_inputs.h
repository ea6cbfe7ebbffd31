/* Kinds of random bf16 that a block step of the tensor core must get right, for the tests that compare two of them. */
#ifndef QP_CHECK_BLOCK_INPUTS_H
#define QP_CHECK_BLOCK_INPUTS_H

#include <math.h>

#include "../kernels/numerics/bf16.h"
#include "check_random.h"

enum {
    BLOCK_ANY_BITS,
    BLOCK_NEAR_ONE,
    BLOCK_WIDE,
    BLOCK_TINY, /* subnormal, or close to it */
    BLOCK_HUGE,
    BLOCK_EDGES,
    BLOCK_SPECIALS,          /* mostly near one, with infinities, NaN and zeros */
    BLOCK_ZERO_TIMES_ANY,    /* half of them zero, the others of any size */
    BLOCK_PRODUCT_SUBNORMAL, /* normal factors whose products are below 2^-126 */
    BLOCK_NEAR_OVERFLOW,     /* finite factors whose sums may exceed the largest f32 */
    BLOCK_KINDS
};

static const char *const block_kind_names[BLOCK_KINDS] = { "any bits",     "near one",       "wide",
                                                           "tiny",         "huge",           "edges",
                                                           "specials",     "zero times any", "product subnormal",
                                                           "near overflow" };

/* Uniform in [-1, 1) times a power of two drawn from `count` ones, the lowest of which is 2^lowest. */
static inline qp_bf16 block_scaled(uint64_t *state, int lowest, int count)
{
    const double value = 2.0 * check_uniform(state) - 1.0;
    return qp_bf16_from_f32(ldexpf((float)value, lowest + (int)(check_random(state) % (uint64_t)count)));
}

static inline qp_bf16 block_listed(uint64_t *state, const uint16_t *bits, int count)
{
    qp_bf16 value;
    value.bits = bits[check_random(state) % (uint64_t)count];
    return value;
}

static inline qp_bf16 block_input(int kind, uint64_t *state)
{
    static const uint16_t edges[] = { 0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x0080, 0x8080, 0x3f80,
                                      0xbf80, 0x3f81, 0x7f7f, 0xff7f, 0x4000, 0x3400, 0x5f80, 0x1f80 };
    static const uint16_t specials[] = { 0x7f80, 0xff80, 0x7fc0, 0x0000 };
    qp_bf16 any;
    any.bits = (uint16_t)check_random(state);
    switch (kind) {
    case BLOCK_NEAR_ONE: return block_scaled(state, 1, 1);
    case BLOCK_WIDE: return block_scaled(state, -60, 120);
    case BLOCK_TINY: return block_scaled(state, -141, 24);
    case BLOCK_HUGE: return block_scaled(state, 49, 20);
    case BLOCK_EDGES: return block_listed(state, edges, (int)(sizeof edges / sizeof *edges));
    case BLOCK_SPECIALS:
        return any.bits % 24 ? block_scaled(state, 1, 1)
                             : block_listed(state, specials, (int)(sizeof specials / sizeof *specials));
    case BLOCK_ZERO_TIMES_ANY: return any.bits % 2 ? block_listed(state, edges, 1) : block_scaled(state, -125, 250);
    case BLOCK_PRODUCT_SUBNORMAL: return block_scaled(state, -80, 30);
    case BLOCK_NEAR_OVERFLOW: return block_scaled(state, 62, 3);
    default: return any;
    }
}

#endif
