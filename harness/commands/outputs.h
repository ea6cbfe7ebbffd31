/* The files that a report is written to: one option each, or a folder with all of them. */
#ifndef QP_OUTPUTS_H
#define QP_OUTPUTS_H

#include "../bench.h"
#include "../verdict.h"
#include "options.h"

typedef struct qp_outputs {
    const char *folder, *json, *junit, *markdown, *html;
} qp_outputs;

/* clang-format off */
#define QP_OUTPUTS_TABLE(o)                                                                                              \
    { "report", "DIR", "a folder for report.html, report.json, junit.xml and summary.md; made if need be",              \
      QP_OPTION_TEXT, &(o).folder },                                                                                    \
    { "html", "FILE", "write a page for a browser, with everything in it", QP_OPTION_TEXT, &(o).html },                 \
    { "json", "FILE", "write the whole report as JSON (reports/README.md)", QP_OPTION_TEXT, &(o).json },                \
    { "junit", "FILE", "write JUnit's XML: a test case for each row", QP_OPTION_TEXT, &(o).junit },                     \
    { "markdown", "FILE", "write a summary for a merge request", QP_OPTION_TEXT, &(o).markdown }
/* clang-format on */

/* Before the work begins: makes the folder. QP_USAGE if a name is empty or there twice, QP_IO if something cannot be written. */
QP_MUST_USE qp_status qp_outputs_prepare(const qp_outputs *outputs);
/* Removes what an earlier run left in the folder, so that nobody takes it for this run's. QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_outputs_forget(const qp_outputs *outputs);

/* A path in the folder. The caller frees *path. */
QP_MUST_USE qp_status qp_outputs_path(const char *folder, const char *name, char **path);

/* Whether the path is a plain file, or will be one: not a pipe, a device or a folder. */
bool qp_outputs_is_file(const char *path);

/* The JSON that is a file: in the folder, if there is one; NULL: none. The caller frees *path. */
QP_MUST_USE qp_status qp_outputs_json_path(const qp_outputs *outputs, char **path);

/* Writes what was asked for, and says on `stream` where the page is. `bench` may be NULL; with it the page has its times, too.
 * QP_IO, QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_outputs_write(const qp_outputs *outputs, const qp_report *report, const qp_bench_report *bench,
                                       FILE *stream);

/* Of a run: appends its summary to the file that GITHUB_STEP_SUMMARY names, if one was asked for. That it cannot is said, and
 * changes nothing else. */
void qp_outputs_append_step_summary(const qp_outputs *outputs, const qp_report *report);

#endif
