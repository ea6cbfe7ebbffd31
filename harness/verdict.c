#include "verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../kernels/numerics/strict_fp.h"

const char *qp_verdict_name(qp_verdict verdict)
{
    switch (verdict) {
    case QP_VERDICT_FAIL: return "fail";
    case QP_VERDICT_UNTRUSTED: return "untrusted";
    case QP_VERDICT_WAIVED: return "waived";
    case QP_VERDICT_PASS: return "pass";
    }
    return "fail";
}

const char *qp_gate_kind_name(qp_gate_kind kind)
{
    switch (kind) {
    case QP_GATE_EXACT: return "exact";
    case QP_GATE_BOUNDED: return "bounded";
    }
    return "exact";
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

/* Whether the golden holds enough to be trusted; says why not. `good`: what the row would be. */
static bool golden_shows_enough(qp_row *row, const char *good)
{
    const qp_comparison *c = &row->comparison;
    if (c->nonfinite >= c->elements) {
        (void)snprintf(row->reason, sizeof row->reason, "%s, but no element of the golden is finite", good);
        return false;
    }
    if (row->dtype == QP_I64 || c->elements == 1) return true;
    const int64_t rows = c->elements / row->dim[row->rank - 1]; /* more than one element: the rank is at least 1 */
    if (c->nonzero + row->true_zeros >= rows) return true;
    (void)snprintf(row->reason, sizeof row->reason,
                   "%s, but only %" PRId64 " of the golden's %" PRId64 " elements are not zero, in %" PRId64
                   " rows, and should be",
                   good, c->nonzero, c->elements, rows);
    return false;
}

void qp_judge(qp_row *row)
{
    const qp_comparison *c = &row->comparison;
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
    if (c->mismatches == 0)
        row->verdict = golden_shows_enough(row, "equal") ? QP_VERDICT_PASS : QP_VERDICT_UNTRUSTED;
    else
        say_difference(row);
}

/* Whether an error against fp64 tells something: of some elements, and no overflow. */
static bool is_known(const qp_error *error, int64_t elements)
{
    return isfinite(qp_error_rms(error, elements)) && isfinite(error->max_abs);
}

/* Why a difference is not within the bound; NULL: it is. */
static const char *leaves_bound(const qp_row *row, double max_ulp, double error_factor)
{
    const qp_comparison *c = &row->comparison;
    const qp_error *ours = &row->ours_oracle, *golden = &row->golden_oracle;
    if (row->dtype == QP_I64) return "a whole number has no bound";
    if (c->class_mismatches > c->signed_zeros) return "no bound covers a NaN or an infinity";
    if (!(c->max_ulp <= max_ulp)) return "that is over the bound";
    if (!is_known(ours, c->elements) || !is_known(golden, c->elements)) return "the error against fp64 is unknown";
    if (!(ours->rms <= error_factor * golden->rms && ours->max_abs <= error_factor * golden->max_abs &&
          ours->nonfinite <= golden->nonfinite))
        return "the error against fp64 is over the bound";
    return NULL;
}

void qp_judge_bounded(qp_row *row, double max_ulp, double error_factor)
{
    row->gate = QP_GATE_BOUNDED;
    const bool only_differs =
        row->comparison.mismatches > 0 && !row->violation && shape_elements(row) == row->comparison.elements;
    if (row->verdict != QP_VERDICT_FAIL || !only_differs) return;
    const char *why = leaves_bound(row, max_ulp, error_factor);
    if (why) {
        const size_t used = strlen(row->reason);
        (void)snprintf(row->reason + used, sizeof row->reason - used, "; %s", why);
        return;
    }
    row->reason[0] = '\0';
    row->verdict = golden_shows_enough(row, "within its bound") ? QP_VERDICT_PASS : QP_VERDICT_UNTRUSTED;
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
        switch (row->verdict) {
        case QP_VERDICT_PASS: break;
        case QP_VERDICT_WAIVED: summary.waived++; break;
        case QP_VERDICT_UNTRUSTED: summary.untrusted++; break;
        default: summary.failed++; break;
        }
        summary.exact_rows += c->elements > 0 && c->mismatches == 0;
        summary.bounded += row->verdict == QP_VERDICT_PASS && c->mismatches > 0;
        summary.elements += c->elements;
        summary.mismatches += c->mismatches;
        if (row->mode == QP_LOCAL)
            summary.local_mismatches += c->mismatches;
        else
            summary.carried_mismatches += c->mismatches;
    }
    const bool all_passed = summary.rows > 0 && summary.failed == 0 && summary.untrusted == 0;
    const bool all_compared = report->complete && report->not_compared_count == 0;
    if (all_passed && all_compared && report->problem_count == 0) summary.verdict = QP_VERDICT_PASS;
    report->summary = summary;
}
