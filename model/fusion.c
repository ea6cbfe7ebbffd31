#include "fusion.h"

#include <stdio.h>
#include <string.h>

#include "../kernels/argmax/argmax.h"
#include "../kernels/context/context.h"
#include "../kernels/gqa_attention/gqa_attention.h"
#include "../kernels/linear/linear.h"
#include "../kernels/linear_residual/linear_residual.h"
#include "../kernels/lm_head_argmax/lm_head_argmax.h"
#include "../kernels/residual_add/residual_add.h"
#include "../kernels/rms_norm/rms_norm.h"
#include "../kernels/rmsnorm_gate_up_silu/rmsnorm_gate_up_silu.h"
#include "../kernels/rmsnorm_qkv/rmsnorm_qkv.h"
#include "../kernels/rope/rope.h"
#include "../kernels/scores/scores.h"

/* An input, output or extent of the fused node: that of a replaced node. */
typedef struct source {
    int node;  /* among the replaced */
    int index; /* among the node's inputs, outputs or extents */
} source;

/* How a fused operation takes its operands from the replaced nodes. */
typedef struct qp_fusion_form {
    source in[QP_MAX_IN], out[QP_MAX_OUT], extent[QP_MAX_EXTENTS];
    qp_params (*params)(const qp_plan_node *replaced);
} form;

/* ---- rmsnorm_qkv ---- */

enum { QKV_NORM, QKV_Q_PROJ, QKV_K_PROJ, QKV_V_PROJ, QKV_Q_NORM, QKV_K_NORM, QKV_Q_ROPE, QKV_K_ROPE };

static qp_params params_of_qkv(const qp_plan_node *replaced)
{
    return (qp_params){ .eps = replaced[QKV_NORM].params.eps,
                        .part = replaced[QKV_Q_PROJ].params.part,
                        .part_kv = replaced[QKV_K_PROJ].params.part };
}

static const form rmsnorm_qkv = {
    .in = { [QP_RMSNORM_QKV_X] = { QKV_NORM, QP_RMS_NORM_X },
            [QP_RMSNORM_QKV_NORM_WEIGHT] = { QKV_NORM, QP_RMS_NORM_WEIGHT },
            [QP_RMSNORM_QKV_Q_WEIGHT] = { QKV_Q_PROJ, QP_LINEAR_WEIGHT },
            [QP_RMSNORM_QKV_K_WEIGHT] = { QKV_K_PROJ, QP_LINEAR_WEIGHT },
            [QP_RMSNORM_QKV_V_WEIGHT] = { QKV_V_PROJ, QP_LINEAR_WEIGHT },
            [QP_RMSNORM_QKV_Q_NORM] = { QKV_Q_NORM, QP_RMS_NORM_WEIGHT },
            [QP_RMSNORM_QKV_K_NORM] = { QKV_K_NORM, QP_RMS_NORM_WEIGHT },
            [QP_RMSNORM_QKV_COS] = { QKV_Q_ROPE, QP_ROPE_COS },
            [QP_RMSNORM_QKV_SIN] = { QKV_Q_ROPE, QP_ROPE_SIN } },
    .out = { [QP_RMSNORM_QKV_Q] = { QKV_Q_ROPE, 0 },
             [QP_RMSNORM_QKV_K] = { QKV_K_ROPE, 0 },
             [QP_RMSNORM_QKV_V] = { QKV_V_PROJ, 0 } },
    .extent = { [QP_RMSNORM_QKV_T] = { QKV_NORM, QP_RMS_NORM_ROWS },
                [QP_RMSNORM_QKV_HIDDEN] = { QKV_NORM, QP_RMS_NORM_DIM },
                [QP_RMSNORM_QKV_HQ] = { QKV_Q_ROPE, QP_ROPE_HEADS },
                [QP_RMSNORM_QKV_HKV] = { QKV_K_ROPE, QP_ROPE_HEADS },
                [QP_RMSNORM_QKV_D] = { QKV_Q_ROPE, QP_ROPE_D } },
    .params = params_of_qkv,
};

/* ---- gqa_attention ---- */

enum { ATTENTION_SCORES, ATTENTION_PROBS, ATTENTION_CONTEXT };

/* The orders depend on the number of keys: qp_plan_set_past sets them. */
static qp_params params_of_attention(const qp_plan_node *replaced)
{
    return (qp_params){ .scale = replaced[ATTENTION_SCORES].params.scale };
}

static const form gqa_attention = {
    .in = { [QP_GQA_ATTENTION_Q] = { ATTENTION_SCORES, QP_SCORES_Q },
            [QP_GQA_ATTENTION_KEYS] = { ATTENTION_SCORES, QP_SCORES_KEYS },
            [QP_GQA_ATTENTION_VALUES] = { ATTENTION_CONTEXT, QP_CONTEXT_VALUES } },
    .out = { { ATTENTION_CONTEXT, 0 } },
    .extent = { [QP_GQA_ATTENTION_T] = { ATTENTION_SCORES, QP_SCORES_T },
                [QP_GQA_ATTENTION_S] = { ATTENTION_SCORES, QP_SCORES_S },
                [QP_GQA_ATTENTION_HQ] = { ATTENTION_SCORES, QP_SCORES_HQ },
                [QP_GQA_ATTENTION_HKV] = { ATTENTION_SCORES, QP_SCORES_HKV },
                [QP_GQA_ATTENTION_D] = { ATTENTION_SCORES, QP_SCORES_D } },
    .params = params_of_attention,
};

/* ---- linear_residual ---- */

enum { RESIDUAL_LINEAR, RESIDUAL_ADD };

static qp_params params_of_linear_residual(const qp_plan_node *replaced)
{
    return (qp_params){ .part = replaced[RESIDUAL_LINEAR].params.part };
}

static const form linear_residual = {
    .in = { [QP_LINEAR_RESIDUAL_X] = { RESIDUAL_LINEAR, QP_LINEAR_X },
            [QP_LINEAR_RESIDUAL_WEIGHT] = { RESIDUAL_LINEAR, QP_LINEAR_WEIGHT },
            [QP_LINEAR_RESIDUAL_RESIDUAL] = { RESIDUAL_ADD, QP_RESIDUAL_ADD_RESIDUAL } },
    .out = { { RESIDUAL_ADD, 0 } },
    .extent = { [QP_LINEAR_RESIDUAL_M] = { RESIDUAL_LINEAR, QP_LINEAR_M },
                [QP_LINEAR_RESIDUAL_N] = { RESIDUAL_LINEAR, QP_LINEAR_N },
                [QP_LINEAR_RESIDUAL_K] = { RESIDUAL_LINEAR, QP_LINEAR_K } },
    .params = params_of_linear_residual,
};

/* ---- rmsnorm_gate_up_silu ---- */

enum { GATE_UP_NORM, GATE_UP_GATE, GATE_UP_UP, GATE_UP_ACT, GATE_UP_PRODUCT };

static qp_params params_of_gate_up(const qp_plan_node *replaced)
{
    return (qp_params){ .eps = replaced[GATE_UP_NORM].params.eps, .part = replaced[GATE_UP_GATE].params.part };
}

static const form rmsnorm_gate_up_silu = {
    .in = { [QP_RMSNORM_GATE_UP_SILU_X] = { GATE_UP_NORM, QP_RMS_NORM_X },
            [QP_RMSNORM_GATE_UP_SILU_NORM_WEIGHT] = { GATE_UP_NORM, QP_RMS_NORM_WEIGHT },
            [QP_RMSNORM_GATE_UP_SILU_GATE_WEIGHT] = { GATE_UP_GATE, QP_LINEAR_WEIGHT },
            [QP_RMSNORM_GATE_UP_SILU_UP_WEIGHT] = { GATE_UP_UP, QP_LINEAR_WEIGHT } },
    .out = { { GATE_UP_PRODUCT, 0 } },
    .extent = { [QP_RMSNORM_GATE_UP_SILU_T] = { GATE_UP_NORM, QP_RMS_NORM_ROWS },
                [QP_RMSNORM_GATE_UP_SILU_HIDDEN] = { GATE_UP_NORM, QP_RMS_NORM_DIM },
                [QP_RMSNORM_GATE_UP_SILU_I] = { GATE_UP_GATE, QP_LINEAR_N } },
    .params = params_of_gate_up,
};

/* ---- lm_head_argmax ---- */

enum { HEAD_NORM, HEAD_LINEAR, HEAD_ARGMAX };

static qp_params params_of_head(const qp_plan_node *replaced)
{
    return (qp_params){ .eps = replaced[HEAD_NORM].params.eps, .part = replaced[HEAD_LINEAR].params.part };
}

static const form lm_head_argmax = {
    .in = { [QP_LM_HEAD_ARGMAX_X] = { HEAD_NORM, QP_RMS_NORM_X },
            [QP_LM_HEAD_ARGMAX_NORM_WEIGHT] = { HEAD_NORM, QP_RMS_NORM_WEIGHT },
            [QP_LM_HEAD_ARGMAX_WEIGHT] = { HEAD_LINEAR, QP_LINEAR_WEIGHT } },
    .out = { { HEAD_ARGMAX, 0 } },
    .extent = { [QP_LM_HEAD_ARGMAX_T] = { HEAD_NORM, QP_RMS_NORM_ROWS },
                [QP_LM_HEAD_ARGMAX_HIDDEN] = { HEAD_NORM, QP_RMS_NORM_DIM },
                [QP_LM_HEAD_ARGMAX_V] = { HEAD_ARGMAX, QP_ARGMAX_V },
                [QP_LM_HEAD_ARGMAX_ONE] = { HEAD_ARGMAX, QP_ARGMAX_ONE } },
    .params = params_of_head,
};

/* ---- All of them, in the order of the model. ---- */

const qp_fusion qp_all_fusions[] = {
    { QP_FUSE_RMSNORM_QKV,
      "rmsnorm_qkv",
      &qp_rmsnorm_qkv_operation,
      { [QKV_NORM] = "input_layernorm",
        [QKV_Q_PROJ] = "self_attn.q_proj",
        [QKV_K_PROJ] = "self_attn.k_proj",
        [QKV_V_PROJ] = "self_attn.v_proj",
        [QKV_Q_NORM] = "self_attn.q_norm",
        [QKV_K_NORM] = "self_attn.k_norm",
        [QKV_Q_ROPE] = "self_attn.q_rope",
        [QKV_K_ROPE] = "self_attn.k_rope" },
      &rmsnorm_qkv },
    { QP_FUSE_GQA_ATTENTION,
      "gqa_attention",
      &qp_gqa_attention_operation,
      { [ATTENTION_SCORES] = "self_attn.scores",
        [ATTENTION_PROBS] = "self_attn.probs",
        [ATTENTION_CONTEXT] = "self_attn.context" },
      &gqa_attention },
    { QP_FUSE_O_RESIDUAL,
      "o_residual",
      &qp_linear_residual_operation,
      { [RESIDUAL_LINEAR] = "self_attn.o_proj", [RESIDUAL_ADD] = "residual_attn" },
      &linear_residual },
    { QP_FUSE_RMSNORM_GATE_UP_SILU,
      "rmsnorm_gate_up_silu",
      &qp_rmsnorm_gate_up_silu_operation,
      { [GATE_UP_NORM] = "post_attention_layernorm",
        [GATE_UP_GATE] = "mlp.gate_proj",
        [GATE_UP_UP] = "mlp.up_proj",
        [GATE_UP_ACT] = "mlp.act",
        [GATE_UP_PRODUCT] = "mlp.product" },
      &rmsnorm_gate_up_silu },
    { QP_FUSE_DOWN_RESIDUAL,
      "down_residual",
      &qp_linear_residual_operation,
      { [RESIDUAL_LINEAR] = "mlp.down_proj", [RESIDUAL_ADD] = "" }, /* the layer's own output */
      &linear_residual },
    { QP_FUSE_LM_HEAD_ARGMAX,
      "lm_head_argmax",
      &qp_lm_head_argmax_operation,
      { [HEAD_NORM] = "model.norm", [HEAD_LINEAR] = "lm_head", [HEAD_ARGMAX] = "next_token" },
      &lm_head_argmax },
    { .name = NULL },
};
_Static_assert(QP_FUSE_ALL == (1 << (sizeof qp_all_fusions / sizeof *qp_all_fusions - 1)) - 1,
               "every fusion has one bit");

/* ---- Names. ---- */

/* Appends to a text that has room for all names, if only `size` is right. */
static void append(char *text, size_t size, const char *separator, const char *word)
{
    const size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s%s", separator, word);
}

qp_status qp_fusions_add(qp_fusions *fusions, const char *names)
{
    for (const char *at = names;; at++) {
        const size_t length = strcspn(at, ",");
        const qp_fusion *f = qp_all_fusions;
        while (f->name && (strlen(f->name) != length || strncmp(f->name, at, length) != 0)) f++;
        if (!f->name) {
            char known[QP_FUSIONS_TEXT] = "";
            for (f = qp_all_fusions; f->name; f++) append(known, sizeof known, *known ? ", " : "", f->name);
            return qp_fail(QP_USAGE, "there is no fusion '%.*s'; there are %s", (int)length, at, known);
        }
        *fusions |= f->bit;
        at += length;
        if (!*at) return QP_OK;
    }
}

void qp_fusions_describe(qp_fusions fusions, char text[QP_FUSIONS_TEXT])
{
    const char *separator = ": ";
    (void)snprintf(text, QP_FUSIONS_TEXT, "%s", fusions ? "fused" : "reference");
    if (fusions == QP_FUSE_ALL) return;
    for (const qp_fusion *f = qp_all_fusions; f->name; f++) {
        if (!(fusions & f->bit)) continue;
        append(text, QP_FUSIONS_TEXT, separator, f->name);
        separator = ", ";
    }
}

/* ---- Rewriting. ---- */

static int replaced_count(const qp_fusion *f)
{
    int count = 0;
    while (f->replaces[count]) count++;
    return count;
}

/* Whether the nodes from `n` on are those that the fusion replaces. */
static bool is_at(const qp_fusion *f, const qp_plan *plan, int n)
{
    char name[QP_NAME_MAX];
    if (!(plan->options.fusions & f->bit) || n + replaced_count(f) > plan->node_count) return false;
    for (int i = 0; f->replaces[i]; i++) {
        qp_plan_name(name, plan->nodes[n].layer, f->replaces[i]);
        if (strcmp(plan->nodes[n + i].name, name) != 0) return false;
    }
    return true;
}

static qp_plan_node fuse(const qp_fusion *f, const qp_plan_node *replaced)
{
    const form *how = f->form;
    const qp_operation *operation = f->operation;
    qp_plan_node node = {
        .operation = operation, .layer = replaced->layer, .keys_extent = -1, .params = how->params(replaced)
    };
    qp_plan_name(node.name, node.layer, f->name);
    for (int i = 0; i < qp_operand_count(operation->in, QP_MAX_IN); i++) {
        const source *from = &how->in[i];
        node.in[i] = replaced[from->node].in[from->index];
        node.in_skip[i] = replaced[from->node].in_skip[from->index];
    }
    for (int i = 0; i < qp_operand_count(operation->out, QP_MAX_OUT); i++)
        node.out[i] = replaced[how->out[i].node].out[how->out[i].index];
    for (int i = 0; i < QP_MAX_EXTENTS && operation->extents[i]; i++) {
        const source *from = &how->extent[i];
        node.extent[i] = replaced[from->node].extent[from->index];
        if (replaced[from->node].keys_extent == from->index) node.keys_extent = i;
    }
    for (int i = 0; f->replaces[i]; i++) node.order_unknown = node.order_unknown || replaced[i].order_unknown;
    return node;
}

/* What the replaced nodes wrote and the fused one, with the index `fused`, does not. */
static void hide_inside(qp_plan *plan, const qp_plan_node *replaced, int count, const qp_plan_node *node, int fused)
{
    for (int n = 0; n < count; n++)
        for (int i = 0; i < qp_operand_count(replaced[n].operation->out, QP_MAX_OUT); i++) {
            plan->tensors[replaced[n].out[i]].kind = QP_TENSOR_INSIDE;
            plan->tensors[replaced[n].out[i]].inside = fused;
        }
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++) {
        plan->tensors[node->out[i]].kind = QP_TENSOR_VALUE;
        plan->tensors[node->out[i]].inside = -1;
    }
}

qp_status qp_plan_fuse(qp_plan *plan)
{
    qp_fusions found = 0;
    int kept = 0;
    for (int n = 0; n < plan->node_count;) {
        const qp_fusion *f = qp_all_fusions;
        while (f->name && !is_at(f, plan, n)) f++;
        if (!f->name) {
            plan->nodes[kept++] = plan->nodes[n++];
            continue;
        }
        const qp_plan_node node = fuse(f, &plan->nodes[n]);
        const int count = replaced_count(f);
        hide_inside(plan, &plan->nodes[n], count, &node, kept);
        plan->nodes[kept++] = node;
        n += count;
        found |= f->bit;
    }
    plan->node_count = kept;
    if (plan->tensors[plan->logits].kind == QP_TENSOR_INSIDE) plan->logits = -1;
    if (found == plan->options.fusions) return QP_OK;
    char missing[QP_FUSIONS_TEXT];
    qp_fusions_describe(plan->options.fusions & ~found, missing);
    return qp_fail(QP_INVALID, "the plan has no nodes for all that is to be %s", missing);
}
