/* Memory for the tensors of one sequence, on the device of a runtime: activations of the pass that runs, and the KV cache of
 * all passes so far. */
#ifndef QP_STORE_H
#define QP_STORE_H

#include <stdint.h>

#include "plan.h"
#include "runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qp_precision {
    QP_PRECISION_CONTRACT, /* each tensor in its own type */
    QP_PRECISION_ORACLE    /* bf16 and f32 activations and caches as f64; on the CPU */
} qp_precision;

typedef struct qp_store {
    const qp_runtime *runtime; /* borrowed */
    qp_precision precision;
    int64_t capacity; /* keys that the cache holds */
    int64_t row;      /* elements of a cache row: num_key_value_heads * head_dim */
    int layers;
    void **cache;   /* [2 * layers]: keys and values of layer 0, of layer 1, ... */
    void **buffers; /* one for each buffer of the plans that were prepared */
    int64_t *buffer_bytes;
    int buffer_count;
    void *input_ids, *position_ids; /* int64_t on the device */
    int64_t *staged;                /* on the host, as many */
    int64_t input_room;
} qp_store;

/* Allocates the cache. Fails with QP_NO_MEMORY if the cache exceeds the device's memory.
 * On failure *store is all zero, which qp_store_close accepts. */
QP_MUST_USE qp_status qp_store_open(const qp_runtime *runtime, int64_t capacity, qp_precision precision,
                                    qp_store *store);
void qp_store_close(qp_store *store);

/* Makes the buffers large enough for the plan; what they held is lost. Same failures. */
QP_MUST_USE qp_status qp_store_prepare(qp_store *store, const qp_plan *plan);

/* Sets input_ids, and position_ids to past, past + 1, ... The plan must be prepared. QP_INVALID: an id is outside the
 * vocabulary. */
QP_MUST_USE qp_status qp_store_set_inputs(qp_store *store, const qp_plan *plan, const int64_t *ids);

/* The type that a tensor has in this store, and where the device has it. A VALUE is valid from its node on to its last
 * use; a cache holds all rows up to past + tokens. A weight cannot be written. */
qp_dtype qp_store_dtype(const qp_store *store, const qp_plan_tensor *tensor);
void *qp_store_tensor(const qp_store *store, const qp_plan *plan, int tensor);
uint64_t qp_store_bytes(const qp_store *store, const qp_plan *plan, int tensor);

/* The tensor in the host's memory: where it is on the CPU; otherwise a copy in `scratch`, which has room for its bytes. */
QP_MUST_USE qp_status qp_store_view(const qp_store *store, const qp_plan *plan, int tensor, void *scratch,
                                    const void **view);

#ifdef __cplusplus
}
#endif
#endif
