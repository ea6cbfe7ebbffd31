#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "read.h"

/* A text of ours, which has plain characters and fits; anything else would steer a terminal, or make two keys one. */
static bool is_plain(const char *text)
{
    const char *c = text;
    while (*c >= ' ' && *c < 0x7F) c++;
    return !*c && c - text < QP_NAME_MAX;
}

static qp_status refuse_text(qp_json_node node, const char *key)
{
    return qp_fail(QP_FORMAT, "%s in %s is no text that bench writes", key, qp_json_origin(node.document));
}

static qp_status read_plain(qp_json_node object, const char *key, const char **text)
{
    QP_TRY(qp_json_get_string_or(object, key, NULL, text));
    return !*text || is_plain(*text) ? QP_OK : refuse_text(object, key);
}

/* The same, and it must be there. */
static qp_status require_plain(qp_json_node object, const char *key, const char **text)
{
    QP_TRY(read_plain(object, key, text));
    return *text ? QP_OK : qp_fail(QP_FORMAT, "%s is missing in %s", key, qp_json_origin(object.document));
}

/* ---- times ---- */

/* Nanoseconds of the file as seconds. */
static qp_status read_seconds(qp_json_node object, const char *key, double *seconds)
{
    double nanoseconds = 0.0;
    QP_TRY(qp_json_get_double(object, key, &nanoseconds));
    if (!(nanoseconds >= 0.0 && nanoseconds < 1e21))
        return qp_fail(QP_FORMAT, "%s in %s is no time", key, qp_json_origin(object.document));
    *seconds = nanoseconds / 1e9;
    return QP_OK;
}

static qp_status read_statistics(qp_json_node object, qp_statistics *s)
{
    QP_TRY(read_seconds(object, "median_ns", &s->median));
    QP_TRY(read_seconds(object, "q1_ns", &s->q1));
    QP_TRY(read_seconds(object, "q3_ns", &s->q3));
    return qp_json_get_int64(object, "samples", &s->samples);
}

static qp_status read_time(qp_json_node object, qp_time *time)
{
    QP_TRY(read_plain(object, "no_time", &time->why));
    if (!time->why) QP_TRY(read_statistics(object, &time->seconds));
    QP_TRY(qp_json_get_int64_or(object, "dropped", 0, &time->dropped));
    QP_TRY(qp_json_get_int64_or(object, "launches_per_sample", 0, &time->launches));
    return qp_json_get_double_or(object, "clock_hz", 0.0, &time->clock);
}

static qp_status read_cost(qp_json_node object, qp_cost *cost)
{
    int64_t bytes = 0, flops = 0;
    QP_TRY(qp_json_get_int64(object, "bytes", &bytes));
    QP_TRY(qp_json_get_int64(object, "flops", &flops));
    *cost = (qp_cost){ (uint64_t)bytes, (uint64_t)flops };
    return QP_OK;
}

/* What a row or a step says of its comparison. */
static qp_status read_verdict(qp_json_node object, const char **verified, bool *failed, char *reason, size_t size)
{
    const char *verdict = NULL;
    QP_TRY(read_plain(object, "verified", verified));
    QP_TRY(qp_json_get_string(object, "verdict", &verdict));
    *failed = !strcmp(verdict, "fail");
    if (strcmp(verdict, *verified ? "pass" : *failed ? "fail" : "not verified") != 0)
        return qp_fail(QP_FORMAT, "verdict in %s does not fit what it was verified by",
                       qp_json_origin(object.document));
    return qp_json_copy_string(object, "reason", reason, size);
}

/* ---- rows: three of the file, one a protocol, are one of the report ---- */

static qp_status read_extents(qp_json_node object, qp_bench_row *row)
{
    qp_json_node extents;
    QP_TRY(qp_json_get_object(object, "extents", &extents));
    for (int i = 0; i < QP_MAX_EXTENTS && row->operation->extents[i]; i++)
        QP_TRY(qp_json_get_int64(extents, row->operation->extents[i], &row->extent[i]));
    return QP_OK;
}

static qp_status read_operation(qp_json_node object, qp_bench_row *row)
{
    const char *name = NULL;
    QP_TRY(qp_json_get_string(object, "operation", &name));
    row->operation = qp_operation_find(name);
    if (!row->operation)
        return qp_fail(QP_FORMAT, "%s has a row of the operation '%.60s', which this program does not have; see list",
                       qp_json_origin(object.document), name);
    row->implementation.operation = row->operation->name;
    return require_plain(object, "implementation", &row->implementation.name);
}

/* Module paths, `*` for the layer. */
static qp_status read_kinds(qp_json_node object, qp_bench_row *row)
{
    qp_json_node list;
    QP_TRY(qp_json_get_array(object, "nodes", &list));
    for (qp_json_node n = qp_json_first(list); n.item && row->kind_count < QP_BENCH_KINDS; n = qp_json_next(n)) {
        const char *kind = NULL;
        QP_TRY(qp_json_as_string(n, &kind));
        if (!is_plain(kind)) return refuse_text(n, "nodes");
        (void)snprintf(row->kinds[row->kind_count++], QP_NAME_MAX, "%s", kind);
    }
    return QP_OK;
}

static qp_status read_row(qp_json_node object, qp_bench_row *row)
{
    const char *key = NULL;
    QP_TRY(require_plain(object, "key", &key));
    const char *path = strchr(key, '/');
    if (!path) return qp_fail(QP_FORMAT, "%s has the key '%s' without a phase", qp_json_origin(object.document), key);
    (void)snprintf(row->key, sizeof row->key, "%s", path + 1);
    row->layer = qp_read_layer(row->key);
    QP_TRY(require_plain(object, "phase", &row->phase));
    QP_TRY(qp_json_get_int64(object, "count", &row->count));
    QP_TRY(read_kinds(object, row));
    QP_TRY(read_operation(object, row));
    QP_TRY(read_extents(object, row));
    QP_TRY(read_verdict(object, &row->verified, &row->failed, row->reason, sizeof row->reason));
    QP_TRY(qp_json_get_bool_or(object, "own_order", false, &row->own_order));
    QP_TRY(qp_json_get_int64_or(object, "elements", 0, &row->elements));
    QP_TRY(qp_json_get_int64_or(object, "mismatches", 0, &row->mismatches));
    return read_cost(object, &row->cost);
}

/* The protocols of a row stand one behind the other, in their order. */
static qp_status read_rows(qp_json_node root, qp_bench_report *report)
{
    qp_json_node list;
    QP_TRY(qp_json_get_array(root, "rows", &list));
    report->rows = calloc((size_t)qp_json_count(list) / QP_PROTOCOLS + 1, sizeof *report->rows);
    if (!report->rows) return qp_fail(QP_NO_MEMORY, "not enough memory to read the report");
    int at = 0;
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n), at++) {
        const qp_protocol protocol = (qp_protocol)(at % QP_PROTOCOLS);
        qp_bench_row *row = &report->rows[at / QP_PROTOCOLS];
        const char *name = NULL;
        QP_TRY(qp_json_get_string(n, "protocol", &name));
        if (strcmp(name, qp_protocol_name(protocol)) != 0)
            return qp_fail(QP_FORMAT, "row %d of %s has the protocol '%.20s', where '%s' should be", at,
                           qp_json_origin(n.document), name, qp_protocol_name(protocol));
        if (protocol == 0) QP_TRY(read_row(n, row));
        QP_TRY(read_time(n, &row->time[protocol]));
        QP_TRY(qp_json_get_double_or(n, "share", 0.0, &row->share));
    }
    if (at % QP_PROTOCOLS != 0)
        return qp_fail(QP_FORMAT, "%s ends in the middle of a row's protocols", qp_json_origin(root.document));
    report->row_count = at / QP_PROTOCOLS;
    return QP_OK;
}

/* ---- passes ---- */

static qp_status read_step(qp_json_node object, qp_bench_step *step)
{
    const char *logits = NULL;
    QP_TRY(require_plain(object, "name", &step->name));
    QP_TRY(qp_json_get_int64(object, "context", &step->context));
    QP_TRY(qp_json_get_int64(object, "tokens", &step->tokens));
    QP_TRY(qp_json_get_string(object, "logits", &logits));
    step->all_logits = !strcmp(logits, "all");
    QP_TRY(read_verdict(object, &step->verified, &step->failed, step->reason, sizeof step->reason));
    QP_TRY(qp_json_get_int64_or(object, "next_token", -1, &step->next_token));
    QP_TRY(read_time(object, &step->time));
    if (!step->time.why) QP_TRY(read_statistics(qp_json_find(object, "wall"), &step->wall));
    const qp_json_node one_thread = qp_json_find(object, "one_thread");
    if (one_thread.item) QP_TRY(read_time(one_thread, &step->one_thread));
    QP_TRY(qp_json_get_double_or(object, "speed_up", 0.0, &step->speed_up));
    QP_TRY(qp_json_get_double_or(object, "readings", 0.0, &step->readings));
    return read_cost(object, &step->cost);
}

static qp_status read_steps(qp_json_node root, qp_bench_report *report)
{
    enum { MOST = sizeof report->steps / sizeof *report->steps };
    qp_json_node list;
    QP_TRY(qp_json_get_array(root, "steps", &list));
    if (qp_json_count(list) > MOST)
        return qp_fail(QP_FORMAT, "%s has more than %d steps", qp_json_origin(root.document), MOST);
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n))
        QP_TRY(read_step(n, &report->steps[report->step_count++]));
    return QP_OK;
}

/* The time line, which the first schema did not have. */
static qp_status read_nodes(qp_json_node root, qp_bench_report *report)
{
    const qp_json_node list = qp_json_find(root, "nodes");
    report->nodes = calloc((size_t)qp_json_count(list) + 1, sizeof *report->nodes);
    if (!report->nodes) return qp_fail(QP_NO_MEMORY, "not enough memory to read the report");
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n)) {
        qp_bench_node *node = &report->nodes[report->node_count++];
        const char *key = NULL;
        QP_TRY(require_plain(n, "phase", &node->phase));
        QP_TRY(require_plain(n, "key", &key));
        (void)snprintf(node->key, sizeof node->key, "%s", key);
        QP_TRY(read_seconds(n, "median_ns", &node->seconds));
    }
    return QP_OK;
}

static qp_status read_ceilings(qp_json_node root, qp_ceilings *ceilings)
{
    qp_json_node all, copy, product;
    int64_t bytes = 0;
    QP_TRY(qp_json_get_object(root, "ceilings", &all));
    QP_TRY(qp_json_get_object(all, "copy", &copy));
    QP_TRY(qp_json_get_object(all, "product", &product));
    QP_TRY(qp_json_get_int64(copy, "copied_bytes", &bytes));
    ceilings->copy_bytes = (uint64_t)bytes;
    QP_TRY(read_time(copy, &ceilings->copy));
    QP_TRY(qp_json_get_double_or(copy, "bytes_per_second", 0.0, &ceilings->copy_bytes_per_second));
    QP_TRY(require_plain(product, "implementation", &ceilings->product_implementation));
    QP_TRY(qp_json_get_int64(product, "size", &ceilings->product_size));
    QP_TRY(read_time(product, &ceilings->product));
    return qp_json_get_double_or(product, "flops_per_second", 0.0, &ceilings->product_flops_per_second);
}

/* Rows and passes are counted anew. What failed besides are paths of the host's products, which are not read. */
static qp_status read_summary(qp_json_node root, qp_bench_report *report)
{
    qp_json_node summary;
    int64_t failed = 0;
    QP_TRY(qp_json_get_object(root, "summary", &summary));
    QP_TRY(qp_json_get_int64(summary, "failed", &failed));
    QP_TRY(qp_json_get_int64(summary, "dropped", &report->dropped));
    qp_bench_report_count(report);
    if (failed > report->failed && failed <= INT_MAX) report->host.failed = (int)failed - report->failed;
    qp_bench_report_count(report);
    return QP_OK;
}

qp_status qp_read_bench(qp_json_node root, qp_bench_report *report)
{
    int64_t seed = 0, bytes = 0;
    QP_TRY(qp_read_environment(root, &report->environment, &report->device));
    QP_TRY(qp_json_get_string(root, "model", &report->model));
    QP_TRY(qp_read_golden(root, &report->golden));
    QP_TRY(qp_read_selection(root, &report->backend, report->plan, &report->fault, &report->only));
    QP_TRY(qp_json_get_int64(root, "seed", &seed));
    report->seed = (uint64_t)seed;
    QP_TRY(qp_json_get_int64(root, "samples", &report->samples));
    QP_TRY(qp_json_get_int64(root, "l2_bytes", &bytes));
    report->device.l2_bytes = (uint64_t)bytes;
    QP_TRY(qp_json_get_int64(root, "flush_bytes", &bytes));
    report->flush_bytes = (uint64_t)bytes;
    QP_TRY(read_seconds(root, "mark_overhead_ns", &report->mark_overhead));
    QP_TRY(qp_json_get_double_or(root, "clock_hz", 0.0, &report->clock));
    QP_TRY(read_ceilings(root, &report->ceilings));
    QP_TRY(read_rows(root, report));
    QP_TRY(read_steps(root, report));
    QP_TRY(read_nodes(root, report));
    QP_TRY(qp_json_get_bool_or(root, "complete", true, &report->complete)); /* the first schema's always are */
    QP_TRY(qp_json_get_double(root, "seconds", &report->seconds));
    return read_summary(root, report);
}
