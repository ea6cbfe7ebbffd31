/* model/plan, store, execute and generate, on the embedded model. */
#include <stdlib.h>
#include <string.h>

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

static qp_plan open_plan(int64_t tokens, int64_t capacity)
{
    qp_plan plan;
    ck_assert_msg(qp_plan_open(&model, (qp_plan_options){ .tokens = tokens, .capacity = capacity }, &plan) == QP_OK,
                  "%s", qp_last_error());
    return plan;
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

/* No node may write over what a later node still reads. */
START_TEST(test_buffers_of_living_tensors_are_distinct)
{
    qp_plan plan = open_plan(4, 9);
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
    qp_plan plan = open_plan(3, 40);
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
static int64_t next_token(const int64_t *ids, int64_t count, int64_t step)
{
    const qp_selection selection = { .backend = QP_CPU };
    qp_store store;
    int64_t next = -1;
    ck_assert_int_eq(qp_store_open(&runtime, count, QP_PRECISION_CONTRACT, &store), QP_OK);
    for (int64_t past = 0; past < count; past += step) {
        const int64_t tokens = count - past < step ? count - past : step;
        qp_plan plan = open_plan(tokens, count);
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
    const int64_t at_once = next_token(ids, count, count);
    ck_assert_int_eq(next_token(ids, count, 1), at_once);
    ck_assert_int_eq(next_token(ids, count, 5), at_once);
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

static qp_status generate(const char *text, int64_t max_tokens, qp_sampling sampling, collected *c,
                          qp_generated *generated)
{
    const qp_selection selection = { .backend = QP_CPU };
    int64_t *ids = NULL, count = 0;
    const qp_generate_options options = {
        .max_tokens = max_tokens, .sampling = sampling, .on_token = collect, .context = c
    };
    ck_assert_int_eq(qp_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), &ids, &count), QP_OK);
    const qp_status status = qp_generate(&runtime, tokenizer, &selection, ids, count, &options, generated);
    free(ids);
    return status;
}

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
    tcase_add_test(plan, test_buffers_of_living_tensors_are_distinct);
    tcase_add_test(plan, test_operands_have_the_shapes_of_their_tensors);
    tcase_add_test(plan, test_plan_refuses_more_than_its_capacity);
    tcase_add_test(plan, test_choices_of_cublas_reach_the_shapes_they_name);
    tcase_add_test(plan, test_selection_refuses_unknown_words_and_names_the_known);
    suite_add_tcase(suite, plan);
    TCase *run = tcase_create("run");
    tcase_add_checked_fixture(run, set_up, tear_down);
    tcase_set_timeout(run, 120);
    tcase_add_test(run, test_one_pass_chunks_and_single_tokens_agree);
    tcase_add_test(run, test_generation_answers_and_stops_at_the_end_token);
    tcase_add_test(run, test_generation_stops_at_its_limit_and_at_the_callers_word);
    tcase_add_test(run, test_generation_with_a_seed_repeats_itself);
    tcase_add_test(run, test_generation_refuses_an_empty_and_a_huge_prompt);
    suite_add_tcase(suite, run);
    return suite;
}

int main(void) { return qp_check_main(plan_suite()); }
