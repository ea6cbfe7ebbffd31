#include "boundaries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The boundary of that name, appended if it is new. */
static qp_boundary *find(qp_boundaries *boundaries, const char name[QP_NAME_MAX])
{
    for (int i = 0; i < boundaries->count; i++)
        if (!strcmp(boundaries->list[i].name, name)) return &boundaries->list[i];
    qp_boundary *added = &boundaries->list[boundaries->count++];
    memcpy(added->name, name, QP_NAME_MAX);
    return added;
}

qp_status qp_boundaries_of(const qp_report *report, qp_boundaries *boundaries)
{
    *boundaries = (qp_boundaries){ 0 };
    if (report->row_count == 0) return QP_OK;
    boundaries->list = calloc((size_t)report->row_count, sizeof *boundaries->list);
    if (!boundaries->list) return qp_fail(QP_NO_MEMORY, "not enough memory for the table of boundaries");
    for (int i = 0; i < report->row_count; i++) {
        char name[QP_NAME_MAX];
        qp_plan_name_of_all_layers(name, report->rows[i].boundary, report->rows[i].layer);
        add_row(find(boundaries, name), &report->rows[i]);
    }
    return QP_OK;
}

void qp_boundaries_free(qp_boundaries *boundaries)
{
    free(boundaries->list);
    *boundaries = (qp_boundaries){ 0 };
}

static qp_figure say_pooled(const qp_pooled_error *sum)
{
    return qp_say_error(sum->elements > 0.0 ? sqrt(sum->squares / sum->elements) : 0.0);
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
