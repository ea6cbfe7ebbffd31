/* Wall time. */
#ifndef QP_CLOCK_H
#define QP_CLOCK_H

#include <time.h>

/* Seconds since some fixed moment; never goes back. */
static inline double qp_seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
