/* What is kept of many time samples, and which samples do not count. */
#ifndef QP_STATISTICS_H
#define QP_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct qp_statistics {
    int64_t samples;
    double median, q1, q3; /* all 0 without a sample */
} qp_statistics;

/* Sorts the values. A quartile between two values is their linear interpolation. */
qp_statistics qp_statistics_of(double *values, int64_t count);
/* (q3 - q1) / median; 0 if the median is 0. */
double qp_statistics_noise(const qp_statistics *statistics);

/* A card that saves power or is too hot runs at a low clock, and nothing measured then says what it can do. The highest
 * clock seen in a run is the reference; samples count if the clock was near it before and after them. */
#define QP_CLOCK_LEAST_SHARE 0.95

typedef struct qp_clock_gate {
    double reference; /* Hz; 0: none seen */
} qp_clock_gate;

/* Takes the two readings around some samples, and tells whether these count. A reading of 0 is unknown, and counts. */
bool qp_clock_admits(qp_clock_gate *gate, double before, double after);

#endif
