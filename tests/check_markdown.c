/* reports/markdown: the summary for a merge request. */
#include <stdlib.h>
#include <string.h>

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

static void write_page(void)
{
    ck_assert_msg(qp_report_write_markdown(&report, files_path("r.md")) == QP_OK, "%s", qp_last_error());
    free(text);
    text = files_read(files_path("r.md"), NULL);
}

static void expect_start(const char *start) { ck_assert_msg(!strncmp(text, start, strlen(start)), "%s", text); }

START_TEST(test_the_verdict_comes_first)
{
    write_page();
    expect_start("## \xE2\x9D\x8C FAIL: 2 of 5 rows did not pass\n\nours <code>CPU, portable</code>, backend "
                 "<code>cpu</code>, plan <code>reference</code>; golden <code>golden/qwen3-tiny.h5</code>; model "
                 "<code>golden/qwen3-tiny</code>\n\n5 rows, 3 exact, 2 failed, 0 untrusted, 0 waived; 10,245 elements, "
                 "mismatches: 7 local, 3 carried; golden tensors: 0 not compared, 0 inside fused nodes, 0 left out by "
                 "`--only`; 12.3 s\n");
    by_hand_make_exact();
    write_page();
    expect_start("## \xE2\x9C\x85 PASS: 5 of 5 rows passed\n\n");
    expect_no_text(text, "FAIL");
    expect_no_text(text, "Start here");
}
END_TEST

START_TEST(test_the_guilty_kernel_is_where_to_start)
{
    write_page(); /* the carried row comes before it */
    expect_text(text,
                "\n**Start here**, the first kernel that differs on PyTorch's own inputs: "
                "<code>p/prefill/model.layers.20.self_attn.q_norm</code> \\[local\\], <code>rms_norm</code> / "
                "<code>cpu</code>: 7 of 2560 elements differ, at most 2 ulp; worst at token 0, head 1, channel 2: "
                "golden 1 (`0x3f80`), ours 1.015625 (`0x3f82`), fp64 1.00097656\n");
    rows[2].verdict = QP_VERDICT_PASS;
    write_page();
    expect_text(text, "\n**Start here**, the first row that failed; no kernel alone did, on PyTorch's own inputs: "
                      "<code>p/prefill/model.layers.2.self_attn.q_norm</code> \\[carried\\], ");
    rows[1].verdict = QP_VERDICT_UNTRUSTED;
    write_page();
    expect_text(text, "\n**Start here**, the first row whose golden shows too little: ");
}
END_TEST

START_TEST(test_rows_that_did_not_pass_are_a_table)
{
    write_page();
    expect_text(text, "\n| key | mode | operation / implementation | differ | max ulp | max abs | verdict |\n"
                      "|---|---|---|--:|--:|--:|---|\n"
                      "| <code>p/prefill/model.layers.2.self_attn.q_norm</code> | carried | <code>rms_norm</code> / "
                      "<code>cpu</code> | 3 / 2,560 | 2 | 0 | FAIL: 3 of 2560 elements differ, at most 2 ulp |\n"
                      "| <code>p/prefill/model.layers.20.self_attn.q_norm</code> | local | ");
    expect_no_text(text, " more rows");
    ck_assert_int_eq(count_of(text, "\n| <code>p/prefill/"), 2);
}
END_TEST

START_TEST(test_boundaries_are_folded_away)
{
    write_page(); /* the worst of its rows is a boundary's verdict */
    expect_text(text, "q_norm</code> | 3 | 7680 | 7 | 2 | 1.0e-03 | 1.0e-03 | 3 | 2.5e-01 | 5.0e-01 | FAIL |\n");
    expect_text(text,
                "\n| <code>model.layers.\\*</code> | 1 | 2560 | 0 | 0 | 1.0e-03 | 1.0e-03 | - | - | - | pass |\n");
    by_hand_make_exact();
    write_page();
    expect_text(text, "\n<details><summary>All boundaries: 3</summary>\n\n| boundary | rows |");
    expect_text(text, "\n| <code>model.layers.\\*.self_attn.q_norm</code> | 3 | 7680 | 0 | 2 | 1.0e-03 | 1.0e-03 | 0 | "
                      "2.5e-01 | 5.0e-01 | pass |\n");
    expect_text(text, "\n| <code>next_token</code> | 1 | 5 | 0 | 0 | 1.0e-03 | 1.0e-03 | - | - | - | pass |\n");
    ck_assert_int_eq(count_of(text, "<details>"), count_of(text, "\n\n</details>\n"));
}
END_TEST

START_TEST(test_the_gate_and_what_was_not_compared_are_told)
{
    by_hand_gate();
    by_hand_leave_one_out();
    write_page();
    expect_start("## \xE2\x9D\x8C FAIL: 1 of 5 rows did not pass, waived: 1, golden tensors not compared: 1, "
                 "problems of the gate: 1\n");
    expect_text(text, "; gate <code>ci/gate.json</code>\n");
    expect_text(text, "\n**The gate**\n\n- <code>the waiver of 'p/prefill/lm_head' is needed by no row</code>\n");
    expect_text(text, "\n**Not compared**\n\n- <code>p/prefill/model.extra</code>: no node of the plan writes it\n");
    expect_text(text, "\n<details><summary>Waived rows: 1</summary>\n\n| key |");
    expect_text(text, " | waived: known since October |\n");
    expect_text(text, " | untrusted: 7 of 2560");
}
END_TEST

START_TEST(test_nothing_compared_and_no_end_do_not_look_like_success)
{
    by_hand_make_empty();
    write_page();
    expect_start("## \xE2\x9D\x8C FAIL: nothing was compared\n");
    expect_no_text(text, "PASS");
    by_hand_make();
    by_hand_end_early();
    write_page();
    expect_start("## \xE2\x9D\x8C FAIL: 5 of 5 rows passed, the run did not end\n");
}
END_TEST

/* As many lines, tables and cells as with harmless text, and nothing that is markup outside of ours. */
START_TEST(test_hostile_text_is_text)
{
    by_hand_make_hostile();
    write_page();
    expect_no_control(text);
    expect_no_text(text, "<b>&lt;");
    expect_no_text(text, "</a>");
    expect_no_text(text, "<!--");
    expect_no_text(text, "@");
    ck_assert_int_eq(count_of(text, "`"), 2 * (1 + 2) + count_of(text, "\\`")); /* --only, and the bits of the worst */
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        int cells = -1;
        if (*line != '|') continue;
        for (const char *c = line; *c != '\n'; c++) cells += *c == '|';
        ck_assert_msg(cells == 7 || cells == 11, "%d cells in: %s", cells, line);
    }
    ck_assert_int_eq(count_of(text, "\n|"), 2 + 1 + 2 + 1 + 2 + 1); /* failed, waived, the one boundary */
}
END_TEST

/* What compare says of hostile reports. */
START_TEST(test_what_changed_is_told_as_text)
{
    qp_report was;
    qp_row was_rows[BY_HAND_ROWS];
    qp_changes changes;
    char *printed = NULL;
    size_t bytes = 0;
    by_hand_make_hostile();
    memcpy(was_rows, rows, sizeof was_rows);
    was = report;
    was.rows = was_rows;
    was.environment.compiler = was.only = "other";
    for (int i = 0; i < BY_HAND_ROWS; i++) was_rows[i].verdict = QP_VERDICT_PASS;
    ck_assert_int_eq(qp_changes_of_verify(&was, &report, &changes), QP_OK);
    ck_assert_int_gt(changes.counts[QP_CHANGE_NEW_FAILURE], 0);
    ck_assert_int_eq(qp_changes_write_markdown(&changes, files_path("r.md")), QP_OK);
    text = files_read(files_path("r.md"), NULL);
    expect_start("### qwen3-parity compare: WORSE\n");
    for (const char *c = text; *c; c++) ck_assert((unsigned char)*c >= ' ' || *c == '\n');
    expect_no_text(text, "</a>");
    expect_no_text(text, "\xff");
    for (const char *c = strstr(text, "\n| failing now |"); c; c = strstr(c + 1, "\n| failing now |")) {
        int cells = 0; /* a line of five */
        for (const char *bar = c + 1; *bar != '\n'; bar++) cells += *bar == '|';
        ck_assert_int_eq(cells, 6);
    }
    FILE *stream = open_memstream(&printed, &bytes);
    qp_changes_print(&changes, (qp_terminal_style){ .color = false }, stream);
    ck_assert_int_eq(fclose(stream), 0);
    for (const char *c = printed; *c; c++) ck_assert((unsigned char)*c >= ' ' || *c == '\n');
    expect_text(printed, "failing now");
    free(printed);
    qp_changes_close(&changes);
}
END_TEST

/* The most that there can be: all lists full, of long texts of letters that become longest. */
START_TEST(test_the_page_is_far_below_githubs_limit)
{
    enum { MANY = 5000, LONG = 4000 };
    static char long_text[LONG];
    static struct qp_not_compared left_out[MANY];
    static const char *problems[MANY];
    size_t bytes = 0;
    char(*names)[QP_NAME_MAX] = malloc(MANY * sizeof *names);
    qp_row *many = malloc(MANY * sizeof *many);
    ck_assert(names && many);
    memset(long_text, '#', LONG - 1);
    for (int i = 0; i < MANY; i++) {
        memset(names[i], '@', QP_NAME_MAX);
        (void)snprintf(names[i] + QP_NAME_MAX - 6, 6, "%05d", i);
        many[i] = rows[2];
        many[i].boundary = names[i];
        many[i].layer = -1;
        many[i].key = many[i].operation = many[i].implementation = many[i].excuse = long_text;
        memset(many[i].reason, '@', sizeof many[i].reason - 1);
        many[i].verdict = i % 2 ? QP_VERDICT_FAIL : QP_VERDICT_WAIVED;
        left_out[i] = (struct qp_not_compared){ long_text, long_text };
        problems[i] = long_text;
    }
    report.rows = many;
    report.not_compared = left_out;
    report.problems = problems;
    report.row_count = report.not_compared_count = report.problem_count = MANY;
    qp_report_summarise(&report);
    const double start = files_cpu_seconds();
    write_page();
    ck_assert_double_lt(files_cpu_seconds() - start, FILES_SLOWER);
    free(files_read(files_path("r.md"), &bytes));
    ck_assert_uint_lt(bytes, 900u * 1024);
    expect_text(text, "\nand 2,480 more rows that did not pass; `--json FILE` has all of them\n");
    expect_text(text, "\nand 2,480 more waived rows; ");
    expect_text(text, "\nand 4,980 more problems; ");
    expect_text(text, "\nand 4,980 more tensors; ");
    expect_text(text, "\nand 4,900 more boundaries; ");
    free(many);
    free(names);
}
END_TEST

START_TEST(test_appending_keeps_what_is_there)
{
    write_page();
    files_remove("s.md");
    ck_assert_int_eq(qp_report_append_markdown(&report, files_path("s.md")), QP_OK); /* makes the file */
    char *made = files_read(files_path("s.md"), NULL);
    ck_assert_str_eq(made, text);
    free(made);
    files_write_text("s.md", "before");
    ck_assert_int_eq(qp_report_append_markdown(&report, files_path("s.md")), QP_OK);
    ck_assert_int_eq(qp_report_append_markdown(&report, files_path("s.md")), QP_OK);
    made = files_read(files_path("s.md"), NULL);
    ck_assert_int_eq(strncmp(made, "before\n\n## ", 11), 0);
    ck_assert_int_eq(strncmp(made + 8, text, strlen(text)), 0);
    ck_assert_str_eq(made + 8 + strlen(text) + 2, text);
    free(made);
}
END_TEST

START_TEST(test_a_file_that_cannot_be_written_is_io)
{
    ck_assert_int_eq(qp_report_write_markdown(&report, files_path("no/such/folder.md")), QP_IO);
    ck_assert_int_eq(qp_report_append_markdown(&report, files_path("no/such/folder.md")), QP_IO);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "No such file"));
    ck_assert_int_eq(qp_report_append_markdown(&report, "/dev/full"), QP_IO);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "No space left"));
}
END_TEST

static Suite *markdown_suite(void)
{
    Suite *suite = suite_create("markdown");
    TCase *tcase = tcase_create("markdown");
    tcase_add_unchecked_fixture(tcase, files_setup, files_teardown);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_the_verdict_comes_first);
    tcase_add_test(tcase, test_the_guilty_kernel_is_where_to_start);
    tcase_add_test(tcase, test_rows_that_did_not_pass_are_a_table);
    tcase_add_test(tcase, test_boundaries_are_folded_away);
    tcase_add_test(tcase, test_the_gate_and_what_was_not_compared_are_told);
    tcase_add_test(tcase, test_nothing_compared_and_no_end_do_not_look_like_success);
    tcase_add_test(tcase, test_hostile_text_is_text);
    tcase_add_test(tcase, test_what_changed_is_told_as_text);
    tcase_add_test(tcase, test_the_page_is_far_below_githubs_limit);
    tcase_add_test(tcase, test_appending_keeps_what_is_there);
    tcase_add_test(tcase, test_a_file_that_cannot_be_written_is_io);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) { return qp_check_main(markdown_suite()); }
