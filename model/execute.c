#include "execute.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

qp_status qp_selection_choose(qp_selection *selection, const char *choice)
{
    const char *equals = strchr(choice, '=');
    char operation[64];
    if (!equals || equals == choice || (size_t)(equals - choice) >= sizeof operation)
        return qp_fail(QP_USAGE, "'%s' is not a choice of the form OPERATION=IMPLEMENTATION", choice);
    (void)snprintf(operation, sizeof operation, "%.*s", (int)(equals - choice), choice);

    const qp_implementation *found = qp_implementation_find(operation, selection->backend, equals + 1);
    if (!found) {
        char names[256] = "";
        for (const qp_implementation *i = qp_implementations; i->name; i++)
            if (!strcmp(i->operation, operation) && i->backend == selection->backend) {
                const size_t used = strlen(names);
                (void)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", i->name);
            }
        return qp_fail(QP_USAGE, "the operation '%s' has no implementation '%s' on the backend %s (it has: %s)",
                       operation, equals + 1, qp_backend_name(selection->backend), *names ? names : "none; see list");
    }
    for (int i = 0; i < selection->chosen_count; i++)
        if (!strcmp(selection->chosen[i]->operation, operation)) {
            selection->chosen[i] = found;
            return QP_OK;
        }
    if (selection->chosen_count == QP_MAX_CHOICES) return qp_fail(QP_USAGE, "more than %d choices", QP_MAX_CHOICES);
    selection->chosen[selection->chosen_count++] = found;
    return QP_OK;
}

qp_status qp_selection_plant(qp_selection *selection, const char *fault)
{
    selection->fault = qp_fault_find(fault, &selection->fault_operation);
    return selection->fault ? QP_OK : qp_fail(QP_USAGE, "there is no planted fault '%s'; see list", fault);
}

static bool has_fault(const qp_selection *selection, const qp_plan_node *node)
{
    const qp_fault *fault = selection->fault;
    return fault && selection->fault_operation == node->operation && fnmatch(fault->keys, node->name, 0) == 0;
}

qp_status qp_selection_check_fault(const qp_selection *selection, const qp_plan *plan)
{
    if (!selection->fault) return QP_OK;
    for (int n = 0; n < plan->node_count; n++)
        if (has_fault(selection, &plan->nodes[n])) return QP_OK;
    return qp_fail(QP_USAGE,
                   "the fault '%s' is one of %s, and no such node '%s' is in this plan; see --plan and --fuse",
                   selection->fault->name, selection->fault_operation->name, selection->fault->keys);
}

qp_status qp_selection_find(const qp_selection *selection, const qp_plan_node *node, qp_implementation *implementation)
{
    const qp_implementation *found = qp_implementation_find(node->operation->name, selection->backend, NULL);
    for (int i = 0; i < selection->chosen_count; i++)
        if (!strcmp(selection->chosen[i]->operation, node->operation->name)) found = selection->chosen[i];
    if (!found)
        return qp_fail(QP_UNSUPPORTED, "the backend %s has no implementation of %s",
                       qp_backend_name(selection->backend), node->operation->name);
    *implementation = *found;
    const qp_fault *fault = selection->fault;
    if (has_fault(selection, node))
        *implementation = (qp_implementation){ .operation = found->operation,
                                               .name = fault->name,
                                               .backend = QP_CPU,
                                               .run = fault->run,
                                               .workspace = qp_no_workspace };
    return QP_OK;
}

qp_call qp_node_call(const qp_plan *plan, const qp_plan_node *node, const qp_store *store)
{
    qp_call call = { .params = node->params };
    memcpy(call.extent, node->extent, sizeof call.extent);
    for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++) {
        const qp_plan_tensor *tensor = &plan->tensors[node->in[i]];
        if (tensor->kind == QP_TENSOR_WEIGHT)
            call.in[i] = qp_runtime_weight(store->runtime, tensor->weight);
        else
            call.in[i] = (const char *)qp_store_tensor(store, plan, node->in[i]) +
                         (size_t)node->in_skip[i] * qp_dtype_bytes(qp_store_dtype(store, tensor));
    }
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++)
        call.out[i] = qp_store_tensor(store, plan, node->out[i]);
    return call;
}

qp_status qp_node_poison(const qp_plan *plan, const qp_plan_node *node, const qp_store *store)
{
    qp_device *device = store->runtime->device;
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++)
        QP_TRY(qp_device_fill(device, qp_store_tensor(store, plan, node->out[i]), QP_POISON,
                              qp_store_bytes(store, plan, node->out[i])));
    return qp_device_poison_workspace(device);
}

/* ---- A CPU implementation on operands that are elsewhere. ---- */

/* Copies every operand to the host, outputs too, since an implementation may leave some of theirs as they were. */
static qp_status run_on_copies(const qp_operation *operation, qp_run run, qp_device *device, const qp_call *call)
{
    const int in = qp_operand_count(operation->in, QP_MAX_IN), out = qp_operand_count(operation->out, QP_MAX_OUT);
    void *copies[QP_MAX_IN + QP_MAX_OUT] = { NULL };
    qp_call host = *call;
    qp_status status = QP_OK;
    for (int i = 0; i < in + out && status == QP_OK; i++) {
        const qp_operand *operand = i < in ? &operation->in[i] : &operation->out[i - in];
        const size_t bytes = qp_operand_bytes(operand, call);
        copies[i] = malloc(bytes);
        status = copies[i] ? qp_device_read(device, copies[i], i < in ? call->in[i] : call->out[i - in], bytes)
                           : qp_fail(QP_NO_MEMORY, "no memory for a copy of %s", operand->name);
        if (i < in)
            host.in[i] = copies[i];
        else
            host.out[i - in] = copies[i];
    }
    if (status == QP_OK) status = run(&host);
    for (int i = 0; i < out && status == QP_OK; i++)
        status = qp_device_write(device, call->out[i], host.out[i], qp_operand_bytes(&operation->out[i], call));
    for (int i = 0; i < in + out; i++) free(copies[i]);
    return status;
}

/* ---- Running. ---- */

/* The sentence of a failure names the node. */
static qp_status of_node(const qp_plan_node *node, qp_status status)
{
    return status == QP_OK ? QP_OK : qp_fail(status, "%s: %s", node->name, qp_last_error());
}

/* A call that was checked. */
static qp_status run_node(const qp_plan *plan, const qp_plan_node *node, const qp_implementation *implementation,
                          qp_device *device, const qp_call *call)
{
    if (qp_trace_is_on())
        qp_trace_push(QP_TRACE_KERNEL, node->name, node->layer, plan->past,
                      qp_operation_cost(node->operation, call).bytes);
    const qp_status status = implementation->backend == qp_device_backend(device)
                                 ? qp_device_run(device, implementation, call)
                                 : run_on_copies(node->operation, implementation->run, device, call);
    if (qp_trace_is_on()) qp_trace_pop();
    return of_node(node, status);
}

qp_status qp_node_run(const qp_plan *plan, const qp_plan_node *node, const qp_implementation *implementation,
                      qp_device *device, const qp_call *call)
{
    QP_TRY(of_node(node, qp_operation_check(node->operation, call)));
    return run_node(plan, node, implementation, device, call);
}

qp_status qp_oracle_run(const qp_plan_node *node, const qp_call *call)
{
    qp_status status = qp_operation_check(node->operation, call);
    if (status == QP_OK) status = node->operation->oracle(call);
    return of_node(node, status);
}

/* ---- Whole passes. ---- */

bool qp_node_depends_on_past(const qp_plan *plan, const qp_plan_node *node)
{
    if (node->keys_extent >= 0) return true;
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++)
        if (plan->tensors[node->out[i]].cache >= 0) return true;
    return false;
}

static qp_status prepare_call(const qp_prepared_plan *prepared, int n)
{
    const qp_plan_node *node = &prepared->plan->nodes[n];
    struct qp_prepared_node *made = &prepared->nodes[n];
    made->call = qp_node_call(prepared->plan, node, prepared->store);
    return of_node(node, qp_operation_check(node->operation, &made->call));
}

qp_status qp_prepared_open(const qp_plan *plan, const qp_selection *selection, const qp_store *store,
                           qp_prepared_plan *prepared)
{
    *prepared = (qp_prepared_plan){ .plan = plan, .store = store, .past = plan->past };
    prepared->nodes = calloc((size_t)plan->node_count, sizeof *prepared->nodes);
    qp_status status = prepared->nodes ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for %d calls", plan->node_count);
    for (int n = 0; n < plan->node_count && status == QP_OK; n++) {
        prepared->nodes[n].depends_on_past = qp_node_depends_on_past(plan, &plan->nodes[n]);
        status = qp_selection_find(selection, &plan->nodes[n], &prepared->nodes[n].implementation);
        if (status == QP_OK) status = prepare_call(prepared, n);
    }
    if (status != QP_OK) qp_prepared_close(prepared);
    return status;
}

void qp_prepared_close(qp_prepared_plan *prepared)
{
    free(prepared->nodes);
    memset(prepared, 0, sizeof *prepared);
}

static qp_status run_nodes(qp_prepared_plan *prepared, const bool *chosen, qp_progress progress, void *context)
{
    const qp_plan *plan = prepared->plan;
    for (int n = 0; n < plan->node_count && prepared->past != plan->past; n++)
        if (prepared->nodes[n].depends_on_past) QP_TRY(prepare_call(prepared, n));
    prepared->past = plan->past;
    for (int n = 0; n < plan->node_count; n++) {
        const struct qp_prepared_node *node = &prepared->nodes[n];
        if (chosen && !chosen[n]) continue;
        if (progress) progress(context, n, plan->node_count, plan->nodes[n].name);
        QP_TRY(run_node(plan, &plan->nodes[n], &node->implementation, prepared->store->runtime->device, &node->call));
    }
    return QP_OK;
}

static qp_status run_pass(qp_prepared_plan *prepared, const bool *chosen, qp_progress progress, void *context)
{
    const int64_t past = prepared->plan->past;
    qp_trace_push(QP_TRACE_MODEL, past == 0 ? "prefill" : "decode", -1, past, 0);
    const qp_status status = run_nodes(prepared, chosen, progress, context);
    qp_trace_pop();
    return status;
}

qp_status qp_prepared_run(qp_prepared_plan *prepared, qp_progress progress, void *context)
{
    return run_pass(prepared, NULL, progress, context);
}

qp_status qp_prepared_run_chosen(qp_prepared_plan *prepared, const bool *chosen)
{
    return run_pass(prepared, chosen, NULL, NULL);
}

qp_status qp_plan_run(const qp_plan *plan, const qp_selection *selection, const qp_store *store, qp_progress progress,
                      void *context)
{
    qp_prepared_plan prepared;
    QP_TRY(qp_prepared_open(plan, selection, store, &prepared));
    const qp_status status = qp_prepared_run(&prepared, progress, context);
    qp_prepared_close(&prepared);
    return status;
}
