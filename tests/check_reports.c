/* The writers: that what the verifier found is what stands on the page and in the file. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../model/json.h"
#include "../reports/reports.h"
#include "check_files.h"
#include "check_main.h"
#include "check_report_by_hand.h"

Suite *reports_suite(void);

static char folder[64], json_path[96];

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/qp-check-reports-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(json_path, sizeof json_path, "%s/report.json", folder);
    by_hand_make();
}

static void teardown(void)
{
    (void)unlink(json_path);
    (void)rmdir(folder);
}

static char *print(bool color, bool every_row)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    ck_assert_ptr_nonnull(stream);
    const qp_terminal_style style = { color, every_row };
    qp_report_print(&report, style, stream);
    ck_assert_int_eq(fclose(stream), 0);
    ck_assert_ptr_nonnull(text);
    return text;
}

/* ---- terminal ---- */

START_TEST(test_terminal_has_one_line_a_boundary)
{
    char *text = print(false, false);
    expect_text(text, "model   golden/qwen3-tiny\n");
    expect_text(text, "backend cpu, plan reference");
    ck_assert_int_eq(count_of(text, "\nmodel.layers.*.self_attn.q_norm "), 1); /* both layers, both modes */
    ck_assert_int_eq(count_of(text, "\nmodel.layers.* "), 1);
    ck_assert_int_eq(count_of(text, "\nnext_token "), 1);
    const char *first = strstr(text, "\nmodel.layers.*.self"), *second = strstr(text, "\nmodel.layers.* "),
               *third = strstr(text, "\nnext_token ");
    ck_assert(first && second && third && first < second && second < third);
    expect_text(text, "\nFAIL  5 rows, 10,245 elements, 2 failed; local mismatches 7, "
                      "carried mismatches 3; 12.3 s\n");
    free(text);
}
END_TEST

START_TEST(test_terminal_fits_120_columns_and_is_ascii)
{
    /* The widest figures and the longest boundary of the model. */
    rows[2].comparison.elements = rows[2].comparison.mismatches = INT64_C(999999);
    rows[2].comparison.max_ulp = 1.8e19;
    rows[2].boundary = "model.layers.20.post_attention_layernorm";
    rows[2].ours_oracle.rms = 1.234e-100;
    for (int every = 0; every < 2; every++) {
        char *text = print(false, every == 1);
        size_t column = 0;
        for (const char *c = text; *c; c++) {
            ck_assert_msg(*c == '\n' || (*c >= ' ' && *c < 0x7f), "character %d in:\n%s", (unsigned char)*c, text);
            column = *c == '\n' ? 0 : column + 1;
            ck_assert_msg(column <= 120, "a line is longer than 120 columns in:\n%s", text);
        }
        free(text);
    }
}
END_TEST

START_TEST(test_terminal_shows_what_did_not_pass_and_where)
{
    char *text = print(false, false);
    expect_text(text, "FAIL  p/prefill/model.layers.20.self_attn.q_norm  local  (rms_norm, cpu)\n"
                      "      7 of 2560 elements differ, at most 2 ulp\n"
                      "      worst at (token 0, head 1, channel 2): golden 1, ours 1.015625\n");
    expect_no_text(text, "more rows that did not pass");
    free(text);
}
END_TEST

START_TEST(test_terminal_lists_at_most_20_rows_that_did_not_pass)
{
    qp_row many[30];
    for (int i = 0; i < 30; i++) many[i] = rows[2];
    report.rows = many;
    report.row_count = 30;
    qp_report_summarise(&report);
    char *text = print(false, false);
    ck_assert_int_eq(count_of(text, "\nFAIL  p/prefill/"), 20);
    expect_text(text, "... and 10 more rows that did not pass");
    free(text);
}
END_TEST

START_TEST(test_terminal_every_row_has_its_own_line)
{
    char *text = print(false, true);
    ck_assert_int_eq(count_of(text, "\np/prefill/"), BY_HAND_ROWS);
    expect_text(text, "\np/prefill/model.layers.2.self_attn.q_norm  carried ");
    free(text);
}
END_TEST

START_TEST(test_terminal_colours_only_if_asked)
{
    char *plain = print(false, false), *coloured = print(true, false);
    expect_no_text(plain, "\033");
    expect_text(coloured, "\033[31mFAIL\033[0m");
    expect_text(coloured, "\033[32mpass\033[0m");
    free(plain);
    free(coloured);
}
END_TEST

START_TEST(test_terminal_not_compared_and_filters_are_said)
{
    by_hand_leave_one_out();
    report.fault = "rope_interleaved";
    char *text = print(false, false);
    expect_text(text, "not compared: 1 tensors of the golden\n      p/prefill/model.extra: no node of the plan");
    expect_text(text, ", 1 not compared");
    expect_text(text, "with the planted fault rope_interleaved");
    free(text);
    report.only = "*q_norm\033[2J";
    text = print(false, false);
    expect_text(text, "only *q_norm?[2J"); /* a filter cannot steer the terminal */
    expect_text(text, "model.extra");      /* it let this through */
    free(text);
    report.not_compared_count = 0;
    report.left_out = 7;
    text = print(false, false);
    expect_text(text, "left out by --only: 7 tensors of the golden");
    free(text);
}
END_TEST

START_TEST(test_terminal_names_what_is_inside_fused_nodes)
{
    char *text = print(false, false);
    expect_no_text(text, "inside");
    free(text);
    by_hand_fuse();
    text = print(false, false);
    expect_text(text, ", plan fused: gqa_attention, lm_head_argmax\n");
    expect_text(text, "\ninside fused nodes: 1,240 tensors of the golden\n");
    expect_text(text, "\n      model.layers.*.self_attn.scores  1200  model.layers.*.gqa_attention\n");
    expect_text(text, "\n      model.norm                         40  lm_head_argmax\n");
    expect_text(text, "2 failed, 1,240 inside fused nodes; local");
    expect_no_text(text, "not compared");
    free(text);
}
END_TEST

/* Nothing in a report can steer the terminal, or begin a line, which servers for continuous integration read as commands. */
START_TEST(test_terminal_shows_hostile_text_as_text)
{
    by_hand_make_hostile();
    for (int every = 0; every < 2; every++) {
        char *text = print(false, every == 1);
        for (const char *c = text; *c; c++) ck_assert((unsigned char)*c >= ' ' || *c == '\n');
        expect_no_text(text, "\xff");
        expect_no_text(text, "\xe2\x80\xae");
        expect_no_text(text, "\xc2\x9b");
        expect_text(text, "# *x* _y_ ~z~");
        for (const char *c = strstr(text, "# *x*"); c; c = strstr(c + 1, "# *x*")) ck_assert(c[-1] == '?');
        free(text);
    }
}
END_TEST

START_TEST(test_terminal_nothing_compared_does_not_look_like_success)
{
    report.row_count = 0;
    qp_report_summarise(&report);
    char *text = print(false, false);
    expect_text(text, "nothing was compared");
    expect_text(text, "FAIL  0 rows, 0 elements");
    expect_no_text(text, "PASS");
    free(text);
}
END_TEST

START_TEST(test_terminal_success_says_pass)
{
    by_hand_make_exact();
    char *text = print(false, false);
    expect_text(text, "\nPASS  5 rows, ");
    expect_no_text(text, "FAIL");
    free(text);
}
END_TEST

/* ---- JSON ---- */

static qp_json_node get(qp_json_node node, const char *key)
{
    const qp_json_node found = qp_json_find(node, key);
    ck_assert_msg(found.item != NULL, "there is no '%s'", key);
    return found;
}

static int64_t get_int(qp_json_node node, const char *key)
{
    int64_t value = -999;
    ck_assert_msg(qp_json_get_int64(node, key, &value) == QP_OK, "%s", qp_last_error());
    return value;
}

static double get_double(qp_json_node node, const char *key)
{
    double value = -999.0;
    ck_assert_msg(qp_json_get_double(node, key, &value) == QP_OK, "%s", qp_last_error());
    return value;
}

static const char *get_string(qp_json_node node, const char *key)
{
    const char *value = NULL;
    ck_assert_msg(qp_json_get_string(node, key, &value) == QP_OK, "%s", qp_last_error());
    return value;
}

static qp_json_node at(qp_json_node array, int index)
{
    qp_json_node node = qp_json_first(array);
    while (index-- > 0) node = qp_json_next(node);
    ck_assert_ptr_nonnull(node.item);
    return node;
}

static qp_json *written(void)
{
    qp_json *json = NULL;
    ck_assert_msg(qp_report_write_json(&report, json_path) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_json_read_file(json_path, &json) == QP_OK, "%s", qp_last_error());
    return json;
}

START_TEST(test_json_holds_the_report)
{
    by_hand_leave_one_out();
    qp_json *json = written();
    const qp_json_node root = qp_json_root(json);
    ck_assert_str_eq(get_string(root, "schema"), "qwen3-parity-verify/2");
    ck_assert_str_eq(get_string(root, "model"), "golden/qwen3-tiny");
    ck_assert_str_eq(get_string(get(root, "golden"), "path"), "golden/qwen3-tiny.h5");
    ck_assert_str_eq(get_string(root, "backend"), "cpu");
    ck_assert_str_eq(get_string(root, "plan"), "reference");
    ck_assert_int_eq(qp_json_kind_of(get(root, "fault")), QP_JSON_NULL);
    ck_assert_int_eq(qp_json_kind_of(get(root, "only")), QP_JSON_NULL);
    ck_assert(get_double(root, "seconds") == 12.34);
    const qp_json_node environment = get(root, "environment");
    ck_assert_str_ne(get_string(environment, "program_version"), "");
    ck_assert_str_ne(get_string(environment, "compiler"), "");
    ck_assert_str_ne(get_string(environment, "os"), "");
    ck_assert_str_ne(get_string(environment, "cpu"), "");
    ck_assert_int_ge(get_int(environment, "threads"), 1);

    const qp_json_node list = get(root, "rows");
    ck_assert_int_eq(qp_json_count(list), BY_HAND_ROWS);
    const qp_json_node exact = at(list, 0), carried = at(list, 1);
    ck_assert_str_eq(get_string(exact, "key"), rows[0].key);
    ck_assert_str_eq(get_string(exact, "operation"), "rms_norm");
    ck_assert_str_eq(get_string(exact, "implementation"), "cpu");
    ck_assert_str_eq(get_string(exact, "mode"), "local");
    ck_assert_str_eq(get_string(exact, "verdict"), "pass");
    ck_assert_str_eq(get_string(exact, "reason"), "");
    ck_assert_str_eq(get_string(exact, "dtype"), "bf16");
    ck_assert_int_eq(qp_json_count(get(exact, "shape")), 3);
    ck_assert_int_eq(get_int(exact, "elements"), 2560);
    ck_assert_int_eq(qp_json_count(get(exact, "worst")), 0);
    ck_assert_ptr_null(qp_json_find(exact, "origin").item);
    ck_assert_int_eq(get_int(get(exact, "ulp_histogram"), "0"), 2560);
    ck_assert_int_eq(qp_json_count(get(exact, "ulp_histogram")), QP_ULP_CLASSES);

    ck_assert_str_eq(get_string(carried, "mode"), "carried");
    const qp_json_node worst = at(get(carried, "worst"), 0);
    static const int64_t position[] = { 3, 1, 17 };
    for (int i = 0; i < 3; i++) {
        int64_t found = -1;
        ck_assert_int_eq(qp_json_as_int64(at(get(worst, "position"), i), &found), QP_OK);
        ck_assert_int_eq(found, position[i]);
    }
    ck_assert_int_eq(qp_json_count(get(carried, "axes")), 3);
    ck_assert(get_double(worst, "golden") == 0.1); /* reads back the same */
    ck_assert(isnan(get_double(worst, "ours")));
    ck_assert(get_double(worst, "oracle") == 0.125);
    ck_assert_str_eq(get_string(worst, "golden_bits"), "0x3dcd");
    ck_assert_str_eq(get_string(worst, "ours_bits"), "0x7fc0");
    ck_assert_int_eq(qp_json_count(get(at(list, 2), "worst")), 2);
    const qp_json_node errors = get(carried, "errors"), origin = get(carried, "origin");
    ck_assert(get_double(get(errors, "ours_oracle"), "rms") == 0.001);
    ck_assert(get_double(get(origin, "came_in"), "rms") == 0.25);
    ck_assert_int_eq(get_int(get(origin, "came_in"), "mismatches"), 3);
    ck_assert_int_eq(get_int(get(origin, "added"), "nonfinite"), 2);

    ck_assert_str_eq(get_string(at(list, 2), "verdict"), "fail");
    ck_assert_str_eq(get_string(at(list, 2), "reason"), "7 of 2560 elements differ, at most 2 ulp");
    ck_assert_str_eq(get_string(at(list, 4), "dtype"), "i64");
    ck_assert_str_eq(get_string(at(get(root, "not_compared"), 0), "key"), "p/prefill/model.extra");

    const qp_json_node summary = get(root, "summary");
    ck_assert_int_eq(get_int(summary, "rows"), BY_HAND_ROWS);
    ck_assert_int_eq(get_int(summary, "failed"), 2);
    ck_assert_int_eq(get_int(summary, "untrusted"), 0);
    ck_assert_int_eq(get_int(summary, "exact_rows"), 3);
    ck_assert_int_eq(get_int(summary, "elements"), 10245);
    ck_assert_int_eq(get_int(summary, "mismatches"), 10);
    ck_assert_int_eq(get_int(summary, "local_mismatches"), 7);
    ck_assert_int_eq(get_int(summary, "carried_mismatches"), 3);
    ck_assert_str_eq(get_string(summary, "verdict"), "fail");
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_names_what_is_inside_fused_nodes)
{
    qp_json *json = written();
    ck_assert_int_eq(qp_json_count(get(qp_json_root(json), "inside_fused")), 0);
    qp_json_free(json);
    by_hand_fuse();
    json = written();
    const qp_json_node root = qp_json_root(json), list = get(root, "inside_fused");
    ck_assert_str_eq(get_string(root, "plan"), "fused: gqa_attention, lm_head_argmax");
    ck_assert_int_eq(qp_json_count(list), 2);
    ck_assert_str_eq(get_string(at(list, 0), "boundary"), "model.layers.*.self_attn.scores");
    ck_assert_str_eq(get_string(at(list, 0), "node"), "model.layers.*.gqa_attention");
    ck_assert_int_eq(get_int(at(list, 0), "tensors"), 1200);
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_overwrites_whole_and_leaves_nothing_beside)
{
    qp_json_free(written());
    report.seconds = 1.0;
    qp_json *json = written();
    ck_assert(get_double(qp_json_root(json), "seconds") == 1.0);
    qp_json_free(json);
    ck_assert_int_eq(unlink(json_path), 0);
    ck_assert_int_eq(rmdir(folder), 0); /* it would fail if a partial file were left */
}
END_TEST

/* As many failing rows as several models have. */
START_TEST(test_json_of_many_rows_is_written_at_once)
{
    enum { MANY = 5000 };
    size_t bytes[2];
    qp_row *many = by_hand_make_many(MANY);
    for (int half = 0; half < 2; half++) {
        report.row_count = half ? MANY / 2 : MANY;
        qp_report_summarise(&report);
        const double start = files_cpu_seconds();
        ck_assert_int_eq(qp_report_write_json(&report, json_path), QP_OK);
        ck_assert_double_lt(files_cpu_seconds() - start, FILES_SLOWER);
        free(files_read(json_path, &bytes[half]));
    }
    ck_assert_uint_lt(bytes[0], 2 * bytes[1]);
    free(many);
}
END_TEST

/* A link stays a link: what is no plain file is written through, never replaced. */
START_TEST(test_json_replaces_nothing_but_a_file)
{
    char target[160];
    struct stat found;
    (void)snprintf(target, sizeof target, "%s/target", folder);
    ck_assert_int_eq(symlink(target, json_path), 0);
    ck_assert_int_eq(qp_report_write_json(&report, json_path), QP_OK);
    ck_assert_int_eq(lstat(json_path, &found), 0);
    ck_assert(S_ISLNK(found.st_mode));
    ck_assert_int_eq(lstat(target, &found), 0);
    ck_assert(S_ISREG(found.st_mode) && found.st_size > 100);
    ck_assert_int_eq(unlink(json_path), 0);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(test_json_that_cannot_be_written_is_io)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/no/such/folder.json", folder);
    ck_assert_int_eq(qp_report_write_json(&report, path), QP_IO);
    ck_assert(strstr(qp_last_error(), "No such file"));
    /* A folder in its place: the report cannot be put there, and nothing is left beside it. */
    ck_assert_int_eq(mkdir(json_path, 0700), 0);
    ck_assert_int_eq(qp_report_write_json(&report, json_path), QP_IO);
    ck_assert(strstr(qp_last_error(), json_path));
    ck_assert_int_eq(rmdir(json_path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* ---- with the golden of the repository ---- */

START_TEST(test_reports_name_the_golden)
{
    qp_golden *golden = NULL;
    ck_assert_msg(qp_golden_open(QP_SOURCE_DIR "/golden/qwen3-tiny.h5", &golden) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_golden_describe(golden, "golden/qwen3-tiny.h5", &report.golden), QP_OK);
    char *text = print(false, false);
    expect_text(text, ", PyTorch ");
    expect_text(text, ", transformers ");
    expect_text(text, ", attention eager");
    free(text);
    qp_json *json = written();
    const qp_json_node attributes = get(get(qp_json_root(json), "golden"), "attributes");
    ck_assert_int_eq(qp_json_count(attributes), qp_golden_attribute_count(golden));
    ck_assert_str_eq(get_string(attributes, "torch_version"), qp_golden_attribute(golden, "torch_version"));
    ck_assert_str_eq(get_string(attributes, "schema"), "qwen3-parity-golden/1");
    qp_json_free(json);
    free(report.golden.attributes);
    qp_golden_close(golden);
}
END_TEST

START_TEST(test_environment_is_known)
{
    const qp_environment environment = qp_environment_read();
    ck_assert_ptr_nonnull(environment.program_version);
    ck_assert_ptr_nonnull(environment.compiler);
    ck_assert_str_ne(environment.os, "");
    ck_assert_str_ne(environment.cpu, "");
    ck_assert_int_ge(environment.threads, 1);
    ck_assert_uint_eq(strlen(environment.time), strlen("2025-01-31T12:00:00Z"));
}
END_TEST

Suite *reports_suite(void)
{
    Suite *suite = suite_create("reports");
    TCase *terminal = tcase_create("terminal");
    tcase_add_checked_fixture(terminal, setup, teardown);
    tcase_add_test(terminal, test_terminal_has_one_line_a_boundary);
    tcase_add_test(terminal, test_terminal_fits_120_columns_and_is_ascii);
    tcase_add_test(terminal, test_terminal_shows_what_did_not_pass_and_where);
    tcase_add_test(terminal, test_terminal_lists_at_most_20_rows_that_did_not_pass);
    tcase_add_test(terminal, test_terminal_every_row_has_its_own_line);
    tcase_add_test(terminal, test_terminal_colours_only_if_asked);
    tcase_add_test(terminal, test_terminal_not_compared_and_filters_are_said);
    tcase_add_test(terminal, test_terminal_names_what_is_inside_fused_nodes);
    tcase_add_test(terminal, test_terminal_shows_hostile_text_as_text);
    tcase_add_test(terminal, test_terminal_nothing_compared_does_not_look_like_success);
    tcase_add_test(terminal, test_terminal_success_says_pass);
    suite_add_tcase(suite, terminal);

    TCase *json = tcase_create("json");
    tcase_add_checked_fixture(json, setup, teardown);
    tcase_add_test(json, test_json_holds_the_report);
    tcase_add_test(json, test_json_names_what_is_inside_fused_nodes);
    tcase_add_test(json, test_json_of_many_rows_is_written_at_once);
    tcase_add_test(json, test_json_replaces_nothing_but_a_file);
    tcase_add_test(json, test_json_overwrites_whole_and_leaves_nothing_beside);
    tcase_add_test(json, test_json_that_cannot_be_written_is_io);
    suite_add_tcase(suite, json);

    TCase *golden = tcase_create("golden");
    tcase_add_checked_fixture(golden, setup, teardown);
    tcase_add_test(golden, test_reports_name_the_golden);
    tcase_add_test(golden, test_environment_is_known);
    suite_add_tcase(suite, golden);
    return suite;
}

int main(void) { return qp_check_main(reports_suite()); }
