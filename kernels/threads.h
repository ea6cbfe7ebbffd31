/* When loops are worth several threads (OpenMP). */
#ifndef QP_THREADS_H
#define QP_THREADS_H

#include <stdint.h>

/* `work` in multiply-adds or the like. Below, threads cost more than they save, above all on a busy machine, where they
 * wait for each other. */
#define QP_WORTH_THREADS(work) ((int64_t)(work) >= INT64_C(1) << 20)

#endif
