#include "outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../reports/reports.h"

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
    const bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
    const int reason = errno;
    free(path);
    return made ? QP_OK
                : qp_fail(QP_IO, "the folder '%s' for the report cannot be made: %s; choose another", folder,
                          strerror(reason));
}

qp_status qp_outputs_prepare(const qp_outputs *outputs)
{
    const char *const names[] = { outputs->folder, outputs->json, outputs->junit, outputs->markdown, outputs->html };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i] && !*names[i]) return qp_fail(QP_USAGE, "the name of a report's file must not be empty");
    return outputs->folder ? make_folder(outputs->folder) : QP_OK;
}

qp_status qp_outputs_path(const char *folder, const char *name, char **path)
{
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    *path = malloc(bytes);
    if (!*path) return qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
    (void)snprintf(*path, bytes, "%s/%s", folder, name);
    return QP_OK;
}

bool qp_outputs_is_file(const char *path)
{
    struct stat found;
    return stat(path, &found) != 0 || S_ISREG(found.st_mode);
}

qp_status qp_outputs_json_path(const qp_outputs *outputs, char **path)
{
    *path = NULL;
    if (outputs->folder) return qp_outputs_path(outputs->folder, "report.json", path);
    if (!outputs->json || !qp_outputs_is_file(outputs->json)) return QP_OK;
    *path = strdup(outputs->json);
    return *path ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the path of the report");
}

static qp_status append_step_summary(const qp_report *report)
{
    const char *path = getenv("GITHUB_STEP_SUMMARY");
    return path && *path ? qp_report_append_markdown(report, path) : QP_OK;
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

static qp_status write_folder(const char *folder, const qp_report *report, const qp_bench_report *bench, FILE *stream)
{
    char *json = NULL, *junit = NULL, *markdown = NULL, *html = NULL, *times = NULL;
    qp_status status = qp_outputs_path(folder, "report.json", &json);
    if (status == QP_OK) status = qp_outputs_path(folder, "junit.xml", &junit);
    if (status == QP_OK) status = qp_outputs_path(folder, "summary.md", &markdown);
    if (status == QP_OK) status = qp_outputs_path(folder, "report.html", &html);
    if (status == QP_OK) status = qp_outputs_path(folder, "bench.json", &times);
    const qp_outputs all = { .json = json, .junit = junit, .markdown = markdown, .html = html };
    if (status == QP_OK) status = write_files(&all, report, bench, stream);
    if (status == QP_OK && bench) status = qp_bench_write_json(bench, times);
    free(json);
    free(junit);
    free(markdown);
    free(html);
    free(times);
    return status;
}

qp_status qp_outputs_write(const qp_outputs *outputs, const qp_report *report, const qp_bench_report *bench,
                           FILE *stream)
{
    QP_TRY(write_files(outputs, report, bench, stream));
    if (outputs->folder) QP_TRY(write_folder(outputs->folder, report, bench, stream));
    return outputs->folder || outputs->markdown ? append_step_summary(report) : QP_OK;
}
