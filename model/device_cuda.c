/* The CUDA device: the runtime's C interface, so that a C compiler is enough here. */
#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/cublas.h"
#include "advance_cuda.h"
#include "clock_cuda.h"
#include "device_backend.h"

enum { CANARY_BYTES = QP_ALIGNMENT, CANARY = 0xa5 }; /* so that what lies between two of them is aligned */

/* Memory as it was given out: a canary, `bytes` for the caller, a canary. */
typedef struct allocation {
    struct allocation *next;
    char *start; /* of the first canary */
    uint64_t bytes;
    const char *what;
} allocation;

typedef struct cuda_device {
    qp_device base;
    qp_launch launch;
    uint64_t workspace_bytes;
    allocation *allocations;
    int recordings;       /* open ones, which use the workspace that they were recorded with */
    cudaStream_t reading; /* for reading behind the launches */
    cudaEvent_t *marks;
    cudaError_t error; /* the first one; nothing works after it */
    char context[96];  /* what was tried when it showed */
} cuda_device;

static cudaStream_t stream_of(const cuda_device *d) { return (cudaStream_t)d->launch.stream; }

static qp_status stuck(const cuda_device *d)
{
    return qp_fail(QP_DEVICE,
                   "the card reported '%s' (noticed at: %s); a kernel launched before that went wrong, and "
                   "CUDA_LAUNCH_BLOCKING=1 or compute-sanitizer shows which",
                   cudaGetErrorString(d->error), d->context);
}

/* The one place where errors of the runtime become a status. Running out of memory is the only one that does not stick. */
static qp_status checked(cuda_device *d, cudaError_t error, const char *what)
{
    if (d->error != cudaSuccess) return stuck(d);
    if (error == cudaSuccess) return QP_OK;
    d->error = error;
    (void)snprintf(d->context, sizeof d->context, "%s", what);
    return stuck(d);
}

static void close_device(qp_device *device)
{
    cuda_device *d = (cuda_device *)device;
    if (d->launch.stream) (void)cudaStreamSynchronize(stream_of(d));
    for (allocation *a = d->allocations; a;) {
        allocation *next = a->next;
        (void)cudaFree(a->start);
        free(a);
        a = next;
    }
    for (int i = 0; i < device->mark_count; i++) (void)cudaEventDestroy(d->marks[i]);
    qp_cublas_close(d->launch.cublas);
    if (d->reading) (void)cudaStreamDestroy(d->reading);
    if (d->launch.stream) (void)cudaStreamDestroy(stream_of(d));
    free(d->marks);
    free(d);
}

static qp_device_facts describe(const qp_device *device)
{
    qp_device_facts facts = { .cublas_version = qp_cublas_version() };
    struct cudaDeviceProp properties;
    int ordinal = 0;
    (void)device;
    if (cudaGetDevice(&ordinal) == cudaSuccess && cudaGetDeviceProperties(&properties, ordinal) == cudaSuccess) {
        (void)snprintf(facts.name, sizeof facts.name, "%.*s", (int)sizeof facts.name - 1, properties.name);
        facts.compute_capability = 10 * properties.major + properties.minor;
        facts.multiprocessors = properties.multiProcessorCount;
        facts.l2_bytes = (uint64_t)properties.l2CacheSize;
        facts.memory_bytes = properties.totalGlobalMem;
    }
    (void)cudaDriverGetVersion(&facts.driver_version);
    (void)cudaRuntimeGetVersion(&facts.runtime_version);
    return facts;
}

static qp_status allocate(qp_device *device, uint64_t bytes, const char *what, void **memory)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    allocation *a = malloc(sizeof *a);
    if (!a) return qp_fail(QP_NO_MEMORY, "no memory for a list of allocations");
    *a = (allocation){ .next = d->allocations, .bytes = bytes, .what = what };
    void *start = NULL;
    const cudaError_t error = cudaMalloc(&start, (size_t)bytes + 2 * CANARY_BYTES);
    if (error != cudaSuccess) {
        free(a);
        if (error != cudaErrorMemoryAllocation) return checked(d, error, "allocating memory");
        (void)cudaGetLastError(); /* this one is over with the call */
        return qp_fail(QP_NO_MEMORY, "%s needs %.1f GB of the card's memory, which is not free; use smaller sizes",
                       what, (double)bytes / 1e9);
    }
    a->start = start;
    d->allocations = a;
    *memory = a->start + CANARY_BYTES;
    QP_TRY(checked(d, cudaMemsetAsync(a->start, CANARY, CANARY_BYTES, stream_of(d)), "setting a canary"));
    QP_TRY(checked(d, cudaMemsetAsync(*memory, QP_POISON, (size_t)bytes, stream_of(d)), "poisoning memory"));
    return checked(d, cudaMemsetAsync((char *)*memory + bytes, CANARY, CANARY_BYTES, stream_of(d)), "setting a canary");
}

static void free_memory(qp_device *device, void *memory)
{
    cuda_device *d = (cuda_device *)device;
    for (allocation **place = &d->allocations; *place; place = &(*place)->next) {
        allocation *a = *place;
        if (a->start + CANARY_BYTES != (char *)memory) continue;
        *place = a->next;
        (void)checked(d, cudaFree(a->start), "freeing memory"); /* waits for what still uses it */
        free(a);
        return;
    }
}

static qp_status transfer(qp_device *device, void *to, const void *from, uint64_t bytes, enum cudaMemcpyKind kind)
{
    cuda_device *d = (cuda_device *)device;
    QP_TRY(checked(d, cudaMemcpyAsync(to, from, (size_t)bytes, kind, stream_of(d)), "copying"));
    return checked(d, cudaStreamSynchronize(stream_of(d)), "copying");
}

static qp_status write_memory(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    return transfer(device, to, from, bytes, cudaMemcpyHostToDevice);
}

static qp_status read_memory(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    return transfer(device, to, from, bytes, cudaMemcpyDeviceToHost);
}

static qp_status fill(qp_device *device, void *memory, int byte, uint64_t bytes)
{
    cuda_device *d = (cuda_device *)device;
    return checked(d, cudaMemsetAsync(memory, byte, (size_t)bytes, stream_of(d)), "filling memory");
}

/* Before a call that needs more than there is. Waits for the work that may still use the old one, which stays allocated
 * until the device is closed if something was recorded with it. */
static qp_status reserve_workspace(cuda_device *d, uint64_t bytes)
{
    if (bytes <= d->workspace_bytes) return QP_OK;
    QP_TRY(checked(d, cudaStreamSynchronize(stream_of(d)), "waiting for a workspace"));
    if (d->launch.workspace && d->recordings == 0) free_memory(&d->base, d->launch.workspace);
    d->launch.workspace = NULL;
    d->workspace_bytes = 0;
    QP_TRY(allocate(&d->base, bytes, "a workspace", &d->launch.workspace));
    d->workspace_bytes = bytes;
    return QP_OK;
}

static qp_status run(qp_device *device, const qp_implementation *implementation, const qp_call *call)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    QP_TRY(reserve_workspace(d, implementation->workspace(call)));
    qp_call launched = *call;
    launched.launch = &d->launch;
    return implementation->run(&launched);
}

static qp_status poison_workspace(qp_device *device)
{
    cuda_device *d = (cuda_device *)device;
    return d->workspace_bytes ? fill(device, d->launch.workspace, QP_POISON, d->workspace_bytes) : QP_OK;
}

static qp_status wait_for_all(qp_device *device)
{
    cuda_device *d = (cuda_device *)device;
    return checked(d, cudaStreamSynchronize(stream_of(d)), "waiting");
}

static qp_status check_canaries(qp_device *device)
{
    cuda_device *d = (cuda_device *)device;
    unsigned char canary[2][CANARY_BYTES];
    for (const allocation *a = d->allocations; a; a = a->next) {
        QP_TRY(read_memory(device, canary[0], a->start, CANARY_BYTES));
        QP_TRY(read_memory(device, canary[1], a->start + CANARY_BYTES + a->bytes, CANARY_BYTES));
        for (int side = 0; side < 2; side++)
            for (int i = 0; i < CANARY_BYTES; i++)
                if (canary[side][i] != CANARY)
                    return qp_fail(QP_DEVICE,
                                   "a kernel wrote outside of its memory: %d bytes %s the %" PRIu64
                                   " bytes for %s; compute-sanitizer shows which kernel",
                                   side ? i : CANARY_BYTES - i, side ? "behind" : "before", a->bytes, a->what);
    }
    return QP_OK;
}

static qp_status set_mark(qp_device *device, int mark)
{
    cuda_device *d = (cuda_device *)device;
    if (mark >= device->mark_count) {
        const int count = 2 * mark + 64;
        cudaEvent_t *marks = realloc(d->marks, (size_t)count * sizeof(cudaEvent_t));
        if (!marks) return qp_fail(QP_NO_MEMORY, "no memory for %d time stamps", count);
        d->marks = marks;
        while (device->mark_count < count) {
            QP_TRY(checked(d, cudaEventCreate(&d->marks[device->mark_count]), "creating an event"));
            device->mark_count++;
        }
    }
    return checked(d, cudaEventRecord(d->marks[mark], stream_of(d)), "recording an event");
}

static qp_status read_at(qp_device *device, int mark, void *to, const void *from, uint64_t bytes)
{
    cuda_device *d = (cuda_device *)device;
    QP_TRY(checked(d, cudaStreamWaitEvent(d->reading, d->marks[mark], 0), "waiting for an event"));
    QP_TRY(checked(d, cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, d->reading), "copying"));
    return checked(d, cudaStreamSynchronize(d->reading), "copying");
}

static qp_status elapsed(qp_device *device, int from, int to, double *seconds)
{
    cuda_device *d = (cuda_device *)device;
    float milliseconds = 0.0f;
    QP_TRY(checked(d, cudaEventElapsedTime(&milliseconds, d->marks[from], d->marks[to]), "reading a time"));
    *seconds = 1e-3 * (double)milliseconds;
    return QP_OK;
}

static qp_status copy(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    cuda_device *d = (cuda_device *)device;
    return checked(d, cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, stream_of(d)), "copying");
}

static qp_status measure_clock(qp_device *device, double *hertz)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    return checked(d, (cudaError_t)qp_cuda_measure_clock(d->launch.stream, hertz), "measuring the clock");
}

static qp_status profile(qp_device *device, bool on)
{
    cuda_device *d = (cuda_device *)device;
    QP_TRY(wait_for_all(device));
    return checked(d, on ? cudaProfilerStart() : cudaProfilerStop(), "telling the profiler");
}

/* ---- Recording. ---- */

struct qp_recording {
    cudaGraphExec_t graph;
};

static qp_status advance(qp_device *device, const qp_next_step *step)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    return qp_cuda_advance(&d->launch, step);
}

/* What `enqueue` launches, as a graph. A capture that was begun is always ended, for the stream can do nothing else. */
static qp_status capture(cuda_device *d, qp_enqueue enqueue, void *context, cudaGraphExec_t *made)
{
    cudaGraph_t graph = NULL;
    QP_TRY(checked(d, cudaStreamBeginCapture(stream_of(d), cudaStreamCaptureModeThreadLocal), "beginning to record"));
    qp_status status = enqueue(context);
    const cudaError_t ended = cudaStreamEndCapture(stream_of(d), &graph);
    if (status == QP_OK) status = checked(d, ended, "recording");
    if (status == QP_OK) status = checked(d, cudaGraphInstantiate(made, graph, 0), "preparing what was recorded");
    if (status == QP_OK) status = checked(d, cudaGraphUpload(*made, stream_of(d)), "uploading what was recorded");
    if (graph) (void)cudaGraphDestroy(graph);
    return status;
}

static qp_status record(qp_device *device, const qp_replay *replay, qp_enqueue enqueue, void *context,
                        qp_recording **recording)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    qp_recording *made = calloc(1, sizeof *made);
    if (!made) return qp_fail(QP_NO_MEMORY, "no memory for a recording");
    d->launch.replay = replay;
    qp_status status = enqueue(context);
    if (status == QP_OK) status = wait_for_all(device);
    if (status == QP_OK) status = capture(d, enqueue, context, &made->graph);
    d->launch.replay = NULL;
    if (status == QP_OK) {
        d->recordings++;
        *recording = made;
        return QP_OK;
    }
    if (made->graph) (void)cudaGraphExecDestroy(made->graph);
    free(made);
    return status;
}

static void close_recording(qp_device *device, qp_recording *recording)
{
    cuda_device *d = (cuda_device *)device;
    (void)wait_for_all(device);
    (void)cudaGraphExecDestroy(recording->graph);
    d->recordings--;
    free(recording);
}

static qp_status replay_recording(qp_device *device, const qp_recording *recording)
{
    cuda_device *d = (cuda_device *)device;
    if (d->error != cudaSuccess) return stuck(d);
    return checked(d, cudaGraphLaunch(recording->graph, stream_of(d)), "replaying");
}

/* Whether there is a device that the kernels were built for. */
static qp_status require_device(void)
{
    int count = 0, major = 0, minor = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0)
        return qp_fail(QP_DEVICE, "there is no CUDA device to use (%s); use --backend cpu",
                       error != cudaSuccess ? cudaGetErrorString(error) : "none is visible");
    (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    (void)cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    if (major != 9)
        return qp_fail(QP_DEVICE, "the kernels are built for compute capability 9.0, and this device has %d.%d", major,
                       minor);
    return QP_OK;
}

qp_status qp_device_open_cuda(qp_device **device)
{
    static const qp_device_methods methods = { .close = close_device,
                                               .describe = describe,
                                               .allocate = allocate,
                                               .free = free_memory,
                                               .write = write_memory,
                                               .read = read_memory,
                                               .fill = fill,
                                               .run = run,
                                               .poison_workspace = poison_workspace,
                                               .wait = wait_for_all,
                                               .check_canaries = check_canaries,
                                               .mark = set_mark,
                                               .elapsed = elapsed,
                                               .copy = copy,
                                               .clock = measure_clock,
                                               .profile = profile,
                                               .read_at = read_at,
                                               .advance = advance,
                                               .record = record,
                                               .replay = replay_recording,
                                               .close_recording = close_recording };
    QP_TRY(require_device());
    cuda_device *d = calloc(1, sizeof *d);
    if (!d) return qp_fail(QP_NO_MEMORY, "no memory for a device");
    d->base = (qp_device){ &methods, QP_CUDA, 0 };
    cudaStream_t stream = NULL;
    qp_status status = checked(d, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
    d->launch.stream = stream;
    if (status == QP_OK)
        status = checked(d, cudaStreamCreateWithFlags(&d->reading, cudaStreamNonBlocking), "creating a stream");
    if (status == QP_OK) status = qp_cublas_open(stream, &d->launch.cublas);
    if (status == QP_OK)
        *device = &d->base;
    else
        close_device(&d->base);
    return status;
}
