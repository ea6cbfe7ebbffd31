#include "../argmax/argmax.h"
#include "../linear/linear.h"
#include "../numerics/strict_fp.h"
#include "../rms_norm/rms_norm.h"
#include "../sequence.h"
#include "lm_head_argmax.h"

qp_lm_head_argmax_args qp_lm_head_argmax_bind(const qp_call *call)
{
    return (qp_lm_head_argmax_args){
        .x = call->in[QP_LM_HEAD_ARGMAX_X],
        .norm_weight = call->in[QP_LM_HEAD_ARGMAX_NORM_WEIGHT],
        .weight = call->in[QP_LM_HEAD_ARGMAX_WEIGHT],
        .y = call->out[0],
        .tokens = call->extent[QP_LM_HEAD_ARGMAX_T],
        .hidden = call->extent[QP_LM_HEAD_ARGMAX_HIDDEN],
        .vocabulary = call->extent[QP_LM_HEAD_ARGMAX_V],
        .eps = call->params.eps,
        .part = call->params.part > 0 ? call->params.part : call->extent[QP_LM_HEAD_ARGMAX_HIDDEN],
    };
}

enum { NORMED = QP_VALUE_TEMPORARY, LOGITS };

/* All rows are normalised, since their number decides the order; only the last goes on. */
static qp_sequence sequence(const qp_call *call)
{
    const qp_lm_head_argmax_args a = qp_lm_head_argmax_bind(call);
    const int64_t t = a.tokens, h = a.hidden, v = a.vocabulary, last = (t - 1) * h;
    const int64_t one = call->extent[QP_LM_HEAD_ARGMAX_ONE];
    const qp_params given = call->params;
    enum { X = QP_LM_HEAD_ARGMAX_X, NORM_WEIGHT = QP_LM_HEAD_ARGMAX_NORM_WEIGHT, WEIGHT = QP_LM_HEAD_ARGMAX_WEIGHT };
    return (qp_sequence){
        .count = 3,
        .step = {
            { &qp_rms_norm_operation, { t, h }, given, { X, NORM_WEIGHT }, .out = NORMED },
            { &qp_linear_operation, { 1, v, h }, given, { NORMED, WEIGHT }, .out = LOGITS, .skip = last },
            { &qp_argmax_operation, { 1, v, one }, given, { LOGITS }, .out = QP_VALUE_OUT },
        },
    };
}

static const char *precondition(const qp_call *call)
{
    return qp_fused_precondition(&qp_lm_head_argmax_operation, call);
}

/* Only the last token's row counts. */
static qp_call last_row(const qp_call *call)
{
    qp_call last = *call;
    last.extent[QP_LM_HEAD_ARGMAX_T] = 1;
    return last;
}

static uint64_t flops(const qp_call *call)
{
    const qp_call last = last_row(call);
    return qp_fused_flops(&qp_lm_head_argmax_operation, &last);
}

static uint64_t bytes(const qp_call *call)
{
    const qp_call last = last_row(call);
    return qp_operands_bytes(&qp_lm_head_argmax_operation, &last);
}

#define EPS .eps = 1e-6f

static const qp_case cases[] = {
    { .name = "decode_1000", .extent = { 1, 1024, 1000, 1 }, .params = { EPS } },
    { .name = "split", .extent = { 1, 4096, 1025, 1 }, .params = { EPS, .part = 1024 } },
    { .name = "last_of_7", .extent = { 7, 1024, 1025, 1 }, .params = { EPS } },
    { .name = "last_of_33", .extent = { 33, 256, 1000, 1 }, .params = { EPS, .part = 128 } },
    { .name = "wide", .extent = { 9, 512, 1000, 1 }, .params = { EPS }, .fill = QP_FILL_WIDE },
    { .name = "ties", .extent = { 3, 256, 1025, 1 }, .params = { EPS }, .fill = QP_FILL_EDGES },
    { .name = "vocabulary", .extent = { 1, 64, 151936, 1 }, .params = { EPS }, .fill = QP_FILL_EDGES },
    { .name = "one_word", .extent = { 1, 64, 1, 1 }, .params = { EPS } },
    { .name = NULL },
};

/* argmax of logits that are still in f32. */
static qp_status argmax_of_f32(const qp_call *call)
{
    const qp_argmax_args a = qp_argmax_bind(call);
    const float *logits = call->in[QP_ARGMAX_X];
    int64_t best = 0;
    for (int64_t i = 1; i < a.v; i++)
        if (logits[i] > logits[best]) best = i;
    *a.y = best;
    return QP_OK;
}

static qp_status argmax_in_f32(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, LOGITS, qp_linear_unrounded, true);
    qp_sequence_plant(&steps, QP_VALUE_OUT, argmax_of_f32, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status highest_of_equals(const qp_call *call)
{
    const qp_argmax_args a = qp_argmax_bind(call);
    int64_t best = 0;
    for (int64_t i = 1; i < a.v; i++)
        if (qp_bf16_to_f32(a.x[i]) >= qp_bf16_to_f32(a.x[best])) best = i;
    *a.y = best;
    return QP_OK;
}

static qp_status last_of_equals(const qp_call *call)
{
    qp_sequence steps = sequence(call);
    qp_sequence_plant(&steps, QP_VALUE_OUT, highest_of_equals, false);
    return qp_sequence_run(&steps, call, QP_CONTRACT);
}

static qp_status first_row(const qp_call *call)
{
    const qp_call wrong = last_row(call);
    return qp_lm_head_argmax_cpu(&wrong);
}

static const qp_fault faults[] = {
    { "argmax-in-f32", "logits are compared before they are rounded to bf16", "*", argmax_in_f32 },
    { "last-of-equals", "of equal logits the highest index wins", "*", last_of_equals },
    { "first-token-logits", "the logits are those of the first token in place of the last", "*", first_row },
    { .name = NULL },
};

const qp_operation qp_lm_head_argmax_operation = {
    .name = "lm_head_argmax",
    .formula = "y = the v with the largest weight[v, :] . rms_norm(x)[T - 1, :]",
    .extents = { "T", "H", "V", "1" },
    .in = { { "x", QP_BF16, QP_ACTIVATION, 2, { QP_LM_HEAD_ARGMAX_T, QP_LM_HEAD_ARGMAX_HIDDEN } },
            { "norm_weight", QP_BF16, QP_WEIGHT, 1, { QP_LM_HEAD_ARGMAX_HIDDEN } },
            { "weight", QP_BF16, QP_WEIGHT, 2, { QP_LM_HEAD_ARGMAX_V, QP_LM_HEAD_ARGMAX_HIDDEN } } },
    .out = { { "y", QP_I64, QP_ACTIVATION, 1, { QP_LM_HEAD_ARGMAX_ONE } } },
    .precondition = precondition,
    .oracle = qp_lm_head_argmax_oracle,
    .flops = flops,
    .bytes = bytes,
    .cases = cases,
    .faults = faults,
    .sequence = sequence,
};
