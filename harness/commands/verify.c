#include <stdlib.h>
#include <string.h>

#include "../../reports/journal.h"
#include "../../reports/read.h"
#include "../../reports/reports.h"
#include "../bench.h"
#include "../changes.h"
#include "../gate.h"
#include "../verify.h"
#include "commands.h"
#include "outputs.h"

static qp_run_options run_options = QP_RUN_OPTIONS_DEFAULT;
static qp_outputs outputs;
static const char *golden_path, *only, *gate_path;
static qp_option_list only_runs;
static bool every_row;

static const qp_option options[] = {
    QP_RUN_OPTIONS_TABLE(run_options),
    { "golden", "FILE", "the golden to compare with (default: the embedded model's)", QP_OPTION_TEXT, &golden_path },
    { "only", "KEY-GLOB", "compare only these keys, e.g. 'aistonia/*q_norm'", QP_OPTION_TEXT, &only },
    { "gate", "FILE", "a policy for merges: which runs, and what their rows have to be (docs/gate.md)", QP_OPTION_TEXT,
      &gate_path },
    { "run", "NAME", "with --gate: only this run of it; may be repeated", QP_OPTION_LIST, &only_runs },
    QP_OUTPUTS_TABLE(outputs),
    { "rows", NULL, "print every row, not one line a boundary", QP_OPTION_FLAG, &every_row },
    { .name = NULL },
};

/* ---- One run. ---- */

/* What is run, by the command line or by a run of the gate. */
typedef struct job {
    qp_run_options options;
    const char *golden, *only;
    qp_outputs outputs;
    const qp_gate *gate; /* NULL: there is none */
    qp_gate_run *run;
    const qp_bench_report *baseline; /* with which times are compared; NULL: they are not */
} job;

/* What the baseline measured, the same way. *bench borrows from the baseline; the caller closes it. */
static qp_status measure_again(const job *j, const qp_run_context *context, const qp_golden *golden,
                               qp_bench_report *bench)
{
    const qp_bench_report *was = j->baseline;
    const bool from_golden = was->golden.path != NULL; /* whose tokens say how many there are */
    qp_bench_options bench_options = { .model = context->model_path,
                                       .golden_path = from_golden ? j->golden : NULL,
                                       .selection = context->selection,
                                       .fusions = context->fusions,
                                       .only = was->only,
                                       .prefill_tokens = -1,
                                       .context = -1,
                                       .samples = was->samples,
                                       .seed = was->seed,
                                       .progress = qp_progress_line };
    for (int i = 0; i < was->step_count; i++) {
        const bool prefill = !strcmp(was->steps[i].name, "prefill");
        bench_options.prefill = bench_options.prefill || prefill;
        bench_options.decode = bench_options.decode || !prefill;
        if (prefill && !from_golden) bench_options.prefill_tokens = was->steps[i].tokens;
        if (!prefill && !from_golden) bench_options.context = was->steps[i].context;
    }
    const qp_status status = qp_bench(&context->runtime, from_golden ? golden : NULL, &bench_options, bench);
    qp_progress_line(NULL, 1, 1, "");
    return status;
}

/* What the reports say of times that are over the baseline's. */
static void say_slower(const job *j, const qp_changes *changes, char *text, size_t size)
{
    const qp_speed_change *worst = NULL;
    for (int i = 0; i < changes->speed_count; i++) {
        const qp_speed_change *speed = &changes->speeds[i];
        if (speed->speed == QP_SPEED_SLOWER && (!worst || speed->factor > worst->factor)) worst = speed;
    }
    if (!worst) return;
    (void)snprintf(text, size,
                   "%lld of %d times are slower than in %s by more than %.3g times; most %s, %s: %.2f times",
                   (long long)changes->speed_counts[QP_SPEED_SLOWER], changes->speed_count, j->run->baseline,
                   changes->max_slow_down, worst->key, worst->protocol, worst->factor);
}

/* QP_UNSUPPORTED if the baseline was measured elsewhere or otherwise. *bench is the caller's to close. */
static qp_status compare_speed(const job *j, const qp_run_context *context, const qp_golden *golden,
                               qp_bench_report *bench, char *slower, size_t size, int *exit_code)
{
    qp_changes changes;
    QP_TRY(measure_again(j, context, golden, bench));
    QP_TRY(qp_changes_of_bench(j->baseline, bench, j->run->max_slow_down, &changes));
    printf("\ntimes   beside %s\n", j->run->baseline);
    qp_changes_print(&changes, (qp_terminal_style){ .color = qp_wants_color(stdout) }, stdout);
    *exit_code = qp_worse_exit(qp_exit_of_bench(bench), qp_exit_of_changes(&changes));
    say_slower(j, &changes, slower, size);
    const bool unfair = changes.unfair || strcmp(j->baseline->plan, bench->plan) != 0;
    qp_changes_close(&changes);
    return unfair ? qp_fail(QP_UNSUPPORTED,
                            "times cannot be compared with %s, which was made elsewhere or otherwise (above): make a "
                            "baseline here with bench --json",
                            j->run->baseline)
                  : QP_OK;
}

/* Judges, shows and writes what was found; the journal goes when that is written, even if times cannot be compared. */
static qp_status conclude(const job *j, const qp_run_context *context, const qp_golden *golden, qp_report *report,
                          qp_journal *journal, int *exit_code)
{
    qp_bench_report bench = { 0 };
    char today[11], slower[512] = "", complaint[1024] = "";
    int speed = QP_EXIT_OK;
    qp_gate_today(today);
    if (j->gate) QP_TRY(qp_gate_judge(j->gate, j->run, today, report));
    qp_report_print(report, (qp_terminal_style){ qp_wants_color(stdout), every_row }, stdout);
    *exit_code = qp_exit_of_report(report);
    const bool timed = j->baseline && *exit_code == QP_EXIT_OK;
    const qp_status timing = timed ? compare_speed(j, context, golden, &bench, slower, sizeof slower, &speed) : QP_OK;
    if (timing != QP_OK) (void)snprintf(complaint, sizeof complaint, "%s", qp_last_error());
    *exit_code = qp_worse_exit(*exit_code, speed);
    if (*slower) report->slower = slower;
    const qp_status status = qp_outputs_write(&j->outputs, report, bench.row_count > 0 ? &bench : NULL, stdout);
    qp_outputs_append_step_summary(&j->outputs, report);
    qp_bench_close(&bench);
    report->slower = NULL; /* which is this function's */
    qp_journal_close(journal, status == QP_OK);
    return timing == QP_OK ? status : qp_fail(timing, "%s", complaint);
}

static qp_status verify(const job *j, const qp_run_context *context, const qp_golden *golden, int *exit_code)
{
    qp_report report;
    qp_journal journal = { 0 };
    char *json = NULL;
    QP_TRY(qp_outputs_json_path(&j->outputs, &json));
    qp_status status = json ? qp_journal_open(json, &journal) : QP_OK;
    const qp_verify_options verify_options = { .model_path = context->model_path,
                                               .golden_path = j->golden,
                                               .selection = context->selection,
                                               .fusions = context->fusions,
                                               .only = j->only,
                                               .progress = qp_progress_line,
                                               .sink = json ? qp_journal_add : NULL,
                                               .sink_context = &journal };
    if (status == QP_OK) status = qp_verify(&context->runtime, golden, &verify_options, &report);
    qp_progress_line(NULL, 1, 1, "");
    if (status == QP_OK) {
        status = conclude(j, context, golden, &report, &journal, exit_code);
        qp_report_close(&report);
    }
    qp_journal_close(&journal, false); /* does nothing if it is closed: a run that failed keeps its rows */
    free(json);
    return status;
}

static qp_status run_job(job *j, int *exit_code)
{
    char embedded_golden[PATH_MAX];
    qp_run_context context;
    qp_golden *golden = NULL;
    QP_TRY(qp_outputs_prepare(&j->outputs));
    QP_TRY(qp_outputs_forget(&j->outputs));
    QP_TRY(qp_default_path(&j->golden, "qwen3-tiny.h5", embedded_golden));
    if (j->run) QP_TRY(qp_gate_require_golden(j->run, j->golden));
    qp_status status = qp_run_open(&j->options, &context);
    if (status == QP_OK) status = qp_open_golden_of(&context, j->golden, &golden);
    if (status == QP_OK) status = verify(j, &context, golden, exit_code);
    qp_golden_close(golden);
    qp_run_close(&context);
    return status;
}

/* ---- The runs of a gate. ---- */

/* Before the work begins. The caller closes *baseline, whatever happened. */
static qp_status open_baseline(const char *path, qp_saved_report *baseline)
{
    QP_TRY(qp_saved_report_open(path, baseline));
    const qp_bench_report *bench = &baseline->bench;
    if (!baseline->is_bench) return qp_fail(QP_FORMAT, "the baseline %s is no report of bench", path);
    bool fits = bench->complete && bench->samples >= 1 && bench->samples <= QP_BENCH_MAX_SAMPLES;
    for (int i = 0; i < bench->step_count; i++)
        fits = fits && bench->steps[i].tokens >= 1 && bench->steps[i].context >= 0;
    return fits ? QP_OK : qp_fail(QP_FORMAT, "the baseline %s is of no whole run that can be made again", path);
}

static qp_status run_of_gate(const qp_gate *gate, qp_gate_run *run, int *exit_code)
{
    char *folder = NULL;
    qp_saved_report baseline = { 0 };
    job j = { .options = run_options, .golden = run->golden, .only = run->only, .gate = gate, .run = run };
    j.options.model = run->model;
    j.options.plan = run->plan;
    if (run->backend && strcmp(run_options.backend, "cpu") != 0 && strcmp(run_options.backend, run->backend) != 0)
        return qp_fail(QP_USAGE, "run '%s' is for the backend %s, and --backend says %s", run->name, run->backend,
                       run_options.backend);
    if (run->backend) j.options.backend = run->backend;
    for (int i = 0; i < run->fuse_count; i++) j.options.fuse.items[j.options.fuse.count++] = run->fuse[i];
    for (int i = 0; i < run->impl_count; i++) j.options.impl.items[j.options.impl.count++] = run->impl[i];
    if (outputs.folder) QP_TRY(qp_outputs_path(outputs.folder, run->name, &folder));
    j.outputs.folder = folder;
    printf("run     %s\n", run->name);
    qp_status status = run->baseline ? open_baseline(run->baseline, &baseline) : QP_OK;
    j.baseline = run->baseline ? &baseline.bench : NULL;
    if (status == QP_OK) status = run_job(&j, exit_code);
    qp_saved_report_close(&baseline);
    free(folder);
    return status == QP_OK ? QP_OK : qp_fail(status, "run '%s': %s", run->name, qp_last_error());
}

static bool is_chosen(const char *name)
{
    bool chosen = only_runs.count == 0;
    for (int i = 0; i < only_runs.count; i++) chosen = chosen || !strcmp(only_runs.items[i], name);
    return chosen;
}

/* Each --run is a run of the gate. */
static qp_status check_runs(qp_gate *gate)
{
    for (int i = 0; i < only_runs.count; i++) {
        bool found = false;
        for (int r = 0; r < qp_gate_run_count(gate); r++)
            found = found || !strcmp(only_runs.items[i], qp_gate_run_at(gate, r)->name);
        if (!found) return qp_fail(QP_USAGE, "%s has no run '%s'", gate_path, only_runs.items[i]);
    }
    return QP_OK;
}

static qp_status run_gate(int *exit_code)
{
    qp_gate *gate = NULL;
    if (run_options.model || run_options.plan || run_options.fuse.count || run_options.impl.count || golden_path ||
        only)
        return qp_fail(QP_USAGE, "with --gate its file says what is run: --model, --golden, --plan, --fuse, --impl and "
                                 "--only belong there");
    if (outputs.json || outputs.junit || outputs.markdown || outputs.html)
        return qp_fail(QP_USAGE,
                       "with --gate there may be several runs: --report DIR gives each a folder with its files");
    QP_TRY(qp_outputs_prepare(&outputs));
    QP_TRY(qp_gate_open(gate_path, &gate));
    qp_status status = check_runs(gate);
    *exit_code = QP_EXIT_OK;
    for (int i = 0; i < qp_gate_run_count(gate) && status == QP_OK; i++) {
        int code = QP_EXIT_NOTHING;
        if (!is_chosen(qp_gate_run_at(gate, i)->name)) continue;
        status = run_of_gate(gate, qp_gate_run_at(gate, i), &code);
        *exit_code = qp_worse_exit(*exit_code, code);
        if (i + 1 < qp_gate_run_count(gate)) printf("\n");
    }
    qp_gate_close(gate);
    return status;
}

static qp_status run(int *exit_code)
{
    if (gate_path) return run_gate(exit_code);
    if (only_runs.count) return qp_fail(QP_USAGE, "--run chooses among the runs of --gate, which is missing");
    if (!run_options.model != !golden_path)
        return qp_fail(QP_USAGE, "--model and --golden belong together: a golden is of one model");
    job j = { .options = run_options, .golden = golden_path, .only = only, .outputs = outputs };
    return run_job(&j, exit_code);
}

const qp_command qp_command_verify = { "verify", "compare every boundary with a golden captured from PyTorch",
                                       "Runs each node of the plan on the golden's own inputs (local) and on our "
                                       "upstream outputs (carried), and compares\n"
                                       "every output that the golden holds: bits, largest absolute and ulp difference, "
                                       "and the errors of both against fp64.\n"
                                       "Rows are written as they come to a file beside the JSON, which goes when the "
                                       "report is there.",
                                       options, run };
