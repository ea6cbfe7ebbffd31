#include "device.h"

#include "device_backend.h"

qp_status qp_device_open(qp_backend backend, qp_device **device)
{
    *device = NULL;
    if (backend == QP_CPU) return qp_device_open_cpu(device);
#ifdef QP_WITH_CUDA
    return qp_device_open_cuda(device);
#else
    return qp_fail(QP_DEVICE, "this build has no CUDA backend; use --backend cpu");
#endif
}

void qp_device_close(qp_device *device)
{
    if (device) device->methods->close(device);
}

qp_backend qp_device_backend(const qp_device *device) { return device->backend; }

qp_device_facts qp_device_describe(const qp_device *device) { return device->methods->describe(device); }

qp_status qp_device_allocate(qp_device *device, uint64_t bytes, const char *what, void **memory)
{
    *memory = NULL;
    return device->methods->allocate(device, bytes ? bytes : 1, what, memory);
}

void qp_device_free(qp_device *device, void *memory)
{
    if (memory) device->methods->free(device, memory);
}

qp_status qp_device_write(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    return device->methods->write(device, to, from, bytes);
}

qp_status qp_device_read(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    return device->methods->read(device, to, from, bytes);
}

qp_status qp_device_fill(qp_device *device, void *memory, int byte, uint64_t bytes)
{
    return device->methods->fill(device, memory, byte, bytes);
}

qp_status qp_device_run(qp_device *device, const qp_implementation *implementation, const qp_call *call)
{
    if (implementation->backend != device->backend)
        return qp_fail(QP_INVALID, "%s=%s is for the backend %s, and the device is of %s", implementation->operation,
                       implementation->name, qp_backend_name(implementation->backend),
                       qp_backend_name(device->backend));
    return device->methods->run(device, implementation, call);
}

qp_status qp_device_poison_workspace(qp_device *device) { return device->methods->poison_workspace(device); }
qp_status qp_device_wait(qp_device *device) { return device->methods->wait(device); }
qp_status qp_device_check_canaries(qp_device *device) { return device->methods->check_canaries(device); }
qp_status qp_device_mark(qp_device *device, int mark) { return device->methods->mark(device, mark); }

/* Whether there is a time stamp of this number. */
static bool has_mark(const qp_device *device, int mark) { return mark >= 0 && mark < device->mark_count; }

qp_status qp_device_read_at(qp_device *device, int mark, void *to, const void *from, uint64_t bytes)
{
    if (!has_mark(device, mark)) return qp_fail(QP_INVALID, "there is no time stamp %d", mark);
    return device->methods->read_at(device, mark, to, from, bytes);
}

qp_status qp_device_elapsed(qp_device *device, int from, int to, double *seconds)
{
    if (!has_mark(device, from) || !has_mark(device, to))
        return qp_fail(QP_INVALID, "there is no time stamp %d or %d", from, to);
    return device->methods->elapsed(device, from, to, seconds);
}

qp_status qp_device_copy(qp_device *device, void *to, const void *from, uint64_t bytes)
{
    return device->methods->copy(device, to, from, bytes);
}

qp_status qp_device_clock(qp_device *device, double *hertz)
{
    *hertz = 0.0;
    return device->methods->clock(device, hertz);
}

qp_status qp_device_profile(qp_device *device, bool on) { return device->methods->profile(device, on); }

qp_status qp_device_advance(qp_device *device, const qp_next_step *step)
{
    return device->methods->advance(device, step);
}

qp_status qp_device_record(qp_device *device, const qp_replay *replay, qp_enqueue enqueue, void *context,
                           qp_recording **recording)
{
    *recording = NULL;
    return device->methods->record(device, replay, enqueue, context, recording);
}

qp_status qp_device_replay(qp_device *device, const qp_recording *recording)
{
    return device->methods->replay(device, recording);
}

void qp_device_close_recording(qp_device *device, qp_recording *recording)
{
    if (recording) device->methods->close_recording(device, recording);
}
