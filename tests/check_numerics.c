/* kernels/numerics: bf16, the tensor core's block, PyTorch's sums, the special functions. */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/bf16.h"
#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/sum_order.h"
#include "../kernels/numerics/reduce.h"
#include "../kernels/numerics/special.h"
#include "../kernels/special_array.h"
#include "check_block_inputs.h"
#include "check_main.h"
#include "check_random.h"

/* Replayable: every test starts from its own seed. */
static uint64_t random_state;

static uint32_t random_bits(void) { return (uint32_t)check_random(&random_state); }

/* ---- bf16 ---- */

START_TEST(test_bf16_every_value_survives_the_way_through_f32)
{
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        const qp_bf16 x = { (uint16_t)bits };
        const bool nan = (bits & 0x7fff) > 0x7f80;
        ck_assert_uint_eq(qp_bf16_from_f32(qp_bf16_to_f32(x)).bits, nan ? 0x7fff : bits);
    }
}
END_TEST

START_TEST(test_bf16_every_tie_goes_to_even_and_its_neighbours_do_not)
{
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        if ((bits & 0x7f80) == 0x7f80) continue; /* infinities and NaN have no tie above them */
        const uint32_t tie = bits << 16 | 0x8000;
        ck_assert_uint_eq(qp_bf16_from_f32(qp_f32_from_bits(tie)).bits, bits + (bits & 1));
        ck_assert_uint_eq(qp_bf16_from_f32(qp_f32_from_bits(tie - 1)).bits, bits);
        ck_assert_uint_eq(qp_bf16_from_f32(qp_f32_from_bits(tie + 1)).bits, bits + 1);
    }
}
END_TEST

START_TEST(test_bf16_every_nan_is_the_canonical_one)
{
    const uint32_t nans[] = { 0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff };
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++)
        ck_assert_uint_eq(qp_bf16_from_f32(qp_f32_from_bits(nans[i])).bits, 0x7fff);
}
END_TEST

/* ---- A second block step: fixed-point numbers of 1,024 bits, from the text of block_fma.h alone. ---- */

enum { LIMBS = 32, POINT = 400 }; /* bit POINT weighs 2^0: products reach down to 2^-266, sums up to 2^260 */

typedef struct wide {
    uint32_t limb[LIMBS]; /* least significant first */
} wide;

static void wide_add_shifted(wide *sum, uint64_t value, int bit)
{
    uint64_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        /* The 32 bits of value * 2^bit that fall into limb i. */
        const int low = 32 * i - bit;
        uint64_t part = low >= 64 || low <= -32 ? 0 : low >= 0 ? value >> low : value << -low;
        part &= 0xffffffffu;
        carry += (uint64_t)sum->limb[i] + part;
        sum->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static int wide_compare(const wide *a, const wide *b)
{
    for (int i = LIMBS - 1; i >= 0; i--)
        if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

static void wide_subtract(wide *a, const wide *b) /* a >= b */
{
    int64_t borrow = 0;
    for (int i = 0; i < LIMBS; i++) {
        borrow += (int64_t)a->limb[i] - (int64_t)b->limb[i];
        a->limb[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
}

static bool wide_bit(const wide *a, int bit) { return a->limb[bit / 32] >> (bit % 32) & 1u; }

static void wide_clear_below(wide *a, int bit)
{
    for (int i = 0; i < bit; i++) a->limb[i / 32] &= ~(1u << (i % 32));
}

/* |x| = significand * 2^scale, and the exponent that counts for E. */
typedef struct term {
    uint64_t significand;
    int scale, exponent;
    bool negative;
} term;

static term term_of(float x, int fraction_bits, int dropped_bits)
{
    const uint32_t bits = qp_f32_bits(x), field = bits >> 23 & 0xff;
    const uint32_t fraction = (bits & 0x7fffff) >> dropped_bits;
    term t = { .negative = bits >> 31 };
    t.exponent = field ? (int)field - 127 : -126;
    t.significand = field ? fraction + (1u << fraction_bits) : fraction;
    t.scale = t.exponent - fraction_bits;
    return t;
}

static float slow_block(float accumulator, const qp_bf16 *a, const qp_bf16 *b)
{
    int nan = isnan(accumulator), up = accumulator == INFINITY, down = accumulator == -INFINITY;
    term terms[17] = { term_of(accumulator, 23, 0) };
    int largest = terms[0].significand ? terms[0].exponent : -133;
    for (int k = 0; k < 16; k++) {
        const float x = qp_bf16_to_f32(a[k]), y = qp_bf16_to_f32(b[k]);
        if (isnan(x) || isnan(y) || (isinf(x) && y == 0) || (isinf(y) && x == 0))
            nan = 1;
        else if (isinf(x) || isinf(y))
            *(signbit(x) != signbit(y) ? &down : &up) = 1;
        const term p = term_of(x, 7, 16), q = term_of(y, 7, 16);
        terms[k + 1] = (term){ p.significand * q.significand, p.scale + q.scale, p.exponent + q.exponent,
                               p.negative != q.negative };
        if (terms[k + 1].significand && terms[k + 1].exponent > largest) largest = terms[k + 1].exponent;
    }
    if (nan || (up && down)) return qp_f32_from_bits(0x7fffffff);
    if (up || down) return up ? INFINITY : -INFINITY;

    wide sums[2] = { 0 };
    for (int i = 0; i < 17; i++) {
        wide one = { 0 };
        wide_add_shifted(&one, terms[i].significand, POINT + terms[i].scale);
        wide_clear_below(&one, POINT + largest - 25);
        uint64_t carry = 0;
        for (int j = 0; j < LIMBS; j++) {
            carry += (uint64_t)sums[terms[i].negative].limb[j] + one.limb[j];
            sums[terms[i].negative].limb[j] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    const int order = wide_compare(&sums[0], &sums[1]);
    if (order == 0) return 0.0f;
    wide *magnitude = &sums[order < 0];
    wide_subtract(magnitude, &sums[order > 0]);
    int top = 32 * LIMBS - 1;
    while (!wide_bit(magnitude, top)) top--;
    if (top - POINT > 127) return order > 0 ? INFINITY : -INFINITY;
    const int last = (top - POINT < -126 ? -126 : top - POINT) - 23;
    double value = 0.0; /* at most 24 bits: exact */
    for (int bit = top; bit >= POINT + last && bit >= 0; bit--)
        value += wide_bit(magnitude, bit) ? ldexp(1.0, bit - POINT) : 0.0;
    return value == 0.0 ? 0.0f : (float)(order > 0 ? value : -value);
}

static void assert_same(float want, float got, int which, int round)
{
    ck_assert_msg(qp_f32_bits(want) == qp_f32_bits(got), "draw %d, round %d: want %a (%08x), got %a (%08x)", which,
                  round, (double)want, qp_f32_bits(want), (double)got, qp_f32_bits(got));
}

START_TEST(test_block_equals_the_slow_one)
{
    random_state = 1 + (uint64_t)_i;
    for (int round = 0; round < 20000; round++) {
        qp_bf16 a[16], b[16];
        for (int k = 0; k < 16; k++) {
            a[k] = block_input(_i, &random_state);
            b[k] = block_input(_i, &random_state);
        }
        if (round % 3 == 0) /* cancellation: the second half takes back the first */
            for (int k = 8; k < 16; k++) {
                a[k] = a[k - 8];
                b[k].bits = b[k - 8].bits ^ 0x8000u;
            }
        float accumulator = round % 5 == 0   ? 0.0f
                            : round % 5 == 1 ? -0.0f
                                             : qp_bf16_to_f32(block_input(_i, &random_state)) * 1.0009765625f;
        if (round % 7 == 0) accumulator = qp_f32_from_bits(random_bits());
        assert_same(slow_block(accumulator, a, b), qp_block_fma(accumulator, a, b), _i, round);
    }
}
END_TEST

START_TEST(test_chain_equals_a_chain_of_slow_blocks)
{
    static const int64_t lengths[] = { 1, 15, 16, 17, 31, 32, 33, 1000 };
    random_state = 100 + (uint64_t)_i;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (int round = 0; round < 60; round++) {
            enum { MOST = 1008, STRIDE = 3 };
            static qp_bf16 a[MOST], b[MOST], strided[MOST * STRIDE];
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            for (int64_t k = 0; k < lengths[l]; k++) {
                a[k] = block_input(_i, &random_state);
                b[k] = block_input(_i, &random_state);
                strided[k * STRIDE] = b[k];
            }
            float want = 0.0f;
            for (int64_t k = 0; k < lengths[l]; k += 16) want = slow_block(want, a + k, b + k);
            assert_same(want, qp_chain_fma(0.0f, a, b, 1, lengths[l]), _i, round);
            assert_same(want, qp_chain_fma(0.0f, a, strided, STRIDE, lengths[l]), _i, round);
        }
}
END_TEST

START_TEST(test_chain_of_nothing_is_plus_zero)
{
    ck_assert_uint_eq(qp_f32_bits(qp_chain_fma(0.0f, NULL, NULL, 1, 0)), 0);
}
END_TEST

START_TEST(test_split_adds_the_chains_of_its_parts_in_f32)
{
    enum { K = 96 };
    qp_bf16 a[K], b[K];
    random_state = 7;
    for (int round = 0; round < 200; round++) {
        for (int k = 0; k < K; k++) {
            a[k] = block_input(BLOCK_WIDE, &random_state);
            b[k] = block_input(BLOCK_WIDE, &random_state);
        }
        const float first = qp_chain_fma(0.0f, a, b, 1, 32), second = qp_chain_fma(0.0f, a + 32, b + 32, 1, 32);
        const float third = qp_chain_fma(0.0f, a + 64, b + 64, 1, 32);
        assert_same((first + second) + third, qp_split_chain_fma(a, b, K, 32), 0, round);
        assert_same(qp_chain_fma(0.0f, a, b, 1, K), qp_split_chain_fma(a, b, K, K), 0, round);
        assert_same(qp_chain_fma(0.0f, a, b, 1, 64) + third, qp_split_chain_fma(a, b, K, 64), 0, round);
        assert_same(qp_chain_fma(qp_chain_fma(0.0f, a, b, 1, 36), a + 36, b + 36, 1, 60),
                    qp_ordered_fma(a, b, 1, K, (qp_sum_order){ .run = 36 }), 0, round);
        float narrow = qp_chain_fma(0.0f, a, b, 1, 3);
        for (int k = 3; k < K; k += 8) narrow = qp_chain_fma(narrow, a + k, b + k, 1, K - k < 8 ? K - k : 8);
        assert_same(narrow, qp_ordered_fma(a, b, 1, K, (qp_sum_order){ .run = 3, .narrow = true }), 0, round);
    }
}
END_TEST

/* A block keeps 25 bits below the largest exponent; one bit less and one bit more must give something else here. */
START_TEST(test_block_keeps_exactly_25_bits)
{
    qp_bf16 a[16] = { { 0 } }, b[16] = { { 0 } };
    a[0] = b[0] = qp_bf16_from_f32(1.0f);
    b[1] = qp_bf16_from_f32(1.0f);
    for (int bit = 20; bit < 30; bit++) {
        a[1] = qp_bf16_from_f32(ldexpf(-1.0f, -bit));
        /* 1 - 2^-bit survives the cut up to bit 25; the sum is then cut to 24 bits below 1. */
        const float want = bit > 25 ? 1.0f : bit > 24 ? 1.0f - 0x1p-24f : 1.0f - ldexpf(1.0f, -bit);
        assert_same(want, qp_block_fma(0.0f, a, b), bit, 0);
    }
}
END_TEST

/* ---- Sums ---- */

/* Small integers add exactly in any order, so the order cannot hide a lost or doubled element. */
START_TEST(test_sums_take_every_element_once)
{
    static const int64_t lengths[] = { 32, 64, 127, 128, 256, 320, 1024, 2048, 2560, 4096, 5120 };
    static const int64_t rows[] = { 1, 2, 3, 4, 7, 8, 15, 16, 4000 };
    static float values[5120];
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        float sum = 0.0f;
        for (int64_t i = 0; i < lengths[l]; i++) sum += values[i] = (float)(i % 7);
        ck_assert_float_eq(qp_softmax_sum(values, lengths[l], 0), sum);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            ck_assert(qp_mean_is_known(lengths[l], rows[r]));
            const float factor = (float)rows[r] / (float)(rows[r] * lengths[l]);
            ck_assert_float_eq(qp_mean(values, lengths[l], rows[r]), sum * factor);
        }
    }
}
END_TEST

/* One large pair that cancels and small ones elsewhere: what survives tells which elements meet before the pair does.
 * With 256 elements in vectors of four, 64 lanes (one row) or 32 (16 rows) decide whether lane 32 sits beside lane 0. */
START_TEST(test_mean_depends_on_the_rows_as_documented)
{
    float values[256];
    for (int i = 0; i < 256; i++) values[i] = 1.0f;
    values[0] = 0x1p40f;    /* lane 0 */
    values[128] = -0x1p40f; /* vector 32: lane 32 of 64, or lane 0 of 32, where it meets element 0 in accumulator 0 */
    /* 64 lanes: lanes 0 and 32 each lose their three ones, and meet in the first fold; the other 62 lanes keep 4. */
    ck_assert_float_eq(qp_mean(values, 256, 1) * 256.0f, 62 * 4.0f);
    /* 32 lanes: the pair cancels inside an accumulator before it meets another; 254 ones are left. */
    ck_assert_float_eq(qp_mean(values, 256, 16) * 256.0f, 254.0f);
}
END_TEST

/* M3 and M4, in a row of 128 with many rows: 32 lanes of one vector each. */
START_TEST(test_mean_adds_accumulators_and_lanes_as_documented)
{
    float inside[128] = { 0x1p40f, 1.0f, -0x1p40f, 1.0f }, across[128] = { 0 };
    ck_assert_float_eq(qp_mean(inside, 128, 16) * 128.0f, 1.0f); /* ((a0 + a1) + a2) + a3 loses the first one only */
    across[0] = 0x1p40f;
    across[4] = 1.0f;      /* lane 1 */
    across[64] = -0x1p40f; /* lane 16, which meets lane 0 before lane 1 does */
    ck_assert_float_eq(qp_mean(across, 128, 16) * 128.0f, 1.0f);
}
END_TEST

START_TEST(test_softmax_sum_takes_every_element_once)
{
    static const int64_t lengths[] = { 2049, 9216, 9217, 9220, 12252, 12253, 12256, 16387 };
    static float values[16387];
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        float sum = 0.0f;
        for (int64_t i = 0; i < lengths[l]; i++) sum += values[i] = (float)(i % 7);
        for (int64_t row = 0; row < 4; row++) ck_assert_float_eq(qp_softmax_sum(values, lengths[l], row), sum);
    }
}
END_TEST

START_TEST(test_softmax_sum_adds_as_documented)
{
    static float values[3000];
    for (int i = 0; i < 3000; i++) values[i] = 1.0f;
    values[0] = 0x1p40f;
    values[32] = -0x1p40f; /* S1: the same lane, next to it */
    ck_assert_float_eq(qp_softmax_sum(values, 64, 0), 62.0f);
    values[32] = 1.0f;
    values[16] = -0x1p40f; /* S1: lane 16, whose own second element is lost, as is that of lane 0 */
    ck_assert_float_eq(qp_softmax_sum(values, 64, 0), 60.0f);
    values[16] = 1.0f;
    values[1024] = -0x1p40f; /* S2: the same thread, next to it */
    ck_assert_float_eq(qp_softmax_sum(values, 3000, 0), 2998.0f);
    values[1024] = 1.0f;
    values[512] = -0x1p40f; /* S2: warp 16, which warp 0 meets first: all else of both is lost, 3 elements a thread */
    ck_assert_float_eq(qp_softmax_sum(values, 3000, 0), 3000.0f - 2.0f * 32.0f * 3.0f);
}
END_TEST

START_TEST(test_softmax_sum_of_long_rows_adds_as_documented)
{
    static float values[12257];
    for (int i = 0; i < 12257; i++) values[i] = 1.0f;
    values[0] = 0x1p40f;
    values[1] = -0x1p40f; /* S3: the same vector */
    ck_assert_float_eq(qp_softmax_sum(values, 9220, 0), 9218.0f);
    values[1] = 1.0f;
    values[8192] = -0x1p40f; /* S4: the first of the rest, after thread 0 lost the seven ones of its two vectors */
    ck_assert_float_eq(qp_softmax_sum(values, 12256, 0), 12247.0f);
    values[8192] = 1.0f;
    values[1027] =
        -0x1p40f; /* S4, one element behind a boundary: thread 1 has the element 0 and the vector from 1027 on */
    ck_assert_float_eq(qp_softmax_sum(values, 12257, 1), 12255.0f);
    ck_assert_float_eq(qp_softmax_sum(values, 12257, 5), 12255.0f);
    ck_assert_float_ne(qp_softmax_sum(values, 12257, 0), 12255.0f);
}
END_TEST

/* The same method that read the order off the card: of two that cancel, what lies between them is lost. */
START_TEST(test_lanes_add_in_the_documented_order)
{
    enum { K = 48 };
    qp_bf16 a[K], one[K];
    for (int i = 0; i < K; i++) a[i] = one[i] = qp_bf16_from_f32(1.0f);
    a[0] = qp_bf16_from_f32(0x1p30f);
    a[3] = qp_bf16_from_f32(-0x1p30f); /* the run of elements 0 to 3: two ones lost */
    ck_assert_float_eq(qp_ordered_fma(a, one, 1, K, (qp_sum_order){ .lanes = 8, .run = 4 }), 44.0f);
    a[3] = one[3];
    a[32] = qp_bf16_from_f32(-0x1p30f); /* lane 0 of 8 again, after its first run: three lost */
    ck_assert_float_eq(qp_ordered_fma(a, one, 1, K, (qp_sum_order){ .lanes = 8, .run = 4 }), 43.0f);
    /* 16 lanes: run 8 is lane 8, and meets lane 0 in the first fold, with three ones of its own behind the pair: six lost. */
    ck_assert_float_eq(qp_ordered_fma(a, one, 1, K, (qp_sum_order){ .lanes = 16, .run = 4 }), 40.0f);
    /* In turn, lane 8 meets lane 0 after lanes 1 to 7: their 28 ones are lost, too, and so are 3 of each of the pair. */
    const qp_sum_order in_turn = { .lanes = 16, .run = 4, .fold = QP_FOLD_IN_TURN };
    ck_assert_float_eq(qp_ordered_fma(a, one, 1, K, in_turn), 12.0f);
    const qp_sum_order known[] = { { 0, 0, 0, false },
                                   { 32, 4, 0, false },
                                   { 8, 33, 0, false },
                                   { 0, 4, 0, false },
                                   { 16, 1, QP_FOLD_IN_TURN, false },
                                   { 0, 1, 0, true } };
    const qp_sum_order unknown[] = { { 3, 4, 0, false },          { 64, 4, 0, false }, { 8, 0, 0, false },
                                     { 0, -4, 0, false },         { -8, 4, 0, false }, { 0, 0, QP_FOLD_IN_TURN, false },
                                     { 8, 4, (qp_fold)7, false }, { 8, 4, 0, true } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) ck_assert(qp_sum_order_is_known(known[i]));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) ck_assert(!qp_sum_order_is_known(unknown[i]));
}
END_TEST

START_TEST(test_mean_refuses_shapes_whose_order_is_unknown)
{
    ck_assert(!qp_mean_is_known(16, 1));
    ck_assert(!qp_mean_is_known(130, 1));
    ck_assert(!qp_mean_is_known(8192, 16)); /* a row would be split over several warps */
}
END_TEST

/* ---- Special functions ---- */

typedef float (*special_function)(float);

static void assert_bits(const char *name, special_function function, uint32_t x, uint32_t want)
{
    const uint32_t got = qp_f32_bits(function(qp_f32_from_bits(x)));
    ck_assert_msg(got == want, "%s(%a = %08x): want %08x, got %08x", name, (double)qp_f32_from_bits(x), x, want, got);
}

/* One for each branch of the contracts in special.h, at its edges. Captured: results of the implementation when it was
 * compared with an H200 for all inputs. "Not rounded correctly": the nearest f32 would be wrong. */
static const struct {
    const char *name;
    special_function function;
    struct {
        uint32_t x, result;
    } captured[16]; /* up to the first x of 0 */
} captured_results[] = {
    { "rsqrt",
      qp_rsqrt,
      { { 0x40000000, 0x3f3504f2 },     /* 2: not rounded correctly */
        { 0x3f333333, 0x3f98fd40 },     /* 0.7 */
        { 0x7f7fffff, 0x1f800000 },     /* the largest */
        { 0x007fffff, 0x5f000000 },     /* the largest subnormal: not rounded correctly */
        { 0x000116c2, 0x60ad790a },     /* 1e-40 */
        { 0x00000001, 0x64b504f2 } } }, /* the smallest subnormal: not rounded correctly */
    { "ex2",
      qp_ex2,
      { { 0x3f000000, 0x3fb504f3 },     /* 0.5 */
        { 0xbf000000, 0x3f3504f2 },     /* -0.5: complement */
        { 0xb4000000, 0x3f7ffffe },     /* -2^-23: complement */
        { 0xb3ffffff, 0x3f800000 },     /* just above that: cut to 0 */
        { 0x00000001, 0x3f800000 },     /* subnormal */
        { 0x411e0652, 0x446b0117 },     /* 9.8765 */
        { 0xc11e0652, 0x3a8b6f8e },     /* -9.8765 */
        { 0x42ffffff, 0x7f7fffa8 },     /* the last below 128: not rounded correctly */
        { 0x43000000, 0x7f800000 },     /* 128 */
        { 0xc2fbffff, 0x0080002c },     /* the last above -126 */
        { 0xc2fc0001, 0x00000000 } } }, /* the first below -126 */
    { "exp",
      qp_exp,
      { { 0x3f800000, 0x402df854 },     /* 1 */
        { 0xbf800000, 0x3ebc5ab3 },     /* -1: not rounded correctly */
        { 0x3a83126f, 0x3f8020c9 },     /* 0.001 */
        { 0xc1a40000, 0x30abd1d8 },     /* -20.5 */
        { 0x42b17217, 0x7f7fff84 },     /* the last finite one */
        { 0x42b17218, 0x7f800000 },     /* the first infinite one */
        { 0xc2af0000, 0x006cb2bc },     /* -87.5: subnormal */
        { 0xc2cff1b4, 0x00000001 },     /* the last above 0 */
        { 0xc2cff1b5, 0x00000000 } } }, /* the first 0 */
    { "sin",
      qp_sin,
      { { 0x1e3ce508, 0x1e3ce508 },     /* 1e-20 */
        { 0x3f000000, 0x3ef57744 },     /* 0.5: quadrant 0 */
        { 0x3f800000, 0x3f576aa5 },     /* 1: quadrant 1, not rounded correctly */
        { 0x40200000, 0x3f193579 },     /* 2.5: quadrant 2, not rounded correctly */
        { 0x40800000, 0xbf41bdcf },     /* 4: quadrant 3 */
        { 0x47ce477f, 0x3f4d4508 },     /* the last that is reduced in f32 */
        { 0x47ce4780, 0x3f4e755f },     /* the first that is reduced in integers */
        { 0x50400000, 0xbf7dd632 },     /* 1.5 * 2^33: a shift by whole words */
        { 0x60ad78ec, 0x3f281569 },     /* 1e20 */
        { 0x7f7fffff, 0xbf0599b3 } } }, /* the largest */
    { "cos",
      qp_cos,
      { { 0x1e3ce508, 0x3f800000 },
        { 0x3f000000, 0x3f60a940 },
        { 0x3f800000, 0x3f0a5140 },
        { 0x40200000, 0xbf4d17bf },
        { 0x40800000, 0xbf275531 }, /* not rounded correctly */
        { 0x47ce477f, 0x3f18f8c7 },
        { 0x47ce4780, 0x3f175d0c }, /* not rounded correctly */
        { 0x50400000, 0xbe04d774 },
        { 0x60ad78ec, 0x3f411723 },
        { 0x7f7fffff, 0x3f5a5f97 } } },
};

START_TEST(test_special_functions_give_the_captured_results)
{
    for (size_t f = 0; f < sizeof captured_results / sizeof *captured_results; f++)
        for (size_t i = 0; captured_results[f].captured[i].x != 0; i++)
            assert_bits(captured_results[f].name, captured_results[f].function, captured_results[f].captured[i].x,
                        captured_results[f].captured[i].result);
}
END_TEST

/* From the card itself: the sum of qp_special_mix over every 1,021st run of 2^16 arguments, from run 4 on, which has the
 * edge between the two reductions of sinf and cosf among them. */
START_TEST(test_special_functions_give_the_checksums_of_the_card)
{
    const struct {
        special_function function;
        uint64_t sum;
    } card[] = { { qp_rsqrt, UINT64_C(0x73b0b210b72d2bbf) },
                 { qp_ex2, UINT64_C(0x584fd66dea8e19bb) },
                 { qp_exp, UINT64_C(0x83fa356b80115a51) },
                 { qp_cos, UINT64_C(0x96836f3ddb4257a1) },
                 { qp_sin, UINT64_C(0x31f33dd97a97526a) } };
    uint64_t sum = 0;
    for (uint32_t run = 4; run < 1u << 16; run += 1021)
        for (uint32_t x = run << 16, i = 0; i < 1u << 16; x++, i++)
            sum += qp_special_mix(x, qp_f32_bits(card[_i].function(qp_f32_from_bits(x))));
    ck_assert_msg(sum == card[_i].sum, "function %d: want %016" PRIx64 ", got %016" PRIx64, _i, card[_i].sum, sum);
}
END_TEST

START_TEST(test_special_functions_of_zeros_infinities_and_nans)
{
    enum { PLUS_0 = 0, ONE = 0x3f800000, PLUS_INFINITY = 0x7f800000, A_NAN = 0x7fffffff };
    const uint32_t minus_0 = 0x80000000, minus_infinity = 0xff800000;
    const struct {
        const char *name;
        special_function function;
        uint32_t of_plus_0, of_minus_0, of_plus_infinity, of_minus_infinity;
    } all[] = { { "rsqrt", qp_rsqrt, PLUS_INFINITY, minus_infinity, PLUS_0, A_NAN },
                { "ex2", qp_ex2, ONE, ONE, PLUS_INFINITY, PLUS_0 },
                { "exp", qp_exp, ONE, ONE, PLUS_INFINITY, PLUS_0 },
                { "sin", qp_sin, PLUS_0, minus_0, A_NAN, A_NAN },
                { "cos", qp_cos, ONE, ONE, A_NAN, A_NAN } };
    const uint32_t nans[] = { 0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff };
    for (size_t f = 0; f < sizeof all / sizeof *all; f++) {
        assert_bits(all[f].name, all[f].function, PLUS_0, all[f].of_plus_0);
        assert_bits(all[f].name, all[f].function, minus_0, all[f].of_minus_0);
        assert_bits(all[f].name, all[f].function, PLUS_INFINITY, all[f].of_plus_infinity);
        assert_bits(all[f].name, all[f].function, minus_infinity, all[f].of_minus_infinity);
        for (size_t i = 0; i < sizeof nans / sizeof *nans; i++)
            assert_bits(all[f].name, all[f].function, nans[i], A_NAN);
    }
    assert_bits("rsqrt", qp_rsqrt, 0x80000001, A_NAN); /* the negative subnormal next to -0 */
    assert_bits("rsqrt", qp_rsqrt, 0xbf800000, A_NAN);
}
END_TEST

START_TEST(test_powers_of_two_are_exact)
{
    for (int n = -126; n <= 127; n++) {
        ck_assert_float_eq(qp_ex2((float)n), ldexpf(1.0f, n));
        if (n % 2 == 0) ck_assert_float_eq(qp_rsqrt(ldexpf(1.0f, n)), ldexpf(1.0f, -n / 2));
    }
}
END_TEST

/* One binade stands for all: a power of two more changes the exponent of the result, and nothing else. */
START_TEST(test_special_functions_scale_by_powers_of_two)
{
    random_state = 9;
    for (int i = 0; i < 20000; i++) {
        const float fraction = (float)(random_bits() % 0x7fffff + 1) * 0x1p-23f; /* in (0, 1), not 0 */
        const int n = (int)(random_bits() % 60);
        const float binade = 1.0f + fraction;
        ck_assert_float_eq(qp_rsqrt(ldexpf(binade, 2 * n)), ldexpf(qp_rsqrt(binade), -n));
        ck_assert_float_eq(qp_rsqrt(ldexpf(binade, -2 * n)), ldexpf(qp_rsqrt(binade), n));
        const float sum = (float)n + fraction; /* rounded: the fraction is then what is left of it */
        ck_assert_float_eq(qp_ex2(sum), ldexpf(qp_ex2(sum - floorf(sum)), (int)floorf(sum)));
        /* P4: below 0, the entry before */
        ck_assert_float_eq(qp_ex2(fraction - 1.0f), 0.5f * qp_ex2(fraction - 0x1p-23f));
    }
}
END_TEST

START_TEST(test_sin_is_odd_and_cos_is_even)
{
    random_state = 10;
    for (int i = 0; i < 200000; i++) {
        const float x = qp_f32_from_bits(random_bits() & 0x7fffffffu);
        if (!(x < INFINITY)) continue;
        assert_same(-qp_sin(x), qp_sin(-x), 0, i);
        assert_same(qp_cos(x), qp_cos(-x), 1, i);
    }
}
END_TEST

static Suite *numerics_suite(void)
{
    Suite *suite = suite_create("numerics");
    TCase *bf16 = tcase_create("bf16");
    tcase_add_test(bf16, test_bf16_every_value_survives_the_way_through_f32);
    tcase_add_test(bf16, test_bf16_every_tie_goes_to_even_and_its_neighbours_do_not);
    tcase_add_test(bf16, test_bf16_every_nan_is_the_canonical_one);
    suite_add_tcase(suite, bf16);
    TCase *block = tcase_create("block_fma");
    tcase_set_timeout(block, 120);
    tcase_add_loop_test(block, test_block_equals_the_slow_one, 0, BLOCK_KINDS);
    tcase_add_loop_test(block, test_chain_equals_a_chain_of_slow_blocks, 0, BLOCK_KINDS);
    tcase_add_test(block, test_chain_of_nothing_is_plus_zero);
    tcase_add_test(block, test_split_adds_the_chains_of_its_parts_in_f32);
    tcase_add_test(block, test_block_keeps_exactly_25_bits);
    suite_add_tcase(suite, block);
    TCase *sums = tcase_create("sums");
    tcase_add_test(sums, test_sums_take_every_element_once);
    tcase_add_test(sums, test_mean_depends_on_the_rows_as_documented);
    tcase_add_test(sums, test_mean_adds_accumulators_and_lanes_as_documented);
    tcase_add_test(sums, test_softmax_sum_takes_every_element_once);
    tcase_add_test(sums, test_softmax_sum_adds_as_documented);
    tcase_add_test(sums, test_softmax_sum_of_long_rows_adds_as_documented);
    tcase_add_test(sums, test_lanes_add_in_the_documented_order);
    tcase_add_test(sums, test_mean_refuses_shapes_whose_order_is_unknown);
    suite_add_tcase(suite, sums);
    TCase *special = tcase_create("special");
    tcase_set_timeout(special, 60);
    tcase_add_test(special, test_special_functions_give_the_captured_results);
    tcase_add_loop_test(special, test_special_functions_give_the_checksums_of_the_card, 0, 5);
    tcase_add_test(special, test_special_functions_of_zeros_infinities_and_nans);
    tcase_add_test(special, test_powers_of_two_are_exact);
    tcase_add_test(special, test_special_functions_scale_by_powers_of_two);
    tcase_add_test(special, test_sin_is_odd_and_cos_is_even);
    suite_add_tcase(suite, special);
    return suite;
}

int main(void) { return qp_check_main(numerics_suite()); }
