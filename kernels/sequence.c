#include "sequence.h"

#include <stdlib.h>

#include "numerics/bf16.h"
#include "numerics/strict_fp.h"

/* The call of a step, as yet without operands. */
static qp_call call_of(const qp_step *step)
{
    qp_call call = { .params = step->params };
    for (int i = 0; i < QP_MAX_EXTENTS; i++) call.extent[i] = step->extent[i];
    return call;
}

static size_t element_bytes(const qp_operand *operand, qp_executor executor)
{
    return executor != QP_CONTRACT && operand->role == QP_ACTIVATION ? sizeof(double) : qp_dtype_bytes(operand->dtype);
}

static void round_to_bf16(double *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) values[i] = (double)qp_bf16_to_f32(qp_bf16_from_f32((float)values[i]));
}

static qp_status run_step(const qp_step *step, const qp_call *fused, qp_executor executor, void *temporary[])
{
    const qp_operation *operation = step->operation;
    const bool temporary_result = step->out >= QP_VALUE_TEMPORARY;
    qp_call call = call_of(step);
    for (int i = 0; i < qp_operand_count(operation->in, QP_MAX_IN); i++) {
        const int value = step->in[i];
        call.in[i] = value < QP_VALUE_OUT         ? fused->in[value]
                     : value < QP_VALUE_TEMPORARY ? fused->out[value - QP_VALUE_OUT]
                                                  : temporary[value - QP_VALUE_TEMPORARY];
    }
    call.in[0] = (const char *)call.in[0] + (size_t)step->skip * element_bytes(&operation->in[0], executor);

    const int64_t elements = qp_operand_elements(&operation->out[0], &call);
    if (temporary_result) {
        const size_t bytes = step->unrounded ? sizeof(float) : element_bytes(&operation->out[0], executor);
        call.out[0] = temporary[step->out - QP_VALUE_TEMPORARY] = malloc((size_t)elements * bytes);
        if (!call.out[0]) return qp_fail(QP_NO_MEMORY, "%s: no memory for its result", operation->name);
    } else {
        call.out[0] = fused->out[step->out - QP_VALUE_OUT];
    }

    if (step->run) return step->run(&call);
    if (executor == QP_CONTRACT) return qp_implementation_find(operation->name, QP_CPU, NULL)->run(&call);
    QP_TRY(operation->oracle(&call));
    if (executor == QP_ROUNDING_ORACLE && temporary_result) round_to_bf16(call.out[0], elements);
    return QP_OK;
}

qp_status qp_sequence_run(const qp_sequence *sequence, const qp_call *call, qp_executor executor)
{
    void *temporary[QP_MAX_STEPS] = { NULL };
    qp_status status = QP_OK;
    for (int i = 0; i < sequence->count && status == QP_OK; i++)
        status = run_step(&sequence->step[i], call, executor, temporary);
    for (int i = 0; i < QP_MAX_STEPS; i++) free(temporary[i]);
    return status;
}

void qp_sequence_plant(qp_sequence *sequence, int value, qp_run run, bool unrounded)
{
    for (int i = 0; i < sequence->count; i++)
        if (sequence->step[i].out == value) {
            sequence->step[i].run = run;
            sequence->step[i].unrounded = unrounded;
        }
}

void qp_sequence_plant_known(qp_sequence *sequence, int value, const char *name)
{
    qp_sequence_plant(sequence, value, qp_fault_find(name, NULL)->run, false);
}

qp_status qp_fused_run(const qp_operation *fused, const qp_call *call, qp_executor executor)
{
    const qp_sequence sequence = fused->sequence(call);
    return qp_sequence_run(&sequence, call, executor);
}

const char *qp_fused_precondition(const qp_operation *fused, const qp_call *call)
{
    const qp_sequence sequence = fused->sequence(call);
    for (int i = 0; i < sequence.count; i++) {
        const qp_call step = call_of(&sequence.step[i]);
        const qp_operation *operation = sequence.step[i].operation;
        const char *violated = operation->precondition ? operation->precondition(&step) : NULL;
        if (violated) return violated;
    }
    return NULL;
}

uint64_t qp_fused_flops(const qp_operation *fused, const qp_call *call)
{
    const qp_sequence sequence = fused->sequence(call);
    uint64_t flops = 0;
    for (int i = 0; i < sequence.count; i++) {
        const qp_call step = call_of(&sequence.step[i]);
        flops += sequence.step[i].operation->flops(&step);
    }
    return flops;
}
