#include <inttypes.h>
#include <string.h>

#include "figures.h"
#include "file.h"
#include "page.h"
#include "reports.h"
#include "text.h"

enum { MAX_LISTED = 20 }; /* of each kind of change, and of times */

static const char *word_of(const qp_changes *c)
{
    switch (qp_changes_judge(c)) {
    case QP_CHANGES_NOTHING: return "NOTHING COMPARED";
    case QP_CHANGES_WORSE: return "WORSE";
    case QP_CHANGES_SLOWER: return "SLOWER";
    case QP_CHANGES_NOT_WORSE: break;
    }
    return "NOT WORSE";
}

static void say_counts(const qp_changes *c, FILE *stream)
{
    (void)fprintf(stream, "%" PRId64 " compared", c->compared);
    for (int kind = 0; kind < QP_CHANGE_KINDS; kind++)
        if (c->counts[kind])
            (void)fprintf(stream, ", %" PRId64 " %s", c->counts[kind], qp_change_kind_name((qp_change_kind)kind));
    if (c->added) (void)fprintf(stream, ", %" PRId64 " only in the new one", c->added);
    if (c->speed_count == 0) return;
    (void)fprintf(stream, "; %d times:", c->speed_count);
    for (int speed = 0, said = 0; speed < QP_SPEEDS; speed++)
        if (c->speed_counts[speed])
            (void)fprintf(stream, "%s %" PRId64 " %s", said++ ? "," : "", c->speed_counts[speed],
                          qp_speed_name((qp_speed)speed));
    (void)fprintf(stream, " (by more than %.3g times)", c->max_slow_down);
}

/* The time of now, if there is one. */
static qp_figure say_now(const qp_speed_change *s)
{
    return s->is.samples > 0 ? qp_say_seconds(s->is.median) : (qp_figure){ "no time" };
}

/* ---- a terminal ---- */

static colour colour_of(qp_change_kind kind)
{
    return kind == QP_CHANGE_NEW_FAILURE || kind == QP_CHANGE_GONE ? RED : kind == QP_CHANGE_CURED ? GREEN : YELLOW;
}

static void print_differences(const page *p, const qp_changes *c)
{
    if (c->difference_count == 0) return;
    (void)fputs(c->unfair ? "the runs cannot be compared fairly:\n" : "around the runs:\n", p->stream);
    for (int i = 0; i < c->difference_count; i++) {
        const qp_difference *d = &c->differences[i];
        const colour shade = d->unfair ? RED : DIM;
        (void)fprintf(p->stream, "  %s%-16s%s ", page_start(p, shade), d->what, page_stop(p, shade));
        page_put(p, d->was);
        (void)fputs(" -> ", p->stream);
        page_put(p, d->is);
        (void)fputc('\n', p->stream);
    }
    (void)fputc('\n', p->stream);
}

static void print_change(const page *p, const qp_change *change)
{
    const colour shade = colour_of(change->kind);
    (void)fprintf(p->stream, "%s%s%s  ", page_start(p, shade), qp_change_kind_name(change->kind), page_stop(p, shade));
    page_put(p, change->key);
    (void)fprintf(p->stream, "%s%s\n      was: ", *change->mode ? "  " : "", change->mode);
    page_put(p, change->was);
    (void)fputs("\n      is:  ", p->stream);
    page_put(p, change->is);
    (void)fputc('\n', p->stream);
}

static void print_changes(const page *p, const qp_changes *c)
{
    for (int i = 0, listed = 0; i < c->change_count; i++) {
        const qp_change_kind kind = c->changes[i].kind;
        if (i > 0 && c->changes[i - 1].kind != kind) listed = 0;
        if (listed++ < MAX_LISTED)
            print_change(p, &c->changes[i]);
        else if (listed == c->counts[kind])
            (void)fprintf(p->stream, "... and %" PRId64 " more: %s\n", c->counts[kind] - MAX_LISTED,
                          qp_change_kind_name(kind));
    }
    if (c->change_count > 0) (void)fputc('\n', p->stream);
}

static void print_speeds(const page *p, const qp_changes *c)
{
    int width = (int)strlen("key");
    if (c->speed_count == c->speed_counts[QP_SPEED_SAME]) return;
    for (int i = 0; i < c->speed_count; i++)
        if (c->speeds[i].speed != QP_SPEED_SAME && (int)strlen(c->speeds[i].key) > width)
            width = (int)strlen(c->speeds[i].key);
    (void)fprintf(p->stream, "%s%-*s %-9s %11s %11s %7s%s\n", page_start(p, DIM), width, "time", "", "was", "is",
                  "factor", page_stop(p, DIM));
    for (int i = 0; i < c->speed_count; i++) {
        const qp_speed_change *s = &c->speeds[i];
        const colour shade = s->speed == QP_SPEED_SLOWER ? RED : s->speed == QP_SPEED_FASTER ? GREEN : YELLOW;
        if (s->speed == QP_SPEED_SAME) continue;
        page_put_padded(p, s->key, width);
        (void)fprintf(p->stream, " %-9s %11s %11s %7.3f %s%s%s\n", s->protocol, qp_say_seconds(s->was.median).text,
                      say_now(s).text, s->factor, page_start(p, shade), qp_speed_name(s->speed), page_stop(p, shade));
    }
    (void)fputc('\n', p->stream);
}

void qp_changes_print(const qp_changes *changes, qp_terminal_style style, FILE *stream)
{
    const page p = { stream, style.color };
    const colour c = qp_changes_judge(changes) == QP_CHANGES_NOT_WORSE ? GREEN : RED;
    print_differences(&p, changes);
    print_changes(&p, changes);
    print_speeds(&p, changes);
    (void)fprintf(stream, "%s%s%s  ", page_start(&p, c), word_of(changes), page_stop(&p, c));
    say_counts(changes, stream);
    (void)fputc('\n', stream);
}

/* ---- Markdown ---- */

static void put_cell(const char *text, FILE *stream)
{
    (void)fputs("| ", stream);
    qp_text_put_markdown(text, stream);
    (void)fputc(' ', stream);
}

static void put_differences(const qp_changes *c, FILE *stream)
{
    if (c->difference_count == 0) return;
    (void)fprintf(stream, "%s\n\n| around the runs | was | is |\n|---|---|---|\n",
                  c->unfair ? "**The runs cannot be compared fairly.**" : "");
    for (int i = 0; i < c->difference_count; i++) {
        put_cell(c->differences[i].what, stream);
        put_cell(c->differences[i].was, stream);
        put_cell(c->differences[i].is, stream);
        (void)fputs("|\n", stream);
    }
    (void)fputc('\n', stream);
}

static void put_changes(const qp_changes *c, FILE *stream)
{
    if (c->change_count == 0) return;
    (void)fputs("| change | key | | was | is |\n|---|---|---|---|---|\n", stream);
    for (int i = 0, listed = 0; i < c->change_count; i++) {
        const qp_change *change = &c->changes[i];
        if (i > 0 && c->changes[i - 1].kind != change->kind) listed = 0;
        if (listed++ >= MAX_LISTED) continue;
        put_cell(qp_change_kind_name(change->kind), stream);
        put_cell(change->key, stream);
        put_cell(change->mode, stream);
        put_cell(change->was, stream);
        put_cell(change->is, stream);
        (void)fputs("|\n", stream);
    }
    (void)fprintf(stream, "\nAt most %d of each kind are listed.\n\n", MAX_LISTED);
}

static void put_speeds(const qp_changes *c, FILE *stream)
{
    int listed = 0;
    for (int i = 0; i < c->speed_count; i++) {
        const qp_speed_change *s = &c->speeds[i];
        if (s->speed == QP_SPEED_SAME || listed++ >= 5 * MAX_LISTED) continue;
        if (listed == 1) (void)fputs("| time | | was | is | factor | |\n|---|---|--:|--:|--:|---|\n", stream);
        put_cell(s->key, stream);
        put_cell(s->protocol, stream);
        (void)fprintf(stream, "| %s | %s | %.3f | %s |\n", qp_say_seconds(s->was.median).text, say_now(s).text,
                      s->factor, qp_speed_name(s->speed));
    }
    if (listed > 0) (void)fputc('\n', stream);
}

qp_status qp_changes_write_markdown(const qp_changes *changes, const char *path)
{
    qp_report_file file;
    QP_TRY(qp_report_file_open(path, &file));
    (void)fprintf(file.stream, "### qwen3-parity compare: %s\n\n", word_of(changes));
    say_counts(changes, file.stream);
    (void)fputs("\n\n", file.stream);
    put_differences(changes, file.stream);
    put_changes(changes, file.stream);
    put_speeds(changes, file.stream);
    return qp_report_file_close(&file, QP_OK);
}
