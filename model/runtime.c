#include "runtime.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int by_host_address(const void *left, const void *right)
{
    const uintptr_t a = (uintptr_t)((const struct qp_placed_weight *)left)->host;
    const uintptr_t b = (uintptr_t)((const struct qp_placed_weight *)right)->host;
    return a < b ? -1 : a > b;
}

static qp_status place_weights(qp_runtime *runtime)
{
    const qp_checkpoint *checkpoint = runtime->model->checkpoint;
    const int64_t count = qp_checkpoint_count(checkpoint);
    runtime->weights = calloc((size_t)count + 1, sizeof *runtime->weights);
    if (!runtime->weights) return qp_fail(QP_NO_MEMORY, "no memory for the list of weights");
    for (int64_t i = 0; i < count; i++) {
        const qp_checkpoint_tensor *tensor = qp_checkpoint_at(checkpoint, i);
        struct qp_placed_weight *weight = &runtime->weights[i];
        weight->host = tensor->data;
        QP_TRY(qp_device_allocate(runtime->device, (uint64_t)tensor->bytes, "the weights", &weight->device));
        runtime->weight_count++;
        QP_TRY(qp_device_write(runtime->device, weight->device, tensor->data, (uint64_t)tensor->bytes));
    }
    qsort(runtime->weights, (size_t)count, sizeof *runtime->weights, by_host_address);
    return QP_OK;
}

qp_status qp_runtime_open(const qp_model *model, qp_backend backend, qp_runtime *runtime)
{
    memset(runtime, 0, sizeof *runtime);
    runtime->model = model;
    qp_status status = qp_device_open(backend, &runtime->device);
    if (status == QP_OK && backend != QP_CPU) status = place_weights(runtime);
    if (status != QP_OK) qp_runtime_close(runtime);
    return status;
}

void qp_runtime_close(qp_runtime *runtime)
{
    qp_device_close(runtime->device); /* and its memory */
    free(runtime->weights);
    memset(runtime, 0, sizeof *runtime);
}

const void *qp_runtime_weight(const qp_runtime *runtime, const void *host)
{
    if (!runtime->weights) return host;
    const struct qp_placed_weight wanted = { .host = host };
    const struct qp_placed_weight *found =
        bsearch(&wanted, runtime->weights, (size_t)runtime->weight_count, sizeof wanted, by_host_address);
    return found ? found->device : NULL;
}
