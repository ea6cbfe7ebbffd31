/* Time on a device: the three ways to time a launch, the samples that do not count, and what the machine can do at
 * most. */
#ifndef QP_TIMER_H
#define QP_TIMER_H

#include "../model/device.h"
#include "statistics.h"

typedef struct qp_timer {
    qp_device *device; /* borrowed */
    void *flush;       /* on the device: larger than its L2 */
    uint64_t flush_bytes;
    double flush_seconds; /* that one fill of it takes */
    double
        mark_overhead; /* seconds between two marks with nothing between them: part of every time, never subtracted */
    qp_clock_gate clock;
} qp_timer;

/* What is known of one kind of time. */
typedef struct qp_time {
    qp_statistics seconds; /* of one launch; without samples `why` says why */
    const char *why;       /* there is no time; NULL: there is */
    int64_t dropped;       /* samples taken at a low clock */
    int64_t launches;      /* between the two marks of a sample */
    double clock;          /* Hz: the lowest reading around the samples that count; 0: unknown */
} qp_time;

/* QP_NO_MEMORY, QP_DEVICE. On failure *timer is all zero, which qp_timer_close accepts. */
QP_MUST_USE qp_status qp_timer_open(qp_device *device, qp_timer *timer);
void qp_timer_close(qp_timer *timer);

/* Keeps the device busy for about so long, so that the host can enqueue launches ahead of it, and what is measured
 * is the device's time and not the host's. Nothing on the CPU, where a launch is the work. */
QP_MUST_USE qp_status qp_timer_occupy(qp_timer *timer, double seconds);

/* Samples of `width` values each, one after the other. */
typedef struct qp_samples {
    double *values; /* the caller's to free, whatever happened */
    int64_t count;
    int64_t dropped;
    double clock; /* as in qp_time */
} qp_samples;

/* Takes `count` samples into `values`; waits for them. */
typedef qp_status (*qp_take)(void *context, int64_t count, double *values);

/* Takes up to `wanted` samples in batches with a reading of the clock before and after each. A batch at a low clock
 * is dropped and repeated, until twice as many samples as wanted were dropped. Slow ones end before `wanted`, when
 * they have taken QP_TIMER_SECONDS and there are at least QP_TIMER_LEAST. */
#define QP_TIMER_SECONDS 5.0
enum { QP_TIMER_LEAST = 3 };
QP_MUST_USE qp_status qp_timer_sample(qp_timer *timer, int64_t wanted, int64_t width, qp_take take, void *context,
                                      qp_samples *samples);

/* The statistics of samples of width 1, which it sorts. */
qp_time qp_time_of(const qp_samples *samples, int64_t launches);

/* One launch at a time, each after a fill of more than the L2, whose dirty lines the launch then has to push out:
 * operands come from the memory. The fill hides the host. */
QP_MUST_USE qp_status qp_timer_cold(qp_timer *timer, int64_t wanted, const qp_implementation *implementation,
                                    const qp_call *call, qp_time *time);
/* Many launches between two marks, after one that brings the operands into the caches: so many that the overhead of the
 * marks is at most 1 % of the sample, but at most 100. */
QP_MUST_USE qp_status qp_timer_hot(qp_timer *timer, int64_t wanted, const qp_implementation *implementation,
                                   const qp_call *call, qp_time *time);

/* What the machine does at most, measured in the same run. */
typedef struct qp_ceilings {
    qp_time copy;
    uint64_t copy_bytes;          /* of one copy; it reads and writes as many */
    double copy_bytes_per_second; /* read and written; 0: unknown */
    qp_time product;
    int64_t product_size; /* M = N = K of a linear */
    const char *product_implementation;
    double product_flops_per_second; /* 0: unknown */
} qp_ceilings;

/* A copy from device to device, and a large matrix product through the backend's default linear, of whose result a
 * corner is compared with the contract on the CPU. */
QP_MUST_USE qp_status qp_timer_measure_ceilings(qp_timer *timer, int64_t wanted, qp_ceilings *ceilings);

#endif
