/* harness/verify on the embedded model and its golden: what must hold, and that every planted fault is seen. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/golden_model.h"
#include "../harness/verify.h"
#include "check_main.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_model model;
static qp_runtime runtime;
static qp_golden *golden;
static qp_report report; /* of the whole golden, made once */

static qp_status verify(qp_selection selection, const char *only, qp_report *result)
{
    const qp_verify_options options = {
        .model_path = MODEL, .golden_path = GOLDEN, .selection = selection, .only = only
    };
    return qp_verify(&runtime, golden, &options, result);
}

static void open_files(void)
{
    ck_assert_msg(qp_model_open(MODEL, &model) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_runtime_open(&model, QP_CPU, &runtime) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_golden_open(GOLDEN, &golden) == QP_OK, "%s", qp_last_error());
}

static void close_files(void)
{
    qp_golden_close(golden);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
}

static void verify_everything(void)
{
    open_files();
    ck_assert_msg(verify((qp_selection){ .backend = QP_CPU }, NULL, &report) == QP_OK, "%s", qp_last_error());
}

static void close_everything(void)
{
    qp_report_close(&report);
    close_files();
}

static const qp_row *row_of(const qp_report *r, const char *key, qp_mode mode)
{
    for (int i = 0; i < r->row_count; i++)
        if (r->rows[i].mode == mode && !strcmp(r->rows[i].key, key)) return &r->rows[i];
    return NULL;
}

START_TEST(test_golden_belongs_to_the_model)
{
    ck_assert_msg(qp_golden_require_model(golden, &model) == QP_OK, "%s", qp_last_error());
}
END_TEST

START_TEST(test_every_row_passes)
{
    for (int i = 0; i < report.row_count; i++)
        ck_assert_msg(report.rows[i].verdict == QP_VERDICT_PASS, "%s, %s: %s", report.rows[i].key,
                      qp_mode_name(report.rows[i].mode), report.rows[i].reason);
    ck_assert_int_eq(report.summary.verdict, QP_VERDICT_PASS);
}
END_TEST

START_TEST(test_every_golden_tensor_has_a_local_and_a_carried_row)
{
    int tensors = 0;
    for (int p = 0; p < qp_golden_phase_count(golden); p++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, p);
        for (int b = 0; b < phase->boundary_count; b++, tensors++) {
            char key[512];
            snprintf(key, sizeof key, "%s/%s", phase->path, phase->boundaries[b]);
            ck_assert_msg(row_of(&report, key, QP_LOCAL) != NULL, "%s has no local row", key);
            ck_assert_msg(row_of(&report, key, QP_CARRIED) != NULL, "%s has no carried row", key);
        }
    }
    ck_assert_int_gt(tensors, 1000);
    ck_assert_int_eq(report.row_count, 2 * tensors);
    ck_assert_int_eq(report.not_compared_count, 0);
}
END_TEST

START_TEST(test_every_bit_is_the_goldens)
{
    for (int i = 0; i < report.row_count; i++)
        ck_assert_msg(report.rows[i].comparison.mismatches == 0, "%s: %s", report.rows[i].key, report.rows[i].reason);
}
END_TEST

START_TEST(test_every_next_token_is_the_goldens)
{
    int seen = 0;
    for (int i = 0; i < report.row_count; i++) {
        if (strcmp(report.rows[i].operation, "argmax") != 0) continue;
        ck_assert_int_eq(report.rows[i].comparison.mismatches, 0);
        seen += report.rows[i].mode == QP_CARRIED;
    }
    ck_assert_int_eq(seen, qp_golden_phase_count(golden));
}
END_TEST

/* ours - golden = (ours - local) + (local - golden): each part is bounded by the other two. */
START_TEST(test_carried_error_is_what_came_in_plus_what_was_added)
{
    for (int i = 0; i < report.row_count; i++) {
        const qp_row *row = &report.rows[i];
        if (row->mode != QP_CARRIED) continue;
        ck_assert(row->has_origin);
        ck_assert_double_le(row->ours_golden.rms, (row->came_in.rms + row->added.rms) * (1.0 + 1e-12));
        ck_assert_double_le(row->came_in.rms, (row->ours_golden.rms + row->added.rms) * (1.0 + 1e-12));
        const qp_row *local = row_of(&report, row->key, QP_LOCAL);
        ck_assert_int_eq(row->added_mismatches, local->comparison.mismatches);
    }
}
END_TEST

START_TEST(test_a_filter_leaves_the_rest_out_and_an_empty_one_is_no_pass)
{
    qp_report some;
    ck_assert_int_eq(verify((qp_selection){ .backend = QP_CPU }, "aistonia/prefill/*.0.self_attn.q_norm", &some),
                     QP_OK);
    ck_assert_int_eq(some.row_count, 2);
    ck_assert_int_eq(some.summary.verdict, QP_VERDICT_PASS);
    ck_assert_int_eq(some.not_compared_count, 0);
    ck_assert_int_gt(some.left_out, 0);
    qp_report_close(&some);
    ck_assert_int_eq(verify((qp_selection){ .backend = QP_CPU }, "no/such/key", &some), QP_OK);
    ck_assert_int_eq(some.row_count, 0);
    ck_assert_int_ne(some.summary.verdict, QP_VERDICT_PASS);
    qp_report_close(&some);
}
END_TEST

/* ---- Faults ---- */

static int fault_count(void)
{
    int count = 0;
    for (int i = 0; qp_operations[i]; i++)
        for (const qp_fault *fault = qp_operations[i]->faults; fault && fault->name; fault++) count++;
    return count;
}

static const qp_fault *fault_at(int index, const qp_operation **operation)
{
    for (int i = 0; qp_operations[i]; i++)
        for (const qp_fault *fault = qp_operations[i]->faults; fault && fault->name; fault++)
            if (index-- == 0) {
                *operation = qp_operations[i];
                return fault;
            }
    return NULL;
}

/* A verification with the fault must fail, and say where: on the golden's inputs no other operation is to blame. */
static void assert_seen(const qp_fault *fault, const qp_operation *operation)
{
    qp_report red;
    const qp_selection selection = { .backend = QP_CPU, .fault = fault, .fault_operation = operation };
    ck_assert_msg(verify(selection, "aistonia/*", &red) == QP_OK, "%s: %s", fault->name, qp_last_error());
    int seen = 0;
    for (int i = 0; i < red.row_count; i++) {
        const qp_row *row = &red.rows[i];
        if (row->mode != QP_LOCAL || row->verdict == QP_VERDICT_PASS) continue;
        ck_assert_msg(!strcmp(row->operation, operation->name), "%s blames %s", fault->name, row->key);
        ck_assert_str_eq(row->implementation, fault->name);
        ck_assert_str_ne(row->reason, "");
        seen++;
    }
    ck_assert_msg(seen > 0, "%s passes every local gate", fault->name);
    ck_assert_int_eq(red.summary.verdict, QP_VERDICT_FAIL);
    qp_report_close(&red);
}

START_TEST(test_planted_fault_turns_verify_red)
{
    const qp_operation *operation = NULL;
    const qp_fault *fault = fault_at(_i, &operation);
    assert_seen(fault, operation);
}
END_TEST

START_TEST(test_the_faults_that_matter_are_planted)
{
    static const char *const names[] = {
        "weight-before-cast", "eps-1e-5",        "rope-theta-1e4", "rope-interleaved",    "wrong-head-of-group",
        "mask-off-by-one",    "softmax-in-bf16", "missing-q-norm", "scale-off-1-percent", "stale-cache-row"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(qp_fault_find(names[i], NULL) != NULL, "%s is missing", names[i]);
}
END_TEST

static qp_status write_nothing(const qp_call *call)
{
    (void)call;
    return QP_OK;
}

/* An implementation that does nothing must not pass for what stood in its output before. */
START_TEST(test_an_output_that_is_not_written_is_seen)
{
    const qp_fault lazy = { "writes-nothing", "", "*", write_nothing };
    assert_seen(&lazy, qp_operations[_i]);
}
END_TEST

static int operation_count(void)
{
    int count = 0;
    while (qp_operations[count]) count++;
    return count;
}

static Suite *verify_suite(void)
{
    Suite *suite = suite_create("verify");
    TCase *whole = tcase_create("whole golden");
    tcase_add_unchecked_fixture(whole, verify_everything, close_everything);
    tcase_set_timeout(whole, 300);
    tcase_add_test(whole, test_golden_belongs_to_the_model);
    tcase_add_test(whole, test_every_row_passes);
    tcase_add_test(whole, test_every_golden_tensor_has_a_local_and_a_carried_row);
    tcase_add_test(whole, test_every_bit_is_the_goldens);
    tcase_add_test(whole, test_every_next_token_is_the_goldens);
    tcase_add_test(whole, test_carried_error_is_what_came_in_plus_what_was_added);
    suite_add_tcase(suite, whole);
    TCase *faults = tcase_create("faults");
    tcase_add_checked_fixture(faults, open_files, close_files);
    tcase_set_timeout(faults, 300);
    tcase_add_test(faults, test_a_filter_leaves_the_rest_out_and_an_empty_one_is_no_pass);
    tcase_add_loop_test(faults, test_planted_fault_turns_verify_red, 0, fault_count());
    tcase_add_test(faults, test_the_faults_that_matter_are_planted);
    tcase_add_loop_test(faults, test_an_output_that_is_not_written_is_seen, 0, operation_count());
    suite_add_tcase(suite, faults);
    return suite;
}

int main(void) { return qp_check_main(verify_suite()); }
