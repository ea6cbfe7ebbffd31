/* Where a plan runs: the CPU, or one CUDA device. Memory, copies, launches and time; the rest of the program knows no CUDA.
 *
 * Errors stick: work on a CUDA device is asynchronous, so what a kernel did wrong shows at some later call. From then on
 * the device can do nothing more (CUDA's own rule), and every function here returns QP_DEVICE with the same sentence. */
#ifndef QP_DEVICE_H
#define QP_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/operation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_device qp_device;

/* QP_DEVICE, and a sentence that says why, if this build has no such backend or this machine no such device. The CUDA
 * device is the first that CUDA_VISIBLE_DEVICES leaves. The environment variable QP_VECTORS chooses among the kinds of
 * vectors that the CPU's products can use (qp_vector_paths), all of which give the same bits; QP_USAGE if this machine
 * has no such kind. On failure *device is NULL. */
QP_MUST_USE qp_status qp_device_open(qp_backend backend, qp_device **device);
void qp_device_close(qp_device *device); /* NULL is fine; frees what was allocated, too */

qp_backend qp_device_backend(const qp_device *device);

typedef struct qp_device_facts {
    char name[96];                                       /* "NVIDIA H200", "CPU, avx2" */
    int compute_capability;                              /* 90 for 9.0; 0 on the CPU, as all that follow */
    int multiprocessors;                                 /* of the card */
    uint64_t l2_bytes, memory_bytes;                     /* of the card */
    int driver_version, runtime_version, cublas_version; /* as their libraries give them: 13000, 130100, ... */
} qp_device_facts;
qp_device_facts qp_device_describe(const qp_device *device);

enum { QP_POISON = 0xff }; /* a byte of memory that nothing was written to: a NaN in every type */

/* Memory of at least one byte, aligned to QP_ALIGNMENT, filled with QP_POISON. On a CUDA device there are
 * canaries on both sides. QP_NO_MEMORY if there is not that much; `what` says in the sentence what it is for. */
QP_MUST_USE qp_status qp_device_allocate(qp_device *device, uint64_t bytes, const char *what, void **memory);
void qp_device_free(qp_device *device, void *memory); /* NULL is fine */

/* Copies between the host and the device, in order with the launches; both return when the host's memory may be used. */
QP_MUST_USE qp_status qp_device_write(qp_device *device, void *to, const void *from, uint64_t bytes);
QP_MUST_USE qp_status qp_device_read(qp_device *device, void *to, const void *from, uint64_t bytes);
/* Sets every byte, in order with the launches; returns at once. */
QP_MUST_USE qp_status qp_device_fill(qp_device *device, void *memory, int byte, uint64_t bytes);
/* From one place on the device to another that does not overlap it, in order with the launches; returns at once. */
QP_MUST_USE qp_status qp_device_copy(qp_device *device, void *to, const void *from, uint64_t bytes);

/* Runs an implementation of the device's backend, with the workspace that it needs. Returns at once. */
QP_MUST_USE qp_status qp_device_run(qp_device *device, const qp_implementation *implementation, const qp_call *call);

/* Fills the workspace, so that nothing of an earlier run is left in it. Returns at once. */
QP_MUST_USE qp_status qp_device_poison_workspace(qp_device *device);

/* Waits for everything enqueued. */
QP_MUST_USE qp_status qp_device_wait(qp_device *device);
/* Waits, and looks at all canaries. QP_DEVICE, naming the memory, if something was written outside of it. */
QP_MUST_USE qp_status qp_device_check_canaries(qp_device *device);

/* Time stamps, in order with the launches: a mark is enqueued under a number from 0 on, and read after a wait. */
QP_MUST_USE qp_status qp_device_mark(qp_device *device, int mark);
/* Copies to the host what the device has at a mark that was set; waits for that mark, and not for what was enqueued behind
 * it. */
QP_MUST_USE qp_status qp_device_read_at(qp_device *device, int mark, void *to, const void *from, uint64_t bytes);
/* Seconds from one mark to another. */
QP_MUST_USE qp_status qp_device_elapsed(qp_device *device, int from, int to, double *seconds);
/* The clock of the multiprocessors in Hz, measured just now, after everything enqueued; 0 if unknown, as on the CPU. */
QP_MUST_USE qp_status qp_device_clock(qp_device *device, double *hertz);
/* What one step of generation leaves for the next, all of it on the device. */
typedef struct qp_next_step {
    const int64_t *next_token;    /* what the step predicts */
    int64_t *input_id, *position; /* what it was given */
    int64_t *predicted;           /* [positions]: what was predicted at each */
} qp_next_step;
/* The token that was predicted is written down and becomes the input of the next position: predicted[*position] =
 * *input_id = *next_token, and *position grows by 1. In order with the launches; returns at once. */
QP_MUST_USE qp_status qp_device_advance(qp_device *device, const qp_next_step *step);

/* Launches that were recorded once, to be enqueued again all together: a CUDA graph. */
typedef struct qp_recording qp_recording;
/* Calls `enqueue` twice, with `replay` given to what runs: once as it is, so that kernels are loaded and the workspace is
 * as large as it has to be, and once to record it. It may only launch: no copies between the host and the device, no
 * waiting. QP_UNSUPPORTED on the CPU. On failure *recording is NULL. */
typedef qp_status (*qp_enqueue)(void *context);
QP_MUST_USE qp_status qp_device_record(qp_device *device, const qp_replay *replay, qp_enqueue enqueue, void *context,
                                       qp_recording **recording);
/* Enqueues what was recorded, with the operands and the workspace that it had then; returns at once. */
QP_MUST_USE qp_status qp_device_replay(qp_device *device, const qp_recording *recording);
/* Waits for everything enqueued; NULL is fine. Before the device is closed. */
void qp_device_close_recording(qp_device *device, qp_recording *recording);

/* Waits, and tells a profiler to begin or to stop: cudaProfilerStart, cudaProfilerStop. Nothing on the CPU. */
QP_MUST_USE qp_status qp_device_profile(qp_device *device, bool on);

#ifdef __cplusplus
}
#endif
#endif
