/* reports/read and journal: a report comes back from its file as it was, and a file that is no report is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/bench.h"
#include "../harness/verify.h"
#include "../reports/journal.h"
#include "../reports/read.h"
#include "../reports/reports.h"
#include "check_files.h"
#include "check_main.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_model model;
static qp_runtime runtime;
static qp_golden *golden;
static qp_saved_report saved;

static void open_all(void)
{
    files_setup();
    ck_assert_msg(qp_model_open(MODEL, &model) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_runtime_open(&model, QP_CPU, &runtime), QP_OK);
    ck_assert_int_eq(qp_golden_open(GOLDEN, &golden), QP_OK);
}

static void close_all(void)
{
    qp_golden_close(golden);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
    files_teardown();
}

/* One prompt with a planted fault: rows that pass and rows that fail, integers, inside fused nodes if they are. */
static void verify(qp_fusions fusions, const char *fault, qp_row_sink sink, void *context, qp_report *report)
{
    qp_verify_options options = { .model_path = MODEL,
                                  .golden_path = GOLDEN,
                                  .selection = { .backend = QP_CPU },
                                  .fusions = fusions,
                                  .only = "aistonia/decode.00[01]/*",
                                  .sink = sink,
                                  .sink_context = context };
    ck_assert_int_eq(qp_selection_plant(&options.selection, fault), QP_OK);
    ck_assert_msg(qp_verify(&runtime, golden, &options, report) == QP_OK, "%s", qp_last_error());
}

static char *path_of(const char *name)
{
    char *path = strdup(files_path(name));
    ck_assert_ptr_nonnull(path);
    return path;
}

static void expect_same_files(const char *a, const char *b)
{
    size_t a_bytes = 0, b_bytes = 0;
    char *a_text = files_read(a, &a_bytes), *b_text = files_read(b, &b_bytes);
    ck_assert_uint_eq(a_bytes, b_bytes);
    ck_assert(memcmp(a_text, b_text, a_bytes) == 0);
    free(a_text);
    free(b_text);
}

START_TEST(test_a_report_of_verify_is_the_same_when_written_again)
{
    char *first = path_of("first.json"), *second = path_of("second.json");
    static const struct {
        qp_fusions fusions;
        const char *fault;
    } runs[] = { { 0, "weight-before-cast" }, { QP_FUSE_ALL, "fused-weight-before-cast" } };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        qp_report report;
        verify(runs[i].fusions, runs[i].fault, NULL, NULL, &report);
        static const char *const problems[] = { "a waiver \"that\" nothing needs" };
        report.gate = "a gate";
        report.problems = problems;
        report.problem_count = 1;
        report.rows[0].verdict = QP_VERDICT_WAIVED;
        report.rows[0].excuse = "known";
        report.rows[1].gate = QP_GATE_BOUNDED;
        report.rows[2].comparison.max_ulp = 1.8446744073709552e19;
        report.left_out = INT64_C(9007199254740993); /* no double */
        qp_report_summarise(&report);
        ck_assert_int_gt(report.summary.failed, 0);
        ck_assert(i == 0 || report.inside_fused_count > 0);
        ck_assert_int_eq(qp_report_write_json(&report, first), QP_OK);
        ck_assert_msg(qp_saved_report_open(first, &saved) == QP_OK, "%s", qp_last_error());
        ck_assert(!saved.is_bench && saved.verify.complete);
        ck_assert_int_eq(saved.verify.row_count, report.row_count);
        ck_assert_int_eq(saved.verify.rows[0].layer, report.rows[0].layer);
        ck_assert_str_eq(saved.verify.rows[40].boundary, report.rows[40].boundary);
        ck_assert_int_eq(saved.verify.rows[40].layer, report.rows[40].layer);
        ck_assert_int_eq(qp_report_write_json(&saved.verify, second), QP_OK);
        expect_same_files(first, second);
        qp_saved_report_close(&saved);
        qp_report_close(&report);
    }
    free(first);
    free(second);
}
END_TEST

START_TEST(test_a_report_of_bench_is_the_same_when_written_again)
{
    char *first = path_of("first.json"), *second = path_of("second.json");
    qp_bench_report report;
    const qp_bench_options options = { .model = MODEL,
                                       .golden_path = GOLDEN,
                                       .selection = { .backend = QP_CPU },
                                       .only = "model.layers.*",
                                       .prefill = true,
                                       .decode = true,
                                       .prefill_tokens = -1,
                                       .context = -1,
                                       .samples = 1 };
    ck_assert_msg(qp_bench(&runtime, golden, &options, &report) == QP_OK, "%s", qp_last_error());
    qp_host_close(&report.host); /* which is not read */
    report.rows[1].time[QP_PROTOCOL_HOT] = (qp_time){ .why = "it was too hot" };
    ck_assert_int_gt(report.node_count, 0);
    ck_assert_int_eq(qp_bench_write_json(&report, first), QP_OK);
    ck_assert_msg(qp_saved_report_open(first, &saved) == QP_OK, "%s", qp_last_error());
    ck_assert(saved.is_bench);
    ck_assert_int_eq(saved.bench.row_count, report.row_count);
    ck_assert_int_eq(saved.bench.node_count, report.node_count);
    ck_assert_int_eq(saved.bench.verified, report.verified);
    ck_assert_int_eq(qp_bench_write_json(&saved.bench, second), QP_OK);
    expect_same_files(first, second);
    qp_saved_report_close(&saved);
    qp_bench_close(&report);
    free(first);
    free(second);
}
END_TEST

/* ---- a run that does not end ---- */

static int rows_before_the_crash;

static qp_status add_and_crash(void *context, const qp_report *report, const qp_row *row)
{
    QP_TRY(qp_journal_add(context, report, row));
    return --rows_before_the_crash > 0 ? QP_OK : qp_fail(QP_DEVICE, "the device is gone");
}

START_TEST(test_a_journal_keeps_the_rows_of_a_run_that_did_not_end)
{
    qp_journal journal;
    qp_report report;
    qp_verify_options options = { .model_path = MODEL,
                                  .golden_path = GOLDEN,
                                  .selection = { .backend = QP_CPU },
                                  .sink = add_and_crash,
                                  .sink_context = &journal };
    rows_before_the_crash = 100;
    ck_assert_int_eq(qp_journal_open(files_path("report.json"), &journal), QP_OK);
    ck_assert_int_eq(qp_verify(&runtime, golden, &options, &report), QP_DEVICE);
    char *path = strdup(journal.path);
    ck_assert_str_eq(path + strlen(path) - 22, "report.json.rows.jsonl");
    qp_journal_close(&journal, false);

    ck_assert_msg(qp_saved_report_open(path, &saved) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(saved.verify.row_count, 100);
    ck_assert(!saved.verify.complete);
    ck_assert_int_eq(saved.verify.summary.failed, 0);
    ck_assert_int_eq(saved.verify.summary.verdict, QP_VERDICT_FAIL);
    ck_assert_str_eq(saved.verify.golden.path, GOLDEN);
    ck_assert_ptr_nonnull(qp_golden_fact(&saved.verify.golden, "torch_version"));
    qp_saved_report_close(&saved);

    /* The last line torn in the middle: the others count. */
    size_t bytes = 0;
    char *text = files_read(path, &bytes);
    files_write("torn.jsonl", text, bytes - 20);
    ck_assert_msg(qp_saved_report_open(files_path("torn.jsonl"), &saved) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(saved.verify.row_count, 99);
    qp_saved_report_close(&saved);
    /* A line in the middle that is none: refused. */
    memset(strchr(text, '\n') + 5, '!', 3);
    files_write("broken.jsonl", text, bytes);
    ck_assert_int_eq(qp_saved_report_open(files_path("broken.jsonl"), &saved), QP_FORMAT);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "row 1 of "));
    free(text);
    free(path);
}
END_TEST

static int keeps_before_the_crash;

static qp_status keep_and_crash(void *path, const qp_bench_report *report)
{
    QP_TRY(qp_bench_write_json(report, path));
    return --keeps_before_the_crash > 0 ? QP_OK : qp_fail(QP_DEVICE, "the device is gone");
}

START_TEST(test_a_bench_that_did_not_end_keeps_its_rows)
{
    char *path = path_of("partial.json");
    qp_bench_report report;
    const qp_bench_options options = { .model = MODEL,
                                       .selection = { .backend = QP_CPU },
                                       .only = "model.layers.*proj",
                                       .decode = true,
                                       .prefill_tokens = -1,
                                       .context = 8,
                                       .samples = 1,
                                       .sink = keep_and_crash,
                                       .sink_context = path };
    keeps_before_the_crash = 2;
    ck_assert_int_eq(qp_bench(&runtime, NULL, &options, &report), QP_DEVICE);
    ck_assert_msg(qp_saved_report_open(path, &saved) == QP_OK, "%s", qp_last_error());
    ck_assert(saved.is_bench && !saved.bench.complete);
    ck_assert_int_eq(saved.bench.verified, 2);
    ck_assert_ptr_null(saved.bench.rows[0].time[QP_PROTOCOL_COLD].why);
    ck_assert_ptr_nonnull(saved.bench.rows[0].time[QP_PROTOCOL_IN_MODEL].why);
    qp_saved_report_close(&saved);
    free(path);
}
END_TEST

/* Two runs with one path: the second is refused, and the first one's rows stay. */
START_TEST(test_a_journal_is_of_one_run)
{
    qp_journal first, second;
    ck_assert_int_eq(qp_journal_open(files_path("report.json"), &first), QP_OK);
    ck_assert_int_eq(qp_journal_open(files_path("report.json"), &second), QP_IO);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "another run"));
    qp_journal_close(&first, false);
    ck_assert_int_eq(access(files_path("report.json.rows.jsonl"), F_OK), -1); /* there was no row */
    ck_assert_int_eq(qp_journal_open(files_path("report.json"), &second), QP_OK);
    qp_journal_close(&second, false);
}
END_TEST

START_TEST(test_a_journal_goes_when_the_report_is_there)
{
    qp_journal journal;
    qp_report report;
    ck_assert_int_eq(qp_journal_open(files_path("report.json"), &journal), QP_OK);
    verify(0, "weight-before-cast", qp_journal_add, &journal, &report);
    FILE *there = fopen(journal.path, "r");
    ck_assert_ptr_nonnull(there);
    (void)fclose(there);
    char *path = strdup(journal.path);
    qp_journal_close(&journal, true);
    ck_assert_ptr_null(fopen(path, "r"));
    free(path);
    qp_report_close(&report);

    ck_assert_int_eq(qp_journal_open(files_path("no/such/folder.json"), &journal), QP_IO);
}
END_TEST

/* ---- files that are no report ---- */

static void expect_refused(const char *text, const char *word)
{
    files_write_text("bad.json", text);
    ck_assert_int_eq(qp_saved_report_open(files_path("bad.json"), &saved), QP_FORMAT);
    ck_assert_msg(strstr(qp_last_error(), word) != NULL, "no '%s' in: %s", word, qp_last_error());
    ck_assert(saved.document_count == 0 && saved.verify.rows == NULL && saved.bench.rows == NULL);
}

START_TEST(test_what_is_no_report_is_refused)
{
    expect_refused("{}", "no report that this program reads");
    expect_refused("[1, 2]", "no report that this program reads");
    expect_refused("{\"schema\": \"qwen3-parity-verify/1\"}", "qwen3-parity-verify/1");
    expect_refused("{\"schema\": \"qwen3-parity-verify/2\"}", "environment");
    expect_refused("{\"schema\": \"qwen3-parity-bench/2\"}", "environment");
    expect_refused("no JSON", "JSON");
    ck_assert_int_eq(qp_saved_report_open(files_path("missing.json"), &saved), QP_IO);
}
END_TEST

/* Each text in turn replaced by another: a mistake in any member is found or does no harm, and never crashes. */
START_TEST(test_damaged_reports_do_no_harm)
{
    static const char *const damages[][2] = {
        { "\"local\"", "\"remote\"" },
        { "\"exact\"", "\"loose\"" },
        { "\"fail\"", "\"fine\"" },
        { "\"bf16\"", "\"fp8\"" },
        { "\"rows\"", "\"lines\"" },
        { "\"axes\":", "\"axles\":" },
        { "\"golden_bits\"", "\"bits\"" },
        { "\"0x", "\"0y" },
        { "aistonia/decode.000/", "" },
        { "\"elements\":", "\"elephants\":" },
        { "\"elements\":\t", "\"elements\":\t-" },
        { "\"mismatches\":\t", "\"mismatches\":\t9" },
        { "\"nonzero\":\t", "\"nonzero\":\t-" },
        { "\"index\":\t", "\"index\":\t-1" },
        { "\"seconds\":\t", "\"seconds\":\t-" },
        { "\"elements\":\t", "\"elements\":\t-" },
        { "\"mismatches\":\t", "\"mismatches\":\t9" },
        { "\"nonzero\":\t", "\"nonzero\":\t-" },
        { "\"index\":\t", "\"index\":\t-1" },
        { "\"seconds\":\t", "\"seconds\":\t-" },
        { "\"summary\":", "\"sum\":" },
        { "\"rms\":", "\"ram\":" },
    };
    qp_report report;
    verify(0, "weight-before-cast", NULL, NULL, &report);
    ck_assert_int_eq(qp_report_write_json(&report, files_path("whole.json")), QP_OK);
    char *whole = files_read(files_path("whole.json"), NULL);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const char *at = strstr(strstr(whole, "\"rows\":"), damages[i][0]);
        ck_assert_msg(at != NULL, "%s", damages[i][0]);
        char *text = malloc(strlen(whole) + 32);
        ck_assert_ptr_nonnull(text);
        (void)sprintf(text, "%.*s%s%s", (int)(at - whole), whole, damages[i][1], at + strlen(damages[i][0]));
        files_write_text("damaged.json", text);
        const qp_status status = qp_saved_report_open(files_path("damaged.json"), &saved);
        const bool unread = !strcmp(damages[i][0], "\"summary\":"); /* it is counted anew */
        ck_assert_msg(status == (unread ? QP_OK : QP_FORMAT), "%s: %d", damages[i][0], status);
        if (status == QP_OK) ck_assert_int_eq(saved.verify.summary.failed, report.summary.failed);
        qp_saved_report_close(&saved);
        free(text);
    }
    free(whole);
    qp_report_close(&report);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("read");
    TCase *tcase = tcase_create("read");
    tcase_set_timeout(tcase, 120);
    tcase_add_unchecked_fixture(tcase, open_all, close_all);
    tcase_add_test(tcase, test_a_report_of_verify_is_the_same_when_written_again);
    tcase_add_test(tcase, test_a_report_of_bench_is_the_same_when_written_again);
    tcase_add_test(tcase, test_a_journal_keeps_the_rows_of_a_run_that_did_not_end);
    tcase_add_test(tcase, test_a_bench_that_did_not_end_keeps_its_rows);
    tcase_add_test(tcase, test_a_journal_is_of_one_run);
    tcase_add_test(tcase, test_a_journal_goes_when_the_report_is_there);
    tcase_add_test(tcase, test_what_is_no_report_is_refused);
    tcase_add_test(tcase, test_damaged_reports_do_no_harm);
    suite_add_tcase(suite, tcase);
    return qp_check_main(suite);
}
