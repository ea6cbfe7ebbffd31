/* The rows of a run, written as they come, so that a crash loses nothing that was measured: a line of JSON each, in a file beside
 * the report's that goes when the report itself is there. read.h reads it, too. */
#ifndef QP_JOURNAL_H
#define QP_JOURNAL_H

#include <stdbool.h>
#include <stdio.h>

#include "../harness/verdict.h"

typedef struct qp_journal {
    char *path;   /* owned: the report's with ".rows.jsonl" */
    FILE *stream; /* locked for this process */
    bool begun;   /* there is a row */
} qp_journal;

/* For the report that will be written at `path`: an empty file, also where an earlier run left one. QP_IO, also if another run
 * with this path has not ended yet, and QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_journal_open(const char *path, qp_journal *journal);
/* A qp_row_sink whose context is the journal. Before the first row it writes what is known of the run. The line is with the
 * system when it returns: the end of this process does not lose it. QP_IO. */
QP_MUST_USE qp_status qp_journal_add(void *journal, const qp_report *report, const qp_row *row);
/* Removes the file if the report is there or no row is, and keeps it otherwise. A closed or zero journal is fine. */
void qp_journal_close(qp_journal *journal, bool report_is_there);

#endif
