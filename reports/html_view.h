/* What the page shows of a report besides its rows, computed once: boundaries, the map, where to start. Only for the
 * page. */
#ifndef QP_HTML_VIEW_H
#define QP_HTML_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "../harness/verdict.h"
#include "boundaries.h"

/* The two kinds of passes that the map tells apart. */
typedef enum qp_pass { QP_PASS_PREFILL, QP_PASS_DECODE, QP_PASSES } qp_pass;
enum { QP_MODES = 2 };

/* Rows of one kind, together. */
typedef struct qp_html_sum {
    int64_t rows, exact, elements, mismatches;
    int64_t stray;      /* class mismatches but for the signs of zeros: a NaN or an infinity out of place */
    double ulp;         /* the largest */
    qp_verdict verdict; /* the worst */
    int first;          /* the first row with that verdict; -1: all passed */
} qp_html_sum;

/* A boundary, of all layers and phases, and what qp_boundary does not tell of it. */
typedef struct qp_html_boundary {
    bool in_layers;
    const qp_row *row; /* its first */
    qp_html_sum sum[QP_MODES];
} qp_html_boundary;

typedef struct qp_html_view {
    const qp_report *report; /* borrowed */
    qp_boundaries pooled;
    qp_html_boundary *boundaries; /* [pooled.count] */
    int exact_boundaries;         /* without a mismatch in any row */
    int layers;                   /* of the map; 0: there is none, for the rows are no model's */
    qp_html_sum *cells;           /* qp_html_cell */
    bool has_pass[QP_PASSES];
    const qp_row *start; /* qp_where_to_start */
    int worst[QP_MODES]; /* the row that is farthest from the golden; -1: none differs */
    int guilty;          /* boundaries with a failed local row */
} qp_html_view;

/* QP_NO_MEMORY. On failure *view is all zero, which qp_html_view_close accepts. */
QP_MUST_USE qp_status qp_html_view_open(const qp_report *report, qp_html_view *view);
void qp_html_view_close(qp_html_view *view);

/* The rows of one boundary and layer (0 outside the layers) in one kind of pass. */
qp_html_sum *qp_html_cell(const qp_html_view *view, int boundary, qp_mode mode, qp_pass pass, int layer);

#endif
