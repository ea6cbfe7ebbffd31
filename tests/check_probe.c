/* The probe against sums whose order and arithmetic are known: units that no card has, trees that have no words, and
 * the contract's own orders. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/probe.h"
#include "../kernels/numerics/block_fma.h"
#include "../model/device.h"
#include "check_program.h"

/* ---- A unit of any kind: a chain of blocks ---- */

typedef struct odd_unit {
    int n;
    qp_probe_unit is;
} odd_unit;

static double rounded_as(double x, qp_probe_rounding how)
{
    switch (how) {
    case QP_PROBE_TO_ZERO: return trunc(x);
    case QP_PROBE_DOWN: return floor(x);
    case QP_PROBE_ODD: return ceil(x);
    default: return nearbyint(x);
    }
}

/* x to a multiple of 2^exponent. */
static double cut_to(double x, int exponent, qp_probe_rounding how)
{
    return ldexp(rounded_as(ldexp(x, -exponent), how), exponent);
}

static double odd_block(const qp_probe_unit *is, double accumulator, const double *a, const double *b, int count)
{
    int largest = accumulator != 0.0 ? ilogb(accumulator) : -1000;
    for (int k = 0; k < count; k++) {
        if (a[k] * b[k] == 0.0) continue;
        const int exponent = is->normalised ? ilogb(a[k] * b[k]) : ilogb(a[k]) + ilogb(b[k]);
        if (exponent > largest) largest = exponent;
    }
    if (largest == -1000) return 0.0;
    double sum = cut_to(accumulator, largest - is->accumulator_bits, is->cut);
    for (int k = 0; k < count; k++) sum += cut_to(a[k] * b[k], largest - is->product_bits, is->cut);
    if (sum == 0.0) return 0.0;
    if (fabs(sum) < 0x1p-126 && !is->subnormal_sums) return 0.0;
    return cut_to(sum, (ilogb(sum) < -126 ? -126 : ilogb(sum)) - 23, is->sum);
}

static double factor_of(const qp_probe_unit *is, qp_bf16 x)
{
    const double value = (double)qp_bf16_to_f32(x);
    return fabs(value) < 0x1p-126 && !is->subnormal_factors ? 0.0 : value;
}

static qp_status sum_oddly(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result)
{
    const odd_unit *unit = context;
    for (int64_t q = 0; q < count; q++) {
        double accumulator = 0.0;
        for (int k = 0; k < unit->n; k += unit->is.width) {
            double a[64], b[64];
            const int here = unit->n - k < unit->is.width ? unit->n - k : unit->is.width;
            for (int i = 0; i < here; i++) {
                a[i] = factor_of(&unit->is, x[k + i]);
                b[i] = factor_of(&unit->is, w[q * unit->n + k + i]);
            }
            accumulator = odd_block(&unit->is, accumulator, a, b, here);
        }
        result[q] = qp_bf16_from_f32((float)accumulator);
    }
    return QP_OK;
}

/* ---- What the probe says of a subject ---- */

typedef struct findings {
    bool is_tree, has_words;
    qp_probe_order order;
    char text[4096]; /* the order in words, or the tree */
    qp_probe_unit unit;
    qp_probe_counts *counts; /* until the next findings */
} findings;

static findings found;

static void probe(const qp_probe_subject *subject)
{
    qp_probe_tree tree;
    qp_probe_counts_free(found.counts);
    memset(&found, 0, sizeof found);
    ck_assert_int_eq(qp_probe_count(subject, &found.counts), QP_OK);
    found.is_tree = qp_probe_make_tree(found.counts, &tree);
    if (!found.is_tree) return;
    found.has_words = qp_probe_find_order(found.counts, &tree, &found.order);
    if (found.has_words)
        qp_probe_order_in_words(&found.order, found.text, sizeof found.text);
    else
        qp_probe_tree_in_words(&tree, found.text, sizeof found.text);
    ck_assert_int_eq(qp_probe_find_unit(subject, &tree, found.has_words ? &found.order : NULL, &found.unit), QP_OK);
}

static void assert_unit(const qp_probe_unit *want)
{
    const qp_probe_unit *got = &found.unit;
    ck_assert_int_eq(got->width, want->width);
    ck_assert_int_eq(got->width_is_least, want->width_is_least);
    ck_assert_int_eq(got->product_bits, want->product_bits);
    ck_assert_int_eq(got->accumulator_bits, want->accumulator_bits);
    ck_assert_int_eq(got->cut, want->cut);
    ck_assert_int_eq(got->sum, want->sum);
    ck_assert_int_eq(got->normalised, want->normalised);
    ck_assert_int_eq(got->subnormal_factors, want->subnormal_factors);
    ck_assert_int_eq(got->subnormal_sums, want->subnormal_sums);
}

/* ---- Units ---- */

START_TEST(test_odd_units_are_told)
{
    static const qp_probe_unit units[] = {
        { 16, false, 25, 25, QP_PROBE_TO_ZERO, QP_PROBE_TO_ZERO, false, true, true },
        { 8, false, 24, 24, QP_PROBE_TO_ZERO, QP_PROBE_TO_NEAREST, true, true, true },
        { 8, false, 24, 24, QP_PROBE_TO_NEAREST, QP_PROBE_TO_ZERO, false, false, true },
        { 4, false, 25, 25, QP_PROBE_DOWN, QP_PROBE_ODD, false, true, false },
        { 8, false, 23, 23, QP_PROBE_TO_ZERO, QP_PROBE_DOWN, true, false, false },
        { 32, false, 40, 40, QP_PROBE_TO_NEAREST, QP_PROBE_DOWN, false, true, true },
        { 16, false, 26, 28, QP_PROBE_TO_ZERO, QP_PROBE_TO_NEAREST, true, true, true },
        { 2, false, 27, 27, QP_PROBE_TO_ZERO, QP_PROBE_TO_NEAREST, false, true, true },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        char want[64];
        odd_unit unit = { 4 * units[i].width + 3, units[i] };
        probe(&(qp_probe_subject){ unit.n, 7, sum_oddly, &unit });
        snprintf(want, sizeof want, "one chain of blocks of %d", units[i].width);
        ck_assert_str_eq(found.text, want);
        assert_unit(&units[i]);
    }
}
END_TEST

/* A block of 4 that keeps 23 bits has no room for the terms that would show how its sum is rounded; a single block has
 * no sum before it. */
START_TEST(test_what_cannot_be_told_is_not_told)
{
    odd_unit unit = { 19, { 4, false, 23, 23, QP_PROBE_TO_ZERO, QP_PROBE_TO_ZERO, false, true, true } };
    qp_probe_unit want = unit.is;
    want.sum = QP_PROBE_UNTOLD;
    probe(&(qp_probe_subject){ unit.n, 100, sum_oddly, &unit });
    assert_unit(&want);

    unit = (odd_unit){ 5, { 16, false, 25, 25, QP_PROBE_TO_ZERO, QP_PROBE_TO_ZERO, false, true, true } };
    want = unit.is;
    want.width = 5;
    want.width_is_least = true;
    want.accumulator_bits = 0;
    want.sum = QP_PROBE_UNTOLD;
    probe(&(qp_probe_subject){ unit.n, 100, sum_oddly, &unit });
    ck_assert_str_eq(found.text, "all 5 at once");
    assert_unit(&want);

    for (unit.n = 1; unit.n < 3; unit.n++) {
        probe(&(qp_probe_subject){ unit.n, 1, sum_oddly, &unit });
        ck_assert_str_eq(found.text, unit.n == 1 ? "a single product" : "two products");
        assert_unit(&(qp_probe_unit){ 0 });
    }
}
END_TEST

START_TEST(test_a_unit_has_words)
{
    char text[1024];
    qp_probe_unit unit = { 16, false, 25, 25, QP_PROBE_TO_ZERO, QP_PROBE_TO_ZERO, false, true, true };
    qp_probe_unit_in_words(&unit, "", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "blocks of 16 products"));
    ck_assert_ptr_nonnull(strstr(text, "cut toward zero to a multiple of 2^(E - 25)"));
    ck_assert_ptr_nonnull(strstr(text, "not normalised"));
    ck_assert_ptr_nonnull(strstr(text, "rounded to f32 toward zero"));
    unit = (qp_probe_unit){ 1, false, 0, 0, QP_PROBE_UNTOLD, QP_PROBE_TO_NEAREST, false, false, false };
    qp_probe_unit_in_words(&unit, "", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "no block"));
    ck_assert_ptr_nonnull(strstr(text, "to nearest"));
    ck_assert_ptr_nonnull(strstr(text, "count as zero"));
    qp_probe_unit_in_words(&unit, "", text, 16);
    ck_assert_str_eq(text, "no block: on...");
}
END_TEST

/* ---- Orders ---- */

/* f32 additions as `fold` says, of products that are exact. */
typedef struct plain_sum {
    int n;
    float (*fold)(float *term, int n);
} plain_sum;

static float fold_pairs(float *term, int n)
{
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < (n + 1) / 2; i++) term[i] = 2 * i + 1 < n ? term[2 * i] + term[2 * i + 1] : term[2 * i];
    return term[0];
}

static float fold_forward(float *term, int n)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += term[i];
    return sum;
}

static float fold_backward(float *term, int n)
{
    float sum = 0.0f;
    while (n > 0) sum += term[--n];
    return sum;
}

/* An order that depends on the values is none. */
static float fold_zeros_last(float *term, int n)
{
    return fabsf(term[0]) > 1.0f ? fold_backward(term, n) : fold_forward(term, n);
}

static float fold_to_nan(float *term, int n) { return term[0] * (float)n * NAN; }

static qp_status sum_plainly(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result)
{
    const plain_sum *sum = context;
    float term[512];
    for (int64_t q = 0; q < count; q++) {
        for (int k = 0; k < sum->n; k++) term[k] = qp_bf16_to_f32(x[k]) * qp_bf16_to_f32(w[q * sum->n + k]);
        result[q] = qp_bf16_from_f32(sum->fold(term, sum->n));
    }
    return QP_OK;
}

static void probe_plain(int n, float (*fold)(float *, int))
{
    plain_sum sum = { n, fold };
    probe(&(qp_probe_subject){ n, 64, sum_plainly, &sum });
}

START_TEST(test_an_order_without_words_is_shown_as_its_tree)
{
    probe_plain(8, fold_pairs);
    ck_assert(found.is_tree && !found.has_words);
    ck_assert_str_eq(found.text, "((0-1) (2-3)) ((4-5) (6-7))");
    ck_assert_int_eq(found.unit.width, 1);
    ck_assert_int_eq(found.unit.sum, QP_PROBE_TO_NEAREST);
    probe_plain(5, fold_backward);
    ck_assert_str_eq(found.text, "3-4 > 2 > 1 > 0");
}
END_TEST

START_TEST(test_no_order_is_not_a_tree)
{
    probe_plain(40, fold_zeros_last);
    ck_assert(!found.is_tree);
    probe_plain(40, fold_to_nan);
    ck_assert(!found.is_tree);
}
END_TEST

START_TEST(test_one_product_after_the_other)
{
    probe_plain(40, fold_forward);
    ck_assert_str_eq(found.text, "one product after the other");
    probe_plain(300, fold_forward);
    ck_assert_str_eq(found.text, "one product after the other");
}
END_TEST

/* Parts of any lengths, each a chain of the contract. */
typedef struct contract_sum {
    int64_t n;
    qp_sum_order order;
    int64_t part[QP_PROBE_PARTS + 2]; /* lengths; the first 0: not split */
} contract_sum;

static qp_status sum_by_contract(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result)
{
    const contract_sum *is = context;
    for (int64_t q = 0; q < count; q++) {
        const qp_bf16 *row = w + q * is->n;
        float sum = is->part[0] ? 0.0f : qp_ordered_fma(x, row, 1, is->n, is->order);
        int64_t start = 0;
        for (int i = 0; is->part[i]; start += is->part[i++])
            sum += qp_chain_fma(0.0f, x + start, row + start, 1, is->part[i]);
        result[q] = qp_bf16_from_f32(sum);
    }
    return QP_OK;
}

static void probe_contract(contract_sum is) { probe(&(qp_probe_subject){ is.n, 1000, sum_by_contract, &is }); }

START_TEST(test_the_contracts_orders_have_words)
{
    static const struct {
        contract_sum is;
        const char *words;
    } cases[] = {
        { { .n = 33 }, "one chain of blocks of 16" },
        { { .n = 1024 }, "one chain of blocks of 16" },
        { { .n = 3072, .part = { 1536, 1536 } }, "2 parts of 1536, each a chain of blocks of 16, added in order" },
        { { .n = 1000, .part = { 384, 384, 232 } },
          "3 parts of 384, 384 and 232, each a chain of blocks of 16, added in order" },
        { { .n = 4864, .part = { 1632, 1600, 1632 } },
          "3 parts of 1632, 1600 and 1632, each a chain of blocks of 16, added in order" },
        { { .n = 1100, .part = { 16, 1000, 84 } },
          "3 parts of 16, 1000 and 84, each a chain of blocks of 16, added in order" },
        { { .n = 200, .order = { .narrow = true } }, "one chain of blocks of 8" },
        { { .n = 1030, .order = { .run = 6 } }, "the first 6, then one chain of blocks of 16" },
        { { .n = 300, .order = { .run = 44 } }, "the first 44, then one chain of blocks of 16" },
        { { .n = 257, .order = { .run = 1, .narrow = true } }, "the first 1, then one chain of blocks of 8" },
        { { .n = 200, .order = { .lanes = 32, .run = 4 } }, "32 lanes in runs of 4, folded by halves" },
        { { .n = 128, .order = { .lanes = 16, .run = 8 } }, "16 lanes in runs of 8, folded by halves" },
        { { .n = 33, .order = { .lanes = 2, .run = 17 } }, "2 lanes in runs of 17, folded by halves" },
        { { .n = 2049, .order = { .lanes = 8, .run = 64 } }, "8 lanes in runs of 64, folded by halves" },
        { { .n = 128, .order = { 16, 1, QP_FOLD_IN_TURN, false } }, "16 lanes in runs of 1, folded in turn" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        probe_contract(cases[i].is);
        ck_assert_str_eq(found.text, cases[i].words);
        if (!cases[i].is.order.lanes) {
            ck_assert_int_eq(found.unit.width, cases[i].is.order.narrow ? 8 : 16);
            ck_assert_int_eq(found.unit.product_bits, 25);
        } else {
            ck_assert_int_eq(found.unit.width, 1);
            ck_assert_int_eq(found.unit.sum, QP_PROBE_TO_NEAREST);
        }
    }
}
END_TEST

/* An order that is nearly the one that was seen does not explain it. */
START_TEST(test_a_neighbouring_order_does_not_fit)
{
    static const struct {
        int64_t n;
        qp_sum_order is, is_not;
    } cases[] = {
        { 128, { .run = 6 }, { .run = 7 } },
        { 128, { .run = 0 }, { .narrow = true } },
        { 200, { .lanes = 32, .run = 4 }, { .lanes = 32, .run = 8 } },
        { 200, { .lanes = 32, .run = 4 }, { .lanes = 16, .run = 4 } },
        { 200, { .lanes = 32, .run = 4 }, { .lanes = 32, .run = 4, .fold = QP_FOLD_IN_TURN } },
        { 4096, { .lanes = 8, .run = 64 }, { .lanes = 8, .run = 63 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qp_probe_order is, is_not;
        probe_contract((contract_sum){ .n = cases[i].n, .order = cases[i].is });
        ck_assert(qp_probe_order_of(cases[i].n, &(qp_params){ .order = cases[i].is }, &is));
        ck_assert(qp_probe_order_of(cases[i].n, &(qp_params){ .order = cases[i].is_not }, &is_not));
        ck_assert_msg(qp_probe_fits(&is, found.counts), "case %zu", i);
        ck_assert_msg(!qp_probe_fits(&is_not, found.counts), "case %zu", i);
    }
}
END_TEST

/* Also between the listed places. */
START_TEST(test_a_part_is_found_to_the_product)
{
    const int64_t n = 5000, part = 2512;
    probe_contract((contract_sum){ .n = n, .part = { part, n - part } });
    ck_assert_int_eq(found.order.parts, 2);
    ck_assert_int_eq(found.order.start[1], part);
    ck_assert(qp_probe_fits(&found.order, found.counts));
    for (int off = -16; off <= 16; off++) {
        qp_probe_order is_not = found.order;
        is_not.start[1] += off;
        ck_assert_msg(off == 0 || !qp_probe_fits(&is_not, found.counts), "%d", off);
    }
}
END_TEST

START_TEST(test_too_many_parts_have_no_words)
{
    qp_probe_order order;
    ck_assert(!qp_probe_order_of(16 * (QP_PROBE_PARTS + 1), &(qp_params){ .part = 16 }, &order));
    ck_assert(qp_probe_order_of(16 * QP_PROBE_PARTS, &(qp_params){ .part = 16 }, &order));
    ck_assert_int_eq(order.parts, QP_PROBE_PARTS);
}
END_TEST

static qp_status fail_to_sum(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result)
{
    (void)context, (void)x, (void)w, (void)count, (void)result;
    return qp_fail(QP_DEVICE, "no sum");
}

START_TEST(test_a_failing_sum_ends_the_probe)
{
    qp_probe_counts *counts = NULL;
    ck_assert_int_eq(qp_probe_count(&(qp_probe_subject){ 10, 4, fail_to_sum, NULL }, &counts), QP_DEVICE);
    qp_probe_counts_free(counts);
    qp_probe_counts_free(NULL);
}
END_TEST

/* ---- The command ---- */

START_TEST(test_the_command_finds_what_the_cpu_is_told)
{
    ck_assert_int_eq(run_in("", "probe"), 0);
    ck_assert_ptr_nonnull(strstr(out, "blocks of 16 products"));
    ck_assert_ptr_nonnull(strstr(out, "2^(E - 25)"));
    ck_assert_ptr_nonnull(strstr(out, "2 parts of 1536, each a chain of blocks of 16, added in order"));
    ck_assert_ptr_nonnull(strstr(out, "32 lanes in runs of 4, folded by halves"));
    ck_assert_ptr_nonnull(strstr(out, "16 lanes in runs of 1, folded in turn"));
    ck_assert_ptr_null(strstr(out, "FAIL"));
    ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(test_the_command_takes_other_shapes)
{
    static const char *const shapes[] = {
        "--m 3 --n 5 --k 100 --heads 6 --kv-heads 3 --queries 4 --keys 9 --head-dim 24",
        "--m 1 --n 1 --k 1 --heads 1 --kv-heads 1 --queries 1 --keys 1 --head-dim 1",
        "--m 2 --n 2 --k 17 --heads 2 --kv-heads 1 --queries 2 --keys 2 --head-dim 2",
        "--m 1 --n 300 --k 1000 --heads 2 --kv-heads 2 --queries 1 --keys 300 --head-dim 20",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "probe %s", shapes[i]);
        ck_assert_msg(run_in("", arguments) == 0, "%s: %s%s", arguments, out, err);
    }
}
END_TEST

START_TEST(test_the_command_refuses_in_one_sentence)
{
    static const char *const wrong[] = { "probe --backend tpu", "probe --k 0",        "probe --keys 9999999",
                                         "probe --heads 3",     "probe --queries 34", "probe --m many" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(run_in("", wrong[i]) == 2, "%s", wrong[i]);
        ck_assert_str_eq(out, "");
        ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
    }
    const bool card = has_card();
    ck_assert_int_eq(run_in("", "probe --backend cuda"), card ? 0 : 3);
    if (!card) ck_assert_ptr_nonnull(strstr(err, "CUDA"));
}
END_TEST

static Suite *probe_suite(void)
{
    Suite *suite = suite_create("probe");
    TCase *unit = tcase_create("unit");
    tcase_add_test(unit, test_odd_units_are_told);
    tcase_add_test(unit, test_what_cannot_be_told_is_not_told);
    tcase_add_test(unit, test_a_unit_has_words);
    suite_add_tcase(suite, unit);
    TCase *order = tcase_create("order");
    tcase_set_timeout(order, 120);
    tcase_add_test(order, test_an_order_without_words_is_shown_as_its_tree);
    tcase_add_test(order, test_no_order_is_not_a_tree);
    tcase_add_test(order, test_one_product_after_the_other);
    tcase_add_test(order, test_the_contracts_orders_have_words);
    tcase_add_test(order, test_a_neighbouring_order_does_not_fit);
    tcase_add_test(order, test_a_part_is_found_to_the_product);
    tcase_add_test(order, test_too_many_parts_have_no_words);
    tcase_add_test(order, test_a_failing_sum_ends_the_probe);
    suite_add_tcase(suite, order);
    TCase *command = tcase_create("command");
    tcase_add_unchecked_fixture(command, files_setup, files_teardown);
    tcase_set_timeout(command, 120);
    tcase_add_test(command, test_the_command_finds_what_the_cpu_is_told);
    tcase_add_test(command, test_the_command_takes_other_shapes);
    tcase_add_test(command, test_the_command_refuses_in_one_sentence);
    suite_add_tcase(suite, command);
    return suite;
}

int main(void) { return qp_check_main(probe_suite()); }
