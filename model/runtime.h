/* A model placed on a device: what a plan needs in order to run. */
#ifndef QP_RUNTIME_H
#define QP_RUNTIME_H

#include "device.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_runtime {
    const qp_model *model; /* borrowed */
    qp_device *device;     /* owned */
    /* Copies of the checkpoint's tensors on a device other than the CPU, sorted by the host's address. */
    struct qp_placed_weight {
        const void *host;
        void *device;
    } * weights;
    int64_t weight_count;
} qp_runtime;

/* Opens a device of the backend and copies the weights to it; the CPU uses them where they are. Failures are those of
 * qp_device_open and qp_device_allocate. On failure *runtime is all zero, which qp_runtime_close accepts. */
QP_MUST_USE qp_status qp_runtime_open(const qp_model *model, qp_backend backend, qp_runtime *runtime);
void qp_runtime_close(qp_runtime *runtime);

/* Where the device has a tensor of the checkpoint. */
const void *qp_runtime_weight(const qp_runtime *runtime, const void *host);

#ifdef __cplusplus
}
#endif
#endif
