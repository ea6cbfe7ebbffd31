#include "gate.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../model/json.h"
#include "../model/mapped_file.h"
#include "grown.h"

#define SCHEMA "qwen3-parity-gate/1"

struct qp_gate {
    qp_json *document;
    char *path;
    int run_count;
    qp_gate_run *runs;
};

/* ---- Reading. ---- */

static qp_status fail_at(qp_json_node node, const char *what)
{
    char where[256];
    return qp_fail(QP_FORMAT, "%s in %s %s", qp_json_where(node, where, sizeof where), qp_json_origin(node.document),
                   what);
}

/* Every member is one of `known`, and none is there twice. */
static qp_status require_known(qp_json_node object, const char *const *known)
{
    if (qp_json_kind_of(object) != QP_JSON_OBJECT) return fail_at(object, "must be an object");
    for (qp_json_node n = qp_json_first(object); n.item; n = qp_json_next(n)) {
        const char *const *name = known;
        while (*name && strcmp(*name, qp_json_key(n)) != 0) name++;
        if (!*name) return fail_at(n, "is no member that a gate knows; see docs/gate.md");
        if (qp_json_kind_of(n) == QP_JSON_NULL) return fail_at(n, "must not be null: leave it out");
        if (qp_json_find(object, *name).item != n.item) return fail_at(n, "is there twice");
    }
    return QP_OK;
}

/* A text that must say something. */
static qp_status get_text(qp_json_node object, const char *key, const char **text)
{
    QP_TRY(qp_json_get_string(object, key, text));
    return **text ? QP_OK : fail_at(qp_json_find(object, key), "must not be empty");
}

static qp_status get_mode(qp_json_node object, const char **mode)
{
    QP_TRY(qp_json_get_string_or(object, "mode", NULL, mode));
    if (!*mode || !strcmp(*mode, qp_mode_name(QP_LOCAL)) || !strcmp(*mode, qp_mode_name(QP_CARRIED))) return QP_OK;
    return fail_at(qp_json_find(object, "mode"), "must be local or carried");
}

/* Relative to the folder of the policy. The caller's to free. */
static qp_status get_path(qp_json_node object, const char *key, const char *policy, char **path)
{
    const char *value = NULL;
    QP_TRY(qp_json_get_string_or(object, key, NULL, &value));
    if (!value) return QP_OK;
    const char *slash = strrchr(policy, '/');
    const int folder = *value == '/' || !slash ? 0 : (int)(slash - policy) + 1;
    const size_t bytes = (size_t)folder + strlen(value) + 1;
    *path = malloc(bytes);
    if (!*path) return qp_fail(QP_NO_MEMORY, "no memory for the gate's policy");
    (void)snprintf(*path, bytes, "%.*s%s", folder, policy, value);
    return QP_OK;
}

static qp_status get_list(qp_json_node object, const char *key, const char **items, int *count)
{
    const qp_json_node list = qp_json_find(object, key);
    if (!list.item) return QP_OK;
    if (qp_json_kind_of(list) != QP_JSON_ARRAY || qp_json_count(list) > QP_GATE_LIST)
        return fail_at(list, "must be a list of at most 16 texts");
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n))
        QP_TRY(qp_json_as_string(n, &items[(*count)++]));
    return QP_OK;
}

/* "2026-12-31", and there is such a day. */
static bool is_day(const char *text)
{
    struct tm day = { .tm_isdst = -1 };
    int length = 0;
    char again[sizeof "2026-12-31"];
    if (sscanf(text, "%4d-%2d-%2d%n", &day.tm_year, &day.tm_mon, &day.tm_mday, &length) != 3 || text[length])
        return false;
    day.tm_year -= 1900;
    day.tm_mon -= 1;
    day.tm_hour = 12; /* far from any change of clocks */
    return mktime(&day) != (time_t)-1 && strftime(again, sizeof again, "%Y-%m-%d", &day) && !strcmp(again, text);
}

static qp_status read_bound(qp_json_node object, qp_gate_bound *bound)
{
    static const char *const known[] = { "key", "mode", "max_ulp", "error_factor", "reason", NULL };
    QP_TRY(require_known(object, known));
    QP_TRY(get_text(object, "key", &bound->key));
    QP_TRY(get_mode(object, &bound->mode));
    QP_TRY(get_text(object, "reason", &bound->reason));
    QP_TRY(qp_json_get_double(object, "max_ulp", &bound->max_ulp));
    QP_TRY(qp_json_get_double(object, "error_factor", &bound->error_factor));
    if (!(bound->max_ulp >= 0.0 && bound->max_ulp <= 1e6))
        return fail_at(qp_json_find(object, "max_ulp"), "must be between 0 and 1000000");
    if (!(bound->error_factor >= 1.0 && bound->error_factor <= 100.0))
        return fail_at(qp_json_find(object, "error_factor"), "must be between 1 and 100");
    return QP_OK;
}

static qp_status read_waiver(qp_json_node object, qp_gate_waiver *waiver)
{
    static const char *const known[] = { "key", "mode", "reason", "expires", NULL };
    QP_TRY(require_known(object, known));
    QP_TRY(get_text(object, "key", &waiver->key));
    QP_TRY(get_mode(object, &waiver->mode));
    QP_TRY(get_text(object, "reason", &waiver->reason));
    QP_TRY(qp_json_get_string(object, "expires", &waiver->expires));
    return is_day(waiver->expires) ? QP_OK
                                   : fail_at(qp_json_find(object, "expires"), "must be a day, such as 2026-12-31");
}

/* A list of at most QP_GATE_RULES objects; absent is empty. */
static qp_status find_rules(qp_json_node object, const char *key, qp_json_node *list)
{
    *list = qp_json_find(object, key);
    if (!list->item || (qp_json_kind_of(*list) == QP_JSON_ARRAY && qp_json_count(*list) <= QP_GATE_RULES)) return QP_OK;
    return fail_at(*list, "must be a list of at most 64 objects");
}

static qp_status read_rules(qp_json_node object, qp_gate_run *run)
{
    qp_json_node list;
    QP_TRY(find_rules(object, "bounded", &list));
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n))
        QP_TRY(read_bound(n, &run->bounds[run->bound_count++]));
    QP_TRY(find_rules(object, "waivers", &list));
    for (qp_json_node n = qp_json_first(list); n.item; n = qp_json_next(n))
        QP_TRY(read_waiver(n, &run->waivers[run->waiver_count++]));
    return QP_OK;
}

static qp_status read_speed(qp_json_node object, const char *policy, qp_gate_run *run)
{
    static const char *const known[] = { "baseline", "max_slow_down", NULL };
    const qp_json_node speed = qp_json_find(object, "speed");
    if (!speed.item) return QP_OK;
    QP_TRY(require_known(speed, known));
    QP_TRY(get_path(speed, "baseline", policy, &run->baseline));
    if (!run->baseline) return fail_at(speed, "must name a baseline, the JSON of a bench");
    QP_TRY(qp_json_get_double(speed, "max_slow_down", &run->max_slow_down));
    if (!(run->max_slow_down >= 1.0 && run->max_slow_down <= 10.0))
        return fail_at(qp_json_find(speed, "max_slow_down"), "must be between 1 and 10");
    return QP_OK;
}

static bool is_name(const char *text)
{
    if (!*text || *text == '.' || strlen(text) > 100) return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text)) return false;
    return true;
}

static qp_status read_run(qp_json_node object, const qp_gate *gate, qp_gate_run *run)
{
    static const char *const known[] = { "name", "model", "golden",  "golden_sha256", "backend", "plan", "only",
                                         "fuse", "impl",  "bounded", "waivers",       "speed",   NULL };
    QP_TRY(require_known(object, known));
    QP_TRY(qp_json_get_string(object, "name", &run->name));
    if (!is_name(run->name))
        return fail_at(qp_json_find(object, "name"),
                       "must be of letters, digits, '-', '_' and '.', and not begin with '.'");
    for (const qp_gate_run *other = gate->runs; other < run; other++)
        if (!strcmp(other->name, run->name))
            return fail_at(qp_json_find(object, "name"), "is the name of another run, too");
    QP_TRY(get_path(object, "model", gate->path, &run->model));
    QP_TRY(get_path(object, "golden", gate->path, &run->golden));
    if (!run->model != !run->golden)
        return fail_at(object, "must name both a model and a golden, or none: a golden is of one model");
    QP_TRY(qp_json_get_string_or(object, "golden_sha256", NULL, &run->golden_sha256));
    if (run->golden_sha256 && (strspn(run->golden_sha256, "0123456789abcdef") != QP_SHA256_TEXT - 1 ||
                               run->golden_sha256[QP_SHA256_TEXT - 1]))
        return fail_at(qp_json_find(object, "golden_sha256"), "must be 64 lower-case hexadecimal digits");
    QP_TRY(qp_json_get_string_or(object, "backend", NULL, &run->backend));
    QP_TRY(qp_json_get_string_or(object, "plan", NULL, &run->plan));
    QP_TRY(qp_json_get_string_or(object, "only", NULL, &run->only));
    QP_TRY(get_list(object, "fuse", run->fuse, &run->fuse_count));
    QP_TRY(get_list(object, "impl", run->impl, &run->impl_count));
    QP_TRY(read_rules(object, run));
    return read_speed(object, gate->path, run);
}

static qp_status read_gate(qp_gate *gate)
{
    static const char *const known[] = { "schema", "runs", NULL };
    const qp_json_node root = qp_json_root(gate->document);
    const char *schema = NULL;
    qp_json_node runs;
    QP_TRY(require_known(root, known));
    QP_TRY(qp_json_get_string(root, "schema", &schema));
    if (strcmp(schema, SCHEMA) != 0) return fail_at(qp_json_find(root, "schema"), "must be '" SCHEMA "'");
    QP_TRY(qp_json_get_array(root, "runs", &runs));
    if (qp_json_count(runs) == 0) return fail_at(runs, "holds no run, so that nothing would be compared");
    gate->runs = calloc((size_t)qp_json_count(runs), sizeof *gate->runs);
    if (!gate->runs) return qp_fail(QP_NO_MEMORY, "no memory for the gate's policy");
    for (qp_json_node n = qp_json_first(runs); n.item; n = qp_json_next(n))
        QP_TRY(read_run(n, gate, &gate->runs[gate->run_count++]));
    return QP_OK;
}

static void forget_problems(qp_gate_run *run)
{
    for (int i = 0; i < run->problem_count; i++) free(run->problems[i]);
    free(run->problems);
    run->problems = NULL;
    run->problem_count = 0;
}

void qp_gate_close(qp_gate *gate)
{
    if (!gate) return;
    for (int i = 0; i < gate->run_count; i++) {
        forget_problems(&gate->runs[i]);
        free(gate->runs[i].model);
        free(gate->runs[i].golden);
        free(gate->runs[i].baseline);
    }
    free(gate->runs);
    free(gate->path);
    qp_json_free(gate->document);
    free(gate);
}

qp_status qp_gate_open(const char *path, qp_gate **gate)
{
    *gate = NULL;
    qp_gate *made = calloc(1, sizeof *made);
    if (!made) return qp_fail(QP_NO_MEMORY, "no memory for the gate's policy");
    made->path = strdup(path);
    qp_status status = made->path ? qp_json_read_file(path, &made->document)
                                  : qp_fail(QP_NO_MEMORY, "no memory for the gate's policy");
    if (status == QP_OK) status = read_gate(made);
    if (status == QP_OK)
        *gate = made;
    else
        qp_gate_close(made);
    return status;
}

int qp_gate_run_count(const qp_gate *gate) { return gate->run_count; }

qp_gate_run *qp_gate_run_at(qp_gate *gate, int index) { return &gate->runs[index]; }

/* ---- Judging. ---- */

qp_status qp_gate_require_golden(const qp_gate_run *run, const char *path)
{
    qp_mapped_file file;
    char here[QP_SHA256_TEXT];
    if (!run->golden_sha256) return QP_OK;
    QP_TRY(qp_mapped_file_open(path, &file));
    qp_status status = qp_sha256(file.data, (size_t)file.bytes, here);
    qp_mapped_file_close(&file);
    if (status == QP_OK && strcmp(here, run->golden_sha256) != 0)
        status = qp_fail(
            QP_FORMAT,
            "the golden %s is not the one that the gate's run '%s' names: its SHA-256 is %.12s..., not %.12s...", path,
            run->name, here, run->golden_sha256);
    return status;
}

static bool matches(const char *key, const char *mode, const qp_row *row)
{
    return fnmatch(key, row->key, 0) == 0 && (!mode || !strcmp(mode, qp_mode_name(row->mode)));
}

/* The first bound that matches decides. */
static void apply_bounds(qp_gate_run *run, qp_row *row)
{
    for (int i = 0; i < run->bound_count; i++) {
        qp_gate_bound *bound = &run->bounds[i];
        if (!matches(bound->key, bound->mode, row)) continue;
        bound->matched++;
        qp_judge_bounded(row, bound->max_ulp, bound->error_factor);
        row->excuse = bound->reason;
        return;
    }
}

static void apply_waivers(qp_gate_run *run, const char *today, qp_row *row)
{
    for (int i = 0; i < run->waiver_count; i++) {
        qp_gate_waiver *waiver = &run->waivers[i];
        if (!matches(waiver->key, waiver->mode, row)) continue;
        waiver->matched++;
        if (strcmp(today, waiver->expires) > 0) continue;
        row->verdict = QP_VERDICT_WAIVED;
        row->excuse = waiver->reason;
        return;
    }
}

static qp_status add_problem(qp_gate_run *run, const char *what, const char *key, const char *how)
{
    const size_t bytes = strlen(what) + strlen(key) + strlen(how) + 8;
    char **list = qp_grown(run->problems, run->problem_count, sizeof *list);
    if (list) run->problems = list;
    char *text = malloc(bytes);
    if (!list || !text) {
        free(text);
        return qp_fail(QP_NO_MEMORY, "no memory for the gate's problems");
    }
    (void)snprintf(text, bytes, "%s '%s' %s", what, key, how);
    list[run->problem_count++] = text;
    return QP_OK;
}

static qp_status find_problems(qp_gate_run *run, const char *today)
{
    for (int i = 0; i < run->bound_count; i++)
        if (run->bounds[i].matched == 0)
            QP_TRY(add_problem(run, "the bound for", run->bounds[i].key, "matches no row: mend or remove it"));
    for (int i = 0; i < run->waiver_count; i++) {
        const qp_gate_waiver *waiver = &run->waivers[i];
        char how[64];
        (void)snprintf(how, sizeof how, "expired on %s", waiver->expires);
        if (strcmp(today, waiver->expires) > 0)
            QP_TRY(add_problem(run, "the waiver for", waiver->key, how));
        else if (waiver->matched == 0)
            QP_TRY(add_problem(run, "the waiver for", waiver->key, "is needed by no row: remove it"));
    }
    return QP_OK;
}

qp_status qp_gate_judge(const qp_gate *gate, qp_gate_run *run, const char *today, qp_report *report)
{
    forget_problems(run);
    for (int i = 0; i < run->bound_count; i++) run->bounds[i].matched = 0;
    for (int i = 0; i < run->waiver_count; i++) run->waivers[i].matched = 0;
    for (int i = 0; i < report->row_count; i++) {
        qp_row *row = &report->rows[i];
        apply_bounds(run, row);
        /* A kernel that writes where it must not, and a row that compares nothing, are no known difference. */
        const bool may_be_waived = row->verdict != QP_VERDICT_PASS && !row->violation && row->comparison.elements > 0;
        if (may_be_waived) apply_waivers(run, today, row);
    }
    QP_TRY(find_problems(run, today));
    report->gate = gate->path;
    report->problems = (const char *const *)run->problems;
    report->problem_count = run->problem_count;
    qp_report_summarise(report);
    return QP_OK;
}

void qp_gate_today(char today[11])
{
    const time_t now = time(NULL);
    struct tm utc = { 0 };
    (void)gmtime_r(&now, &utc);
    if (strftime(today, 11, "%Y-%m-%d", &utc) == 0)
        (void)snprintf(today, 11, "9999-12-31"); /* unknown: every waiver has expired */
}
