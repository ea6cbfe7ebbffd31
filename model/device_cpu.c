#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/matrix_fma.h"
#include "clock.h"
#include "device_backend.h"
#include "machine_memory.h"

typedef struct cpu_device {
    qp_device base;
    double *marks; /* seconds */
} cpu_device;

static void close_device(qp_device *device)
{
    free(((cpu_device *)device)->marks);
    free(device);
}

static qp_device_facts describe(const qp_device *device)
{
    (void)device;
    qp_device_facts facts = { 0 };
    (void)snprintf(facts.name, sizeof facts.name, "CPU, %s", qp_vector_path_name());
    return facts;
}

static qp_status allocate(qp_device *device, uint64_t bytes, const char *what, void **memory)
{
    (void)device;
    if (!qp_machine_allocate(bytes, QP_ALIGNMENT, memory))
        return qp_fail(QP_NO_MEMORY, "%s needs %.1f GB of memory, which this machine does not have; use smaller sizes",
                       what, (double)bytes / 1e9);
    memset(*memory, QP_POISON, (size_t)bytes);
    return QP_OK;
}

static void free_memory(qp_device *device, void *memory)
{
    (void)device;
    free(memory);
}

static qp_status copy(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    (void)device;
    memcpy(to, from, (size_t)bytes);
    return QP_OK;
}

static qp_status fill(qp_device *device, void *memory, int byte, uint64_t bytes)
{
    (void)device;
    memset(memory, byte, (size_t)bytes);
    return QP_OK;
}

static qp_status run(qp_device *device, const qp_implementation *implementation, const qp_call *call)
{
    (void)device;
    return implementation->run(call);
}

static qp_status nothing_to_do(qp_device *device)
{
    (void)device;
    return QP_OK;
}

static qp_status set_mark(qp_device *device, int mark)
{
    cpu_device *d = (cpu_device *)device;
    if (mark >= device->mark_count) {
        const int count = 2 * mark + 64;
        double *marks = realloc(d->marks, (size_t)count * sizeof *marks);
        if (!marks) return qp_fail(QP_NO_MEMORY, "no memory for %d time stamps", count);
        d->marks = marks;
        device->mark_count = count;
    }
    d->marks[mark] = qp_seconds_now();
    return QP_OK;
}

static qp_status elapsed(qp_device *device, int from, int to, double *seconds)
{
    const cpu_device *d = (const cpu_device *)device;
    *seconds = d->marks[to] - d->marks[from];
    return QP_OK;
}

static qp_status no_clock(qp_device *device, double *hertz)
{
    (void)device;
    (void)hertz; /* 0 already */
    return QP_OK;
}

static qp_status no_profiler(qp_device *device, bool on)
{
    (void)device;
    (void)on;
    return QP_OK;
}

static qp_status read_at(qp_device *device, int mark, void *to, const void *from, uint64_t bytes)
{
    (void)mark; /* everything is done */
    return copy(device, to, from, bytes);
}

static qp_status advance(qp_device *device, const qp_next_step *step)
{
    (void)device;
    step->predicted[*step->position] = *step->input_id = *step->next_token;
    ++*step->position;
    return QP_OK;
}

static qp_status no_recording(qp_device *device, const qp_replay *replay, qp_enqueue enqueue, void *context,
                              qp_recording **recording)
{
    (void)device;
    (void)replay;
    (void)enqueue;
    (void)context;
    (void)recording;
    return qp_fail(QP_UNSUPPORTED, "the CPU records no launches: there a launch is the work");
}

static qp_status choose_vectors(void)
{
    const char *wish = getenv("QP_VECTORS");
    char names[64] = "";
    if (!wish || qp_vector_path_use(wish)) return QP_OK;
    for (const char *const *name = qp_vector_paths(); *name; name++) {
        const size_t used = strlen(names);
        (void)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", *name);
    }
    return qp_fail(QP_USAGE, "QP_VECTORS is '%s'; this machine has %s", wish, names);
}

qp_status qp_device_open_cpu(qp_device **device)
{
    static const qp_device_methods methods = { .close = close_device,
                                               .describe = describe,
                                               .allocate = allocate,
                                               .free = free_memory,
                                               .write = copy,
                                               .read = copy,
                                               .fill = fill,
                                               .run = run,
                                               .poison_workspace = nothing_to_do,
                                               .wait = nothing_to_do,
                                               .check_canaries = nothing_to_do,
                                               .mark = set_mark,
                                               .elapsed = elapsed,
                                               .copy = copy,
                                               .clock = no_clock,
                                               .profile = no_profiler,
                                               .read_at = read_at,
                                               .advance = advance,
                                               .record = no_recording };
    QP_TRY(choose_vectors());
    cpu_device *made = calloc(1, sizeof *made);
    if (!made) return qp_fail(QP_NO_MEMORY, "no memory for a device");
    made->base = (qp_device){ &methods, QP_CPU, 0 };
    *device = &made->base;
    return QP_OK;
}
