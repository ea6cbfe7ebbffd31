#include <inttypes.h>
#include <string.h>

#include "../harness/own_order.h"
#include "figures.h"
#include "page.h"
#include "reports.h"

static qp_figure say_time(const qp_time *time)
{
    return time->why ? (qp_figure){ "-" } : qp_say_seconds(time->seconds.median);
}

static qp_figure say_factor(double factor)
{
    qp_figure c = { "-" };
    if (factor > 0.0) (void)snprintf(c.text, sizeof c.text, "%.*f", factor < 9.995 ? 2 : 1, factor);
    return c;
}

/* Multiply-adds a second, all in one unit, for they are compared. */
static qp_figure say_macs(double rate) { return say_factor(rate / 1e9); }

/* What a node or a pass gets out of the machine: bytes a second, or with `products` flops a second if that is nearer
 * to its ceiling. */
typedef struct yield {
    qp_figure rate, share;
} yield;

static yield yield_of(const qp_cost *cost, const qp_time *time, const qp_bench_report *report, bool products)
{
    const qp_ceilings *ceilings = &report->ceilings;
    const double most_read = report->host.read_bytes_per_second;
    const double seconds = time->seconds.median;
    if (time->why || !(seconds > 0.0)) return (yield){ { "-" }, { "-" } };
    const double bytes = (double)cost->bytes / seconds, flops = (double)cost->flops / seconds;
    /* On the CPU a copy is one thread's, and what all of them read is more, unless other programs keep them waiting. */
    const double most_bytes = most_read > ceilings->copy_bytes_per_second ? most_read : ceilings->copy_bytes_per_second;
    const double most_flops = ceilings->product_flops_per_second;
    const double byte_share = most_bytes > 0.0 ? bytes / most_bytes : 0.0;
    const double flop_share = most_flops > 0.0 ? flops / most_flops : 0.0;
    const bool computes = products && flop_share > byte_share;
    const double share = computes ? flop_share : byte_share;
    return (yield){ qp_say_rate(computes ? flops : bytes, computes),
                    share > 0.0 ? qp_say_percent(share) : (qp_figure){ "-" } };
}

static const char *say_verified(const char *verified, bool failed, colour *c)
{
    *c = verified ? GREEN : failed ? RED : YELLOW;
    return verified ? verified : failed ? "FAIL" : "no";
}

/* In-model if there is that time: that is what counts in the end. */
static const qp_time *time_for_rate(const qp_bench_row *row)
{
    return &row->time[row->time[QP_PROTOCOL_IN_MODEL].why ? QP_PROTOCOL_COLD : QP_PROTOCOL_IN_MODEL];
}

/* Columns as wide as what stands in them. */
typedef struct widths {
    int key, kernel;
} widths;

static void print_row(const page *p, const qp_bench_report *report, const qp_bench_row *row, widths width)
{
    colour c;
    const char *verified = say_verified(row->verified, row->failed, &c);
    const yield y =
        yield_of(&row->cost, time_for_rate(row), report, qp_products_in_a_sum(row->operation, row->extent) > 0);
    (void)fprintf(p->stream, "%-*s %4" PRId64 " %-*s %8s %8s %8s %7s %12s %7s  %s%s%s\n", width.key, row->key,
                  row->count, width.kernel, row->implementation.name, say_time(&row->time[QP_PROTOCOL_COLD]).text,
                  say_time(&row->time[QP_PROTOCOL_HOT]).text, say_time(&row->time[QP_PROTOCOL_IN_MODEL]).text,
                  row->share > 0.0 ? qp_say_percent(row->share).text : "-", y.rate.text, y.share.text, page_start(p, c),
                  verified, page_stop(p, c));
}

static void print_phase(const page *p, const qp_bench_report *report, const char *phase)
{
    widths width = { (int)strlen("first node"), (int)strlen("kernel") };
    int rows = 0;
    for (int i = 0; i < report->row_count; i++) {
        const int key = (int)strlen(report->rows[i].key), kernel = (int)strlen(report->rows[i].implementation.name);
        if (strcmp(report->rows[i].phase, phase) != 0) continue;
        rows++;
        if (key > width.key) width.key = key;
        if (kernel > width.kernel) width.kernel = kernel;
    }
    if (rows == 0) return;
    (void)fprintf(p->stream, "%s\n%s%-*s %4s %-*s %8s %8s %8s %7s %12s %7s  verified%s\n", phase, page_start(p, DIM),
                  width.key, "first node", "n", width.kernel, "kernel", "cold", "hot", "in model", "of pass", "rate",
                  "of most", page_stop(p, DIM));
    for (int i = 0; i < report->row_count; i++)
        if (!strcmp(report->rows[i].phase, phase)) print_row(p, report, &report->rows[i], width);
    (void)fputc('\n', p->stream);
}

static void print_steps(const page *p, const qp_bench_report *report)
{
    if (report->step_count == 0) return;
    (void)fprintf(p->stream, "%s%-12s %7s %7s %8s %17s %8s %10s %12s %7s  %-8s %s%s\n", page_start(p, DIM), "pass",
                  "context", "tokens", "median", "quartiles", "wall", "tokens/s", "rate", "of most", "verified",
                  "token", page_stop(p, DIM));
    for (int i = 0; i < report->step_count; i++) {
        const qp_bench_step *s = &report->steps[i];
        colour c;
        const char *verified = say_verified(s->verified, s->failed, &c);
        const yield y = yield_of(&s->cost, &s->time, report, true);
        qp_figure quartiles = { "-" }, tokens = { "-" }, token = { "-" };
        if (!s->time.why) {
            (void)snprintf(quartiles.text, sizeof quartiles.text, "%.8s..%.8s", qp_say_seconds(s->time.seconds.q1).text,
                           qp_say_seconds(s->time.seconds.q3).text);
            if (s->next_token >= 0)
                (void)snprintf(tokens.text, sizeof tokens.text, "%.1f", (double)s->tokens / s->wall.median);
        }
        if (s->next_token >= 0) (void)snprintf(token.text, sizeof token.text, "%" PRId64, s->next_token);
        (void)fprintf(p->stream, "%-12s %7" PRId64 " %7" PRId64 " %8s %17s %8s %10s %12s %7s  %s%-8s%s %s\n", s->name,
                      s->context, s->tokens, say_time(&s->time).text, quartiles.text,
                      s->time.why ? "-" : qp_say_seconds(s->wall.median).text, tokens.text, y.rate.text, y.share.text,
                      page_start(p, c), verified, page_stop(p, c), token.text);
    }
}

/* ---- The CPU's contract beside what the machine does at most. ---- */

static void print_reading(const page *p, const qp_bench_report *report)
{
    const qp_host_speed *h = &report->host;
    const double speed_up = qp_scaling_speed_up(&h->read);
    (void)fprintf(p->stream, "reading  %s of weights once: ", qp_say_bytes((double)h->read_bytes).text);
    if (h->read.all.why)
        (void)fputs(h->read.all.why, p->stream);
    else
        (void)fprintf(p->stream, "%s, %s with %d thread%s", qp_say_seconds(h->read.all.seconds.median).text,
                      qp_say_rate(h->read_bytes_per_second, false).text, h->threads, h->threads == 1 ? "" : "s");
    if (speed_up > 0.0)
        (void)fprintf(p->stream, "; %s with 1: speed-up %s", qp_say_seconds(h->read.one.seconds.median).text,
                      say_factor(speed_up).text);
    (void)fputc('\n', p->stream);
}

static void print_decoding(const page *p, const qp_bench_step *s)
{
    if (!(s->readings > 0.0)) return;
    (void)fprintf(p->stream, "decoding %s a step: %s%s%s times that reading, wanted at most %.1f",
                  qp_say_seconds(s->time.seconds.median).text,
                  page_start(p, s->readings <= QP_HOST_MOST_READINGS ? GREEN : YELLOW), say_factor(s->readings).text,
                  page_stop(p, GREEN), QP_HOST_MOST_READINGS);
    if (s->speed_up > 0.0)
        (void)fprintf(p->stream, "; %s with 1 thread: speed-up %s%s%s, wanted at least %.1f",
                      qp_say_seconds(s->one_thread.seconds.median).text,
                      page_start(p, s->speed_up >= QP_HOST_LEAST_SPEED_UP ? GREEN : YELLOW),
                      say_factor(s->speed_up).text, page_stop(p, GREEN), QP_HOST_LEAST_SPEED_UP);
    (void)fputc('\n', p->stream);
}

/* Ours on one path; beside the first the others' figures, which do not depend on it. */
static void print_product(const page *p, const qp_host_product *product, int path, int key_width)
{
    const qp_scaling *ours = &product->path[path].time;
    const double rate = qp_host_product_rate(product, &ours->all);
    const double blas = qp_host_product_rate(product, &product->openblas.all);
    const double plain = qp_host_product_rate(product, &product->plain.all);
    (void)fprintf(p->stream, "%-*s %3" PRId64 " %6" PRId64 " %6" PRId64 "  %-8s %8s %8s %8s", key_width, product->key,
                  product->m, product->n, product->k, product->path[path].name, say_macs(rate).text,
                  say_macs(qp_host_product_rate(product, &ours->one)).text, say_factor(qp_scaling_speed_up(ours)).text);
    (void)fprintf(p->stream, "  %8s %8s %7s  %8s %8s %7s\n", say_macs(blas).text,
                  say_factor(qp_scaling_speed_up(&product->openblas)).text,
                  say_factor(blas > 0.0 ? rate / blas : 0.0).text, say_macs(plain).text,
                  say_factor(qp_scaling_speed_up(&product->plain)).text,
                  say_factor(plain > 0.0 ? rate / plain : 0.0).text);
}

static void print_products(const page *p, const qp_host_speed *h)
{
    int width = (int)strlen("product, GMAC/s");
    for (int i = 0; i < h->product_count; i++)
        if ((int)strlen(h->products[i].key) > width) width = (int)strlen(h->products[i].key);
    if (h->product_count == 0) return;
    (void)fprintf(p->stream, "\n%s%-*s %3s %6s %6s  %-8s %8s %8s %8s  %8s %8s %7s  %8s %8s %7s%s\n", page_start(p, DIM),
                  width, "product, GMAC/s", "M", "N", "K", "path", "ours", "1 thread", "speed-up", "OpenBLAS",
                  "speed-up", "ours/it", "f32 loop", "speed-up", "ours/it", page_stop(p, DIM));
    for (int i = 0; i < h->product_count; i++)
        for (int j = 0; j < h->products[i].path_count; j++) print_product(p, &h->products[i], j, width);
    if (h->no_openblas) (void)fputs("OpenBLAS ", p->stream);
    page_put(p, h->no_openblas ? h->no_openblas : h->openblas); /* whose words begin with its name */
    (void)fputc('\n', p->stream);
    for (int i = 0; i < h->product_count; i++) {
        const qp_host_product *product = &h->products[i];
        for (int j = 0; j < product->path_count; j++)
            if (product->path[j].time.all.why)
                (void)fprintf(p->stream, "%sFAIL%s  %s, M = %" PRId64 ", path %s: %s\n", page_start(p, RED),
                              page_stop(p, RED), product->key, product->m, product->path[j].name,
                              product->path[j].time.all.why);
        if (product->openblas.all.why && !h->no_openblas)
            (void)fprintf(p->stream, "no time  OpenBLAS for %s, M = %" PRId64 ": %s\n", product->key, product->m,
                          product->openblas.all.why);
    }
}

static void print_host(const page *p, const qp_bench_report *report)
{
    if (!report->host.threads) return;
    print_reading(p, report);
    for (int i = 0; i < report->step_count; i++) print_decoding(p, &report->steps[i]);
    if (report->host.others > 0.05)
        (void)fprintf(p->stream, "%sbusy%s     other programs had %s of the processors' time during the run\n",
                      page_start(p, YELLOW), page_stop(p, YELLOW), qp_say_percent(report->host.others).text);
    print_products(p, &report->host);
    (void)fprintf(
        p->stream,
        "%sreading: a sum over every weight that a decode step reads; products: y[M, N] of the node's own "
        "weights, again and again;\n"
        "ours: with the tensor core's bits, from bf16; OpenBLAS, f32 loop: sgemv or sgemm, and a plain triple "
        "loop, both from f32%s\n\n",
        page_start(p, DIM), page_stop(p, DIM));
}

/* ---- What has no time, and what was dropped. ---- */

static void print_reason(const page *p, const char *name, const char *phase, bool failed, const char *reason)
{
    const colour c = failed ? RED : YELLOW;
    (void)fprintf(p->stream, "%s%s%s  %s%s%s: ", page_start(p, c), failed ? "FAIL" : "not verified", page_stop(p, c),
                  phase, *phase ? " " : "", name);
    page_put(p, reason);
    (void)fputc('\n', p->stream);
}

static void print_no_time(const page *p, const qp_bench_report *report)
{
    for (int i = 0; i < report->row_count; i++) {
        const qp_bench_row *row = &report->rows[i];
        if (!row->verified) print_reason(p, row->key, row->phase, row->failed, row->reason);
        for (int j = 0; row->verified && j < QP_PROTOCOLS; j++)
            if (row->time[j].why)
                (void)fprintf(p->stream, "no time  %s %s, %s: %s\n", row->phase, row->key,
                              qp_protocol_name((qp_protocol)j), row->time[j].why);
    }
    for (int i = 0; i < report->step_count; i++) {
        const qp_bench_step *s = &report->steps[i];
        if (!s->verified)
            print_reason(p, s->name, "", s->failed, s->reason);
        else if (s->time.why)
            (void)fprintf(p->stream, "no time  %s: %s\n", s->name, s->time.why);
    }
    if (report->dropped)
        (void)fprintf(p->stream,
                      "dropped  %" PRId64 " samples, taken while the clock was under %.0f %% of its %.2f GHz\n",
                      report->dropped, 100.0 * QP_CLOCK_LEAST_SHARE, report->clock / 1e9);
}

/* ---- The page. ---- */

static void print_header(const page *p, const qp_bench_report *report)
{
    (void)fputs("model    ", p->stream);
    page_put(p, report->model);
    if (report->golden.path) {
        (void)fputs("\ngolden   ", p->stream);
        page_put(p, report->golden.path);
    }
    (void)fputs("\nours     ", p->stream);
    page_put_ours(p, &report->device, report->backend, report->plan, report->only, report->fault);
}

static void print_machine(const page *p, const qp_bench_report *report)
{
    const qp_ceilings *c = &report->ceilings;
    (void)fprintf(p->stream, "most     copy %s",
                  c->copy.why ? c->copy.why : qp_say_rate(c->copy_bytes_per_second, false).text);
    (void)fprintf(p->stream, "; product of %" PRId64 " x %" PRId64 " matrices (%s) %s", c->product_size,
                  c->product_size, c->product_implementation,
                  c->product.why ? c->product.why : qp_say_rate(c->product_flops_per_second, true).text);
    (void)fprintf(p->stream, "\nsamples  at most %" PRId64 " of each time; cold: after a fill of %.0f MB",
                  report->samples, (double)report->flush_bytes / 1e6);
    (void)fprintf(p->stream, "; %s between two marks with nothing between them",
                  qp_say_seconds(report->mark_overhead).text);
    if (report->clock > 0.0) (void)fprintf(p->stream, "; clock %.2f GHz", report->clock / 1e9);
    (void)fputs("\n\n", p->stream);
}

void qp_bench_print(const qp_bench_report *report, qp_terminal_style style, FILE *stream)
{
    const page p = { stream, style.color };
    print_header(&p, report);
    if (report->profiled) {
        (void)fputs("profiled: nothing was timed\n", stream);
        return;
    }
    print_machine(&p, report);
    print_phase(&p, report, "prefill");
    print_phase(&p, report, "decode");
    if (report->row_count == 0) {
        (void)fputs("nothing was compared\n", stream);
        return;
    }
    print_steps(&p, report);
    (void)fprintf(
        stream,
        "%smedians; cold, hot: the first node alone; in model: while the pass runs, all n together; rate: in "
        "model, in bytes\n"
        "or, of a matrix product, in flops, whichever is nearer to what the machine does at most; pass: what the\n"
        "device needs, with the launches enqueued ahead; wall, tokens/s: by the host's clock; decode_graph: the\n"
        "decode step recorded and replayed, decode_nodes: of that what --only chose, one behind the other; their "
        "wall:\n"
        "a replay's share of those that follow each other%s\n\n",
        page_start(&p, DIM), page_stop(&p, DIM));
    print_host(&p, report);
    print_no_time(&p, report);
    if (!report->complete) (void)fprintf(stream, "%sthe run did not end%s\n", page_start(&p, RED), page_stop(&p, RED));
    const colour c = report->failed || !report->complete ? RED : report->verified ? GREEN : YELLOW;
    (void)fprintf(stream, "%s%s%s  %d rows verified, %d failed, %d not verified; %.1f s\n", page_start(&p, c),
                  report->failed || !report->complete ? "FAIL"
                  : report->verified                  ? "PASS"
                                                      : "NOTHING VERIFIED",
                  page_stop(&p, c), report->verified, report->failed, report->not_verified, report->seconds);
}
