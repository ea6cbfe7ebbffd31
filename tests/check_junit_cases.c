/* reports/junit: the cases that a server for continuous integration shows. check_junit.py has the schema. */
#include <stdlib.h>

#include "../reports/reports.h"
#include "check_files.h"
#include "check_main.h"
#include "check_report_by_hand.h"

static char *text;

static void setup(void)
{
    text = NULL;
    by_hand_make();
}

static void teardown(void) { free(text); }

static void write_xml(void)
{
    ck_assert_msg(qp_report_write_junit(&report, files_path("r.xml")) == QP_OK, "%s", qp_last_error());
    free(text);
    text = files_read(files_path("r.xml"), NULL);
}

START_TEST(test_a_row_is_a_case)
{
    write_xml();
    expect_text(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"qwen3-parity\" tests=\"5\" "
                      "failures=\"2\" errors=\"0\" time=\"12.340\">");
    expect_text(text, " tests=\"5\" failures=\"2\" errors=\"0\" skipped=\"0\" time=\"12.340\" hostname=\"localhost\" "
                      "timestamp=\"20");
    expect_text(text, "<property name=\"backend\" value=\"cpu\"/>");
    expect_text(text, "<property name=\"golden\" value=\"golden/qwen3-tiny.h5\"/>");
    expect_no_text(text, "\"fault\"");
    ck_assert_int_eq(count_of(text, "<testcase "), BY_HAND_ROWS);
    expect_text(text, "<testcase classname=\"qwen3-parity.reference.carried\" "
                      "name=\"p/prefill/model.layers.2.self_attn.q_norm [carried]\" time=\"0.250000\">");
    expect_text(text,
                "<system-out>mismatches 0 / 5, max abs 0, max ulp 0, p99 ulp 0; error against fp64: ours rms 0.001, "
                "largest 0; PyTorch's rms 0.001, largest 0</system-out>");
}
END_TEST

START_TEST(test_a_failure_says_how_far_and_where)
{
    write_xml();
    expect_text(text,
                "<failure type=\"fail\" message=\"7 of 2560 elements differ, at most 2 ulp; mismatches 7 / 2560, "
                "max abs 0.015625, max ulp 2, p99 ulp 1; error against fp64: ours rms 0.001, largest 0; PyTorch's rms "
                "0.001, largest 0\">operation   rms_norm, cpu\nsum         K in parts of 64\n"
                "tensor      bf16, token 5 x head 4 x channel 128\nfp64 error  ours rms 0.001, largest 0\n"
                "            PyTorch's rms 0.001, largest 0\nworst       token 0, ");
    expect_text(text,
                "\nworst       token 0, head 1, channel 2: golden 1 (0x3f80), ours 1.015625 (0x3f82), fp64 1.00097656\n"
                "            token 4, head 3, channel 127: golden -1 (0xbf80), ours -0 (0x8000), fp64 0\n"
                "</failure>");
    expect_text(text, "\ncame in     rms 0.25, largest 0; 3 elements differ\n"
                      "added here  rms 0.5, largest 0; 0 elements differ\n");
}
END_TEST

START_TEST(test_waived_rows_are_skipped_and_untrusted_ones_fail)
{
    by_hand_gate();
    write_xml();
    expect_text(text, " tests=\"6\" failures=\"2\" errors=\"0\" skipped=\"1\" ");
    expect_text(text, "<skipped message=\"waived: known since October; 3 of 2560 elements differ, at most 2 ulp; ");
    expect_text(text, "<failure type=\"untrusted\" message=\"");
    expect_text(text, "<property name=\"gate\" value=\"ci/gate.json\"/>");
    expect_text(text,
                "<testcase classname=\"qwen3-parity.gate\" name=\"the waiver of &#39;p/prefill/lm_head&#39; is needed "
                "by no row\" time=\"0\">\n      <failure type=\"gate\" message=\"the waiver of ");
    ck_assert_int_eq(count_of(text, "<failure "), 2);
    ck_assert_int_eq(count_of(text, "<skipped "), 1);
}
END_TEST

START_TEST(test_what_was_not_compared_fails)
{
    by_hand_make_exact();
    by_hand_leave_one_out();
    write_xml();
    expect_text(text, " tests=\"6\" failures=\"1\" errors=\"0\" skipped=\"0\" ");
    expect_text(text, "<testcase classname=\"qwen3-parity.not-compared\" name=\"p/prefill/model.extra\" time=\"0\">\n"
                      "      <failure type=\"not compared\" message=\"no node of the plan writes it\"/>");
}
END_TEST

START_TEST(test_a_run_that_did_not_end_is_an_error)
{
    by_hand_end_early();
    write_xml();
    expect_text(text, " tests=\"6\" failures=\"0\" errors=\"1\" skipped=\"0\" ");
    expect_text(text, "<error type=\"incomplete\" message=\"the run did not end");
}
END_TEST

START_TEST(test_nothing_compared_is_never_green)
{
    by_hand_make_empty();
    write_xml();
    expect_text(text, " tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" ");
    expect_text(text, "name=\"nothing was compared\" time=\"0\">\n      <error type=\"empty\" ");
}
END_TEST

START_TEST(test_green_means_pass)
{
    by_hand_make_exact();
    write_xml();
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_PASS);
    expect_text(text, " tests=\"5\" failures=\"0\" errors=\"0\" skipped=\"0\" ");
    expect_no_text(text, "<failure");
    expect_no_text(text, "<error");
}
END_TEST

START_TEST(test_hostile_text_is_text)
{
    by_hand_make_hostile();
    (void)snprintf(report.environment.time, sizeof report.environment.time, "2026-11-27T00:00:00\"");
    write_xml();
    expect_no_control(text);
    ck_assert_int_eq(count_of(text, "<testcase "), BY_HAND_ROWS + 2);
    ck_assert_int_eq(count_of(text, "<b>"), 0);
    ck_assert_int_eq(count_of(text, "<!--"), 0);
    ck_assert_int_eq(count_of(text, "]]>"), 0);
    expect_no_text(text, "timestamp"); /* it has another form */
    expect_text(
        text,
        "name=\"&#39;&quot;&lt;/a&gt;&lt;b&gt;&amp;lt;]]&gt;--&gt;&lt;!--`|\xe2\x90\x8a\xe2\x90\x8d\xe2\x90\x89# *x*");
}
END_TEST

/* As many failing rows as several models have. */
START_TEST(test_many_rows_are_written_at_once)
{
    enum { MANY = 5000 };
    size_t bytes[2];
    qp_row *many = by_hand_make_many(MANY);
    const double start = files_cpu_seconds();
    for (int half = 0; half < 2; half++) {
        report.row_count = half ? MANY / 2 : MANY;
        qp_report_summarise(&report);
        ck_assert_int_eq(qp_report_write_junit(&report, files_path("r.xml")), QP_OK);
        free(files_read(files_path("r.xml"), &bytes[half]));
    }
    ck_assert_double_lt(files_cpu_seconds() - start, FILES_SLOWER);
    ck_assert_uint_lt(bytes[0], 2 * bytes[1]);
    ck_assert_uint_gt(bytes[0] + 4096, 2 * bytes[1]);
    ck_assert_uint_lt(bytes[0], 2048u * MANY);
    free(many);
}
END_TEST

START_TEST(test_a_file_that_cannot_be_written_is_io)
{
    ck_assert_int_eq(qp_report_write_junit(&report, files_path("no/such/folder.xml")), QP_IO);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "No such file"));
}
END_TEST

static Suite *junit_cases_suite(void)
{
    Suite *suite = suite_create("junit_cases");
    TCase *tcase = tcase_create("junit");
    tcase_add_unchecked_fixture(tcase, files_setup, files_teardown);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_a_row_is_a_case);
    tcase_add_test(tcase, test_a_failure_says_how_far_and_where);
    tcase_add_test(tcase, test_waived_rows_are_skipped_and_untrusted_ones_fail);
    tcase_add_test(tcase, test_what_was_not_compared_fails);
    tcase_add_test(tcase, test_a_run_that_did_not_end_is_an_error);
    tcase_add_test(tcase, test_nothing_compared_is_never_green);
    tcase_add_test(tcase, test_green_means_pass);
    tcase_add_test(tcase, test_hostile_text_is_text);
    tcase_add_test(tcase, test_many_rows_are_written_at_once);
    tcase_add_test(tcase, test_a_file_that_cannot_be_written_is_io);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) { return qp_check_main(junit_cases_suite()); }
