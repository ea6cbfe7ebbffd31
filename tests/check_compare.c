/* The comparator: what counts as a difference, how it is measured, and that its p99 is exact. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../harness/compare.h"
#include "../kernels/numerics/bf16.h"
#include "check_main.h"
#include "check_random.h"

Suite *compare_suite(void);

enum { ZERO = 5, CLASS = QP_ULP_CLASSES - 1 };

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_bits(void) { return check_random(&random_state); }

static qp_comparison compare_bf16(const uint16_t *want, const uint16_t *got, int64_t n)
{
    return qp_compare(QP_BF16, want, got, n);
}

static int64_t histogram_sum(const qp_comparison *c)
{
    int64_t sum = 0;
    for (int i = 0; i < QP_ULP_CLASSES; i++) sum += c->histogram[i];
    return sum;
}

START_TEST(test_compare_equal_has_no_mismatch)
{
    const uint16_t values[] = { 0x3f80, 0x0000, 0x8000, 0xc000, 0x0001, 0x7f80, 0xff80 };
    const qp_comparison c = compare_bf16(values, values, 7);
    ck_assert_int_eq(c.elements, 7);
    ck_assert_int_eq(c.mismatches, 0);
    ck_assert_int_eq(c.class_mismatches, 0);
    ck_assert_int_eq(c.nonzero, 5);
    ck_assert_int_eq(c.nonfinite, 2);
    ck_assert_int_eq(c.histogram[ZERO], 7);
    ck_assert_int_eq(c.worst_count, 0);
    ck_assert(c.max_ulp == 0.0 && c.p99_ulp == 0.0 && c.max_abs == 0.0);
}
END_TEST

START_TEST(test_compare_empty_has_no_elements)
{
    const int64_t lengths[] = { 0, -1 };
    for (size_t i = 0; i < 2; i++) {
        const qp_comparison c = qp_compare(QP_F32, NULL, NULL, lengths[i]);
        ck_assert_int_eq(c.elements, 0);
        ck_assert_int_eq(c.worst_count, 0);
        ck_assert_int_eq(histogram_sum(&c), 0);
    }
    const double value = 1.0;
    ck_assert_int_eq(qp_compare(QP_F64, &value, &value, 1).elements, 0); /* no dtype of a golden */
}
END_TEST

START_TEST(test_compare_nan_against_nan_is_equal)
{
    const uint16_t want[] = { 0x7fc0, 0x7fff, 0xffc1 }, got[] = { 0x7fff, 0xff81, 0x7f81 };
    const qp_comparison c = compare_bf16(want, got, 3);
    ck_assert_int_eq(c.mismatches, 0);
    ck_assert_int_eq(c.nonfinite, 3);
}
END_TEST

START_TEST(test_compare_nan_against_number_is_class_mismatch)
{
    const uint16_t values[] = { 0x3f80, 0x0000, 0x7f80, 0xff80, 0x8000 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const uint16_t nan = 0x7fff;
        const qp_comparison a = compare_bf16(&nan, &values[i], 1), b = compare_bf16(&values[i], &nan, 1);
        ck_assert_int_eq(a.class_mismatches, 1);
        ck_assert_int_eq(b.class_mismatches, 1);
        ck_assert_int_eq(a.mismatches, 1);
        ck_assert_int_eq(a.histogram[CLASS], 1);
        ck_assert_int_eq(a.signed_zeros, 0);
        ck_assert_int_eq(a.worst[0].index, 0);
        ck_assert(isnan(a.worst[0].want) && isnan(b.worst[0].got));
    }
}
END_TEST

START_TEST(test_compare_infinity_against_number_or_other_infinity_is_class_mismatch)
{
    const uint16_t want[] = { 0x7f80, 0x7f80, 0x7f7f, 0xff7f }, got[] = { 0x7f7f, 0xff80, 0x7f80, 0xff80 };
    const qp_comparison c = compare_bf16(want, got, 4);
    ck_assert_int_eq(c.mismatches, 4);
    ck_assert_int_eq(c.class_mismatches, 4);
    ck_assert_int_eq(c.histogram[CLASS], 4);
    ck_assert(c.max_ulp == 0.0 && c.max_abs == 0.0); /* no pair of which both are finite */
}
END_TEST

START_TEST(test_compare_signed_zeros_are_class_mismatch_one_ulp_apart)
{
    const uint16_t want[] = { 0x0000, 0x8000 }, got[] = { 0x8000, 0x0000 };
    const qp_comparison c = compare_bf16(want, got, 2);
    ck_assert_int_eq(c.mismatches, 2);
    ck_assert_int_eq(c.class_mismatches, 2);
    ck_assert_int_eq(c.signed_zeros, 2);
    ck_assert_int_eq(c.histogram[CLASS], 2);
    ck_assert(c.max_ulp == 1.0 && c.max_abs == 0.0);
    ck_assert_int_eq(c.worst[0].index, 0);
    const float minus = -0.0f, plus = 0.0f;
    ck_assert_int_eq(qp_compare(QP_F32, &plus, &minus, 1).signed_zeros, 1);
}
END_TEST

START_TEST(test_compare_zero_against_subnormal_is_a_distance)
{
    const uint16_t want[] = { 0x0000, 0x8000, 0x0001 }, got[] = { 0x0001, 0x0001, 0x8001 };
    const qp_comparison c = compare_bf16(want, got, 3);
    ck_assert_int_eq(c.class_mismatches, 0);
    ck_assert_int_eq(c.histogram[ZERO + 1], 1); /* +0 to the next above */
    ck_assert_int_eq(c.histogram[ZERO + 2], 1); /* -0, +0, then it */
    ck_assert_int_eq(c.histogram[ZERO - 3], 1); /* down over both zeros */
    ck_assert(c.max_ulp == 3.0);
}
END_TEST

START_TEST(test_compare_one_ulp_has_its_sign_in_the_histogram)
{
    const uint16_t want[] = { 0x3f80, 0x3f80, 0xbf80, 0xbf80 }, got[] = { 0x3f81, 0x3f7f, 0xbf81, 0xbf7f };
    const qp_comparison c = compare_bf16(want, got, 4);
    ck_assert_int_eq(c.mismatches, 4);
    ck_assert_int_eq(c.histogram[ZERO + 1], 2);
    ck_assert_int_eq(c.histogram[ZERO - 1], 2);
    ck_assert(c.max_ulp == 1.0 && c.p99_ulp == 1.0);
    ck_assert(c.max_abs == 0.0078125); /* the step above 1; below it is half as wide */
    const float one = 1.0f, above = nextafterf(1.0f, 2.0f);
    const qp_comparison f = qp_compare(QP_F32, &one, &above, 1);
    ck_assert(f.max_ulp == 1.0 && f.max_abs == (double)FLT_EPSILON);
}
END_TEST

START_TEST(test_compare_histogram_has_every_class)
{
    const int distances[] = { -100, -8, -7, -4, -3, -2, -1, 0, 1, 2, 3, 4, 7, 8, 100 };
    const int64_t expected[QP_ULP_CLASSES] = { 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0 };
    int64_t want[15], got[15];
    uint16_t want_bf16[15], got_bf16[15];
    for (int i = 0; i < 15; i++) {
        want[i] = 1000;
        got[i] = 1000 + distances[i];
        want_bf16[i] = 0x3f80;
        got_bf16[i] = (uint16_t)(0x3f80 + distances[i]);
    }
    const qp_comparison a = qp_compare(QP_I64, want, got, 15), b = compare_bf16(want_bf16, got_bf16, 15);
    for (int i = 0; i < QP_ULP_CLASSES; i++) {
        ck_assert_int_eq(a.histogram[i], expected[i]);
        ck_assert_int_eq(b.histogram[i], expected[i]);
    }
    ck_assert_int_eq(histogram_sum(&a), 15);
}
END_TEST

START_TEST(test_compare_only_the_last_element_wrong_is_found)
{
    enum { N = 100003 };
    uint16_t *want = calloc(N, sizeof *want), *got = calloc(N, sizeof *got);
    ck_assert(want && got);
    for (int i = 0; i < N; i++) want[i] = got[i] = (uint16_t)(random_bits() & 0x7f7f);
    got[N - 1] ^= 1;
    const qp_comparison c = compare_bf16(want, got, N);
    ck_assert_int_eq(c.mismatches, 1);
    ck_assert_int_eq(c.worst[0].index, N - 1);
    ck_assert(c.max_ulp == 1.0 && c.p99_ulp == 0.0);
    free(want);
    free(got);
}
END_TEST

START_TEST(test_compare_worst_is_the_first_of_the_worst)
{
    /* 1 ulp, 5 ulp, 5 ulp, +0 against -0: the second. Then with a NaN at the end: that one, and not a later one. */
    const uint16_t want[] = { 0x3f80, 0x3f80, 0x3f80, 0x0000, 0x3f80, 0x3f80 };
    const uint16_t got[] = { 0x3f81, 0x3f85, 0x3f7b, 0x8000, 0x7fff, 0x7f80 };
    const qp_comparison a = compare_bf16(want, got, 4), b = compare_bf16(want, got, 6);
    ck_assert_int_eq(a.worst[0].index, 1);
    ck_assert(a.worst[0].want == 1.0 && a.worst[0].got == 1.0390625);
    /* All four, the worst first, with their bits; +0 against -0 is as bad as 1 ulp and comes behind it. */
    static const int64_t order[] = { 1, 2, 0, 3 };
    ck_assert_int_eq(a.worst_count, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(a.worst[i].index, order[i]);
        ck_assert_uint_eq(a.worst[i].want_bits, want[order[i]]);
        ck_assert_uint_eq(a.worst[i].got_bits, got[order[i]]);
    }
    ck_assert_int_eq(b.worst_count, QP_WORST);
    ck_assert_int_eq(b.worst[0].index, 4);
    ck_assert_int_eq(b.worst[1].index, 5);
    ck_assert_int_eq(b.worst[2].index, 1);
    ck_assert(b.max_ulp == 5.0);
}
END_TEST

START_TEST(test_an_error_of_no_pair_is_unknown)
{
    const float nothing[] = { NAN, NAN }, something[] = { NAN, 1.0f }, truth[] = { 1.0f, 1.0f };
    const qp_error none = qp_error_of(QP_F32, nothing, QP_F32, truth, 2);
    const qp_error one = qp_error_of(QP_F32, something, QP_F32, truth, 2);
    ck_assert_int_eq(none.nonfinite, 2);
    ck_assert(isnan(qp_error_rms(&none, 2)) && qp_error_rms(&one, 2) == 0.0);
}
END_TEST

START_TEST(test_compare_extreme_distances_do_not_overflow)
{
    const uint16_t want[] = { 0xff7f }, got[] = { 0x7f7f };
    ck_assert(compare_bf16(want, got, 1).max_ulp == 2.0 * 0x7f7f + 1.0);
    const float low = -FLT_MAX, high = FLT_MAX;
    const qp_comparison f = qp_compare(QP_F32, &low, &high, 1);
    ck_assert(f.max_ulp == 2.0 * 0x7f7fffff + 1.0 && f.p99_ulp == f.max_ulp);
    ck_assert(f.max_abs == 2.0 * (double)FLT_MAX);
    const int64_t least = INT64_MIN, most = INT64_MAX;
    const qp_comparison i = qp_compare(QP_I64, &least, &most, 1);
    ck_assert(i.max_ulp == 18446744073709551616.0 && i.p99_ulp == i.max_ulp);
    ck_assert_int_eq(i.histogram[QP_ULP_CLASSES - 2], 1);
    ck_assert_int_eq(qp_compare(QP_I64, &most, &least, 1).histogram[0], 1);
}
END_TEST

START_TEST(test_compare_accepts_unaligned_data)
{
    unsigned char want[1 + 8 * 3], got[1 + 8 * 3];
    memset(want, 0x3f, sizeof want);
    memcpy(got, want, sizeof got);
    ck_assert_int_eq(qp_compare(QP_BF16, want + 1, got + 1, 12).mismatches, 0);
    ck_assert_int_eq(qp_compare(QP_F32, want + 1, got + 1, 6).mismatches, 0);
    ck_assert_int_eq(qp_compare(QP_I64, want + 1, got + 1, 3).mismatches, 0);
}
END_TEST

/* ---- p99 against sorting ---- */

static int order_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distance by walking the ordered line of f32 or bf16 in another way than the comparator: monotonic unsigned
 * keys. NaN if one is not finite. */
static double naive_distance(qp_dtype dtype, const void *want, const void *got, int64_t i)
{
    if (dtype == QP_I64) {
        const int64_t a = ((const int64_t *)want)[i], b = ((const int64_t *)got)[i];
        return a > b ? (double)((uint64_t)a - (uint64_t)b) : (double)((uint64_t)b - (uint64_t)a);
    }
    const double x = qp_element(dtype, want, i), y = qp_element(dtype, got, i);
    if (!isfinite(x) || !isfinite(y)) return (double)NAN;
    uint64_t key[2];
    for (int side = 0; side < 2; side++) {
        const void *data = side ? got : want;
        const uint32_t bits = dtype == QP_BF16 ? ((const uint16_t *)data)[i] : ((const uint32_t *)data)[i];
        const uint32_t sign = dtype == QP_BF16 ? 0x8000u : 0x80000000u;
        key[side] = bits & sign ? (uint64_t)sign - 1 - (bits & (sign - 1)) : (uint64_t)sign + bits;
    }
    return key[0] > key[1] ? (double)(key[0] - key[1]) : (double)(key[1] - key[0]);
}

static void check_p99(qp_dtype dtype, const void *want, const void *got, int64_t n)
{
    double *distances = malloc((size_t)n * sizeof *distances);
    ck_assert_ptr_nonnull(distances);
    int64_t finite = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = naive_distance(dtype, want, got, i);
        if (!isnan(d)) distances[finite++] = d;
    }
    qsort(distances, (size_t)finite, sizeof *distances, order_double);
    const qp_comparison c = qp_compare(dtype, want, got, n);
    /* The least distance d such that 100 * (pairs at most d apart) >= 99 * pairs. */
    double expected = 0.0;
    if (finite > 0) {
        int64_t at = 0;
        while (100 * (at + 1) < 99 * finite) at++;
        expected = distances[at];
    }
    ck_assert_msg(c.p99_ulp == expected, "%s, %lld elements: p99 %.17g where sorting gives %.17g",
                  dtype == QP_BF16  ? "bf16"
                  : dtype == QP_F32 ? "f32"
                                    : "i64",
                  (long long)n, c.p99_ulp, expected);
    ck_assert(c.max_ulp == (finite > 0 ? distances[finite - 1] : 0.0));
    ck_assert_int_eq(histogram_sum(&c), n);
    free(distances);
}

START_TEST(test_compare_p99_equals_sorting)
{
    enum { MOST = 3000 };
    static const int64_t sizes[] = { 1, 2, 3, 50, 99, 100, 101, 199, 200, 201, 1000, 2999 };
    static uint64_t want[MOST], got[MOST];
    random_state = (uint64_t)_i;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int spread = 0; spread < 64; spread += 3) {
            const int64_t n = sizes[s];
            /* All bits at random, NaN and infinities among them, and near ones: equal but for the low bits. A part
             * of the elements is equal, so that the rank falls among them, at their edge and beyond. */
            const uint64_t equal_of_1024 = spread % 2 ? 1024 * 99 / 100 : random_bits() % 1024;
            for (int64_t i = 0; i < n; i++) {
                want[i] = random_bits();
                got[i] = random_bits() % 1024 < equal_of_1024 ? want[i] : want[i] ^ (random_bits() >> spread);
            }
            check_p99(QP_I64, want, got, n);
            check_p99(QP_F32, want, got, n);
            check_p99(QP_BF16, want, got, n);
        }
    }
}
END_TEST

/* Where the number or the size of the pieces changes, one element more or less must not matter. */
START_TEST(test_compare_joins_pieces_of_every_size)
{
    static const int64_t sizes[] = { (1 << 15) - 1, 1 << 15,        (1 << 15) + 1,  (1 << 21) - 1, 1 << 21,
                                     (1 << 21) + 1, (1 << 21) + 63, (1 << 21) + 64, (1 << 21) + 65 };
    const int64_t most = (1 << 21) + 65;
    uint16_t *want = calloc((size_t)most, sizeof *want), *got = calloc((size_t)most, sizeof *got);
    ck_assert(want && got);
    for (int64_t i = 0; i < most; i++) want[i] = got[i] = 0x3f80;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s], wrong[] = { 0, n / 2, n - 1 };
        for (int i = 0; i < 3; i++) got[wrong[i]] = (uint16_t)(0x3f81 + (i == 1)); /* the middle is 2 ulp off */
        const qp_comparison c = compare_bf16(want, got, n);
        const qp_error e = qp_error_of(QP_BF16, got, QP_BF16, want, n);
        ck_assert_int_eq(c.elements, n);
        ck_assert_int_eq(c.mismatches, 3);
        ck_assert_int_eq(c.nonzero, n);
        ck_assert_int_eq(c.worst_count, 3); /* of three pieces, and the equal ones in order */
        ck_assert_int_eq(c.worst[0].index, n / 2);
        ck_assert_int_eq(c.worst[1].index, 0);
        ck_assert_int_eq(c.worst[2].index, n - 1);
        ck_assert(c.max_ulp == 2.0 && e.max_abs == 0x1p-6);
        ck_assert_double_eq_tol(e.rms, sqrt(6.0 * 0x1p-14 / (double)n), 1e-18);
        for (int i = 0; i < 3; i++) got[wrong[i]] = 0x3f80;
    }
    free(want);
    free(got);
}
END_TEST

START_TEST(test_compare_walks_16_million_elements_fast)
{
    const int64_t n = INT64_C(1) << 24;
    uint16_t *want = malloc((size_t)n * sizeof *want), *got = malloc((size_t)n * sizeof *got);
    ck_assert(want && got);
    for (int64_t i = 0; i < n; i++) {
        want[i] = (uint16_t)random_bits();
        got[i] = (uint16_t)(want[i] ^ (random_bits() % 4));
    }
    const clock_t start = clock();
    const qp_comparison c = compare_bf16(want, got, n);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    ck_assert_int_gt(c.mismatches, n / 2);
    /* It takes 0.1 s; the sanitizers and a busy machine need room. */
    ck_assert_msg(seconds < 5.0, "comparing 16 Mi elements took %.2f s", seconds);
    free(want);
    free(got);
}
END_TEST

/* ---- errors against the oracle ---- */

START_TEST(test_error_is_root_mean_square)
{
    const uint16_t a[] = { 0x3f80, 0x4000, 0x4040, 0xc080 }; /* 1, 2, 3, -4 */
    const double b[] = { 1.5, 2.0, 3.0, -3.5 };
    const qp_error e = qp_error_of(QP_BF16, a, QP_F64, b, 4);
    ck_assert(e.max_abs == 0.5);
    ck_assert(e.rms == sqrt(0.5 / 4.0));
    ck_assert_int_eq(e.nonfinite, 0);
}
END_TEST

START_TEST(test_error_leaves_out_nonfinite_pairs)
{
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double a[] = { inf, -inf, inf, nan, 1.0, nan, 1.0 }, b[] = { inf, -inf, -inf, 1.0, inf, nan, 3.0 };
    const qp_error e = qp_error_of(QP_F64, a, QP_F64, b, 7);
    ck_assert_int_eq(e.nonfinite, 4);
    ck_assert(e.max_abs == 2.0);
    ck_assert(e.rms == sqrt(4.0 / 3.0)); /* two equal infinities and the last pair */
    const qp_error none = qp_error_of(QP_F64, a, QP_F64, b, 0), left_out = qp_error_of(QP_F64, &nan, QP_F64, &nan, 1);
    ck_assert(none.rms == 0.0 && none.nonfinite == 0);
    ck_assert(left_out.rms == 0.0 && left_out.nonfinite == 1);
}
END_TEST

START_TEST(test_element_reads_each_dtype)
{
    const uint16_t bf16 = 0xc040;
    const float f32 = 0.1f;
    const double f64 = 0.1;
    const int64_t i64 = -7;
    ck_assert(qp_element(QP_BF16, &bf16, 0) == -3.0);
    ck_assert(qp_element(QP_F32, &f32, 0) == (double)0.1f);
    ck_assert(qp_element(QP_F64, &f64, 0) == 0.1);
    ck_assert(qp_element(QP_I64, &i64, 0) == -7.0);
}
END_TEST

Suite *compare_suite(void)
{
    Suite *suite = suite_create("compare");
    TCase *edges = tcase_create("edges");
    tcase_add_test(edges, test_compare_equal_has_no_mismatch);
    tcase_add_test(edges, test_compare_empty_has_no_elements);
    tcase_add_test(edges, test_compare_nan_against_nan_is_equal);
    tcase_add_test(edges, test_compare_nan_against_number_is_class_mismatch);
    tcase_add_test(edges, test_compare_infinity_against_number_or_other_infinity_is_class_mismatch);
    tcase_add_test(edges, test_compare_signed_zeros_are_class_mismatch_one_ulp_apart);
    tcase_add_test(edges, test_compare_zero_against_subnormal_is_a_distance);
    tcase_add_test(edges, test_compare_one_ulp_has_its_sign_in_the_histogram);
    tcase_add_test(edges, test_compare_histogram_has_every_class);
    tcase_add_test(edges, test_compare_only_the_last_element_wrong_is_found);
    tcase_add_test(edges, test_compare_worst_is_the_first_of_the_worst);
    tcase_add_test(edges, test_an_error_of_no_pair_is_unknown);
    tcase_add_test(edges, test_compare_extreme_distances_do_not_overflow);
    tcase_add_test(edges, test_compare_accepts_unaligned_data);
    suite_add_tcase(suite, edges);

    TCase *p99 = tcase_create("p99");
    tcase_set_timeout(p99, 60);
    tcase_add_loop_test(p99, test_compare_p99_equals_sorting, 0, 8);
    tcase_add_test(p99, test_compare_walks_16_million_elements_fast);
    tcase_add_test(p99, test_compare_joins_pieces_of_every_size);
    suite_add_tcase(suite, p99);

    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_error_is_root_mean_square);
    tcase_add_test(errors, test_error_leaves_out_nonfinite_pairs);
    tcase_add_test(errors, test_element_reads_each_dtype);
    suite_add_tcase(suite, errors);
    return suite;
}

int main(void) { return qp_check_main(compare_suite()); }
