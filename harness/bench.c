#include "bench.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/choice_search.h"
#include "../model/clock.h"
#include "../model/random_model.h"
#include "../model/recorded_step.h"
#include "../model/trace.h"
#include "golden_model.h"
#include "host_memory.h"
#include "own_order.h"
#include "verdict.h"

enum { DEFAULT_PREFILL = 512, CPU_PREFILL = 32, DEFAULT_CONTEXT = 128, CEILING_SAMPLES = 20 };
enum { REPLAYS = 16 };    /* of a recorded step, one behind the other */
enum { PROGRESS = 1000 }; /* units of a phase on the progress line */

/* Multiply-adds of one node that are asked of the CPU: minutes on a large machine. */
static const double most_on_cpu = 2e11;

/* Seconds that one time may take on the CPU: of a node alone, of a pass, of a decode step, which is looked at most. */
static const double node_budget = 0.06, pass_budget = 1.5, decode_budget = 5.0;

const char *qp_protocol_name(qp_protocol protocol)
{
    switch (protocol) {
    case QP_PROTOCOL_COLD: return "cold";
    case QP_PROTOCOL_HOT: return "hot";
    case QP_PROTOCOL_IN_MODEL: return "in-model";
    case QP_PROTOCOLS: break;
    }
    return "unknown protocol";
}

/* ---- State of a run. ---- */

/* The forward pass that is measured. */
typedef struct phase {
    const char *name;
    int64_t past, tokens;
    const int64_t *ids;
    const qp_golden_phase *golden; /* NULL: random tokens */
    int64_t *random_ids;
    qp_plan plan;
    qp_store store;
    qp_prepared_plan prepared;
    int64_t replays;         /* of the recorded decode step that the cache has room for; 0: not on this device */
    int *row_of;             /* [nodes] the node's row, or -1: --only leaves it out */
    int first_row, past_row; /* of this phase in the report */
} phase;

typedef struct bench {
    const qp_runtime *runtime;
    const qp_model *model;
    const qp_golden *golden; /* may be NULL */
    const qp_bench_options *options;
    qp_bench_report *report;
    qp_cublas_choices choices;
    qp_timer timer;
    int row_room;
    phase phases[2];
    int phase_count, phases_done;
    qp_host_memory captured[QP_MAX_OUT]; /* the golden's outputs of the node at hand */
    qp_host_memory input[QP_MAX_IN], want[QP_MAX_OUT], got[QP_MAX_OUT];
    qp_host_memory scratch;
} bench;

/* What cuBLAS chose, if a golden tells or it was asked. */
static const qp_cublas_choices *choices_of(const bench *b)
{
    return b->golden || b->choices.split_count ? &b->choices : NULL;
}
static qp_device *device_of(const bench *b) { return b->runtime->device; }
static bool on_cpu(const bench *b) { return qp_device_backend(device_of(b)) == QP_CPU; }

/* For something that takes `seconds`. A card is quick, and its timer ends slow samples itself. */
static int64_t samples_for(const bench *b, double seconds, double budget)
{
    return on_cpu(b) ? qp_host_samples(b->options->samples, seconds, budget) : b->options->samples;
}

static bool is_decode(const phase *p) { return !strcmp(p->name, "decode"); }

static int inputs_of(const qp_plan_node *node) { return qp_operand_count(node->operation->in, QP_MAX_IN); }
static int outputs_of(const qp_plan_node *node) { return qp_operand_count(node->operation->out, QP_MAX_OUT); }

/* `part` is the share of the phase that is done, of PROGRESS. */
static void say_progress(const bench *b, const phase *p, int part, const char *what)
{
    char text[QP_NAME_MAX + 32];
    if (!b->options->progress) return;
    (void)snprintf(text, sizeof text, "%s: %s", p ? p->name : "the machine", what);
    b->options->progress(b->options->progress_context, PROGRESS * b->phases_done + part, PROGRESS * b->phase_count + 1,
                         text);
}

/* ---- Fingerprints: whether bits have changed. ---- */

static uint64_t hash_bytes(uint64_t hash, const unsigned char *data, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, data + i, (size_t)(bytes - i < sizeof word ? bytes - i : sizeof word));
        hash = qp_hash_of(hash ^ word, 1);
    }
    return hash;
}

static qp_status add_tensor(bench *b, const phase *p, int tensor, uint64_t *print)
{
    const uint64_t bytes = qp_store_bytes(&p->store, &p->plan, tensor);
    const void *view = NULL;
    QP_TRY(qp_host_reserve(&b->scratch, (size_t)bytes));
    QP_TRY(qp_store_view(&p->store, &p->plan, tensor, b->scratch.data, &view));
    *print = hash_bytes(*print, view, bytes);
    return QP_OK;
}

typedef struct node_prints {
    uint64_t inputs, outputs;
} node_prints;

static qp_status print_node(bench *b, const phase *p, const qp_plan_node *node, node_prints *prints)
{
    *prints = (node_prints){ 0 };
    for (int i = 0; i < inputs_of(node); i++)
        if (p->plan.tensors[node->in[i]].kind != QP_TENSOR_WEIGHT)
            QP_TRY(add_tensor(b, p, node->in[i], &prints->inputs));
    for (int i = 0; i < outputs_of(node); i++) QP_TRY(add_tensor(b, p, node->out[i], &prints->outputs));
    return QP_OK;
}

/* What a pass leaves: the logits, the token and the caches. */
static qp_status print_pass(bench *b, const phase *p, uint64_t *print)
{
    *print = 0;
    for (int t = 0; t < p->plan.tensor_count; t++)
        if (p->plan.tensors[t].kind == QP_TENSOR_CACHE || t == p->plan.logits || t == p->plan.next_token)
            QP_TRY(add_tensor(b, p, t, print));
    return QP_OK;
}

/* ---- Rows. ---- */

static bool same_order(const qp_sum_order *a, const qp_sum_order *b)
{
    return a->lanes == b->lanes && a->run == b->run && a->fold == b->fold && a->narrow == b->narrow;
}

static bool same_params(const qp_params *a, const qp_params *b)
{
    return a->eps == b->eps && a->scale == b->scale && a->theta == b->theta && a->part == b->part &&
           a->part_kv == b->part_kv && same_order(&a->order, &b->order) &&
           same_order(&a->context_order, &b->context_order);
}

static bool is_of_row(const qp_bench_row *row, const qp_plan_node *node, const qp_implementation *implementation)
{
    return row->operation == node->operation && !memcmp(row->extent, node->extent, sizeof row->extent) &&
           same_params(&row->params, &node->params) && row->implementation.run == implementation->run;
}

static qp_status add_row(bench *b, const phase *p, const qp_plan_node *node, const qp_implementation *implementation)
{
    qp_bench_report *report = b->report;
    if (report->row_count == b->row_room) {
        const int room = b->row_room ? 2 * b->row_room : 64;
        qp_bench_row *larger = realloc(report->rows, (size_t)room * sizeof *larger);
        if (!larger) return qp_fail(QP_NO_MEMORY, "no memory for %d rows", room);
        report->rows = larger;
        b->row_room = room;
    }
    qp_bench_row *row = &report->rows[report->row_count++];
    const qp_call call = qp_node_call(&p->plan, node, &p->store);
    *row = (qp_bench_row){ .phase = p->name,
                           .layer = node->layer,
                           .operation = node->operation,
                           .implementation = *implementation,
                           .params = node->params,
                           .cost = qp_operation_cost(node->operation, &call) };
    memcpy(row->key, node->name, sizeof row->key);
    memcpy(row->extent, node->extent, sizeof row->extent);
    for (int i = 0; i < QP_PROTOCOLS; i++) row->time[i].why = "not verified";
    return QP_OK;
}

/* "model.layers.*.mlp.up_proj": each once. */
static void add_kind(qp_bench_row *row, const qp_plan_node *node)
{
    char kind[QP_NAME_MAX];
    qp_plan_name_of_all_layers(kind, node->name, node->layer);
    for (int i = 0; i < row->kind_count; i++)
        if (!strcmp(row->kinds[i], kind)) return;
    if (row->kind_count < QP_BENCH_KINDS) memcpy(row->kinds[row->kind_count++], kind, sizeof kind);
}

static qp_status make_rows(bench *b, phase *p)
{
    p->first_row = p->past_row = b->report->row_count;
    p->row_of = malloc((size_t)p->plan.node_count * sizeof *p->row_of);
    if (!p->row_of) return qp_fail(QP_NO_MEMORY, "no memory for the rows of a plan");
    for (int n = 0; n < p->plan.node_count; n++) {
        const qp_plan_node *node = &p->plan.nodes[n];
        qp_implementation implementation;
        int r = p->first_row;
        p->row_of[n] = -1;
        if (b->options->only && fnmatch(b->options->only, node->name, 0) != 0) continue;
        QP_TRY(qp_selection_find(&b->options->selection, node, &implementation));
        while (r < b->report->row_count && !is_of_row(&b->report->rows[r], node, &implementation)) r++;
        if (r == b->report->row_count) QP_TRY(add_row(b, p, node, &implementation));
        b->report->rows[r].count++;
        add_kind(&b->report->rows[r], node);
        p->row_of[n] = r;
    }
    p->past_row = b->report->row_count;
    return QP_OK;
}

static void refuse(qp_bench_row *row, bool failed, const char *reason)
{
    row->verified = NULL;
    row->failed = row->failed || failed;
    (void)snprintf(row->reason, sizeof row->reason, "%s", reason);
    for (int i = 0; i < QP_PROTOCOLS; i++) row->time[i] = (qp_time){ .why = "not verified" };
}

/* ---- Whether a result is right. ---- */

/* Judges an output as `verify` judges a local row, but for whether the golden shows enough, which is verify's. With
 * `own_order`, what another order of the sum explains is right, too. */
static bool holds(qp_bench_row *row, const qp_plan_node *node, const qp_plan_tensor *tensor, bool own_order,
                  const void *want, const void *got)
{
    const int64_t n = qp_plan_tensor_elements(tensor);
    const bool own = !strcmp(tensor->name, row->key);
    qp_row judged = { .mode = QP_LOCAL, .dtype = tensor->dtype, .rank = tensor->rank };
    char reason[sizeof row->reason];
    memcpy(judged.dim, tensor->dim, sizeof judged.dim);
    judged.comparison = qp_compare(tensor->dtype, want, got, n);
    judged.true_zeros = judged.comparison.elements;
    qp_judge(&judged);
    row->own_order = own_order;
    row->elements += judged.comparison.elements;
    row->mismatches += judged.comparison.mismatches;
    if (judged.verdict == QP_VERDICT_PASS) return true;
    if (judged.verdict == QP_VERDICT_FAIL && own_order &&
        qp_own_order_explains(want, got, n, qp_products_in_a_sum(node->operation, node->extent)))
        return true;
    (void)snprintf(reason, sizeof reason, "%.70s%s%.90s%s", own ? "" : tensor->name, own ? "" : ": ", judged.reason,
                   own_order ? ", more than another order explains" : "");
    refuse(row, judged.verdict == QP_VERDICT_FAIL, reason);
    return false;
}

/* Our outputs in the host's memory. */
static qp_status read_outputs(bench *b, const phase *p, const qp_plan_node *node, const void *outputs[QP_MAX_OUT])
{
    for (int i = 0; i < outputs_of(node); i++) {
        QP_TRY(qp_host_reserve(&b->got[i], (size_t)qp_store_bytes(&p->store, &p->plan, node->out[i])));
        QP_TRY(qp_store_view(&p->store, &p->plan, node->out[i], b->got[i].data, &outputs[i]));
    }
    return QP_OK;
}

/* Reads what the golden holds of the node's outputs. */
static qp_status read_captured(bench *b, const phase *p, const qp_plan_node *node, bool held[QP_MAX_OUT], bool *all)
{
    *all = p->golden != NULL;
    for (int i = 0; i < outputs_of(node); i++) {
        const qp_plan_tensor *tensor = &p->plan.tensors[node->out[i]];
        held[i] = p->golden && qp_golden_has(p->golden, tensor->name);
        *all = *all && held[i];
        if (!held[i]) continue;
        QP_TRY(qp_host_reserve(&b->captured[i], (size_t)qp_store_bytes(&p->store, &p->plan, node->out[i])));
        QP_TRY(qp_golden_read(b->golden, p->golden, tensor->name, tensor->dtype, tensor->rank, tensor->dim,
                              b->captured[i].data));
    }
    return QP_OK;
}

/* So that the next nodes get the golden's own inputs, as in verify's local rows. */
static qp_status give_captured(bench *b, const phase *p, const qp_plan_node *node, const bool held[QP_MAX_OUT])
{
    for (int i = 0; i < outputs_of(node); i++)
        if (held[i])
            QP_TRY(qp_device_write(device_of(b), qp_store_tensor(&p->store, &p->plan, node->out[i]),
                                   b->captured[i].data, qp_store_bytes(&p->store, &p->plan, node->out[i])));
    return QP_OK;
}

static qp_status compare_with_golden(bench *b, const phase *p, const qp_plan_node *node, qp_bench_row *row)
{
    const void *got[QP_MAX_OUT] = { NULL };
    if (*row->reason) return QP_OK; /* refused: the first reason is told */
    QP_TRY(read_outputs(b, p, node, got));
    for (int i = 0; i < outputs_of(node); i++)
        if (!holds(row, node, &p->plan.tensors[node->out[i]], false, b->captured[i].data, got[i])) return QP_OK;
    if (!row->verified) row->verified = "golden";
    return QP_OK;
}

/* The contract on the CPU, on copies of the node's inputs, into b->want. */
static qp_status run_contract(bench *b, const phase *p, const qp_plan_node *node, const qp_implementation *contract)
{
    qp_call call = { .params = node->params };
    memcpy(call.extent, node->extent, sizeof call.extent);
    for (int i = 0; i < inputs_of(node); i++) {
        const qp_plan_tensor *tensor = &p->plan.tensors[node->in[i]];
        const void *view = tensor->weight;
        if (tensor->kind != QP_TENSOR_WEIGHT) {
            QP_TRY(qp_host_reserve(&b->input[i], (size_t)qp_store_bytes(&p->store, &p->plan, node->in[i])));
            QP_TRY(qp_store_view(&p->store, &p->plan, node->in[i], b->input[i].data, &view));
        }
        call.in[i] = (const char *)view + (size_t)node->in_skip[i] * qp_dtype_bytes(tensor->dtype);
    }
    for (int i = 0; i < outputs_of(node); i++) {
        const size_t bytes = (size_t)qp_store_bytes(&p->store, &p->plan, node->out[i]);
        QP_TRY(qp_host_reserve(&b->want[i], bytes));
        memset(b->want[i].data, QP_POISON, bytes);
        call.out[i] = b->want[i].data;
    }
    QP_TRY(qp_operation_check(node->operation, &call));
    return contract->run(&call);
}

static qp_status compare_with_cpu(bench *b, const phase *p, const qp_plan_node *node, qp_bench_row *row)
{
    const qp_implementation *contract = qp_implementation_find(node->operation->name, QP_CPU, NULL);
    const bool chooses = !strcmp(row->implementation.name, "cublas");
    const void *got[QP_MAX_OUT] = { NULL };
    if ((double)row->cost.flops / 2.0 > most_on_cpu) {
        refuse(row, false, "too large for the CPU; give a golden");
        return QP_OK;
    }
    QP_TRY(run_contract(b, p, node, contract));
    QP_TRY(read_outputs(b, p, node, got));
    for (int i = 0; i < outputs_of(node); i++)
        if (!holds(row, node, &p->plan.tensors[node->out[i]], chooses, b->want[i].data, got[i])) return QP_OK;
    row->verified = "cpu";
    return QP_OK;
}

/* ---- Nodes alone. ---- */

/* The row's first node, on its place: its inputs are there, its outputs are right. It takes about `seconds`. */
static qp_status time_alone(bench *b, const phase *p, const qp_plan_node *node, double seconds, qp_bench_row *row)
{
    const qp_call call = qp_node_call(&p->plan, node, &p->store);
    const int64_t cold = samples_for(b, b->timer.flush_seconds + seconds, node_budget);
    const int64_t hot = samples_for(b, seconds, node_budget);
    node_prints before, after;
    if (row->implementation.backend != qp_device_backend(device_of(b))) {
        refuse(row, false, "a planted fault that no comparison found; it runs on the CPU, and is not timed");
        return QP_OK;
    }
    row->time[QP_PROTOCOL_IN_MODEL].why = "the run did not get to the pass";
    QP_TRY(print_node(b, p, node, &before));
    QP_TRY(qp_node_poison(&p->plan, node, &p->store)); /* what the timed launches do not write, shows */
    QP_TRY(qp_timer_cold(&b->timer, cold, &row->implementation, &call, &row->time[QP_PROTOCOL_COLD]));
    QP_TRY(qp_timer_hot(&b->timer, hot, &row->implementation, &call, &row->time[QP_PROTOCOL_HOT]));
    QP_TRY(print_node(b, p, node, &after));
    if (after.outputs != before.outputs) refuse(row, true, "the timed launches gave other bits than the verified one");
    if (after.inputs != before.inputs) refuse(row, true, "the implementation changed its input");
    return QP_OK;
}

static qp_status keep(bench *b)
{
    if (!b->options->sink) return QP_OK;
    b->report->clock = b->timer.clock.reference;
    qp_bench_report_count(b->report);
    return b->options->sink(b->options->sink_context, b->report);
}

static qp_status visit_node(bench *b, phase *p, int n, int *rows_done)
{
    const qp_plan_node *node = &p->plan.nodes[n];
    const qp_call call = qp_node_call(&p->plan, node, &p->store);
    qp_implementation implementation;
    bool held[QP_MAX_OUT] = { false }, all_held = false;
    QP_TRY(qp_selection_find(&b->options->selection, node, &implementation));
    QP_TRY(read_captured(b, p, node, held, &all_held));
    QP_TRY(qp_node_poison(&p->plan, node, &p->store));
    const double start = qp_seconds_now();
    QP_TRY(qp_node_run(&p->plan, node, &implementation, device_of(b), &call));
    const double seconds = qp_seconds_now() - start;
    if (p->row_of[n] >= 0) {
        qp_bench_row *row = &b->report->rows[p->row_of[n]];
        const bool first = !strcmp(row->key, node->name);
        if (first) say_progress(b, p, PROGRESS * 7 / 10 * (*rows_done)++ / (p->past_row - p->first_row), node->name);
        if (all_held)
            QP_TRY(compare_with_golden(b, p, node, row));
        else if (first)
            QP_TRY(compare_with_cpu(b, p, node, row));
        if (first && row->verified) {
            qp_trace_push(QP_TRACE_BENCH, node->name, node->layer, p->past, row->cost.bytes);
            const qp_status status = time_alone(b, p, node, seconds, row);
            qp_trace_pop();
            if (status != QP_OK) return qp_fail(status, "%s: %s", node->name, qp_last_error());
            QP_TRY(keep(b));
        }
    }
    return give_captured(b, p, node, held);
}

/* ---- The whole pass. ---- */

typedef struct pass {
    bench *b;
    phase *p;
    double host_seconds; /* for the host to enqueue it */
    double seconds;      /* about, of one pass; on the CPU */
    qp_status marked;
} pass;

static void mark_node(void *context, int done, int total, const char *what)
{
    pass *t = context;
    (void)total;
    (void)what;
    if (t->marked == QP_OK) t->marked = qp_device_mark(device_of(t->b), done);
}

static qp_status run_pass(const pass *t, qp_progress progress, void *context)
{
    return qp_prepared_run(&t->p->prepared, progress, context);
}

/* A value for each node. */
static qp_status take_in_model(void *context, int64_t count, double *values)
{
    pass *t = context;
    qp_device *device = device_of(t->b);
    const int nodes = t->p->plan.node_count;
    for (int64_t i = 0; i < count; i++) {
        QP_TRY(qp_timer_occupy(&t->b->timer, t->host_seconds));
        const double start = qp_seconds_now();
        QP_TRY(run_pass(t, mark_node, t));
        QP_TRY(t->marked);
        QP_TRY(qp_device_mark(device, nodes));
        t->host_seconds = 1.2 * (qp_seconds_now() - start);
        QP_TRY(qp_device_wait(device));
        for (int n = 0; n < nodes; n++) QP_TRY(qp_device_elapsed(device, n, n + 1, &values[i * nodes + n]));
    }
    return QP_OK;
}

/* Two values: what the device needs, with the launches enqueued ahead of it, and what the host waits for, from nothing
 * enqueued to everything done. */
static qp_status take_step(void *context, int64_t count, double *values)
{
    pass *t = context;
    qp_device *device = device_of(t->b);
    for (int64_t i = 0; i < count; i++) {
        QP_TRY(qp_timer_occupy(&t->b->timer, t->host_seconds));
        QP_TRY(qp_device_mark(device, 0));
        QP_TRY(run_pass(t, NULL, NULL));
        QP_TRY(qp_device_mark(device, 1));
        QP_TRY(qp_device_wait(device));
        QP_TRY(qp_device_elapsed(device, 0, 1, &values[2 * i]));
        values[2 * i + 1] = values[2 * i]; /* the CPU is the host, and has one clock */
        if (on_cpu(t->b)) continue;
        const double start = qp_seconds_now();
        QP_TRY(run_pass(t, NULL, NULL));
        QP_TRY(qp_device_wait(device));
        values[2 * i + 1] = qp_seconds_now() - start;
    }
    return QP_OK;
}

static qp_status take_one_thread(void *context, int64_t count, double *values)
{
    const pass *t = context;
    for (int64_t i = 0; i < count; i++) {
        const double start = qp_seconds_now();
        QP_TRY(run_pass(t, NULL, NULL));
        values[i] = qp_seconds_now() - start;
    }
    return QP_OK;
}

/* Puts the samples of all nodes of a row together. */
static qp_status pool_row(const phase *p, const qp_samples *samples, int r, qp_bench_row *row)
{
    const int nodes = p->plan.node_count;
    double sum = 0.0, total = 0.0;
    qp_samples pooled = { .dropped = samples->dropped * row->count, .clock = samples->clock };
    pooled.values = malloc((size_t)(samples->count * row->count + 1) * sizeof(double));
    if (!pooled.values) return qp_fail(QP_NO_MEMORY, "no memory for the samples of %s", row->key);
    for (int64_t i = 0; i < samples->count * nodes; i++) {
        total += samples->values[i];
        if (p->row_of[i % nodes] != r) continue;
        sum += samples->values[i];
        pooled.values[pooled.count++] = samples->values[i];
    }
    row->time[QP_PROTOCOL_IN_MODEL] = qp_time_of(&pooled, 1);
    row->share = total > 0.0 ? sum / total : 0.0;
    free(pooled.values);
    return QP_OK;
}

/* Adds the nodes of the verified rows to the report, each with its own median. */
static qp_status list_nodes(qp_bench_report *report, const phase *p, const qp_samples *samples)
{
    const int nodes = p->plan.node_count;
    qp_bench_node *list = realloc(report->nodes, (size_t)(report->node_count + nodes) * sizeof *list);
    if (list) report->nodes = list;
    double *values = malloc((size_t)(samples->count + 1) * sizeof *values);
    for (int n = 0; n < nodes && list && values && samples->count > 0; n++) {
        if (p->row_of[n] < 0 || !report->rows[p->row_of[n]].verified) continue;
        for (int64_t i = 0; i < samples->count; i++) values[i] = samples->values[i * nodes + n];
        qp_bench_node *node = &list[report->node_count++];
        (void)snprintf(node->key, sizeof node->key, "%s", p->plan.nodes[n].name);
        node->phase = report->rows[p->row_of[n]].phase;
        node->seconds = qp_statistics_of(values, samples->count).median;
    }
    free(values);
    return list && values ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the time line of %d nodes", nodes);
}

static qp_status time_in_model(bench *b, const phase *p, pass *t)
{
    qp_samples samples;
    QP_TRY(qp_device_mark(device_of(b), p->plan.node_count)); /* makes room for all marks before time counts */
    qp_trace_push(QP_TRACE_BENCH, "in-model", -1, p->past, 0);
    qp_status status = qp_timer_sample(&b->timer, samples_for(b, t->seconds, pass_budget), p->plan.node_count,
                                       take_in_model, t, &samples);
    qp_trace_pop();
    for (int r = p->first_row; r < p->past_row && status == QP_OK; r++)
        if (b->report->rows[r].verified) status = pool_row(p, &samples, r, &b->report->rows[r]);
    if (status == QP_OK) status = list_nodes(b->report, p, &samples);
    free(samples.values);
    return status;
}

/* `take` gives two values a sample: by the device's clock and by the host's. */
static qp_status time_step(bench *b, int64_t wanted, qp_take take, void *context, qp_bench_step *step)
{
    qp_samples samples;
    qp_trace_push(QP_TRACE_BENCH, step->name, -1, step->context, step->cost.bytes);
    const qp_status status = qp_timer_sample(&b->timer, wanted, 2, take, context, &samples);
    qp_trace_pop();
    if (status == QP_OK) {
        /* Apart, the host's times behind the device's. */
        double *apart = malloc((size_t)(2 * samples.count + 1) * sizeof *apart);
        for (int64_t i = 0; apart && i < samples.count; i++) {
            apart[i] = samples.values[2 * i];
            apart[samples.count + i] = samples.values[2 * i + 1];
        }
        free(samples.values);
        samples.values = apart;
        if (!apart) return qp_fail(QP_NO_MEMORY, "no memory for the samples of a pass");
        step->time = qp_time_of(&samples, 1);
        step->wall = qp_statistics_of(apart + samples.count, samples.count);
    }
    free(samples.values);
    return status;
}

/* With one thread, so that it shows what the others are good for. */
static qp_status time_one_thread(bench *b, pass *t, qp_bench_step *step)
{
    const int threads = qp_host_threads();
    const double seconds = threads * t->seconds; /* at worst */
    qp_samples samples;
    qp_host_use_threads(1);
    qp_trace_push(QP_TRACE_BENCH, "one thread", -1, step->context, step->cost.bytes);
    const qp_status status =
        qp_timer_sample(&b->timer, samples_for(b, seconds, decode_budget), 1, take_one_thread, t, &samples);
    qp_trace_pop();
    qp_host_use_threads(threads);
    if (status == QP_OK) step->one_thread = qp_time_of(&samples, 1);
    free(samples.values);
    return status;
}

/* Of these nodes, or with NULL of all. */
static qp_bench_step make_step(const phase *p, const char *name, const bool *chosen)
{
    qp_bench_step step = { .name = name,
                           .tokens = p->tokens,
                           .context = p->past,
                           .all_logits = p->golden != NULL,
                           .next_token = -1,
                           .time = { .why = "not verified" },
                           .one_thread = { .why = "not measured" } };
    for (int n = 0; n < p->plan.node_count; n++) {
        if (chosen && !chosen[n]) continue;
        const qp_call call = qp_node_call(&p->plan, &p->plan.nodes[n], &p->store);
        const qp_cost cost = qp_operation_cost(p->plan.nodes[n].operation, &call);
        step.cost.bytes += cost.bytes;
        step.cost.flops += cost.flops;
    }
    return step;
}

static void refuse_step(qp_bench_step *step, bool failed, const char *reason)
{
    step->verified = NULL;
    step->failed = step->failed || failed;
    step->next_token = -1;
    step->time = step->one_thread = (qp_time){ .why = "not verified" };
    step->wall = (qp_statistics){ 0 };
    (void)snprintf(step->reason, sizeof step->reason, "%s", reason);
}

/* Whether it is as right as the phase's rows. */
static void judge_rows(const bench *b, const phase *p, qp_bench_step *step)
{
    int failed = 0, not_verified = 0;
    char reason[sizeof step->reason] = "";
    step->verified = "golden";
    for (int r = p->first_row; r < p->past_row; r++) {
        const qp_bench_row *row = &b->report->rows[r];
        failed += row->failed;
        not_verified += !row->failed && !row->verified;
        if (row->verified && !strcmp(row->verified, "cpu")) step->verified = "cpu";
    }
    if (failed)
        (void)snprintf(reason, sizeof reason, "%d of its rows failed", failed);
    else if (not_verified)
        (void)snprintf(reason, sizeof reason, "%d of its rows are not verified", not_verified);
    if (*reason) refuse_step(step, false, reason);
}

/* The same of a pass, which needs a row for each node. */
static void judge_step(const bench *b, const phase *p, qp_bench_step *step)
{
    int left_out = 0;
    char reason[sizeof step->reason];
    for (int n = 0; n < p->plan.node_count; n++) left_out += p->row_of[n] < 0;
    judge_rows(b, p, step);
    if (!step->verified || !left_out) return;
    (void)snprintf(reason, sizeof reason, "--only leaves %d of its nodes out", left_out);
    refuse_step(step, false, reason);
}

/* The phase has no time line after all. */
static void drop_nodes(qp_bench_report *report, const char *name)
{
    int kept = 0;
    for (int i = 0; i < report->node_count; i++)
        if (strcmp(report->nodes[i].phase, name) != 0) report->nodes[kept++] = report->nodes[i];
    report->node_count = kept;
}

/* The pass gives other bits than it should: neither it nor what was timed inside it counts. */
static void refuse_pass(const bench *b, const phase *p, qp_bench_step *step, const char *reason)
{
    refuse_step(step, true, reason);
    for (int r = p->first_row; r < p->past_row; r++) {
        b->report->rows[r].time[QP_PROTOCOL_IN_MODEL] = (qp_time){ .why = "the whole pass is wrong" };
        b->report->rows[r].share = 0.0;
    }
    drop_nodes(b->report, p->name);
}

/* The pass's token, and the golden's. */
static qp_status read_token(bench *b, const phase *p, int64_t *token, bool *right)
{
    int64_t want = 0;
    const qp_plan_tensor *tensor = &p->plan.tensors[p->plan.next_token];
    const void *view = NULL;
    QP_TRY(qp_store_view(&p->store, &p->plan, p->plan.next_token, token, &view));
    memcpy(token, view, sizeof *token);
    *right = true;
    if (!p->golden || !qp_golden_has(p->golden, tensor->name)) return QP_OK;
    QP_TRY(qp_golden_read(b->golden, p->golden, tensor->name, tensor->dtype, tensor->rank, tensor->dim, &want));
    *right = want == *token;
    return QP_OK;
}

static qp_status poison_pass(const phase *p)
{
    for (int n = 0; n < p->plan.node_count; n++) QP_TRY(qp_node_poison(&p->plan, &p->plan.nodes[n], &p->store));
    return QP_OK;
}

/* `alone` is what the nodes gave one by one. */
static qp_status time_pass(bench *b, phase *p, uint64_t alone, qp_bench_step *step)
{
    pass t = { .b = b, .p = p, .marked = QP_OK };
    uint64_t before = 0, after = 0;
    int64_t token = -1;
    bool right_token = false, any = false;
    judge_step(b, p, step);
    for (int r = p->first_row; r < p->past_row; r++) any = any || b->report->rows[r].verified;
    if (!any) return QP_OK;

    QP_TRY(poison_pass(p)); /* what was computed node by node must not look like the pass's */
    const double start = qp_seconds_now();
    QP_TRY(run_pass(&t, NULL, NULL));
    t.seconds = qp_seconds_now() - start;
    t.host_seconds = 1.2 * t.seconds;
    QP_TRY(print_pass(b, p, &before));
    QP_TRY(read_token(b, p, &token, &right_token));
    if (step->verified && before != alone) {
        refuse_pass(b, p, step, "the whole pass gives other bits than its nodes one by one");
        return QP_OK;
    }
    if (step->verified && !right_token) {
        refuse_pass(b, p, step, "the greedy token is not the golden's");
        return QP_OK;
    }
    say_progress(b, p, PROGRESS * 7 / 10, "nodes inside the whole pass");
    QP_TRY(poison_pass(p));
    QP_TRY(time_in_model(b, p, &t));
    say_progress(b, p, PROGRESS * 9 / 10, "the whole pass");
    if (step->verified) {
        step->next_token = token;
        const int64_t wanted = samples_for(b, t.seconds, is_decode(p) ? decode_budget : pass_budget);
        QP_TRY(time_step(b, wanted, take_step, &t, step));
        if (is_decode(p) && on_cpu(b) && qp_host_threads() > 1) {
            say_progress(b, p, PROGRESS * 19 / 20, "the whole pass with one thread");
            QP_TRY(time_one_thread(b, &t, step));
        }
    }
    QP_TRY(print_pass(b, p, &after));
    if (after != before) refuse_pass(b, p, step, "the timed passes gave other bits than the verified one");
    return QP_OK;
}

/* ---- The decode step, or the nodes that --only chose of it, as a recording. ---- */

typedef struct replays {
    bench *b;
    phase *p;
    bool *chosen; /* [nodes]; NULL: all, and the step's end */
    qp_recorded_step recorded;
} replays;

/* From the phase's own token on, one replay after the other, as far as the cache has room; returns when they are enqueued. */
static qp_status replay_all(replays *r)
{
    QP_TRY(qp_recorded_step_start(&r->recorded, r->p->past, r->p->ids[0]));
    return qp_recorded_step_replay(&r->recorded, r->p->replays);
}

/* The same tokens by ordinary passes. */
static qp_status pass_all(const replays *r, int64_t *tokens)
{
    phase *p = r->p;
    const pass t = { .b = r->b, .p = p, .marked = QP_OK };
    for (int64_t i = 0; i < p->replays; i++) {
        bool right = false;
        QP_TRY(qp_plan_set_past(&p->plan, p->past + i));
        QP_TRY(poison_pass(p));
        QP_TRY(qp_store_set_inputs(&p->store, &p->plan, i ? &tokens[i - 1] : p->ids));
        QP_TRY(run_pass(&t, NULL, NULL));
        QP_TRY(read_token(r->b, p, &tokens[i], &right)); /* the golden's token is of the first one alone */
    }
    return QP_OK;
}

static qp_status poison_all(const replays *r)
{
    for (int64_t i = 0; i < r->p->replays; i++) {
        QP_TRY(qp_plan_set_past(&r->p->plan, r->p->past + i));
        QP_TRY(poison_pass(r->p));
    }
    return QP_OK;
}

/* What the last of them leaves. */
static qp_status print_all(const replays *r, uint64_t *print)
{
    QP_TRY(qp_plan_set_past(&r->p->plan, r->p->past + r->p->replays - 1));
    return print_pass(r->b, r->p, print);
}

/* Two values: what the device needs for one replay, and what the host waits for, from nothing enqueued to everything done,
 * when many replays follow each other; of that the share of one. */
static qp_status take_replays(void *context, int64_t count, double *values)
{
    replays *r = context;
    qp_device *device = device_of(r->b);
    for (int64_t i = 0; i < count; i++) {
        QP_TRY(qp_recorded_step_start(&r->recorded, r->p->past, r->p->ids[0]));
        QP_TRY(qp_timer_occupy(&r->b->timer, 0.0)); /* to replay is one launch for the host */
        QP_TRY(qp_device_mark(device, 0));
        QP_TRY(qp_recorded_step_replay(&r->recorded, 1));
        QP_TRY(qp_device_mark(device, 1));
        QP_TRY(qp_device_wait(device));
        QP_TRY(qp_device_elapsed(device, 0, 1, &values[2 * i]));
        QP_TRY(qp_recorded_step_start(&r->recorded, r->p->past, r->p->ids[0]));
        const double start = qp_seconds_now();
        QP_TRY(qp_recorded_step_replay(&r->recorded, r->p->replays));
        QP_TRY(qp_device_wait(device));
        values[2 * i + 1] = (qp_seconds_now() - start) / (double)r->p->replays;
    }
    return QP_OK;
}

static qp_status compare_and_time_replays(replays *r, qp_bench_step *step)
{
    bench *b = r->b;
    phase *p = r->p;
    uint64_t wanted = 0, first = 0, last = 0;
    int64_t passed[REPLAYS], replayed[REPLAYS];
    QP_TRY(pass_all(r, passed));
    QP_TRY(print_all(r, &wanted));
    QP_TRY(poison_all(r));
    QP_TRY(replay_all(r));
    QP_TRY(qp_recorded_step_read(&r->recorded, p->past, p->replays, replayed));
    QP_TRY(print_all(r, &first));
    if (memcmp(replayed, passed, (size_t)p->replays * sizeof *passed) != 0) {
        refuse_step(step, true, "the recorded step gives other tokens than the passes");
        return QP_OK;
    }
    if (first != wanted) {
        refuse_step(step, true, "the recorded step leaves other bits than the passes");
        return QP_OK;
    }
    QP_TRY(time_step(b, b->options->samples, take_replays, r, step));
    QP_TRY(print_all(r, &last));
    if (last != first) refuse_step(step, true, "the timed replays gave other bits than the verified ones");
    return QP_OK;
}

/* Bytes of a finite number, as bf16 and as f32: nodes alone may read a buffer that another of them has filled so, and NaN
 * would hide what they do with it. */
enum { FINITE = 0x3f };

/* What the chosen nodes leave when they follow a whole pass, launched or replayed. Layers share buffers, so of what a buffer
 * held in turn that is the last. */
static qp_status print_chosen(replays *r, bool replay, uint64_t *print)
{
    phase *p = r->p;
    const pass t = { .b = r->b, .p = p, .marked = QP_OK };
    QP_TRY(qp_recorded_step_start(&r->recorded, p->past, p->ids[0]));
    QP_TRY(run_pass(&t, NULL, NULL));
    for (int n = 0; n < p->plan.node_count; n++)
        for (int i = 0; r->chosen[n] && i < outputs_of(&p->plan.nodes[n]); i++) {
            const int tensor = p->plan.nodes[n].out[i];
            QP_TRY(qp_device_fill(device_of(r->b), qp_store_tensor(&p->store, &p->plan, tensor), FINITE,
                                  qp_store_bytes(&p->store, &p->plan, tensor)));
        }
    QP_TRY(replay ? qp_recorded_step_replay(&r->recorded, 1) : qp_prepared_run_chosen(&p->prepared, r->chosen));
    *print = 0;
    for (int n = 0; n < p->plan.node_count; n++)
        for (int i = 0; r->chosen[n] && i < outputs_of(&p->plan.nodes[n]); i++)
            QP_TRY(add_tensor(r->b, p, p->plan.nodes[n].out[i], print));
    return QP_OK;
}

static qp_status compare_and_time_chosen(replays *r, qp_bench_step *step)
{
    uint64_t launched = 0, first = 0, last = 0;
    QP_TRY(print_chosen(r, false, &launched));
    QP_TRY(print_chosen(r, true, &first));
    if (first != launched) {
        refuse_step(step, true, "the recorded nodes leave other bits than the launched ones");
        return QP_OK;
    }
    QP_TRY(time_step(r->b, r->b->options->samples, take_replays, r, step));
    QP_TRY(print_chosen(r, true, &last));
    if (last != first) refuse_step(step, true, "the timed replays gave other bits than the verified ones");
    return QP_OK;
}

/* A step of its own in the report. All of the decode step counts if the passes do, whose tokens and bits it has to give;
 * chosen nodes count if their rows do, and have to give the bits of their launches. */
static qp_status measure_recording(replays *r, const qp_bench_step *passes)
{
    bench *b = r->b;
    phase *p = r->p;
    qp_bench_step *step = &b->report->steps[b->report->step_count++];
    if (r->chosen) {
        *step = make_step(p, "decode_nodes", r->chosen);
        judge_rows(b, p, step);
    } else {
        *step = *passes;
        step->name = "decode_graph";
        step->failed = false;
        if (!passes->verified) refuse_step(step, false, "the decode step is not verified");
    }
    if (!step->verified) return QP_OK;
    say_progress(b, p, PROGRESS * 19 / 20, "the recording");
    QP_TRY(qp_recorded_step_open(&p->plan, &b->options->selection, &p->store, r->chosen, &r->recorded));
    const qp_status status = r->chosen ? compare_and_time_chosen(r, step) : compare_and_time_replays(r, step);
    qp_recorded_step_close(&r->recorded);
    return status;
}

/* Where it can be recorded: the decode step, or with --only the nodes that it chose, if there are any. */
static qp_status measure_replays(bench *b, phase *p, const qp_bench_step *passes)
{
    replays r = { .b = b, .p = p };
    qp_status status = QP_OK;
    if (!p->replays || p->first_row == p->past_row) return QP_OK;
    if (b->options->only) {
        r.chosen = malloc((size_t)p->plan.node_count * sizeof *r.chosen);
        if (!r.chosen) return qp_fail(QP_NO_MEMORY, "no memory for the choice of nodes");
        for (int n = 0; n < p->plan.node_count; n++) r.chosen[n] = p->row_of[n] >= 0;
    }
    if (qp_recorded_step_check(&p->plan, &b->options->selection, &p->store, r.chosen) == QP_OK)
        status = measure_recording(&r, passes);
    free(r.chosen);
    return status;
}

/* ---- Phases. ---- */

/* The phase of the golden with as many tokens (prefill) or keys (decode) as asked for, or the one with the most. */
static qp_status find_golden_phase(const bench *b, bool decode, int64_t asked, const qp_golden_phase **found)
{
    char there[160] = "";
    int64_t most = -1, said = -1;
    *found = NULL;
    for (int i = 0; i < qp_golden_phase_count(b->golden); i++) {
        const qp_golden_phase *one = qp_golden_phase_at(b->golden, i);
        const int64_t size = decode ? one->past : one->tokens;
        if ((one->past > 0) != decode) continue;
        const size_t used = strlen(there);
        if (size != said) (void)snprintf(there + used, sizeof there - used, "%s%" PRId64, used ? ", " : "", size);
        said = size;
        if (asked >= 0 ? size != asked : size <= most) continue;
        most = size;
        *found = one;
    }
    if (*found) return QP_OK;
    if (strlen(there) == sizeof there - 1) memcpy(there + sizeof there - 6, ", ...", 6); /* the list was cut */
    if (!*there) return qp_fail(QP_USAGE, "the golden holds no %s; see --phase", decode ? "decode step" : "prefill");
    return qp_fail(QP_USAGE,
                   decode ? "the golden holds no decode step after %" PRId64 " keys, but after %s"
                          : "the golden holds no prefill of %" PRId64 " tokens, but of %s",
                   asked, there);
}

static qp_status choose_random_tokens(const bench *b, phase *p)
{
    const qp_config *c = &b->model->config;
    const int64_t asked = p->past > p->tokens ? p->past : p->tokens;
    if (asked > c->max_position_embeddings || p->past + p->tokens > c->max_position_embeddings)
        return qp_fail(QP_USAGE,
                       "a pass of %" PRId64 " tokens after %" PRId64 " exceeds the model's %" PRId64 " positions",
                       p->tokens, p->past, c->max_position_embeddings);
    p->random_ids = malloc((size_t)p->tokens * sizeof *p->random_ids);
    if (!p->random_ids) return qp_fail(QP_NO_MEMORY, "no memory for %" PRId64 " tokens", p->tokens);
    for (int64_t t = 0; t < p->tokens; t++)
        p->random_ids[t] = (int64_t)(qp_hash_of(b->options->seed, (uint64_t)(p->past + t)) % (uint64_t)c->vocab_size);
    p->ids = p->random_ids;
    return QP_OK;
}

static qp_status choose_phase(const bench *b, bool decode, phase *p)
{
    const qp_bench_options *o = b->options;
    p->name = decode ? "decode" : "prefill";
    if (b->golden) {
        QP_TRY(find_golden_phase(b, decode, decode ? o->context : o->prefill_tokens, &p->golden));
        p->past = p->golden->past;
        p->tokens = p->golden->tokens;
        p->ids = p->golden->ids;
        return QP_OK;
    }
    p->past = !decode ? 0 : o->context >= 0 ? o->context : DEFAULT_CONTEXT;
    p->tokens = decode ? 1 : o->prefill_tokens >= 0 ? o->prefill_tokens : on_cpu(b) ? CPU_PREFILL : DEFAULT_PREFILL;
    return choose_random_tokens(b, p);
}

/* Keys and values of an earlier pass of the golden's prompt, computed where the golden does not hold them. */
static qp_status fill_cache_of(bench *b, phase *p, const qp_golden_phase *earlier)
{
    const qp_plan_options options = { .tokens = earlier->tokens,
                                      .capacity = p->store.capacity,
                                      .choices = choices_of(b),
                                      .fusions = b->options->fusions };
    qp_plan plan;
    bool all = true;
    QP_TRY(qp_plan_open(b->model, options, &plan));
    qp_status status = qp_plan_set_past(&plan, earlier->past);
    for (int t = 0; t < plan.tensor_count; t++)
        if (plan.tensors[t].cache >= 0) all = all && qp_golden_has(earlier, plan.tensors[t].name);
    if (status == QP_OK && !all) status = qp_store_prepare(&p->store, &plan);
    if (status == QP_OK && !all) status = qp_store_set_inputs(&p->store, &plan, earlier->ids);
    if (status == QP_OK && !all) status = qp_plan_run(&plan, &b->options->selection, &p->store, NULL, NULL);
    for (int t = 0; t < plan.tensor_count && status == QP_OK; t++) {
        const qp_plan_tensor *tensor = &plan.tensors[t];
        if (tensor->cache < 0 || !qp_golden_has(earlier, tensor->name)) continue;
        const uint64_t bytes = qp_store_bytes(&p->store, &plan, t);
        status = qp_host_reserve(&b->scratch, (size_t)bytes);
        if (status == QP_OK)
            status = qp_golden_read(b->golden, earlier, tensor->name, tensor->dtype, tensor->rank, tensor->dim,
                                    b->scratch.data);
        if (status == QP_OK)
            status = qp_device_write(device_of(b), qp_store_tensor(&p->store, &plan, t), b->scratch.data, bytes);
    }
    qp_plan_close(&plan);
    return status;
}

/* What the passes before this one have left: the golden's own, or random numbers of a deviation of 1. */
static qp_status fill_caches(bench *b, phase *p)
{
    if (p->past == 0) return QP_OK;
    if (p->golden) {
        for (int i = 0; i < qp_golden_phase_count(b->golden); i++) {
            const qp_golden_phase *earlier = qp_golden_phase_at(b->golden, i);
            if (!strcmp(earlier->prompt, p->golden->prompt) && earlier->past < p->past)
                QP_TRY(fill_cache_of(b, p, earlier));
        }
        return QP_OK;
    }
    const int64_t elements = p->past * p->store.row;
    QP_TRY(qp_host_reserve(&b->scratch, (size_t)elements * sizeof(qp_bf16)));
    for (int i = 0; i < 2 * p->store.layers; i++) {
        qp_random_fill(qp_hash_of(b->options->seed, (uint64_t)i), -1.732f, 1.732f, b->scratch.data, elements);
        QP_TRY(qp_device_write(device_of(b), p->store.cache[i], b->scratch.data, (uint64_t)elements * sizeof(qp_bf16)));
    }
    return QP_OK;
}

static qp_status prepare_phase(bench *b, phase *p)
{
    if (is_decode(p) && p->tokens == 1 && !on_cpu(b)) { /* each replay leaves a key more */
        const int64_t positions = b->model->config.max_position_embeddings - p->past;
        p->replays = positions < REPLAYS ? positions : REPLAYS;
    }
    qp_plan_options options = { .tokens = p->tokens,
                                .capacity = p->past + (p->replays ? p->replays : p->tokens),
                                .last_logits_only = !p->golden,
                                .fusions = b->options->fusions };
    if (!b->golden)
        QP_TRY(qp_find_choices(b->runtime, &b->options->selection, options, p->past, options.capacity - p->tokens,
                               &b->choices));
    options.choices = choices_of(b);
    QP_TRY(qp_plan_open(b->model, options, &p->plan));
    QP_TRY(qp_selection_check_fault(&b->options->selection, &p->plan));
    QP_TRY(qp_plan_set_past(&p->plan, p->past));
    QP_TRY(qp_store_open(b->runtime, options.capacity, QP_PRECISION_CONTRACT, &p->store));
    QP_TRY(fill_caches(b, p));
    QP_TRY(qp_store_prepare(&p->store, &p->plan));
    QP_TRY(qp_store_set_inputs(&p->store, &p->plan, p->ids));
    return qp_prepared_open(&p->plan, &b->options->selection, &p->store, &p->prepared);
}

/* Once without, so that the profiler sees no loading of kernels. */
static qp_status profile_phase(bench *b, phase *p)
{
    const pass t = { .b = b, .p = p, .marked = QP_OK };
    QP_TRY(run_pass(&t, NULL, NULL));
    QP_TRY(qp_device_profile(device_of(b), true));
    QP_TRY(run_pass(&t, NULL, NULL));
    return qp_device_profile(device_of(b), false);
}

static qp_status measure_phase(bench *b, phase *p)
{
    qp_bench_step *step = &b->report->steps[b->report->step_count++];
    uint64_t alone = 0;
    int rows_done = 0;
    QP_TRY(make_rows(b, p));
    *step = make_step(p, is_decode(p) ? "decode_step" : "prefill", NULL);
    for (int n = 0; n < p->plan.node_count && p->first_row < p->past_row; n++) QP_TRY(visit_node(b, p, n, &rows_done));
    if (p->first_row < p->past_row) QP_TRY(print_pass(b, p, &alone));
    QP_TRY(time_pass(b, p, alone, step));
    if (is_decode(p)) QP_TRY(measure_replays(b, p, step));
    QP_TRY(keep(b));
    return qp_device_check_canaries(device_of(b));
}

static qp_status run_phase(bench *b, phase *p)
{
    qp_status status = prepare_phase(b, p);
    if (status == QP_OK) status = b->options->profile ? profile_phase(b, p) : measure_phase(b, p);
    b->phases_done++;
    qp_prepared_close(&p->prepared);
    qp_store_close(&p->store);
    qp_plan_close(&p->plan);
    return status;
}

/* ---- All of it. ---- */

/* Samples that were taken before the clock rose do not count either. */
static void review_time(qp_bench_report *report, qp_time *time)
{
    if (!time->why && time->clock > 0.0 && time->clock < QP_CLOCK_LEAST_SHARE * report->clock) {
        time->dropped += time->seconds.samples;
        time->seconds = (qp_statistics){ 0 };
        time->why = "the card's clock rose later in the run";
    }
    report->dropped += time->dropped;
}

/* What a decode step makes of the CPU. */
static void relate_step(const qp_host_speed *host, qp_bench_step *step)
{
    const double seconds = step->time.seconds.median, once = host->read.all.seconds.median;
    if (seconds > 0.0) step->speed_up = step->one_thread.seconds.median / seconds;
    if (once > 0.0 && !strcmp(step->name, "decode_step")) step->readings = seconds / once;
}

void qp_bench_report_count(qp_bench_report *report)
{
    report->verified = report->not_verified = 0;
    report->failed = report->host.failed;
    for (int r = 0; r < report->row_count; r++) {
        const qp_bench_row *row = &report->rows[r];
        report->verified += row->verified != NULL;
        report->failed += row->failed;
        report->not_verified += !row->verified && !row->failed;
    }
    for (int i = 0; i < report->step_count; i++) report->failed += report->steps[i].failed;
}

static void summarise(qp_bench_report *report)
{
    review_time(report, &report->ceilings.copy);
    review_time(report, &report->ceilings.product);
    if (report->ceilings.copy.why) report->ceilings.copy_bytes_per_second = 0.0;
    if (report->ceilings.product.why) report->ceilings.product_flops_per_second = 0.0;
    for (int r = 0; r < report->row_count; r++) {
        qp_bench_row *row = &report->rows[r];
        for (int i = 0; i < QP_PROTOCOLS; i++) review_time(report, &row->time[i]);
        if (row->time[QP_PROTOCOL_IN_MODEL].why && row->share > 0.0) {
            row->share = 0.0;
            drop_nodes(report, row->phase);
        }
    }
    for (int i = 0; i < report->step_count; i++) {
        review_time(report, &report->steps[i].time);
        if (report->steps[i].time.why) report->steps[i].wall = (qp_statistics){ 0 };
        relate_step(&report->host, &report->steps[i]);
    }
    qp_bench_report_count(report);
}

static void say_host(void *context, const char *what) { say_progress(context, NULL, 0, what); }

static qp_status measure(bench *b)
{
    qp_bench_report *report = b->report;
    const qp_bench_options *o = b->options;
    const int64_t samples = o->samples < CEILING_SAMPLES ? o->samples : CEILING_SAMPLES;
    if (b->golden) QP_TRY(qp_golden_choices(b->golden, &b->choices));
    if (o->prefill) QP_TRY(choose_phase(b, false, &b->phases[b->phase_count++]));
    if (o->decode) QP_TRY(choose_phase(b, true, &b->phases[b->phase_count++]));
    if (!o->profile) {
        say_progress(b, NULL, 0, "its ceilings");
        QP_TRY(qp_timer_open(device_of(b), &b->timer));
        report->flush_bytes = b->timer.flush_bytes;
        report->mark_overhead = b->timer.mark_overhead;
        QP_TRY(qp_timer_measure_ceilings(&b->timer, samples, &report->ceilings));
        const qp_host_options host = { .only = o->only, .samples = samples, .say = say_host, .context = b };
        if (on_cpu(b)) QP_TRY(qp_host_measure(&b->timer, b->model, &host, &report->host));
    }
    for (int i = 0; i < b->phase_count; i++) QP_TRY(run_phase(b, &b->phases[i]));
    report->clock = b->timer.clock.reference;
    return QP_OK;
}

static void close_bench(bench *b)
{
    for (int i = 0; i < b->phase_count; i++) {
        free(b->phases[i].row_of);
        free(b->phases[i].random_ids);
    }
    qp_timer_close(&b->timer);
    qp_cublas_choices_close(&b->choices);
    for (int i = 0; i < QP_MAX_IN; i++) qp_host_free(&b->input[i]);
    for (int i = 0; i < QP_MAX_OUT; i++) {
        qp_host_free(&b->captured[i]);
        qp_host_free(&b->want[i]);
        qp_host_free(&b->got[i]);
    }
    qp_host_free(&b->scratch);
}

qp_status qp_bench(const qp_runtime *runtime, const qp_golden *golden, const qp_bench_options *options,
                   qp_bench_report *report)
{
    const double start = qp_seconds_now();
    const qp_host_usage usage = qp_host_usage_now();
    bench b = { .runtime = runtime, .model = runtime->model, .golden = golden, .options = options, .report = report };
    *report = (qp_bench_report){ .environment = qp_environment_read(),
                                 .model = options->model,
                                 .backend = qp_backend_name(options->selection.backend),
                                 .fault = options->selection.fault ? options->selection.fault->name : NULL,
                                 .only = options->only,
                                 .seed = options->seed,
                                 .samples = options->samples,
                                 .device = qp_device_describe(runtime->device),
                                 .profiled = options->profile };
    qp_fusions_describe(options->fusions, report->plan);
    qp_status status = qp_golden_describe(golden, options->golden_path, &report->golden);
    if (status == QP_OK) status = measure(&b);
    close_bench(&b);
    if (status != QP_OK) {
        qp_bench_close(report);
        return status;
    }
    summarise(report);
    report->host.others = qp_host_others(&usage);
    report->seconds = qp_seconds_now() - start;
    report->complete = true;
    return QP_OK;
}

void qp_bench_close(qp_bench_report *report)
{
    free(report->golden.attributes);
    free(report->rows);
    free(report->nodes);
    qp_host_close(&report->host);
    memset(report, 0, sizeof *report);
}
