/* Reads back what json.c, bench_json.c and journal.c write: a report as it was in memory, for any of the writers and for a
 * comparison with another one. */
#ifndef QP_REPORT_READ_H
#define QP_REPORT_READ_H

#include "../harness/bench.h"
#include "../harness/verdict.h"
#include "../model/json.h"

/* One of the two kinds. Strings are borrowed from the documents, which this owns. */
typedef struct qp_saved_report {
    bool is_bench;
    qp_report verify;
    qp_bench_report bench; /* without its `host` */
    qp_json **documents;   /* one; of a journal one a line */
    int document_count;
} qp_saved_report;

/* QP_IO, QP_NO_MEMORY, or QP_FORMAT with a sentence that names the member that is missing or wrong. A journal of a run that did
 * not end gives the rows that it got to, complete = false; its last line may be torn. Written again, a report is the same byte
 * for byte, but for `host`. On failure *saved is all zero, which qp_saved_report_close accepts. */
QP_MUST_USE qp_status qp_saved_report_open(const char *path, qp_saved_report *saved);
void qp_saved_report_close(qp_saved_report *saved);

/* ---- What reading the two kinds has in common. Only for read.c and bench_read.c: into a report of zeros, which the caller closes
 * whatever happens. ---- */
QP_MUST_USE qp_status qp_read_environment(qp_json_node root, qp_environment *environment, qp_device_facts *device);
QP_MUST_USE qp_status qp_read_golden(qp_json_node root, qp_golden_facts *golden);
QP_MUST_USE qp_status qp_read_bench(qp_json_node root, qp_bench_report *report);
/* As qp_json_put_selection writes it. `plan` has QP_FUSIONS_TEXT bytes. */
QP_MUST_USE qp_status qp_read_selection(qp_json_node root, const char **backend, char *plan, const char **fault,
                                        const char **only);
int qp_read_layer(const char *module); /* 2 of "model.layers.2.mlp"; -1 outside the layers */

#endif
