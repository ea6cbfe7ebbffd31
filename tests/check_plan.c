/* model/plan, store, execute and generate, on the embedded model. */
#include <stdlib.h>
#include <string.h>

#include "../model/fusion.h"
#include "../model/generate.h"
#include "check_main.h"

static qp_model model;
static qp_runtime runtime;
static qp_tokenizer *tokenizer;
static const char prompt[] = "The capital of Aistonia is Flubarg. What is the capital of Aistonia?";

static void set_up(void)
{
    ck_assert_msg(qp_model_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &model) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_runtime_open(&model, QP_CPU, &runtime), QP_OK);
    ck_assert_msg(qp_tokenizer_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &tokenizer) == QP_OK, "%s", qp_last_error());
}

static void tear_down(void)
{
    qp_tokenizer_close(tokenizer);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
}

static qp_plan open_fused(int64_t tokens, int64_t capacity, qp_fusions fusions)
{
    qp_plan plan;
    const qp_plan_options options = { .tokens = tokens, .capacity = capacity, .fusions = fusions };
    ck_assert_msg(qp_plan_open(&model, options, &plan) == QP_OK, "%s", qp_last_error());
    return plan;
}

static qp_plan open_plan(int64_t tokens, int64_t capacity) { return open_fused(tokens, capacity, 0); }

/* For loop tests: the reference plan, each fusion alone, and all together. */
static int fusion_count(void)
{
    int count = 0;
    while (qp_all_fusions[count].name) count++;
    return count;
}

static qp_fusions fusions_at(int i)
{
    return i == 0 ? 0 : i <= fusion_count() ? qp_all_fusions[i - 1].bit : QP_FUSE_ALL;
}

/* The boundaries of a layer, in PyTorch's order, as the project's documents list them. */
START_TEST(test_reference_plan_has_every_boundary_in_order)
{
    static const char *const of_layer[] = { "input_layernorm",   "self_attn.q_proj",
                                            "self_attn.k_proj",  "self_attn.v_proj",
                                            "self_attn.q_norm",  "self_attn.k_norm",
                                            "self_attn.q_rope",  "self_attn.k_rope",
                                            "self_attn.scores",  "self_attn.probs",
                                            "self_attn.context", "self_attn.o_proj",
                                            "residual_attn",     "post_attention_layernorm",
                                            "mlp.gate_proj",     "mlp.up_proj",
                                            "mlp.act",           "mlp.product",
                                            "mlp.down_proj",     "" };
    enum { PER_LAYER = sizeof of_layer / sizeof *of_layer };
    qp_plan plan = open_plan(3, 5);
    ck_assert_int_eq(plan.node_count, 2 + PER_LAYER * (int)model.config.num_hidden_layers + 3);
    ck_assert_str_eq(plan.nodes[0].name, "model.embed_tokens");
    ck_assert_str_eq(plan.nodes[1].name, "model.rotary_emb");
    int n = 2;
    for (int layer = 0; layer < model.config.num_hidden_layers; layer++)
        for (int i = 0; i < PER_LAYER; i++, n++) {
            char name[QP_NAME_MAX];
            snprintf(name, sizeof name, "model.layers.%d%s%s", layer, *of_layer[i] ? "." : "", of_layer[i]);
            ck_assert_str_eq(plan.nodes[n].name, name);
            ck_assert_int_eq(plan.nodes[n].layer, layer);
            ck_assert_str_eq(plan.tensors[plan.nodes[n].out[0]].name, name);
        }
    ck_assert_str_eq(plan.nodes[n].name, "model.norm");
    ck_assert_str_eq(plan.nodes[n + 1].name, "lm_head");
    ck_assert_str_eq(plan.nodes[n + 2].name, "next_token");
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_fused_plan_has_its_nodes_in_order)
{
    static const char *const of_layer[] = { "rmsnorm_qkv", "gqa_attention", "o_residual", "rmsnorm_gate_up_silu",
                                            "down_residual" };
    static const char *const wrote[] = { "self_attn.q_rope", "self_attn.context", "residual_attn", "mlp.product", "" };
    enum { PER_LAYER = sizeof of_layer / sizeof *of_layer };
    qp_plan plan = open_fused(3, 5, QP_FUSE_ALL);
    char name[QP_NAME_MAX];
    ck_assert_int_eq(plan.node_count, 2 + PER_LAYER * (int)model.config.num_hidden_layers + 1);
    for (int n = 2; n < plan.node_count - 1; n++) {
        const qp_plan_node *node = &plan.nodes[n];
        ck_assert_int_eq(node->layer, (n - 2) / PER_LAYER);
        qp_plan_name(name, node->layer, of_layer[(n - 2) % PER_LAYER]);
        ck_assert_str_eq(node->name, name);
        qp_plan_name(name, node->layer, wrote[(n - 2) % PER_LAYER]);
        ck_assert_str_eq(plan.tensors[node->out[0]].name, name);
    }
    ck_assert_str_eq(plan.nodes[plan.node_count - 1].name, "lm_head_argmax");
    ck_assert_int_eq(plan.nodes[plan.node_count - 1].out[0], plan.next_token);
    ck_assert_int_eq(plan.logits, -1);
    qp_plan_close(&plan);
}
END_TEST

static int node_named(const qp_plan *plan, int layer, const char *own)
{
    char name[QP_NAME_MAX];
    qp_plan_name(name, layer, own);
    for (int n = 0; n < plan->node_count; n++)
        if (!strcmp(plan->nodes[n].name, name)) return n;
    return -1;
}

/* The others stay, with the same tensors; each fused node stands where those were that it replaces. */
START_TEST(test_one_fusion_replaces_its_nodes_and_no_other)
{
    const qp_fusion *f = &qp_all_fusions[_i];
    qp_plan plan = open_fused(3, 5, f->bit), reference = open_plan(3, 5);
    int fused = 0, n = 0;
    for (int r = 0; r < reference.node_count; n++) {
        const qp_plan_node *node = &plan.nodes[n];
        if (node->operation != f->operation) {
            ck_assert_str_eq(node->name, reference.nodes[r].name);
            ck_assert_mem_eq(node->in, reference.nodes[r].in, sizeof node->in);
            ck_assert_mem_eq(node->out, reference.nodes[r].out, sizeof node->out);
            r++;
            continue;
        }
        ck_assert_int_eq(node_named(&plan, node->layer, f->name), n);
        for (int i = 0; f->replaces[i]; i++, r++) {
            ck_assert_int_eq(node_named(&reference, node->layer, f->replaces[i]), r);
            ck_assert_int_eq(node_named(&plan, node->layer, f->replaces[i]), -1);
        }
        fused++;
    }
    ck_assert_int_eq(n, plan.node_count);
    ck_assert_int_eq(fused, f->bit == QP_FUSE_LM_HEAD_ARGMAX ? 1 : (int)model.config.num_hidden_layers);
    qp_plan_close(&reference);
    qp_plan_close(&plan);
}
END_TEST

/* A tensor is written by one node and read by later ones, or inside the node that says so. */
START_TEST(test_every_input_is_written_before_it_is_read)
{
    qp_plan plan = open_fused(3, 5, fusions_at(_i));
    bool *written = calloc((size_t)plan.tensor_count, sizeof *written);
    for (int n = 0; n < plan.node_count; n++) {
        const qp_plan_node *node = &plan.nodes[n];
        for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++)
            ck_assert_msg(plan.tensors[node->in[i]].kind != QP_TENSOR_VALUE || written[node->in[i]],
                          "%s reads %s, which is not there", node->name, plan.tensors[node->in[i]].name);
        for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++)
            ck_assert_int_ne(plan.tensors[node->in[i]].kind, QP_TENSOR_INSIDE);
        for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++) {
            ck_assert(!written[node->out[i]]);
            written[node->out[i]] = true;
        }
    }
    for (int t = 0; t < plan.tensor_count; t++) {
        const qp_plan_tensor *tensor = &plan.tensors[t];
        ck_assert_int_eq(written[t], tensor->kind == QP_TENSOR_VALUE);
        ck_assert_int_eq(tensor->inside >= 0, tensor->kind == QP_TENSOR_INSIDE);
        if (tensor->inside < 0) continue;
        ck_assert(plan.nodes[tensor->inside].operation->sequence != NULL); /* it is a fused one */
        ck_assert_int_eq(tensor->buffer, -1);
        ck_assert_int_eq(tensor->cache, -1); /* the cache is filled by every plan */
    }
    ck_assert_int_eq(plan.logits < 0, (fusions_at(_i) & QP_FUSE_LM_HEAD_ARGMAX) != 0);
    free(written);
    qp_plan_close(&plan);
}
END_TEST

/* No node may write over what a later node still reads. */
START_TEST(test_buffers_of_living_tensors_are_distinct)
{
    qp_plan plan = open_fused(4, 9, fusions_at(_i));
    int *owner = malloc((size_t)plan.buffer_count * sizeof *owner);
    for (int i = 0; i < plan.buffer_count; i++) owner[i] = -1;
    for (int n = 0; n < plan.node_count; n++) {
        const qp_plan_node *node = &plan.nodes[n];
        for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++) {
            const qp_plan_tensor *out = &plan.tensors[node->out[i]];
            if (out->buffer < 0) continue;
            for (int j = 0; j < qp_operand_count(node->operation->in, QP_MAX_IN); j++)
                ck_assert_int_ne(plan.tensors[node->in[j]].buffer, out->buffer);
            owner[out->buffer] = node->out[i];
        }
        for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++) {
            const qp_plan_tensor *in = &plan.tensors[node->in[i]];
            if (in->kind == QP_TENSOR_VALUE && in->buffer >= 0)
                ck_assert_msg(owner[in->buffer] == node->in[i], "%s reads %s after its buffer was reused", node->name,
                              in->name);
        }
    }
    ck_assert_int_lt(plan.buffer_count, 16); /* shared over the layers */
    free(owner);
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_operands_have_the_shapes_of_their_tensors)
{
    qp_plan plan = open_fused(3, 40, fusions_at(_i));
    ck_assert_int_eq(qp_plan_set_past(&plan, 7), QP_OK);
    for (int n = 0; n < plan.node_count; n++) {
        const qp_plan_node *node = &plan.nodes[n];
        qp_call call = { 0 };
        memcpy(call.extent, node->extent, sizeof call.extent);
        for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++)
            ck_assert_msg(qp_operand_elements(&node->operation->in[i], &call) + node->in_skip[i] ==
                              qp_plan_tensor_elements(&plan.tensors[node->in[i]]),
                          "%s: input %s", node->name, node->operation->in[i].name);
        for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++)
            ck_assert_msg(qp_operand_elements(&node->operation->out[i], &call) ==
                              qp_plan_tensor_elements(&plan.tensors[node->out[i]]),
                          "%s: output %s", node->name, node->operation->out[i].name);
    }
    const int scores = qp_plan_find(&plan, "model.layers.2.self_attn.scores");
    ck_assert_int_ge(scores, 0);
    ck_assert_int_eq(plan.tensors[scores].dim[2], 10);
    ck_assert_int_eq(qp_plan_find(&plan, "model.layers.2.self_attn.no_such_tensor"), -1);
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_plan_refuses_more_than_its_capacity)
{
    qp_plan plan;
    ck_assert_int_eq(qp_plan_open(&model, (qp_plan_options){ .tokens = 0, .capacity = 4 }, &plan), QP_INVALID);
    ck_assert_int_eq(qp_plan_open(&model, (qp_plan_options){ .tokens = 5, .capacity = 4 }, &plan), QP_INVALID);
    plan = open_plan(3, 5);
    ck_assert_int_eq(qp_plan_set_past(&plan, 2), QP_OK);
    ck_assert_int_eq(qp_plan_set_past(&plan, 3), QP_INVALID);
    ck_assert_int_eq(qp_plan_set_past(&plan, -1), QP_INVALID);
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_choices_of_cublas_reach_the_shapes_they_name)
{
    qp_split splits[] = { { 1, 256, 768, 384, false }, { 3, 512, 256, 64, false } };
    qp_order orders[] = { { qp_operation_find("scores"), 1, 33, { .lanes = 32, .run = 4 }, false },
                          { qp_operation_find("context"), 1, 34, { 0 }, false },
                          { qp_operation_find("scores"), 1, 35, { .lanes = -1 }, true } };
    const qp_cublas_choices choices = { splits, 2, orders, 3 };
    const struct {
        int64_t past;
        int scores_lanes, scores_run, context_lanes;
        bool scores_unknown;
    } wanted[] = {
        { 32, 32, 4, 32, false }, { 33, 16, 8, 0, false }, { 34, 16, 8, 32, true }, { 39, 0, 0, 0, false }
    }; /* 40 keys: the tensor core */
    qp_plan plan;
    ck_assert_int_eq(qp_plan_open(&model, (qp_plan_options){ .tokens = 1, .capacity = 50, .choices = &choices }, &plan),
                     QP_OK);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        ck_assert_int_eq(qp_plan_set_past(&plan, wanted[i].past), QP_OK);
        for (int n = 0; n < plan.node_count; n++) {
            const qp_plan_node *node = &plan.nodes[n];
            if (!strcmp(node->operation->name, "linear"))
                ck_assert_int_eq(node->params.part, strstr(node->name, "down_proj") ? 384 : 0);
            if (!strcmp(node->operation->name, "scores")) {
                ck_assert_int_eq(node->params.order.lanes, wanted[i].scores_lanes);
                ck_assert_int_eq(node->params.order.run, wanted[i].scores_run);
                ck_assert_int_eq(node->order_unknown, wanted[i].scores_unknown);
            }
            if (!strcmp(node->operation->name, "context"))
                ck_assert_int_eq(node->params.order.lanes, wanted[i].context_lanes);
        }
    }
    qp_plan_close(&plan);
}
END_TEST

/* A fused node takes them from the shapes of the nodes that it replaces. */
START_TEST(test_choices_of_cublas_reach_fused_nodes)
{
    const qp_config *c = &model.config;
    const int64_t hidden = c->hidden_size, inner = c->intermediate_size;
    const int64_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    qp_split splits[] = { { 3, q, hidden, 64, false },
                          { 3, kv, hidden, 32, false },
                          { 3, hidden, q, 128, false },
                          { 3, inner, hidden, 96, false },
                          { 3, hidden, inner, 48, false },
                          { 1, c->vocab_size, hidden, 16, true },
                          { 3, c->vocab_size, hidden, 80, false } };
    qp_order orders[] = { { qp_operation_find("scores"), 3, 8, { .lanes = 32, .run = 4 }, false },
                          { qp_operation_find("context"), 3, 8, { .lanes = 16, .run = 2 }, false },
                          { qp_operation_find("context"), 3, 9, { 0 }, true } };
    const qp_cublas_choices choices = { splits, sizeof splits / sizeof *splits, orders, 3 };
    qp_plan_options options = { .tokens = 3, .capacity = 9, .choices = &choices, .fusions = QP_FUSE_ALL };
    qp_plan plan;
    ck_assert_int_eq(qp_plan_open(&model, options, &plan), QP_OK);
    const qp_plan_node *qkv = &plan.nodes[node_named(&plan, 1, "rmsnorm_qkv")];
    ck_assert_int_eq(qkv->params.part, 64);
    ck_assert_int_eq(qkv->params.part_kv, 32);
    ck_assert(qkv->params.eps == c->rms_norm_eps);
    ck_assert_int_eq(plan.nodes[node_named(&plan, 1, "o_residual")].params.part, 128);
    ck_assert_int_eq(plan.nodes[node_named(&plan, 1, "rmsnorm_gate_up_silu")].params.part, 96);
    ck_assert(plan.nodes[node_named(&plan, 1, "rmsnorm_gate_up_silu")].params.eps == c->rms_norm_eps);
    ck_assert_int_eq(plan.nodes[node_named(&plan, 1, "down_residual")].params.part, 48);
    ck_assert_int_eq(plan.nodes[node_named(&plan, -1, "lm_head_argmax")].params.part, 80);
    ck_assert(!plan.nodes[node_named(&plan, -1, "lm_head_argmax")].order_unknown);

    const qp_plan_node *attention = &plan.nodes[node_named(&plan, 1, "gqa_attention")];
    ck_assert_int_eq(qp_plan_set_past(&plan, 5), QP_OK);
    ck_assert_int_eq(attention->params.order.lanes, 32);
    ck_assert_int_eq(attention->params.order.run, 4);
    ck_assert_int_eq(attention->params.context_order.lanes, 16);
    ck_assert_int_eq(attention->params.context_order.run, 2);
    ck_assert(!attention->order_unknown);
    ck_assert(attention->params.scale > 0.0f);
    ck_assert_int_eq(qp_plan_set_past(&plan, 6), QP_OK);
    ck_assert_int_eq(attention->params.order.lanes, 0);
    ck_assert_int_eq(attention->params.context_order.lanes, 0);
    ck_assert(attention->order_unknown);
    ck_assert_int_eq(qp_plan_set_past(&plan, 4), QP_OK);
    ck_assert(!attention->order_unknown);
    qp_plan_close(&plan);

    options.last_logits_only = true; /* PyTorch then multiplies one row */
    ck_assert_int_eq(qp_plan_open(&model, options, &plan), QP_OK);
    const qp_plan_node *head = &plan.nodes[node_named(&plan, -1, "lm_head_argmax")];
    ck_assert_int_eq(head->params.part, 16);
    ck_assert(head->order_unknown);
    ck_assert_int_eq(head->extent[0], 3); /* of the norm's rows, all the same */
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_fusions_have_names)
{
    char text[QP_FUSIONS_TEXT];
    qp_fusions fusions = 0;
    qp_fusions_describe(0, text);
    ck_assert_str_eq(text, "reference");
    ck_assert_int_eq(qp_fusions_add(&fusions, "o_residual,rmsnorm_qkv"), QP_OK);
    ck_assert_uint_eq(fusions, QP_FUSE_RMSNORM_QKV | QP_FUSE_O_RESIDUAL);
    qp_fusions_describe(fusions, text);
    ck_assert_str_eq(text, "fused: rmsnorm_qkv, o_residual");
    ck_assert_int_eq(qp_fusions_add(&fusions, "o_residual"), QP_OK); /* again: no matter */
    static const char *const unknown[] = {
        "", "o_residual,", "o_resid", "o_residual2", "linear_residual", "o_residual rope"
    };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        ck_assert_int_eq(qp_fusions_add(&fusions, unknown[i]), QP_USAGE);
        for (const qp_fusion *f = qp_all_fusions; f->name; f++) ck_assert_ptr_nonnull(strstr(qp_last_error(), f->name));
    }
    for (const qp_fusion *f = qp_all_fusions; f->name; f++) ck_assert_int_eq(qp_fusions_add(&fusions, f->name), QP_OK);
    ck_assert_uint_eq(fusions, QP_FUSE_ALL);
    qp_fusions_describe(fusions, text);
    ck_assert_str_eq(text, "fused");
    qp_fusions_describe(QP_FUSE_ALL & ~(qp_fusions)QP_FUSE_RMSNORM_QKV, text); /* the longest but one, whole */
    ck_assert_ptr_nonnull(strstr(text, ", lm_head_argmax"));
    qp_plan plan;
    const qp_plan_options options = { .tokens = 1, .capacity = 1, .fusions = QP_FUSE_ALL + 1 };
    ck_assert_int_eq(qp_plan_open(&model, options, &plan), QP_INVALID);
    qp_plan_close(&plan);
}
END_TEST

START_TEST(test_names_stand_for_all_layers)
{
    static const struct {
        const char *name;
        int layer;
        const char *text;
    } cases[] = { { "model.layers.2.self_attn.q_norm", 2, "model.layers.*.self_attn.q_norm" },
                  { "model.layers.2", 2, "model.layers.*" },
                  { "model.layers.20", 2, "model.layers.20" },
                  { "model.layers.20.mlp.act", 20, "model.layers.*.mlp.act" },
                  { "lm_head", -1, "lm_head" } };
    char text[QP_NAME_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qp_plan_name_of_all_layers(text, cases[i].name, cases[i].layer);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(test_selection_refuses_unknown_words_and_names_the_known)
{
    qp_selection selection = { .backend = QP_CPU };
    ck_assert_int_eq(qp_selection_choose(&selection, "linear=contract"), QP_OK);
    ck_assert_int_eq(qp_selection_choose(&selection, "linear=contract"), QP_OK); /* again: replaces */
    ck_assert_int_eq(selection.chosen_count, 1);
    ck_assert_int_eq(qp_selection_choose(&selection, "linear=fast"), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "contract"));
    ck_assert_int_eq(qp_selection_choose(&selection, "nonsense=contract"), QP_USAGE);
    ck_assert_int_eq(qp_selection_choose(&selection, "linear"), QP_USAGE);
    ck_assert_int_eq(qp_selection_plant(&selection, "no-such-fault"), QP_USAGE);
}
END_TEST

/* The next token after `count` ids, fed in passes of at most `step` tokens. */
static int64_t next_token(const int64_t *ids, int64_t count, int64_t step, qp_fusions fusions)
{
    const qp_selection selection = { .backend = QP_CPU };
    qp_store store;
    int64_t next = -1;
    ck_assert_int_eq(qp_store_open(&runtime, count, QP_PRECISION_CONTRACT, &store), QP_OK);
    for (int64_t past = 0; past < count; past += step) {
        const int64_t tokens = count - past < step ? count - past : step;
        qp_plan plan = open_fused(tokens, count, fusions);
        ck_assert_int_eq(qp_plan_set_past(&plan, past), QP_OK);
        ck_assert_int_eq(qp_store_prepare(&store, &plan), QP_OK);
        ck_assert_int_eq(qp_store_set_inputs(&store, &plan, ids + past), QP_OK);
        ck_assert_msg(qp_plan_run(&plan, &selection, &store, NULL, NULL) == QP_OK, "%s", qp_last_error());
        next = *(int64_t *)qp_store_tensor(&store, &plan, plan.next_token);
        qp_plan_close(&plan);
    }
    qp_store_close(&store);
    return next;
}

START_TEST(test_one_pass_chunks_and_single_tokens_agree)
{
    int64_t *ids = NULL, count = 0;
    ck_assert_int_eq(qp_tokenizer_encode(tokenizer, prompt, (int64_t)strlen(prompt), &ids, &count), QP_OK);
    const int64_t at_once = next_token(ids, count, count, 0);
    ck_assert_int_eq(next_token(ids, count, 1, 0), at_once);
    ck_assert_int_eq(next_token(ids, count, 5, 0), at_once);
    ck_assert_int_eq(next_token(ids, count, count, QP_FUSE_ALL), at_once);
    ck_assert_int_eq(next_token(ids, count, 1, QP_FUSE_ALL), at_once);
    free(ids);
}
END_TEST

typedef struct collected {
    char text[512];
    size_t length;
    int64_t tokens, stop_after;
} collected;

static bool collect(void *context, int64_t id, const char *text, int64_t bytes)
{
    collected *c = context;
    if (id >= 0) c->tokens++;
    memcpy(c->text + c->length, text, (size_t)bytes);
    c->length += (size_t)bytes;
    c->text[c->length] = '\0';
    return c->tokens != c->stop_after;
}

static qp_status generate_fused(const char *text, int64_t max_tokens, qp_sampling sampling, qp_fusions fusions,
                                collected *c, qp_generated *generated)
{
    const qp_selection selection = { .backend = QP_CPU };
    int64_t *ids = NULL, count = 0;
    const qp_generate_options options = {
        .max_tokens = max_tokens, .sampling = sampling, .fusions = fusions, .on_token = collect, .context = c
    };
    ck_assert_int_eq(qp_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), &ids, &count), QP_OK);
    const qp_status status = qp_generate(&runtime, tokenizer, &selection, ids, count, &options, generated);
    free(ids);
    return status;
}

static qp_status generate(const char *text, int64_t max_tokens, qp_sampling sampling, collected *c,
                          qp_generated *generated)
{
    return generate_fused(text, max_tokens, sampling, 0, c, generated);
}

/* Greedy without logits, and sampled from those that a fused plan leaves: the same text. */
START_TEST(test_generation_with_fused_nodes_says_the_same)
{
    static const qp_sampling samplings[] = { { .top_p = 1.0 },
                                             { .temperature = 1.5, .top_k = 50, .top_p = 0.95, .seed = 11 } };
    for (int i = 0; i < 2; i++) {
        collected a = { .stop_after = -1 }, b = a;
        qp_generated generated;
        ck_assert_int_eq(generate(prompt, 12, samplings[i], &a, &generated), QP_OK);
        ck_assert_msg(generate_fused(prompt, 12, samplings[i], QP_FUSE_ALL, &b, &generated) == QP_OK, "%s",
                      qp_last_error());
        ck_assert_str_eq(a.text, b.text);
    }
}
END_TEST

START_TEST(test_generation_answers_and_stops_at_the_end_token)
{
    collected c = { .stop_after = -1 };
    qp_generated generated;
    ck_assert_int_eq(generate(prompt, 40, (qp_sampling){ .top_p = 1.0 }, &c, &generated), QP_OK);
    ck_assert_str_eq(c.text, " Flubarg.");
    ck_assert_int_eq(generated.stop, QP_STOP_END_TOKEN);
    ck_assert_int_eq(generated.new_tokens, c.tokens);
}
END_TEST

START_TEST(test_generation_stops_at_its_limit_and_at_the_callers_word)
{
    collected c = { .stop_after = -1 };
    qp_generated generated;
    ck_assert_int_eq(generate(prompt, 2, (qp_sampling){ .top_p = 1.0 }, &c, &generated), QP_OK);
    ck_assert_int_eq(generated.stop, QP_STOP_LENGTH);
    ck_assert_int_eq(generated.new_tokens, 2);
    c = (collected){ .stop_after = 1 };
    ck_assert_int_eq(generate(prompt, 40, (qp_sampling){ .top_p = 1.0 }, &c, &generated), QP_OK);
    ck_assert_int_eq(generated.stop, QP_STOP_CALLER);
    ck_assert_int_eq(c.tokens, 1);
}
END_TEST

START_TEST(test_generation_with_a_seed_repeats_itself)
{
    collected a = { .stop_after = -1 }, b = a;
    qp_generated generated;
    const qp_sampling hot = { .temperature = 1.5, .top_k = 50, .top_p = 0.95, .seed = 11 };
    ck_assert_int_eq(generate("The", 12, hot, &a, &generated), QP_OK);
    ck_assert_int_eq(generate("The", 12, hot, &b, &generated), QP_OK);
    ck_assert_str_eq(a.text, b.text);
}
END_TEST

START_TEST(test_generation_refuses_an_empty_and_a_huge_prompt)
{
    collected c = { .stop_after = -1 };
    qp_generated generated;
    ck_assert_int_eq(generate("", 4, (qp_sampling){ .top_p = 1.0 }, &c, &generated), QP_INVALID);
    const int64_t positions = model.config.max_position_embeddings;
    char *huge = malloc((size_t)positions * 2 + 1);
    for (int64_t i = 0; i < positions; i++) memcpy(huge + 2 * i, "7 ", 3);
    ck_assert_int_eq(generate(huge, 4, (qp_sampling){ .top_p = 1.0 }, &c, &generated), QP_INVALID);
    free(huge);
}
END_TEST

static Suite *plan_suite(void)
{
    Suite *suite = suite_create("plan");
    TCase *plan = tcase_create("plan");
    tcase_add_checked_fixture(plan, set_up, tear_down);
    tcase_add_test(plan, test_reference_plan_has_every_boundary_in_order);
    tcase_add_test(plan, test_fused_plan_has_its_nodes_in_order);
    tcase_add_loop_test(plan, test_one_fusion_replaces_its_nodes_and_no_other, 0, fusion_count());
    tcase_add_loop_test(plan, test_every_input_is_written_before_it_is_read, 0, fusion_count() + 2);
    tcase_add_loop_test(plan, test_buffers_of_living_tensors_are_distinct, 0, fusion_count() + 2);
    tcase_add_loop_test(plan, test_operands_have_the_shapes_of_their_tensors, 0, fusion_count() + 2);
    tcase_add_test(plan, test_plan_refuses_more_than_its_capacity);
    tcase_add_test(plan, test_choices_of_cublas_reach_the_shapes_they_name);
    tcase_add_test(plan, test_choices_of_cublas_reach_fused_nodes);
    tcase_add_test(plan, test_fusions_have_names);
    tcase_add_test(plan, test_names_stand_for_all_layers);
    tcase_add_test(plan, test_selection_refuses_unknown_words_and_names_the_known);
    suite_add_tcase(suite, plan);
    TCase *run = tcase_create("run");
    tcase_add_checked_fixture(run, set_up, tear_down);
    tcase_set_timeout(run, 120);
    tcase_add_test(run, test_one_pass_chunks_and_single_tokens_agree);
    tcase_add_test(run, test_generation_answers_and_stops_at_the_end_token);
    tcase_add_test(run, test_generation_stops_at_its_limit_and_at_the_callers_word);
    tcase_add_test(run, test_generation_with_fused_nodes_says_the_same);
    tcase_add_test(run, test_generation_with_a_seed_repeats_itself);
    tcase_add_test(run, test_generation_refuses_an_empty_and_a_huge_prompt);
    suite_add_tcase(suite, run);
    return suite;
}

int main(void) { return qp_check_main(plan_suite()); }
