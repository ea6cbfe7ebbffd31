#include "execute.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

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

qp_status qp_selection_find(const qp_selection *selection, const qp_plan_node *node, qp_run *run, const char **name)
{
    const qp_fault *fault = selection->fault;
    if (fault && selection->fault_operation == node->operation && fnmatch(fault->keys, node->name, 0) == 0) {
        *run = fault->run;
        *name = fault->name;
        return QP_OK;
    }
    const qp_implementation *found = qp_implementation_find(node->operation->name, selection->backend, NULL);
    for (int i = 0; i < selection->chosen_count; i++)
        if (!strcmp(selection->chosen[i]->operation, node->operation->name)) found = selection->chosen[i];
    if (!found)
        return qp_fail(QP_UNSUPPORTED, "the backend %s has no implementation of %s",
                       qp_backend_name(selection->backend), node->operation->name);
    *run = found->run;
    *name = found->name;
    return QP_OK;
}

qp_call qp_node_call(const qp_plan *plan, const qp_plan_node *node, const qp_store *store)
{
    qp_call call = { .params = node->params };
    memcpy(call.extent, node->extent, sizeof call.extent);
    for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++) {
        const qp_plan_tensor *tensor = &plan->tensors[node->in[i]];
        if (tensor->kind == QP_TENSOR_WEIGHT)
            call.in[i] = tensor->weight;
        else
            call.in[i] = (const char *)qp_store_tensor(store, plan, node->in[i]) +
                         (size_t)node->in_skip[i] * qp_dtype_bytes(qp_store_dtype(store, tensor));
    }
    for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++)
        call.out[i] = qp_store_tensor(store, plan, node->out[i]);
    return call;
}

qp_status qp_node_run(const qp_plan_node *node, qp_run run, const qp_call *call)
{
    qp_status status = qp_operation_check(node->operation, call);
    if (status == QP_OK) status = run(call);
    return status == QP_OK ? QP_OK : qp_fail(status, "%s: %s", node->name, qp_last_error());
}

qp_status qp_plan_run(const qp_plan *plan, const qp_selection *selection, const qp_store *store, qp_progress progress,
                      void *context)
{
    for (int n = 0; n < plan->node_count; n++) {
        const qp_plan_node *node = &plan->nodes[n];
        const qp_call call = qp_node_call(plan, node, store);
        if (progress) progress(context, n, plan->node_count, node->name);
        qp_run run = NULL;
        const char *name = NULL;
        QP_TRY(qp_selection_find(selection, node, &run, &name));
        QP_TRY(qp_node_run(node, run, &call));
    }
    return QP_OK;
}
