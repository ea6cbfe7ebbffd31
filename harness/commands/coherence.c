#include "../coherence.h"

#include "commands.h"

static qp_run_options run_options = QP_RUN_OPTIONS_DEFAULT;
static const char *prompts_path;

static const qp_option options[] = {
    { "prompts", "FILE", "the prompts (default: the embedded model's)", QP_OPTION_TEXT, &prompts_path },
    QP_RUN_OPTIONS_TABLE(run_options),
    { .name = NULL },
};

static void print_result(const qp_coherence_prompt *prompt, const qp_coherence_result *result, bool color)
{
    const char *mark = result->passed ? "pass" : "FAIL";
    printf("%s%s%s  %-28s %-5s  %-12s rank %lld, margin %6.2f (at least %.2f), %.2f s\n",
           color ? result->passed ? "\033[32m" : "\033[31m" : "", mark, color ? "\033[0m" : "", prompt->name,
           prompt->is_twin ? "twin" : "", result->text, (long long)result->rank, result->margin, prompt->min_margin,
           result->seconds);
    if (!result->text_is_right) printf("      expected: %s\n", prompt->answer);
}

static qp_status run_all(const qp_run_context *context, const qp_tokenizer *tokenizer,
                         const qp_coherence_prompts *prompts, int *exit_code)
{
    const int count = qp_coherence_count(prompts);
    int failed = 0;
    for (int i = 0; i < count; i++) {
        const qp_coherence_prompt *prompt = qp_coherence_at(prompts, i);
        qp_coherence_result result;
        qp_progress_line(NULL, i, count, prompt->name);
        const qp_status status =
            qp_coherence_run(&context->runtime, tokenizer, &context->selection, context->fusions, prompt, &result);
        qp_progress_line(NULL, count, count, "");
        QP_TRY(status);
        print_result(prompt, &result, qp_wants_color(stdout));
        fflush(stdout);
        failed += !result.passed;
    }
    printf("%s  %d prompts and twins, %d passed, %d failed\n", failed ? "FAIL" : "PASS", count, count - failed, failed);
    *exit_code = failed ? QP_EXIT_VERDICT : QP_EXIT_OK;
    return QP_OK;
}

static qp_status run(int *exit_code)
{
    char embedded_prompts[PATH_MAX];
    qp_run_context context;
    qp_tokenizer *tokenizer = NULL;
    qp_coherence_prompts *prompts = NULL;
    qp_status status = qp_run_open(&run_options, &context);
    if (status == QP_OK) status = qp_default_path(&prompts_path, "coherence.json", embedded_prompts);
    if (status == QP_OK) status = qp_coherence_open(prompts_path, &prompts);
    if (status == QP_OK) status = qp_tokenizer_open(context.model_path, &tokenizer);
    if (status == QP_OK) status = run_all(&context, tokenizer, prompts, exit_code);
    qp_tokenizer_close(tokenizer);
    qp_coherence_close(prompts);
    qp_run_close(&context);
    return status;
}

const qp_command qp_command_coherence = {
    "coherence", "ask the model for what it has just been told",
    "Each prompt tells facts about made-up names and asks for one; its twin has another name in the same place.\n"
    "A prompt passes if the greedy text is the answer, its first token ranks first and leads by the stated margin.",
    options, run
};
