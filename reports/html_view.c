#include "html_view.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 256 }; /* more are no model's */

/* The pass that a key tells: ".../prefill/..." or a decode step. */
static qp_pass pass_of(const qp_row *row)
{
    static const char name[] = "prefill/";
    const size_t key = strlen(row->key), boundary = strlen(row->boundary), length = sizeof name - 1;
    const size_t path = key > boundary ? key - boundary : 0;
    const bool prefill = path >= length && !strncmp(row->key + path - length, name, length);
    return prefill ? QP_PASS_PREFILL : QP_PASS_DECODE;
}

static void add_row(qp_html_sum *sum, const qp_row *row, int index)
{
    const qp_comparison *c = &row->comparison;
    if (sum->rows == 0) *sum = (qp_html_sum){ .verdict = QP_VERDICT_PASS, .first = -1 };
    sum->rows++;
    sum->exact += c->elements > 0 && c->mismatches == 0;
    sum->elements += c->elements;
    sum->mismatches += c->mismatches;
    sum->stray += c->class_mismatches - c->signed_zeros;
    if (c->max_ulp > sum->ulp) sum->ulp = c->max_ulp;
    if (row->verdict < sum->verdict) {
        sum->verdict = row->verdict;
        sum->first = index;
    }
}

static void add_to_boundary(qp_html_boundary *boundary, const qp_row *row, int index)
{
    if (!boundary->row) boundary->row = row;
    boundary->in_layers |= row->layer >= 0;
    add_row(&boundary->sum[row->mode], row, index);
}

/* Whether a row is farther from the golden than another. */
static bool is_worse(const qp_row *row, const qp_row *than)
{
    const qp_comparison *a = &row->comparison, *b = &than->comparison;
    const int64_t stray_a = a->class_mismatches - a->signed_zeros, stray_b = b->class_mismatches - b->signed_zeros;
    if (stray_a != stray_b) return stray_a > stray_b;
    return a->max_ulp != b->max_ulp ? a->max_ulp > b->max_ulp : a->mismatches > b->mismatches;
}

static void find_worst(qp_html_view *view)
{
    view->worst[QP_LOCAL] = view->worst[QP_CARRIED] = -1;
    for (int i = 0; i < view->report->row_count; i++) {
        const qp_row *rows = view->report->rows, *row = &rows[i];
        int *worst = &view->worst[row->mode];
        if (row->comparison.mismatches > 0 && (*worst < 0 || is_worse(row, &rows[*worst]))) *worst = i;
    }
}

static qp_status find_boundaries(qp_html_view *view)
{
    const qp_report *report = view->report;
    view->boundaries = calloc((size_t)view->pooled.count + 1, sizeof *view->boundaries);
    if (!view->boundaries) return qp_fail(QP_NO_MEMORY, "no memory for the boundaries of a report");
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        add_to_boundary(&view->boundaries[view->pooled.of_row[i]], row, i);
        view->has_pass[pass_of(row)] = true;
    }
    for (int i = 0; i < view->pooled.count; i++) {
        const qp_html_sum *sum = view->boundaries[i].sum;
        view->exact_boundaries +=
            sum[QP_LOCAL].exact + sum[QP_CARRIED].exact == sum[QP_LOCAL].rows + sum[QP_CARRIED].rows;
        view->guilty += sum[QP_LOCAL].rows > 0 && sum[QP_LOCAL].verdict == QP_VERDICT_FAIL;
    }
    return QP_OK;
}

qp_html_sum *qp_html_cell(const qp_html_view *view, int boundary, qp_mode mode, qp_pass pass, int layer)
{
    return &view->cells[((boundary * QP_MODES + (int)mode) * QP_PASSES + (int)pass) * view->layers + layer];
}

static qp_status fill_map(qp_html_view *view)
{
    const qp_report *report = view->report;
    int64_t layers = 1;
    for (int i = 0; i < report->row_count; i++)
        if (report->rows[i].layer >= layers) layers = (int64_t)report->rows[i].layer + 1;
    const int64_t cells = view->pooled.count * layers * QP_MODES * QP_PASSES;
    /* Of a model nearly every cell has a row. What has mostly empty ones is none, and its map could be far larger. */
    if (report->row_count == 0 || layers > MOST_LAYERS || cells > 16 * (int64_t)report->row_count + 4096) return QP_OK;
    view->layers = (int)layers;
    view->cells = calloc((size_t)cells, sizeof *view->cells);
    if (!view->cells) return qp_fail(QP_NO_MEMORY, "no memory for the map of a report");
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        add_row(qp_html_cell(view, view->pooled.of_row[i], row->mode, pass_of(row), row->layer < 0 ? 0 : row->layer),
                row, i);
    }
    return QP_OK;
}

qp_status qp_html_view_open(const qp_report *report, qp_html_view *view)
{
    *view = (qp_html_view){ .report = report, .start = qp_where_to_start(report) };
    qp_status status = qp_boundaries_of(report, &view->pooled);
    if (status == QP_OK) status = find_boundaries(view);
    if (status == QP_OK) status = fill_map(view);
    if (status == QP_OK)
        find_worst(view);
    else
        qp_html_view_close(view);
    return status;
}

void qp_html_view_close(qp_html_view *view)
{
    qp_boundaries_free(&view->pooled);
    free(view->boundaries);
    free(view->cells);
    memset(view, 0, sizeof *view);
}
