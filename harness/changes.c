#include "changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grown.h"

const char *qp_change_kind_name(qp_change_kind kind)
{
    switch (kind) {
    case QP_CHANGE_NEW_FAILURE: return "failing now";
    case QP_CHANGE_GONE: return "no longer compared";
    case QP_CHANGE_CURED: return "cured";
    case QP_CHANGE_JUDGED: return "judged otherwise";
    case QP_CHANGE_BITS: return "with other bits";
    case QP_CHANGE_ORDER: return "in another order";
    case QP_CHANGE_KINDS: break;
    }
    return "unknown change";
}

const char *qp_speed_name(qp_speed speed)
{
    switch (speed) {
    case QP_SPEED_SAME: return "same";
    case QP_SPEED_FASTER: return "faster";
    case QP_SPEED_SLOWER: return "slower";
    case QP_SPEED_AMBIGUOUS:
    case QP_SPEEDS: break;
    }
    return "ambiguous";
}

qp_changes_verdict qp_changes_judge(const qp_changes *changes)
{
    const int64_t *speeds = changes->speed_counts;
    const int64_t decided = speeds[QP_SPEED_SAME] + speeds[QP_SPEED_FASTER] + speeds[QP_SPEED_SLOWER];
    if (changes->counts[QP_CHANGE_NEW_FAILURE] > 0 || changes->counts[QP_CHANGE_GONE] > 0) return QP_CHANGES_WORSE;
    if (changes->compared == 0 || (changes->of_bench && decided == 0)) return QP_CHANGES_NOTHING;
    return speeds[QP_SPEED_SLOWER] > 0 ? QP_CHANGES_SLOWER : QP_CHANGES_NOT_WORSE;
}

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "no memory for what changed"); }

static qp_status add_difference(qp_changes *c, const char *what, bool unfair, const char *was, const char *is)
{
    if (!was) was = "none";
    if (!is) is = "none";
    if (!strcmp(was, is)) return QP_OK;
    qp_difference *list = qp_grown(c->differences, c->difference_count, sizeof *list);
    if (!list) return no_memory();
    c->differences = list;
    qp_difference *added = &list[c->difference_count++];
    *added = (qp_difference){ .what = what, .unfair = unfair };
    (void)snprintf(added->was, sizeof added->was, "%s", was);
    (void)snprintf(added->is, sizeof added->is, "%s", is);
    c->unfair = c->unfair || unfair;
    return QP_OK;
}

static qp_status add_change(qp_changes *c, qp_change_kind kind, int place, const char *key, const char *mode,
                            const char *was, const char *is)
{
    qp_change *list = qp_grown(c->changes, c->change_count, sizeof *list);
    if (!list) return no_memory();
    c->changes = list;
    qp_change *added = &list[c->change_count++];
    *added = (qp_change){ .kind = kind, .place = place, .mode = mode };
    (void)snprintf(added->key, sizeof added->key, "%s", key);
    (void)snprintf(added->was, sizeof added->was, "%s", was);
    (void)snprintf(added->is, sizeof added->is, "%s", is);
    c->counts[kind]++;
    return QP_OK;
}

static int by_kind_and_place(const void *left, const void *right)
{
    const qp_change *a = left, *b = right;
    return a->kind != b->kind ? (int)a->kind - (int)b->kind : a->place - b->place;
}

static void sort_changes(qp_changes *c)
{
    if (c->change_count > 0) qsort(c->changes, (size_t)c->change_count, sizeof *c->changes, by_kind_and_place);
}

/* ---- What is around the runs. ---- */

/* The environment of one run, of either kind. */
typedef struct around {
    const qp_environment *environment;
    const qp_device_facts *device;
    const qp_golden_facts *golden;
    const char *model, *backend, *plan, *fault, *only;
    bool complete;
} around;

static around around_of_verify(const qp_report *r)
{
    return (around){ &r->environment, &r->device, &r->golden, r->model,   r->backend,
                     r->plan,         r->fault,   r->only,    r->complete };
}

static around around_of_bench(const qp_bench_report *r)
{
    return (around){ &r->environment, &r->device, &r->golden, r->model,   r->backend,
                     r->plan,         r->fault,   r->only,    r->complete };
}

static qp_status compare_numbers(qp_changes *c, const char *what, bool unfair, int was, int is)
{
    char was_text[16], is_text[16];
    (void)snprintf(was_text, sizeof was_text, "%d", was);
    (void)snprintf(is_text, sizeof is_text, "%d", is);
    return add_difference(c, what, unfair, was_text, is_text);
}

/* `timed`: times are compared, so that the machine counts; otherwise the CPU's bits do not depend on it. */
static qp_status compare_around(qp_changes *c, const around *was, const around *is, bool timed)
{
    const bool on_card = strcmp(is->backend, "cuda") == 0 || strcmp(was->backend, "cuda") == 0;
    const qp_device_facts *old = was->device, *new = is->device;
    QP_TRY(add_difference(c, "backend", true, was->backend, is->backend));
    QP_TRY(add_difference(c, "device", on_card || timed, old->name, new->name));
    QP_TRY(compare_numbers(c, "CUDA driver", true, old->driver_version, new->driver_version));
    QP_TRY(compare_numbers(c, "CUDA runtime", true, old->runtime_version, new->runtime_version));
    QP_TRY(compare_numbers(c, "cuBLAS", true, old->cublas_version, new->cublas_version));
    QP_TRY(add_difference(c, "processor", timed && !on_card, was->environment->cpu, is->environment->cpu));
    QP_TRY(compare_numbers(c, "processors", timed && !on_card, was->environment->threads, is->environment->threads));
    QP_TRY(add_difference(c, "the run's end", true, was->complete ? "reached" : "not reached",
                          is->complete ? "reached" : "not reached"));
    QP_TRY(add_difference(c, "planted fault", true, was->fault, is->fault));
    QP_TRY(add_difference(c, "model", false, was->model, is->model));
    QP_TRY(add_difference(c, "golden's path", false, was->golden->path, is->golden->path));
    QP_TRY(add_difference(c, "plan", false, was->plan, is->plan));
    QP_TRY(add_difference(c, "filter", false, was->only, is->only));
    QP_TRY(add_difference(c, "program", false, was->environment->program_version, is->environment->program_version));
    QP_TRY(add_difference(c, "compiler", false, was->environment->compiler, is->environment->compiler));
    QP_TRY(add_difference(c, "compiler's flags", false, was->environment->flags, is->environment->flags));
    return add_difference(c, "system", false, was->environment->os, is->environment->os);
}

/* ---- verify ---- */

static int by_key(const void *left, const void *right)
{
    const qp_row *a = *(const qp_row *const *)left, *b = *(const qp_row *const *)right;
    const int key = strcmp(a->key, b->key);
    return key ? key : (int)a->mode - (int)b->mode;
}

static const qp_row **sorted_rows(const qp_report *report)
{
    const qp_row **rows = calloc((size_t)report->row_count + 1, sizeof *rows);
    for (int i = 0; rows && i < report->row_count; i++) rows[i] = &report->rows[i];
    if (rows) qsort(rows, (size_t)report->row_count, sizeof *rows, by_key);
    return rows;
}

static bool is_good(const qp_row *row) { return row->verdict == QP_VERDICT_PASS || row->verdict == QP_VERDICT_WAIVED; }

/* "pass"; "waived"; or the reason why not. */
static const char *say_row(const qp_row *row)
{
    return row->verdict != QP_VERDICT_WAIVED && *row->reason ? row->reason : qp_verdict_name(row->verdict);
}

static qp_status compare_rows(qp_changes *c, int place, const qp_row *was, const qp_row *is)
{
    const char *mode = qp_mode_name(is->mode);
    const bool was_good = is_good(was), good = is_good(is);
    c->compared++;
    if (is->verdict < was->verdict && !good)
        QP_TRY(add_change(c, QP_CHANGE_NEW_FAILURE, place, is->key, mode, say_row(was), say_row(is)));
    else if (good && !was_good)
        QP_TRY(add_change(c, QP_CHANGE_CURED, place, is->key, mode, say_row(was), say_row(is)));
    else if (is->verdict != was->verdict)
        QP_TRY(add_change(c, QP_CHANGE_JUDGED, place, is->key, mode, say_row(was), say_row(is)));
    else if (strcmp(was->ours_sha256, is->ours_sha256) != 0)
        QP_TRY(add_change(c, QP_CHANGE_BITS, place, is->key, mode, say_row(was), say_row(is)));
    if (!strcmp(was->operation, is->operation) && strcmp(was->order, is->order) != 0)
        QP_TRY(add_change(c, QP_CHANGE_ORDER, place, is->key, mode, was->order, is->order));
    return QP_OK;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

/* Walks the rows of both, which are sorted. */
static qp_status merge_rows(qp_changes *c, const qp_report *was, const qp_row *const *was_rows, const qp_report *is,
                            const qp_row *const *is_rows)
{
    const bool may_be_gone = strcmp(was->plan, is->plan) != 0 || !same_text(was->only, is->only);
    int64_t other_golden = 0;
    for (int i = 0, j = 0; i < was->row_count || j < is->row_count;) {
        const qp_row *old = was_rows[i], *new = is_rows[j]; /* NULL behind the last one */
        const int order = !old ? 1 : !new ? -1 : by_key(&old, &new);
        i += order <= 0;
        j += order >= 0;
        if (order > 0) c->added++;
        if (order < 0 && !may_be_gone)
            QP_TRY(add_change(c, QP_CHANGE_GONE, (int)(old - was->rows), old->key, qp_mode_name(old->mode),
                              say_row(old), "no row"));
        if (order != 0) continue;
        other_golden += strcmp(old->golden_sha256, new->golden_sha256) != 0;
        QP_TRY(compare_rows(c, (int)(new - is->rows), old, new));
    }
    if (other_golden == 0) return QP_OK;
    char text[64];
    (void)snprintf(text, sizeof text, "another one: %" PRId64 " of its tensors differ", other_golden);
    return add_difference(c, "golden", true, "", text);
}

/* What fails the new report as a whole, and no row. */
static qp_status compare_summaries(qp_changes *c, const qp_report *was, const qp_report *is)
{
    char text[160];
    const bool told = c->counts[QP_CHANGE_NEW_FAILURE] > 0 || c->counts[QP_CHANGE_GONE] > 0;
    if (told || was->summary.verdict != QP_VERDICT_PASS || is->summary.verdict == QP_VERDICT_PASS) return QP_OK;
    (void)snprintf(text, sizeof text,
                   "%d tensors not compared, %d problems of the gate, %" PRId64 " failed and %" PRId64
                   " untrusted rows%s",
                   is->not_compared_count, is->problem_count, is->summary.failed, is->summary.untrusted,
                   is->complete ? "" : ", and the run did not end");
    return add_change(c, QP_CHANGE_NEW_FAILURE, 0, "the whole report", "", "pass", text);
}

qp_status qp_changes_of_verify(const qp_report *was, const qp_report *is, qp_changes *changes)
{
    const around before = around_of_verify(was), after = around_of_verify(is);
    const qp_row **was_rows = sorted_rows(was), **is_rows = sorted_rows(is);
    *changes = (qp_changes){ 0 };
    qp_status status = was_rows && is_rows ? QP_OK : no_memory();
    if (status == QP_OK) status = compare_around(changes, &before, &after, false);
    if (status == QP_OK) status = merge_rows(changes, was, was_rows, is, is_rows);
    if (status == QP_OK) status = compare_summaries(changes, was, is);
    free(was_rows);
    free(is_rows);
    if (status != QP_OK)
        qp_changes_close(changes);
    else
        sort_changes(changes);
    return status;
}

/* ---- bench ---- */

qp_speed qp_speed_of(const qp_statistics *was, const qp_statistics *is, double max_slow_down)
{
    if (was->samples < QP_SPEED_LEAST || is->samples < 1) return QP_SPEED_AMBIGUOUS;
    if (is->median <= was->median * max_slow_down && was->median <= is->median * max_slow_down) return QP_SPEED_SAME;
    if (is->median > was->median && is->q1 > was->q3) return QP_SPEED_SLOWER;
    if (is->samples >= QP_SPEED_LEAST && is->median < was->median && is->q3 < was->q1) return QP_SPEED_FASTER;
    return QP_SPEED_AMBIGUOUS;
}

static qp_status add_speed(qp_changes *c, const char *key, const char *protocol, const qp_statistics *was,
                           const qp_statistics *is)
{
    if (was->samples == 0) return QP_OK; /* there was no time to compare with */
    qp_speed_change *list = qp_grown(c->speeds, c->speed_count, sizeof *list);
    if (!list) return no_memory();
    c->speeds = list;
    qp_speed_change *added = &list[c->speed_count++];
    *added = (qp_speed_change){ .protocol = protocol, .was = *was, .is = *is };
    (void)snprintf(added->key, sizeof added->key, "%s", key);
    added->factor = was->median > 0.0 ? is->median / was->median : 0.0;
    added->speed = qp_speed_of(was, is, c->max_slow_down);
    c->speed_counts[added->speed]++;
    return QP_OK;
}

/* What a row or a pass says of its comparison. */
typedef struct verified {
    const char *by; /* NULL: it is not verified */
    bool failed;
    const char *reason;
} verified;

static const char *say_verified(verified v) { return v.by ? "verified" : v.failed ? "failed" : "not verified"; }

/* Whether it is verified still. */
static qp_status compare_verified(qp_changes *c, int place, const char *key, verified was, verified is)
{
    c->compared++;
    if (is.failed && !was.failed)
        return add_change(c, QP_CHANGE_NEW_FAILURE, place, key, "", say_verified(was), is.reason);
    if (was.by && !is.by && !is.failed)
        return add_change(c, QP_CHANGE_GONE, place, key, "", say_verified(was), is.reason);
    if (is.by && !was.by) return add_change(c, QP_CHANGE_CURED, place, key, "", say_verified(was), say_verified(is));
    return QP_OK;
}

static const qp_bench_row *find_row(const qp_bench_report *report, const qp_bench_row *like)
{
    for (int i = 0; i < report->row_count; i++) {
        const qp_bench_row *row = &report->rows[i];
        if (!strcmp(row->key, like->key) && !strcmp(row->phase, like->phase) &&
            !memcmp(row->extent, like->extent, sizeof row->extent))
            return row;
    }
    return NULL;
}

typedef struct row_key {
    char text[QP_NAME_MAX + 16];
} row_key;

static row_key key_of(const qp_bench_row *row)
{
    row_key key;
    (void)snprintf(key.text, sizeof key.text, "%s/%s", row->phase, row->key);
    return key;
}

static verified verified_of(const qp_bench_row *row) { return (verified){ row->verified, row->failed, row->reason }; }

static qp_status compare_bench_row(qp_changes *c, int place, const qp_bench_row *was, const qp_bench_row *is)
{
    const row_key key = key_of(is);
    QP_TRY(compare_verified(c, place, key.text, verified_of(was), verified_of(is)));
    for (int i = 0; i < QP_PROTOCOLS; i++)
        QP_TRY(add_speed(c, key.text, qp_protocol_name((qp_protocol)i), &was->time[i].seconds, &is->time[i].seconds));
    return QP_OK;
}

static const qp_bench_step *find_step(const qp_bench_report *report, const qp_bench_step *like)
{
    for (int i = 0; i < report->step_count; i++) {
        const qp_bench_step *step = &report->steps[i];
        if (!strcmp(step->name, like->name) && step->tokens == like->tokens && step->context == like->context)
            return step;
    }
    return NULL;
}

static void name_step(const qp_bench_step *step, char key[QP_NAME_MAX])
{
    (void)snprintf(key, QP_NAME_MAX, "%s, %" PRId64 " token%s after %" PRId64, step->name, step->tokens,
                   step->tokens == 1 ? "" : "s", step->context);
}

/* Not by the host's clock: what it costs to launch differs more from run to run than a kernel does from its next version. */
static qp_status compare_step(qp_changes *c, int place, const qp_bench_step *was, const qp_bench_step *is)
{
    char key[QP_NAME_MAX];
    name_step(is, key);
    QP_TRY(compare_verified(c, place, key, (verified){ was->verified, was->failed, was->reason },
                            (verified){ is->verified, is->failed, is->reason }));
    return add_speed(c, key, "device", &was->time.seconds, &is->time.seconds);
}

/* What the old report has; its passes stand behind its rows. */
static qp_status compare_measurements(qp_changes *c, const qp_bench_report *was, const qp_bench_report *is)
{
    const bool may_be_gone = strcmp(was->plan, is->plan) != 0 || !same_text(was->only, is->only);
    for (int i = 0; i < was->row_count; i++) {
        const qp_bench_row *old = &was->rows[i], *new = find_row(is, old);
        if (new)
            QP_TRY(compare_bench_row(c, i, old, new));
        else if (!may_be_gone && old->verified)
            QP_TRY(add_change(c, QP_CHANGE_GONE, i, key_of(old).text, "", "verified", "no row of these extents"));
    }
    for (int i = 0; i < was->step_count; i++) {
        const qp_bench_step *old = &was->steps[i], *new = find_step(is, old);
        const int place = was->row_count + i;
        char key[QP_NAME_MAX];
        name_step(old, key);
        if (new)
            QP_TRY(compare_step(c, place, old, new));
        else if (!may_be_gone && old->verified)
            QP_TRY(add_change(c, QP_CHANGE_GONE, place, key, "", "verified", "no such pass"));
    }
    return QP_OK;
}

/* Rows that only the new report has; they may fail, too. */
static qp_status look_at_added(qp_changes *c, const qp_bench_report *was, const qp_bench_report *is)
{
    for (int i = 0; i < is->row_count; i++) {
        const qp_bench_row *row = &is->rows[i];
        if (find_row(was, row)) continue;
        c->added++;
        if (row->failed) QP_TRY(add_change(c, QP_CHANGE_NEW_FAILURE, i, key_of(row).text, "", "no row", row->reason));
    }
    return QP_OK;
}

qp_status qp_changes_of_bench(const qp_bench_report *was, const qp_bench_report *is, double max_slow_down,
                              qp_changes *changes)
{
    const around before = around_of_bench(was), after = around_of_bench(is);
    *changes = (qp_changes){ .of_bench = true, .max_slow_down = max_slow_down };
    qp_status status = compare_around(changes, &before, &after, true);
    if (status == QP_OK) status = compare_measurements(changes, was, is);
    if (status == QP_OK) status = look_at_added(changes, was, is);
    if (status != QP_OK)
        qp_changes_close(changes);
    else
        sort_changes(changes);
    return status;
}

void qp_changes_close(qp_changes *changes)
{
    free(changes->differences);
    free(changes->changes);
    free(changes->speeds);
    *changes = (qp_changes){ 0 };
}
