/* The recorded decode step: what can be recorded, the table of orders that its replays read, and, on a CUDA device where
 * there is one, that replays give the tokens of ordinary passes. */
#include <stdlib.h>
#include <string.h>

#include "../model/generate.h"
#include "../model/recorded_step.h"
#include "check_main.h"

enum { TOKENS = 40 };

static qp_model model;
static qp_tokenizer *tokenizer;
static int64_t *prompt, prompt_count;

static void set_up(void)
{
    static const char text[] = "The capital of Aistonia is Flubarg. What is the capital of Aistonia?";
    ck_assert_msg(qp_model_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &model) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_tokenizer_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &tokenizer) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), &prompt, &prompt_count), QP_OK);
}

static void tear_down(void)
{
    free(prompt);
    qp_tokenizer_close(tokenizer);
    qp_model_close(&model);
}

/* False where this machine has no such device. */
static bool open_runtime(qp_backend backend, qp_runtime *runtime)
{
    const qp_status status = qp_runtime_open(&model, backend, runtime);
    ck_assert_msg(status == QP_OK || (backend == QP_CUDA && status == QP_DEVICE), "%s", qp_last_error());
    return status == QP_OK;
}

static qp_plan open_plan(int64_t tokens, int64_t capacity, qp_fusions fusions, const qp_cublas_choices *choices)
{
    const qp_plan_options options = {
        .tokens = tokens, .capacity = capacity, .last_logits_only = true, .choices = choices, .fusions = fusions
    };
    qp_plan plan;
    ck_assert_msg(qp_plan_open(&model, options, &plan) == QP_OK, "%s", qp_last_error());
    return plan;
}

START_TEST(test_what_cannot_be_recorded_is_refused_with_a_sentence)
{
    static const struct {
        int64_t tokens;
        qp_fusions fusions;
        const char *sentence;
    } refused[] = { { 1, 0, "v_proj cannot be recorded: linear" },
                    { 1, QP_FUSE_GQA_ATTENTION, "v_proj cannot be recorded: linear" },
                    { 1, QP_FUSE_RMSNORM_QKV, "scores cannot be recorded: scores" },
                    { 2, QP_FUSE_ALL, "a pass of 2 tokens" },
                    { 1, QP_FUSE_RMSNORM_QKV | QP_FUSE_GQA_ATTENTION, "the CPU cannot record" },
                    { 1, QP_FUSE_ALL, "the CPU cannot record" } };
    const qp_selection selection = { .backend = QP_CPU };
    qp_runtime runtime;
    qp_store store;
    ck_assert(open_runtime(QP_CPU, &runtime));
    ck_assert_int_eq(qp_store_open(&runtime, 8, QP_PRECISION_CONTRACT, &store), QP_OK);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        qp_plan plan = open_plan(refused[i].tokens, 8, refused[i].fusions, NULL);
        qp_recorded_step step;
        ck_assert_int_eq(qp_recorded_step_check(&plan, &selection, &store, NULL), QP_UNSUPPORTED);
        ck_assert_msg(strstr(qp_last_error(), refused[i].sentence) != NULL, "%s", qp_last_error());
        ck_assert_int_eq(qp_recorded_step_open(&plan, &selection, &store, NULL, &step), QP_UNSUPPORTED);
        qp_recorded_step_close(&step); /* all zero */
        qp_plan_close(&plan);
    }
    qp_store_close(&store);
    qp_runtime_close(&runtime);
}
END_TEST

static bool *nodes_of(const qp_plan *plan, const char *operation)
{
    bool *chosen = calloc((size_t)plan->node_count, sizeof *chosen);
    for (int n = 0; n < plan->node_count; n++) chosen[n] = !strcmp(plan->nodes[n].operation->name, operation);
    return chosen;
}

START_TEST(test_what_others_run_does_not_keep_chosen_nodes_from_being_recorded)
{
    const qp_selection selection = { .backend = QP_CPU };
    qp_runtime runtime;
    qp_store store;
    ck_assert(open_runtime(QP_CPU, &runtime));
    ck_assert_int_eq(qp_store_open(&runtime, 8, QP_PRECISION_CONTRACT, &store), QP_OK);
    qp_plan plan = open_plan(1, 8, QP_FUSE_RMSNORM_QKV, NULL);
    bool *fused = nodes_of(&plan, "rmsnorm_qkv"), *scores = nodes_of(&plan, "scores");
    ck_assert_int_eq(qp_recorded_step_check(&plan, &selection, &store, fused), QP_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "the CPU cannot record"));
    ck_assert_int_eq(qp_recorded_step_check(&plan, &selection, &store, scores), QP_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "scores cannot be recorded"));
    free(scores);
    free(fused);
    qp_plan_close(&plan);
    qp_store_close(&store);
    qp_runtime_close(&runtime);
}
END_TEST

/* The bytes of a node's first output. */
static void read_output(const qp_plan *plan, const qp_store *store, int n, unsigned char *bytes, size_t room)
{
    const int tensor = plan->nodes[n].out[0];
    const size_t size = qp_store_bytes(store, plan, tensor);
    ck_assert(size <= room);
    memset(bytes, 0, room);
    ck_assert_int_eq(qp_device_read(store->runtime->device, bytes, qp_store_tensor(store, plan, tensor), size), QP_OK);
}

START_TEST(test_chosen_nodes_run_alone)
{
    enum { ROOM = 1 << 16 };
    static unsigned char whole[2][ROOM], alone[2][ROOM];
    const qp_selection selection = { .backend = QP_CPU };
    qp_runtime runtime;
    qp_store store;
    qp_prepared_plan prepared;
    ck_assert(open_runtime(QP_CPU, &runtime));
    ck_assert_int_eq(qp_store_open(&runtime, 8, QP_PRECISION_CONTRACT, &store), QP_OK);
    qp_plan plan = open_plan(1, 8, 0, NULL);
    ck_assert_int_eq(qp_store_prepare(&store, &plan), QP_OK);
    ck_assert_int_eq(qp_store_set_inputs(&store, &plan, prompt), QP_OK);
    ck_assert_int_eq(qp_prepared_open(&plan, &selection, &store, &prepared), QP_OK);
    ck_assert_int_eq(qp_prepared_run(&prepared, NULL, NULL), QP_OK);
    bool *chosen = nodes_of(&plan, "argmax");
    const int last = plan.node_count - 1; /* argmax, behind lm_head */
    ck_assert(chosen[last] && !chosen[last - 1]);
    for (int i = 0; i < 2; i++) read_output(&plan, &store, last - i, whole[i], ROOM);
    ck_assert_int_eq(qp_node_poison(&plan, &plan.nodes[last], &store), QP_OK);
    ck_assert_int_eq(qp_prepared_run_chosen(&prepared, chosen), QP_OK);
    for (int i = 0; i < 2; i++) read_output(&plan, &store, last - i, alone[i], ROOM);
    ck_assert_mem_eq(alone, whole, sizeof whole);
    ck_assert_int_eq(qp_node_poison(&plan, &plan.nodes[last - 1], &store), QP_OK);
    ck_assert_int_eq(qp_prepared_run_chosen(&prepared, chosen), QP_OK);
    for (int i = 0; i < 2; i++) read_output(&plan, &store, last - i, alone[i], ROOM);
    ck_assert(memcmp(alone[1], whole[1], ROOM) != 0); /* lm_head has not run again */
    free(chosen);
    qp_prepared_close(&prepared);
    qp_plan_close(&plan);
    qp_store_close(&store);
    qp_runtime_close(&runtime);
}
END_TEST

static bool same_order(qp_sum_order a, qp_sum_order b)
{
    return a.lanes == b.lanes && a.run == b.run && a.fold == b.fold && a.narrow == b.narrow;
}

START_TEST(test_orders_are_those_of_each_number_of_keys)
{
    enum { CAPACITY = 50 };
    qp_order orders[] = { { qp_operation_find("scores"), 1, 33, { .lanes = 32, .run = 4 }, false },
                          { qp_operation_find("context"), 1, 34, { .narrow = true }, false },
                          { qp_operation_find("scores"), 2, 35, { .lanes = 8 }, false }, /* of another pass */
                          { qp_operation_find("scores"), 1, 35, { .lanes = -1 }, true },
                          { qp_operation_find("scores"), 1, 35, { .lanes = 8 }, false } }; /* the first one counts */
    const qp_cublas_choices choices = { .orders = orders, .order_count = 5 };
    for (int given = 0; given < 2; given++) {
        qp_attention_order table[CAPACITY + 1];
        qp_plan fused = open_plan(1, CAPACITY, QP_FUSE_ALL, given ? &choices : NULL);
        qp_plan reference = open_plan(1, CAPACITY, 0, given ? &choices : NULL);
        qp_plan_attention_orders(&fused, table);
        int seen = 0;
        for (int64_t keys = 1; keys <= CAPACITY; keys++) {
            ck_assert_int_eq(qp_plan_set_past(&fused, keys - 1), QP_OK);
            ck_assert_int_eq(qp_plan_set_past(&reference, keys - 1), QP_OK);
            for (int n = 0; n < fused.node_count; n++) {
                const qp_plan_node *node = &fused.nodes[n];
                if (strcmp(node->operation->name, "gqa_attention") != 0) continue;
                seen++;
                ck_assert(same_order(node->params.order, table[keys].scores));
                ck_assert(same_order(node->params.context_order, table[keys].context));
            }
            for (int n = 0; n < reference.node_count; n++) {
                const qp_plan_node *node = &reference.nodes[n];
                if (!strcmp(node->operation->name, "scores"))
                    ck_assert(same_order(node->params.order, table[keys].scores));
                if (!strcmp(node->operation->name, "context"))
                    ck_assert(same_order(node->params.order, table[keys].context));
            }
        }
        ck_assert_int_eq(seen, CAPACITY * (int)model.config.num_hidden_layers);
        ck_assert_int_eq(table[33].scores.lanes, given ? 32 : 16);
        ck_assert_int_eq(table[34].context.narrow, given);
        ck_assert_int_eq(table[35].scores.lanes, 16);
        qp_plan_close(&reference);
        qp_plan_close(&fused);
    }
}
END_TEST

/* ---- On a card. ---- */

/* One pass at `past`; its token. */
static int64_t pass(qp_plan *plan, const qp_selection *selection, qp_store *store, int64_t past, const int64_t *ids)
{
    int64_t room = -1;
    const void *token = NULL;
    ck_assert_int_eq(qp_plan_set_past(plan, past), QP_OK);
    ck_assert_int_eq(qp_store_prepare(store, plan), QP_OK);
    ck_assert_int_eq(qp_store_set_inputs(store, plan, ids), QP_OK);
    ck_assert_msg(qp_plan_run(plan, selection, store, NULL, NULL) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_store_view(store, plan, plan->next_token, &room, &token) == QP_OK, "%s", qp_last_error());
    return *(const int64_t *)token;
}

START_TEST(test_replays_give_the_tokens_of_passes)
{
    const qp_selection selection = { .backend = QP_CUDA };
    qp_runtime runtime;
    qp_store store;
    qp_recorded_step step;
    int64_t passed[TOKENS + 1], replayed[TOKENS + 1];
    if (!open_runtime(QP_CUDA, &runtime)) return;
    const int64_t capacity = prompt_count + TOKENS;
    ck_assert_int_eq(qp_store_open(&runtime, capacity, QP_PRECISION_CONTRACT, &store), QP_OK);
    qp_plan first = open_plan(prompt_count, capacity, QP_FUSE_ALL, NULL);
    qp_plan decode = open_plan(1, capacity, QP_FUSE_ALL, NULL);
    passed[0] = replayed[0] = pass(&first, &selection, &store, 0, prompt);
    for (int i = 0; i < TOKENS; i++) passed[i + 1] = pass(&decode, &selection, &store, prompt_count + i, &passed[i]);

    ck_assert_msg(qp_recorded_step_open(&decode, &selection, &store, NULL, &step) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_recorded_step_start(&step, prompt_count, passed[0]), QP_OK);
    for (int i = 0; i < TOKENS; i++)
        ck_assert_int_eq(qp_recorded_step_next(&step, prompt_count + i, &replayed[i + 1]), QP_OK);
    ck_assert_mem_eq(replayed, passed, sizeof passed);
    ck_assert_int_eq(qp_recorded_step_next(&step, capacity, &replayed[1]), QP_INVALID);

    /* Again, all at once and from the middle on. */
    memset(replayed, 0, sizeof replayed);
    ck_assert_int_eq(qp_recorded_step_start(&step, prompt_count + 7, passed[7]), QP_OK);
    ck_assert_int_eq(qp_recorded_step_replay(&step, TOKENS - 6), QP_INVALID);
    ck_assert_int_eq(qp_recorded_step_replay(&step, TOKENS - 7), QP_OK);
    ck_assert_int_eq(qp_recorded_step_read(&step, prompt_count + 7, TOKENS - 7, &replayed[8]), QP_OK);
    ck_assert_mem_eq(&replayed[8], &passed[8], (TOKENS - 7) * sizeof *passed);
    ck_assert_msg(qp_device_check_canaries(runtime.device) == QP_OK, "%s", qp_last_error());
    qp_recorded_step_close(&step);
    qp_plan_close(&decode);
    qp_plan_close(&first);
    qp_store_close(&store);
    qp_runtime_close(&runtime);
}
END_TEST

typedef struct collected {
    int64_t count, ids[TOKENS];
} collected;

static bool collect(void *context, int64_t id, const char *text, int64_t bytes)
{
    collected *c = context;
    (void)text;
    (void)bytes;
    if (id >= 0) c->ids[c->count++] = id;
    return true;
}

static void ignore_logits(void *context, int64_t step, const qp_bf16 *logits)
{
    (void)context;
    (void)step;
    (void)logits;
}

static collected generate(const qp_runtime *runtime, qp_fusions fusions, bool with_logits, int64_t max_tokens,
                          bool ignore_end, qp_stop *stop)
{
    const qp_selection selection = { .backend = QP_CUDA };
    collected c = { 0 };
    qp_generated generated;
    const qp_generate_options options = { .max_tokens = max_tokens,
                                          .sampling = { .top_p = 1.0 },
                                          .fusions = fusions,
                                          .ignore_end = ignore_end,
                                          .on_logits = with_logits ? ignore_logits : NULL,
                                          .on_token = collect,
                                          .context = &c };
    ck_assert_msg(qp_generate(runtime, tokenizer, &selection, prompt, prompt_count, &options, &generated) == QP_OK,
                  "%s", qp_last_error());
    ck_assert_int_eq(generated.new_tokens, c.count);
    *stop = generated.stop;
    return c;
}

/* Who looks at logits gets ordinary passes, and so does the reference plan. */
START_TEST(test_generation_gives_the_same_tokens_with_and_without_replays)
{
    qp_runtime runtime;
    if (!open_runtime(QP_CUDA, &runtime)) return;
    for (int ignore_end = 0; ignore_end < 2; ignore_end++)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens += tokens < 4 ? 1 : 12) {
            qp_stop stop[3];
            const collected replayed = generate(&runtime, QP_FUSE_ALL, false, tokens, ignore_end, &stop[0]);
            const collected passed = generate(&runtime, QP_FUSE_ALL, true, tokens, ignore_end, &stop[1]);
            const collected reference = generate(&runtime, 0, false, tokens, ignore_end, &stop[2]);
            ck_assert(replayed.count == passed.count && replayed.count == reference.count);
            ck_assert_mem_eq(replayed.ids, passed.ids, (size_t)replayed.count * sizeof *replayed.ids);
            ck_assert_mem_eq(replayed.ids, reference.ids, (size_t)replayed.count * sizeof *replayed.ids);
            ck_assert(stop[0] == stop[1] && stop[0] == stop[2]);
        }
    qp_runtime_close(&runtime);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recorded step");
    TCase *step = tcase_create("recorded step");
    tcase_add_checked_fixture(step, set_up, tear_down);
    tcase_set_timeout(step, 300);
    tcase_add_test(step, test_what_cannot_be_recorded_is_refused_with_a_sentence);
    tcase_add_test(step, test_what_others_run_does_not_keep_chosen_nodes_from_being_recorded);
    tcase_add_test(step, test_chosen_nodes_run_alone);
    tcase_add_test(step, test_orders_are_those_of_each_number_of_keys);
    tcase_add_test(step, test_replays_give_the_tokens_of_passes);
    tcase_add_test(step, test_generation_gives_the_same_tokens_with_and_without_replays);
    suite_add_tcase(suite, step);
    return qp_check_main(suite);
}
