/* The special functions of a card, measured on it: compared with the CPU's, and written as a numeric profile, as
 * golden/profiles/sm_90.h5 is. That file is what kernels/numerics/special_unit.h was derived from and is tested with.
 *
 * Schema "qwen3-parity-profile/1", HDF5; the attributes of the file tell the card and the versions, and the unit as the
 * probe found it (harness/probe.h); the datasets are
 *   rsqrt      int8   [2, 2^23]     rsqrtf((1 + i 2^-23) * {1, 2}), in ulp above the nearest f32
 *   ex2        int8   [2^23]        ex2.approx.ftz(1 + i 2^-23), likewise
 *   checksums  uint64 [5, 2^12]     of rsqrtf, ex2.approx.ftz, expf, cosf, sinf for all 2^32 arguments, in chunks of 2^20:
 *                                   qp_special_checksums_cuda (kernels/special_array.h)
 * The nearest f32 is that of 1 / sqrt(x) or exp2(x) in double. */
#ifndef QP_PROFILE_H
#define QP_PROFILE_H

#include <stdint.h>

#include "../kernels/special_array.h"
#include "../model/device.h"
#include "probe.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_PERIOD = 1 << 23, QP_PROFILE_ROWS = 3 }; /* rsqrt of [1, 2) and of [2, 4), ex2 of [1, 2) */

typedef struct qp_profile {
    qp_device_facts device;
    int8_t *above_nearest;           /* [QP_PROFILE_ROWS][QP_PERIOD] */
    int64_t differ[QP_PROFILE_ROWS]; /* how many of them the CPU's functions give otherwise */
    uint64_t *checksums;             /* [QP_SPECIALS][QP_SPECIAL_CHUNKS] */
    int chunks_compared;             /* of each function with the CPU's, spread evenly */
    int chunks_differ[QP_SPECIALS];
} qp_profile;

/* Measures the card, and compares all of a period and `chunks` chunks of each function with the CPU's. QP_UNSUPPORTED for the
 * CPU itself. Close the profile also after a failure. */
QP_MUST_USE qp_status qp_profile_measure(qp_device *device, int chunks, qp_profile *profile);
void qp_profile_close(qp_profile *profile);

/* Writes a new file. QP_IO if it exists or cannot be written; then no file is left. */
QP_MUST_USE qp_status qp_profile_write(const qp_profile *profile, const qp_probe_unit *unit, const char *path);

#ifdef __cplusplus
}
#endif
#endif
