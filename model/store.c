#include "store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Linux promises memory that it does not have and kills the process later, so the size is checked first. */
static qp_status allocate(uint64_t bytes, const char *what, void **memory)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    *memory = bytes < machine ? malloc(bytes ? (size_t)bytes : 1) : NULL;
    if (*memory) return QP_OK;
    return qp_fail(QP_NO_MEMORY, "%s needs %.1f GB of memory, which this machine does not have; use a shorter sequence",
                   what, (double)bytes / 1e9);
}

static uint64_t element_bytes(const qp_store *store, qp_dtype dtype)
{
    const int widened = store->precision == QP_PRECISION_ORACLE && (dtype == QP_BF16 || dtype == QP_F32);
    return qp_dtype_bytes(widened ? QP_F64 : dtype);
}

qp_status qp_store_open(const qp_model *model, int64_t capacity, qp_precision precision, qp_store *store)
{
    const qp_config *c = &model->config;
    memset(store, 0, sizeof *store);
    store->precision = precision;
    store->capacity = capacity;
    store->row = c->num_key_value_heads * c->head_dim;
    store->layers = (int)c->num_hidden_layers;
    store->cache = calloc((size_t)store->layers * 2, sizeof *store->cache);
    qp_status status = store->cache ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the list of caches");
    for (int i = 0; i < 2 * store->layers && status == QP_OK; i++)
        status = allocate((uint64_t)capacity * (uint64_t)store->row * element_bytes(store, QP_BF16), "the KV cache",
                          &store->cache[i]);
    if (status != QP_OK) qp_store_close(store);
    return status;
}

void qp_store_close(qp_store *store)
{
    for (int i = 0; store->cache && i < 2 * store->layers; i++) free(store->cache[i]);
    for (int i = 0; i < store->buffer_count; i++) free(store->buffers[i]);
    free(store->cache);
    free(store->buffers);
    free(store->buffer_bytes);
    free(store->input_ids);
    free(store->position_ids);
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

static qp_status prepare_inputs(qp_store *store, int64_t tokens)
{
    if (tokens <= store->input_room) return QP_OK;
    free(store->input_ids);
    free(store->position_ids);
    store->input_ids = malloc((size_t)tokens * sizeof *store->input_ids);
    store->position_ids = malloc((size_t)tokens * sizeof *store->position_ids);
    store->input_room = store->input_ids && store->position_ids ? tokens : 0;
    return store->input_room ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for %" PRId64 " token ids", tokens);
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
        free(store->buffers[i]);
        store->buffer_bytes[i] = 0;
        QP_TRY(allocate(bytes, "a pass of this length", &store->buffers[i]));
        store->buffer_bytes[i] = (int64_t)bytes;
    }
    return QP_OK;
}

void qp_store_set_inputs(qp_store *store, const qp_plan *plan, const int64_t *ids)
{
    for (int64_t t = 0; t < plan->options.tokens; t++) {
        store->input_ids[t] = ids[t];
        store->position_ids[t] = plan->past + t;
    }
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
