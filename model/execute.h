/* Running a plan: which implementation of each operation, and one executor for all who walk the list. */
#ifndef QP_EXECUTE_H
#define QP_EXECUTE_H

#include "plan.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_CHOICES = 32 };

/* Which implementation runs an operation. */
typedef struct qp_selection {
    qp_backend backend;
    const qp_implementation *chosen[QP_MAX_CHOICES]; /* at most one an operation; the backend's default otherwise */
    int chosen_count;
    const qp_fault *fault; /* planted, or NULL */
    const qp_operation *fault_operation;
} qp_selection;

/* Adds a choice "operation=implementation". QP_USAGE if there is no such pair, naming those that exist. */
QP_MUST_USE qp_status qp_selection_choose(qp_selection *selection, const char *choice);
/* Plants the fault of this name, which then runs in place of the implementation wherever its glob matches. QP_USAGE. */
QP_MUST_USE qp_status qp_selection_plant(qp_selection *selection, const char *fault);
/* QP_USAGE if a fault is planted and no node of the plan has it, so that a plan without it cannot pass for one with it. */
QP_MUST_USE qp_status qp_selection_check_fault(const qp_selection *selection, const qp_plan *plan);
/* What runs the node: the implementation, or the planted fault in its place, which runs on the CPU.
 * QP_UNSUPPORTED if the backend has none. */
QP_MUST_USE qp_status qp_selection_find(const qp_selection *selection, const qp_plan_node *node,
                                        qp_implementation *implementation);

/* The call of a node with every operand in `store`. */
qp_call qp_node_call(const qp_plan *plan, const qp_plan_node *node, const qp_store *store);

/* Fills the node's outputs and the workspace with QP_POISON, so that what the next run does not write shows. */
QP_MUST_USE qp_status qp_node_poison(const qp_plan *plan, const qp_plan_node *node, const qp_store *store);

/* Checks the call and runs it on the device where its operands are, within a trace range of the node's name. An
 * implementation for the CPU gets copies of the operands if they are elsewhere. The sentence of a failure names the node. */
QP_MUST_USE qp_status qp_node_run(const qp_plan *plan, const qp_plan_node *node,
                                  const qp_implementation *implementation, qp_device *device, const qp_call *call);

/* The same for the operation's oracle, on the host. */
QP_MUST_USE qp_status qp_oracle_run(const qp_plan_node *node, const qp_call *call);

/* Told before each node; may be NULL. */
typedef void (*qp_progress)(void *context, int done, int total, const char *what);

/* Whether the node's call changes with the number of keys: it counts them, or writes behind those that are in a cache. */
bool qp_node_depends_on_past(const qp_plan *plan, const qp_plan_node *node);

/* A plan made ready for many passes in a store: what runs each node, and its call. Valid until the selection changes or the
 * store is prepared for a larger plan. */
typedef struct qp_prepared_plan {
    const qp_plan *plan; /* borrowed, as the store */
    const qp_store *store;
    int64_t past; /* for which the calls are */
    struct qp_prepared_node {
        qp_implementation implementation;
        qp_call call;
        bool depends_on_past;
    } * nodes;
} qp_prepared_plan;

/* The store must be prepared for the plan. Failures are those of qp_selection_find and of qp_operation_check. On failure
 * *prepared is all zero, which qp_prepared_close accepts. */
QP_MUST_USE qp_status qp_prepared_open(const qp_plan *plan, const qp_selection *selection, const qp_store *store,
                                       qp_prepared_plan *prepared);
void qp_prepared_close(qp_prepared_plan *prepared);

/* One pass over the whole plan after as many keys as the plan says now; the store's inputs are set. Fills the cache's newest
 * rows. On a CUDA device it returns when everything is enqueued. */
QP_MUST_USE qp_status qp_prepared_run(qp_prepared_plan *prepared, qp_progress progress, void *context);

/* The same of some nodes alone, those n with chosen[n], on what the others have left in their buffers. */
QP_MUST_USE qp_status qp_prepared_run_chosen(qp_prepared_plan *prepared, const bool *chosen);

/* The same for a single pass. */
QP_MUST_USE qp_status qp_plan_run(const qp_plan *plan, const qp_selection *selection, const qp_store *store,
                                  qp_progress progress, void *context);

#ifdef __cplusplus
}
#endif
#endif
