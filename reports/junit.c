#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "figures.h"
#include "file.h"
#include "reports.h"
#include "text.h"

/* Servers for continuous integration agree on no schema. This is what Jenkins' (junit-10.xsd) accepts, with the
 * attributes and in the order that Ant's asks for. A case has one result: <failure>, <error>, <skipped>, or none if it
 * passed. */

static void put_property(const char *name, const char *value, FILE *stream)
{
    if (!value) return;
    (void)fprintf(stream, "      <property name=\"%s\" value=\"", name);
    qp_text_put_markup(value, stream);
    (void)fputs("\"/>\n", stream);
}

static void put_properties(const qp_report *report, FILE *stream)
{
    const qp_golden_facts *golden = &report->golden;
    (void)fputs("    <properties>\n", stream);
    put_property("program_version", report->environment.program_version, stream);
    put_property("cpu", report->environment.cpu, stream);
    put_property("device", qp_device_in_words(&report->device).text, stream);
    put_property("backend", report->backend, stream);
    put_property("plan", report->plan, stream);
    put_property("model", report->model, stream);
    put_property("golden", golden->path, stream);
    put_property("golden_device", qp_golden_fact(golden, "device_name"), stream);
    put_property("torch_version", qp_golden_fact(golden, "torch_version"), stream);
    put_property("transformers_version", qp_golden_fact(golden, "transformers_version"), stream);
    put_property("only", report->only, stream);
    put_property("fault", report->fault, stream);
    put_property("gate", report->gate, stream);
    put_property("complete", report->complete ? "true" : "false", stream);
    put_property("verdict", qp_verdict_name(report->summary.verdict), stream);
    (void)fputs("    </properties>\n", stream);
}

/* ---- rows ---- */

/* Of both sides against fp64. */
static void put_errors(const qp_row *row, const char *separator, FILE *stream)
{
    const int64_t elements = row->comparison.elements;
    (void)fprintf(stream, "ours rms %.3g, largest %.3g%sPyTorch's rms %.3g, largest %.3g",
                  qp_error_rms(&row->ours_oracle, elements), row->ours_oracle.max_abs, separator,
                  qp_error_rms(&row->golden_oracle, elements), row->golden_oracle.max_abs);
}

/* In one line: what every row has to say, passed or not. */
static void put_numbers(const qp_row *row, FILE *stream)
{
    const qp_comparison *c = &row->comparison;
    (void)fprintf(stream,
                  "mismatches %" PRId64 " / %" PRId64
                  ", max abs %.9g, max ulp %.17g, p99 ulp %.17g; error against fp64: ",
                  c->mismatches, c->elements, c->max_abs, c->max_ulp, c->p99_ulp);
    put_errors(row, "; ", stream);
}

static void put_worst(const qp_row *row, FILE *stream)
{
    const qp_comparison *c = &row->comparison;
    for (int i = 0; i < c->worst_count; i++) {
        const qp_worst *w = &c->worst[i];
        (void)fputs(i ? "            " : "worst       ", stream);
        qp_put_position(row, w->index, qp_text_put_markup, stream);
        (void)fprintf(stream, ": golden %s (%s), ours %s (%s), fp64 %s\n", qp_say_element(w->want).text,
                      qp_say_bits(row->dtype, w->want_bits).text, qp_say_element(w->got).text,
                      qp_say_bits(row->dtype, w->got_bits).text, qp_say_element(row->worst_oracle[i]).text);
    }
}

static void put_part(const char *label, const qp_error *part, int64_t mismatches, int64_t elements, FILE *stream)
{
    (void)fprintf(stream, "%-11s rms %.3g, largest %.3g; %" PRId64 " elements differ\n", label,
                  qp_error_rms(part, elements), part->max_abs, mismatches);
}

static void put_shape(const qp_row *row, FILE *stream)
{
    (void)fprintf(stream, "tensor      %s", qp_dtype_name(row->dtype));
    for (int i = 0; i < row->rank; i++) {
        (void)fputs(i ? " x " : ", ", stream);
        qp_text_put_markup(row->axis[i] ? row->axis[i] : "axis", stream);
        (void)fprintf(stream, " %" PRId64, row->dim[i]);
    }
    (void)fputc('\n', stream);
}

/* The body of a failure, which servers show as it is. */
static void put_details(const qp_row *row, FILE *stream)
{
    (void)fputs("operation   ", stream);
    qp_text_put_markup(row->operation, stream);
    (void)fputs(", ", stream);
    qp_text_put_markup(row->implementation, stream);
    if (*row->order) {
        (void)fputs("\nsum         ", stream);
        qp_text_put_markup(row->order, stream);
    }
    (void)fputc('\n', stream);
    put_shape(row, stream);
    (void)fputs("fp64 error  ", stream);
    put_errors(row, "\n            ", stream);
    (void)fputc('\n', stream);
    if (row->has_origin) {
        put_part("came in", &row->came_in, row->came_in_mismatches, row->comparison.elements, stream);
        put_part("added here", &row->added, row->added_mismatches, row->comparison.elements, stream);
    }
    put_worst(row, stream);
}

static void put_result(const qp_row *row, FILE *stream)
{
    switch (row->verdict) {
    case QP_VERDICT_PASS:
        (void)fputs("      <system-out>", stream);
        if (row->comparison.mismatches > 0) {
            (void)fputs("within a bound: ", stream);
            qp_text_put_markup(row->excuse ? row->excuse : "", stream);
            (void)fputs("; ", stream);
        }
        put_numbers(row, stream);
        (void)fputs("</system-out>\n", stream);
        return;
    case QP_VERDICT_WAIVED:
        (void)fputs("      <skipped message=\"waived: ", stream);
        qp_text_put_markup(row->excuse ? row->excuse : "", stream);
        (void)fputs("; ", stream);
        break;
    default: (void)fprintf(stream, "      <failure type=\"%s\" message=\"", qp_verdict_name(row->verdict));
    }
    qp_text_put_markup(row->reason, stream);
    (void)fputs("; ", stream);
    put_numbers(row, stream);
    if (row->verdict == QP_VERDICT_WAIVED) {
        (void)fputs("\"/>\n", stream);
        return;
    }
    (void)fputs("\">", stream);
    put_details(row, stream);
    (void)fputs("</failure>\n", stream);
}

/* The plan belongs to the name of a class: servers compare runs case by case, and those of another plan are others. */
static void put_row(const qp_report *report, const qp_row *row, FILE *stream)
{
    (void)fputs("    <testcase classname=\"qwen3-parity.", stream);
    qp_text_put_markup(report->plan, stream);
    (void)fprintf(stream, ".%s\" name=\"", qp_mode_name(row->mode));
    qp_text_put_markup(row->key, stream);
    (void)fprintf(stream, " [%s]\" time=\"%.6f\">\n", qp_mode_name(row->mode), row->seconds);
    put_result(row, stream);
    (void)fputs("    </testcase>\n", stream);
}

/* ---- what is wrong beside the rows ---- */

/* A case that did not pass: `result` is "failure" or "error". */
static void put_problem(const char *class_name, const char *name, const char *result, const char *type,
                        const char *message, FILE *stream)
{
    (void)fprintf(stream, "    <testcase classname=\"qwen3-parity.%s\" name=\"", class_name);
    qp_text_put_markup(name, stream);
    (void)fprintf(stream, "\" time=\"0\">\n      <%s type=\"%s\" message=\"", result, type);
    qp_text_put_markup(message, stream);
    (void)fputs("\"/>\n    </testcase>\n", stream);
}

static void put_problems(const qp_report *report, FILE *stream)
{
    for (int i = 0; i < report->not_compared_count; i++)
        put_problem("not-compared", report->not_compared[i].key, "failure", "not compared", report->not_compared[i].why,
                    stream);
    for (int i = 0; i < report->problem_count; i++)
        put_problem("gate", report->problems[i], "failure", "gate", report->problems[i], stream);
    if (report->slower) put_problem("speed", "slower than the baseline", "failure", "slower", report->slower, stream);
    if (!report->complete)
        put_problem("run", "the run did not end", "error", "incomplete",
                    "the run did not end; these are the rows that it got to", stream);
    if (report->row_count == 0) /* a server shows a suite without cases as if all was well */
        put_problem("run", "nothing was compared", "error", "empty", "nothing was compared", stream);
}

/* ---- the suite ---- */

typedef struct counts {
    int64_t tests, failures, errors, skipped;
} counts;

static counts count(const qp_report *report)
{
    const qp_report_summary *s = &report->summary;
    const int64_t beside_rows = (int64_t)report->not_compared_count + report->problem_count + (report->slower != NULL);
    counts c = { .failures = s->failed + s->untrusted + beside_rows, .skipped = s->waived };
    c.errors = !report->complete + (report->row_count == 0);
    c.tests = s->rows + beside_rows + c.errors;
    return c;
}

/* The schemas want a time without a zone. What has another form than an environment's time is left out. */
static void put_timestamp(const char *time, FILE *stream)
{
    static const char form[] = "0000-00-00T00:00:00Z";
    if (strlen(time) != strlen(form)) return;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)time[i]) : time[i] != form[i]) return;
    (void)fprintf(stream, " timestamp=\"%.19s\"", time);
}

static void put_summary(const qp_report *report, FILE *stream)
{
    const qp_report_summary *s = &report->summary;
    (void)fprintf(stream,
                  "    <system-out>%s: %" PRId64 " rows, %" PRId64 " elements, %" PRId64 " failed, %" PRId64
                  " untrusted, %" PRId64 " waived; mismatches local %" PRId64 ", carried %" PRId64
                  "; golden tensors not compared %d, inside fused nodes %" PRId64 ", left out by --only %" PRId64
                  "</system-out>\n    <system-err></system-err>\n",
                  qp_verdict_name(s->verdict), s->rows, s->elements, s->failed, s->untrusted, s->waived,
                  s->local_mismatches, s->carried_mismatches, report->not_compared_count, qp_count_inside_fused(report),
                  report->left_out);
}

static void put_report(const qp_report *report, FILE *stream)
{
    const counts c = count(report);
    (void)fprintf(stream,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                  "<testsuites name=\"qwen3-parity\" tests=\"%" PRId64 "\" failures=\"%" PRId64 "\" errors=\"%" PRId64
                  "\" time=\"%.3f\">\n",
                  c.tests, c.failures, c.errors, report->seconds);
    /* The host's name is nobody's business; "localhost" is what the schema wants where it is not known. */
    (void)fprintf(stream,
                  "  <testsuite name=\"qwen3-parity verify\" id=\"0\" package=\"qwen3-parity\" tests=\"%" PRId64
                  "\" failures=\"%" PRId64 "\" errors=\"%" PRId64 "\" skipped=\"%" PRId64
                  "\" time=\"%.3f\" hostname=\"localhost\"",
                  c.tests, c.failures, c.errors, c.skipped, report->seconds);
    put_timestamp(report->environment.time, stream);
    (void)fputs(">\n", stream);
    put_properties(report, stream);
    for (int i = 0; i < report->row_count; i++) put_row(report, &report->rows[i], stream);
    put_problems(report, stream);
    put_summary(report, stream);
    (void)fputs("  </testsuite>\n</testsuites>\n", stream);
}

qp_status qp_report_write_junit(const qp_report *report, const char *path)
{
    qp_report_file file;
    QP_TRY(qp_report_file_open(path, &file));
    put_report(report, file.stream);
    return qp_report_file_close(&file, QP_OK);
}
