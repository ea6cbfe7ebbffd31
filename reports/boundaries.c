#include "boundaries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

static void pool(qp_pooled_error *sum, const qp_error *error, int64_t elements)
{
    const double counted = (double)(elements - error->nonfinite);
    if (!(counted > 0.0)) return;
    sum->squares += error->rms * error->rms * counted;
    sum->elements += counted;
}

static void add_row(qp_boundary *b, const qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    if (b->rows == 0 || row->verdict < b->verdict) b->verdict = row->verdict;
    b->rows++;
    b->elements += c->elements;
    if (row->mode == QP_LOCAL) {
        b->local_rows++;
        b->local_mismatches += c->mismatches;
        if (c->max_ulp > b->local_ulp) b->local_ulp = c->max_ulp;
        pool(&b->ours, &row->ours_oracle, c->elements);
        pool(&b->golden, &row->golden_oracle, c->elements);
    } else {
        b->carried_rows++;
        b->carried_mismatches += c->mismatches;
    }
    if (row->has_origin) {
        b->origin_rows++;
        pool(&b->came_in, &row->came_in, c->elements);
        pool(&b->added, &row->added, c->elements);
    }
}

static qp_status add_rows(const qp_report *report, qp_names *names, qp_boundaries *boundaries)
{
    for (int i = 0; i < report->row_count; i++) {
        char name[QP_NAME_MAX];
        int *at = &boundaries->of_row[i];
        qp_plan_name_of_all_layers(name, report->rows[i].boundary, report->rows[i].layer);
        QP_TRY(qp_names_add(names, name, at));
        if (*at == boundaries->count) memcpy(boundaries->list[boundaries->count++].name, name, sizeof name);
        add_row(&boundaries->list[*at], &report->rows[i]);
    }
    return QP_OK;
}

qp_status qp_boundaries_of(const qp_report *report, qp_boundaries *boundaries)
{
    *boundaries = (qp_boundaries){ 0 };
    if (report->row_count == 0) return QP_OK;
    qp_names names = { 0 };
    boundaries->list = calloc((size_t)report->row_count, sizeof *boundaries->list);
    boundaries->of_row = calloc((size_t)report->row_count, sizeof *boundaries->of_row);
    const qp_status status = boundaries->list && boundaries->of_row
                                 ? add_rows(report, &names, boundaries)
                                 : qp_fail(QP_NO_MEMORY, "not enough memory for the table of boundaries");
    if (status != QP_OK) qp_boundaries_free(boundaries);
    qp_names_close(&names);
    return status;
}

void qp_boundaries_free(qp_boundaries *boundaries)
{
    free(boundaries->list);
    free(boundaries->of_row);
    *boundaries = (qp_boundaries){ 0 };
}

static qp_figure say_pooled(const qp_pooled_error *sum)
{
    return sum->elements > 0.0 ? qp_say_error(sqrt(sum->squares / sum->elements)) : (qp_figure){ "-" };
}

qp_boundary_figures qp_boundary_say(const qp_boundary *b)
{
    const qp_figure none = { "-" };
    const bool local = b->local_rows > 0, origin = b->origin_rows > 0;
    return (qp_boundary_figures){
        .elements = qp_say_count(b->elements),
        .local_mismatches = local ? qp_say_count(b->local_mismatches) : none,
        .local_ulp = local ? qp_say_ulp(b->local_ulp) : none,
        .ours = local ? say_pooled(&b->ours) : none,
        .golden = local ? say_pooled(&b->golden) : none,
        .carried_mismatches = b->carried_rows > 0 ? qp_say_count(b->carried_mismatches) : none,
        .came_in = origin ? say_pooled(&b->came_in) : none,
        .added = origin ? say_pooled(&b->added) : none,
    };
}

static const qp_row *first_of(const qp_report *report, qp_verdict verdict, bool only_local)
{
    for (int i = 0; i < report->row_count; i++)
        if (report->rows[i].verdict == verdict && (!only_local || report->rows[i].mode == QP_LOCAL))
            return &report->rows[i];
    return NULL;
}

const qp_row *qp_where_to_start(const qp_report *report)
{
    const qp_row *row = first_of(report, QP_VERDICT_FAIL, true);
    if (!row) row = first_of(report, QP_VERDICT_FAIL, false);
    return row ? row : first_of(report, QP_VERDICT_UNTRUSTED, false);
}
