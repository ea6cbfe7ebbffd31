/* harness/changes: what changed between two reports is found, and nothing else. */
#include <stdio.h>
#include <string.h>

#include "../harness/changes.h"
#include "check_main.h"

/* ---- reports made by hand ---- */

enum { ROWS = 4 };
static qp_row was_rows[ROWS], is_rows[ROWS];
static qp_report was, is;
static qp_changes changes;

static void make_report(qp_row *rows, qp_report *report)
{
    static const char *const keys[ROWS] = { "p/prefill/model.layers.10.q", "p/prefill/model.layers.10.q",
                                            "p/prefill/model.layers.2.q", "p/prefill/lm_head" };
    memset(report, 0, sizeof *report);
    memset(rows, 0, ROWS * sizeof *rows);
    for (int i = 0; i < ROWS; i++) {
        rows[i].key = keys[i];
        rows[i].mode = i == 1 ? QP_CARRIED : QP_LOCAL;
        rows[i].operation = "linear";
        rows[i].verdict = QP_VERDICT_PASS;
        (void)snprintf(rows[i].golden_sha256, sizeof rows[i].golden_sha256, "%d", i);
        (void)snprintf(rows[i].ours_sha256, sizeof rows[i].ours_sha256, "%d", i);
        (void)snprintf(rows[i].order, sizeof rows[i].order, "K whole");
    }
    *report = (qp_report){ .model = "m",
                           .backend = "cpu",
                           .golden = { .path = "g" },
                           .complete = true,
                           .row_count = ROWS,
                           .rows = rows,
                           .environment = { .program_version = "1", .compiler = "gcc", .threads = 2 } };
    (void)snprintf(report->plan, sizeof report->plan, "reference");
}

static void setup(void)
{
    make_report(was_rows, &was);
    make_report(is_rows, &is);
}

static bool is_worse(void) { return qp_changes_judge(&changes) == QP_CHANGES_WORSE; }

static void compare(void) { ck_assert_int_eq(qp_changes_of_verify(&was, &is, &changes), QP_OK); }

static void teardown(void) { qp_changes_close(&changes); }

START_TEST(test_nothing_changed)
{
    compare();
    ck_assert_int_eq(changes.compared, ROWS);
    ck_assert(changes.change_count == 0 && changes.difference_count == 0 && !changes.unfair);
    ck_assert(!is_worse());
}
END_TEST

START_TEST(test_a_failure_is_new_or_cured)
{
    is_rows[2].verdict = QP_VERDICT_FAIL;
    (void)snprintf(is_rows[2].reason, sizeof is_rows[2].reason, "3 of 4 elements differ");
    is_rows[0].verdict = QP_VERDICT_UNTRUSTED;
    was_rows[3].verdict = QP_VERDICT_FAIL;
    compare();
    ck_assert_int_eq(changes.counts[QP_CHANGE_NEW_FAILURE], 2);
    ck_assert_int_eq(changes.counts[QP_CHANGE_CURED], 1);
    ck_assert(is_worse());
    /* Kind by kind, in the plan's order, not in that of the text. */
    ck_assert_str_eq(changes.changes[0].key, "p/prefill/model.layers.10.q");
    ck_assert_str_eq(changes.changes[1].key, "p/prefill/model.layers.2.q");
    ck_assert_str_eq(changes.changes[1].was, "pass");
    ck_assert_str_eq(changes.changes[1].is, "3 of 4 elements differ");
    ck_assert_str_eq(changes.changes[2].key, "p/prefill/lm_head");
}
END_TEST

START_TEST(test_a_verdict_that_changes_is_seen)
{
    is_rows[2].verdict = QP_VERDICT_WAIVED; /* no failure, but told */
    compare();
    ck_assert(changes.change_count == 1 && changes.counts[QP_CHANGE_JUDGED] == 1 && !is_worse());
    ck_assert_str_eq(changes.changes[0].is, "waived");
    qp_changes_close(&changes);
    setup();
    was_rows[2].verdict = QP_VERDICT_UNTRUSTED;
    is_rows[2].verdict = QP_VERDICT_FAIL; /* from bad to worse */
    compare();
    ck_assert(changes.counts[QP_CHANGE_NEW_FAILURE] == 1 && is_worse());
    qp_changes_close(&changes);
    setup();
    was.summary.verdict = QP_VERDICT_PASS; /* no row fails, but the report does */
    is.problem_count = 1;
    compare();
    ck_assert(changes.counts[QP_CHANGE_NEW_FAILURE] == 1 && is_worse());
    ck_assert_ptr_nonnull(strstr(changes.changes[0].is, "1 problems of the gate"));
}
END_TEST

START_TEST(test_other_bits_are_seen_though_the_row_passes)
{
    is_rows[1].gate = QP_GATE_BOUNDED;
    (void)snprintf(is_rows[1].ours_sha256, sizeof is_rows[1].ours_sha256, "other");
    compare();
    ck_assert_int_eq(changes.counts[QP_CHANGE_BITS], 1);
    ck_assert_str_eq(changes.changes[0].mode, "carried");
    ck_assert(!is_worse());
}
END_TEST

START_TEST(test_another_order_is_seen)
{
    (void)snprintf(is_rows[3].order, sizeof is_rows[3].order, "K in parts of 64");
    compare();
    ck_assert_int_eq(changes.counts[QP_CHANGE_ORDER], 1);
    ck_assert_str_eq(changes.changes[0].was, "K whole");
    ck_assert_str_eq(changes.changes[0].is, "K in parts of 64");
    qp_changes_close(&changes);
    is_rows[3].operation = "lm_head_argmax"; /* which has another sum to tell of */
    compare();
    ck_assert_int_eq(changes.change_count, 0);
}
END_TEST

START_TEST(test_a_row_that_is_gone_is_worse_unless_something_else_was_asked_for)
{
    is.row_count = ROWS - 1;
    compare();
    ck_assert_int_eq(changes.counts[QP_CHANGE_GONE], 1);
    ck_assert_int_eq(changes.compared, ROWS - 1);
    ck_assert(is_worse());
    qp_changes_close(&changes);
    (void)snprintf(is.plan, sizeof is.plan, "fused");
    compare();
    ck_assert(!is_worse() && !changes.unfair);
    ck_assert_str_eq(changes.differences[0].what, "plan");
    qp_changes_close(&changes);
    setup();
    is.row_count = ROWS - 1;
    is.only = "*q";
    compare();
    ck_assert(!is_worse());
    qp_changes_close(&changes);
    setup();
    was.row_count = ROWS - 2;
    compare();
    ck_assert_int_eq(changes.added, 2);
    ck_assert(!is_worse());
}
END_TEST

START_TEST(test_nothing_in_common_is_nothing_compared)
{
    for (int i = 0; i < ROWS; i++) is_rows[i].key = "q/prefill/lm_head";
    is.row_count = 1;
    is.only = "q*";
    compare();
    ck_assert_int_eq(changes.compared, 0);
}
END_TEST

START_TEST(test_other_surroundings_are_told)
{
    (void)snprintf(is.device.name, sizeof is.device.name, "CPU, avx2"); /* the bits do not depend on it */
    is.environment.compiler = "clang";
    compare();
    ck_assert(changes.difference_count == 2 && !changes.unfair);
    qp_changes_close(&changes);
    is.backend = "cuda"; /* there they do */
    compare();
    ck_assert(changes.unfair);
    qp_changes_close(&changes);
    setup();
    was.device.cublas_version = 130100;
    is.device.cublas_version = 130200;
    compare();
    ck_assert(changes.unfair);
    ck_assert_str_eq(changes.differences[0].what, "cuBLAS");
    ck_assert_str_eq(changes.differences[0].was, "130100");
    qp_changes_close(&changes);
    setup();
    (void)snprintf(is_rows[0].golden_sha256, sizeof is_rows[0].golden_sha256, "another");
    compare();
    ck_assert(changes.unfair);
    ck_assert_str_eq(changes.differences[0].what, "golden");
    qp_changes_close(&changes);
    setup();
    is.complete = false;
    compare();
    ck_assert(changes.unfair);
    qp_changes_close(&changes);
    setup();
    is.fault = "a fault";
    compare();
    ck_assert(changes.unfair);
}
END_TEST

/* ---- times ---- */

static qp_statistics times(double q1, double median, double q3) { return (qp_statistics){ 10, median, q1, q3 }; }

START_TEST(test_a_time_is_faster_slower_the_same_or_ambiguous)
{
    const qp_statistics base = times(9.9, 10.0, 10.1);
    static const struct {
        double q1, median, q3;
        qp_speed speed;
    } cases[] = {
        { 9.9, 10.0, 10.1, QP_SPEED_SAME },       { 10.4, 10.49, 10.6, QP_SPEED_SAME }, /* apart, but too little */
        { 10.4, 10.6, 10.8, QP_SPEED_SLOWER },    { 10.0, 11.0, 12.0, QP_SPEED_AMBIGUOUS },
        { 9.0, 9.2, 9.4, QP_SPEED_FASTER },       { 8.0, 9.0, 10.0, QP_SPEED_AMBIGUOUS },
        { 100.0, 100.0, 100.0, QP_SPEED_SLOWER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const qp_statistics now = times(cases[i].q1, cases[i].median, cases[i].q3);
        ck_assert_int_eq(qp_speed_of(&base, &now, 1.05), cases[i].speed);
    }
    /* Slow things have few samples, and must not hide behind that; to be faster, or to compare with, they are too few. */
    const qp_statistics two = { .samples = 2, .median = 20.0, .q1 = 20.0, .q3 = 20.0 };
    ck_assert_int_eq(qp_speed_of(&base, &two, 1.05), QP_SPEED_SLOWER);
    ck_assert_int_eq(qp_speed_of(&two, &base, 1.05), QP_SPEED_AMBIGUOUS);
    const qp_statistics one = { .samples = 1, .median = 2.0, .q1 = 2.0, .q3 = 2.0 }, none = { 0 };
    ck_assert_int_eq(qp_speed_of(&base, &one, 1.05), QP_SPEED_AMBIGUOUS);
    ck_assert_int_eq(qp_speed_of(&base, &none, 1.05), QP_SPEED_AMBIGUOUS);
    const qp_statistics generous = times(10.4, 10.6, 10.8);
    ck_assert_int_eq(qp_speed_of(&base, &generous, 1.1), QP_SPEED_SAME);
}
END_TEST

static qp_bench_row was_bench_rows[2], is_bench_rows[2];
static qp_bench_report was_bench, is_bench;

static void make_bench(qp_bench_row *rows, qp_bench_report *report)
{
    memset(rows, 0, 2 * sizeof *rows);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(rows[i].key, sizeof rows[i].key, i ? "lm_head" : "model.norm");
        rows[i].phase = "decode";
        rows[i].extent[0] = 7;
        rows[i].verified = "cpu";
        for (int p = 0; p < QP_PROTOCOLS; p++) rows[i].time[p].seconds = times(9.9e-6, 10e-6, 10.1e-6);
    }
    *report = (qp_bench_report){
        .model = "m", .backend = "cpu", .complete = true, .row_count = 2, .rows = rows, .step_count = 1
    };
    (void)snprintf(report->plan, sizeof report->plan, "reference");
    report->steps[0] = (qp_bench_step){ .name = "decode_step", .tokens = 1, .context = 128, .verified = "cpu" };
    report->steps[0].time.seconds = report->steps[0].wall = times(99e-6, 100e-6, 101e-6);
}

static void setup_bench(void)
{
    make_bench(was_bench_rows, &was_bench);
    make_bench(is_bench_rows, &is_bench);
}

static void compare_bench(void) { ck_assert_int_eq(qp_changes_of_bench(&was_bench, &is_bench, 1.05, &changes), QP_OK); }

START_TEST(test_times_are_compared_one_by_one)
{
    compare_bench();
    ck_assert(changes.compared == 3 && changes.speed_count == 7 && changes.speed_counts[QP_SPEED_SAME] == 7);
    qp_changes_close(&changes);
    is_bench_rows[1].time[QP_PROTOCOL_HOT].seconds = times(11e-6, 12e-6, 13e-6);
    is_bench.steps[0].time.seconds = times(80e-6, 81e-6, 82e-6);
    is_bench.steps[0].wall = times(180e-6, 181e-6, 182e-6); /* the host's, which is not compared */
    compare_bench();
    ck_assert(changes.speed_counts[QP_SPEED_SLOWER] == 1 && changes.speed_counts[QP_SPEED_FASTER] == 1);
    ck_assert(!is_worse());
    for (int i = 0; i < changes.speed_count; i++) {
        if (changes.speeds[i].speed != QP_SPEED_SLOWER) continue;
        ck_assert_str_eq(changes.speeds[i].key, "decode/lm_head");
        ck_assert_str_eq(changes.speeds[i].protocol, "hot");
        ck_assert_double_eq_tol(changes.speeds[i].factor, 1.2, 1e-9);
    }
}
END_TEST

START_TEST(test_what_is_no_longer_verified_is_worse)
{
    is_bench_rows[0].verified = NULL;
    is_bench_rows[0].failed = true;
    memset(is_bench_rows[0].time, 0, sizeof is_bench_rows[0].time);
    compare_bench();
    ck_assert_int_eq(changes.counts[QP_CHANGE_NEW_FAILURE], 1);
    ck_assert(is_worse());
    qp_changes_close(&changes);
    setup_bench();
    is_bench_rows[1].extent[0] = 8; /* another shape: not the same row */
    compare_bench();
    ck_assert_int_eq(changes.counts[QP_CHANGE_GONE], 1);
    ck_assert_int_eq(changes.added, 1);
    qp_changes_close(&changes);
    setup_bench();
    is_bench.steps[0].context = 64;
    compare_bench();
    ck_assert_int_eq(changes.counts[QP_CHANGE_GONE], 1);
}
END_TEST

START_TEST(test_wrong_bits_of_a_bench_are_worse_wherever_they_are)
{
    was_bench_rows[0].verified = is_bench_rows[0].verified = NULL; /* was not verified, and is wrong now */
    is_bench_rows[0].failed = true;
    compare_bench();
    ck_assert(changes.counts[QP_CHANGE_NEW_FAILURE] == 1 && is_worse());
    qp_changes_close(&changes);
    setup_bench();
    was_bench.row_count = 1; /* a row that there was not */
    is_bench_rows[1].verified = NULL;
    is_bench_rows[1].failed = true;
    compare_bench();
    ck_assert(changes.counts[QP_CHANGE_NEW_FAILURE] == 1 && changes.added == 1 && is_worse());
}
END_TEST

START_TEST(test_no_time_that_tells_anything_is_nothing_compared)
{
    for (int i = 0; i < 2; i++) memset(is_bench_rows[i].time, 0, sizeof is_bench_rows[i].time);
    is_bench.steps[0].time.seconds.samples = 0;
    compare_bench();
    ck_assert(changes.compared == 3 && changes.speed_counts[QP_SPEED_AMBIGUOUS] == changes.speed_count);
    ck_assert_int_eq(qp_changes_judge(&changes), QP_CHANGES_NOTHING);
    qp_changes_close(&changes);
    setup_bench();
    for (int i = 0; i < 2; i++) memset(was_bench_rows[i].time, 0, sizeof was_bench_rows[i].time);
    was_bench.steps[0].time.seconds.samples = 0;
    compare_bench();
    ck_assert_int_eq(changes.speed_count, 0);
    ck_assert_int_eq(qp_changes_judge(&changes), QP_CHANGES_NOTHING);
}
END_TEST

START_TEST(test_times_of_another_machine_are_unfair)
{
    (void)snprintf(is_bench.environment.cpu, sizeof is_bench.environment.cpu, "another");
    compare_bench();
    ck_assert(changes.unfair);
    qp_changes_close(&changes);
    setup_bench();
    is_bench.model = "elsewhere/m"; /* rows are matched by their extents */
    compare_bench();
    ck_assert(changes.difference_count == 1 && !changes.unfair);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("changes");
    TCase *verify = tcase_create("verify"), *bench = tcase_create("bench");
    tcase_add_checked_fixture(verify, setup, teardown);
    tcase_add_test(verify, test_nothing_changed);
    tcase_add_test(verify, test_a_failure_is_new_or_cured);
    tcase_add_test(verify, test_a_verdict_that_changes_is_seen);
    tcase_add_test(verify, test_other_bits_are_seen_though_the_row_passes);
    tcase_add_test(verify, test_another_order_is_seen);
    tcase_add_test(verify, test_a_row_that_is_gone_is_worse_unless_something_else_was_asked_for);
    tcase_add_test(verify, test_nothing_in_common_is_nothing_compared);
    tcase_add_test(verify, test_other_surroundings_are_told);
    suite_add_tcase(suite, verify);
    tcase_add_checked_fixture(bench, setup_bench, teardown);
    tcase_add_test(bench, test_a_time_is_faster_slower_the_same_or_ambiguous);
    tcase_add_test(bench, test_times_are_compared_one_by_one);
    tcase_add_test(bench, test_what_is_no_longer_verified_is_worse);
    tcase_add_test(bench, test_wrong_bits_of_a_bench_are_worse_wherever_they_are);
    tcase_add_test(bench, test_no_time_that_tells_anything_is_nothing_compared);
    tcase_add_test(bench, test_times_of_another_machine_are_unfair);
    suite_add_tcase(suite, bench);
    return qp_check_main(suite);
}
