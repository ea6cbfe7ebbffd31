#include "figures.h"
#include "file.h"
#include "json_report.h"
#include "reports.h"

void qp_json_put_environment(qp_json_writer *w, const qp_environment *environment, const qp_device_facts *device)
{
    qp_json_open_object(w, "environment");
    qp_json_put_string(w, "program_version", environment->program_version);
    qp_json_put_string(w, "compiler", environment->compiler);
    if (environment->flags) qp_json_put_string(w, "flags", environment->flags);
    qp_json_put_string(w, "os", environment->os);
    qp_json_put_string(w, "cpu", environment->cpu);
    qp_json_put_int64(w, "threads", environment->threads);
    qp_json_put_string(w, "device", device->name);
    if (device->compute_capability > 0) {
        qp_json_put_int64(w, "compute_capability", device->compute_capability);
        qp_json_put_int64(w, "multiprocessors", device->multiprocessors);
        qp_json_put_int64(w, "cuda_driver", device->driver_version);
        qp_json_put_int64(w, "cuda_runtime", device->runtime_version);
        qp_json_put_int64(w, "cublas", device->cublas_version);
    }
    qp_json_put_string(w, "time", environment->time);
    qp_json_close(w);
}

void qp_json_put_selection(qp_json_writer *w, const char *backend, const char *plan, const char *fault,
                           const char *only)
{
    qp_json_put_string(w, "backend", backend);
    qp_json_put_string(w, "plan", plan);
    qp_json_put_string(w, "fault", fault);
    qp_json_put_string(w, "only", only);
}

void qp_json_put_golden(qp_json_writer *w, const qp_golden_facts *golden)
{
    if (!golden->path) {
        qp_json_put_null(w, "golden");
        return;
    }
    qp_json_open_object(w, "golden");
    qp_json_put_string(w, "path", golden->path);
    qp_json_open_object(w, "attributes");
    for (int i = 0; i < golden->attribute_count; i++)
        qp_json_put_string(w, golden->attributes[i].name, golden->attributes[i].value);
    qp_json_close(w);
    qp_json_close(w);
}

static void put_error_members(qp_json_writer *w, const qp_error *error)
{
    qp_json_put_double(w, "max_abs", error->max_abs);
    qp_json_put_double(w, "rms", error->rms);
    if (error->nonfinite) qp_json_put_int64(w, "nonfinite", error->nonfinite);
}

static void put_error(qp_json_writer *w, const char *key, const qp_error *error)
{
    qp_json_open_object(w, key);
    put_error_members(w, error);
    qp_json_close(w);
}

/* A part of a carried error, with the number of elements in which its two sides differ. */
static void put_part(qp_json_writer *w, const char *key, const qp_error *error, int64_t mismatches)
{
    qp_json_open_object(w, key);
    qp_json_put_int64(w, "mismatches", mismatches);
    put_error_members(w, error);
    qp_json_close(w);
}

static void put_worst(qp_json_writer *w, const qp_row *row)
{
    int64_t position[QP_MAX_RANK];
    const qp_comparison *c = &row->comparison;
    qp_json_open_array(w, "worst");
    for (int i = 0; i < c->worst_count; i++) {
        qp_json_open_object(w, NULL);
        qp_json_put_int64(w, "index", c->worst[i].index);
        qp_row_position(row, c->worst[i].index, position);
        qp_json_open_array(w, "position");
        for (int axis = 0; axis < row->rank; axis++) qp_json_put_int64(w, NULL, position[axis]);
        qp_json_close(w);
        qp_json_put_double(w, "golden", c->worst[i].want);
        qp_json_put_double(w, "ours", c->worst[i].got);
        qp_json_put_double(w, "oracle", row->worst_oracle[i]);
        qp_json_put_string(w, "golden_bits", qp_say_bits(row->dtype, c->worst[i].want_bits).text);
        qp_json_put_string(w, "ours_bits", qp_say_bits(row->dtype, c->worst[i].got_bits).text);
        qp_json_close(w);
    }
    qp_json_close(w);
}

void qp_json_put_verify_row(qp_json_writer *w, const qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    qp_json_open_object(w, NULL);
    qp_json_put_string(w, "key", row->key);
    qp_json_put_string(w, "operation", row->operation);
    qp_json_put_string(w, "implementation", row->implementation);
    qp_json_put_string(w, "order", row->order);
    qp_json_put_string(w, "mode", qp_mode_name(row->mode));
    qp_json_put_string(w, "gate", qp_gate_kind_name(row->gate));
    qp_json_put_string(w, "verdict", qp_verdict_name(row->verdict));
    qp_json_put_string(w, "reason", row->reason);
    if (row->excuse) qp_json_put_string(w, "excuse", row->excuse);
    qp_json_put_string(w, "dtype", qp_dtype_name(row->dtype));
    qp_json_open_array(w, "shape");
    for (int i = 0; i < row->rank; i++) qp_json_put_int64(w, NULL, row->dim[i]);
    qp_json_close(w);
    qp_json_open_array(w, "axes");
    for (int i = 0; i < row->rank; i++) qp_json_put_string(w, NULL, row->axis[i] ? row->axis[i] : "");
    qp_json_close(w);

    qp_json_put_int64(w, "elements", c->elements);
    qp_json_put_int64(w, "mismatches", c->mismatches);
    qp_json_put_int64(w, "class_mismatches", c->class_mismatches);
    qp_json_put_int64(w, "signed_zeros", c->signed_zeros);
    qp_json_put_int64(w, "nonzero", c->nonzero);
    qp_json_put_int64(w, "true_zeros", row->true_zeros);
    qp_json_put_int64(w, "nonfinite", c->nonfinite);
    qp_json_put_double(w, "max_abs", c->max_abs);
    qp_json_put_double(w, "max_ulp", c->max_ulp);
    qp_json_put_double(w, "p99_ulp", c->p99_ulp);
    qp_json_open_object(w, "ulp_histogram");
    for (int i = 0; i < QP_ULP_CLASSES; i++) qp_json_put_int64(w, qp_ulp_class_names[i], c->histogram[i]);
    qp_json_close(w);
    put_worst(w, row);
    qp_json_put_string(w, "golden_sha256", row->golden_sha256);
    qp_json_put_string(w, "ours_sha256", row->ours_sha256);

    qp_json_open_object(w, "errors");
    put_error(w, "ours_golden", &row->ours_golden);
    put_error(w, "ours_oracle", &row->ours_oracle);
    put_error(w, "golden_oracle", &row->golden_oracle);
    qp_json_close(w);
    if (row->has_origin) {
        qp_json_open_object(w, "origin");
        put_part(w, "came_in", &row->came_in, row->came_in_mismatches);
        put_part(w, "added", &row->added, row->added_mismatches);
        qp_json_close(w);
    }
    qp_json_put_double(w, "seconds", row->seconds);
    qp_json_close(w);
}

void qp_json_put_verify_head(qp_json_writer *w, const qp_report *report, const char *schema)
{
    qp_json_put_string(w, "schema", schema);
    qp_json_put_environment(w, &report->environment, &report->device);
    qp_json_put_string(w, "model", report->model);
    qp_json_put_golden(w, &report->golden);
    qp_json_put_selection(w, report->backend, report->plan, report->fault, report->only);
}

static void put_report(qp_json_writer *w, const qp_report *report)
{
    const qp_report_summary *summary = &report->summary;
    qp_json_open_object(w, NULL);
    qp_json_put_verify_head(w, report, QP_VERIFY_SCHEMA);
    qp_json_put_bool(w, "complete", report->complete);
    qp_json_open_array(w, "rows");
    for (int i = 0; i < report->row_count; i++) qp_json_put_verify_row(w, &report->rows[i]);
    qp_json_close(w);
    qp_json_open_array(w, "not_compared");
    for (int i = 0; i < report->not_compared_count; i++) {
        qp_json_open_object(w, NULL);
        qp_json_put_string(w, "key", report->not_compared[i].key);
        qp_json_put_string(w, "why", report->not_compared[i].why);
        qp_json_close(w);
    }
    qp_json_close(w);
    qp_json_open_array(w, "inside_fused");
    for (int i = 0; i < report->inside_fused_count; i++) {
        qp_json_open_object(w, NULL);
        qp_json_put_string(w, "boundary", report->inside_fused[i].boundary);
        qp_json_put_string(w, "node", report->inside_fused[i].node);
        qp_json_put_int64(w, "tensors", report->inside_fused[i].tensors);
        qp_json_close(w);
    }
    qp_json_close(w);
    qp_json_put_int64(w, "left_out", report->left_out);
    qp_json_put_double(w, "seconds", report->seconds);
    if (report->gate) {
        qp_json_open_object(w, "gate");
        qp_json_put_string(w, "path", report->gate);
        qp_json_open_array(w, "problems");
        for (int i = 0; i < report->problem_count; i++) qp_json_put_string(w, NULL, report->problems[i]);
        qp_json_close(w);
        qp_json_close(w);
    }
    if (report->slower) qp_json_put_string(w, "slower", report->slower);
    qp_json_open_object(w, "summary");
    qp_json_put_int64(w, "rows", summary->rows);
    qp_json_put_int64(w, "failed", summary->failed);
    qp_json_put_int64(w, "untrusted", summary->untrusted);
    qp_json_put_int64(w, "waived", summary->waived);
    qp_json_put_int64(w, "bounded", summary->bounded);
    qp_json_put_int64(w, "exact_rows", summary->exact_rows);
    qp_json_put_int64(w, "elements", summary->elements);
    qp_json_put_int64(w, "mismatches", summary->mismatches);
    qp_json_put_int64(w, "local_mismatches", summary->local_mismatches);
    qp_json_put_int64(w, "carried_mismatches", summary->carried_mismatches);
    qp_json_put_string(w, "verdict", qp_verdict_name(summary->verdict));
    qp_json_close(w);
    qp_json_close(w);
}

qp_status qp_json_write_report(const qp_json_writer *w, const char *path)
{
    qp_report_file file;
    QP_TRY(qp_json_writer_status(w));
    QP_TRY(qp_report_file_open(path, &file));
    return qp_report_file_close(&file, qp_json_write_file(w, file.stream, path));
}

qp_status qp_report_write_json(const qp_report *report, const char *path)
{
    qp_json_writer *w = qp_json_writer_open();
    put_report(w, report);
    const qp_status status = qp_json_write_report(w, path);
    qp_json_writer_close(w);
    return status;
}
