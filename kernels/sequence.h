/* A fused operation as the sequence of the operations that it replaces. That sequence, with every result rounded as the
 * operation rounds it, is the fused operation's contract: so its CPU code, its oracle and its planted faults run the list
 * of steps, and nothing is written twice. */
#ifndef QP_SEQUENCE_H
#define QP_SEQUENCE_H

#include "operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_STEPS = 8 };

/* What a step reads or writes: an input of the fused operation (its index), an output (QP_VALUE_OUT + its index), or a
 * temporary (QP_VALUE_TEMPORARY + any number below QP_MAX_STEPS), which one step writes and later ones read. */
enum {
    QP_VALUE_OUT = QP_MAX_IN,
    QP_VALUE_TEMPORARY = QP_VALUE_OUT + QP_MAX_OUT,
};

typedef struct qp_step {
    const qp_operation *operation; /* has one output */
    int64_t extent[QP_MAX_EXTENTS];
    qp_params params;
    int in[QP_MAX_IN];
    int out;
    int64_t skip;   /* elements of the first input to skip */
    qp_run run;     /* for planted faults: what runs in place of the operation's contract; otherwise NULL */
    bool unrounded; /* for planted faults: the temporary that it writes is f32 */
} qp_step;

struct qp_sequence {
    int count;
    qp_step step[QP_MAX_STEPS];
};

/* Who runs the steps. */
typedef enum qp_executor {
    QP_CONTRACT,       /* on the CPU */
    QP_ORACLE,         /* in f64, the temporaries, too */
    QP_ROUNDING_ORACLE /* in f64, but each temporary is rounded to bf16: how far the contract's own roundings carry */
} qp_executor;

QP_MUST_USE qp_status qp_sequence_run(const qp_sequence *sequence, const qp_call *call, qp_executor executor);

/* Plants a fault: `run` computes the value. With `unrounded` it is a temporary in f32, and the next step must know that. */
void qp_sequence_plant(qp_sequence *sequence, int value, qp_run run, bool unrounded);
/* The same with the planted fault `name` of the step's own operation. */
void qp_sequence_plant_known(qp_sequence *sequence, int value, const char *name);

/* The sequence of a fused operation, run for `call`. */
QP_MUST_USE qp_status qp_fused_run(const qp_operation *fused, const qp_call *call, qp_executor executor);

/* A fused operation's precondition: the first of its steps' that is violated, or NULL. */
const char *qp_fused_precondition(const qp_operation *fused, const qp_call *call);

/* A fused operation's flops: the sum of its steps'. */
uint64_t qp_fused_flops(const qp_operation *fused, const qp_call *call);

#ifdef __cplusplus
}
#endif
#endif
