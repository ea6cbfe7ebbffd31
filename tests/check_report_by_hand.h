/* A report made by hand, for the tests of the writers: two layers of one boundary, local and carried, and the token at
 * the end. by_hand_make() first, then what a test wants of it. */
#ifndef QP_CHECK_REPORT_BY_HAND_H
#define QP_CHECK_REPORT_BY_HAND_H

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/verdict.h"

enum { BY_HAND_ROWS = 5 };
static qp_row rows[BY_HAND_ROWS];
static qp_report report;

/* ---- the report ---- */

static inline void by_hand_make_row(int index, const char *key, int layer)
{
    qp_row *row = &rows[index];
    const bool token = index == 4;
    row->key = key;
    row->boundary = strchr(strchr(key, '/') + 1, '/') + 1;
    row->layer = layer;
    row->operation = token ? "argmax" : "rms_norm";
    row->implementation = "cpu";
    row->mode = index == 1 ? QP_CARRIED : QP_LOCAL;
    row->dtype = token ? QP_I64 : QP_BF16;
    row->rank = token ? 1 : 3;
    row->dim[0] = 5;
    row->dim[1] = 4;
    row->dim[2] = 128;
    row->axis[0] = "token";
    row->axis[1] = "head";
    row->axis[2] = "channel";
    row->comparison.elements = token ? 5 : 5 * 4 * 128;
    row->comparison.nonzero = row->comparison.elements;
    row->comparison.histogram[5] = row->comparison.elements;
    row->ours_oracle.rms = row->golden_oracle.rms = 0.001;
    row->seconds = 0.25;
    (void)snprintf(row->golden_sha256, sizeof row->golden_sha256, "%064d", index);
    (void)snprintf(row->ours_sha256, sizeof row->ours_sha256, "%064d", index);
}

static inline void by_hand_make(void)
{
    memset(rows, 0, sizeof rows);
    memset(&report, 0, sizeof report);
    by_hand_make_row(0, "p/prefill/model.layers.2.self_attn.q_norm", 2);
    by_hand_make_row(1, "p/prefill/model.layers.2.self_attn.q_norm", 2);
    by_hand_make_row(2, "p/prefill/model.layers.20.self_attn.q_norm", 20);
    by_hand_make_row(3, "p/prefill/model.layers.20", 20);
    by_hand_make_row(4, "p/prefill/next_token", -1);
    rows[1].comparison.mismatches = 3;
    rows[1].comparison.max_ulp = 2;
    rows[1].comparison.worst_count = 1;
    rows[1].comparison.worst[0] = (qp_worst){ (3 * 4 + 1) * 128 + 17, 0.1, (double)NAN, 0x3dcd, 0x7fc0 };
    rows[1].worst_oracle[0] = 0.125;
    rows[1].has_origin = true;
    rows[1].came_in.rms = 0.25;
    rows[1].came_in_mismatches = 3;
    rows[1].added.rms = 0.5;
    rows[1].added.nonfinite = 2;
    rows[2].comparison.mismatches = 7;
    rows[2].comparison.max_abs = 0.015625;
    rows[2].comparison.max_ulp = 2;
    rows[2].comparison.p99_ulp = 1;
    rows[2].comparison.worst_count = 2;
    rows[2].comparison.worst[0] = (qp_worst){ 130, 1.0, 1.015625, 0x3f80, 0x3f82 };
    rows[2].comparison.worst[1] = (qp_worst){ 2559, -1.0, -0.0, 0xbf80, 0x8000 };
    rows[2].worst_oracle[0] = 1.0009765625;
    (void)snprintf(rows[2].order, sizeof rows[2].order, "K in parts of 64");
    for (int i = 0; i < BY_HAND_ROWS; i++) qp_judge(&rows[i]);
    report.model = "golden/qwen3-tiny";
    report.golden = (qp_golden_facts){ .path = "golden/qwen3-tiny.h5" };
    report.complete = true;
    report.backend = "cpu";
    report.environment = qp_environment_read();
    (void)snprintf(report.device.name, sizeof report.device.name, "CPU, portable");
    (void)snprintf(report.plan, sizeof report.plan, "reference");
    report.row_count = BY_HAND_ROWS;
    report.rows = rows;
    report.seconds = 12.34;
    qp_report_summarise(&report);
}

/* ---- what becomes of it ---- */

static inline void by_hand_make_exact(void)
{
    for (int i = 0; i < BY_HAND_ROWS; i++) {
        rows[i].comparison.mismatches = 0;
        rows[i].comparison.worst_count = 0;
        qp_judge(&rows[i]);
    }
    qp_report_summarise(&report);
}

static inline void by_hand_make_empty(void)
{
    report.row_count = 0;
    qp_report_summarise(&report);
}

static inline void by_hand_end_early(void)
{
    by_hand_make_exact();
    report.complete = false;
    qp_report_summarise(&report);
}

static inline void by_hand_leave_one_out(void)
{
    static const struct qp_not_compared left_out[] = { { "p/prefill/model.extra", "no node of the plan writes it" } };
    report.not_compared = left_out;
    report.not_compared_count = 1;
    qp_report_summarise(&report);
}

static inline void by_hand_fuse(void)
{
    static const struct qp_inside_fused inside[] = {
        { "model.layers.*.self_attn.scores", "model.layers.*.gqa_attention", 1200 },
        { "model.norm", "lm_head_argmax", 40 },
    };
    (void)snprintf(report.plan, sizeof report.plan, "fused: gqa_attention, lm_head_argmax");
    report.inside_fused_count = 2;
    report.inside_fused = inside;
}

/* A policy waives the carried row, takes the local one for untrusted, and has a problem of its own. */
static inline void by_hand_gate(void)
{
    static const char *const problems[] = { "the waiver of 'p/prefill/lm_head' is needed by no row" };
    rows[1].verdict = QP_VERDICT_WAIVED;
    rows[1].excuse = "known since October";
    rows[2].verdict = QP_VERDICT_UNTRUSTED;
    rows[4].gate = QP_GATE_BOUNDED;
    rows[4].excuse = "argmax of equals";
    report.gate = "ci/gate.json";
    report.problems = problems;
    report.problem_count = 1;
    qp_report_summarise(&report);
}

/* Gives the report so many rows that fail. The caller frees the list. */
static inline qp_row *by_hand_make_many(int count)
{
    qp_row *many = malloc((size_t)count * sizeof *many);
    ck_assert_ptr_nonnull(many);
    for (int i = 0; i < count; i++) many[i] = rows[2];
    report.rows = many;
    return many;
}

/* Everything that can hold foreign text holds what could steer a terminal, end a tag, a cell or a string, start a link,
 * a list, a mention or code, and bytes that are no UTF-8. */
#define BY_HAND_HOSTILE                                                                                                \
    "'\"</a><b>&lt;]]>--><!--`|\n\r\t# *x* _y_ ~z~ $q$ [l](h://w) @u #1 \\|\033[2J\a\xff\xe2\x80\xae\xc2\x9b!"

static inline void by_hand_make_hostile(void)
{
    static const char *const problems[] = { BY_HAND_HOSTILE };
    static const struct qp_not_compared left_out[] = { { BY_HAND_HOSTILE, BY_HAND_HOSTILE } };
    static const struct qp_inside_fused inside[] = { { BY_HAND_HOSTILE, BY_HAND_HOSTILE, 2 } };
    static struct qp_golden_attribute attributes[] = { { "device_name", BY_HAND_HOSTILE },
                                                       { "torch_version", BY_HAND_HOSTILE },
                                                       { "transformers_version", BY_HAND_HOSTILE },
                                                       { "\"<b>`|\n\033\xff\xe2\x80\xae", BY_HAND_HOSTILE } };
    for (int i = 0; i < BY_HAND_ROWS; i++) {
        rows[i].key = rows[i].boundary = rows[i].operation = rows[i].implementation = BY_HAND_HOSTILE;
        rows[i].axis[0] = rows[i].excuse = BY_HAND_HOSTILE;
        (void)snprintf(rows[i].order, sizeof rows[i].order, "%s", BY_HAND_HOSTILE);
        if (rows[i].verdict != QP_VERDICT_PASS)
            (void)snprintf(rows[i].reason, sizeof rows[i].reason, "%s", BY_HAND_HOSTILE);
    }
    rows[1].verdict = QP_VERDICT_WAIVED;
    report.model = report.only = report.fault = report.gate = BY_HAND_HOSTILE;
    report.golden = (qp_golden_facts){ BY_HAND_HOSTILE, sizeof attributes / sizeof *attributes, attributes };
    (void)snprintf(report.plan, sizeof report.plan, "%s", BY_HAND_HOSTILE);
    (void)snprintf(report.device.name, sizeof report.device.name, "%s", BY_HAND_HOSTILE);
    (void)snprintf(report.environment.cpu, sizeof report.environment.cpu, "%s", BY_HAND_HOSTILE);
    (void)snprintf(report.environment.os, sizeof report.environment.os, "%s", BY_HAND_HOSTILE);
    report.environment.compiler = report.environment.program_version = BY_HAND_HOSTILE;
    report.problems = problems;
    report.not_compared = left_out;
    report.inside_fused = inside;
    report.problem_count = report.not_compared_count = report.inside_fused_count = 1;
    qp_report_summarise(&report);
}

/* ---- what a text has to hold ---- */

static inline void expect_text(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in:\n%s", part, text);
}

static inline void expect_no_text(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) == NULL, "'%s' is in:\n%s", part, text);
}

static inline int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

/* No line but whole ones, and no byte that steers. */
static inline void expect_no_control(const char *text)
{
    for (const char *c = text; *c; c++)
        ck_assert_msg(*c == '\n' || ((unsigned char)*c >= ' ' && *c != 0x7f), "character %d in:\n%s", (unsigned char)*c,
                      text);
    expect_no_text(text, "\xe2\x80\xae");
    expect_no_text(text, "\xc2\x9b");
    expect_no_text(text, "\xff");
}

#endif
