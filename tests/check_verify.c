/* harness/verify on the embedded model and its golden: what must hold, and that every planted fault is seen. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/golden_model.h"
#include "../harness/verify.h"
#include "../model/fusion.h"
#include "check_main.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_model model;
static qp_runtime runtime;
static qp_golden *golden;
static qp_report report; /* of the whole golden, made once */

static qp_status verify_plan(qp_selection selection, qp_fusions fusions, const char *only, qp_report *result)
{
    const qp_verify_options options = {
        .model_path = MODEL, .golden_path = GOLDEN, .selection = selection, .fusions = fusions, .only = only
    };
    return qp_verify(&runtime, golden, &options, result);
}

static qp_status verify(qp_selection selection, const char *only, qp_report *result)
{
    return verify_plan(selection, 0, only, result);
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

/* ---- Fused nodes ---- */

static const char *operation_of(const char *fusion)
{
    for (const qp_fusion *f = qp_all_fusions; f->name; f++)
        if (!strcmp(f->name, fusion)) return f->operation->name;
    return NULL;
}

/* Every golden tensor has its rows or is counted inside the node that the plan says, and every bit is the golden's. */
static void assert_fused_plan_passes(qp_fusions fusions)
{
    static const struct {
        const char *boundary, *fusion;
    } inside[] = {
        { "model.layers.*.input_layernorm", "rmsnorm_qkv" },
        { "model.layers.*.self_attn.q_proj", "rmsnorm_qkv" },
        { "model.layers.*.self_attn.k_proj", "rmsnorm_qkv" },
        { "model.layers.*.self_attn.q_norm", "rmsnorm_qkv" },
        { "model.layers.*.self_attn.k_norm", "rmsnorm_qkv" },
        { "model.layers.*.self_attn.scores", "gqa_attention" },
        { "model.layers.*.self_attn.probs", "gqa_attention" },
        { "model.layers.*.self_attn.o_proj", "o_residual" },
        { "model.layers.*.post_attention_layernorm", "rmsnorm_gate_up_silu" },
        { "model.layers.*.mlp.gate_proj", "rmsnorm_gate_up_silu" },
        { "model.layers.*.mlp.up_proj", "rmsnorm_gate_up_silu" },
        { "model.layers.*.mlp.act", "rmsnorm_gate_up_silu" },
        { "model.layers.*.mlp.down_proj", "down_residual" },
        { "model.norm", "lm_head_argmax" },
        { "lm_head", "lm_head_argmax" },
    };
    const int phases = qp_golden_phase_count(golden), layers = (int)model.config.num_hidden_layers;
    qp_report fused;
    ck_assert_msg(verify_plan((qp_selection){ .backend = QP_CPU }, fusions, NULL, &fused) == QP_OK, "%s",
                  qp_last_error());
    int tensors = 0, hidden = 0, found = 0;
    for (int p = 0; p < phases; p++) tensors += qp_golden_phase_at(golden, p)->boundary_count;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        qp_fusions bit = 0;
        ck_assert_int_eq(qp_fusions_add(&bit, inside[i].fusion), QP_OK);
        if (!(fusions & bit)) continue;
        ck_assert_int_lt(found, fused.inside_fused_count);
        const struct qp_inside_fused *entry = &fused.inside_fused[found++];
        const bool in_layer = inside[i].boundary[6] == 'l' && inside[i].boundary[0] == 'm';
        char node[QP_NAME_MAX];
        snprintf(node, sizeof node, "%s%s", in_layer ? "model.layers.*." : "", inside[i].fusion);
        ck_assert_str_eq(entry->boundary, inside[i].boundary);
        ck_assert_str_eq(entry->node, node);
        ck_assert_int_eq(entry->tensors, phases * (in_layer ? layers : 1));
        hidden += (int)entry->tensors;
    }
    ck_assert_int_eq(found, fused.inside_fused_count);
    ck_assert_int_eq(fused.row_count, 2 * (tensors - hidden));
    ck_assert_int_eq(fused.not_compared_count, 0);
    ck_assert_int_eq(fused.left_out, 0);
    for (int i = 0; i < fused.row_count; i++)
        ck_assert_msg(fused.rows[i].verdict == QP_VERDICT_PASS, "%s, %s: %s", fused.rows[i].key,
                      qp_mode_name(fused.rows[i].mode), fused.rows[i].reason);
    ck_assert_int_eq(fused.summary.mismatches, 0);
    ck_assert_int_eq(fused.summary.verdict, QP_VERDICT_PASS);
    qp_report_close(&fused);
}

START_TEST(test_each_fusion_keeps_every_bit) { assert_fused_plan_passes(qp_all_fusions[_i].bit); }
END_TEST

START_TEST(test_all_fusions_keep_every_bit) { assert_fused_plan_passes(QP_FUSE_ALL); }
END_TEST

START_TEST(test_a_fused_report_names_its_plan_and_its_operations)
{
    static const struct {
        const char *boundary, *fusion;
    } rows[] = { { "model.layers.1.self_attn.q_rope", "rmsnorm_qkv" },
                 { "model.layers.1.self_attn.k_rope", "rmsnorm_qkv" },
                 { "model.layers.1.self_attn.v_proj", "rmsnorm_qkv" },
                 { "model.layers.1.self_attn.context", "gqa_attention" },
                 { "model.layers.1.residual_attn", "o_residual" },
                 { "model.layers.1.mlp.product", "rmsnorm_gate_up_silu" },
                 { "model.layers.1", "down_residual" },
                 { "next_token", "lm_head_argmax" } };
    qp_report fused;
    ck_assert_int_eq(verify_plan((qp_selection){ .backend = QP_CPU }, QP_FUSE_ALL, "aistonia/decode.003/*", &fused),
                     QP_OK);
    ck_assert_str_eq(fused.plan, "fused");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[256];
        snprintf(key, sizeof key, "aistonia/decode.003/%s", rows[i].boundary);
        for (int mode = QP_LOCAL; mode <= QP_CARRIED; mode++) {
            const qp_row *row = row_of(&fused, key, (qp_mode)mode);
            ck_assert_msg(row != NULL, "%s has no row", key);
            ck_assert_str_eq(row->operation, operation_of(rows[i].fusion));
        }
    }
    qp_report_close(&fused);
    ck_assert_int_eq(verify_plan((qp_selection){ .backend = QP_CPU }, QP_FUSE_O_RESIDUAL | QP_FUSE_DOWN_RESIDUAL,
                                 "aistonia/decode.003/model.layers.1", &fused),
                     QP_OK);
    ck_assert_str_eq(fused.plan, "fused: o_residual, down_residual");
    ck_assert_int_eq(fused.row_count, 2);
    ck_assert_int_eq(fused.inside_fused_count, 0); /* none was asked for */
    ck_assert_int_eq(fused.summary.verdict, QP_VERDICT_PASS);
    qp_report_close(&fused);
}
END_TEST

/* What is inside a node was not compared: that alone is no pass. */
START_TEST(test_a_filter_on_what_is_inside_a_fused_node_compares_nothing)
{
    qp_report fused;
    ck_assert_int_eq(verify_plan((qp_selection){ .backend = QP_CPU }, QP_FUSE_ALL, "aistonia/*q_norm", &fused), QP_OK);
    ck_assert_int_eq(fused.row_count, 0);
    ck_assert_int_eq(fused.inside_fused_count, 1);
    ck_assert_str_eq(fused.inside_fused[0].boundary, "model.layers.*.self_attn.q_norm");
    ck_assert_int_eq(fused.not_compared_count, 0);
    ck_assert_int_eq(fused.summary.verdict, QP_VERDICT_FAIL);
    qp_report_close(&fused);
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
    if (operation->in_no_plan) return; /* its cases tell its faults (check_operations.c) */
    qp_report red;
    const qp_fusions fusions = operation->sequence ? QP_FUSE_ALL : 0;
    const qp_selection selection = { .backend = QP_CPU, .fault = fault, .fault_operation = operation };
    ck_assert_msg(verify_plan(selection, fusions, "aistonia/*", &red) == QP_OK, "%s: %s", fault->name, qp_last_error());
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

/* Only the token comes out of lm_head_argmax, and the golden has no position whose largest logits are equal or that rounding
 * makes so. The operation's own cases have, and tell these faults (check_operations.c). */
static bool needs_equal_logits(const qp_fault *fault)
{
    return !strcmp(fault->name, "argmax-in-f32") || !strcmp(fault->name, "last-of-equals");
}

/* Were it otherwise, the fault would belong to those that verify has to see. */
static void assert_not_shown(const qp_fault *fault, const qp_operation *operation)
{
    qp_report green;
    const qp_selection selection = { .backend = QP_CPU, .fault = fault, .fault_operation = operation };
    ck_assert_msg(verify_plan(selection, QP_FUSE_LM_HEAD_ARGMAX, "*/next_token", &green) == QP_OK, "%s: %s",
                  fault->name, qp_last_error());
    ck_assert_msg(green.summary.verdict == QP_VERDICT_PASS, "the golden shows %s", fault->name);
    qp_report_close(&green);
}

START_TEST(test_planted_fault_turns_verify_red)
{
    const qp_operation *operation = NULL;
    const qp_fault *fault = fault_at(_i, &operation);
    if (needs_equal_logits(fault))
        assert_not_shown(fault, operation);
    else
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

static int fusion_count(void)
{
    int count = 0;
    while (qp_all_fusions[count].name) count++;
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
    TCase *fused = tcase_create("fused");
    tcase_add_checked_fixture(fused, open_files, close_files);
    tcase_set_timeout(fused, 300);
    tcase_add_loop_test(fused, test_each_fusion_keeps_every_bit, 0, fusion_count());
    tcase_add_test(fused, test_all_fusions_keep_every_bit);
    tcase_add_test(fused, test_a_fused_report_names_its_plan_and_its_operations);
    tcase_add_test(fused, test_a_filter_on_what_is_inside_a_fused_node_compares_nothing);
    suite_add_tcase(suite, fused);
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
