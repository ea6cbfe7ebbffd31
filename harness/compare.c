#include "compare.h"

#include <math.h>
#include <string.h>

#include "../kernels/numerics/bf16.h"
#include "../kernels/numerics/strict_fp.h"
#include "../kernels/threads.h"

enum {
    ZERO_DISTANCE = 5, /* index of "0" in the list below */
    CLASS_MISMATCH = QP_ULP_CLASSES - 1
};

const char *const qp_ulp_class_names[QP_ULP_CLASSES] = {
    "<=-8", "-7..-4", "-3", "-2", "-1", "0", "1", "2", "3", "4..7", ">=8", "class",
};

static const uint32_t f32_magnitude = 0x7fffffffu;
static const uint32_t f32_infinity = 0x7f800000u;

static uint16_t load_u16(const void *data, int64_t index)
{
    uint16_t bits;
    memcpy(&bits, (const unsigned char *)data + index * (int64_t)sizeof bits, sizeof bits);
    return bits;
}

static uint32_t load_u32(const void *data, int64_t index)
{
    uint32_t bits;
    memcpy(&bits, (const unsigned char *)data + index * (int64_t)sizeof bits, sizeof bits);
    return bits;
}

static int64_t load_i64(const void *data, int64_t index)
{
    int64_t value;
    memcpy(&value, (const unsigned char *)data + index * (int64_t)sizeof value, sizeof value);
    return value;
}

static double load_f64(const void *data, int64_t index)
{
    double value;
    memcpy(&value, (const unsigned char *)data + index * (int64_t)sizeof value, sizeof value);
    return value;
}

double qp_element(qp_dtype dtype, const void *data, int64_t index)
{
    switch (dtype) {
    case QP_BF16: return (double)qp_f32_from_bits((uint32_t)load_u16(data, index) << 16);
    case QP_F32: return (double)qp_f32_from_bits(load_u32(data, index));
    case QP_F64: return load_f64(data, index);
    case QP_I64: return (double)load_i64(data, index);
    }
    return (double)NAN;
}

/* The place of a float on the line of all floats of its type: ..., -2 the negative subnormal next to zero,
 * -1 is -0, 0 is +0, 1 the positive subnormal next to zero, ... With `shift` 16 the line of bf16. */
static int64_t place(uint32_t bits, unsigned shift)
{
    const int64_t magnitude = (int64_t)((bits & f32_magnitude) >> shift);
    return bits >> 31 ? -1 - magnitude : magnitude;
}

static uint64_t distance_i64(int64_t want, int64_t got)
{
    /* Unsigned: the difference of two int64_t has up to 64 bits of magnitude. */
    return got > want ? (uint64_t)got - (uint64_t)want : (uint64_t)want - (uint64_t)got;
}

/* Of two elements that differ. Those that are equal are counted at the end, as what is left. */
static int histogram_class(uint64_t distance, bool below)
{
    const int step = distance >= 8 ? 5 : distance >= 4 ? 4 : (int)distance;
    return below ? ZERO_DISTANCE - step : ZERO_DISTANCE + step;
}

/* How bad an element is: a NaN or an infinity out of place, or the distance. */
typedef struct badness {
    bool is_class;
    uint64_t distance;
} badness;

static bool is_worse(badness a, badness b)
{
    return a.is_class != b.is_class ? a.is_class : !a.is_class && a.distance > b.distance;
}

/* The tally while a tensor is walked: the result and what ranks its worst elements, of which only the index is kept. */
typedef struct tally {
    qp_comparison result;
    uint64_t max_distance;
    badness worst[QP_WORST];
    int64_t finite; /* pairs of which both are finite */
} tally;

/* Elements come in the order of their indices, so one that is no worse than another comes behind it. */
static void rank_worst(tally *t, int64_t index, badness bad)
{
    qp_comparison *r = &t->result;
    if (r->worst_count == QP_WORST && !is_worse(bad, t->worst[QP_WORST - 1])) return;
    int at = r->worst_count < QP_WORST ? r->worst_count++ : QP_WORST - 1;
    for (; at > 0 && is_worse(bad, t->worst[at - 1]); at--) {
        r->worst[at] = r->worst[at - 1];
        t->worst[at] = t->worst[at - 1];
    }
    r->worst[at] = (qp_worst){ .index = index };
    t->worst[at] = bad;
}

static void add_distance(tally *t, int64_t index, uint64_t distance, int class, double absolute)
{
    t->result.mismatches++;
    t->result.histogram[class]++;
    if (distance > t->max_distance) t->max_distance = distance;
    if (absolute > t->result.max_abs) t->result.max_abs = absolute;
    rank_worst(t, index, (badness){ .distance = distance });
}

static void add_nonfinite_mismatch(tally *t, int64_t index)
{
    t->result.mismatches++;
    t->result.class_mismatches++;
    t->result.histogram[CLASS_MISMATCH]++;
    rank_worst(t, index, (badness){ .is_class = true });
}

/* One pair as the bits of f32; a bf16 comes shifted up, and `shift` says by how much. */
static inline void add_float(tally *t, int64_t index, uint32_t want, uint32_t got, unsigned shift)
{
    const uint32_t want_magnitude = want & f32_magnitude, got_magnitude = got & f32_magnitude;
    const bool want_finite = want_magnitude < f32_infinity, got_finite = got_magnitude < f32_infinity;
    t->result.nonzero += want_magnitude != 0;
    t->result.nonfinite += !want_finite;
    if (want_finite && got_finite) {
        t->finite++;
        if (want == got) return;
        const int64_t want_place = place(want, shift), got_place = place(got, shift);
        const bool below = got_place < want_place;
        const uint64_t distance = (uint64_t)(below ? want_place - got_place : got_place - want_place);
        const double absolute = fabs((double)qp_f32_from_bits(got) - (double)qp_f32_from_bits(want));
        const bool signed_zeros = want_magnitude == 0 && got_magnitude == 0;
        t->result.class_mismatches += signed_zeros;
        t->result.signed_zeros += signed_zeros;
        add_distance(t, index, distance, signed_zeros ? CLASS_MISMATCH : histogram_class(distance, below), absolute);
        return;
    }
    if (want_magnitude > f32_infinity && got_magnitude > f32_infinity) return; /* two NaN */
    if (want != got) add_nonfinite_mismatch(t, index);
}

/* The distance of a pair, or false if one of the two is not finite. */
static bool pair_distance(qp_dtype dtype, const void *want, const void *got, int64_t index, uint64_t *distance)
{
    if (dtype == QP_I64) {
        *distance = distance_i64(load_i64(want, index), load_i64(got, index));
        return true;
    }
    const unsigned shift = dtype == QP_BF16 ? 16 : 0;
    const uint32_t a = shift ? (uint32_t)load_u16(want, index) << 16 : load_u32(want, index);
    const uint32_t b = shift ? (uint32_t)load_u16(got, index) << 16 : load_u32(got, index);
    if ((a & f32_magnitude) >= f32_infinity || (b & f32_magnitude) >= f32_infinity) return false;
    *distance = distance_i64(place(a, shift), place(b, shift));
    return true;
}

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* The distance of the given rank (1 is the least) among the finite pairs, by radix selection: one walk over
 * the data for each digit of 11 bits that `max_distance` needs, from the highest digit down, and no memory
 * beyond one counter a digit. A tensor whose distances are below 2,048 takes one walk. */
static uint64_t select_distance(qp_dtype dtype, const void *want, const void *got, int64_t n, int64_t rank,
                                uint64_t max_distance)
{
    unsigned shift = 0;
    while (shift + DIGIT_BITS < 64 && max_distance >> (shift + DIGIT_BITS)) shift += DIGIT_BITS;
    uint64_t prefix = 0; /* the digits above `shift` that are settled */
    for (;;) {
        int64_t count[DIGITS] = { 0 };
        for (int64_t i = 0; i < n; i++) {
            uint64_t distance;
            if (!pair_distance(dtype, want, got, i, &distance)) continue;
            const uint64_t digits = distance >> shift;
            if (digits >> DIGIT_BITS == prefix) count[digits & (DIGITS - 1)]++;
        }
        uint64_t digit = 0;
        while (digit < DIGITS - 1 && rank > count[digit]) rank -= count[digit++];
        prefix = prefix << DIGIT_BITS | digit;
        if (shift == 0) return prefix;
        shift -= DIGIT_BITS;
    }
}

/* ---- Pieces. A tensor is cut into pieces of its own, whatever the number of threads, and their results are joined in
 * order, so that the same tensors always give the same digits. ---- */

enum { PIECES = 64, LEAST_PIECE = 1 << 15 };

typedef struct pieces {
    int count;
    int64_t size;
} pieces;

static pieces cut_into_pieces(int64_t n)
{
    pieces p = { 1, n };
    const int64_t even = (n + PIECES - 1) / PIECES;
    if (n > LEAST_PIECE) p.size = even > LEAST_PIECE ? even : LEAST_PIECE;
    p.count = (int)((n + p.size - 1) / p.size);
    return p;
}

static int64_t end_of(pieces p, int piece, int64_t n)
{
    const int64_t start = piece * p.size;
    return n - start < p.size ? n : start + p.size;
}

static void compare_piece(qp_dtype dtype, const void *want, const void *got, int64_t start, int64_t end, tally *t)
{
    memset(t, 0, sizeof *t);
    if (dtype == QP_BF16) {
        for (int64_t i = start; i < end; i++)
            add_float(t, i, (uint32_t)load_u16(want, i) << 16, (uint32_t)load_u16(got, i) << 16, 16);
    } else if (dtype == QP_F32) {
        for (int64_t i = start; i < end; i++) add_float(t, i, load_u32(want, i), load_u32(got, i), 0);
    } else {
        t->finite = end - start;
        for (int64_t i = start; i < end; i++) {
            const int64_t a = load_i64(want, i), b = load_i64(got, i);
            t->result.nonzero += a != 0;
            if (a == b) continue;
            const uint64_t distance = distance_i64(a, b);
            add_distance(t, i, distance, histogram_class(distance, b < a), (double)distance);
        }
    }
}

/* Adds what was found behind everything that `t` holds. */
static void join_tally(tally *t, const tally *next)
{
    qp_comparison *r = &t->result;
    const qp_comparison *n = &next->result;
    r->mismatches += n->mismatches;
    r->class_mismatches += n->class_mismatches;
    r->signed_zeros += n->signed_zeros;
    r->nonzero += n->nonzero;
    r->nonfinite += n->nonfinite;
    for (int i = 0; i < QP_ULP_CLASSES; i++) r->histogram[i] += n->histogram[i];
    if (n->max_abs > r->max_abs) r->max_abs = n->max_abs;
    if (next->max_distance > t->max_distance) t->max_distance = next->max_distance;
    t->finite += next->finite;
    for (int i = 0; i < n->worst_count; i++) rank_worst(t, n->worst[i].index, next->worst[i]);
}

/* The bits of an element. */
static uint64_t bits_of(qp_dtype dtype, const void *data, int64_t index)
{
    return dtype == QP_BF16  ? load_u16(data, index)
           : dtype == QP_F32 ? load_u32(data, index)
                             : (uint64_t)load_i64(data, index);
}

qp_comparison qp_compare(qp_dtype dtype, const void *want, const void *got, int64_t n)
{
    tally t, found[PIECES];
    memset(&t, 0, sizeof t);
    if (n <= 0 || (dtype != QP_BF16 && dtype != QP_F32 && dtype != QP_I64)) return t.result;

    const pieces p = cut_into_pieces(n);
#pragma omp parallel for if (QP_WORTH_THREADS(n))
    for (int i = 0; i < p.count; i++) compare_piece(dtype, want, got, i * p.size, end_of(p, i, n), &found[i]);
    for (int i = 0; i < p.count; i++) join_tally(&t, &found[i]);
    t.result.elements = n;
    t.result.histogram[ZERO_DISTANCE] = n - t.result.mismatches;
    t.result.max_ulp = (double)t.max_distance;

    /* 99 % of n, rounded up, is n - n / 100. Where the equal pairs alone reach that, no walk is needed. */
    const int64_t rank = t.finite - t.finite / 100;
    const int64_t finite_differ = t.result.mismatches - (t.result.class_mismatches - t.result.signed_zeros);
    if (t.finite - finite_differ < rank)
        t.result.p99_ulp = (double)select_distance(dtype, want, got, n, rank, t.max_distance);

    for (int i = 0; i < t.result.worst_count; i++) {
        qp_worst *worst = &t.result.worst[i];
        worst->want = qp_element(dtype, want, worst->index);
        worst->got = qp_element(dtype, got, worst->index);
        worst->want_bits = bits_of(dtype, want, worst->index);
        worst->got_bits = bits_of(dtype, got, worst->index);
    }
    return t.result;
}

typedef struct error_sum {
    double max_abs, squares;
    int64_t nonfinite;
} error_sum;

static error_sum error_of_piece(qp_dtype a_dtype, const void *a, qp_dtype b_dtype, const void *b, int64_t start,
                                int64_t end)
{
    error_sum sum = { 0.0, 0.0, 0 };
    for (int64_t i = start; i < end; i++) {
        const double x = qp_element(a_dtype, a, i), y = qp_element(b_dtype, b, i);
        if (isfinite(x) && isfinite(y)) {
            const double difference = fabs(x - y);
            sum.squares += difference * difference;
            if (difference > sum.max_abs) sum.max_abs = difference;
        } else if (!(isinf(x) && isinf(y) && signbit(x) == signbit(y))) {
            sum.nonfinite++;
        }
    }
    return sum;
}

qp_error qp_error_of(qp_dtype a_dtype, const void *a, qp_dtype b_dtype, const void *b, int64_t n)
{
    qp_error error = { 0.0, 0.0, 0 };
    error_sum found[PIECES];
    double squares = 0.0;
    if (n <= 0) return error;
    const pieces p = cut_into_pieces(n);
#pragma omp parallel for if (QP_WORTH_THREADS(n))
    for (int i = 0; i < p.count; i++) found[i] = error_of_piece(a_dtype, a, b_dtype, b, i * p.size, end_of(p, i, n));
    for (int i = 0; i < p.count; i++) {
        squares += found[i].squares;
        error.nonfinite += found[i].nonfinite;
        if (found[i].max_abs > error.max_abs) error.max_abs = found[i].max_abs;
    }
    const int64_t counted = n - error.nonfinite;
    if (counted > 0) error.rms = sqrt(squares / (double)counted);
    return error;
}

double qp_error_rms(const qp_error *error, int64_t elements)
{
    return error->nonfinite < elements ? error->rms : (double)NAN;
}
