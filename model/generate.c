#include "generate.h"

#include <inttypes.h>
#include <stdlib.h>

#include "choice_search.h"
#include "clock.h"
#include "recorded_step.h"

static bool is_end(const qp_config *config, int64_t id)
{
    for (int i = 0; i < config->eos_count; i++)
        if (config->eos_ids[i] == id) return true;
    return false;
}

/* What a pass gives for the position behind it. */
typedef struct prediction {
    bool wants_logits;     /* otherwise the greedy token alone is fetched */
    qp_bf16 *scratch;      /* room for the logits */
    const qp_bf16 *logits; /* where they are */
    int64_t greedy;        /* the plan's own next_token */
} prediction;

static qp_status pass(qp_plan *plan, qp_prepared_plan *prepared, qp_store *store, int64_t past, const int64_t *ids,
                      qp_progress progress, void *context, prediction *next)
{
    const void *token = NULL, *logits = NULL;
    QP_TRY(qp_plan_set_past(plan, past));
    QP_TRY(qp_store_set_inputs(store, plan, ids));
    QP_TRY(qp_prepared_run(prepared, progress, context));
    if (next->wants_logits) QP_TRY(qp_store_view(store, plan, plan->logits, next->scratch, &logits));
    next->logits = logits;
    int64_t room = 0;
    QP_TRY(qp_store_view(store, plan, plan->next_token, &room, &token));
    next->greedy = *(const int64_t *)token;
    return QP_OK;
}

/* The pass of one token behind the prompt: ordinary, or recorded. */
typedef struct decoding {
    qp_plan plan;
    qp_prepared_plan prepared;
    qp_recorded_step recorded; /* without a recording: every pass is ordinary */
    bool started;              /* the recorded step knows where it is */
} decoding;

static qp_status decode(decoding *d, qp_store *store, int64_t past, int64_t id, prediction *next)
{
    if (!d->recorded.recording) return pass(&d->plan, &d->prepared, store, past, &id, NULL, NULL, next);
    if (!d->started) QP_TRY(qp_recorded_step_start(&d->recorded, past, id));
    d->started = true; /* from here on each token is the one that the step has predicted itself */
    return qp_recorded_step_next(&d->recorded, past, &next->greedy);
}

static void close_decoding(decoding *d)
{
    qp_recorded_step_close(&d->recorded);
    qp_prepared_close(&d->prepared);
    qp_plan_close(&d->plan);
}

/* For the prompt's pass, and those of the `limit` - 1 tokens behind it. */
static qp_status find_choices(const qp_runtime *runtime, const qp_selection *selection, qp_plan_options options,
                              int64_t limit, qp_cublas_choices *choices)
{
    const int64_t count = options.tokens;
    QP_TRY(qp_find_choices(runtime, selection, options, 0, 0, choices));
    options.tokens = 1;
    return limit > 1 ? qp_find_choices(runtime, selection, options, count, count + limit - 2, choices) : QP_OK;
}

/* What the caller sees of a token. QP_STOP_LENGTH stands for "go on". */
static qp_status emit(const qp_generate_options *options, qp_decoder *decoder, int64_t id, qp_stop *stop)
{
    const char *text = NULL;
    int64_t bytes = 0;
    QP_TRY(qp_decoder_push(decoder, id, &text, &bytes));
    if (options->on_token && !options->on_token(options->context, id, text, bytes)) *stop = QP_STOP_CALLER;
    return QP_OK;
}

qp_status qp_generate(const qp_runtime *runtime, const qp_tokenizer *tokenizer, const qp_selection *selection,
                      const int64_t *ids, int64_t count, const qp_generate_options *options, qp_generated *generated)
{
    const qp_model *model = runtime->model;
    const qp_config *config = &model->config;
    const bool greedy = options->sampling.temperature == 0.0;
    *generated = (qp_generated){ .prompt_tokens = count };
    if (count < 1) return qp_fail(QP_INVALID, "the prompt is empty");
    if (count >= config->max_position_embeddings)
        return qp_fail(QP_INVALID,
                       "the prompt has %" PRId64 " tokens, and the model has %" PRId64 " positions; shorten it", count,
                       config->max_position_embeddings);
    const int64_t room = config->max_position_embeddings - count;
    const int64_t limit = options->max_tokens < room ? options->max_tokens : room, capacity = count + limit;

    qp_store store = { 0 };
    qp_plan prompt = { 0 };
    qp_prepared_plan prepared = { 0 };
    decoding d = { 0 };
    qp_cublas_choices choices = { 0 };
    qp_sampler sampler = { 0 };
    qp_decoder *decoder = NULL;
    prediction next = { .wants_logits = !greedy || options->on_logits,
                        .scratch = malloc((size_t)config->vocab_size * sizeof(qp_bf16)) };
    qp_status status = next.scratch ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the logits");
    if (status == QP_OK) status = qp_decoder_open(tokenizer, !options->keep_special, &decoder);
    if (status == QP_OK) status = qp_sampler_open(options->sampling, config->vocab_size, &sampler);
    if (status == QP_OK) status = qp_store_open(runtime, capacity, QP_PRECISION_CONTRACT, &store);
    qp_plan_options plan_options = {
        .tokens = count, .capacity = capacity, .last_logits_only = true, .fusions = options->fusions
    };
    if (next.wants_logits) plan_options.fusions &= ~(qp_fusions)QP_FUSE_LM_HEAD_ARGMAX;
    if (status == QP_OK) status = find_choices(runtime, selection, plan_options, limit, &choices);
    if (choices.split_count) plan_options.choices = &choices;
    if (status == QP_OK) status = qp_plan_open(model, plan_options, &prompt);
    if (status == QP_OK) status = qp_selection_check_fault(selection, &prompt);
    plan_options.tokens = 1;
    if (status == QP_OK) status = qp_plan_open(model, plan_options, &d.plan);
    if (status == QP_OK) status = qp_store_prepare(&store, &prompt);
    if (status == QP_OK) status = qp_store_prepare(&store, &d.plan);
    if (status == QP_OK) status = qp_prepared_open(&prompt, selection, &store, &prepared);
    if (status == QP_OK) status = qp_prepared_open(&d.plan, selection, &store, &d.prepared);
    if (status != QP_OK) goto done;

    double start = qp_seconds_now();
    status = pass(&prompt, &prepared, &store, 0, ids, options->on_progress, options->context, &next);
    generated->prompt_seconds = qp_seconds_now() - start;
    if (status == QP_OK && !next.wants_logits && limit > 1 &&
        qp_recorded_step_check(&d.plan, selection, &store, NULL) == QP_OK)
        status = qp_recorded_step_open(&d.plan, selection, &store, NULL, &d.recorded);
    start = qp_seconds_now();
    while (status == QP_OK) {
        if (options->on_logits) options->on_logits(options->context, generated->new_tokens, next.logits);
        const int64_t id = greedy ? next.greedy : qp_sampler_next(&sampler, next.logits);
        if (!options->ignore_end && is_end(config, id)) {
            generated->stop = QP_STOP_END_TOKEN;
            break;
        }
        status = emit(options, decoder, id, &generated->stop);
        generated->new_tokens++;
        if (status != QP_OK || generated->stop == QP_STOP_CALLER || generated->new_tokens == limit) break;
        status = decode(&d, &store, count + generated->new_tokens - 1, id, &next);
    }
    generated->decode_seconds = qp_seconds_now() - start;
    if (status == QP_OK && options->on_token) { /* a character that was cut at the end */
        const char *text = NULL;
        int64_t bytes = 0;
        status = qp_decoder_finish(decoder, &text, &bytes);
        if (status == QP_OK && bytes > 0) (void)options->on_token(options->context, -1, text, bytes);
    }
done:
    free(next.scratch);
    qp_cublas_choices_close(&choices);
    close_decoding(&d);
    qp_prepared_close(&prepared);
    qp_plan_close(&prompt);
    qp_store_close(&store);
    qp_sampler_close(&sampler);
    qp_decoder_close(decoder);
    return status;
}
