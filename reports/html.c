#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../model/sha256.h"
#include "figures.h"
#include "file.h"
#include "html_assets.h"
#include "html_parts.h"
#include "reports.h"
#include "text.h"

enum { MOST_LISTED = 1000 }; /* tensors not compared: they are not rows, and the JSON has them all */

qp_figure qp_html_say_error(double error)
{
    qp_figure f = { "0" };
    if (error == 0.0) return f;
    if (isnan(error)) return (qp_figure){ "nan" }; /* some libraries print its sign, too */
    (void)snprintf(f.text, sizeof f.text, "%.2e", error);
    char *exponent = strchr(f.text, 'e');
    if (!exponent) return f; /* "inf" */
    (void)snprintf(exponent + 1, sizeof f.text - (size_t)(exponent + 1 - f.text), "%ld",
                   strtol(exponent + 1, NULL, 10));
    return f;
}

qp_figure qp_html_say_ulp(double ulp)
{
    return ulp >= 0.0 && ulp < 1e15 ? qp_say_grouped((int64_t)ulp) : qp_html_say_error(ulp);
}

qp_figure qp_html_say_seconds(double seconds)
{
    static const char *const units[] = { "ns", "µs", "ms", "s", NULL };
    return qp_say_scaled(1e9 * seconds, units);
}

void qp_html_put_verdict(qp_verdict verdict, FILE *f)
{
    static const char *const signs[] = {
        [QP_VERDICT_FAIL] = "✗", [QP_VERDICT_UNTRUSTED] = "?", [QP_VERDICT_WAIVED] = "~", [QP_VERDICT_PASS] = "✓"
    };
    const char *name = qp_verdict_name(verdict);
    (void)fprintf(f, "<span class=\"verdict %s\"><span aria-hidden=true>%s</span> %s</span>", name, signs[verdict],
                  name);
}

void qp_html_put_fact(const char *name, const char *text, FILE *f)
{
    if (!text || !*text) return;
    (void)fputs("<div><dt>", f);
    qp_text_put_markup(name, f);
    (void)fputs("<dd>", f);
    qp_text_put_markup(text, f);
    (void)fputs("</div>\n", f);
}

void qp_html_put_ours(const qp_device_facts *device, const char *backend, const char *plan, const char *only,
                      const char *fault, FILE *f)
{
    qp_html_put_fact("Ours", qp_device_in_words(device).text, f);
    qp_html_put_fact("Backend", backend, f);
    qp_html_put_fact("Plan", plan, f);
    qp_html_put_fact("Only", only, f);
    qp_html_put_fact("Planted fault", fault, f);
}

void qp_html_put_environment(const qp_environment *environment, FILE *f)
{
    qp_html_put_fact("Machine", environment->cpu, f);
    qp_html_put_fact("Threads", qp_say_grouped(environment->threads).text, f);
    qp_html_put_fact("System", environment->os, f);
    qp_html_put_fact("Program", environment->program_version, f);
    qp_html_put_fact("Compiler", environment->compiler, f);
    qp_html_put_fact("Flags", environment->flags, f);
    qp_html_put_fact("Time", environment->time, f);
}

/* ---- The first screen. ---- */

void qp_html_put_tile(const char *name, qp_figure figure, const char *of, FILE *f)
{
    (void)fputs("<div><dt>", f);
    qp_text_put_markup(name, f);
    (void)fprintf(f, "<dd>%s", figure.text);
    if (*of) (void)fprintf(f, " <small>of %s</small>", of);
    (void)fputs("</div>\n", f);
}

static void put_tiles(const qp_html_view *view, FILE *f)
{
    const qp_report *report = view->report;
    const qp_report_summary *s = &report->summary;
    (void)fputs("<dl class=tiles>\n", f);
    qp_html_put_tile("Boundaries exact", qp_say_grouped(view->exact_boundaries),
                     qp_say_grouped(view->pooled.count).text, f);
    qp_html_put_tile("Rows exact", qp_say_grouped(s->exact_rows), qp_say_grouped(s->rows).text, f);
    qp_html_put_tile("Elements compared", qp_say_grouped(s->elements), "", f);
    qp_html_put_tile("Differ, local", qp_say_grouped(s->local_mismatches), "", f);
    qp_html_put_tile("Differ, carried", qp_say_grouped(s->carried_mismatches), "", f);
    if (s->untrusted) qp_html_put_tile("Untrusted", qp_say_grouped(s->untrusted), "", f);
    if (s->waived) qp_html_put_tile("Waived", qp_say_grouped(s->waived), "", f);
    if (s->bounded) qp_html_put_tile("Within a bound", qp_say_grouped(s->bounded), "", f);
    if (report->not_compared_count) qp_html_put_tile("Not compared", qp_say_grouped(report->not_compared_count), "", f);
    if (report->inside_fused_count)
        qp_html_put_tile("Inside fused", qp_say_grouped(qp_count_inside_fused(report)), "", f);
    if (report->left_out) qp_html_put_tile("Left out by --only", qp_say_grouped(report->left_out), "", f);
    (void)fputs("</dl>\n", f);
}

/* What the verdict means, in a sentence. */
static void put_headline(const qp_report *report, FILE *f)
{
    const qp_report_summary *s = &report->summary;
    if (s->rows == 0)
        (void)fputs("Nothing was compared", f);
    else if (s->failed)
        (void)fprintf(f, "%s of %s rows failed", qp_say_grouped(s->failed).text, qp_say_grouped(s->rows).text);
    else if (s->verdict != QP_VERDICT_PASS)
        (void)fputs("No row failed, but this is no pass", f);
    else if (s->waived)
        (void)fprintf(f, "%s rows, of which %s are waived", qp_say_grouped(s->rows).text,
                      qp_say_grouped(s->waived).text);
    else if (s->exact_rows == s->rows)
        (void)fputs(report->left_out || report->inside_fused_count ? "Every bit that was compared is PyTorch’s"
                                                                   : "Every bit is PyTorch’s",
                    f);
    else
        (void)fprintf(f, "All %s rows pass, %s of them within a bound", qp_say_grouped(s->rows).text,
                      qp_say_grouped(s->bounded).text);
}

void qp_html_put_stamp(bool pass, const char *word, FILE *f)
{
    (void)fprintf(f, "<p class=\"stamp %s\"><span aria-hidden=true>%s</span> %s</p>\n", pass ? "pass" : "fail",
                  pass ? "✓" : "✗", word);
}

static void put_worst_element(const qp_row *row, FILE *f)
{
    const qp_worst *worst = &row->comparison.worst[0];
    if (row->comparison.worst_count == 0) return;
    (void)fputs("<p>worst at ", f);
    qp_put_position(row, worst->index, qp_text_put_markup, f);
    (void)fprintf(f, ": golden <b>%s</b>, ours <b>%s</b>\n", qp_say_element(worst->want).text,
                  qp_say_element(worst->got).text);
}

static void put_row_card(const char *title, const qp_row *row, FILE *f)
{
    (void)fprintf(f, "<div class=card><h3>%s</h3><p class=key>", title);
    qp_html_put_row_link(row, f);
    (void)fprintf(f, "\n<p><b>%s</b> of %s elements differ, at most <b>%s</b> ulp\n",
                  qp_say_grouped(row->comparison.mismatches).text, qp_say_grouped(row->comparison.elements).text,
                  qp_html_say_ulp(row->comparison.max_ulp).text);
    put_worst_element(row, f);
    (void)fputs("</div>\n", f);
}

/* The boundaries that fail on PyTorch’s own inputs, each with a link to its first such row: what has to be mended. */
static void put_guilty(const qp_html_view *view, FILE *f)
{
    if (view->guilty < 2) return;
    (void)fprintf(f, "<p>%d boundaries fail so: ", view->guilty);
    bool first = true;
    for (int i = 0; i < view->pooled.count; i++) {
        const qp_html_sum *local = &view->boundaries[i].sum[QP_LOCAL];
        if (local->rows == 0 || local->verdict != QP_VERDICT_FAIL) continue;
        (void)fputs(first ? "<a href=#" : ", <a href=#", f);
        qp_html_put_row_id(&view->report->rows[local->first], f);
        (void)fputc('>', f);
        qp_text_put_markup(view->pooled.list[i].name, f);
        (void)fputs("</a>", f);
        first = false;
    }
    (void)fputc('\n', f);
}

static void put_start(const qp_html_view *view, FILE *f)
{
    const qp_row *row = view->start;
    if (!row) return;
    const bool local = row->mode == QP_LOCAL;
    (void)fputs("<div class=\"card start\"><h3>Start here</h3><p class=key>", f);
    qp_html_put_row_link(row, f);
    (void)fputs("\n<p><b>", f);
    qp_text_put_markup(row->operation, f);
    (void)fputs("</b>, kernel <b>", f);
    qp_text_put_markup(row->implementation, f);
    (void)fputs("</b>: ", f);
    qp_text_put_markup(row->reason, f);
    put_worst_element(row, f);
    if (row->verdict == QP_VERDICT_FAIL)
        (void)fputs(
            local ? "<p class=hint>The first row in the order of the plan that fails on PyTorch’s own inputs: "
                    "whatever is wrong, this kernel does it."
                  : "<p class=hint>The first row in the order of the plan that fails. None fails on PyTorch’s own "
                    "inputs, where these were captured.",
            f);
    else
        (void)fputs("<p class=hint>No row failed: this is the first in the order of the plan whose golden shows too "
                    "little.",
                    f);
    (void)fputc('\n', f);
    put_guilty(view, f);
    (void)fputs("</div>\n", f);
}

static void put_notice(const char *what, FILE *f) { (void)fprintf(f, "<p class=notice><b>%s</b> ", what); }

/* What is said about the run as a whole, and not about a row. */
static void put_notices(const qp_report *report, FILE *f)
{
    if (!report->complete) {
        put_notice("The run did not end.", f);
        (void)fputs("These are the rows that it got to.\n", f);
    }
    if (report->fault) {
        put_notice("A fault was planted:", f);
        qp_text_put_markup(report->fault, f);
        (void)fputs(". Kernels that have it compute something wrong on purpose.\n", f);
    }
    if (report->not_compared_count) {
        put_notice("Not everything was compared:", f);
        (void)fprintf(f, "<a href=#not-compared>tensors of the golden</a> without a row: %s.\n",
                      qp_say_grouped(report->not_compared_count).text);
    }
    if (report->slower) {
        put_notice("It is slower:", f);
        qp_text_put_markup(report->slower, f);
        (void)fputs(".\n", f);
    }
    if (report->problem_count == 0) return;
    put_notice("The gate has problems of its own,", f);
    qp_text_put_markup(report->gate ? report->gate : "", f);
    (void)fputs(":<ul class=notice>\n", f);
    for (int i = 0; i < report->problem_count; i++) {
        (void)fputs("<li>", f);
        qp_text_put_markup(report->problems[i], f);
        (void)fputc('\n', f);
    }
    (void)fputs("</ul>\n", f);
}

static void put_facts(const qp_report *report, FILE *f)
{
    static const struct {
        const char *attribute, *name;
    } of_golden[] = { { "device_name", "Golden’s device" },
                      { "torch_version", "PyTorch" },
                      { "transformers_version", "transformers" },
                      { "cublas_version", "cuBLAS" },
                      { "attn_implementation", "Attention" } };
    (void)fputs("<dl class=facts>\n", f);
    qp_html_put_fact("Model", report->model, f);
    qp_html_put_fact("Golden", report->golden.path, f);
    for (size_t i = 0; i < sizeof of_golden / sizeof *of_golden; i++)
        qp_html_put_fact(of_golden[i].name, qp_golden_fact(&report->golden, of_golden[i].attribute), f);
    qp_html_put_ours(&report->device, report->backend, report->plan, report->only, report->fault, f);
    qp_html_put_fact("Gate", report->gate, f);
    qp_html_put_environment(&report->environment, f);
    qp_html_put_fact("Took", qp_html_say_seconds(report->seconds).text, f);
    (void)fputs("</dl>\n", f);
}

/* Where no worst element can be shown: why there is none. */
static void put_nothing_differs(const qp_html_view *view, FILE *f)
{
    if (view->report->row_count == 0)
        (void)fputs("<p>There is no row: a filter matched nothing, or the golden holds none of what was asked for.\n",
                    f);
    else if (view->worst[QP_LOCAL] < 0 && view->worst[QP_CARRIED] < 0)
        (void)fprintf(f,
                      "<p>None of %s elements differs from the golden, neither on PyTorch’s inputs nor on our own "
                      "results.\n",
                      qp_say_grouped(view->report->summary.elements).text);
}

static void put_summary(const qp_html_view *view, FILE *f)
{
    const qp_report *report = view->report;
    const bool pass = report->summary.verdict == QP_VERDICT_PASS;
    const bool has_cards = view->start || view->worst[QP_LOCAL] >= 0 || view->worst[QP_CARRIED] >= 0;
    (void)fprintf(f, "<section id=summary><div class=\"hero %s\">\n", pass ? "pass" : "fail");
    qp_html_put_stamp(pass, pass ? "PASS" : "FAIL", f);
    (void)fputs("<h1>", f);
    put_headline(report, f);
    (void)fputs("</h1>\n", f);
    put_nothing_differs(view, f);
    (void)fputs("</div>\n", f);
    put_notices(report, f);
    put_tiles(view, f);
    (void)fputs("<div class=columns>\n", f);
    if (has_cards) (void)fputs("<div class=cards>\n", f);
    put_start(view, f);
    if (view->worst[QP_LOCAL] >= 0) put_row_card("Worst on PyTorch’s inputs", &report->rows[view->worst[QP_LOCAL]], f);
    if (view->worst[QP_CARRIED] >= 0)
        put_row_card("Worst on our own results", &report->rows[view->worst[QP_CARRIED]], f);
    if (has_cards) (void)fputs("</div>\n", f);
    (void)fputs("<div class=card><h3>Environment</h3>\n", f);
    put_facts(report, f);
    (void)fputs("</div></div></section>\n", f);
}

/* ---- What is not among the rows. ---- */

static void put_not_compared(const qp_report *report, FILE *f)
{
    if (report->not_compared_count == 0) return;
    (void)fputs("<section id=not-compared><h2>Not compared</h2>\n<div class=box><table class=figures><thead><tr>"
                "<th scope=col>tensor of the golden<th scope=col class=text>why<tbody>\n",
                f);
    for (int i = 0; i < report->not_compared_count && i < MOST_LISTED; i++) {
        (void)fputs("<tr><th scope=row>", f);
        qp_text_put_markup(report->not_compared[i].key, f);
        (void)fputs("<td class=text>", f);
        qp_text_put_markup(report->not_compared[i].why, f);
        (void)fputc('\n', f);
    }
    (void)fputs("</table></div>\n", f);
    if (report->not_compared_count > MOST_LISTED)
        (void)fprintf(f, "<p class=hint>… and %s more; the JSON report lists them all.\n",
                      qp_say_grouped(report->not_compared_count - MOST_LISTED).text);
    (void)fputs("</section>\n", f);
}

static void put_inside_fused(const qp_report *report, FILE *f)
{
    if (report->inside_fused_count == 0) return;
    (void)fputs("<section id=inside-fused><h2>Inside fused nodes</h2>\n<p class=hint>No memory holds these tensors, so "
                "there is nothing to compare. What is wrong there shows in the node’s outputs.\n"
                "<div class=box><table class=figures><thead><tr><th scope=col>boundary<th scope=col>tensors"
                "<th scope=col class=text>node<tbody>\n",
                f);
    for (int i = 0; i < report->inside_fused_count; i++) {
        (void)fputs("<tr><th scope=row>", f);
        qp_text_put_markup(report->inside_fused[i].boundary, f);
        (void)fprintf(f, "<td>%s<td class=text>", qp_say_grouped(report->inside_fused[i].tensors).text);
        qp_text_put_markup(report->inside_fused[i].node, f);
        (void)fputc('\n', f);
    }
    (void)fputs("</table></div></section>\n", f);
}

/* ---- The error along the depth: page.js draws it from the table. ---- */

static void put_depth(FILE *f)
{
    (void)fputs(
        "<section id=depth class=script><div class=head><h2>Error along the depth</h2>"
        "<div id=depth-controls class=controls></div></div>\n"
        "<p class=hint>Root mean square of each boundary’s error, in the order of the plan. fp64 is the same "
        "without rounding: of local rows this operation on PyTorch’s inputs, of carried ones the model up to here. One "
        "that is equal to PyTorch is at <b>0</b>.\n"
        "<div class=\"chart tall\"><canvas id=depth-chart role=img aria-label=\"error along the depth\"></canvas>"
        "</div></section>\n",
        f);
}

/* ---- The page. ---- */

static void put_title(const qp_report *report, const qp_bench_report *bench, FILE *f)
{
    (void)fputs("<title>", f);
    if (report) (void)fputs(report->summary.verdict == QP_VERDICT_PASS ? "PASS " : "FAIL ", f);
    qp_text_put_markup(report ? report->model : bench ? bench->model : "", f);
    (void)fputs(" – qwen3-parity</title>\n", f);
}

/* Before anything else, so that nothing moves: what needs scripts is shown. */
static const char first_script[] = "document.documentElement.className = \"js\"";

/* The hash of a script as a Content-Security-Policy names it: only these scripts run, whatever else is in the page. */
static qp_status put_script_hash(const char *script, FILE *f)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char hex[QP_SHA256_TEXT + 3] = "";
    QP_TRY(qp_sha256(script, strlen(script), hex));
    memcpy(hex + QP_SHA256_TEXT - 1, "00", 3); /* 32 bytes, and one to fill the last of the groups of three */
    (void)fputs(" 'sha256-", f);
    for (int i = 0; i < QP_SHA256_TEXT + 1; i += 6) {
        char group[7] = "";
        memcpy(group, hex + i, 6);
        const unsigned long bits = strtoul(group, NULL, 16);
        for (int shift = 18; shift >= 0; shift -= 6)
            (void)fputc(shift == 0 && i + 6 > QP_SHA256_TEXT ? '=' : digits[bits >> shift & 63], f);
    }
    (void)fputc('\'', f);
    return QP_OK;
}

static qp_status put_head(const qp_report *report, const qp_bench_report *bench, FILE *f)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n"
                "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; script-src",
                f);
    QP_TRY(put_script_hash(first_script, f));
    QP_TRY(put_script_hash(qp_chart_js, f));
    QP_TRY(put_script_hash(qp_page_js, f));
    (void)fprintf(f,
                  "; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
                  "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
                  "<link rel=icon href=\"data:,\">\n<script>%s</script>\n",
                  first_script);
    put_title(report, bench, f);
    (void)fprintf(f, "<style>\n%s</style>\n", qp_page_css);
    return QP_OK;
}

static void put_bar(const qp_report *report, const qp_bench_report *bench, FILE *f)
{
    (void)fputs(
        "<header class=bar><a class=brand href=#top>qwen3<b>-parity</b></a><nav aria-label=\"parts of this page\">", f);
    if (report && report->row_count > 0)
        (void)fputs("<a href=#map>Map</a><a href=#depth class=script>Depth</a><a href=#boundaries>Boundaries</a>"
                    "<a href=#rows>Rows</a>",
                    f);
    if (bench) (void)fputs("<a href=#timing>Timing</a>", f);
    (void)fputs("</nav><button id=theme class=script type=button>Dark</button></header>\n", f);
}

static void put_foot(FILE *f)
{
    (void)fputs("<footer><p>Written by qwen3-parity. Everything is in this file: it loads nothing. Charts are drawn by "
                "Chart.js, which is inside.\n<details><summary>Licence of Chart.js</summary><pre>",
                f);
    (void)fputs(qp_chart_licence, f);
    (void)fputs("</pre></details></footer>\n<!-- Chart.js, under the MIT licence that stands above -->\n<script>", f);
    (void)fputs(qp_chart_js, f);
    (void)fputs("</script>\n<script>", f);
    (void)fputs(qp_page_js, f);
    (void)fputs("</script>\n</html>\n", f);
}

/* What there is to see of rows, if there are any. */
static qp_status put_details(const qp_html_view *view, FILE *f)
{
    const bool any = view->report->row_count > 0;
    if (any) qp_html_put_map(view, f);
    if (any) put_depth(f);
    if (any) qp_html_put_boundaries(view, f);
    put_inside_fused(view->report, f);
    put_not_compared(view->report, f);
    return any ? qp_html_put_rows(view, f) : QP_OK;
}

static qp_status put_page(const qp_report *report, const qp_bench_report *bench, FILE *f)
{
    qp_html_view view = { 0 };
    qp_status status = QP_OK;
    if (report) QP_TRY(qp_html_view_open(report, &view));
    status = put_head(report, bench, f);
    (void)fputs("<body id=top>\n", f);
    put_bar(report, bench, f);
    (void)fputs("<main>\n", f);
    if (report) put_summary(&view, f);
    if (bench) qp_html_put_timing_summary(bench, report == NULL, f);
    if (report && status == QP_OK) status = put_details(&view, f);
    if (bench) qp_html_put_timing(bench, f);
    (void)fputs("</main>\n", f);
    put_foot(f);
    if (report) qp_html_view_close(&view);
    return status;
}

qp_status qp_write_html(const qp_report *report, const qp_bench_report *bench, const char *path)
{
    qp_report_file file;
    QP_TRY(qp_report_file_open(path, &file));
    return qp_report_file_close(&file, put_page(report, bench, file.stream));
}
