#include <inttypes.h>
#include <string.h>

#include "boundaries.h"
#include "figures.h"
#include "page.h"
#include "reports.h"

enum { MAX_LISTED = 20 }; /* rows that did not pass, and tensors not compared: the JSON has all of them */

static const char *mark_of(qp_verdict verdict, colour *c)
{
    switch (verdict) {
    case QP_VERDICT_PASS: *c = GREEN; return "pass";
    case QP_VERDICT_UNTRUSTED: *c = YELLOW; return "untrusted";
    case QP_VERDICT_WAIVED: *c = YELLOW; return "waived";
    case QP_VERDICT_FAIL: break;
    }
    *c = RED;
    return "FAIL";
}

/* ---- one line a boundary ---- */

static void print_boundary(const page *p, const qp_boundary *b, int width)
{
    colour c;
    const char *mark = mark_of(b->verdict, &c);
    const qp_boundary_figures f = qp_boundary_say(b);
    page_put_padded(p, b->name, width);
    (void)fprintf(p->stream, " %5" PRId64 " %6s %6s %5s %7s %7s %6s %7s %7s %s%s%s\n", b->rows, f.elements.text,
                  f.local_mismatches.text, f.local_ulp.text, f.ours.text, f.golden.text, f.carried_mismatches.text,
                  f.came_in.text, f.added.text, page_start(p, c), mark, page_stop(p, c));
}

static void print_boundaries(const page *p, const qp_report *report)
{
    qp_boundaries boundaries;
    int width = (int)strlen("boundary");
    if (qp_boundaries_of(report, &boundaries) != QP_OK) {
        (void)fprintf(p->stream, "(%s)\n", qp_last_error());
        return;
    }
    for (int i = 0; i < boundaries.count; i++) {
        const int length = (int)strlen(boundaries.list[i].name);
        if (length > width) width = length;
    }
    (void)fprintf(p->stream, "%s%-*s %5s %6s - local, on PyTorch's inputs - -- carried, on ours --%s\n",
                  page_start(p, DIM), width, "", "", "", page_stop(p, DIM));
    (void)fprintf(p->stream, "%s%-*s %5s %6s %6s %5s %7s %7s %6s %7s %7s %s%s\n", page_start(p, DIM), width, "boundary",
                  "rows", "elem", "differ", "ulp", "ours", "PyTorch", "differ", "came in", "added", "verdict",
                  page_stop(p, DIM));
    for (int i = 0; i < boundaries.count; i++) print_boundary(p, &boundaries.list[i], width);
    (void)fprintf(p->stream,
                  "%sours, PyTorch: error against fp64; came in, added: the two parts of ours - golden; "
                  "all as root mean square%s\n",
                  page_start(p, DIM), page_stop(p, DIM));
    qp_boundaries_free(&boundaries);
}

/* ---- one line a row ---- */

static void print_rows(const page *p, const qp_report *report)
{
    int width = (int)strlen("key");
    for (int i = 0; i < report->row_count; i++) {
        const int length = (int)strlen(report->rows[i].key);
        if (length > width) width = length;
    }
    (void)fprintf(p->stream, "%s%-*s %-7s %6s %6s %5s %7s %7s %s%s\n", page_start(p, DIM), width, "key", "mode", "elem",
                  "differ", "ulp", "ours", "PyTorch", "verdict", page_stop(p, DIM));
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        colour c;
        const char *mark = mark_of(row->verdict, &c);
        page_put_padded(p, row->key, width);
        (void)fprintf(p->stream, " %-7s %6s %6s %5s %7s %7s %s%s%s\n", qp_mode_name(row->mode),
                      qp_say_count(row->comparison.elements).text, qp_say_count(row->comparison.mismatches).text,
                      qp_say_ulp(row->comparison.max_ulp).text,
                      qp_say_error(qp_error_rms(&row->ours_oracle, row->comparison.elements)).text,
                      qp_say_error(qp_error_rms(&row->golden_oracle, row->comparison.elements)).text, page_start(p, c),
                      mark, page_stop(p, c));
    }
}

/* ---- what did not pass, what was not compared ---- */

static void put_plain(const char *text, FILE *stream) { (void)qp_text_put_plain(text, stream); }

static void print_worst(const page *p, const qp_row *row)
{
    const qp_worst *worst = &row->comparison.worst[0];
    if (row->comparison.worst_count == 0) return;
    (void)fputs("\n      worst at (", p->stream);
    qp_put_position(row, worst->index, put_plain, p->stream);
    (void)fprintf(p->stream, "): golden %s, ours %s", qp_say_element(worst->want).text,
                  qp_say_element(worst->got).text);
}

static void print_not_passed(const page *p, const qp_report *report)
{
    int64_t found = 0;
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        colour c;
        if (row->verdict == QP_VERDICT_PASS) continue;
        if (found++ >= MAX_LISTED) continue;
        if (found == 1) (void)fputc('\n', p->stream);
        const char *mark = mark_of(row->verdict, &c);
        (void)fprintf(p->stream, "%s%s%s  ", page_start(p, c), mark, page_stop(p, c));
        page_put(p, row->key);
        (void)fprintf(p->stream, "  %s  (", qp_mode_name(row->mode));
        page_put(p, row->operation);
        (void)fputs(", ", p->stream);
        page_put(p, row->implementation);
        (void)fputs(")\n      ", p->stream);
        page_put(p, row->reason);
        if (row->excuse) {
            (void)fputs(row->verdict == QP_VERDICT_WAIVED ? "\n      waived: " : "\n      bounded: ", p->stream);
            page_put(p, row->excuse);
        }
        print_worst(p, row);
        (void)fputc('\n', p->stream);
    }
    if (found > MAX_LISTED)
        (void)fprintf(p->stream, "... and %" PRId64 " more rows that did not pass; --json FILE lists them all\n",
                      found - MAX_LISTED);
}

static void print_inside_fused(const page *p, const qp_report *report)
{
    int width = 0;
    if (report->inside_fused_count == 0) return;
    (void)fprintf(p->stream, "\n%sinside fused nodes%s: %s tensors of the golden\n", page_start(p, DIM),
                  page_stop(p, DIM), qp_say_grouped(qp_count_inside_fused(report)).text);
    for (int i = 0; i < report->inside_fused_count; i++) {
        const int length = (int)strlen(report->inside_fused[i].boundary);
        if (length > width) width = length;
    }
    for (int i = 0; i < report->inside_fused_count; i++) {
        (void)fputs("      ", p->stream);
        page_put_padded(p, report->inside_fused[i].boundary, width);
        (void)fprintf(p->stream, " %5" PRId64 "  ", report->inside_fused[i].tensors);
        page_put(p, report->inside_fused[i].node);
        (void)fputc('\n', p->stream);
    }
}

static void print_not_compared(const page *p, const qp_report *report)
{
    if (report->left_out)
        (void)fprintf(p->stream, "\n%sleft out by --only%s: %" PRId64 " tensors of the golden\n", page_start(p, DIM),
                      page_stop(p, DIM), report->left_out);
    if (report->not_compared_count == 0) return;
    (void)fprintf(p->stream, "\n%snot compared%s: %d tensors of the golden\n", page_start(p, RED), page_stop(p, RED),
                  report->not_compared_count);
    for (int i = 0; i < report->not_compared_count && i < MAX_LISTED; i++) {
        (void)fputs("      ", p->stream);
        page_put(p, report->not_compared[i].key);
        (void)fputs(": ", p->stream);
        page_put(p, report->not_compared[i].why);
        (void)fputc('\n', p->stream);
    }
    if (report->not_compared_count > MAX_LISTED)
        (void)fprintf(p->stream, "... and %d more; --json FILE lists them all\n",
                      report->not_compared_count - MAX_LISTED);
}

/* ---- the page ---- */

/* ", label value" if the golden has the attribute. */
static void put_attribute(const page *p, const qp_golden_facts *golden, const char *name, const char *label)
{
    const char *value = qp_golden_fact(golden, name);
    if (!value || !*value) return;
    (void)fprintf(p->stream, ", %s", label);
    page_put(p, value);
}

static void print_header(const page *p, const qp_report *report)
{
    const qp_golden_facts *golden = &report->golden;
    (void)fputs("model   ", p->stream);
    page_put(p, report->model);
    (void)fputs("\ngolden  ", p->stream);
    page_put(p, golden->path);
    put_attribute(p, golden, "device_name", "");
    put_attribute(p, golden, "torch_version", "PyTorch ");
    put_attribute(p, golden, "transformers_version", "transformers ");
    put_attribute(p, golden, "attn_implementation", "attention ");
    (void)fputs("\nours    ", p->stream);
    page_put_ours(p, &report->device, report->backend, report->plan, report->only, report->fault);
    (void)fputc('\n', p->stream);
}

static void print_problems(const page *p, const qp_report *report)
{
    if (!report->complete)
        (void)fprintf(p->stream, "\n%sthe run did not end%s\n", page_start(p, RED), page_stop(p, RED));
    if (report->problem_count == 0) return;
    (void)fprintf(p->stream, "\n%sthe gate%s ", page_start(p, RED), page_stop(p, RED));
    page_put(p, report->gate);
    (void)fputc('\n', p->stream);
    for (int i = 0; i < report->problem_count; i++) {
        (void)fputs("      ", p->stream);
        page_put(p, report->problems[i]);
        (void)fputc('\n', p->stream);
    }
}

static void print_summary(const page *p, const qp_report *report)
{
    const qp_report_summary *s = &report->summary;
    const bool pass = s->verdict == QP_VERDICT_PASS;
    const colour c = pass ? GREEN : RED;
    (void)fprintf(p->stream, "\n%s%s%s  %" PRId64 " rows, %s elements, %" PRId64 " failed", page_start(p, c),
                  pass ? "PASS" : "FAIL", page_stop(p, c), s->rows, qp_say_grouped(s->elements).text, s->failed);
    if (s->untrusted) (void)fprintf(p->stream, ", %" PRId64 " untrusted", s->untrusted);
    if (s->waived) (void)fprintf(p->stream, ", %" PRId64 " waived", s->waived);
    if (s->bounded) (void)fprintf(p->stream, ", %" PRId64 " differ within a bound", s->bounded);
    if (report->not_compared_count) (void)fprintf(p->stream, ", %d not compared", report->not_compared_count);
    if (report->inside_fused_count)
        (void)fprintf(p->stream, ", %s inside fused nodes", qp_say_grouped(qp_count_inside_fused(report)).text);
    (void)fprintf(p->stream, "; local mismatches %s, carried mismatches %s; %.1f s\n",
                  qp_say_grouped(s->local_mismatches).text, qp_say_grouped(s->carried_mismatches).text,
                  report->seconds);
}

void qp_report_print(const qp_report *report, qp_terminal_style style, FILE *stream)
{
    const page p = { stream, style.color };
    print_header(&p, report);
    if (report->row_count == 0)
        (void)fputs("nothing was compared\n", stream);
    else if (style.every_row)
        print_rows(&p, report);
    else
        print_boundaries(&p, report);
    print_not_passed(&p, report);
    print_inside_fused(&p, report);
    print_not_compared(&p, report);
    print_problems(&p, report);
    print_summary(&p, report);
}
