#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../model/clock.h"
#include "../../model/fusion.h"
#include "../../model/random_model.h"
#include "../golden_model.h"
#include "commands.h"

int qp_exit_of_report(const qp_report *report)
{
    const bool nothing_else = report->complete && report->not_compared_count == 0 && report->problem_count == 0;
    if (report->row_count == 0 && nothing_else) return QP_EXIT_NOTHING;
    if (report->summary.verdict != QP_VERDICT_PASS) return QP_EXIT_VERDICT;
    return report->slower ? QP_EXIT_SLOWER : QP_EXIT_OK;
}

int qp_exit_of_bench(const qp_bench_report *report)
{
    if (report->failed || !report->complete) return QP_EXIT_VERDICT;
    return report->verified ? QP_EXIT_OK : QP_EXIT_NOTHING;
}

int qp_exit_of_changes(const qp_changes *changes)
{
    switch (qp_changes_judge(changes)) {
    case QP_CHANGES_NOTHING: return QP_EXIT_NOTHING;
    case QP_CHANGES_SLOWER: return QP_EXIT_SLOWER;
    case QP_CHANGES_NOT_WORSE: return QP_EXIT_OK;
    case QP_CHANGES_WORSE: break;
    }
    return QP_EXIT_VERDICT;
}

int qp_worse_exit(int a, int b)
{
    static const int order[] = { QP_EXIT_OK, QP_EXIT_SLOWER, QP_EXIT_NOTHING, QP_EXIT_VERDICT };
    int rank_a = 0, rank_b = 0;
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++) {
        if (order[i] == a) rank_a = i;
        if (order[i] == b) rank_b = i;
    }
    return rank_a > rank_b ? a : b;
}

static qp_status select_implementations(const qp_run_options *options, qp_selection *selection)
{
    const bool cuda = !strcmp(options->backend, "cuda");
    if (!cuda && strcmp(options->backend, "cpu") != 0)
        return qp_fail(QP_USAGE, "there is no backend '%s'; there are cpu and cuda", options->backend);
    selection->backend = cuda ? QP_CUDA : QP_CPU;
    for (int i = 0; i < options->impl.count; i++) QP_TRY(qp_selection_choose(selection, options->impl.items[i]));
    return options->fault ? qp_selection_plant(selection, options->fault) : QP_OK;
}

static qp_status select_fusions(const qp_run_options *options, qp_fusions *fusions)
{
    const bool fused = options->plan && !strcmp(options->plan, "fused");
    if (options->plan && !fused && strcmp(options->plan, "reference") != 0)
        return qp_fail(QP_USAGE, "there is no plan '%s'; there are reference and fused", options->plan);
    if (options->plan && !fused && options->fuse.count > 0)
        return qp_fail(QP_USAGE, "--plan reference fuses nothing, so it has no use for --fuse");
    *fusions = fused && options->fuse.count == 0 ? QP_FUSE_ALL : 0;
    for (int i = 0; i < options->fuse.count; i++) QP_TRY(qp_fusions_add(fusions, options->fuse.items[i]));
    return QP_OK;
}

static bool exists(const char *folder, const char *name, char *path, size_t size)
{
    const int length = snprintf(path, size, "%s/%s", folder, name);
    return length > 0 && (size_t)length < size && access(path, R_OK) == 0;
}

static qp_status data_path(const char *name, char *path, size_t size)
{
    char program[PATH_MAX], installed[PATH_MAX + 32];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        (void)snprintf(installed, sizeof installed, "%s/../share/qwen3-parity", dirname(program));
        if (exists(installed, name, path, size)) return QP_OK;
    }
    if (exists(QP_SOURCE_DIR "/golden", name, path, size)) return QP_OK;
    return qp_fail(QP_IO,
                   "the embedded %s is neither in %s nor in " QP_SOURCE_DIR "/golden; name a file or folder yourself",
                   name, length > 0 ? installed : "the installed folder");
}

qp_status qp_default_path(const char **path, const char *name, char storage[PATH_MAX])
{
    if (*path) return QP_OK;
    QP_TRY(data_path(name, storage, PATH_MAX));
    *path = storage;
    return QP_OK;
}

qp_status qp_run_open(const qp_run_options *options, qp_run_context *context)
{
    memset(context, 0, sizeof *context);
    QP_TRY(select_implementations(options, &context->selection));
    QP_TRY(select_fusions(options, &context->fusions));
    if (options->shape) {
        context->model_path = options->shape;
        qp_progress_line(NULL, 0, 1, "making random weights");
        QP_TRY(qp_model_open_random(options->shape, options->layers, (uint64_t)options->seed, &context->model));
    } else {
        context->model_path = options->model;
        QP_TRY(qp_default_path(&context->model_path, "qwen3-tiny", context->embedded_model));
        QP_TRY(qp_model_open(context->model_path, &context->model));
    }
    qp_progress_line(NULL, 0, 1, "placing the weights");
    const qp_status status = qp_runtime_open(&context->model, context->selection.backend, &context->runtime);
    qp_progress_line(NULL, 1, 1, "");
    return status;
}

void qp_run_close(qp_run_context *context)
{
    qp_runtime_close(&context->runtime);
    qp_model_close(&context->model);
}

qp_status qp_open_golden_of(const qp_run_context *context, const char *path, qp_golden **golden)
{
    QP_TRY(qp_golden_open(path, golden));
    qp_progress_line(NULL, 0, 1, "hashing the weights");
    const qp_status status = qp_golden_require_model(*golden, &context->model);
    qp_progress_line(NULL, 1, 1, "");
    if (status == QP_OK) return QP_OK;
    qp_golden_close(*golden);
    *golden = NULL;
    return status;
}

void qp_progress_line(void *context, int done, int total, const char *what)
{
    static bool drawn;
    static double last_drawn;
    (void)context;
    if (done == total) {
        if (drawn) fprintf(stderr, "\r\033[K");
        drawn = false;
        return;
    }
    if (!isatty(STDERR_FILENO)) return;
    const double seconds = qp_seconds_now();
    if (drawn && seconds - last_drawn < 0.1) return;
    last_drawn = seconds;
    drawn = true;
    fprintf(stderr, "\r\033[K%3d %%  %s", total ? (int)(100.0 * done / total) : 0, what);
    fflush(stderr);
}

bool qp_wants_color(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(fileno(stream)) && !(no_color && *no_color);
}
