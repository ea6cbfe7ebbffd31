#include "timer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kernels/linear/linear.h"
#include "../model/clock.h"
#include "../model/random_model.h"
#include "../model/trace.h"
#include "own_order.h"

enum {
    EMPTY_PAIRS = 200,      /* for the overhead of marks */
    BATCH = 10,             /* samples between two readings of the clock */
    MAX_LAUNCHES = 100,     /* of a hot sample: CUDA queues about a thousand before the host has to wait */
    STEADY_READINGS = 5,    /* of the clock, before a card counts as warm */
    CALIBRATION = 4,        /* launches, to learn how long one takes */
    MAX_DROPPED_FACTOR = 2, /* of the wanted samples */
    L2_FACTOR = 4,          /* the fill in units of the L2: twice for the flush, twice again to hide the host */
    CORNER = 512            /* elements of the large product that are compared */
};
static const uint64_t cpu_flush_bytes = UINT64_C(64) << 20;
static const double batch_seconds = 0.5; /* a batch of slow samples is shorter */
static const double longest_occupation = 20e-3;
static const double longest_warm_up = 2.0;
static const struct timespec rest = { 0, 20000000 }; /* for a card that is hot */

static bool on_cpu(const qp_timer *timer) { return qp_device_backend(timer->device) == QP_CPU; }

static qp_status flush(qp_timer *timer)
{
    return qp_device_fill(timer->device, timer->flush, 0x5a, timer->flush_bytes);
}

qp_status qp_timer_occupy(qp_timer *timer, double seconds)
{
    if (on_cpu(timer)) return QP_OK;
    const double longest = seconds < longest_occupation ? seconds : longest_occupation;
    const int fills = timer->flush_seconds > 0.0 ? 1 + (int)(longest / timer->flush_seconds) : 1;
    for (int i = 0; i < fills; i++) QP_TRY(flush(timer));
    return QP_OK;
}

/* `count` times between the marks 2i and 2i + 1. */
static qp_status read_pairs(qp_timer *timer, int64_t count, double *values)
{
    QP_TRY(qp_device_wait(timer->device));
    for (int i = 0; i < (int)count; i++) QP_TRY(qp_device_elapsed(timer->device, 2 * i, 2 * i + 1, &values[i]));
    return QP_OK;
}

static qp_status measure_overheads(qp_timer *timer)
{
    double values[EMPTY_PAIRS];
    QP_TRY(qp_device_mark(timer->device, 2 * EMPTY_PAIRS)); /* makes room for all marks before time counts */
    QP_TRY(flush(timer));
    QP_TRY(qp_device_wait(timer->device));
    for (int i = 0; i < BATCH; i++) {
        QP_TRY(qp_device_mark(timer->device, 2 * i));
        QP_TRY(flush(timer));
        QP_TRY(qp_device_mark(timer->device, 2 * i + 1));
    }
    QP_TRY(read_pairs(timer, BATCH, values));
    timer->flush_seconds = qp_statistics_of(values, BATCH).median;
    QP_TRY(qp_timer_occupy(timer, 4e-6 * EMPTY_PAIRS));
    for (int i = 0; i < 2 * EMPTY_PAIRS; i++) QP_TRY(qp_device_mark(timer->device, i));
    QP_TRY(read_pairs(timer, EMPTY_PAIRS, values));
    timer->mark_overhead = qp_statistics_of(values, EMPTY_PAIRS).median;
    return QP_OK;
}

/* A card that was idle raises its clock over some time: until it does no more. */
static qp_status warm_up(qp_timer *timer)
{
    const double start = qp_seconds_now();
    for (int steady = 0; steady < STEADY_READINGS && qp_seconds_now() - start < longest_warm_up; steady++) {
        const double highest = timer->clock.reference;
        double now = 0.0;
        QP_TRY(qp_timer_occupy(timer, longest_occupation));
        QP_TRY(qp_device_clock(timer->device, &now));
        if (now == 0.0) return QP_OK;
        if (now > 1.01 * highest) steady = 0;
        (void)qp_clock_admits(&timer->clock, now, now);
    }
    return QP_OK;
}

qp_status qp_timer_open(qp_device *device, qp_timer *timer)
{
    const uint64_t l2 = qp_device_describe(device).l2_bytes;
    *timer = (qp_timer){ .device = device, .flush_bytes = l2 ? L2_FACTOR * l2 : cpu_flush_bytes };
    qp_status status = qp_device_allocate(device, timer->flush_bytes, "the flush of the L2", &timer->flush);
    if (status == QP_OK) status = measure_overheads(timer); /* once before, so that qp_timer_occupy knows its fills */
    if (status == QP_OK) status = warm_up(timer);
    if (status == QP_OK && timer->clock.reference > 0.0) status = measure_overheads(timer);
    if (status != QP_OK) qp_timer_close(timer);
    return status;
}

void qp_timer_close(qp_timer *timer)
{
    if (timer->device) qp_device_free(timer->device, timer->flush);
    memset(timer, 0, sizeof *timer);
}

/* ---- Samples. ---- */

/* How many samples the next batch has, after `seconds` for the last one of `last`. */
static int64_t batch_size(int64_t missing, int64_t last, double seconds)
{
    int64_t size = 1; /* the first batch tells how slow they are */
    if (last > 0)
        size =
            seconds < batch_seconds * (double)last / BATCH ? BATCH : (int64_t)(batch_seconds * (double)last / seconds);
    if (size < 1) size = 1;
    return size < missing ? size : missing;
}

static double lower_of(double a, double b) { return a == 0.0 || (b != 0.0 && b < a) ? b : a; }

qp_status qp_timer_sample(qp_timer *timer, int64_t wanted, int64_t width, qp_take take, void *context,
                          qp_samples *samples)
{
    const double start = qp_seconds_now();
    double before = 0.0, after = 0.0, batch_time = 0.0;
    int64_t batch = 0;
    *samples = (qp_samples){ .values = malloc((size_t)(wanted * width) * sizeof(double)) };
    if (!samples->values) return qp_fail(QP_NO_MEMORY, "no memory for %lld time samples", (long long)(wanted * width));
    QP_TRY(qp_device_clock(timer->device, &before));
    while (samples->count < wanted && samples->dropped < MAX_DROPPED_FACTOR * wanted) {
        batch = batch_size(wanted - samples->count, batch, batch_time);
        const double batch_start = qp_seconds_now();
        QP_TRY(take(context, batch, samples->values + samples->count * width));
        batch_time = qp_seconds_now() - batch_start;
        QP_TRY(qp_device_clock(timer->device, &after));
        if (qp_clock_admits(&timer->clock, before, after)) {
            samples->count += batch;
            samples->clock = lower_of(samples->clock, lower_of(before, after));
            before = after; /* nothing happens between this batch and the next */
        } else {
            samples->dropped += batch;
            (void)nanosleep(&rest, NULL);
            QP_TRY(qp_device_clock(timer->device, &before));
        }
        if (samples->count >= QP_TIMER_LEAST && qp_seconds_now() - start > QP_TIMER_SECONDS) break;
    }
    return QP_OK;
}

qp_time qp_time_of(const qp_samples *samples, int64_t launches)
{
    return (qp_time){ .seconds = qp_statistics_of(samples->values, samples->count),
                      .why = samples->count ? NULL : "the card's clock stayed low",
                      .dropped = samples->dropped,
                      .launches = launches,
                      .clock = samples->clock };
}

/* ---- One launch. ---- */

typedef struct launch {
    qp_timer *timer;
    const qp_implementation *implementation;
    const qp_call *call;
    bool cold;           /* flush before each */
    int64_t repeats;     /* between two marks */
    double host_seconds; /* for the host to enqueue them all */
} launch;

static qp_status run(const launch *l) { return qp_device_run(l->timer->device, l->implementation, l->call); }

/* One launch between two marks. */
static qp_status take_single(void *context, int64_t count, double *values)
{
    const launch *l = context;
    for (int i = 0; i < (int)count; i++) {
        if (l->cold) QP_TRY(flush(l->timer));
        QP_TRY(qp_device_mark(l->timer->device, 2 * i));
        QP_TRY(run(l));
        QP_TRY(qp_device_mark(l->timer->device, 2 * i + 1));
    }
    return read_pairs(l->timer, count, values);
}

static qp_status take_hot(void *context, int64_t count, double *values)
{
    const launch *l = context;
    for (int i = 0; i < (int)count; i++) {
        QP_TRY(qp_timer_occupy(l->timer, l->host_seconds));
        QP_TRY(run(l)); /* brings the operands back into the caches */
        QP_TRY(qp_device_mark(l->timer->device, 2 * i));
        for (int64_t j = 0; j < l->repeats; j++) QP_TRY(run(l));
        QP_TRY(qp_device_mark(l->timer->device, 2 * i + 1));
    }
    QP_TRY(read_pairs(l->timer, count, values));
    for (int64_t i = 0; i < count; i++) values[i] /= (double)l->repeats;
    return QP_OK;
}

/* How many launches a sample needs for its marks not to matter, and how long the host needs to enqueue them. */
static qp_status calibrate(launch *l)
{
    qp_device *device = l->timer->device;
    double elapsed = 0.0;
    QP_TRY(run(l));
    QP_TRY(qp_device_wait(device));
    QP_TRY(qp_timer_occupy(l->timer, CALIBRATION * 50e-6));
    QP_TRY(qp_device_mark(device, 0));
    const double start = qp_seconds_now();
    for (int i = 0; i < CALIBRATION; i++) QP_TRY(run(l));
    const double host = (qp_seconds_now() - start) / CALIBRATION;
    QP_TRY(qp_device_mark(device, 1));
    QP_TRY(qp_device_wait(device));
    QP_TRY(qp_device_elapsed(device, 0, 1, &elapsed));
    const double wanted = ceil(100.0 * l->timer->mark_overhead * CALIBRATION / elapsed);
    l->repeats = wanted >= MAX_LAUNCHES ? MAX_LAUNCHES : wanted >= 1.0 ? (int64_t)wanted : 1;
    l->host_seconds = 1.5 * host * (double)(l->repeats + 1);
    return QP_OK;
}

static qp_status time_launch(launch *l, int64_t wanted, qp_take take, const char *range, qp_time *time)
{
    qp_samples samples;
    qp_trace_push(QP_TRACE_BENCH, range, -1, 0, 0);
    const qp_status status = qp_timer_sample(l->timer, wanted, 1, take, l, &samples);
    qp_trace_pop();
    if (status == QP_OK) *time = qp_time_of(&samples, l->repeats);
    free(samples.values);
    return status;
}

qp_status qp_timer_cold(qp_timer *timer, int64_t wanted, const qp_implementation *implementation, const qp_call *call,
                        qp_time *time)
{
    launch l = { timer, implementation, call, true, 1, 0.0 };
    QP_TRY(run(&l)); /* what is done once, e.g. loading the kernel, is no part of a sample */
    return time_launch(&l, wanted, take_single, "cold", time);
}

qp_status qp_timer_hot(qp_timer *timer, int64_t wanted, const qp_implementation *implementation, const qp_call *call,
                       qp_time *time)
{
    launch l = { timer, implementation, call, false, 1, 0.0 };
    QP_TRY(calibrate(&l));
    return time_launch(&l, wanted, take_hot, "hot", time);
}

/* ---- Ceilings. ---- */

typedef struct copying {
    qp_timer *timer;
    void *to, *from;
    uint64_t bytes;
} copying;

static qp_status take_copy(void *context, int64_t count, double *values)
{
    const copying *c = context;
    QP_TRY(qp_timer_occupy(c->timer, 0.0));
    for (int i = 0; i < (int)count; i++) {
        QP_TRY(qp_device_mark(c->timer->device, 2 * i));
        QP_TRY(qp_device_copy(c->timer->device, c->to, c->from, c->bytes));
        QP_TRY(qp_device_mark(c->timer->device, 2 * i + 1));
    }
    return read_pairs(c->timer, count, values);
}

static qp_status measure_copy(qp_timer *timer, int64_t wanted, qp_ceilings *ceilings)
{
    copying c = { .timer = timer, .bytes = on_cpu(timer) ? cpu_flush_bytes : UINT64_C(512) << 20 };
    qp_samples samples = { 0 };
    qp_status status = qp_device_allocate(timer->device, c.bytes, "the copy", &c.to);
    if (status == QP_OK) status = qp_device_allocate(timer->device, c.bytes, "the copy", &c.from);
    if (status == QP_OK) status = qp_timer_sample(timer, wanted, 1, take_copy, &c, &samples);
    if (status == QP_OK) {
        ceilings->copy = qp_time_of(&samples, 1);
        ceilings->copy_bytes = c.bytes;
        const double seconds = ceilings->copy.seconds.median;
        ceilings->copy_bytes_per_second = seconds > 0.0 ? 2.0 * (double)c.bytes / seconds : 0.0;
    }
    free(samples.values);
    qp_device_free(timer->device, c.to);
    qp_device_free(timer->device, c.from);
    return status;
}

/* Whether a corner of the product is what the contract on the CPU gives, but for the order of summation. */
static qp_status compare_corner(qp_device *device, int64_t size, const qp_bf16 *host, const void *product, bool *same)
{
    qp_bf16 want[CORNER], got[CORNER];
    const qp_call corner = { .extent = { 1, CORNER, size }, .in = { host, host }, .out = { want } };
    const qp_implementation *contract = qp_implementation_find("linear", QP_CPU, NULL);
    QP_TRY(contract->run(&corner));
    QP_TRY(qp_device_read(device, got, product, sizeof got));
    *same = qp_own_order_explains(want, got, CORNER, size);
    return QP_OK;
}

static qp_status measure_product(qp_timer *timer, int64_t wanted, qp_ceilings *ceilings)
{
    qp_device *device = timer->device;
    const qp_implementation *linear = qp_implementation_find("linear", qp_device_backend(device), NULL);
    const int64_t size = on_cpu(timer) ? 512 : 8192, elements = size * size;
    const uint64_t bytes = (uint64_t)elements * sizeof(qp_bf16);
    void *operand = NULL, *weight = NULL, *product = NULL;
    bool same = false;
    qp_bf16 *host = malloc((size_t)bytes);
    qp_status status = host ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for a matrix of %lld rows", (long long)size);
    if (status == QP_OK) status = qp_device_allocate(device, bytes, "a large matrix", &operand);
    if (status == QP_OK) status = qp_device_allocate(device, bytes, "a large matrix", &weight);
    if (status == QP_OK) status = qp_device_allocate(device, bytes, "a large matrix", &product);
    if (status == QP_OK) {
        qp_random_fill(1, -1.0f, 1.0f, host, elements); /* zeros would draw less power, and run at a higher clock */
        status = qp_device_write(device, operand, host, bytes);
    }
    if (status == QP_OK) status = qp_device_write(device, weight, host, bytes);
    const qp_call call = { .extent = { size, size, size }, .in = { operand, weight }, .out = { product } };
    if (status == QP_OK) status = qp_device_run(device, linear, &call);
    if (status == QP_OK) status = compare_corner(device, size, host, product, &same);
    ceilings->product_size = size;
    ceilings->product_implementation = linear->name;
    ceilings->product.why = "its result is wrong";
    launch l = { timer, linear, &call, false, 1, 0.0 }; /* so long that neither marks nor caches matter */
    if (status == QP_OK && same) status = time_launch(&l, wanted, take_single, "product", &ceilings->product);
    if (status == QP_OK && ceilings->product.seconds.median > 0.0)
        ceilings->product_flops_per_second = 2.0 * (double)elements * (double)size / ceilings->product.seconds.median;
    qp_device_free(device, operand);
    qp_device_free(device, weight);
    qp_device_free(device, product);
    free(host);
    return status;
}

qp_status qp_timer_measure_ceilings(qp_timer *timer, int64_t wanted, qp_ceilings *ceilings)
{
    memset(ceilings, 0, sizeof *ceilings);
    qp_trace_push(QP_TRACE_BENCH, "ceilings", -1, 0, 0);
    qp_status status = measure_copy(timer, wanted, ceilings);
    if (status == QP_OK) status = measure_product(timer, wanted, ceilings);
    qp_trace_pop();
    return status;
}
