#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "figures.h"
#include "html_parts.h"
#include "text.h"

static bool has_time(const qp_time *time) { return !time->why && time->seconds.samples > 0; }

/* ---- A few figures. ---- */

static void put_step_tile(const qp_bench_step *step, FILE *f)
{
    char name[64];
    if (!has_time(&step->time)) return;
    (void)snprintf(name, sizeof name, "%.40s, %" PRId64 "%s", step->name, step->tokens,
                   step->tokens == 1 ? " token" : " tokens");
    qp_html_put_tile(name, qp_html_say_seconds(step->time.seconds.median), "", f);
}

static const char *headline_of(const qp_bench_report *bench)
{
    if (!bench->complete) return "The run did not end: this is what it got to";
    if (bench->failed) return "Something that was to be timed is wrong";
    if (!bench->verified) return "Nothing was verified, so nothing was timed";
    return bench->not_verified ? "What was verified was timed" : "Every time stands beside a verified result";
}

void qp_html_put_timing_summary(const qp_bench_report *bench, bool alone, FILE *f)
{
    const qp_ceilings *c = &bench->ceilings;
    const bool pass = bench->complete && !bench->failed && bench->verified > 0;
    (void)fputs("<section id=timing-summary>", f);
    if (alone) {
        (void)fprintf(f, "<div class=\"hero %s\">\n", pass ? "pass" : "fail");
        qp_html_put_stamp(pass, pass ? "PASS" : bench->failed || !bench->complete ? "FAIL" : "NOTHING VERIFIED", f);
        (void)fprintf(f, "<h1>%s</h1></div>\n", headline_of(bench));
    } else if (!pass) {
        (void)fprintf(f, "<p class=notice><b>Timing:</b> %s.\n", headline_of(bench));
    }
    if (!alone) (void)fputs("<h3>Timing</h3>", f);
    (void)fputs("<dl class=tiles>\n", f);
    for (int i = 0; i < bench->step_count; i++) put_step_tile(&bench->steps[i], f);
    const int rows = bench->verified + bench->not_verified;
    qp_html_put_tile("Rows verified", qp_say_grouped(bench->verified), qp_say_grouped(rows).text, f);
    if (bench->failed) qp_html_put_tile("Failed", qp_say_grouped(bench->failed), "", f);
    if (c->copy_bytes_per_second > 0.0) qp_html_put_tile("Copy", qp_say_rate(c->copy_bytes_per_second, false), "", f);
    if (c->product_flops_per_second > 0.0)
        qp_html_put_tile("Matrix product", qp_say_rate(c->product_flops_per_second, true), "", f);
    (void)fputs("</dl>\n", f);
    if (alone) {
        (void)fputs("<div class=card><h3>Environment</h3><dl class=facts>\n", f);
        qp_html_put_fact("Model", bench->model, f);
        qp_html_put_fact("Golden", bench->golden.path, f);
        qp_html_put_ours(&bench->device, bench->backend, bench->plan, bench->only, bench->fault, f);
        qp_html_put_environment(&bench->environment, f);
        qp_html_put_fact("Took", qp_html_say_seconds(bench->seconds).text, f);
        (void)fputs("</dl></div>\n", f);
    }
    (void)fputs("</section>\n", f);
}

/* ---- The tables. ---- */

static void put_verified(const char *verified, bool failed, FILE *f)
{
    (void)fprintf(f, "<td class=text><span class=\"verdict %s\"><span aria-hidden=true>%s</span> ",
                  verified ? "pass"
                  : failed ? "fail"
                           : "untrusted",
                  verified ? "✓"
                  : failed ? "✗"
                           : "?");
    qp_text_put_markup(verified ? verified : failed ? "FAIL" : "no", f);
    (void)fputs("</span>", f);
}

static void put_time_cell(const qp_time *time, FILE *f)
{
    if (has_time(time))
        (void)fprintf(f, "<td>%s", qp_html_say_seconds(time->seconds.median).text);
    else
        (void)fputs("<td>–", f);
}

static void put_rate_cells(const qp_cost *cost, const qp_time *time, FILE *f)
{
    const double seconds = time->seconds.median;
    if (!has_time(time) || !(seconds > 0.0)) {
        (void)fputs("<td>–<td>–", f);
        return;
    }
    (void)fprintf(f, "<td>%s<td>%s", qp_say_rate((double)cost->bytes / seconds, false).text,
                  cost->flops ? qp_say_rate((double)cost->flops / seconds, true).text : "–");
}

/* Why there is no time, in the words of the row or of each protocol. */
static void put_row_reasons(const qp_bench_row *row, FILE *f)
{
    const char *between = *row->reason ? "; " : "";
    qp_text_put_markup(row->reason, f);
    for (int i = 0; row->verified && i < QP_PROTOCOLS; i++) {
        if (!row->time[i].why) continue;
        (void)fprintf(f, "%s%s: ", between, qp_protocol_name((qp_protocol)i));
        qp_text_put_markup(row->time[i].why, f);
        between = "; ";
    }
}

static void put_bench_row(const qp_bench_row *row, FILE *f)
{
    const qp_time *in_model = &row->time[QP_PROTOCOL_IN_MODEL], *cold = &row->time[QP_PROTOCOL_COLD];
    (void)fputs("<tr><td class=text>", f);
    qp_text_put_markup(row->phase, f);
    (void)fputs("<th scope=row>", f);
    qp_text_put_markup(row->key, f);
    (void)fprintf(f, "<td>%s<td class=text>", qp_say_grouped(row->count).text);
    qp_text_put_markup(row->implementation.name, f);
    put_time_cell(cold, f);
    put_time_cell(&row->time[QP_PROTOCOL_HOT], f);
    put_time_cell(in_model, f);
    (void)fprintf(f, "<td>%s", row->share > 0.0 ? qp_say_percent(row->share).text : "–");
    put_rate_cells(&row->cost, has_time(in_model) ? in_model : cold, f);
    put_verified(row->verified, row->failed, f);
    (void)fputs("<td class=text>", f);
    put_row_reasons(row, f);
    (void)fputc('\n', f);
}

static void put_bench_rows(const qp_bench_report *bench, FILE *f)
{
    (void)fputs(
        "<h3>Nodes</h3><p class=hint>A line is all nodes of a pass with the same operation, extents and kernel, told "
        "by "
        "the first of them; <b>n</b> is how many. Medians. <b>cold</b> and <b>hot</b>: the first node alone; "
        "<b>in model</b>: while the pass runs; rates are those in the model, or else cold.\n"
        "<div class=box tabindex=0 role=region aria-label=\"table of times\"><table class=figures id=times>"
        "<thead><tr><th scope=col class=text>pass<th scope=col>first node<th scope=col>n<th scope=col class=text>kernel"
        "<th scope=col>cold<th scope=col>hot<th scope=col>in model<th scope=col>of pass<th scope=col>bytes"
        "<th scope=col>flops<th scope=col class=text>verified<th scope=col class=text>no time, because\n<tbody>\n",
        f);
    for (int i = 0; i < bench->row_count; i++) put_bench_row(&bench->rows[i], f);
    (void)fputs("</table></div>\n", f);
}

static void put_step(const qp_bench_step *step, FILE *f)
{
    const bool timed = has_time(&step->time);
    (void)fputs("<tr><th scope=row>", f);
    qp_text_put_markup(step->name, f);
    (void)fprintf(f, "<td>%s<td>%s", qp_say_grouped(step->context).text, qp_say_grouped(step->tokens).text);
    put_time_cell(&step->time, f);
    if (timed)
        (void)fprintf(f, "<td>%s – %s<td>%s", qp_html_say_seconds(step->time.seconds.q1).text,
                      qp_html_say_seconds(step->time.seconds.q3).text, qp_html_say_seconds(step->wall.median).text);
    else
        (void)fputs("<td>–<td>–", f);
    if (timed && step->wall.median > 0.0 && step->next_token >= 0)
        (void)fprintf(f, "<td>%.1f", (double)step->tokens / step->wall.median);
    else
        (void)fputs("<td>–", f);
    put_rate_cells(&step->cost, &step->time, f);
    put_verified(step->verified, step->failed, f);
    (void)fputs("<td class=text>", f);
    qp_text_put_markup(step->verified && step->time.why ? step->time.why : step->reason, f);
    (void)fputc('\n', f);
}

static void put_steps(const qp_bench_report *bench, FILE *f)
{
    if (bench->step_count == 0) return;
    (void)fputs(
        "<h3>Passes</h3><p class=hint>Median and quartiles of what the device needs, with the launches enqueued "
        "ahead of it; <b>wall</b> and <b>tokens/s</b> by the host’s clock, from nothing enqueued to everything done.\n"
        "<div class=box tabindex=0 role=region aria-label=\"table of passes\"><table class=figures id=passes>"
        "<thead><tr><th scope=col>pass<th scope=col>context<th scope=col>tokens<th scope=col>median"
        "<th scope=col>quartiles<th scope=col>wall<th scope=col>tokens/s<th scope=col>bytes<th scope=col>flops"
        "<th scope=col class=text>verified<th scope=col class=text>no time, because\n<tbody>\n",
        f);
    for (int i = 0; i < bench->step_count; i++) put_step(&bench->steps[i], f);
    (void)fputs("</table></div>\n", f);
}

/* ---- The machine. ---- */

static void put_ceiling(const char *name, const qp_time *time, double rate, bool flops, FILE *f)
{
    qp_html_put_fact(name, time->why ? time->why : rate > 0.0 ? qp_say_rate(rate, flops).text : "unknown", f);
}

static void put_machine(const qp_bench_report *bench, FILE *f)
{
    const qp_ceilings *c = &bench->ceilings;
    char product[96];
    (void)snprintf(product, sizeof product, "Product, %" PRId64 "³, %.40s", c->product_size,
                   c->product_implementation ? c->product_implementation : "");
    (void)fputs("<h3>What the machine does at most</h3><p class=hint>Measured in the same run.\n<dl class=facts>\n", f);
    put_ceiling("Copy, read and written", &c->copy, c->copy_bytes_per_second, false, f);
    put_ceiling(product, &c->product, c->product_flops_per_second, true, f);
    if (bench->host.read_bytes_per_second > 0.0)
        qp_html_put_fact("Reading the weights", qp_say_rate(bench->host.read_bytes_per_second, false).text, f);
    if (bench->host.threads) qp_html_put_fact("Threads", qp_say_grouped(bench->host.threads).text, f);
    if (bench->host.others > 0.05) qp_html_put_fact("Other programs had", qp_say_percent(bench->host.others).text, f);
    qp_html_put_fact("Samples of a time, at most", qp_say_grouped(bench->samples).text, f);
    qp_html_put_fact("Written before a cold sample", qp_say_bytes((double)bench->flush_bytes).text, f);
    qp_html_put_fact("Between two marks", qp_html_say_seconds(bench->mark_overhead).text, f);
    if (bench->clock > 0.0) {
        char clock[32];
        (void)snprintf(clock, sizeof clock, "%.2f GHz", bench->clock / 1e9);
        qp_html_put_fact("Clock", clock, f);
    }
    if (bench->dropped) qp_html_put_fact("Dropped samples, low clock", qp_say_grouped(bench->dropped).text, f);
    (void)fputs("</dl>\n", f);
}

static void put_product(const qp_host_product *product, int path, FILE *f)
{
    const qp_scaling *ours = &product->path[path].time;
    const double rates[] = { qp_host_product_rate(product, &ours->all), qp_host_product_rate(product, &ours->one),
                             qp_host_product_rate(product, &product->openblas.all),
                             qp_host_product_rate(product, &product->plain.all) };
    (void)fputs("<tr><th scope=row>", f);
    qp_text_put_markup(product->key, f);
    (void)fprintf(f, "<td>%" PRId64 "<td>%" PRId64 "<td>%" PRId64 "<td class=text>", product->m, product->n,
                  product->k);
    qp_text_put_markup(product->path[path].name, f);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        if (rates[i] > 0.0)
            (void)fprintf(f, "<td>%.2f", rates[i] / 1e9);
        else
            (void)fputs("<td>–", f);
    }
    (void)fputs("<td class=text>", f);
    if (ours->all.why) qp_text_put_markup(ours->all.why, f);
    (void)fputc('\n', f);
}

static void put_products(const qp_host_speed *host, FILE *f)
{
    if (host->product_count == 0) return;
    (void)fputs(
        "<details><summary>Matrix products on the CPU, billions of multiply-adds a second</summary>\n"
        "<div class=box tabindex=0 role=region aria-label=\"table of matrix products\"><table class=figures><thead><tr>"
        "<th scope=col>product<th scope=col>M<th scope=col>N<th scope=col>K<th scope=col class=text>path"
        "<th scope=col>ours<th scope=col>1 thread<th scope=col>OpenBLAS<th scope=col>f32 loop"
        "<th scope=col class=text>no time, because\n<tbody>\n",
        f);
    for (int i = 0; i < host->product_count; i++)
        for (int j = 0; j < host->products[i].path_count; j++) put_product(&host->products[i], j, f);
    (void)fputs("</table></div>\n", f);
    if (host->no_openblas) {
        (void)fputs("<p class=hint>OpenBLAS ", f);
        qp_text_put_markup(host->no_openblas, f);
        (void)fputc('\n', f);
    }
    (void)fputs("</details>\n", f);
}

/* ---- What page.js draws. ---- */

/* Seconds, or null: JSON knows no NaN, and a chart draws no point there. */
static void put_seconds(double seconds, bool known, FILE *f)
{
    if (known && isfinite(seconds))
        (void)fprintf(f, ",%.4g", seconds);
    else
        (void)fputs(",null", f);
}

/* [pass, first node, operation, n, bytes, flops, cold, hot, in model] */
static void put_row_data(const qp_bench_row *row, FILE *f)
{
    const char *const texts[] = { row->phase, row->key, row->operation->name };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)fputc(i ? ',' : '[', f);
        qp_text_put_script_string(texts[i], f);
    }
    (void)fprintf(f, ",%" PRId64 ",%" PRIu64 ",%" PRIu64, row->count, row->cost.bytes, row->cost.flops);
    for (int i = 0; i < QP_PROTOCOLS; i++) put_seconds(row->time[i].seconds.median, has_time(&row->time[i]), f);
    (void)fputc(']', f);
}

static void put_data(const qp_bench_report *bench, FILE *f)
{
    const qp_ceilings *c = &bench->ceilings;
    (void)fputs("<script type=application/json id=bench>{\"ceilings\":[null", f);
    put_seconds(c->copy_bytes_per_second, c->copy_bytes_per_second > 0.0, f);
    put_seconds(bench->host.read_bytes_per_second, bench->host.read_bytes_per_second > 0.0, f);
    put_seconds(c->product_flops_per_second, c->product_flops_per_second > 0.0, f);
    (void)fputs("],\n\"rows\":[", f);
    for (int i = 0; i < bench->row_count; i++) {
        (void)fputs(i ? ",\n" : "\n", f);
        put_row_data(&bench->rows[i], f);
    }
    (void)fputs("],\n\"nodes\":[", f);
    for (int i = 0; i < bench->node_count; i++) {
        (void)fputs(i ? ",\n[" : "\n[", f);
        qp_text_put_script_string(bench->nodes[i].phase, f);
        (void)fputc(',', f);
        qp_text_put_script_string(bench->nodes[i].key, f);
        put_seconds(bench->nodes[i].seconds, true, f);
        (void)fputc(']', f);
    }
    (void)fputs("]}</script>\n", f);
}

static void put_chart(const char *id, const char *title, const char *hint, FILE *f)
{
    (void)fprintf(f,
                  "<div class=script id=%s-part><h3>%s</h3><p class=hint>%s\n<div class=chart><canvas id=%s role=img "
                  "aria-label=\"%s\"></canvas></div></div>\n",
                  id, title, hint, id, title);
}

void qp_html_put_timing(const qp_bench_report *bench, FILE *f)
{
    (void)fputs(
        "<section id=timing><div class=head><h2>Timing</h2><div id=timing-controls class=\"controls script\"></div>"
        "</div>\n",
        f);
    if (bench->row_count == 0) (void)fputs("<p class=hint>Nothing was compared, so nothing was timed.\n", f);
    put_steps(bench, f);
    if (bench->row_count > 0) {
        put_chart("bars-chart", "Time of a node",
                  "Median of one launch, on a logarithmic scale; behind a name, for how many nodes it stands.", f);
        put_chart(
            "roofline-chart", "Roofline",
            "Work per byte against what is reached in the model, or else cold, both logarithmic. The lines are the "
            "measured ceilings; what fits into the caches may lie above them.",
            f);
    }
    if (bench->node_count > 0)
        put_chart("timeline-chart", "Time line of a pass",
                  "Each node’s median in the model, one after the other, from the start of its layer. Nodes that were "
                  "not chosen or not verified have no time and are missing, in a line’s sum, too.",
                  f);
    put_bench_rows(bench, f);
    put_machine(bench, f);
    put_products(&bench->host, f);
    put_data(bench, f);
    (void)fputs("</section>\n", f);
}
