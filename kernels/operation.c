#include "operation.h"

#include <inttypes.h>

size_t qp_dtype_bytes(qp_dtype dtype)
{
    switch (dtype) {
    case QP_BF16: return 2;
    case QP_F32: return 4;
    case QP_F64:
    case QP_I64: return 8;
    }
    return 0;
}

const char *qp_dtype_name(qp_dtype dtype)
{
    switch (dtype) {
    case QP_BF16: return "bf16";
    case QP_F32: return "f32";
    case QP_F64: return "f64";
    case QP_I64: return "i64";
    }
    return "unknown type";
}

const char *qp_backend_name(qp_backend backend) { return backend == QP_CUDA ? "cuda" : "cpu"; }

int qp_operand_count(const qp_operand *operands, int max)
{
    int count = 0;
    while (count < max && operands[count].name) count++;
    return count;
}

int64_t qp_operand_elements(const qp_operand *operand, const qp_call *call)
{
    int64_t elements = 1;
    for (int i = 0; i < operand->rank; i++) elements *= call->extent[operand->axis[i]];
    return elements;
}

size_t qp_operand_bytes(const qp_operand *operand, const qp_call *call)
{
    return (size_t)qp_operand_elements(operand, call) * qp_dtype_bytes(operand->dtype);
}

uint64_t qp_operands_bytes(const qp_operation *operation, const qp_call *call)
{
    uint64_t bytes = 0;
    const int in = qp_operand_count(operation->in, QP_MAX_IN), out = qp_operand_count(operation->out, QP_MAX_OUT);
    for (int i = 0; i < in + out; i++)
        bytes += qp_operand_bytes(i < in ? &operation->in[i] : &operation->out[i - in], call);
    return bytes;
}

qp_cost qp_operation_cost(const qp_operation *operation, const qp_call *call)
{
    return (qp_cost){
        .bytes = operation->bytes ? operation->bytes(call) : qp_operands_bytes(operation, call),
        .flops = operation->flops(call),
    };
}

qp_status qp_operation_check(const qp_operation *operation, const qp_call *call)
{
    for (int i = 0; i < QP_MAX_EXTENTS && operation->extents[i]; i++)
        if (call->extent[i] < 1)
            return qp_fail(QP_INVALID, "%s: the extent %s is %" PRId64 ", it must be at least 1", operation->name,
                           operation->extents[i], call->extent[i]);
    for (int i = 0; i < qp_operand_count(operation->in, QP_MAX_IN); i++)
        if (!call->in[i])
            return qp_fail(QP_INVALID, "%s: the input %s is missing", operation->name, operation->in[i].name);
    for (int i = 0; i < qp_operand_count(operation->out, QP_MAX_OUT); i++)
        if (!call->out[i])
            return qp_fail(QP_INVALID, "%s: the output %s is missing", operation->name, operation->out[i].name);
    const char *violated = operation->precondition ? operation->precondition(call) : NULL;
    return violated ? qp_fail(QP_UNSUPPORTED, "%s: %s", operation->name, violated) : QP_OK;
}
