#include "verify.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/strict_fp.h"
#include "../kernels/threads.h"
#include "../model/clock.h"
#include "../model/trace.h"
#include "golden_model.h"
#include "grown.h"
#include "host_memory.h"

/* ---- State of a run. ---- */

/* What is known of a tensor of the plan in the phase at hand; of a cache, over all phases of the prompt so far. */
typedef struct tensor_state {
    bool captured; /* `captured` holds the golden's values */
    bool row;      /* a row was made of it */
} tensor_state;

typedef struct verifier {
    const qp_runtime *runtime; /* where our implementations run */
    const qp_model *model;
    const qp_golden *golden;
    const qp_verify_options *options;
    qp_cublas_choices choices;
    bool must_hold_all; /* the golden says that it holds every boundary */

    /* Three executions of the same plan. */
    qp_runtime host;      /* the same model on the CPU */
    qp_store captured;    /* the golden's own tensors, on the host */
    qp_store given;       /* the same on our device, where that is not the CPU */
    qp_store ours;        /* carried, by the selected implementations, on our device */
    qp_store oracle;      /* carried, in fp64, on the host */
    tensor_state *caches; /* [2 * layers], by the slot of the plan's cache tensors */

    /* The outputs of the node at hand on the golden's inputs, and the golden's inputs in fp64. */
    void *device_local[QP_MAX_OUT]; /* on our device */
    uint64_t device_local_bytes[QP_MAX_OUT];
    qp_host_memory local[QP_MAX_OUT]; /* the same on the host */
    qp_host_memory local_oracle[QP_MAX_OUT], widened[QP_MAX_IN];
    qp_host_memory carried[QP_MAX_OUT]; /* copies of ours on the host */
    qp_host_memory input;               /* a copy of an input of the device's */

    qp_report *report;
    struct qp_not_compared *not_compared;
    struct qp_inside_fused *inside_fused;
    int nodes_done, nodes_total;
} verifier;

static bool on_cpu(const verifier *v) { return qp_device_backend(v->runtime->device) == QP_CPU; }

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "no memory for the report"); }

/* "path of the phase/boundary"; the caller's to free. */
static qp_status key_of(const qp_golden_phase *phase, const char *boundary, const char **key)
{
    const size_t bytes = strlen(phase->path) + strlen(boundary) + 2;
    char *text = malloc(bytes);
    if (!text) return no_memory();
    (void)snprintf(text, bytes, "%s/%s", phase->path, boundary);
    *key = text;
    return QP_OK;
}

static qp_status is_asked_for(const verifier *v, const qp_golden_phase *phase, const char *boundary, bool *asked)
{
    const char *key = NULL;
    *asked = true;
    if (!v->options->only) return QP_OK;
    QP_TRY(key_of(phase, boundary, &key));
    *asked = fnmatch(v->options->only, key, 0) == 0;
    free((void *)key);
    return QP_OK;
}

/* Whether any tensor of any phase of this prompt is asked for: a later phase needs the earlier ones' caches. */
static qp_status is_asked_for_prompt(const verifier *v, const qp_golden_phase *phase, bool *asked)
{
    *asked = false;
    for (int i = 0; i < qp_golden_phase_count(v->golden) && !*asked; i++) {
        const qp_golden_phase *other = qp_golden_phase_at(v->golden, i);
        if (strcmp(other->prompt, phase->prompt) != 0) continue;
        for (int j = 0; j < other->boundary_count && !*asked; j++)
            QP_TRY(is_asked_for(v, other, other->boundaries[j], asked));
    }
    return QP_OK;
}

/* ---- Rows. ---- */

static qp_status new_row(verifier *v, qp_row **row)
{
    qp_row *rows = qp_grown(v->report->rows, v->report->row_count, sizeof *rows);
    if (!rows) return no_memory();
    v->report->rows = rows;
    *row = &rows[v->report->row_count++];
    memset(*row, 0, sizeof **row);
    return QP_OK;
}

/* Golden elements that are zero, and less than the least normal number in an fp64 run from the token ids on, which no
 * flaw of the golden can reach. */
static int64_t count_true_zeros(const qp_plan_tensor *tensor, const void *golden, const double *truth, int64_t n)
{
    int64_t count = 0;
#pragma omp parallel for reduction(+ : count) if (QP_WORTH_THREADS(n))
    for (int64_t i = 0; i < n; i++) count += qp_element(tensor->dtype, golden, i) == 0.0 && fabs(truth[i]) < 0x1p-126;
    return count;
}

typedef struct outcome {
    const void *got;   /* ours */
    const void *truth; /* the carried fp64 run; as the tensor's own type for i64 */
    qp_dtype oracle_dtype;
    const void *oracle;
    const void *local;     /* carried rows: ours on the golden's inputs, or NULL */
    const char *violation; /* qp_row.violation */
    double seconds;        /* that the node took, a share for each of its outputs */
} outcome;

/* The hashes of both tensors, and the oracle's values where they are farthest apart. */
static qp_status describe_bits(qp_row *row, const void *want, const outcome *o, size_t bytes)
{
    if (o->local) /* the row before has the same golden tensor */
        memcpy(row->golden_sha256, (row - 1)->golden_sha256, sizeof row->golden_sha256);
    else
        QP_TRY(qp_sha256(want, bytes, row->golden_sha256));
    if (memcmp(want, o->got, bytes) == 0)
        memcpy(row->ours_sha256, row->golden_sha256, sizeof row->ours_sha256);
    else
        QP_TRY(qp_sha256(o->got, bytes, row->ours_sha256));
    for (int i = 0; i < row->comparison.worst_count; i++)
        row->worst_oracle[i] = qp_element(o->oracle_dtype, o->oracle, row->comparison.worst[i].index);
    return QP_OK;
}

static qp_status add_row(verifier *v, const qp_golden_phase *phase, const qp_plan_node *node,
                         const qp_plan_tensor *tensor, const char *implementation, qp_mode mode, const void *want,
                         outcome o)
{
    qp_row *row = NULL;
    const double start = qp_seconds_now();
    QP_TRY(new_row(v, &row));
    QP_TRY(key_of(phase, tensor->name, &row->key));
    row->boundary = row->key + strlen(phase->path) + 1;
    row->layer = node->layer;
    row->operation = node->operation->name;
    row->implementation = implementation;
    (void)qp_plan_node_order(node, row->order);
    row->mode = mode;
    row->violation = o.violation;
    row->dtype = tensor->dtype;
    row->rank = tensor->rank;
    memcpy(row->dim, tensor->dim, sizeof row->dim);
    memcpy(row->axis, tensor->axis, sizeof row->axis);

    const int64_t n = qp_plan_tensor_elements(tensor);
    row->comparison = qp_compare(tensor->dtype, want, o.got, n);
    if (tensor->dtype != QP_I64) row->true_zeros = count_true_zeros(tensor, want, o.truth, n);
    row->ours_golden = qp_error_of(tensor->dtype, o.got, tensor->dtype, want, n);
    row->ours_oracle = qp_error_of(tensor->dtype, o.got, o.oracle_dtype, o.oracle, n);
    row->golden_oracle = qp_error_of(tensor->dtype, want, o.oracle_dtype, o.oracle, n);
    if (o.local) {
        const qp_row *local_row = row - 1; /* the same tensor's, made just before */
        row->has_origin = true;
        row->came_in = qp_error_of(tensor->dtype, o.got, tensor->dtype, o.local, n);
        row->came_in_mismatches = qp_compare(tensor->dtype, o.local, o.got, n).mismatches;
        row->added = local_row->ours_golden;
        row->added_mismatches = local_row->comparison.mismatches;
    }
    QP_TRY(describe_bits(row, want, &o, (size_t)n * qp_dtype_bytes(tensor->dtype)));
    qp_judge(row);
    if (row->verdict == QP_VERDICT_FAIL && node->order_unknown) {
        const size_t used = strlen(row->reason);
        (void)snprintf(row->reason + used, sizeof row->reason - used,
                       "; the golden does not know the order of this sum");
    }
    row->seconds = o.seconds + qp_seconds_now() - start;
    return v->options->sink ? v->options->sink(v->options->sink_context, v->report, row) : QP_OK;
}

/* ---- One node. ---- */

/* Reads what the golden holds of the node's outputs into `captured` and `given`. */
static qp_status read_captured(verifier *v, const qp_golden_phase *phase, const qp_plan *plan, const qp_plan_node *node,
                               tensor_state *state)
{
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++) {
        const int index = node->out[i];
        const qp_plan_tensor *tensor = &plan->tensors[index];
        state[index].captured = qp_golden_has(phase, tensor->name);
        if (!state[index].captured && v->must_hold_all)
            return qp_fail(QP_FORMAT,
                           "the golden says that it holds all boundaries, but %s is missing; capture it again",
                           tensor->name);
        if (state[index].captured) {
            void *captured = qp_store_tensor(&v->captured, plan, index);
            qp_trace_push(QP_TRACE_IO, "read golden", node->layer, phase->past,
                          qp_store_bytes(&v->captured, plan, index));
            const qp_status read =
                qp_golden_read(v->golden, phase, tensor->name, tensor->dtype, tensor->rank, tensor->dim, captured);
            qp_trace_pop();
            QP_TRY(read);
            if (!on_cpu(v))
                QP_TRY(qp_device_write(v->runtime->device, qp_store_tensor(&v->given, plan, index), captured,
                                       qp_store_bytes(&v->captured, plan, index)));
        }
        if (tensor->cache >= 0) state[tensor->cache].captured = state[tensor->cache].captured && state[index].captured;
    }
    return QP_OK;
}

static bool inputs_are_captured(const qp_plan_node *node, const tensor_state *state)
{
    for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++)
        if (!state[node->in[i]].captured) return false;
    return true;
}

static bool is_widened(const qp_operand *operand)
{
    return operand->role == QP_ACTIVATION && (operand->dtype == QP_BF16 || operand->dtype == QP_F32);
}

/* The golden's inputs in fp64, through the oracle, into v->local_oracle. */
static qp_status run_local_oracle(verifier *v, const qp_plan *plan, const qp_plan_node *node)
{
    const qp_operation *operation = node->operation;
    const qp_call call = qp_node_call(plan, node, &v->captured);
    qp_call oracle = call;
    for (int i = 0; i < qp_operand_count(operation->in, QP_MAX_IN); i++) {
        if (!is_widened(&operation->in[i])) continue;
        const int64_t n = qp_operand_elements(&operation->in[i], &call);
        QP_TRY(qp_host_reserve(&v->widened[i], (size_t)n * sizeof(double)));
        double *wide = v->widened[i].data;
#pragma omp parallel for if (QP_WORTH_THREADS(n))
        for (int64_t j = 0; j < n; j++) wide[j] = qp_element(operation->in[i].dtype, call.in[i], j);
        oracle.in[i] = wide;
    }
    for (int i = 0; i < qp_operand_count(operation->out, QP_MAX_OUT); i++) {
        QP_TRY(qp_host_reserve(&v->local_oracle[i],
                               (size_t)qp_operand_elements(&operation->out[i], &call) * sizeof(double)));
        oracle.out[i] = v->local_oracle[i].data;
    }
    return qp_oracle_run(node, &oracle);
}

/* What the implementation did to its inputs, which it must leave alone; NULL: nothing. The golden's are on the host. */
static qp_status find_changed_input(verifier *v, const qp_plan *plan, const qp_plan_node *node, const char **violation)
{
    for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++) {
        if (plan->tensors[node->in[i]].kind == QP_TENSOR_WEIGHT) continue;
        const size_t bytes = (size_t)qp_store_bytes(&v->captured, plan, node->in[i]);
        const void *now = NULL;
        QP_TRY(qp_host_reserve(&v->input, bytes));
        QP_TRY(qp_store_view(&v->given, plan, node->in[i], v->input.data, &now));
        if (memcmp(now, qp_store_tensor(&v->captured, plan, node->in[i]), bytes) != 0)
            *violation = "the implementation changed its input";
    }
    return QP_OK;
}

enum { GUARD_BYTES = 512 }; /* of poison behind each local output */

static bool is_poison(const unsigned char *memory, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (memory[i] != QP_POISON) return false;
    return true;
}

/* The node on the golden's inputs: by the implementation into v->local, in fp64 into v->local_oracle. Outputs and workspace
 * are poisoned before, so that what is not written shows. */
static qp_status run_local(verifier *v, const qp_plan *plan, const qp_plan_node *node,
                           const qp_implementation *implementation, const char **violation)
{
    qp_device *device = v->runtime->device;
    qp_call call = qp_node_call(plan, node, on_cpu(v) ? &v->captured : &v->given);
    const int outputs = qp_operand_count(node->operation->out, QP_MAX_OUT);
    for (int i = 0; i < outputs; i++) {
        const uint64_t bytes = qp_store_bytes(&v->captured, plan, node->out[i]) + GUARD_BYTES;
        if (v->device_local_bytes[i] < bytes) {
            qp_device_free(device, v->device_local[i]);
            v->device_local_bytes[i] = 0;
            QP_TRY(qp_device_allocate(device, bytes, "an output", &v->device_local[i]));
            v->device_local_bytes[i] = bytes;
        }
        QP_TRY(qp_device_fill(device, v->device_local[i], QP_POISON, bytes));
        call.out[i] = v->device_local[i];
    }
    QP_TRY(qp_device_poison_workspace(device));
    QP_TRY(qp_node_run(plan, node, implementation, device, &call));
    for (int i = 0; i < outputs; i++) {
        const size_t bytes = (size_t)qp_store_bytes(&v->captured, plan, node->out[i]);
        QP_TRY(qp_host_reserve(&v->local[i], bytes + GUARD_BYTES));
        QP_TRY(qp_device_read(device, v->local[i].data, v->device_local[i], bytes + GUARD_BYTES));
        if (!is_poison((const unsigned char *)v->local[i].data + bytes, GUARD_BYTES))
            *violation = "the implementation wrote behind its output";
    }
    if (!on_cpu(v)) QP_TRY(find_changed_input(v, plan, node, violation));
    return run_local_oracle(v, plan, node);
}

static qp_status run_carried(verifier *v, const qp_plan *plan, const qp_plan_node *node,
                             const qp_implementation *implementation)
{
    const qp_call ours = qp_node_call(plan, node, &v->ours), oracle = qp_node_call(plan, node, &v->oracle);
    QP_TRY(qp_node_poison(plan, node, &v->ours));
    QP_TRY(qp_node_run(plan, node, implementation, v->runtime->device, &ours));
    return qp_oracle_run(node, &oracle);
}

/* Our carried output on the host. */
static qp_status view_carried(verifier *v, const qp_plan *plan, const qp_plan_node *node, int output, const void **view)
{
    QP_TRY(qp_host_reserve(&v->carried[output], (size_t)qp_store_bytes(&v->ours, plan, node->out[output])));
    return qp_store_view(&v->ours, plan, node->out[output], v->carried[output].data, view);
}

static qp_status verify_node(verifier *v, const qp_golden_phase *phase, const qp_plan *plan, const qp_plan_node *node,
                             tensor_state *state)
{
    qp_implementation implementation;
    const char *violation = NULL;
    QP_TRY(qp_selection_find(&v->options->selection, node, &implementation));

    /* Before the outputs are read: an output may be the newest row of a cache, but never of one that it reads. */
    const bool local = inputs_are_captured(node, state);
    QP_TRY(read_captured(v, phase, plan, node, state));
    const int outputs = qp_operand_count(node->operation->out, QP_MAX_OUT);
    const double start = qp_seconds_now();
    if (local) QP_TRY(run_local(v, plan, node, &implementation, &violation));
    const double middle = qp_seconds_now();
    QP_TRY(run_carried(v, plan, node, &implementation));
    const double local_share = (middle - start) / outputs, carried_share = (qp_seconds_now() - middle) / outputs;

    for (int i = 0; i < outputs; i++) {
        const int index = node->out[i];
        const qp_plan_tensor *tensor = &plan->tensors[index];
        if (!state[index].captured) continue;

        bool asked = false;
        QP_TRY(is_asked_for(v, phase, tensor->name, &asked));
        if (!asked) continue;
        const void *want = qp_store_tensor(&v->captured, plan, index), *carried = NULL;
        const void *truth = qp_store_tensor(&v->oracle, plan, index);
        const qp_dtype wide = qp_store_dtype(&v->oracle, tensor);
        QP_TRY(view_carried(v, plan, node, i, &carried));
        if (local) {
            const outcome o = { v->local[i].data, truth, wide, v->local_oracle[i].data, NULL, violation, local_share };
            QP_TRY(add_row(v, phase, node, tensor, implementation.name, QP_LOCAL, want, o));
        }
        const outcome o = { carried, truth, wide, truth, local ? v->local[i].data : NULL, NULL, carried_share };
        QP_TRY(add_row(v, phase, node, tensor, implementation.name, QP_CARRIED, want, o));
        state[index].row = true;
    }
    return QP_OK;
}

/* ---- One phase. ---- */

static qp_status note_not_compared(verifier *v, const qp_golden_phase *phase, const char *boundary, const char *why)
{
    struct qp_not_compared *list = qp_grown(v->not_compared, v->report->not_compared_count, sizeof *list);
    if (!list) return no_memory();
    v->report->not_compared = v->not_compared = list;
    struct qp_not_compared *entry = &v->not_compared[v->report->not_compared_count];
    QP_TRY(key_of(phase, boundary, &entry->key));
    entry->why = why;
    v->report->not_compared_count++;
    return QP_OK;
}

static qp_status note_inside_fused(verifier *v, const qp_plan *plan, const qp_plan_tensor *tensor)
{
    const qp_plan_node *node = &plan->nodes[tensor->inside];
    struct qp_inside_fused found = { .tensors = 1 };
    qp_plan_name_of_all_layers(found.boundary, tensor->name, node->layer);
    qp_plan_name_of_all_layers(found.node, node->name, node->layer);
    for (int i = 0; i < v->report->inside_fused_count; i++)
        if (!strcmp(v->inside_fused[i].boundary, found.boundary)) {
            v->inside_fused[i].tensors++;
            return QP_OK;
        }
    struct qp_inside_fused *list = qp_grown(v->inside_fused, v->report->inside_fused_count, sizeof *list);
    if (!list) return no_memory();
    v->report->inside_fused = v->inside_fused = list;
    v->inside_fused[v->report->inside_fused_count++] = found;
    return QP_OK;
}

static qp_status note_all_inside_fused(verifier *v, const qp_golden_phase *phase, const qp_plan *plan)
{
    for (int t = 0; t < plan->tensor_count; t++) {
        const qp_plan_tensor *tensor = &plan->tensors[t];
        bool asked = false;
        if (tensor->kind != QP_TENSOR_INSIDE || !qp_golden_has(phase, tensor->name)) continue;
        QP_TRY(is_asked_for(v, phase, tensor->name, &asked));
        if (asked) QP_TRY(note_inside_fused(v, plan, tensor));
    }
    return QP_OK;
}

/* Every golden tensor of the phase is a row, left out by the key filter, inside a fused node, or not compared. */
static qp_status note_all_not_compared(verifier *v, const qp_golden_phase *phase, const qp_plan *plan,
                                       const tensor_state *state)
{
    for (int i = 0; i < phase->boundary_count; i++) {
        const int tensor = qp_plan_find(plan, phase->boundaries[i]);
        bool asked = false;
        if (tensor >= 0 && state[tensor].row) continue;
        QP_TRY(is_asked_for(v, phase, phase->boundaries[i], &asked));
        if (!asked)
            v->report->left_out++;
        else if (tensor < 0 || plan->tensors[tensor].kind != QP_TENSOR_INSIDE)
            QP_TRY(note_not_compared(v, phase, phase->boundaries[i], "no node of the plan writes it"));
    }
    return QP_OK;
}

static qp_status verify_phase(verifier *v, const qp_golden_phase *phase)
{
    qp_plan plan = { 0 };
    tensor_state *state = NULL;
    const qp_plan_options options = {
        .tokens = phase->tokens, .capacity = v->ours.capacity, .choices = &v->choices, .fusions = v->options->fusions
    };
    qp_status status = qp_plan_open(v->model, options, &plan);
    if (status != QP_OK) goto done;
    state = calloc((size_t)plan.tensor_count, sizeof *state);
    if (!state) {
        status = qp_fail(QP_NO_MEMORY, "no memory for the state of %d tensors", plan.tensor_count);
        goto done;
    }
    for (int t = 0; t < plan.tensor_count; t++) {
        const bool given = plan.tensors[t].kind == QP_TENSOR_INPUT || plan.tensors[t].kind == QP_TENSOR_WEIGHT;
        state[t] = plan.tensors[t].kind == QP_TENSOR_CACHE ? v->caches[plan.tensors[t].slot]
                                                           : (tensor_state){ .captured = given };
    }

    qp_store *stores[] = { &v->captured, &v->ours, &v->oracle, &v->given };
    const size_t store_count = on_cpu(v) ? 3 : 4;
    status = qp_plan_set_past(&plan, phase->past);
    for (size_t i = 0; i < store_count && status == QP_OK; i++) {
        status = qp_store_prepare(stores[i], &plan);
        if (status == QP_OK) status = qp_store_set_inputs(stores[i], &plan, phase->ids);
    }
    qp_trace_push(QP_TRACE_VERIFY, phase->path, -1, phase->past, 0);
    for (int n = 0; n < plan.node_count && status == QP_OK; n++) {
        if (v->options->progress)
            v->options->progress(v->options->progress_context, v->nodes_done, v->nodes_total, phase->path);
        status = verify_node(v, phase, &plan, &plan.nodes[n], state);
        v->nodes_done++;
    }
    qp_trace_pop();
    if (status == QP_OK) status = qp_device_check_canaries(v->runtime->device);
    for (int t = 0; t < plan.tensor_count; t++)
        if (plan.tensors[t].kind == QP_TENSOR_CACHE) v->caches[plan.tensors[t].slot] = state[t];
    if (status == QP_OK) status = note_all_inside_fused(v, phase, &plan);
    if (status == QP_OK) status = note_all_not_compared(v, phase, &plan, state);
done:
    free(state);
    qp_plan_close(&plan);
    return status == QP_OK ? QP_OK : qp_fail(status, "%s: %s", phase->path, qp_last_error());
}

/* ---- The whole golden. ---- */

static qp_status require_fitting_phases(const verifier *v, int64_t *capacity)
{
    *capacity = 1;
    const int phases = qp_golden_phase_count(v->golden);
    if (phases == 0) return qp_fail(QP_FORMAT, "%s holds no prompt", v->options->golden_path);
    for (int i = 0; i < phases; i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(v->golden, i);
        const int64_t keys = phase->past + phase->tokens;
        if (keys > v->model->config.max_position_embeddings)
            return qp_fail(QP_FORMAT, "%s reaches %" PRId64 " tokens, the model has %" PRId64 " positions", phase->path,
                           keys, v->model->config.max_position_embeddings);
        if (keys > *capacity) *capacity = keys;
    }
    return QP_OK;
}

static qp_status open_verifier(verifier *v)
{
    int64_t capacity = 0;
    QP_TRY(require_fitting_phases(v, &capacity));
    QP_TRY(qp_golden_choices(v->golden, &v->choices));
    const char *boundaries = qp_golden_attribute(v->golden, "boundaries");
    v->must_hold_all = boundaries && !strcmp(boundaries, "all");
    QP_TRY(qp_runtime_open(v->model, QP_CPU, &v->host));
    QP_TRY(qp_store_open(&v->host, capacity, QP_PRECISION_CONTRACT, &v->captured));
    QP_TRY(qp_store_open(&v->host, capacity, QP_PRECISION_ORACLE, &v->oracle));
    QP_TRY(qp_store_open(v->runtime, capacity, QP_PRECISION_CONTRACT, &v->ours));
    if (!on_cpu(v)) QP_TRY(qp_store_open(v->runtime, capacity, QP_PRECISION_CONTRACT, &v->given));
    v->caches = calloc((size_t)v->model->config.num_hidden_layers * 2, sizeof *v->caches);
    return v->caches ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the state of the caches");
}

static void close_verifier(verifier *v)
{
    for (int i = 0; i < QP_MAX_IN; i++) qp_host_free(&v->widened[i]);
    for (int i = 0; i < QP_MAX_OUT; i++) {
        qp_device_free(v->runtime->device, v->device_local[i]);
        qp_host_free(&v->local[i]);
        qp_host_free(&v->local_oracle[i]);
        qp_host_free(&v->carried[i]);
    }
    qp_host_free(&v->input);
    free(v->caches);
    qp_store_close(&v->given);
    qp_store_close(&v->ours);
    qp_store_close(&v->oracle);
    qp_store_close(&v->captured);
    qp_runtime_close(&v->host);
    qp_cublas_choices_close(&v->choices);
}

/* Every phase has as many nodes as the plan of one token: for the progress line, and to see whether one has the fault. */
static qp_status count_nodes(verifier *v)
{
    qp_plan plan = { 0 };
    const qp_plan_options options = { .tokens = 1, .capacity = 1, .fusions = v->options->fusions };
    QP_TRY(qp_plan_open(v->model, options, &plan));
    v->nodes_total = plan.node_count * qp_golden_phase_count(v->golden);
    const qp_status status = qp_selection_check_fault(&v->options->selection, &plan);
    qp_plan_close(&plan);
    return status;
}

qp_status qp_verify(const qp_runtime *runtime, const qp_golden *golden, const qp_verify_options *options,
                    qp_report *report)
{
    const double start = qp_seconds_now();
    const qp_model *model = runtime->model;
    verifier v = { .runtime = runtime, .model = model, .golden = golden, .options = options, .report = report };
    *report = (qp_report){ .environment = qp_environment_read(),
                           .model = options->model_path,
                           .backend = qp_backend_name(options->selection.backend),
                           .device = qp_device_describe(runtime->device),
                           .fault = options->selection.fault ? options->selection.fault->name : NULL,
                           .only = options->only };
    qp_fusions_describe(options->fusions, report->plan);
    qp_status status = qp_golden_describe(golden, options->golden_path, &report->golden);
    if (status == QP_OK) status = open_verifier(&v);
    if (status == QP_OK) status = count_nodes(&v);
    for (int i = 0; i < qp_golden_phase_count(golden) && status == QP_OK; i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i);
        if (phase->past == 0) /* a new prompt: an empty cache */
            for (int64_t c = 0; c < 2 * model->config.num_hidden_layers; c++)
                v.caches[c] = (tensor_state){ .captured = true };
        bool asked = false;
        status = is_asked_for_prompt(&v, phase, &asked);
        if (status == QP_OK && asked) status = verify_phase(&v, phase);
        if (status == QP_OK && !asked) report->left_out += phase->boundary_count;
    }
    close_verifier(&v);
    if (status != QP_OK) {
        qp_report_close(report);
        return status;
    }
    report->seconds = qp_seconds_now() - start;
    report->complete = true;
    qp_report_summarise(report);
    return QP_OK;
}

void qp_report_close(qp_report *report)
{
    for (int i = 0; i < report->row_count; i++) free((void *)report->rows[i].key);
    for (int i = 0; i < report->not_compared_count; i++) free((void *)report->not_compared[i].key);
    free(report->golden.attributes);
    free(report->rows);
    free((void *)report->not_compared);
    free((void *)report->inside_fused);
    memset(report, 0, sizeof *report);
}
