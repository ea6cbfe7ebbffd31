#include "store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/embedding/embedding.h"

static uint64_t element_bytes(const qp_store *store, qp_dtype dtype)
{
    const int widened = store->precision == QP_PRECISION_ORACLE && (dtype == QP_BF16 || dtype == QP_F32);
    return qp_dtype_bytes(widened ? QP_F64 : dtype);
}

qp_status qp_store_open(const qp_runtime *runtime, int64_t capacity, qp_precision precision, qp_store *store)
{
    const qp_config *c = &runtime->model->config;
    memset(store, 0, sizeof *store);
    if (precision == QP_PRECISION_ORACLE && qp_device_backend(runtime->device) != QP_CPU)
        return qp_fail(QP_INVALID, "the oracle runs on the CPU alone");
    store->runtime = runtime;
    store->precision = precision;
    store->capacity = capacity;
    store->row = c->num_key_value_heads * c->head_dim;
    store->layers = (int)c->num_hidden_layers;
    store->cache = calloc((size_t)store->layers * 2, sizeof *store->cache);
    qp_status status = store->cache ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the list of caches");
    for (int i = 0; i < 2 * store->layers && status == QP_OK; i++)
        status = qp_device_allocate(runtime->device,
                                    (uint64_t)capacity * (uint64_t)store->row * element_bytes(store, QP_BF16),
                                    "the KV cache", &store->cache[i]);
    if (status != QP_OK) qp_store_close(store);
    return status;
}

void qp_store_close(qp_store *store)
{
    qp_device *device = store->runtime ? store->runtime->device : NULL;
    for (int i = 0; store->cache && i < 2 * store->layers; i++) qp_device_free(device, store->cache[i]);
    for (int i = 0; i < store->buffer_count; i++) qp_device_free(device, store->buffers[i]);
    qp_device_free(device, store->input_ids);
    qp_device_free(device, store->position_ids);
    free(store->cache);
    free(store->buffers);
    free(store->buffer_bytes);
    free(store->staged);
    memset(store, 0, sizeof *store);
}

/* The list of buffers, not the buffers. */
static qp_status extend_list(qp_store *store, int count)
{
    if (count <= store->buffer_count) return QP_OK;
    void **buffers = realloc(store->buffers, (size_t)count * sizeof *buffers);
    if (buffers) store->buffers = buffers;
    int64_t *bytes = realloc(store->buffer_bytes, (size_t)count * sizeof *bytes);
    if (bytes) store->buffer_bytes = bytes;
    if (!buffers || !bytes) return qp_fail(QP_NO_MEMORY, "no memory for a list of %d buffers", count);
    for (int i = store->buffer_count; i < count; i++) {
        store->buffers[i] = NULL;
        store->buffer_bytes[i] = 0;
    }
    store->buffer_count = count;
    return QP_OK;
}

/* Replaces *memory by `bytes` of new memory. */
static qp_status replace(const qp_store *store, void **memory, uint64_t bytes, const char *what)
{
    qp_device_free(store->runtime->device, *memory);
    *memory = NULL;
    return qp_device_allocate(store->runtime->device, bytes, what, memory);
}

static qp_status prepare_inputs(qp_store *store, int64_t tokens)
{
    const uint64_t bytes = (uint64_t)tokens * sizeof(int64_t);
    if (tokens <= store->input_room) return QP_OK;
    store->input_room = 0;
    QP_TRY(replace(store, &store->input_ids, bytes, "the token ids"));
    QP_TRY(replace(store, &store->position_ids, bytes, "the positions"));
    free(store->staged);
    store->staged = malloc((size_t)bytes);
    if (!store->staged) return qp_fail(QP_NO_MEMORY, "no memory for %" PRId64 " token ids", tokens);
    store->input_room = tokens;
    return QP_OK;
}

qp_status qp_store_prepare(qp_store *store, const qp_plan *plan)
{
    QP_TRY(prepare_inputs(store, plan->options.tokens));
    QP_TRY(extend_list(store, plan->buffer_count));
    for (int i = 0; i < plan->buffer_count; i++) {
        const struct qp_buffer_size *size = &plan->buffers[i];
        const bool oracle = store->precision == QP_PRECISION_ORACLE;
        const uint64_t bytes = oracle ? (uint64_t)size->elements * sizeof(double) : (uint64_t)size->bytes;
        if ((uint64_t)store->buffer_bytes[i] >= bytes) continue;
        store->buffer_bytes[i] = 0;
        QP_TRY(replace(store, &store->buffers[i], bytes, "a pass of this length"));
        store->buffer_bytes[i] = (int64_t)bytes;
    }
    return QP_OK;
}

qp_status qp_store_set_inputs(qp_store *store, const qp_plan *plan, const int64_t *ids)
{
    const int64_t tokens = plan->options.tokens;
    const uint64_t bytes = (uint64_t)tokens * sizeof(int64_t);
    QP_TRY(qp_embedding_check_ids(ids, tokens, plan->model->config.vocab_size));
    for (int64_t t = 0; t < tokens; t++) store->staged[t] = plan->past + t;
    QP_TRY(qp_device_write(store->runtime->device, store->position_ids, store->staged, bytes));
    return qp_device_write(store->runtime->device, store->input_ids, ids, bytes);
}

qp_dtype qp_store_dtype(const qp_store *store, const qp_plan_tensor *tensor)
{
    const int widened = tensor->kind == QP_TENSOR_VALUE || tensor->kind == QP_TENSOR_CACHE;
    return store->precision == QP_PRECISION_ORACLE && widened && tensor->dtype != QP_I64 ? QP_F64 : tensor->dtype;
}

void *qp_store_tensor(const qp_store *store, const qp_plan *plan, int index)
{
    const qp_plan_tensor *tensor = &plan->tensors[index];
    if (index == plan->input_ids) return store->input_ids;
    if (index == plan->position_ids) return store->position_ids;
    if (tensor->kind == QP_TENSOR_CACHE) return store->cache[tensor->slot];
    if (tensor->cache >= 0) {
        const uint64_t skip = (uint64_t)(plan->past * store->row) * element_bytes(store, QP_BF16);
        return (char *)store->cache[plan->tensors[tensor->cache].slot] + skip;
    }
    return tensor->buffer >= 0 ? store->buffers[tensor->buffer] : NULL;
}

uint64_t qp_store_bytes(const qp_store *store, const qp_plan *plan, int index)
{
    const qp_plan_tensor *tensor = &plan->tensors[index];
    return (uint64_t)qp_plan_tensor_elements(tensor) * qp_dtype_bytes(qp_store_dtype(store, tensor));
}

qp_status qp_store_view(const qp_store *store, const qp_plan *plan, int index, void *scratch, const void **view)
{
    qp_device *device = store->runtime->device;
    *view = qp_store_tensor(store, plan, index);
    if (qp_device_backend(device) == QP_CPU) return QP_OK;
    QP_TRY(qp_device_read(device, scratch, *view, qp_store_bytes(store, plan, index)));
    *view = scratch;
    return QP_OK;
}
