#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "reports.h"

enum { MAX_LISTED = 20 }; /* rows that did not pass, and tensors not compared: the JSON has all of them */

/* A count in at most 6 characters: "98765", "1.23M". */
typedef struct count_text {
    char text[24];
} count_text;

static count_text say_count(int64_t count)
{
    static const char units[] = "MGTPE";
    count_text c;
    if (count < 1000000) {
        (void)snprintf(c.text, sizeof c.text, "%" PRId64, count);
        return c;
    }
    double scaled = (double)count / 1e6;
    size_t unit = 0;
    while (scaled >= 999.5 && units[unit + 1]) {
        scaled /= 1000.0;
        unit++;
    }
    (void)snprintf(c.text, sizeof c.text, "%.*f%c", scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0, scaled, units[unit]);
    return c;
}

/* An error in 7 characters; a zero, the best there is, as "0". */
static count_text say_error(double error)
{
    count_text c;
    if (error == 0.0)
        (void)snprintf(c.text, sizeof c.text, "0");
    else
        (void)snprintf(c.text, sizeof c.text, "%.1e", error);
    return c;
}

/* A distance in at most 5 characters. */
static count_text say_ulp(double ulp)
{
    count_text c;
    (void)snprintf(c.text, sizeof c.text, ulp < 1e5 ? "%.0f" : "%.0e", ulp);
    return c;
}

/* "12,345,678" */
static count_text say_grouped(int64_t count)
{
    char digits[24];
    count_text c;
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < sizeof c.text; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') c.text[at++] = ',';
        c.text[at++] = digits[i];
    }
    c.text[at] = '\0';
    return c;
}

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

/* Root-mean-square error over several tensors: each counts with its elements. */
typedef struct pooled {
    double squares, elements;
} pooled;

static void pool(pooled *sum, const qp_error *error, int64_t elements)
{
    const double counted = (double)(elements - error->nonfinite);
    if (!(counted > 0.0)) return;
    sum->squares += error->rms * error->rms * counted;
    sum->elements += counted;
}

static double pooled_rms(const pooled *sum) { return sum->elements > 0.0 ? sqrt(sum->squares / sum->elements) : 0.0; }

typedef struct group {
    char boundary[QP_NAME_MAX]; /* with `*` for its layer, as a filter on the command line takes it */
    int64_t rows, elements, local_mismatches, carried_mismatches;
    int local_rows, carried_rows, origin_rows;
    double local_ulp;
    pooled ours, golden, came_in, added;
    qp_verdict verdict; /* the worst */
} group;

static void add_row(group *g, const qp_row *row)
{
    const qp_comparison *c = &row->comparison;
    if (g->rows == 0 || row->verdict < g->verdict) g->verdict = row->verdict;
    g->rows++;
    g->elements += c->elements;
    if (row->mode == QP_LOCAL) {
        g->local_rows++;
        g->local_mismatches += c->mismatches;
        if (c->max_ulp > g->local_ulp) g->local_ulp = c->max_ulp;
        pool(&g->ours, &row->ours_oracle, c->elements);
        pool(&g->golden, &row->golden_oracle, c->elements);
    } else {
        g->carried_rows++;
        g->carried_mismatches += c->mismatches;
    }
    if (row->has_origin) {
        g->origin_rows++;
        pool(&g->came_in, &row->came_in, c->elements);
        pool(&g->added, &row->added, c->elements);
    }
}

static void print_group(const page *p, const group *g, int width)
{
    colour c;
    const char *mark = mark_of(g->verdict, &c);
    const bool local = g->local_rows > 0, carried = g->carried_rows > 0, origin = g->origin_rows > 0;
    (void)fprintf(p->stream, "%-*s %5" PRId64 " %6s %6s %5s %7s %7s %6s %7s %7s %s%s%s\n", width, g->boundary, g->rows,
                  say_count(g->elements).text, local ? say_count(g->local_mismatches).text : "-",
                  local ? say_ulp(g->local_ulp).text : "-", local ? say_error(pooled_rms(&g->ours)).text : "-",
                  local ? say_error(pooled_rms(&g->golden)).text : "-",
                  carried ? say_count(g->carried_mismatches).text : "-",
                  origin ? say_error(pooled_rms(&g->came_in)).text : "-",
                  origin ? say_error(pooled_rms(&g->added)).text : "-", page_start(p, c), mark, page_stop(p, c));
}

static void print_groups(const page *p, const qp_report *report)
{
    group *groups = NULL;
    int count = 0, width = (int)strlen("boundary");
    if (report->row_count > 0) groups = calloc((size_t)report->row_count, sizeof *groups);
    if (report->row_count > 0 && !groups) {
        (void)fprintf(p->stream, "(not enough memory for the table of boundaries)\n");
        return;
    }
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        char wanted[QP_NAME_MAX];
        int at = 0;
        qp_plan_name_of_all_layers(wanted, row->boundary, row->layer);
        while (at < count && strcmp(groups[at].boundary, wanted) != 0) at++;
        if (at == count) {
            memcpy(groups[count++].boundary, wanted, sizeof wanted);
            if ((int)strlen(wanted) > width) width = (int)strlen(wanted);
        }
        add_row(&groups[at], row);
    }
    (void)fprintf(p->stream, "%s%-*s %5s %6s - local, on PyTorch's inputs - -- carried, on ours --%s\n",
                  page_start(p, DIM), width, "", "", "", page_stop(p, DIM));
    (void)fprintf(p->stream, "%s%-*s %5s %6s %6s %5s %7s %7s %6s %7s %7s %s%s\n", page_start(p, DIM), width, "boundary",
                  "rows", "elem", "differ", "ulp", "ours", "PyTorch", "differ", "came in", "added", "verdict",
                  page_stop(p, DIM));
    for (int i = 0; i < count; i++) print_group(p, &groups[i], width);
    (void)fprintf(p->stream,
                  "%sours, PyTorch: error against fp64; came in, added: the two parts of ours - golden; "
                  "all as root mean square%s\n",
                  page_start(p, DIM), page_stop(p, DIM));
    free(groups);
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
        (void)fprintf(p->stream, "%-*s %-7s %6s %6s %5s %7s %7s %s%s%s\n", width, row->key, qp_mode_name(row->mode),
                      say_count(row->comparison.elements).text, say_count(row->comparison.mismatches).text,
                      say_ulp(row->comparison.max_ulp).text, say_error(row->ours_oracle.rms).text,
                      say_error(row->golden_oracle.rms).text, page_start(p, c), mark, page_stop(p, c));
    }
}

/* ---- what did not pass, what was not compared ---- */

static void print_worst(const page *p, const qp_row *row)
{
    int64_t position[QP_MAX_RANK];
    const qp_worst *worst = &row->comparison.worst[0];
    if (row->comparison.worst_count == 0) return;
    qp_row_position(row, worst->index, position);
    (void)fputs("\n      worst at (", p->stream);
    for (int i = 0; i < row->rank; i++)
        (void)fprintf(p->stream, "%s%s %" PRId64, i ? ", " : "", row->axis[i] ? row->axis[i] : "axis", position[i]);
    (void)fprintf(p->stream, "): golden %.9g, ours %.9g", worst->want, worst->got);
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
        (void)fprintf(p->stream, "%s%s%s  %s  %s  (%s, %s)\n      ", page_start(p, c), mark, page_stop(p, c), row->key,
                      qp_mode_name(row->mode), row->operation, row->implementation);
        page_put(p, row->reason);
        if (row->excuse) {
            (void)fputs("\n      waived: ", p->stream);
            page_put(p, row->excuse);
        }
        print_worst(p, row);
        (void)fputc('\n', p->stream);
    }
    if (found > MAX_LISTED)
        (void)fprintf(p->stream, "... and %" PRId64 " more rows that did not pass; --json FILE lists them all\n",
                      found - MAX_LISTED);
}

static int64_t count_inside_fused(const qp_report *report)
{
    int64_t tensors = 0;
    for (int i = 0; i < report->inside_fused_count; i++) tensors += report->inside_fused[i].tensors;
    return tensors;
}

static void print_inside_fused(const page *p, const qp_report *report)
{
    int width = 0;
    if (report->inside_fused_count == 0) return;
    (void)fprintf(p->stream, "\n%sinside fused nodes%s: %s tensors of the golden\n", page_start(p, DIM),
                  page_stop(p, DIM), say_grouped(count_inside_fused(report)).text);
    for (int i = 0; i < report->inside_fused_count; i++) {
        const int length = (int)strlen(report->inside_fused[i].boundary);
        if (length > width) width = length;
    }
    for (int i = 0; i < report->inside_fused_count; i++)
        (void)fprintf(p->stream, "      %-*s %5" PRId64 "  %s\n", width, report->inside_fused[i].boundary,
                      report->inside_fused[i].tensors, report->inside_fused[i].node);
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
        (void)fprintf(p->stream, "      %s: ", report->not_compared[i].key);
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
                  pass ? "PASS" : "FAIL", page_stop(p, c), s->rows, say_grouped(s->elements).text, s->failed);
    if (s->untrusted) (void)fprintf(p->stream, ", %" PRId64 " untrusted", s->untrusted);
    if (s->waived) (void)fprintf(p->stream, ", %" PRId64 " waived", s->waived);
    if (report->not_compared_count) (void)fprintf(p->stream, ", %d not compared", report->not_compared_count);
    if (report->inside_fused_count)
        (void)fprintf(p->stream, ", %s inside fused nodes", say_grouped(count_inside_fused(report)).text);
    (void)fprintf(p->stream, "; local mismatches %s, carried mismatches %s; %.1f s\n",
                  say_grouped(s->local_mismatches).text, say_grouped(s->carried_mismatches).text, report->seconds);
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
        print_groups(&p, report);
    print_not_passed(&p, report);
    print_inside_fused(&p, report);
    print_not_compared(&p, report);
    print_problems(&p, report);
    print_summary(&p, report);
}
