#include <inttypes.h>
#include <string.h>

#include "figures.h"
#include "html_parts.h"
#include "text.h"

/* ---- The map: a line for each boundary, a cell for each layer and kind of pass. ---- */

static const char *const pass_names[QP_PASSES] = { "prefill", "decode" };

/* How a cell looks: its class is the share of elements that differ, its letter the largest distance. page.js has the
 * same rule for the rows of one prompt. */
static int class_of(const qp_html_sum *sum)
{
    const double share = sum->elements > 0 ? (double)sum->mismatches / (double)sum->elements : 1.0;
    if (sum->mismatches > 0) return share < 0.001 ? 1 : share < 0.01 ? 2 : share < 0.1 ? 3 : 4;
    return sum->verdict == QP_VERDICT_PASS ? 0 : sum->verdict == QP_VERDICT_FAIL ? 4 : 5;
}

static char letter_of(const qp_html_sum *sum)
{
    if (sum->stray > 0) return 'N';
    if (sum->mismatches > 0) return sum->ulp >= 8.0 ? '8' : sum->ulp >= 4.0 ? '4' : sum->ulp >= 2.0 ? '2' : '1';
    return sum->verdict == QP_VERDICT_PASS ? '0' : sum->verdict == QP_VERDICT_FAIL ? '!' : '?';
}

/* Of one layer, or over all of them. Exact cells are the rule, and as short as can be. */
static void put_cell(const qp_html_view *view, const qp_html_sum *sum, int span, FILE *f)
{
    (void)fputs("<td", f);
    if (span > 1) (void)fprintf(f, " colspan=%d", span);
    if (sum->rows == 0) {
        (void)fputc('>', f);
        return;
    }
    (void)fprintf(f, " class=m%d", class_of(sum));
    if (sum->first < 0) {
        (void)fprintf(f, ">%c", letter_of(sum));
        return;
    }
    (void)fputs("><a href=#", f);
    qp_html_put_row_id(&view->report->rows[sum->first], f);
    (void)fprintf(f, ">%c</a>", letter_of(sum));
}

/* Between the two kinds of passes. */
static void put_gap(const qp_html_view *view, int pass, FILE *f)
{
    if (pass > 0 && view->has_pass[pass - 1]) (void)fputs("<td class=gap>", f);
}

static void put_map_line(const qp_html_view *view, int boundary, qp_mode mode, FILE *f)
{
    const qp_html_boundary *b = &view->boundaries[boundary];
    (void)fputs("<tr><th scope=row>", f);
    qp_text_put_markup(view->pooled.list[boundary].name, f);
    for (int pass = 0; pass < QP_PASSES; pass++) {
        if (!view->has_pass[pass]) continue;
        put_gap(view, pass, f);
        const int span = b->in_layers ? 1 : view->layers;
        for (int layer = 0; layer < view->layers; layer += span)
            put_cell(view, qp_html_cell(view, boundary, mode, (qp_pass)pass, layer), span, f);
    }
    (void)fputc('\n', f);
}

/* Every layer's number where they are few, each fourth where there is less room. */
static void put_layer_numbers(const qp_html_view *view, FILE *f)
{
    const int step = view->layers > 12 ? 4 : 1;
    (void)fputs("<tr><td>layer", f);
    for (int pass = 0; pass < QP_PASSES; pass++) {
        if (!view->has_pass[pass]) continue;
        put_gap(view, pass, f);
        for (int layer = 0; layer < view->layers; layer += step) {
            const int span = view->layers - layer < step ? view->layers - layer : step;
            (void)fprintf(f, "<th scope=col colspan=%d>%d", span, layer);
        }
    }
    (void)fputc('\n', f);
}

static void put_map_of(const qp_html_view *view, qp_mode mode, FILE *f)
{
    static const char *const titles[] = {
        [QP_LOCAL] = "Local: on PyTorch’s inputs", [QP_CARRIED] = "Carried: on our own results"
    };
    bool any = false;
    for (int i = 0; i < view->pooled.count; i++) any |= view->boundaries[i].sum[mode].rows > 0;
    if (!any) return;
    (void)fprintf(f,
                  "<div class=box tabindex=0 role=region aria-label=\"map, %s\"><table class=map data-mode=%s>"
                  "<caption>%s</caption><thead><tr><td>",
                  qp_mode_name(mode), qp_mode_name(mode), titles[mode]);
    for (int pass = 0; pass < QP_PASSES; pass++) {
        if (!view->has_pass[pass]) continue;
        put_gap(view, pass, f);
        (void)fprintf(f, "<th scope=colgroup colspan=%d>%s", view->layers, pass_names[pass]);
    }
    (void)fputc('\n', f);
    put_layer_numbers(view, f);
    (void)fputs("<tbody>\n", f);
    for (int i = 0; i < view->pooled.count; i++) put_map_line(view, i, mode, f);
    (void)fputs("</table></div>\n", f);
}

static void put_legend(FILE *f)
{
    (void)fputs("<div class=legend><p>Colour, the elements with other bits: "
                "<span class=m0>none</span> <span class=m1>&lt; 0.1 %</span> <span class=m2>&lt; 1 %</span> "
                "<span class=m3>&lt; 10 %</span> <span class=m4>more</span>\n"
                "<p>Letter, the largest distance in ulp: <b>0</b> every bit equal, <b>1</b> one, <b>2</b> to 3, "
                "<b>4</b> to 7, <b>8</b> or more, <b>N</b> a NaN or an infinity out of place, <b>!</b> a failure "
                "without a difference, <b>?</b> equal, but untrusted</div>\n",
                f);
}

void qp_html_put_map(const qp_html_view *view, FILE *f)
{
    (void)fputs("<section id=map><div class=head><h2>The model at a glance</h2>"
                "<div id=map-controls class=\"controls script\"></div></div>\n",
                f);
    if (view->layers == 0) {
        (void)fputs("<p class=hint>These rows are no model’s layers, so there is no map of them.</section>\n", f);
        return;
    }
    put_legend(f);
    (void)fprintf(f, "<div class=\"maps%s\">\n", view->layers > 12 ? " wide" : "");
    put_map_of(view, QP_LOCAL, f);
    put_map_of(view, QP_CARRIED, f);
    (void)fputs("</div></section>\n", f);
}

/* ---- A line of figures for each boundary. ---- */

/* There is room for whole counts here. */
static void put_count(int64_t count, bool any, FILE *f)
{
    (void)fprintf(f, "<td>%s", any ? qp_say_grouped(count).text : "-");
}

static void put_boundary(const qp_boundary *boundary, const qp_row *row, FILE *f)
{
    const qp_boundary_figures figures = qp_boundary_say(boundary);
    const bool local = boundary->local_rows > 0;
    (void)fputs("<tr><th scope=row>", f);
    qp_text_put_markup(boundary->name, f);
    (void)fputs("<td class=text>", f);
    qp_html_put_verdict(boundary->verdict, f);
    (void)fputs("<td class=text>", f);
    qp_text_put_markup(row->operation, f);
    (void)fputs("<td class=text>", f);
    qp_text_put_markup(row->implementation, f);
    put_count(boundary->rows, true, f);
    put_count(boundary->elements, true, f);
    put_count(boundary->local_mismatches, local, f);
    (void)fprintf(f, "<td>%s<td>%s<td>%s", local ? qp_html_say_ulp(boundary->local_ulp).text : "-", figures.ours.text,
                  figures.golden.text);
    put_count(boundary->carried_mismatches, boundary->carried_rows > 0, f);
    (void)fprintf(f, "<td>%s<td>%s\n", figures.came_in.text, figures.added.text);
}

void qp_html_put_boundaries(const qp_html_view *view, FILE *f)
{
    (void)fputs(
        "<section id=boundaries><h2>Boundaries</h2>\n"
        "<p class=hint>All layers, prompts and passes together. Counts are added up, <b>ulp</b> is the largest, "
        "errors are pooled root mean squares. <b>ours</b> and <b>PyTorch</b>: the distance of either result from "
        "fp64; <b>came in</b> and <b>added</b>: the two parts of a carried difference.\n"
        "<div class=box tabindex=0 role=region aria-label=\"table of boundaries\"><table class=figures>"
        "<thead><tr><td colspan=6><th colspan=4 scope=colgroup>local, on PyTorch’s inputs"
        "<th colspan=3 scope=colgroup>carried, on ours\n"
        "<tr><th scope=col>boundary<th scope=col class=text>verdict<th scope=col class=text>operation<th scope=col "
        "class=text>kernel"
        "<th scope=col>rows<th scope=col>elements"
        "<th scope=col>differ<th scope=col>ulp<th scope=col>ours<th scope=col>PyTorch"
        "<th scope=col>differ<th scope=col>came in<th scope=col>added\n<tbody>\n",
        f);
    for (int i = 0; i < view->pooled.count; i++) put_boundary(&view->pooled.list[i], view->boundaries[i].row, f);
    (void)fputs("</table></div></section>\n", f);
}
