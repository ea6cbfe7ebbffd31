/* bf16 as a type of its own, so that it is never mistaken for an integer: 1 sign, 8 exponent and 7
 * fraction bits, the upper half of an IEEE binary32. C11, C++ and CUDA. */
#ifndef QP_BF16_H
#define QP_BF16_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QP_HOST_DEVICE __host__ __device__
#else
#define QP_HOST_DEVICE
#endif

typedef struct qp_bf16 {
    uint16_t bits;
} qp_bf16;

QP_HOST_DEVICE static inline uint32_t qp_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

QP_HOST_DEVICE static inline float qp_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Exact: every bf16 is an f32. */
QP_HOST_DEVICE static inline float qp_bf16_to_f32(qp_bf16 value)
{
    return qp_f32_from_bits((uint32_t)value.bits << 16);
}

/* Nearest, ties to even; overflow gives an infinity; subnormals are kept. Every NaN gives 0x7FFF,
 * as the card's conversion does (PTX ISA, "cvt": a NaN source gives the canonical NaN). */
QP_HOST_DEVICE static inline qp_bf16 qp_bf16_from_f32(float value)
{
    qp_bf16 result;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const uint32_t bits = qp_f32_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        result.bits = 0x7fff;
    else
        result.bits = (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
    return result;
}

#endif
