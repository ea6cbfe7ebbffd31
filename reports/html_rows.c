#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text_hash.h"
#include "figures.h"
#include "html_parts.h"
#include "names.h"
#include "text.h"

/* 45 bits: among 5,000 rows two have the same id once in 3 million reports. */
void qp_html_put_row_id(const qp_row *row, FILE *f)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    uint64_t hash = qp_text_hash_on(qp_text_hash_on(qp_text_hash(row->key), " "), qp_mode_name(row->mode)) >> 19;
    (void)fputc('r', f);
    for (int i = 0; i < 9; i++, hash >>= 5) (void)fputc(digits[hash % 32], f);
}

void qp_html_put_row_link(const qp_row *row, FILE *f)
{
    (void)fputs("<a href=#", f);
    qp_html_put_row_id(row, f);
    (void)fputc('>', f);
    qp_text_put_markup(row->key, f);
    (void)fputs("</a>", f);
}

/* ---- What many rows have in common. ---- */

/* A JSON array: the number of the boundary, operation, implementation, order, type, gate, axes. Equal ones are written
 * once, and rows refer to them. */
static qp_status add_kind(const qp_row *row, int boundary, qp_names *kinds, int *number)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    if (!f) return qp_fail(QP_NO_MEMORY, "no memory for the rows of a report");
    const char *const facts[] = { row->operation, row->implementation, row->order, qp_dtype_name(row->dtype),
                                  qp_gate_kind_name(row->gate) };
    (void)fprintf(f, "[%d", boundary);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        (void)fputc(',', f);
        qp_text_put_script_string(facts[i], f);
    }
    for (int i = 0; i < row->rank; i++) {
        (void)fputs(i ? "," : ",[", f);
        qp_text_put_script_string(row->axis[i] ? row->axis[i] : "axis", f);
    }
    (void)fputs(row->rank > 0 ? "]]" : ",[]]", f);
    const bool whole = fclose(f) == 0;
    const qp_status status =
        whole ? qp_names_add(kinds, text, number) : qp_fail(QP_NO_MEMORY, "no memory for the rows of a report");
    free(text);
    return status;
}

static void put_kinds(const qp_names *kinds, FILE *f)
{
    (void)fputs("<script type=application/json id=kinds>[", f);
    for (int i = 0; i < kinds->count; i++) (void)fprintf(f, "%s%s", i ? ",\n" : "\n", kinds->text[i]);
    (void)fputs("]</script>\n", f);
}

/* ---- The table. ---- */

static void put_shape(const qp_row *row, FILE *f)
{
    for (int i = 0; i < row->rank; i++) (void)fprintf(f, "%s%" PRId64, i ? "×" : "", row->dim[i]);
}

static qp_figure say_rms(const qp_error *error, int64_t elements)
{
    return qp_html_say_error(qp_error_rms(error, elements));
}

/* How many pairs each of the five errors leaves out as not finite; nothing if none does, as is the rule. */
static void put_left_out(const qp_row *row, FILE *f)
{
    const int64_t left_out[] = { row->ours_golden.nonfinite, row->ours_oracle.nonfinite, row->golden_oracle.nonfinite,
                                 row->has_origin ? row->came_in.nonfinite : 0,
                                 row->has_origin ? row->added.nonfinite : 0 };
    const size_t errors = sizeof left_out / sizeof *left_out;
    bool any = false;
    for (size_t i = 0; i < errors; i++) any |= left_out[i] != 0;
    for (size_t i = 0; any && i < errors; i++) (void)fprintf(f, "%s%" PRId64, i ? "," : " data-n=", left_out[i]);
}

static void put_row(const qp_row *row, int kind, FILE *f)
{
    static const char *const classes[] = { [QP_VERDICT_FAIL] = " class=f",
                                           [QP_VERDICT_UNTRUSTED] = " class=u",
                                           [QP_VERDICT_WAIVED] = " class=w",
                                           [QP_VERDICT_PASS] = "" };
    const qp_comparison *c = &row->comparison;
    (void)fputs("<tr id=", f);
    qp_html_put_row_id(row, f);
    (void)fprintf(f, " data-k=%d%s", kind, classes[row->verdict]);
    put_left_out(row, f);
    (void)fputs("><th>", f);
    qp_html_put_row_link(row, f);
    (void)fprintf(f, "<td>%s<td>%s<td>", qp_mode_name(row->mode), qp_verdict_name(row->verdict));
    put_shape(row, f);
    (void)fprintf(f, "<td>%s<td>%s<td>%s<td>%s<td>%s<td>", qp_say_grouped(c->mismatches).text,
                  qp_html_say_ulp(c->max_ulp).text, say_rms(&row->ours_golden, c->elements).text,
                  say_rms(&row->ours_oracle, c->elements).text, say_rms(&row->golden_oracle, c->elements).text);
    if (row->has_origin)
        (void)fprintf(f, "%s<td>%s", say_rms(&row->came_in, c->elements).text, say_rms(&row->added, c->elements).text);
    else
        (void)fputs("<td>", f);
    if (*row->reason || row->excuse) {
        (void)fputs("<td>", f);
        qp_text_put_markup(row->reason, f);
    }
    if (row->excuse) {
        (void)fputs(*row->reason ? "; excuse: " : "excuse: ", f);
        qp_text_put_markup(row->excuse, f);
    }
    (void)fputc('\n', f);
}

static void put_table_head(FILE *f)
{
    static const struct {
        const char *name, *what;
    } columns[] = { { "key", "prompt, pass and module path" },
                    { "mode", "local: on PyTorch’s own inputs; carried: on our own upstream results" },
                    { "verdict", "pass: every bit is equal, or within a bound of the gate" },
                    { "shape", "slowest axis first" },
                    { "differ", "elements with other bits" },
                    { "ulp", "the largest distance of a finite pair, in units of the last place" },
                    { "ours − golden", "root mean square" },
                    { "ours − fp64", "root mean square" },
                    { "golden − fp64", "root mean square" },
                    { "came in", "carried: what the inputs brought, root mean square" },
                    { "added", "carried: what this kernel adds on PyTorch’s inputs, root mean square" },
                    { "why", "why the row did not pass, or may differ" } };
    (void)fputs("<thead><tr>", f);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        (void)fprintf(f, "<th scope=col title=\"%s\">%s", columns[i].what, columns[i].name);
    (void)fputs("\n<tbody>\n", f);
}

/* ---- More of the rows that differ, one after the other. ---- */

/* A number of JSON, which knows no NaN and no infinity. */
static void put_number(double value, FILE *f)
{
    (void)fputs(isfinite(value) ? qp_html_say_error(value).text : "null", f);
}

/* "index golden ours fp64", the last three as bits in hexadecimal; those of fp64 are a double's. */
static void put_worst(const qp_row *row, FILE *f)
{
    (void)fputc('"', f);
    for (int i = 0; i < row->comparison.worst_count; i++) {
        const qp_worst *worst = &row->comparison.worst[i];
        uint64_t oracle = 0;
        memcpy(&oracle, &row->worst_oracle[i], sizeof oracle);
        (void)fprintf(f, "%s%" PRId64 " %" PRIx64 " %" PRIx64 " %" PRIx64, i ? ";" : "", worst->index, worst->want_bits,
                      worst->got_bits, oracle);
    }
    (void)fputc('"', f);
}

/* [histogram, worst elements, p99 in ulp, largest errors: ours - golden, ours - fp64, golden - fp64,
 *  signs of zeros, mismatches that came in, that were added] */
static void put_more(const qp_row *row, FILE *f)
{
    const qp_comparison *c = &row->comparison;
    (void)fputs("[[", f);
    for (int i = 0; i < QP_ULP_CLASSES; i++) (void)fprintf(f, "%s%" PRId64, i ? "," : "", c->histogram[i]);
    (void)fputs("],", f);
    put_worst(row, f);
    (void)fprintf(f, ",%.0f", isfinite(c->p99_ulp) ? c->p99_ulp : 0.0);
    const double errors[] = { row->ours_golden.max_abs, row->ours_oracle.max_abs, row->golden_oracle.max_abs };
    for (int i = 0; i < 3; i++) {
        (void)fputc(',', f);
        put_number(errors[i], f);
    }
    (void)fprintf(f, ",%" PRId64, c->signed_zeros);
    if (row->has_origin) (void)fprintf(f, ",%" PRId64 ",%" PRId64, row->came_in_mismatches, row->added_mismatches);
    (void)fputc(']', f);
}

static void put_all_more(const qp_report *report, FILE *f)
{
    bool first = true;
    (void)fputs("<script type=application/json id=more>[", f);
    for (int i = 0; i < report->row_count; i++) {
        if (report->rows[i].comparison.mismatches == 0) continue;
        (void)fputs(first ? "\n" : ",\n", f);
        put_more(&report->rows[i], f);
        first = false;
    }
    (void)fputs("]</script>\n<script type=application/json id=ulp-classes>[", f);
    for (int i = 0; i < QP_ULP_CLASSES; i++) {
        if (i) (void)fputc(',', f);
        qp_text_put_script_string(qp_ulp_class_names[i], f);
    }
    (void)fputs("]</script>\n", f);
}

/* ---- All of it. ---- */

static qp_status put_table(const qp_html_view *view, qp_names *kinds, FILE *f)
{
    const qp_report *report = view->report;
    (void)fputs("<div class=rows-box tabindex=0 role=region aria-label=\"table of all rows\"><table id=rows-table "
                "class=rows>\n",
                f);
    put_table_head(f);
    for (int i = 0; i < report->row_count; i++) {
        int kind = 0;
        QP_TRY(add_kind(&report->rows[i], view->pooled.of_row[i], kinds, &kind));
        put_row(&report->rows[i], kind, f);
    }
    (void)fputs("</table></div>\n", f);
    return QP_OK;
}

qp_status qp_html_put_rows(const qp_html_view *view, FILE *f)
{
    qp_names kinds = { 0 };
    (void)fputs("<section id=rows><h2>Every row</h2>\n"
                "<p class=hint>One tensor of one forward pass each, in the order of the plan. <b>local</b>: the kernel "
                "ran on PyTorch’s own inputs; <b>carried</b>: on our own upstream results, from the token ids on."
                "<span class=script> Choose a row to see its elements. <code>#</code> and a key at the end of this "
                "page’s address opens that row.</span>\n"
                "<div id=filter class=\"controls script\"></div>\n"
                "<div class=master><aside id=chosen class=script aria-label=\"the chosen row\"></aside>\n",
                f);
    const qp_status status = put_table(view, &kinds, f);
    (void)fputs("</div></section>\n", f);
    put_kinds(&kinds, f);
    put_all_more(view->report, f);
    qp_names_close(&kinds);
    return status;
}
