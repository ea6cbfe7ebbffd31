/* How fast the CPU's contract is, beside what this machine does at most: one reading of the model's weights, and its matrix
 * products in f32, by OpenBLAS and by a plain loop, where ours give the tensor core's bits. Everything with all threads, and
 * with one.
 *
 * A time counts only for a verified result: ours against the chain of qp_block_fma in some elements, the plain loop
 * against f64 in the same, OpenBLAS against the plain loop in all, before its timing and again on what the timed calls
 * wrote. */
#ifndef QP_HOST_SPEED_H
#define QP_HOST_SPEED_H

#include "../model/plan.h"
#include "timer.h"

/* Threads of the parallel loops: 1 if this build has no OpenMP. */
int qp_host_threads(void);
void qp_host_use_threads(int threads);

/* The same work with all threads, and with one; that has no time where there is only one. */
typedef struct qp_scaling {
    qp_time all, one;
} qp_scaling;
double qp_scaling_speed_up(const qp_scaling *scaling); /* 0: unknown */

/* What the processors did so far, in seconds of one: all programs', and this one's. All zero where the system does not say. */
typedef struct qp_host_usage {
    double busy, own, now;
} qp_host_usage;
qp_host_usage qp_host_usage_now(void);
/* The share of the processors' time since then that other programs had; -1: unknown. Threads that have to wait for each
 * other are then slower than one alone. */
double qp_host_others(const qp_host_usage *since);

/* As many samples of something that takes `seconds` as fit into the budget, at most `asked`: at least 3, but only 1 of what
 * exceeds it alone. */
int64_t qp_host_samples(int64_t asked, double seconds, double budget);

enum { QP_HOST_PATHS = 4 };

/* y[M, N] = x[M, K] * weight[N, K], the weight of a node of the model. */
typedef struct qp_host_product {
    char key[QP_NAME_MAX]; /* module path of the first node of this shape */
    int64_t m, n, k;
    /* Through the registered linear: first on the path that block_fma uses, for the largest shape on all others, too. */
    struct qp_host_path {
        const char *name;
        qp_scaling time;
    } path[QP_HOST_PATHS];
    int path_count;
    qp_scaling openblas, plain;
} qp_host_product;
/* Multiply-adds a second; 0: unknown. */
double qp_host_product_rate(const qp_host_product *product, const qp_time *time);

/* What the targets of the CPU are: at most this many times the reading of its weights for a decode step, and at least this
 * many times as fast with all threads as with one. */
#define QP_HOST_MOST_READINGS 4.0
#define QP_HOST_LEAST_SPEED_UP 1.7

typedef struct qp_host_speed {
    int threads;                  /* all of them; 0: nothing was measured, the device is not the CPU */
    double others;                /* qp_host_others over the whole run */
    uint64_t read_bytes;          /* of the weights that a decode step reads */
    qp_scaling read;              /* of a sum over them */
    double read_bytes_per_second; /* 0: unknown */
    char openblas[160];           /* what OpenBLAS says of itself */
    const char *no_openblas;      /* why it was not measured; NULL: it was */
    int product_count, failed;    /* paths with a wrong result */
    qp_host_product *products;    /* in the order of the plan, for each shape M = 1 and more */
} qp_host_speed;

typedef struct qp_host_options {
    const char *only;                             /* glob on module paths: the products; NULL: all in the layers */
    int64_t samples;                              /* at most, a time */
    const char *openblas;                         /* the shared library; NULL: QP_HOST_OPENBLAS */
    void (*say)(void *context, const char *what); /* what is measured now; may be NULL */
    void *context;
} qp_host_options;
#define QP_HOST_OPENBLAS "libopenblas.so.0"

/* Measures with the threads of now, and on the CPU, whose timer it is. Without OpenBLAS there is a sentence in its place. On
 * failure *speed is all zero. */
QP_MUST_USE qp_status qp_host_measure(qp_timer *timer, const qp_model *model, const qp_host_options *options,
                                      qp_host_speed *speed);
void qp_host_close(qp_host_speed *speed);

#endif
