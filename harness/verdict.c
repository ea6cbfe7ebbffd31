#include "verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "../kernels/numerics/strict_fp.h"

const char *qp_verdict_name(qp_verdict verdict)
{
    switch (verdict) {
    case QP_VERDICT_FAIL: return "fail";
    case QP_VERDICT_UNTRUSTED: return "untrusted";
    case QP_VERDICT_PASS: return "pass";
    }
    return "fail";
}

const char *qp_mode_name(qp_mode mode)
{
    switch (mode) {
    case QP_LOCAL: return "local";
    case QP_CARRIED: return "carried";
    }
    return "unknown mode";
}

/* Elements of the row's shape; -1 if it is no shape. */
static int64_t shape_elements(const qp_row *row)
{
    if (row->rank < 0 || row->rank > QP_MAX_RANK) return -1;
    int64_t elements = 1;
    for (int i = 0; i < row->rank; i++) {
        if (row->dim[i] < 1 || row->dim[i] > INT64_MAX / elements) return -1;
        elements *= row->dim[i];
    }
    return elements;
}

static void say_difference(qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    char class_text[64] = "";
    if (c->class_mismatches > 0)
        (void)snprintf(class_text, sizeof class_text, ", %" PRId64 " in class (NaN, infinity, sign of zero)",
                       c->class_mismatches);
    (void)snprintf(row->reason, sizeof row->reason, "%" PRId64 " of %" PRId64 " elements differ, at most %.0f ulp%s",
                   c->mismatches, c->elements, c->max_ulp, class_text);
}

/* Whether our error against the oracle is within the bound's factor of the golden's; says why not. */
static bool oracle_holds(qp_row *row)
{
    const double ours = row->ours_oracle.rms, golden = row->golden_oracle.rms, factor = row->bound.max_oracle_factor;
    if (row->ours_oracle.nonfinite > row->golden_oracle.nonfinite) {
        (void)snprintf(row->reason, sizeof row->reason,
                       "%" PRId64 " elements have no finite error against the oracle, PyTorch has %" PRId64,
                       row->ours_oracle.nonfinite, row->golden_oracle.nonfinite);
        return false;
    }
    if (ours <= factor * golden) return true;
    if (golden > 0.0 && isfinite(golden) && isfinite(ours))
        (void)snprintf(row->reason, sizeof row->reason,
                       "error against the oracle is %.3g times PyTorch's, %.3g allowed", ours / golden, factor);
    else
        (void)snprintf(row->reason, sizeof row->reason,
                       "error against the oracle is %.3g, PyTorch's is %.3g, %.3g times that allowed", ours, golden,
                       factor);
    return false;
}

static bool bounded_holds(qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    const qp_bound *bound = &row->bound;
    if (c->mismatches == 0) return true;
    if (c->class_mismatches != c->signed_zeros) {
        (void)snprintf(row->reason, sizeof row->reason,
                       "%" PRId64 " of %" PRId64 " elements are NaN or infinite on one side only",
                       c->class_mismatches - c->signed_zeros, c->elements);
        return false;
    }
    if (row->mode == QP_LOCAL) {
        if (!(c->max_ulp <= (double)bound->max_ulp)) {
            (void)snprintf(row->reason, sizeof row->reason,
                           "%" PRId64 " of %" PRId64 " elements differ, at most %.0f ulp, %d allowed", c->mismatches,
                           c->elements, c->max_ulp, bound->max_ulp);
            return false;
        }
        const double share = floor(bound->max_mismatch_rate * (double)c->elements);
        const double allowed = share > 1.0 ? share : bound->max_mismatch_rate > 0.0 ? 1.0 : 0.0;
        if (!((double)c->mismatches <= allowed)) {
            (void)snprintf(row->reason, sizeof row->reason, "%" PRId64 " of %" PRId64 " elements differ, %.0f allowed",
                           c->mismatches, c->elements, allowed);
            return false;
        }
    }
    return oracle_holds(row);
}

/* Whether the golden holds enough to be trusted; says why not. */
static bool golden_shows_enough(qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    if (c->nonfinite >= c->elements) {
        (void)snprintf(row->reason, sizeof row->reason, "inside its gate, but no element of the golden is finite");
        return false;
    }
    if (row->dtype == QP_I64 || c->elements == 1) return true;
    const int64_t rows = c->elements / row->dim[row->rank - 1]; /* more than one element: the rank is at least 1 */
    if (c->nonzero + row->true_zeros >= rows) return true;
    (void)snprintf(row->reason, sizeof row->reason,
                   "inside its gate, but only %" PRId64 " of the golden's %" PRId64
                   " elements are not zero, in %" PRId64 " rows, and should be",
                   c->nonzero, c->elements, rows);
    return false;
}

void qp_judge(qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    bool inside = false;
    row->verdict = QP_VERDICT_FAIL;
    row->reason[0] = '\0';

    if (c->elements <= 0) {
        (void)snprintf(row->reason, sizeof row->reason, "no element was compared");
        return;
    }
    const int64_t elements = shape_elements(row);
    if (elements != c->elements) {
        (void)snprintf(row->reason, sizeof row->reason, "%" PRId64 " elements were compared, the shape holds %" PRId64,
                       c->elements, elements);
        return;
    }
    if (row->violation) {
        (void)snprintf(row->reason, sizeof row->reason, "%s", row->violation);
        return;
    }
    if (row->gate == QP_GATE_EXACT) {
        inside = c->mismatches == 0;
        if (!inside) say_difference(row);
    } else if (row->gate == QP_GATE_BOUNDED) {
        inside = bounded_holds(row);
    } else {
        (void)snprintf(row->reason, sizeof row->reason, "the row has no gate");
    }
    if (inside) row->verdict = golden_shows_enough(row) ? QP_VERDICT_PASS : QP_VERDICT_UNTRUSTED;
}

void qp_row_position(const qp_row *row, int64_t index, int64_t position[QP_MAX_RANK])
{
    for (int i = row->rank - 1; i >= 0; i--) {
        const int64_t extent = row->dim[i] > 0 ? row->dim[i] : 1;
        position[i] = i == 0 ? index : index % extent;
        index /= extent;
    }
}

void qp_report_summarise(qp_report *report)
{
    qp_report_summary summary = { 0 };
    summary.verdict = QP_VERDICT_FAIL;
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        const qp_comparison *c = &row->comparison;
        summary.rows++;
        if (row->verdict == QP_VERDICT_UNTRUSTED)
            summary.untrusted++;
        else if (row->verdict != QP_VERDICT_PASS)
            summary.failed++;
        if (c->elements > 0 && c->mismatches == 0) summary.exact_rows++;
        summary.elements += c->elements;
        summary.mismatches += c->mismatches;
        if (row->mode == QP_LOCAL)
            summary.local_mismatches += c->mismatches;
        else
            summary.carried_mismatches += c->mismatches;
        if (row->mode == QP_CARRIED && !row->has_origin) summary.carried_only++;
    }
    const bool all_passed = summary.rows > 0 && summary.failed == 0 && summary.untrusted == 0;
    const bool all_compared = report->not_compared_count == 0;
    if (all_passed && all_compared) summary.verdict = QP_VERDICT_PASS;
    report->summary = summary;
}
