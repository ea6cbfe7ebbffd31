/* The file of a report: it is there whole, or not at all. */
#ifndef QP_REPORT_FILE_H
#define QP_REPORT_FILE_H

#include <stdio.h>

#include "../kernels/status.h"

typedef struct qp_report_file {
    FILE *stream;
    const char *path; /* borrowed */
    char *partial;    /* the path that is written to, until the file is whole; NULL: `path` itself */
} qp_report_file;

/* Opens a file beside `path`, so that an interrupted run leaves no half report. A pipe, a device or a link must not be
 * replaced by a file, and is written through. QP_IO, QP_NO_MEMORY; on failure there is nothing to close. */
QP_MUST_USE qp_status qp_report_file_open(const char *path, qp_report_file *file);

/* Closes the file; renames it to its path if `status`, what became of the writing, is QP_OK and everything was written, and
 * removes it otherwise. Returns `status`, or QP_IO. */
QP_MUST_USE qp_status qp_report_file_close(qp_report_file *file, qp_status status);

#endif
