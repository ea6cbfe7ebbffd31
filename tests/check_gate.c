/* harness/gate: the policy is read strictly, and judges rows as it says and no others. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../harness/gate.h"
#include "check_files.h"
#include "check_main.h"

static qp_gate *gate;

static void close_gate(void)
{
    qp_gate_close(gate);
    gate = NULL;
}

static void open_gate(const char *text)
{
    close_gate();
    files_write_text("gate.json", text);
    ck_assert_msg(qp_gate_open(files_path("gate.json"), &gate) == QP_OK, "%s", qp_last_error());
}

/* ---- the file ---- */

START_TEST(test_a_policy_is_read_whole)
{
    open_gate(
        "{\"schema\": \"qwen3-parity-gate/1\", \"runs\": [{\"name\": \"one\"},"
        "{\"name\": \"two\", \"model\": \"m\", \"golden\": \"/abs/g.h5\", \"backend\": \"cuda\", \"plan\": \"fused\","
        " \"only\": \"a*\", \"fuse\": [\"x\", \"y\"], \"impl\": [\"linear=contract\"],"
        " \"bounded\": [{\"key\": \"*lm_head\", \"max_ulp\": 1, \"error_factor\": 1.5, \"reason\": \"r\"}],"
        " \"waivers\": [{\"key\": \"*q\", \"mode\": \"local\", \"reason\": \"w\", \"expires\": \"2026-12-31\"}],"
        " \"speed\": {\"baseline\": \"b.json\", \"max_slow_down\": 1.1}}]}");
    ck_assert_int_eq(qp_gate_run_count(gate), 2);
    const qp_gate_run *one = qp_gate_run_at(gate, 0), *two = qp_gate_run_at(gate, 1);
    ck_assert_str_eq(one->name, "one");
    ck_assert(!one->model && !one->golden && !one->plan && !one->baseline && one->bound_count == 0);
    char beside[700];
    (void)snprintf(beside, sizeof beside, "%s", files_path("m")); /* beside the policy */
    ck_assert_str_eq(two->model, beside);
    ck_assert_str_eq(two->golden, "/abs/g.h5");
    (void)snprintf(beside, sizeof beside, "%s", files_path("b.json"));
    ck_assert_str_eq(two->baseline, beside);
    ck_assert(two->max_slow_down == 1.1 && two->fuse_count == 2 && two->impl_count == 1);
    ck_assert(two->bounds[0].max_ulp == 1.0 && two->bounds[0].error_factor == 1.5);
    ck_assert_str_eq(two->waivers[0].expires, "2026-12-31");
}
END_TEST

START_TEST(test_a_policy_with_a_mistake_is_refused)
{
    static const struct {
        const char *runs, *word;
    } cases[] = {
        { "[]", "no run" },
        { "[{}]", "name" },
        { "[{\"name\": \"a/b\"}]", "letters" },
        { "[{\"name\": \"..\"}]", "letters" },
        { "[{\"name\": \"a\"}, {\"name\": \"a\"}]", "another run" },
        { "[{\"name\": \"a\", \"waiver\": []}]", "waiver" },
        { "[{\"name\": \"a\", \"name\": \"b\"}]", "twice" },
        { "[{\"name\": \"a\", \"golden\": \"g\"}]", "both" },
        { "[{\"name\": \"a\", \"golden_sha256\": \"abc\"}]", "64" },
        { "[{\"name\": \"a\", \"bounded\": {}}]", "list" },
        { "[{\"name\": \"a\", \"bounded\": [{\"key\": \"*\", \"max_ulp\": 1, \"error_factor\": 2}]}]", "reason" },
        { "[{\"name\": \"a\", \"bounded\": [{\"key\": \"*\", \"max_ulp\": 1, \"error_factor\": 2, \"reason\": \"\"}]}]",
          "empty" },
        { "[{\"name\": \"a\", \"bounded\": [{\"key\": \"*\", \"error_factor\": 2, \"reason\": \"r\"}]}]", "max_ulp" },
        { "[{\"name\": \"a\", \"bounded\": [{\"key\": \"*\", \"max_ulp\": \"nan\", \"error_factor\": 2, \"reason\": "
          "\"r\"}]}]",
          "max_ulp" },
        { "[{\"name\": \"a\", \"bounded\": [{\"key\": \"*\", \"max_ulp\": 1, \"error_factor\": 0.5, \"reason\": "
          "\"r\"}]}]",
          "error_factor" },
        { "[{\"name\": \"a\", \"waivers\": [{\"key\": \"*\", \"reason\": \"r\"}]}]", "expires" },
        { "[{\"name\": \"a\", \"waivers\": [{\"key\": \"*\", \"reason\": \"r\", \"expires\": \"2026-13-01\"}]}]",
          "day" },
        { "[{\"name\": \"a\", \"waivers\": [{\"key\": \"*\", \"reason\": \"r\", \"expires\": \"next year\"}]}]",
          "day" },
        { "[{\"name\": \"a\", \"waivers\": [{\"key\": \"*\", \"mode\": \"both\", \"reason\": \"r\", \"expires\": "
          "\"2026-12-01\"}]}]",
          "carried" },
        { "[{\"name\": \"a\", \"speed\": {\"max_slow_down\": 1.1}}]", "baseline" },
        { "[{\"name\": \"a\", \"speed\": {\"baseline\": \"b\", \"max_slow_down\": 0.9}}]", "between 1 and 10" },
        { "[{\"name\": \"a\", \"speed\": {\"baseline\": \"b\", \"max_slow_down\": \"inf\"}}]", "between 1 and 10" },
        { "[{\"name\": \"a\", \"golden_sha256\": null}]", "null" },
        { "[{\"name\": \"a\", \"waivers\": [{\"key\": \"*\", \"mode\": null, \"reason\": \"r\", \"expires\": "
          "\"2026-12-01\"}]}]",
          "null" },
        { "[{\"name\": \"a\", \"golden_sha256\": "
          "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015adz\"}]",
          "64" },
        { "[{\"name\": \"a\", \"speed\": {\"baseline\": \"b\"}}]", "max_slow_down" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "{\"schema\": \"qwen3-parity-gate/1\", \"runs\": %s}", cases[i].runs);
        files_write_text("bad.json", text);
        ck_assert_msg(qp_gate_open(files_path("bad.json"), &gate) == QP_FORMAT, "%s", cases[i].runs);
        ck_assert_ptr_null(gate);
        ck_assert_msg(strstr(qp_last_error(), cases[i].word) != NULL, "%s: %s", cases[i].runs, qp_last_error());
    }
    files_write_text("bad.json", "{\"schema\": \"qwen3-parity-gate/2\", \"runs\": [{\"name\": \"a\"}]}");
    ck_assert_int_eq(qp_gate_open(files_path("bad.json"), &gate), QP_FORMAT);
    ck_assert_int_eq(qp_gate_open(files_path("missing.json"), &gate), QP_IO);
}
END_TEST

START_TEST(test_the_golden_of_the_policy_is_the_only_one)
{
    open_gate("{\"schema\": \"qwen3-parity-gate/1\", \"runs\": [{\"name\": \"a\", \"golden_sha256\": "
              "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}, {\"name\": \"b\"}]}");
    const qp_gate_run *run = qp_gate_run_at(gate, 0);
    files_write_text("golden", "abc"); /* whose SHA-256 this is (FIPS 180-4) */
    ck_assert_int_eq(qp_gate_require_golden(run, files_path("golden")), QP_OK);
    files_write_text("golden", "abd");
    ck_assert_int_eq(qp_gate_require_golden(run, files_path("golden")), QP_FORMAT);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "run 'a'"));
    ck_assert_int_eq(qp_gate_require_golden(run, files_path("no golden")), QP_IO);
    ck_assert_int_eq(qp_gate_require_golden(qp_gate_run_at(gate, 1), files_path("golden")), QP_OK);
}
END_TEST

/* ---- judging ---- */

static qp_row rows[3];
static qp_report report;

/* The first row passes, the others differ by 1 and by 2 ulp, with PyTorch's error against fp64. */
static void make_rows(void)
{
    static const char *const keys[] = { "p/prefill/a.q", "p/prefill/a.k", "p/prefill/lm_head" };
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < 3; i++) {
        qp_row *row = &rows[i];
        row->key = keys[i];
        row->mode = i == 2 ? QP_CARRIED : QP_LOCAL;
        row->rank = 1;
        row->dim[0] = 8;
        row->comparison.elements = row->comparison.nonzero = 8;
        row->comparison.mismatches = i;
        row->comparison.max_ulp = i;
        row->ours_oracle.rms = row->golden_oracle.rms = row->ours_oracle.max_abs = row->golden_oracle.max_abs = 1e-3;
        qp_judge(row);
    }
    report = (qp_report){ .complete = true, .row_count = 3, .rows = rows };
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.failed, 2);
}

static qp_verdict judge(const char *rules)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"schema\": \"qwen3-parity-gate/1\", \"runs\": [{\"name\": \"a\"%s}]}", rules);
    open_gate(text);
    make_rows();
    ck_assert_int_eq(qp_gate_judge(gate, qp_gate_run_at(gate, 0), "2026-11-27", &report), QP_OK);
    return report.summary.verdict;
}

#define WAIVER(key, expires) "{\"key\": \"" key "\", \"reason\": \"known\", \"expires\": \"" expires "\"}"
#define BOUND(key, ulp, factor)                                                                                        \
    "{\"key\": \"" key "\", \"max_ulp\": " ulp ", \"error_factor\": " factor ", \"reason\": \"split K\"}"

START_TEST(test_without_rules_everything_is_exact)
{
    ck_assert_int_eq(judge(""), QP_VERDICT_FAIL);
    ck_assert_int_eq(report.summary.failed, 2);
    ck_assert(report.problem_count == 0 && report.gate != NULL);
}
END_TEST

START_TEST(test_a_waiver_covers_what_it_names_until_its_last_day)
{
    ck_assert_int_eq(judge(", \"waivers\": [" WAIVER("*a.k", "2026-11-27") "," WAIVER("*lm_head", "2027-01-01") "]"),
                     QP_VERDICT_PASS);
    ck_assert_int_eq(report.summary.waived, 2);
    ck_assert_str_eq(rows[1].excuse, "known");
    ck_assert_str_ne(rows[1].reason, ""); /* what is waived stays to be read */
    ck_assert_int_eq(rows[0].verdict, QP_VERDICT_PASS);

    ck_assert_int_eq(judge(", \"waivers\": [" WAIVER("*a.k", "2026-11-26") "," WAIVER("*lm_head", "2027-01-01") "]"),
                     QP_VERDICT_FAIL);
    ck_assert_int_eq(rows[1].verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(report.problem_count, 1);
    ck_assert_ptr_nonnull(strstr(report.problems[0], "expired on 2026-11-26"));
}
END_TEST

START_TEST(test_a_waiver_that_no_row_needs_is_a_problem)
{
    static const char *const useless[] = { "*a.q", "*a.v" }; /* passes; is not there */
    for (int i = 0; i < 2; i++) {
        char rules[512];
        (void)snprintf(
            rules, sizeof rules,
            ", \"waivers\": [" WAIVER("*a.k", "2027-01-01") "," WAIVER(
                "*lm_head", "2027-01-01") ","
                                          "{\"key\": \"%s\", \"reason\": \"old\", \"expires\": \"2027-01-01\"}]",
            useless[i]);
        ck_assert_int_eq(judge(rules), QP_VERDICT_FAIL);
        ck_assert(report.summary.failed == 0 && report.problem_count == 1);
        ck_assert_ptr_nonnull(strstr(report.problems[0], useless[i]));
    }
}
END_TEST

START_TEST(test_a_waiver_covers_no_violation)
{
    open_gate("{\"schema\": \"qwen3-parity-gate/1\", \"runs\": [{\"name\": \"a\", \"waivers\": [" WAIVER(
        "*", "2027-01-01") "]}]}");
    make_rows();
    rows[1].violation = "it wrote behind its output";
    rows[2].comparison.elements = 0;
    for (int i = 0; i < 3; i++) qp_judge(&rows[i]);
    ck_assert_int_eq(qp_gate_judge(gate, qp_gate_run_at(gate, 0), "2026-11-27", &report), QP_OK);
    ck_assert_int_eq(rows[1].verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(rows[2].verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(report.problem_count, 1); /* so nothing needs it */
}
END_TEST

START_TEST(test_modes_are_told_apart)
{
    static const char rules[] = ", \"waivers\": [{\"key\": \"*\", \"mode\": \"carried\", \"reason\": \"known\", "
                                "\"expires\": \"2027-01-01\"}]";
    ck_assert_int_eq(judge(rules), QP_VERDICT_FAIL);
    ck_assert_int_eq(rows[1].verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(rows[2].verdict, QP_VERDICT_WAIVED);
}
END_TEST

START_TEST(test_a_bound_admits_what_is_within_it)
{
    ck_assert_int_eq(judge(", \"bounded\": [" BOUND("*", "2", "1") "]"), QP_VERDICT_PASS);
    ck_assert_int_eq(report.summary.exact_rows, 1);
    ck_assert_int_eq(report.summary.bounded, 2);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(rows[i].gate, QP_GATE_BOUNDED);
        ck_assert_str_eq(rows[i].excuse, "split K");
        ck_assert_str_eq(rows[i].reason, "");
    }
    ck_assert_int_eq(judge(", \"bounded\": [" BOUND("*", "1", "1") "]"), QP_VERDICT_FAIL);
    ck_assert_int_eq(rows[1].verdict, QP_VERDICT_PASS);
    ck_assert_int_eq(rows[2].verdict, QP_VERDICT_FAIL);
    ck_assert_ptr_nonnull(strstr(rows[2].reason, "over the bound"));
    ck_assert_int_eq(judge(", \"bounded\": [" BOUND("*a.k", "9", "1") "," BOUND("*nowhere", "9", "1") "]"),
                     QP_VERDICT_FAIL);
    ck_assert_int_eq(report.problem_count, 1);
    ck_assert_ptr_nonnull(strstr(report.problems[0], "*nowhere"));
}
END_TEST

START_TEST(test_no_bound_covers_what_is_not_small)
{
    static const char *const flaws[] = { "a NaN",      "a larger error",    "a larger largest error", "a violation",
                                         "no element", "another shape",     "an error that is NaN",   "zeros",
                                         "a token",    "no error compared", "errors without end" };
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        make_rows();
        qp_row *row = &rows[1];
        row->verdict = QP_VERDICT_FAIL;
        if (i == 0) row->comparison.class_mismatches = 1;
        if (i == 1) row->ours_oracle.rms = 1.1e-3;
        if (i == 2) row->ours_oracle.max_abs = 1.1e-3;
        if (i == 3) row->violation = "it wrote behind its output";
        if (i == 4) row->comparison.elements = 0;
        if (i == 5) row->dim[0] = 9;
        if (i == 6) row->ours_oracle.rms = (double)NAN;
        if (i == 7) row->comparison.nonzero = 0;
        if (i == 8) row->dtype = QP_I64;
        if (i == 9) row->ours_oracle = row->golden_oracle = (qp_error){ 0.0, 0.0, 8 };
        if (i == 10) row->ours_oracle.rms = row->golden_oracle.rms = (double)INFINITY;
        qp_judge_bounded(row, 5.0, 1.0);
        ck_assert_msg(row->verdict == (i == 7 ? QP_VERDICT_UNTRUSTED : QP_VERDICT_FAIL), "%s passes", flaws[i]);
        ck_assert_str_ne(row->reason, "");
    }
    make_rows(); /* and without a flaw it does cover it */
    qp_judge_bounded(&rows[1], 5.0, 1.0);
    ck_assert_int_eq(rows[1].verdict, QP_VERDICT_PASS);
}
END_TEST

START_TEST(test_today_is_a_day)
{
    char today[11];
    qp_gate_today(today);
    ck_assert_uint_eq(strlen(today), 10);
    ck_assert(strcmp(today, "2026-01-01") > 0 && strcmp(today, "2999-12-31") < 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *file = tcase_create("file"), *judging = tcase_create("judging");
    tcase_add_unchecked_fixture(file, files_setup, files_teardown);
    tcase_add_checked_fixture(file, NULL, close_gate);
    tcase_add_test(file, test_a_policy_is_read_whole);
    tcase_add_test(file, test_a_policy_with_a_mistake_is_refused);
    tcase_add_test(file, test_the_golden_of_the_policy_is_the_only_one);
    suite_add_tcase(suite, file);
    tcase_add_unchecked_fixture(judging, files_setup, files_teardown);
    tcase_add_checked_fixture(judging, NULL, close_gate);
    tcase_add_test(judging, test_without_rules_everything_is_exact);
    tcase_add_test(judging, test_a_waiver_covers_what_it_names_until_its_last_day);
    tcase_add_test(judging, test_a_waiver_that_no_row_needs_is_a_problem);
    tcase_add_test(judging, test_a_waiver_covers_no_violation);
    tcase_add_test(judging, test_modes_are_told_apart);
    tcase_add_test(judging, test_a_bound_admits_what_is_within_it);
    tcase_add_test(judging, test_no_bound_covers_what_is_not_small);
    tcase_add_test(judging, test_today_is_a_day);
    suite_add_tcase(suite, judging);
    return qp_check_main(suite);
}
