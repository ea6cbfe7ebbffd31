/* The writers: each turns a finished report into one form. They read, and judge nothing.
 *
 * Those that write a file write it beside `path` and rename it (file.h): QP_IO or QP_NO_MEMORY, and then there is no half
 * file. Strings of a report may hold anything, bytes that are no UTF-8 included; they come out as text in every form. */
#ifndef QP_REPORTS_H
#define QP_REPORTS_H

#include <stdbool.h>
#include <stdio.h>

#include "../harness/bench.h"
#include "../harness/changes.h"
#include "../harness/verdict.h"
#include "../kernels/status.h"

typedef struct qp_terminal_style {
    bool color;     /* ANSI colours: only on a terminal, and not under NO_COLOR */
    bool every_row; /* each row, not one line a boundary */
} qp_terminal_style;

/* ---- verify ---- */

/* A table for people: one line a boundary (module path with `*` for the layer) with what its local and
 * carried rows show together; every row that did not pass; what was not compared; the verdict last. */
void qp_report_print(const qp_report *report, qp_terminal_style style, FILE *stream);

/* Everything, for programs: schema.json, explained in README.md. */
QP_MUST_USE qp_status qp_report_write_json(const qp_report *report, const char *path);

/* JUnit's XML: a test case for each row, its key and mode as the name; error numbers in the message of a failure. */
QP_MUST_USE qp_status qp_report_write_junit(const qp_report *report, const char *path);

/* A summary in GitHub's Markdown, for a merge request. */
QP_MUST_USE qp_status qp_report_write_markdown(const qp_report *report, const char *path);
/* The same, appended to a file that others write to, too: $GITHUB_STEP_SUMMARY. */
QP_MUST_USE qp_status qp_report_append_markdown(const qp_report *report, const char *path);

/* ---- bench ---- */

/* What `bench` found: a table for each phase, one line a row, then the passes, what has no time and why, the machine's
 * ceilings, and a verdict last. */
void qp_bench_print(const qp_bench_report *report, qp_terminal_style style, FILE *stream);

/* Everything, for programs: schema.json, explained in README.md. */
QP_MUST_USE qp_status qp_bench_write_json(const qp_bench_report *report, const char *path);

/* ---- both ---- */

/* One page for a browser, with everything in it: no network, and readable without scripts. One of the two may be NULL. */
QP_MUST_USE qp_status qp_write_html(const qp_report *report, const qp_bench_report *bench, const char *path);

/* ---- compare ---- */

/* What changed between two reports: first what is around them, the verdict last. */
void qp_changes_print(const qp_changes *changes, qp_terminal_style style, FILE *stream);

/* The same in GitHub's Markdown. */
QP_MUST_USE qp_status qp_changes_write_markdown(const qp_changes *changes, const char *path);

#endif
