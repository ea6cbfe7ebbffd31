#include "recorded_step.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

enum { AHEAD = 4, MARKS = AHEAD + 1 }; /* replays that are enqueued behind the one whose token the host waits for */

qp_status qp_recorded_step_check(const qp_plan *plan, const qp_selection *selection, const qp_store *store,
                                 const bool *chosen)
{
    const qp_backend backend = qp_device_backend(store->runtime->device);
    if (plan->options.tokens != 1)
        return qp_fail(QP_UNSUPPORTED, "a pass of %" PRId64 " tokens cannot be recorded, only one of a single token",
                       plan->options.tokens);
    for (int n = 0; n < plan->node_count; n++) {
        const qp_plan_node *node = &plan->nodes[n];
        qp_implementation implementation;
        if (chosen && !chosen[n]) continue;
        QP_TRY(qp_selection_find(selection, node, &implementation));
        if (implementation.backend != backend)
            return qp_fail(QP_UNSUPPORTED, "%s=%s runs on the host, and %s cannot be recorded", node->operation->name,
                           implementation.name, node->name);
        if (qp_node_depends_on_past(plan, node) && !node->operation->sequence)
            return qp_fail(QP_UNSUPPORTED, "%s cannot be recorded: %s does not read the number of keys on the device",
                           node->name, node->operation->name);
    }
    if (backend == QP_CPU) return qp_fail(QP_UNSUPPORTED, "the CPU cannot record a step: there a launch is the work");
    return QP_OK;
}

/* The orders of the plan's attention, on the device and on the host; these are the caller's to free, whatever happened. */
static qp_status place_orders(qp_recorded_step *step, qp_attention_order **on_host)
{
    qp_device *device = step->store->runtime->device;
    const size_t bytes = (size_t)(step->plan->options.capacity + 1) * sizeof(qp_attention_order);
    *on_host = malloc(bytes);
    if (!*on_host) return qp_fail(QP_NO_MEMORY, "no memory for the orders of attention");
    qp_plan_attention_orders(step->plan, *on_host);
    QP_TRY(qp_device_allocate(device, bytes, "the orders of attention", &step->orders));
    return qp_device_write(device, step->orders, *on_host, bytes);
}

typedef struct recorder {
    qp_prepared_plan prepared;
    const bool *chosen;
    qp_next_step next;
} recorder;

static qp_status enqueue_step(void *context)
{
    recorder *r = context;
    if (r->chosen) return qp_prepared_run_chosen(&r->prepared, r->chosen);
    QP_TRY(qp_prepared_run(&r->prepared, NULL, NULL));
    return qp_device_advance(r->prepared.store->runtime->device, &r->next);
}

static qp_status record(qp_recorded_step *step, const qp_selection *selection, const bool *chosen)
{
    qp_device *device = step->store->runtime->device;
    const int64_t last = step->plan->options.capacity - 1; /* the longest pass */
    QP_TRY(
        qp_device_allocate(device, (uint64_t)(last + 1) * sizeof(int64_t), "the predicted tokens", &step->predicted));
    QP_TRY(qp_recorded_step_start(step, last, 0));
    recorder r = { .chosen = chosen,
                   .next = { .next_token = qp_store_tensor(step->store, step->plan, step->plan->next_token),
                             .input_id = step->store->input_ids,
                             .position = step->store->position_ids,
                             .predicted = step->predicted } };
    qp_attention_order *orders = NULL;
    qp_status status = place_orders(step, &orders);
    const qp_replay replay = {
        .recorded_past = last, .past = step->store->position_ids, .orders = step->orders, .orders_on_host = orders
    };
    if (status == QP_OK) status = qp_prepared_open(step->plan, selection, step->store, &r.prepared);
    if (status == QP_OK) status = qp_device_record(device, &replay, enqueue_step, &r, &step->recording);
    qp_prepared_close(&r.prepared);
    free(orders);
    return status;
}

qp_status qp_recorded_step_open(qp_plan *plan, const qp_selection *selection, qp_store *store, const bool *chosen,
                                qp_recorded_step *step)
{
    *step = (qp_recorded_step){ 0 };
    QP_TRY(qp_recorded_step_check(plan, selection, store, chosen));
    step->plan = plan;
    step->store = store;
    const qp_status status = record(step, selection, chosen);
    if (status != QP_OK) qp_recorded_step_close(step);
    return status;
}

void qp_recorded_step_close(qp_recorded_step *step)
{
    if (step->store) {
        qp_device *device = step->store->runtime->device;
        qp_device_close_recording(device, step->recording);
        qp_device_free(device, step->predicted);
        qp_device_free(device, step->orders);
    }
    memset(step, 0, sizeof *step);
}

qp_status qp_recorded_step_start(qp_recorded_step *step, int64_t past, int64_t token)
{
    QP_TRY(qp_plan_set_past(step->plan, past));
    QP_TRY(qp_store_set_inputs(step->store, step->plan, &token));
    step->enqueued = past;
    return QP_OK;
}

qp_status qp_recorded_step_replay(qp_recorded_step *step, int64_t count)
{
    qp_device *device = step->store->runtime->device;
    if (count > step->plan->options.capacity - step->enqueued)
        return qp_fail(QP_INVALID, "%" PRId64 " steps after %" PRId64 " do not fit a cache of %" PRId64, count,
                       step->enqueued, step->plan->options.capacity);
    for (int64_t i = 0; i < count; i++, step->enqueued++) {
        qp_trace_push(QP_TRACE_MODEL, "decode", -1, step->enqueued, 0);
        const qp_status status = qp_device_replay(device, step->recording);
        qp_trace_pop();
        if (status != QP_OK) return status;
    }
    return QP_OK;
}

qp_status qp_recorded_step_read(const qp_recorded_step *step, int64_t past, int64_t count, int64_t *tokens)
{
    return qp_device_read(step->store->runtime->device, tokens, (const int64_t *)step->predicted + past,
                          (uint64_t)count * sizeof *tokens);
}

qp_status qp_recorded_step_next(qp_recorded_step *step, int64_t position, int64_t *token)
{
    qp_device *device = step->store->runtime->device;
    while (step->enqueued <= position + AHEAD && step->enqueued < step->plan->options.capacity) {
        QP_TRY(qp_recorded_step_replay(step, 1));
        QP_TRY(qp_device_mark(device, (int)((step->enqueued - 1) % MARKS)));
    }
    if (position >= step->enqueued)
        return qp_fail(QP_INVALID, "position %" PRId64 " does not fit a cache of %" PRId64, position,
                       step->plan->options.capacity);
    return qp_device_read_at(device, (int)(position % MARKS), token, (const int64_t *)step->predicted + position,
                             sizeof *token);
}
