#include "outputs.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../reports/reports.h"

bool qp_outputs_is_file(const char *path)
{
    struct stat found;
    return stat(path, &found) != 0 || S_ISREG(found.st_mode);
}

/* The folder with those above it. */
static qp_status make_folder(const char *folder)
{
    char *path = strdup(folder);
    if (!path) return qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0777);
        *slash = '/';
    }
    const int reason = mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : errno;
    free(path);
    if (reason)
        return qp_fail(QP_IO, "the folder '%s' for the report cannot be made: %s; choose another", folder,
                       strerror(reason));
    return access(folder, W_OK | X_OK) == 0
               ? QP_OK
               : qp_fail(QP_IO, "'%s' for the report is no folder that can be written to; choose another", folder);
}

/* Whether a file can be made there, as far as its folder says. */
static qp_status check_folder_of(const char *path)
{
    char *copy = strdup(path);
    if (!copy) return qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
    const bool writable = access(dirname(copy), W_OK | X_OK) == 0;
    const int reason = errno;
    free(copy);
    return writable || access(path, W_OK) == 0 /* a pipe or a device */
               ? QP_OK
               : qp_fail(QP_IO, "report '%s' cannot be written: %s; choose another path", path, strerror(reason));
}

qp_status qp_outputs_prepare(const qp_outputs *outputs)
{
    const char *const files[] = { outputs->json, outputs->junit, outputs->markdown, outputs->html };
    enum { FILES = sizeof files / sizeof *files };
    if (outputs->folder && !*outputs->folder)
        return qp_fail(QP_USAGE, "the name of a report's folder must not be empty");
    for (int i = 0; i < FILES; i++) {
        if (!files[i]) continue;
        if (!*files[i]) return qp_fail(QP_USAGE, "the name of a report's file must not be empty");
        for (int j = 0; j < i; j++)
            if (files[j] && !strcmp(files[i], files[j]) && qp_outputs_is_file(files[i]))
                return qp_fail(QP_USAGE, "two forms of the report would be written to '%s'", files[i]);
        QP_TRY(check_folder_of(files[i]));
    }
    return outputs->folder ? make_folder(outputs->folder) : QP_OK;
}

enum { FILE_NAMES = 5 };
static const char *const file_names[FILE_NAMES] = { "report.html", "report.json", "junit.xml", "summary.md",
                                                    "bench.json" };

qp_status qp_outputs_forget(const qp_outputs *outputs)
{
    for (int i = 0; outputs->folder && i < FILE_NAMES; i++) {
        char *path = NULL;
        QP_TRY(qp_outputs_path(outputs->folder, file_names[i], &path));
        (void)unlink(path);
        free(path);
    }
    return QP_OK;
}

qp_status qp_outputs_path(const char *folder, const char *name, char **path)
{
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    *path = malloc(bytes);
    if (!*path) return qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
    (void)snprintf(*path, bytes, "%s/%s", folder, name);
    return QP_OK;
}

qp_status qp_outputs_json_path(const qp_outputs *outputs, char **path)
{
    *path = NULL;
    if (outputs->folder) return qp_outputs_path(outputs->folder, "report.json", path);
    if (!outputs->json || !qp_outputs_is_file(outputs->json)) return QP_OK;
    *path = strdup(outputs->json);
    return *path ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
}

void qp_outputs_append_step_summary(const qp_outputs *outputs, const qp_report *report)
{
    const char *path = getenv("GITHUB_STEP_SUMMARY");
    if (!path || !*path || !(outputs->folder || outputs->markdown)) return;
    if (qp_report_append_markdown(report, path) != QP_OK)
        fprintf(stderr, "qwen3-parity: the step's summary is not there: %s.\n", qp_last_error());
}

static qp_status write_files(const qp_outputs *o, const qp_report *report, const qp_bench_report *bench, FILE *stream)
{
    if (o->json) QP_TRY(qp_report_write_json(report, o->json));
    if (o->junit) QP_TRY(qp_report_write_junit(report, o->junit));
    if (o->markdown) QP_TRY(qp_report_write_markdown(report, o->markdown));
    if (o->html) {
        QP_TRY(qp_write_html(report, bench, o->html));
        (void)fprintf(stream, "page    %s\n", o->html);
    }
    return QP_OK;
}

/* A path in the folder for each name; the caller frees what there is, whatever happened. */
static qp_status make_paths(const char *folder, char *paths[])
{
    for (int i = 0; i < FILE_NAMES; i++) QP_TRY(qp_outputs_path(folder, file_names[i], &paths[i]));
    return QP_OK;
}

static qp_status write_folder(const char *folder, const qp_report *report, const qp_bench_report *bench, FILE *stream)
{
    char *paths[FILE_NAMES] = { NULL };
    qp_status status = make_paths(folder, paths);
    const qp_outputs all = { .html = paths[0], .json = paths[1], .junit = paths[2], .markdown = paths[3] };
    if (status == QP_OK) status = write_files(&all, report, bench, stream);
    if (status == QP_OK && bench) status = qp_bench_write_json(bench, paths[4]);
    for (int i = 0; i < FILE_NAMES; i++) free(paths[i]);
    return status;
}

qp_status qp_outputs_write(const qp_outputs *outputs, const qp_report *report, const qp_bench_report *bench,
                           FILE *stream)
{
    QP_TRY(write_files(outputs, report, bench, stream));
    return outputs->folder ? write_folder(outputs->folder, report, bench, stream) : QP_OK;
}
