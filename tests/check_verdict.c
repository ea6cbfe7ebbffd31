/* The judge: nothing passes unless a condition held. Rows are made by hand, as the verifier would fill them. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "../harness/verdict.h"
#include "check_main.h"

Suite *verdict_suite(void);

/* A row of 16 x 64 elements, of which `mismatches` differ by one ulp, with errors against the oracle alike. */
static qp_row row_with(qp_mode mode, int64_t mismatches)
{
    qp_row row;
    memset(&row, 0, sizeof row);
    row.key = "p/prefill/model.norm";
    row.boundary = "model.norm";
    row.layer = -1;
    row.operation = "rms_norm";
    row.implementation = "cpu";
    row.mode = mode;
    row.verdict = QP_VERDICT_PASS; /* so that a judge that forgets to fail shows */
    row.dtype = QP_BF16;
    row.rank = 2;
    row.dim[0] = 16;
    row.dim[1] = 64;
    row.axis[0] = "token";
    row.axis[1] = "channel";
    row.comparison.elements = 1024;
    row.comparison.nonzero = 1024;
    row.comparison.mismatches = mismatches;
    row.comparison.max_ulp = mismatches ? 1.0 : 0.0;
    row.comparison.worst_count = mismatches ? 1 : 0;
    row.ours_oracle.rms = row.golden_oracle.rms = 1e-3;
    return row;
}

static void expect(qp_row row, qp_verdict verdict, const char *reason)
{
    qp_judge(&row);
    ck_assert_msg(row.verdict == verdict, "verdict %s where %s is wanted (%s)", qp_verdict_name(row.verdict),
                  qp_verdict_name(verdict), row.reason);
    if (verdict == QP_VERDICT_PASS)
        ck_assert_str_eq(row.reason, "");
    else
        ck_assert_msg(strstr(row.reason, reason) != NULL, "the reason '%s' does not hold '%s'", row.reason, reason);
}

START_TEST(test_names_are_those_of_the_reports)
{
    ck_assert_str_eq(qp_verdict_name(QP_VERDICT_FAIL), "fail");
    ck_assert_str_eq(qp_verdict_name(QP_VERDICT_UNTRUSTED), "untrusted");
    ck_assert_str_eq(qp_verdict_name(QP_VERDICT_PASS), "pass");
    ck_assert_str_eq(qp_mode_name(QP_LOCAL), "local");
    ck_assert_str_eq(qp_mode_name(QP_CARRIED), "carried");
}
END_TEST

START_TEST(test_judge_zeroed_row_fails)
{
    qp_row row;
    memset(&row, 0, sizeof row);
    expect(row, QP_VERDICT_FAIL, "no element was compared");
    row = row_with(QP_LOCAL, 0);
    row.comparison.elements = 0;
    expect(row, QP_VERDICT_FAIL, "no element was compared");
    row = row_with(QP_LOCAL, 0);
    row.comparison.elements = -1;
    expect(row, QP_VERDICT_FAIL, "no element was compared");
}
END_TEST

START_TEST(test_judge_part_of_a_tensor_fails)
{
    qp_row row = row_with(QP_LOCAL, 0);
    row.dim[0] = 17;
    expect(row, QP_VERDICT_FAIL, "1024 elements were compared, the shape holds 1088");
    row.dim[0] = INT64_MAX; /* the product overflows */
    expect(row, QP_VERDICT_FAIL, "the shape holds -1");
    row.dim[0] = 0;
    expect(row, QP_VERDICT_FAIL, "the shape holds -1");
    row.rank = QP_MAX_RANK + 1;
    expect(row, QP_VERDICT_FAIL, "the shape holds -1");
}
END_TEST

START_TEST(test_judge_exact_passes_equal_only)
{
    for (int mode = QP_LOCAL; mode <= QP_CARRIED; mode++) {
        expect(row_with((qp_mode)mode, 0), QP_VERDICT_PASS, "");
        expect(row_with((qp_mode)mode, 1), QP_VERDICT_FAIL, "1 of 1024 elements differ, at most 1 ulp");
        qp_row row = row_with((qp_mode)mode, 2);
        row.comparison.class_mismatches = row.comparison.signed_zeros = 2;
        expect(row, QP_VERDICT_FAIL, "2 in class (NaN, infinity, sign of zero)");
    }
}
END_TEST

START_TEST(test_judge_few_nonzero_elements_are_untrusted)
{
    qp_row row = row_with(QP_LOCAL, 0);
    row.comparison.nonzero = 16; /* one a row: a causal mask over a sharp softmax */
    expect(row, QP_VERDICT_PASS, "");
    row.comparison.nonzero = 15;
    expect(row, QP_VERDICT_UNTRUSTED, "only 15 of the golden's 1024 elements are not zero, in 16 rows");
    row.true_zeros = 1; /* sin(0): zero is the truth */
    expect(row, QP_VERDICT_PASS, "");
    row.true_zeros = 0;
    row.dtype = QP_I64;
    row.comparison.nonzero = 0;
    expect(row, QP_VERDICT_PASS, "");
    row = row_with(QP_LOCAL, 0); /* one element is exempt, as a scalar, too */
    row.dim[0] = row.dim[1] = row.comparison.elements = 1;
    row.comparison.nonzero = 0;
    expect(row, QP_VERDICT_PASS, "");
    row.rank = 0;
    expect(row, QP_VERDICT_PASS, "");
    row = row_with(QP_LOCAL, 1); /* a failure stays one */
    row.comparison.nonzero = 0;
    expect(row, QP_VERDICT_FAIL, "differ");
}
END_TEST

START_TEST(test_judge_golden_without_a_finite_element_is_untrusted)
{
    qp_row row = row_with(QP_LOCAL, 0);
    row.comparison.nonfinite = 1023;
    expect(row, QP_VERDICT_PASS, "");
    row.comparison.nonfinite = 1024;
    expect(row, QP_VERDICT_UNTRUSTED, "no element of the golden is finite");
}
END_TEST

START_TEST(test_position_follows_the_shape)
{
    qp_row row = row_with(QP_LOCAL, 0);
    int64_t position[QP_MAX_RANK];
    row.rank = 3;
    row.dim[0] = 5;
    row.dim[1] = 4;
    row.dim[2] = 128;
    qp_row_position(&row, (3 * 4 + 1) * 128 + 17, position);
    ck_assert_int_eq(position[0], 3);
    ck_assert_int_eq(position[1], 1);
    ck_assert_int_eq(position[2], 17);
    qp_row_position(&row, 5 * 4 * 128 - 1, position);
    ck_assert_int_eq(position[0], 4);
    ck_assert_int_eq(position[1], 3);
    ck_assert_int_eq(position[2], 127);
}
END_TEST

START_TEST(test_summary_passes_only_if_all_did)
{
    qp_row rows[3];
    const struct qp_not_compared left_out = { "p/prefill/model.norm", "no node" };
    qp_report report;
    memset(&report, 0, sizeof report);
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL); /* no row */

    rows[0] = row_with(QP_LOCAL, 0);
    rows[1] = row_with(QP_LOCAL, 3);
    rows[2] = row_with(QP_CARRIED, 40);
    for (int i = 0; i < 3; i++) qp_judge(&rows[i]);
    report.rows = rows;
    report.row_count = 3;
    report.complete = true;
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(report.summary.rows, 3);
    ck_assert_int_eq(report.summary.failed, 2);
    ck_assert_int_eq(report.summary.elements, 3072);
    ck_assert_int_eq(report.summary.mismatches, 43);
    ck_assert_int_eq(report.summary.local_mismatches, 3);
    ck_assert_int_eq(report.summary.carried_mismatches, 40);

    rows[1] = row_with(QP_LOCAL, 0);
    rows[2] = row_with(QP_CARRIED, 0);
    for (int i = 0; i < 3; i++) qp_judge(&rows[i]);
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_PASS);
    ck_assert_int_eq(report.summary.failed, 0);
    ck_assert_int_eq(report.summary.untrusted, 0);
    ck_assert_int_eq(report.summary.mismatches, 0);
    ck_assert_int_eq(report.summary.exact_rows, 3);

    report.complete = false; /* a run that did not end */
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    report.complete = true;
    static const char *const problems[] = { "a waiver that nothing needs" };
    report.problems = problems;
    report.problem_count = 1;
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    report.problem_count = 0;

    report.not_compared = &left_out;
    report.not_compared_count = 1;
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    report.only = "*q_norm*"; /* a filter excuses what it left out, not what it let through */
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    report.not_compared_count = 0;
    report.left_out = 1;
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_PASS);

    rows[1].verdict = QP_VERDICT_UNTRUSTED;
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
    ck_assert_int_eq(report.summary.untrusted, 1);
    ck_assert_int_eq(report.summary.failed, 0);
    rows[1].verdict = (qp_verdict)9; /* no verdict at all counts as a failure */
    qp_report_summarise(&report);
    ck_assert_int_eq(report.summary.failed, 1);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_FAIL);
}
END_TEST

Suite *verdict_suite(void)
{
    Suite *suite = suite_create("verdict");
    TCase *judge = tcase_create("judge");
    tcase_add_test(judge, test_names_are_those_of_the_reports);
    tcase_add_test(judge, test_judge_zeroed_row_fails);
    tcase_add_test(judge, test_judge_part_of_a_tensor_fails);
    tcase_add_test(judge, test_judge_exact_passes_equal_only);
    tcase_add_test(judge, test_judge_few_nonzero_elements_are_untrusted);
    tcase_add_test(judge, test_judge_golden_without_a_finite_element_is_untrusted);
    suite_add_tcase(suite, judge);

    TCase *summary = tcase_create("summary");
    tcase_add_test(summary, test_position_follows_the_shape);
    tcase_add_test(summary, test_summary_passes_only_if_all_did);
    suite_add_tcase(suite, summary);
    return suite;
}

int main(void) { return qp_check_main(verdict_suite()); }
