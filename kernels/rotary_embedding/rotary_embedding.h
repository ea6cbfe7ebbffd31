/* rotary_embedding: cos[t, j] and sin[t, j] of the angle position[t] * theta^(-2i / D), i = j mod D/2
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3RotaryEmbedding.
 * Rounding points, each rounded to f32:
 *   R1  the exponent 2i / D (exact for D a power of two), theta to that power, and 1 divided by it: inv_freq. PyTorch
 *       computes it on the CPU.
 *   R2  the angle: inv_freq times the position as f32 (one product, so one rounding).
 *   R3  cosf and sinf of the angle (numerics/special.h).
 *   R4  both are rounded to bf16.
 *   R5  the second half of the channels repeats the first.
 * R1's power: PyTorch's vectorised pow (Sleef, 1 ulp) is not always correctly rounded. For D = 128 and a theta of 1e4,
 * 1e6, 5e6 or 1e7 the two elements where it is not stand in a table (rotary_embedding_cpu.c); with another theta
 * inv_freq may differ by 1 ulp in a few elements.
 * Preconditions:
 *   P1  D is even; positions are at least 0 and below 2^24, where f32 still counts in ones.
 *   P2  D is at most 1024 in the CUDA implementation, which gets inv_freq as an argument (QP_UNSUPPORTED above). */
#ifndef QP_ROTARY_EMBEDDING_H
#define QP_ROTARY_EMBEDDING_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_ROTARY_EMBEDDING_T, QP_ROTARY_EMBEDDING_HALF, QP_ROTARY_EMBEDDING_D };
enum { QP_ROTARY_EMBEDDING_POSITIONS };
enum { QP_ROTARY_EMBEDDING_INV_FREQ, QP_ROTARY_EMBEDDING_COS, QP_ROTARY_EMBEDDING_SIN };

typedef struct qp_rotary_embedding_args {
    const int64_t *positions; /* in  [T]         */
    float *inv_freq;          /* out [D/2], f32  */
    qp_bf16 *cos, *sin;       /* out [T, D], bf16 */
    int64_t tokens, d;
    double theta; /* config.rope_theta */
} qp_rotary_embedding_args;

extern const qp_operation qp_rotary_embedding_operation;

qp_rotary_embedding_args qp_rotary_embedding_bind(const qp_call *call);
/* R1: the D/2 frequencies, on the host for every implementation. */
void qp_rotary_inv_freq(double theta, int64_t d, float *inv_freq);
QP_MUST_USE qp_status qp_rotary_embedding_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_rotary_embedding_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_rotary_embedding_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
