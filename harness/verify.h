/* Verification: every node of the plan runs on the golden's own inputs (local) and on our upstream outputs
 * (carried), and every output that the golden holds is compared, with the fp64 oracle beside both. */
#ifndef QP_VERIFY_H
#define QP_VERIFY_H

#include "../model/execute.h"
#include "golden.h"
#include "verdict.h"

/* Takes each row when it is judged, so that what is known is kept whatever happens later. A failure ends the run. */
typedef qp_status (*qp_row_sink)(void *context, const qp_report *report, const qp_row *row);

typedef struct qp_verify_options {
    const char *model_path, *golden_path; /* for the report; borrowed */
    qp_selection selection;
    qp_fusions fusions; /* of the plan. What is inside a fused node has no row, and is told apart from what lacks one */
    const char *only;   /* glob on the key; NULL: everything */
    qp_progress progress; /* counts nodes, names the phase; may be NULL */
    void *progress_context;
    qp_row_sink sink; /* may be NULL */
    void *sink_context;
} qp_verify_options;

/* Runs the verification on the runtime's device; the fp64 oracle always runs on the CPU. The golden must belong to the
 * model (qp_golden_require_model). QP_USAGE: no node of the plan has the planted fault. QP_OK means that the work was
 * done; what was found is in *report, whose summary holds the verdict, and which borrows from
 * the runtime's model and the golden. On failure *report is all zero. Either way
 * qp_report_close accepts it. */
QP_MUST_USE qp_status qp_verify(const qp_runtime *runtime, const qp_golden *golden, const qp_verify_options *options,
                                qp_report *report);
void qp_report_close(qp_report *report);

#endif
