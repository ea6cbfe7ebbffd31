#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../reports/reports.h"
#include "../bench.h"
#include "commands.h"
#include "outputs.h"

static qp_run_options run_options = QP_RUN_OPTIONS_DEFAULT;
static qp_outputs outputs; /* of which there are the page and the JSON */
static const char *golden_path, *only, *phase = "both";
enum { NOT_GIVEN = INT32_MIN };
static int64_t prefill = NOT_GIVEN, context = NOT_GIVEN, samples = 50;
static bool profile;

static const qp_option options[] = {
    QP_RUN_OPTIONS_TABLE(run_options),
    { "shape", "NAME", "random weights of a released size in place of a model: qwen3-0.6b, -1.7b, -4b, -8b, -14b, -32b",
      QP_OPTION_TEXT, &run_options.shape },
    { "layers", "N", "with --shape: only N layers (default: all)", QP_OPTION_INTEGER, &run_options.layers },
    { "seed", "N", "of random weights, tokens and cached keys (default: 0)", QP_OPTION_INTEGER, &run_options.seed },
    { "golden", "FILE", "compare with the model's golden, on its tokens ('embedded': the embedded model's)",
      QP_OPTION_TEXT, &golden_path },
    { "phase", "WHICH", "decode, prefill or both (default: both)", QP_OPTION_TEXT, &phase },
    { "prefill", "N", "tokens of the prefill (default: 512, on the CPU 32, or the golden's longest)", QP_OPTION_INTEGER,
      &prefill },
    { "context", "N", "keys in the cache before the decode step (default: 128, or the golden's longest)",
      QP_OPTION_INTEGER, &context },
    { "samples", "N", "samples of each time, fewer where they are slow (default: 50)", QP_OPTION_INTEGER, &samples },
    { "only", "GLOB", "time only nodes of these module paths, e.g. '*mlp*'", QP_OPTION_TEXT, &only },
    { "json", "FILE", "write the whole report as JSON (reports/README.md)", QP_OPTION_TEXT, &outputs.json },
    { "html", "FILE", "write a page for a browser", QP_OPTION_TEXT, &outputs.html },
    { "profile", NULL, "time nothing, but run each pass once between cudaProfilerStart and Stop", QP_OPTION_FLAG,
      &profile },
    { .name = NULL },
};

static qp_status check_usage(void)
{
    if (run_options.shape && (run_options.model || golden_path))
        return qp_fail(QP_USAGE, "--shape stands in place of --model and --golden");
    if (!run_options.shape && run_options.layers) return qp_fail(QP_USAGE, "--layers needs --shape");
    if (golden_path && !strcmp(golden_path, "embedded") == !!run_options.model)
        return qp_fail(QP_USAGE, "--model and --golden belong together: a golden is of one model");
    if (strcmp(phase, "both") != 0 && strcmp(phase, "prefill") != 0 && strcmp(phase, "decode") != 0)
        return qp_fail(QP_USAGE, "there is no phase '%s'; there are decode, prefill and both", phase);
    if (prefill != NOT_GIVEN && prefill < 1) return qp_fail(QP_USAGE, "--prefill must be at least 1");
    if (context != NOT_GIVEN && context < 0) return qp_fail(QP_USAGE, "--context must not be negative");
    if (samples < 1 || samples > QP_BENCH_MAX_SAMPLES)
        return qp_fail(QP_USAGE, "--samples must be between 1 and %d", QP_BENCH_MAX_SAMPLES);
    if (run_options.seed < 0) return qp_fail(QP_USAGE, "--seed must not be negative");
    if (profile && outputs.json) return qp_fail(QP_USAGE, "--profile times nothing, so there is nothing for --json");
    if (profile && outputs.html) return qp_fail(QP_USAGE, "--profile times nothing, so there is nothing for --html");
    return qp_outputs_prepare(&outputs);
}

static void describe_model(const qp_run_context *run, char *text, size_t size)
{
    const int64_t layers = run->model.config.num_hidden_layers;
    if (run_options.shape)
        (void)snprintf(text, size, "%s, %lld layer%s, random weights of seed %lld", run_options.shape,
                       (long long)layers, layers == 1 ? "" : "s", (long long)run_options.seed);
    else
        (void)snprintf(text, size, "%s", run->model_path);
}

/* A qp_bench_sink: what is known so far, in a file beside the report's while the bench runs. */
static qp_status keep_partial(void *path, const qp_bench_report *report) { return qp_bench_write_json(report, path); }

static qp_status bench(const qp_run_context *run, const qp_golden *golden, int *exit_code)
{
    char model[PATH_MAX + 64], partial[PATH_MAX + 16];
    qp_bench_report report;
    const bool keeps = outputs.json && !profile && qp_outputs_is_file(outputs.json);
    if (keeps) (void)snprintf(partial, sizeof partial, "%s.partial.json", outputs.json);
    describe_model(run, model, sizeof model);
    const qp_bench_options bench_options = { .model = model,
                                             .golden_path = golden_path,
                                             .selection = run->selection,
                                             .fusions = run->fusions,
                                             .only = only,
                                             .prefill = strcmp(phase, "decode") != 0,
                                             .decode = strcmp(phase, "prefill") != 0,
                                             .prefill_tokens = prefill == NOT_GIVEN ? -1 : prefill,
                                             .context = context == NOT_GIVEN ? -1 : context,
                                             .samples = samples,
                                             .seed = (uint64_t)run_options.seed,
                                             .profile = profile,
                                             .progress = qp_progress_line,
                                             .sink = keeps ? keep_partial : NULL,
                                             .sink_context = partial };
    const qp_status benched = qp_bench(&run->runtime, golden, &bench_options, &report);
    qp_progress_line(NULL, 1, 1, "");
    QP_TRY(benched);
    qp_bench_print(&report, (qp_terminal_style){ .color = qp_wants_color(stdout) }, stdout);
    qp_status status = outputs.json ? qp_bench_write_json(&report, outputs.json) : QP_OK;
    if (status == QP_OK && keeps) (void)unlink(partial);
    if (status == QP_OK && outputs.html) status = qp_write_html(NULL, &report, outputs.html);
    *exit_code = report.profiled ? QP_EXIT_OK : qp_exit_of_bench(&report);
    qp_bench_close(&report);
    return status;
}

static qp_status run(int *exit_code)
{
    char embedded_golden[PATH_MAX];
    qp_run_context run;
    qp_golden *golden = NULL;
    QP_TRY(check_usage());
    if (golden_path && !strcmp(golden_path, "embedded")) {
        golden_path = NULL;
        QP_TRY(qp_default_path(&golden_path, "qwen3-tiny.h5", embedded_golden));
    }
    qp_status status = qp_run_open(&run_options, &run);
    if (status == QP_OK && golden_path) status = qp_open_golden_of(&run, golden_path, &golden);
    if (status == QP_OK) status = bench(&run, golden, exit_code);
    qp_golden_close(golden);
    qp_run_close(&run);
    return status;
}

const qp_command qp_command_bench = {
    "bench", "time every kernel alone and inside the model, and the passes",
    "Times a prefill and one decode step. Nodes of the same shape are one row. "
    "Nothing is timed that was not verified on\n"
    "the same buffers: against a golden, or else against the contract on the CPU. With --backend cpu it\n"
    "also compares the CPU with one reading of the weights, with OpenBLAS and with one thread.",
    options, run
};
