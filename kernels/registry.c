#include <string.h>

#include "operation.h"

#define QP_OPERATION(name) extern const qp_operation qp_##name##_operation;
#define QP_CPU_IMPLEMENTATION(operation, name, run) qp_status run(const qp_call *call);
#ifdef QP_WITH_CUDA
#define QP_CUDA_IMPLEMENTATION(operation, name, run, workspace)                                                        \
    qp_status run(const qp_call *call);                                                                                \
    size_t workspace(const qp_call *call);
#else
#define QP_CUDA_IMPLEMENTATION(operation, name, run, workspace)
#endif
#include "registry.def"
#undef QP_OPERATION
#undef QP_CPU_IMPLEMENTATION
#undef QP_CUDA_IMPLEMENTATION

const qp_operation *const qp_operations[] = {
#define QP_OPERATION(name) &qp_##name##_operation,
#define QP_CPU_IMPLEMENTATION(operation, name, run)
#define QP_CUDA_IMPLEMENTATION(operation, name, run, workspace)
#include "registry.def"
#undef QP_OPERATION
#undef QP_CPU_IMPLEMENTATION
#undef QP_CUDA_IMPLEMENTATION
    NULL
};

const qp_implementation qp_implementations[] = {
#define QP_OPERATION(name)
#define QP_CPU_IMPLEMENTATION(operation, name, run) { #operation, name, QP_CPU, run, qp_no_workspace },
#ifdef QP_WITH_CUDA
#define QP_CUDA_IMPLEMENTATION(operation, name, run, workspace) { #operation, name, QP_CUDA, run, workspace },
#else
#define QP_CUDA_IMPLEMENTATION(operation, name, run, workspace)
#endif
#include "registry.def"
#undef QP_OPERATION
#undef QP_CPU_IMPLEMENTATION
#undef QP_CUDA_IMPLEMENTATION
    { NULL, NULL, QP_CPU, NULL, qp_no_workspace }
};

size_t qp_no_workspace(const qp_call *call)
{
    (void)call;
    return 0;
}

const qp_operation *qp_operation_find(const char *name)
{
    for (int i = 0; qp_operations[i]; i++)
        if (!strcmp(qp_operations[i]->name, name)) return qp_operations[i];
    return NULL;
}

const qp_implementation *qp_implementation_find(const char *operation, qp_backend backend, const char *name)
{
    for (const qp_implementation *i = qp_implementations; i->name; i++)
        if (!strcmp(i->operation, operation) && i->backend == backend && (!name || !strcmp(i->name, name))) return i;
    return NULL;
}

const qp_fault *qp_fault_find(const char *name, const qp_operation **operation)
{
    for (int i = 0; qp_operations[i]; i++)
        for (const qp_fault *fault = qp_operations[i]->faults; fault && fault->name; fault++)
            if (!strcmp(fault->name, name)) {
                if (operation) *operation = qp_operations[i];
                return fault;
            }
    return NULL;
}
