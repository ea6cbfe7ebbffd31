/* What a backend gives to model/device.c. Only for device*.c. */
#ifndef QP_DEVICE_BACKEND_H
#define QP_DEVICE_BACKEND_H

#include "device.h"

/* The functions of device.h, with the same promises. */
typedef struct qp_device_methods {
    void (*close)(qp_device *device);
    qp_device_facts (*describe)(const qp_device *device);
    qp_status (*allocate)(qp_device *device, uint64_t bytes, const char *what, void **memory);
    void (*free)(qp_device *device, void *memory);
    qp_status (*write)(qp_device *device, void *to, const void *from, uint64_t bytes);
    qp_status (*read)(qp_device *device, void *to, const void *from, uint64_t bytes);
    qp_status (*fill)(qp_device *device, void *memory, int byte, uint64_t bytes);
    qp_status (*run)(qp_device *device, const qp_implementation *implementation, const qp_call *call);
    qp_status (*poison_workspace)(qp_device *device);
    qp_status (*wait)(qp_device *device);
    qp_status (*check_canaries)(qp_device *device);
    qp_status (*mark)(qp_device *device, int mark);
    qp_status (*read_at)(qp_device *device, int mark, void *to, const void *from, uint64_t bytes);
    qp_status (*elapsed)(qp_device *device, int from, int to, double *seconds);
    qp_status (*copy)(qp_device *device, void *to, const void *from, uint64_t bytes);
    qp_status (*clock)(qp_device *device, double *hertz);
    qp_status (*profile)(qp_device *device, bool on);
    qp_status (*advance)(qp_device *device, const qp_next_step *step);
    qp_status (*record)(qp_device *device, const qp_replay *replay, qp_enqueue enqueue, void *context,
                        qp_recording **recording);
    qp_status (*replay)(qp_device *device, const qp_recording *recording);
    void (*close_recording)(qp_device *device, qp_recording *recording);
} qp_device_methods;

/* The beginning of each backend's own struct. */
struct qp_device {
    const qp_device_methods *methods;
    qp_backend backend;
    int mark_count; /* time stamps that there is room for */
};

qp_status qp_device_open_cpu(qp_device **device);
qp_status qp_device_open_cuda(qp_device **device);

#endif
