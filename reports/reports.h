/* The writers: each turns a finished report into one form. They read, and judge nothing. */
#ifndef QP_REPORTS_H
#define QP_REPORTS_H

#include <stdbool.h>
#include <stdio.h>

#include "../harness/bench.h"
#include "../harness/golden.h"
#include "../harness/verdict.h"
#include "../kernels/status.h"

typedef struct qp_terminal_style {
    bool color;     /* ANSI colours: only on a terminal, and not under NO_COLOR */
    bool every_row; /* each row, not one line a boundary */
} qp_terminal_style;

/* A table for people: one line a boundary (module path with `*` for the layer) with what its local and
 * carried rows show together; every row that did not pass; what was not compared; the verdict last. */
void qp_report_print(const qp_report *report, const qp_golden *golden, qp_terminal_style style, FILE *stream);

/* The JSON of `verify` (schema: reports/README.md). Written beside `path` first and renamed, so that an
 * interrupted run leaves no half file. QP_IO if it cannot be written. */
QP_MUST_USE qp_status qp_report_write_json(const qp_report *report, const qp_golden *golden, const char *path);

/* What `bench` found: a table for each phase, one line a row, then the passes, what has no time and why, the machine's
 * ceilings, and a verdict last. */
void qp_bench_print(const qp_bench_report *report, qp_terminal_style style, FILE *stream);

/* The JSON of `bench` (schema: reports/README.md), written as that of `verify`. `golden` may be NULL. */
QP_MUST_USE qp_status qp_bench_write_json(const qp_bench_report *report, const qp_golden *golden, const char *path);

#endif
