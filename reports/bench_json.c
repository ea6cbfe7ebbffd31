#include "json_report.h"
#include "reports.h"

/* A time of the schema: whole tenths of nanoseconds, for no clock here tells more. */
static double nanoseconds(double seconds) { return (double)(int64_t)(seconds * 1e10 + 0.5) / 10.0; }

/* The same in seconds, for what is computed from it: the file must not contradict itself. */
static double rounded(double seconds) { return nanoseconds(seconds) / 1e9; }

static qp_statistics rounded_statistics(const qp_statistics *s)
{
    return (qp_statistics){ s->samples, rounded(s->median), rounded(s->q1), rounded(s->q3) };
}

static void put_statistics(qp_json_writer *w, const qp_statistics *s)
{
    qp_json_put_double(w, "median_ns", nanoseconds(s->median));
    qp_json_put_double(w, "q1_ns", nanoseconds(s->q1));
    qp_json_put_double(w, "q3_ns", nanoseconds(s->q3));
    qp_json_put_int64(w, "samples", s->samples);
    const qp_statistics kept = rounded_statistics(s);
    qp_json_put_double(w, "noise", qp_statistics_noise(&kept));
}

/* Members of a row or a step; those of a time only if there is one. Returns whether there is. */
static bool put_time(qp_json_writer *w, const qp_time *time)
{
    if (time->why)
        qp_json_put_string(w, "no_time", time->why);
    else
        put_statistics(w, &time->seconds);
    qp_json_put_int64(w, "dropped", time->dropped);
    if (time->launches) qp_json_put_int64(w, "launches_per_sample", time->launches);
    if (time->clock > 0.0) qp_json_put_double(w, "clock_hz", time->clock);
    return !time->why;
}

static void put_object_of_time(qp_json_writer *w, const char *name, const qp_time *time)
{
    qp_json_open_object(w, name);
    (void)put_time(w, time);
    qp_json_close(w);
}

static void put_verdict(qp_json_writer *w, const char *verified, bool failed, const char *reason)
{
    qp_json_put_string(w, "verified", verified);
    qp_json_put_string(w, "verdict", verified ? "pass" : failed ? "fail" : "not verified");
    qp_json_put_string(w, "reason", reason);
}

/* Bytes and flops with what they make of a second, and of the machine's ceilings. */
static void put_rates(qp_json_writer *w, const qp_cost *cost, const qp_time *time, const qp_bench_report *report)
{
    const qp_ceilings *ceilings = &report->ceilings;
    const double most_read = report->host.read_bytes_per_second;
    const double seconds = rounded(time->seconds.median);
    qp_json_put_uint64(w, "bytes", cost->bytes);
    qp_json_put_uint64(w, "flops", cost->flops);
    if (time->why || !(seconds > 0.0)) return;
    const double bytes = (double)cost->bytes / seconds, flops = (double)cost->flops / seconds;
    qp_json_put_double(w, "bytes_per_second", bytes);
    qp_json_put_double(w, "flops_per_second", flops);
    if (ceilings->copy_bytes_per_second > 0.0)
        qp_json_put_double(w, "copy_share", bytes / ceilings->copy_bytes_per_second);
    if (most_read > 0.0) qp_json_put_double(w, "read_share", bytes / most_read);
    if (ceilings->product_flops_per_second > 0.0)
        qp_json_put_double(w, "product_share", flops / ceilings->product_flops_per_second);
}

static void put_extents(qp_json_writer *w, const qp_bench_row *row)
{
    qp_json_open_object(w, "extents");
    for (int i = 0; i < QP_MAX_EXTENTS && row->operation->extents[i]; i++)
        qp_json_put_int64(w, row->operation->extents[i], row->extent[i]);
    qp_json_close(w);
}

static void put_row(qp_json_writer *w, const qp_bench_report *report, const qp_bench_row *row, qp_protocol protocol)
{
    qp_json_open_object(w, NULL);
    char key[QP_NAME_MAX + 16];
    (void)snprintf(key, sizeof key, "%s/%s", row->phase, row->key);
    qp_json_put_string(w, "key", key);
    qp_json_put_string(w, "phase", row->phase);
    qp_json_put_int64(w, "count", row->count);
    qp_json_open_array(w, "nodes");
    for (int i = 0; i < row->kind_count; i++) qp_json_put_string(w, NULL, row->kinds[i]);
    qp_json_close(w);
    qp_json_put_string(w, "operation", row->operation->name);
    qp_json_put_string(w, "implementation", row->implementation.name);
    qp_json_put_string(w, "plan", report->plan);
    put_extents(w, row);
    qp_json_put_string(w, "protocol", qp_protocol_name(protocol));
    put_verdict(w, row->verified, row->failed, row->reason);
    if (row->elements) {
        qp_json_put_bool(w, "own_order", row->own_order);
        qp_json_put_int64(w, "elements", row->elements);
        qp_json_put_int64(w, "mismatches", row->mismatches);
    }
    const bool timed = put_time(w, &row->time[protocol]);
    put_rates(w, &row->cost, &row->time[protocol], report);
    if (timed && protocol == QP_PROTOCOL_IN_MODEL) qp_json_put_double(w, "share", row->share);
    qp_json_close(w);
}

static void put_step(qp_json_writer *w, const qp_bench_report *report, const qp_bench_step *step)
{
    qp_json_open_object(w, NULL);
    qp_json_put_string(w, "name", step->name);
    qp_json_put_int64(w, "context", step->context);
    qp_json_put_int64(w, "tokens", step->tokens);
    qp_json_put_string(w, "logits", step->all_logits ? "all" : "last");
    qp_json_put_string(w, "plan", report->plan);
    put_verdict(w, step->verified, step->failed, step->reason);
    if (step->next_token >= 0) qp_json_put_int64(w, "next_token", step->next_token);
    if (put_time(w, &step->time)) {
        qp_json_open_object(w, "wall");
        put_statistics(w, &step->wall);
        qp_json_close(w);
        if (step->time.seconds.median > 0.0 && step->next_token >= 0)
            qp_json_put_double(w, "tokens_per_second", (double)step->tokens / rounded(step->wall.median));
    }
    put_rates(w, &step->cost, &step->time, report);
    if (step->one_thread.seconds.samples) put_object_of_time(w, "one_thread", &step->one_thread);
    if (step->speed_up > 0.0) qp_json_put_double(w, "speed_up", step->speed_up);
    if (step->readings > 0.0) qp_json_put_double(w, "readings", step->readings);
    qp_json_close(w);
}

static void put_ceilings(qp_json_writer *w, const qp_ceilings *c)
{
    qp_json_open_object(w, "ceilings");
    qp_json_open_object(w, "copy");
    qp_json_put_uint64(w, "copied_bytes", c->copy_bytes);
    if (put_time(w, &c->copy)) qp_json_put_double(w, "bytes_per_second", c->copy_bytes_per_second);
    qp_json_close(w);
    qp_json_open_object(w, "product");
    qp_json_put_string(w, "implementation", c->product_implementation);
    qp_json_put_int64(w, "size", c->product_size);
    if (put_time(w, &c->product)) qp_json_put_double(w, "flops_per_second", c->product_flops_per_second);
    qp_json_close(w);
    qp_json_close(w);
}

/* ---- The CPU's contract beside what the machine does at most. ---- */

static void put_scaling(qp_json_writer *w, const qp_scaling *scaling)
{
    const double speed_up = qp_scaling_speed_up(scaling);
    put_object_of_time(w, "all_threads", &scaling->all);
    put_object_of_time(w, "one_thread", &scaling->one);
    if (speed_up > 0.0) qp_json_put_double(w, "speed_up", speed_up);
}

/* Members of one who computes the product. */
static void put_contender(qp_json_writer *w, const qp_host_product *product, const qp_scaling *scaling)
{
    const double rate = qp_host_product_rate(product, &scaling->all);
    put_scaling(w, scaling);
    if (rate > 0.0) qp_json_put_double(w, "macs_per_second", rate);
}

static void put_product(qp_json_writer *w, const qp_host_product *product)
{
    const double blas = qp_host_product_rate(product, &product->openblas.all);
    const double plain = qp_host_product_rate(product, &product->plain.all);
    qp_json_open_object(w, NULL);
    qp_json_put_string(w, "key", product->key);
    qp_json_put_int64(w, "m", product->m);
    qp_json_put_int64(w, "n", product->n);
    qp_json_put_int64(w, "k", product->k);
    qp_json_open_array(w, "contract");
    for (int i = 0; i < product->path_count; i++) {
        const double rate = qp_host_product_rate(product, &product->path[i].time.all);
        qp_json_open_object(w, NULL);
        qp_json_put_string(w, "path", product->path[i].name);
        put_contender(w, product, &product->path[i].time);
        if (rate > 0.0 && blas > 0.0) qp_json_put_double(w, "of_openblas", rate / blas);
        if (rate > 0.0 && plain > 0.0) qp_json_put_double(w, "of_f32_loop", rate / plain);
        qp_json_close(w);
    }
    qp_json_close(w);
    qp_json_open_object(w, "openblas");
    put_contender(w, product, &product->openblas);
    qp_json_close(w);
    qp_json_open_object(w, "f32_loop");
    put_contender(w, product, &product->plain);
    qp_json_close(w);
    qp_json_close(w);
}

static void put_host(qp_json_writer *w, const qp_host_speed *h)
{
    if (!h->threads) return;
    qp_json_open_object(w, "host");
    qp_json_put_int64(w, "threads", h->threads);
    if (h->others >= 0.0) qp_json_put_double(w, "others", h->others);
    qp_json_open_object(w, "read");
    qp_json_put_uint64(w, "bytes", h->read_bytes);
    put_scaling(w, &h->read);
    if (h->read_bytes_per_second > 0.0) qp_json_put_double(w, "bytes_per_second", h->read_bytes_per_second);
    qp_json_close(w);
    qp_json_open_object(w, "openblas");
    if (h->no_openblas)
        qp_json_put_string(w, "no_time", h->no_openblas);
    else
        qp_json_put_string(w, "configuration", h->openblas);
    qp_json_close(w);
    qp_json_open_array(w, "products");
    for (int i = 0; i < h->product_count; i++) put_product(w, &h->products[i]);
    qp_json_close(w);
    qp_json_close(w);
}

static void put_nodes(qp_json_writer *w, const qp_bench_report *report)
{
    qp_json_open_array(w, "nodes");
    for (int i = 0; i < report->node_count; i++) {
        qp_json_open_object(w, NULL);
        qp_json_put_string(w, "phase", report->nodes[i].phase);
        qp_json_put_string(w, "key", report->nodes[i].key);
        qp_json_put_double(w, "median_ns", nanoseconds(report->nodes[i].seconds));
        qp_json_close(w);
    }
    qp_json_close(w);
}

static void put_report(qp_json_writer *w, const qp_bench_report *report)
{
    qp_json_open_object(w, NULL);
    qp_json_put_string(w, "schema", QP_BENCH_SCHEMA);
    qp_json_put_environment(w, &report->environment, &report->device);
    qp_json_put_string(w, "model", report->model);
    qp_json_put_golden(w, &report->golden);
    qp_json_put_selection(w, report->backend, report->plan, report->fault, report->only);
    qp_json_put_uint64(w, "seed", report->seed);
    qp_json_put_int64(w, "samples", report->samples);
    qp_json_put_uint64(w, "l2_bytes", report->device.l2_bytes);
    qp_json_put_uint64(w, "flush_bytes", report->flush_bytes);
    qp_json_put_double(w, "mark_overhead_ns", nanoseconds(report->mark_overhead));
    if (report->clock > 0.0) qp_json_put_double(w, "clock_hz", report->clock);
    qp_json_put_bool(w, "complete", report->complete);
    put_ceilings(w, &report->ceilings);
    put_host(w, &report->host);
    qp_json_open_array(w, "rows");
    for (int i = 0; i < report->row_count; i++)
        for (int protocol = 0; protocol < QP_PROTOCOLS; protocol++)
            put_row(w, report, &report->rows[i], (qp_protocol)protocol);
    qp_json_close(w);
    qp_json_open_array(w, "steps");
    for (int i = 0; i < report->step_count; i++) put_step(w, report, &report->steps[i]);
    qp_json_close(w);
    put_nodes(w, report);
    qp_json_put_double(w, "seconds", report->seconds);
    qp_json_open_object(w, "summary");
    qp_json_put_int64(w, "verified", report->verified);
    qp_json_put_int64(w, "failed", report->failed);
    qp_json_put_int64(w, "not_verified", report->not_verified);
    qp_json_put_int64(w, "dropped", report->dropped);
    qp_json_close(w);
    qp_json_close(w);
}

qp_status qp_bench_write_json(const qp_bench_report *report, const char *path)
{
    qp_json_writer *w = qp_json_writer_open();
    put_report(w, report);
    const qp_status status = qp_json_write_report(w, path);
    qp_json_writer_close(w);
    return status;
}
