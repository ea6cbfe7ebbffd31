/* The rows of a report put together by boundary: what the tables for people have one line for; and the row to begin
 * with. Only for the writers. */
#ifndef QP_REPORT_BOUNDARIES_H
#define QP_REPORT_BOUNDARIES_H

#include <stdint.h>

#include "../harness/verdict.h"
#include "figures.h"

/* Root-mean-square error over several tensors: each counts with its elements. */
typedef struct qp_pooled_error {
    double squares, elements;
} qp_pooled_error;

/* All rows of one boundary, of all layers, phases and prompts. */
typedef struct qp_boundary {
    char name[QP_NAME_MAX]; /* with `*` for its layer, as a filter on the command line takes it */
    int64_t rows, elements, local_mismatches, carried_mismatches;
    int local_rows, carried_rows, origin_rows;
    double local_ulp;
    qp_pooled_error ours, golden, came_in, added;
    qp_verdict verdict; /* the worst */
} qp_boundary;

typedef struct qp_boundaries {
    int count;
    qp_boundary *list; /* in the order of the rows */
    int *of_row;       /* [rows]: which of the list a row belongs to */
} qp_boundaries;

/* QP_NO_MEMORY. On failure *boundaries is all zero, which qp_boundaries_free accepts. */
QP_MUST_USE qp_status qp_boundaries_of(const qp_report *report, qp_boundaries *boundaries);
void qp_boundaries_free(qp_boundaries *boundaries);

/* The columns of a boundary's line; "-" where there is no such row, or no pair of its elements that is finite. Errors
 * are root mean squares: of ours and of PyTorch's against fp64, and the two parts of the carried one. */
typedef struct qp_boundary_figures {
    qp_figure elements;
    qp_figure local_mismatches, local_ulp, ours, golden;
    qp_figure carried_mismatches, came_in, added;
} qp_boundary_figures;
qp_boundary_figures qp_boundary_say(const qp_boundary *boundary);

/* The row to look at first: the first local one that failed, or else the first that failed, or else the first that is
 * untrusted. NULL: there is none. Nobody has to look at what is waived. */
const qp_row *qp_where_to_start(const qp_report *report);

#endif
