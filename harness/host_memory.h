/* Memory on the host that grows and keeps nothing. */
#ifndef QP_HOST_MEMORY_H
#define QP_HOST_MEMORY_H

#include <stdlib.h>

#include "../kernels/status.h"

typedef struct qp_host_memory {
    void *data;
    size_t bytes;
} qp_host_memory;

/* At least so many bytes; what was there before is lost. QP_NO_MEMORY. */
QP_MUST_USE static inline qp_status qp_host_reserve(qp_host_memory *memory, size_t bytes)
{
    if (memory->bytes >= bytes) return QP_OK;
    free(memory->data);
    memory->data = malloc(bytes);
    memory->bytes = memory->data ? bytes : 0;
    return memory->data ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for %zu bytes of a tensor", bytes);
}

static inline void qp_host_free(qp_host_memory *memory)
{
    free(memory->data);
    *memory = (qp_host_memory){ NULL, 0 };
}

#endif
