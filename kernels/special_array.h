/* The functions of special.h over many arguments, on the CPU and on the card, to compare the two: for the probe, the numeric
 * profile and the tests. They run as operations do (model/device.h, qp_device_run), but are none of the model's. */
#ifndef QP_SPECIAL_ARRAY_H
#define QP_SPECIAL_ARRAY_H

#include <stdint.h>

#include "operation.h"
#include "numerics/bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rsqrtf, ex2.approx.ftz, expf, cosf, sinf. */
typedef enum qp_special { QP_RSQRT, QP_EX2, QP_EXP, QP_COS, QP_SIN, QP_SPECIALS } qp_special;
const char *qp_special_name(qp_special function);

/* The CPU's, of one argument. */
float qp_special_value(qp_special function, float x);

/* What computes the two calls below on a backend; NULL: this build has no such backend. */
qp_run qp_special_bits(qp_backend backend);
qp_run qp_special_checksums(qp_backend backend);

/* Extents of both calls. */
enum { QP_SPECIAL_FUNCTION, QP_SPECIAL_FIRST, QP_SPECIAL_COUNT };

/* out[0][i], uint32_t: the bits of the function of the f32 with the bits FIRST + i, modulo 2^32, for i < COUNT. */
QP_MUST_USE qp_status qp_special_bits_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_special_bits_cuda(const qp_call *call);

/* out[0][i], uint64_t: over the chunk FIRST + i, the arguments with the bits from (FIRST + i) * QP_SPECIAL_CHUNK on, the sum
 * modulo 2^64 of qp_special_mix(bits of the argument, bits of the result), for i < COUNT. */
enum { QP_SPECIAL_CHUNK = 1 << 20, QP_SPECIAL_CHUNKS = 1 << 12 };
QP_MUST_USE qp_status qp_special_checksums_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_special_checksums_cuda(const qp_call *call);

QP_HOST_DEVICE static inline uint64_t qp_special_mix(uint32_t argument, uint32_t result)
{
    uint64_t mixed = ((uint64_t)argument << 32 | result) * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    return mixed * UINT64_C(0xbf58476d1ce4e5b9);
}

#ifdef __cplusplus
}
#endif
#endif
