#include "read.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/grown.h"
#include "../model/mapped_file.h"
#include "json_report.h"

#define MAX_ELEMENTS (INT64_C(1) << 42) /* of a tensor: so that sums over the rows of a file do not overflow */

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "not enough memory to read the report"); }

/* An array for the elements of a list, all zero; NULL for none, without which there may be no memory. */
static qp_status make_list(qp_json_node list, size_t size, void *made)
{
    const int64_t count = qp_json_count(list);
    void *const memory = calloc((size_t)count + 1, size);
    memcpy(made, &memory, sizeof memory);
    return memory ? QP_OK : no_memory();
}

/* ---- what both kinds have ---- */

static qp_status fail_value(qp_json_node node, const char *value)
{
    char where[256];
    return qp_fail(QP_FORMAT, "%s in %s is '%.60s', which no report says", qp_json_where(node, where, sizeof where),
                   qp_json_origin(node.document), value);
}

static qp_status read_int(qp_json_node object, const char *key, int *value)
{
    int64_t wide = 0;
    QP_TRY(qp_json_get_int64_or(object, key, 0, &wide));
    if (wide < 0 || wide > INT_MAX) return fail_value(qp_json_find(object, key), "no count");
    *value = (int)wide;
    return QP_OK;
}

qp_status qp_read_environment(qp_json_node root, qp_environment *environment, qp_device_facts *device)
{
    qp_json_node e;
    QP_TRY(qp_json_get_object(root, "environment", &e));
    QP_TRY(qp_json_get_string(e, "program_version", &environment->program_version));
    QP_TRY(qp_json_get_string(e, "compiler", &environment->compiler));
    QP_TRY(qp_json_get_string_or(e, "flags", NULL, &environment->flags));
    QP_TRY(qp_json_copy_string(e, "os", environment->os, sizeof environment->os));
    QP_TRY(qp_json_copy_string(e, "cpu", environment->cpu, sizeof environment->cpu));
    QP_TRY(read_int(e, "threads", &environment->threads));
    QP_TRY(qp_json_copy_string(e, "time", environment->time, sizeof environment->time));
    QP_TRY(qp_json_copy_string(e, "device", device->name, sizeof device->name));
    QP_TRY(read_int(e, "compute_capability", &device->compute_capability));
    QP_TRY(read_int(e, "multiprocessors", &device->multiprocessors));
    QP_TRY(read_int(e, "cuda_driver", &device->driver_version));
    QP_TRY(read_int(e, "cuda_runtime", &device->runtime_version));
    return read_int(e, "cublas", &device->cublas_version);
}

qp_status qp_read_golden(qp_json_node root, qp_golden_facts *golden)
{
    const qp_json_node object = qp_json_find(root, "golden"), attributes = qp_json_find(object, "attributes");
    if (qp_json_kind_of(object) == QP_JSON_NULL) return QP_OK;
    QP_TRY(qp_json_get_string(object, "path", &golden->path));
    QP_TRY(make_list(attributes, sizeof *golden->attributes, &golden->attributes));
    for (qp_json_node n = qp_json_first(attributes); n.item; n = qp_json_next(n)) {
        struct qp_golden_attribute *attribute = &golden->attributes[golden->attribute_count++];
        attribute->name = qp_json_key(n);
        QP_TRY(qp_json_as_string(n, &attribute->value));
    }
    return QP_OK;
}

qp_status qp_read_selection(qp_json_node root, const char **backend, char *plan, const char **fault, const char **only)
{
    QP_TRY(qp_json_get_string(root, "backend", backend));
    QP_TRY(qp_json_copy_string(root, "plan", plan, QP_FUSIONS_TEXT));
    QP_TRY(qp_json_get_string_or(root, "fault", NULL, fault));
    return qp_json_get_string_or(root, "only", NULL, only);
}

/* ---- a row of verify ---- */

/* The index of a member's text among `count` names. */
static qp_status read_name(qp_json_node object, const char *key, const char *(*name)(int), int count, int *index)
{
    const char *value = NULL;
    QP_TRY(qp_json_get_string(object, key, &value));
    for (*index = 0; *index < count; (*index)++)
        if (!strcmp(value, name(*index))) return QP_OK;
    return fail_value(qp_json_find(object, key), value);
}

static const char *verdict_name(int i) { return qp_verdict_name((qp_verdict)i); }
static const char *mode_name(int i) { return qp_mode_name((qp_mode)i); }
static const char *gate_name(int i) { return qp_gate_kind_name((qp_gate_kind)i); }
static const char *dtype_name(int i) { return qp_dtype_name((qp_dtype)i); }

static qp_status read_error(qp_json_node object, const char *key, qp_error *error, int64_t *mismatches)
{
    qp_json_node e;
    QP_TRY(qp_json_get_object(object, key, &e));
    if (mismatches) QP_TRY(qp_json_get_int64(e, "mismatches", mismatches));
    QP_TRY(qp_json_get_double(e, "max_abs", &error->max_abs));
    QP_TRY(qp_json_get_double(e, "rms", &error->rms));
    return qp_json_get_int64_or(e, "nonfinite", 0, &error->nonfinite);
}

static qp_status read_shape(qp_json_node object, qp_row *row)
{
    qp_json_node shape, axes;
    QP_TRY(qp_json_get_array(object, "shape", &shape));
    QP_TRY(qp_json_get_array(object, "axes", &axes));
    if (qp_json_count(shape) > QP_MAX_RANK || qp_json_count(axes) != qp_json_count(shape))
        return qp_fail(QP_FORMAT, "%s has a row whose shape and axes do not fit each other",
                       qp_json_origin(shape.document));
    qp_json_node axis = qp_json_first(axes);
    for (qp_json_node n = qp_json_first(shape); n.item; n = qp_json_next(n), axis = qp_json_next(axis)) {
        const char *name = NULL;
        QP_TRY(qp_json_as_int64(n, &row->dim[row->rank]));
        QP_TRY(qp_json_as_string(axis, &name));
        row->axis[row->rank++] = *name ? name : NULL;
    }
    return QP_OK;
}

static qp_status read_bits(qp_json_node object, const char *key, uint64_t *bits)
{
    const char *text = NULL;
    char *end = NULL;
    QP_TRY(qp_json_get_string(object, key, &text));
    const size_t digits = strlen(text) > 2 ? strspn(text + 2, "0123456789abcdef") : 0;
    *bits = strtoull(text, &end, 16);
    return strncmp(text, "0x", 2) == 0 && digits >= 1 && digits <= 16 && !text[2 + digits]
               ? QP_OK
               : fail_value(qp_json_find(object, key), text);
}

static qp_status read_worst(qp_json_node object, qp_row *row)
{
    qp_json_node list;
    qp_comparison *c = &row->comparison;
    QP_TRY(qp_json_get_array(object, "worst", &list));
    for (qp_json_node n = qp_json_first(list); n.item && c->worst_count < QP_WORST; n = qp_json_next(n)) {
        qp_worst *worst = &c->worst[c->worst_count];
        QP_TRY(qp_json_get_int64(n, "index", &worst->index));
        QP_TRY(qp_json_get_double(n, "golden", &worst->want));
        QP_TRY(qp_json_get_double(n, "ours", &worst->got));
        QP_TRY(qp_json_get_double(n, "oracle", &row->worst_oracle[c->worst_count]));
        QP_TRY(read_bits(n, "golden_bits", &worst->want_bits));
        QP_TRY(read_bits(n, "ours_bits", &worst->got_bits));
        c->worst_count++;
    }
    return QP_OK;
}

static qp_status read_comparison(qp_json_node object, qp_row *row)
{
    qp_json_node histogram;
    qp_comparison *c = &row->comparison;
    QP_TRY(qp_json_get_int64(object, "elements", &c->elements));
    QP_TRY(qp_json_get_int64(object, "mismatches", &c->mismatches));
    QP_TRY(qp_json_get_int64(object, "class_mismatches", &c->class_mismatches));
    QP_TRY(qp_json_get_int64(object, "signed_zeros", &c->signed_zeros));
    QP_TRY(qp_json_get_int64(object, "nonzero", &c->nonzero));
    QP_TRY(qp_json_get_int64(object, "true_zeros", &row->true_zeros));
    QP_TRY(qp_json_get_int64(object, "nonfinite", &c->nonfinite));
    QP_TRY(qp_json_get_double(object, "max_abs", &c->max_abs));
    QP_TRY(qp_json_get_double(object, "max_ulp", &c->max_ulp));
    QP_TRY(qp_json_get_double(object, "p99_ulp", &c->p99_ulp));
    QP_TRY(qp_json_get_object(object, "ulp_histogram", &histogram));
    for (int i = 0; i < QP_ULP_CLASSES; i++)
        QP_TRY(qp_json_get_int64(histogram, qp_ulp_class_names[i], &c->histogram[i]));
    return read_worst(object, row);
}

int qp_read_layer(const char *module)
{
    static const char layers[] = "model.layers.";
    if (strncmp(module, layers, sizeof layers - 1) != 0) return -1;
    const long layer = strtol(module + sizeof layers - 1, NULL, 10);
    return layer >= 0 && layer <= INT_MAX ? (int)layer : -1;
}

/* The boundary lies behind "prompt/phase/". */
static qp_status split_key(qp_json_node object, qp_row *row)
{
    const char *phase = strchr(row->key, '/'), *boundary = phase ? strchr(phase + 1, '/') : NULL;
    if (!boundary) return fail_value(qp_json_find(object, "key"), row->key);
    row->boundary = boundary + 1;
    row->layer = qp_read_layer(row->boundary);
    return QP_OK;
}

/* What does not fit together in a row; NULL: it does. The writers rely on it. */
static const char *find_flaw(const qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    const int64_t counts[] = { c->elements,  c->mismatches,   c->class_mismatches,     c->signed_zeros,      c->nonzero,
                               c->nonfinite, row->true_zeros, row->came_in_mismatches, row->added_mismatches };
    int64_t elements = 1;
    for (int i = 0; i < row->rank; i++) {
        if (row->dim[i] < 1 || row->dim[i] > MAX_ELEMENTS / elements) return "its shape is none";
        elements *= row->dim[i];
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i] < 0 || counts[i] > elements) return "a count is negative or over its elements";
    for (int i = 0; i < QP_ULP_CLASSES; i++)
        if (c->histogram[i] < 0 || c->histogram[i] > elements) return "a count is negative or over its elements";
    for (int i = 0; i < c->worst_count; i++)
        if (c->worst[i].index < 0 || c->worst[i].index >= elements) return "an element lies outside of its shape";
    if (!(row->seconds >= 0.0 && row->seconds < 1e12)) return "its time is none";
    if (row->verdict != QP_VERDICT_PASS) return NULL;
    if (c->elements != elements) return "it passes, but not all of its elements were compared";
    if (row->gate == QP_GATE_EXACT && c->mismatches > 0) return "it passes as exact, but elements differ";
    return NULL;
}

static qp_status read_row(qp_json_node object, qp_row *row)
{
    int index = 0;
    qp_json_node errors;
    QP_TRY(qp_json_get_string(object, "key", &row->key));
    QP_TRY(split_key(object, row));
    QP_TRY(qp_json_get_string(object, "operation", &row->operation));
    QP_TRY(qp_json_get_string(object, "implementation", &row->implementation));
    QP_TRY(qp_json_copy_string(object, "order", row->order, sizeof row->order));
    QP_TRY(read_name(object, "mode", mode_name, QP_CARRIED + 1, &index));
    row->mode = (qp_mode)index;
    QP_TRY(read_name(object, "gate", gate_name, QP_GATE_BOUNDED + 1, &index));
    row->gate = (qp_gate_kind)index;
    QP_TRY(read_name(object, "verdict", verdict_name, QP_VERDICT_PASS + 1, &index));
    row->verdict = (qp_verdict)index;
    QP_TRY(qp_json_copy_string(object, "reason", row->reason, sizeof row->reason));
    QP_TRY(qp_json_get_string_or(object, "excuse", NULL, &row->excuse));
    QP_TRY(read_name(object, "dtype", dtype_name, QP_I64 + 1, &index));
    row->dtype = (qp_dtype)index;
    QP_TRY(read_shape(object, row));
    QP_TRY(read_comparison(object, row));
    QP_TRY(qp_json_copy_string(object, "golden_sha256", row->golden_sha256, sizeof row->golden_sha256));
    QP_TRY(qp_json_copy_string(object, "ours_sha256", row->ours_sha256, sizeof row->ours_sha256));
    QP_TRY(qp_json_get_object(object, "errors", &errors));
    QP_TRY(read_error(errors, "ours_golden", &row->ours_golden, NULL));
    QP_TRY(read_error(errors, "ours_oracle", &row->ours_oracle, NULL));
    QP_TRY(read_error(errors, "golden_oracle", &row->golden_oracle, NULL));
    const qp_json_node origin = qp_json_find(object, "origin");
    row->has_origin = origin.item != NULL;
    if (row->has_origin) {
        QP_TRY(read_error(origin, "came_in", &row->came_in, &row->came_in_mismatches));
        QP_TRY(read_error(origin, "added", &row->added, &row->added_mismatches));
    }
    QP_TRY(qp_json_get_double(object, "seconds", &row->seconds));
    const char *flaw = find_flaw(row);
    return flaw ? qp_fail(QP_FORMAT, "%s has a row that no run makes, %.200s: %s", qp_json_origin(object.document),
                          row->key, flaw)
                : QP_OK;
}

/* ---- verify ---- */

static qp_status read_head(qp_json_node root, qp_report *report)
{
    QP_TRY(qp_read_environment(root, &report->environment, &report->device));
    QP_TRY(qp_json_get_string(root, "model", &report->model));
    QP_TRY(qp_read_golden(root, &report->golden));
    if (!report->golden.path) return qp_fail(QP_FORMAT, "%s names no golden", qp_json_origin(root.document));
    return qp_read_selection(root, &report->backend, report->plan, &report->fault, &report->only);
}

static qp_status read_not_compared(qp_json_node root, qp_report *report)
{
    qp_json_node list;
    struct qp_not_compared *entries;
    QP_TRY(qp_json_get_array(root, "not_compared", &list));
    QP_TRY(make_list(list, sizeof *entries, &entries));
    report->not_compared = entries;
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n)) {
        struct qp_not_compared *entry = &entries[report->not_compared_count++];
        QP_TRY(qp_json_get_string(n, "key", &entry->key));
        QP_TRY(qp_json_get_string(n, "why", &entry->why));
    }
    return QP_OK;
}

static qp_status read_inside_fused(qp_json_node root, qp_report *report)
{
    qp_json_node list;
    struct qp_inside_fused *entries;
    QP_TRY(qp_json_get_array(root, "inside_fused", &list));
    QP_TRY(make_list(list, sizeof *entries, &entries));
    report->inside_fused = entries;
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n)) {
        struct qp_inside_fused *entry = &entries[report->inside_fused_count++];
        QP_TRY(qp_json_copy_string(n, "boundary", entry->boundary, sizeof entry->boundary));
        QP_TRY(qp_json_copy_string(n, "node", entry->node, sizeof entry->node));
        QP_TRY(qp_json_get_int64(n, "tensors", &entry->tensors));
    }
    return QP_OK;
}

static qp_status read_gate(qp_json_node root, qp_report *report)
{
    const qp_json_node gate = qp_json_find(root, "gate");
    qp_json_node list;
    const char **problems;
    if (!gate.item) return QP_OK;
    QP_TRY(qp_json_get_string(gate, "path", &report->gate));
    QP_TRY(qp_json_get_array(gate, "problems", &list));
    QP_TRY(make_list(list, sizeof *problems, &problems));
    report->problems = problems;
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n))
        QP_TRY(qp_json_as_string(n, &problems[report->problem_count++]));
    return QP_OK;
}

static qp_status read_verify(qp_json_node root, qp_report *report)
{
    qp_json_node rows;
    QP_TRY(read_head(root, report));
    QP_TRY(qp_json_get_bool(root, "complete", &report->complete));
    QP_TRY(qp_json_get_array(root, "rows", &rows));
    QP_TRY(make_list(rows, sizeof *report->rows, &report->rows));
    for (qp_json_node n = qp_json_first(rows); n.item; n = qp_json_next(n))
        QP_TRY(read_row(n, &report->rows[report->row_count++]));
    QP_TRY(read_not_compared(root, report));
    QP_TRY(read_inside_fused(root, report));
    QP_TRY(qp_json_get_int64(root, "left_out", &report->left_out));
    QP_TRY(qp_json_get_double(root, "seconds", &report->seconds));
    QP_TRY(qp_json_get_string_or(root, "slower", NULL, &report->slower));
    return read_gate(root, report);
}

/* ---- files ---- */

static qp_status keep(qp_saved_report *saved, qp_json *document)
{
    qp_json **list = qp_grown(saved->documents, saved->document_count, sizeof *list);
    if (!list) {
        qp_json_free(document);
        return no_memory();
    }
    saved->documents = list;
    list[saved->document_count++] = document;
    return QP_OK;
}

/* A line each: the head, then rows as far as they are whole. */
static qp_status read_journal(const char *path, const char *text, size_t bytes, qp_saved_report *saved)
{
    qp_report *report = &saved->verify;
    size_t lines = 0;
    for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
    report->rows = calloc(lines + 1, sizeof *report->rows);
    if (!report->rows) return no_memory();
    for (size_t at = 0, number = 1; at < bytes; number++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        char origin[512];
        qp_json *line = NULL;
        if (!end) break; /* torn */
        (void)snprintf(origin, sizeof origin, "row %zu of %.400s", number - 1, path);
        QP_TRY(qp_json_parse(text + at, end - (text + at), origin, &line));
        QP_TRY(keep(saved, line));
        QP_TRY(at == 0 ? read_head(qp_json_root(line), report)
                       : read_row(qp_json_root(line), &report->rows[report->row_count++]));
        at = (size_t)(end - text) + 1;
    }
    return QP_OK;
}

/* Whether the file begins as the head of a journal does; any other document that is written here begins a line of its own. */
static bool is_journal(const char *text, size_t bytes)
{
    static const char head[] = "{\"schema\":\"" QP_JOURNAL_SCHEMA "\"";
    return bytes >= sizeof head - 1 && memcmp(text, head, sizeof head - 1) == 0;
}

static qp_status read_document(const char *path, const char *text, int64_t bytes, qp_saved_report *saved)
{
    qp_json *document = NULL;
    QP_TRY(qp_json_parse(text, bytes, path, &document));
    QP_TRY(keep(saved, document));
    const qp_json_node root = qp_json_root(document);
    const char *schema = "none";
    if (qp_json_kind_of(qp_json_find(root, "schema")) != QP_JSON_ABSENT)
        QP_TRY(qp_json_get_string(root, "schema", &schema));
    saved->is_bench = !strcmp(schema, QP_BENCH_SCHEMA) || !strcmp(schema, QP_BENCH_SCHEMA_1);
    if (saved->is_bench) return qp_read_bench(root, &saved->bench);
    if (!strcmp(schema, QP_VERIFY_SCHEMA)) return read_verify(root, &saved->verify);
    return qp_fail(QP_FORMAT,
                   "%s is no report that this program reads: its schema is '%.60s', not '" QP_VERIFY_SCHEMA
                   "' or '" QP_BENCH_SCHEMA "'; make it again with verify --json or bench --json",
                   path, schema);
}

qp_status qp_saved_report_open(const char *path, qp_saved_report *saved)
{
    qp_mapped_file file;
    *saved = (qp_saved_report){ 0 };
    QP_TRY(qp_mapped_file_open(path, &file));
    const size_t bytes = (size_t)file.bytes;
    const qp_status status = is_journal(file.data, bytes) ? read_journal(path, file.data, bytes, saved)
                                                          : read_document(path, file.data, file.bytes, saved);
    qp_mapped_file_close(&file);
    if (status == QP_OK && !saved->is_bench) qp_report_summarise(&saved->verify);
    if (status != QP_OK) qp_saved_report_close(saved);
    return status;
}

void qp_saved_report_close(qp_saved_report *saved)
{
    free(saved->verify.golden.attributes);
    free(saved->verify.rows);
    free((void *)saved->verify.not_compared);
    free((void *)saved->verify.inside_fused);
    free((void *)saved->verify.problems);
    free(saved->bench.golden.attributes);
    free(saved->bench.rows);
    free(saved->bench.nodes);
    for (int i = 0; i < saved->document_count; i++) qp_json_free(saved->documents[i]);
    free(saved->documents);
    *saved = (qp_saved_report){ 0 };
}
