#include <stdlib.h>
#include <string.h>

#include "../../model/chat.h"
#include "../../model/generate.h"
#include "commands.h"

static qp_run_options run_options = QP_RUN_OPTIONS_DEFAULT;
static const char *prompt, *system_prompt;
enum { NOT_GIVEN = INT32_MIN };

static int64_t max_tokens = 128, top_k = NOT_GIVEN, seed = 0;
static double temperature = NOT_GIVEN, top_p = NOT_GIVEN;
static bool chat, no_thinking, sample, show_special, show_ids, ignore_end, show_time;

static const qp_option options[] = {
    { "prompt", "TEXT", "the text to continue", QP_OPTION_TEXT, &prompt },
    QP_RUN_OPTIONS_TABLE(run_options),
    { "max-tokens", "N", "stop after N new tokens (default: 128)", QP_OPTION_INTEGER, &max_tokens },
    { "chat", NULL, "put the prompt into Qwen3's chat template, as the user's turn", QP_OPTION_FLAG, &chat },
    { "system", "TEXT", "with --chat: a system message before it", QP_OPTION_TEXT, &system_prompt },
    { "no-thinking", NULL, "with --chat: an empty think block, as enable_thinking=False", QP_OPTION_FLAG,
      &no_thinking },
    { "sample", NULL, "sample with the model's own generation_config.json (default: greedy)", QP_OPTION_FLAG, &sample },
    { "temperature", "X", "sample at this temperature; 0 is greedy", QP_OPTION_NUMBER, &temperature },
    { "top-k", "K", "sample among the K most likely tokens; 0: all", QP_OPTION_INTEGER, &top_k },
    { "top-p", "P", "sample among the most likely tokens of total probability P", QP_OPTION_NUMBER, &top_p },
    { "seed", "N", "seed of the sampling (default: 0)", QP_OPTION_INTEGER, &seed },
    { "special", NULL, "print special tokens, too", QP_OPTION_FLAG, &show_special },
    { "ids", NULL, "print the tokens' ids instead of the text", QP_OPTION_FLAG, &show_ids },
    { "ignore-end", NULL, "go on behind an end token, up to --max-tokens", QP_OPTION_FLAG, &ignore_end },
    { "time", NULL, "print tokens and seconds on stderr", QP_OPTION_FLAG, &show_time },
    { .name = NULL },
};

static bool print_text(void *context, int64_t id, const char *text, int64_t bytes)
{
    (void)context;
    (void)id;
    if (bytes > 0) {
        qp_progress_line(NULL, 1, 1, "");
        fwrite(text, 1, (size_t)bytes, stdout);
        fflush(stdout);
    }
    return !ferror(stdout); /* nobody reads any more */
}

static bool print_id(void *context, int64_t id, const char *text, int64_t bytes)
{
    static bool any;
    (void)context;
    (void)text;
    (void)bytes;
    if (id >= 0) {
        qp_progress_line(NULL, 1, 1, "");
        printf("%s%lld", any ? " " : "", (long long)id);
        fflush(stdout);
        any = true;
    }
    return !ferror(stdout);
}

/* The prompt as it is fed to the model; the caller frees it. */
static qp_status prompt_text(char **text)
{
    const qp_chat_message messages[] = { { "system", system_prompt }, { "user", prompt } };
    const int skip = system_prompt ? 0 : 1;
    if (chat) return qp_chat_format(messages + skip, 2 - skip, true, !no_thinking, text);
    *text = strdup(prompt);
    return *text ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the prompt");
}

/* Greedy unless something about sampling was said; what was not said then comes from the model's folder. */
static qp_sampling sampling_of(const qp_config *config)
{
    const bool wanted = sample || temperature != NOT_GIVEN || top_k != NOT_GIVEN || top_p != NOT_GIVEN;
    qp_sampling sampling = { .temperature = 0.0, .top_k = 0, .top_p = 1.0, .seed = (uint64_t)seed };
    if (!wanted) return sampling;
    sampling.temperature = temperature != NOT_GIVEN ? temperature : config->temperature;
    sampling.top_k = top_k != NOT_GIVEN ? top_k : config->top_k;
    sampling.top_p = top_p != NOT_GIVEN ? top_p : config->top_p;
    return sampling;
}

static void print_time(const qp_generated *g)
{
    const int64_t passes = g->new_tokens > 0 ? g->new_tokens - 1 : 0;
    fprintf(stderr, "%lld prompt tokens in %.2f s; %lld new tokens, %.1f a second%s\n", (long long)g->prompt_tokens,
            g->prompt_seconds, (long long)g->new_tokens,
            g->decode_seconds > 0.0 ? (double)passes / g->decode_seconds : 0.0,
            g->stop == QP_STOP_LENGTH ? "; stopped at the limit" : "");
}

static qp_status run(int *exit_code)
{
    qp_run_context context;
    qp_tokenizer *tokenizer = NULL;
    char *text = NULL;
    int64_t *ids = NULL, count = 0;
    qp_generated generated = { 0 };

    if (!prompt || !*prompt) return qp_fail(QP_USAGE, "generate needs --prompt and a text that is not empty");
    if (max_tokens < 1) return qp_fail(QP_USAGE, "--max-tokens must be at least 1");
    if (!chat && (system_prompt || no_thinking)) return qp_fail(QP_USAGE, "--system and --no-thinking need --chat");
    if ((temperature != NOT_GIVEN && temperature < 0.0) || (top_k != NOT_GIVEN && top_k < 0) ||
        (top_p != NOT_GIVEN && !(top_p > 0.0 && top_p <= 1.0)))
        return qp_fail(QP_USAGE, "--temperature and --top-k must be at least 0, --top-p above 0 and at most 1");
    qp_status status = qp_run_open(&run_options, &context);
    if (status == QP_OK) status = qp_tokenizer_open(context.model_path, &tokenizer);
    if (status == QP_OK) status = prompt_text(&text);
    if (status == QP_OK) status = qp_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), &ids, &count);
    if (status == QP_OK) {
        const qp_generate_options generate_options = { .max_tokens = max_tokens,
                                                       .sampling = sampling_of(&context.model.config),
                                                       .fusions = context.fusions,
                                                       .keep_special = show_special,
                                                       .ignore_end = ignore_end,
                                                       .on_token = show_ids ? print_id : print_text,
                                                       .on_progress = qp_progress_line };
        status =
            qp_generate(&context.runtime, tokenizer, &context.selection, ids, count, &generate_options, &generated);
    }
    qp_progress_line(NULL, 1, 1, "");
    if (generated.new_tokens > 0) putchar('\n');
    if (status == QP_OK && show_time) print_time(&generated);
    *exit_code = QP_EXIT_OK;
    free(ids);
    free(text);
    qp_tokenizer_close(tokenizer);
    qp_run_close(&context);
    return status;
}

const qp_command qp_command_generate = {
    "generate", "continue a prompt with these kernels",
    "Prints the text as it is generated. Greedy unless --sample, --temperature,\n"
    "--top-k or --top-p is given; what is not given of these then comes\n"
    "from the model's generation_config.json. Sampling needs logits: lm_head_argmax is then not fused.",
    options, run
};
