#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "boundaries.h"
#include "figures.h"
#include "file.h"
#include "reports.h"
#include "text.h"

/* GitHub cuts a step's summary at 1 MiB, and a merge request wants less than that: the lists end, and name the JSON. */
enum { MAX_LISTED = 20, MAX_BOUNDARIES = 100 };

static const char *verdict_word(qp_verdict verdict)
{
    return verdict == QP_VERDICT_FAIL ? "FAIL" : qp_verdict_name(verdict);
}

static void put_more(int64_t found, int64_t listed, const char *what, FILE *stream)
{
    if (found > listed)
        (void)fprintf(stream, "\nand %s more %s; `--json FILE` has all of them\n", qp_say_grouped(found - listed).text,
                      what);
}

/* ---- the verdict ---- */

/* ", 1,234 rows" */
static void put_count(const char *before, int64_t count, const char *behind, FILE *stream)
{
    (void)fprintf(stream, "%s%s%s", before, qp_say_grouped(count).text, behind);
}

static void put_verdict(const qp_report *report, FILE *stream)
{
    const qp_report_summary *s = &report->summary;
    const int64_t bad = s->failed + s->untrusted;
    const bool pass = s->verdict == QP_VERDICT_PASS;
    /* A white check mark, a snail, a red cross. */
    (void)fputs(!pass            ? "## \xE2\x9D\x8C FAIL"
                : report->slower ? "## \xF0\x9F\x90\x8C SLOWER"
                                 : "## \xE2\x9C\x85 PASS",
                stream);
    if (s->rows == 0)
        (void)fputs(": nothing was compared", stream);
    else if (bad)
        (void)fprintf(stream, ": %s of %s rows did not pass", qp_say_grouped(bad).text, qp_say_grouped(s->rows).text);
    else
        (void)fprintf(stream, ": %s of %s rows passed", qp_say_grouped(s->rows - s->waived).text,
                      qp_say_grouped(s->rows).text);
    if (s->waived) put_count(", waived: ", s->waived, "", stream);
    if (s->bounded) put_count(", different within a bound: ", s->bounded, "", stream);
    if (!report->complete) (void)fputs(", the run did not end", stream);
    if (report->not_compared_count)
        put_count(", golden tensors not compared: ", report->not_compared_count, "", stream);
    if (report->problem_count) put_count(", problems of the gate: ", report->problem_count, "", stream);
    (void)fputs("\n\n", stream);
    if (!report->slower) return;
    qp_text_put_markdown(report->slower, stream);
    (void)fputs("\n\n", stream);
}

/* ---- one line each: what ran, on what, and how much ---- */

static void put_code_after(const char *label, const char *text, FILE *stream)
{
    if (!text) return;
    (void)fputs(label, stream);
    qp_text_put_markdown_code(text, stream);
}

static void put_environment(const qp_report *report, FILE *stream)
{
    const qp_golden_facts *golden = &report->golden;
    put_code_after("ours ", qp_device_in_words(&report->device).text, stream);
    put_code_after(", backend ", report->backend, stream);
    put_code_after(", plan ", report->plan, stream);
    put_code_after(", only ", report->only, stream);
    put_code_after(", **with the planted fault** ", report->fault, stream);
    put_code_after("; golden ", golden->path, stream);
    put_code_after(" of ", qp_golden_fact(golden, "device_name"), stream);
    put_code_after(", PyTorch ", qp_golden_fact(golden, "torch_version"), stream);
    put_code_after("; model ", report->model, stream);
    put_code_after("; gate ", report->gate, stream);
    (void)fputs("\n\n", stream);
}

static void put_counts(const qp_report *report, FILE *stream)
{
    const qp_report_summary *s = &report->summary;
    put_count("", s->rows, " rows", stream);
    put_count(", ", s->exact_rows, " exact", stream);
    put_count(", ", s->failed, " failed", stream);
    put_count(", ", s->untrusted, " untrusted", stream);
    put_count(", ", s->waived, " waived", stream);
    put_count("; ", s->elements, " elements", stream);
    put_count(", mismatches: ", s->local_mismatches, " local", stream);
    put_count(", ", s->carried_mismatches, " carried", stream);
    put_count("; golden tensors: ", report->not_compared_count, " not compared", stream);
    put_count(", ", qp_count_inside_fused(report), " inside fused nodes", stream);
    put_count(", ", report->left_out, " left out by `--only`", stream);
    (void)fprintf(stream, "; %.1f s\n", report->seconds);
}

/* ---- where to begin ---- */

static void put_operation(const qp_row *row, FILE *stream)
{
    qp_text_put_markdown_code(row->operation, stream);
    (void)fputs(" / ", stream);
    qp_text_put_markdown_code(row->implementation, stream);
}

static void put_worst(const qp_row *row, FILE *stream)
{
    const qp_worst *w = &row->comparison.worst[0];
    if (row->comparison.worst_count == 0) return;
    (void)fputs("; worst at ", stream);
    qp_put_position(row, w->index, qp_text_put_markdown, stream);
    (void)fprintf(stream, ": golden %s (`%s`), ours %s (`%s`), fp64 %s", qp_say_element(w->want).text,
                  qp_say_bits(row->dtype, w->want_bits).text, qp_say_element(w->got).text,
                  qp_say_bits(row->dtype, w->got_bits).text, qp_say_element(row->worst_oracle[0]).text);
}

/* A local row ran on PyTorch's own inputs, so what differs there was made there. */
static void put_start(const qp_report *report, FILE *stream)
{
    const qp_row *row = qp_where_to_start(report);
    if (!row) return;
    const char *why = row->verdict == QP_VERDICT_UNTRUSTED ? "the first row whose golden shows too little"
                      : row->mode == QP_LOCAL
                          ? "the first kernel that differs on PyTorch's own inputs"
                          : "the first row that failed; no kernel alone did, on PyTorch's own inputs";
    (void)fprintf(stream, "\n**Start here**, %s: ", why);
    qp_text_put_markdown_code(row->key, stream);
    (void)fprintf(stream, " \\[%s\\], ", qp_mode_name(row->mode));
    put_operation(row, stream);
    (void)fputs(": ", stream);
    qp_text_put_markdown(row->reason, stream);
    put_worst(row, stream);
    (void)fputc('\n', stream);
}

/* ---- lists ---- */

static void put_row(const qp_row *row, FILE *stream)
{
    const qp_comparison *c = &row->comparison;
    (void)fputs("| ", stream);
    qp_text_put_markdown_code(row->key, stream);
    (void)fprintf(stream, " | %s | ", qp_mode_name(row->mode));
    put_operation(row, stream);
    (void)fprintf(stream, " | %s / %s | %s | %.3g | %s: ", qp_say_grouped(c->mismatches).text,
                  qp_say_grouped(c->elements).text, qp_say_ulp(c->max_ulp).text, c->max_abs,
                  verdict_word(row->verdict));
    qp_text_put_markdown(row->excuse && row->verdict == QP_VERDICT_WAIVED ? row->excuse : row->reason, stream);
    (void)fputs(" |\n", stream);
}

/* The rows that are waived, or those that did not pass and are not. */
static void put_rows(const qp_report *report, bool waived, FILE *stream)
{
    int64_t found = 0;
    (void)fputs("\n| key | mode | operation / implementation | differ | max ulp | max abs | verdict |\n"
                "|---|---|---|--:|--:|--:|---|\n",
                stream);
    for (int i = 0; i < report->row_count; i++) {
        const qp_row *row = &report->rows[i];
        if (row->verdict == QP_VERDICT_PASS || (row->verdict == QP_VERDICT_WAIVED) != waived) continue;
        if (found++ < MAX_LISTED) put_row(row, stream);
    }
    put_more(found, MAX_LISTED, waived ? "waived rows" : "rows that did not pass", stream);
}

static void put_gate_problems(const qp_report *report, FILE *stream)
{
    if (report->problem_count == 0) return;
    (void)fputs("\n**The gate**\n\n", stream);
    for (int i = 0; i < report->problem_count && i < MAX_LISTED; i++) {
        (void)fputs("- ", stream);
        qp_text_put_markdown_code(report->problems[i], stream);
        (void)fputc('\n', stream);
    }
    put_more(report->problem_count, MAX_LISTED, "problems", stream);
}

static void put_not_compared(const qp_report *report, FILE *stream)
{
    if (report->not_compared_count == 0) return;
    (void)fputs("\n**Not compared**\n\n", stream);
    for (int i = 0; i < report->not_compared_count && i < MAX_LISTED; i++) {
        (void)fputs("- ", stream);
        qp_text_put_markdown_code(report->not_compared[i].key, stream);
        (void)fputs(": ", stream);
        qp_text_put_markdown(report->not_compared[i].why, stream);
        (void)fputc('\n', stream);
    }
    put_more(report->not_compared_count, MAX_LISTED, "tensors", stream);
}

/* ---- folded away ---- */

static void put_waived(const qp_report *report, FILE *stream)
{
    if (report->summary.waived == 0) return;
    (void)fprintf(stream, "\n<details><summary>Waived rows: %s</summary>\n",
                  qp_say_grouped(report->summary.waived).text);
    put_rows(report, true, stream);
    (void)fputs("\n</details>\n", stream);
}

static void put_boundary(const qp_boundary *b, FILE *stream)
{
    const qp_boundary_figures f = qp_boundary_say(b);
    (void)fputs("| ", stream);
    qp_text_put_markdown_code(b->name, stream);
    (void)fprintf(stream, " | %" PRId64 " | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", b->rows, f.elements.text,
                  f.local_mismatches.text, f.local_ulp.text, f.ours.text, f.golden.text, f.carried_mismatches.text,
                  f.came_in.text, f.added.text, verdict_word(b->verdict));
}

static qp_status put_boundaries(const qp_report *report, FILE *stream)
{
    qp_boundaries boundaries;
    QP_TRY(qp_boundaries_of(report, &boundaries));
    if (boundaries.count)
        (void)fprintf(stream,
                      "\n<details><summary>All boundaries: %d</summary>\n\n"
                      "| boundary | rows | elements | local: differ | ulp | error of ours | of PyTorch's | "
                      "carried: differ | came in | added | verdict |\n"
                      "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
                      boundaries.count);
    for (int i = 0; i < boundaries.count && i < MAX_BOUNDARIES; i++) put_boundary(&boundaries.list[i], stream);
    put_more(boundaries.count, MAX_BOUNDARIES, "boundaries", stream);
    if (boundaries.count)
        (void)fputs("\nlocal: on PyTorch's inputs; carried: on ours. Errors are against fp64; came in, added: the two "
                    "parts of ours - golden; all as root mean square.\n\n</details>\n",
                    stream);
    qp_boundaries_free(&boundaries);
    return QP_OK;
}

/* ---- the page ---- */

static qp_status put_report(const qp_report *report, FILE *stream)
{
    put_verdict(report, stream);
    put_environment(report, stream);
    put_counts(report, stream);
    put_start(report, stream);
    if (report->summary.failed + report->summary.untrusted) put_rows(report, false, stream);
    put_gate_problems(report, stream);
    put_not_compared(report, stream);
    put_waived(report, stream);
    return put_boundaries(report, stream);
}

qp_status qp_report_write_markdown(const qp_report *report, const char *path)
{
    qp_report_file file;
    QP_TRY(qp_report_file_open(path, &file));
    return qp_report_file_close(&file, put_report(report, file.stream));
}

/* The page in memory. The caller frees *text, whatever is returned. */
static qp_status make_text(const qp_report *report, char **text)
{
    size_t bytes = 0;
    *text = NULL;
    FILE *stream = open_memstream(text, &bytes);
    if (!stream) return qp_fail(QP_NO_MEMORY, "not enough memory for the summary");
    const qp_status status = put_report(report, stream);
    const bool whole = !ferror(stream);
    if (fclose(stream) == 0 && whole && *text) return status;
    return qp_fail(QP_NO_MEMORY, "not enough memory for the summary");
}

static qp_status append(const char *text, const char *path)
{
    FILE *file = fopen(path, "a");
    bool written = false;
    if (file) {
        /* A heading needs an empty line before it, however the text before it ends. */
        const bool follows = fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0;
        written = fprintf(file, "%s%s", follows ? "\n\n" : "", text) >= 0;
        written = fclose(file) == 0 && written;
    }
    return written ? QP_OK
                   : qp_fail(QP_IO, "summary '%s' cannot be written: %s; choose another path", path, strerror(errno));
}

qp_status qp_report_append_markdown(const qp_report *report, const char *path)
{
    char *text;
    qp_status status = make_text(report, &text);
    if (status == QP_OK) status = append(text, path);
    free(text);
    return status;
}
