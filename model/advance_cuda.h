/* The end of a step on the card. Only for device_cuda.c. */
#ifndef QP_ADVANCE_CUDA_H
#define QP_ADVANCE_CUDA_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Enqueues what qp_device_advance promises. */
QP_MUST_USE qp_status qp_cuda_advance(const qp_launch *launch, const qp_next_step *step);

#ifdef __cplusplus
}
#endif
#endif
