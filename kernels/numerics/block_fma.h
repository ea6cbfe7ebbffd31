/* The tensor core's bf16 arithmetic in integers and exact float operations.
 *
 * One block step, as an H200 computes it (mma.sync.m16n8k16, wgmma ...k16, and cuBLAS, which uses them):
 *   B1  the 16 products a[k] * b[k] are exact; each has the exponent e(a[k]) + e(b[k]), which is not
 *       normalised: the significand of a product lies in [1, 4). A subnormal factor has exponent -126.
 *   B2  E is the largest exponent among those of the 17 that are not zero, and at least -133; a subnormal accumulator
 *       has exponent -126.
 *   B3  every product and the accumulator are cut, toward zero, to a multiple of 2^(E - 25).
 *   B4  the 17 cut values are added exactly, and the sum is cut, toward zero, to f32, subnormals included. A result of
 *       zero is +0, also if it was cut to it.
 *   B5  any NaN, an infinity times zero, or infinities of both signs give the NaN 0x7FFFFFFF; otherwise
 *       an infinity stays one. A finite sum of magnitude 2^128 or more gives an infinity.
 * A dot product is a chain of such steps over K in ascending blocks of 16 from an accumulator of +0; the
 * last block is padded with zeros. The order inside a block does not matter, since B4 is exact.
 *
 * Source: measured on an H200. tests/check_block_fma_gpu.cu compares qp_block_fma with mma.sync there, over every kind
 * of input: reports/published/block-fma-h200.txt. cuBLAS 13.1 gives the same bits. The model of MMA-Sim
 * (arXiv 2511.10909, "T-FDPA" with 25 fraction bits) is the same but for two things: it takes -126 for -133, and its zero can be -0. */
#ifndef QP_BLOCK_FMA_H
#define QP_BLOCK_FMA_H

#include <stdint.h>

#include "bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_BLOCK_K = 16, QP_KEPT_BITS = 25 /* B3 */ };

/* What follows is written straight from the definition: for any values, and slow. matrix_fma.h is the fast way to the same
 * bits. */

/* One block step. */
float qp_block_fma(float accumulator, const qp_bf16 a[QP_BLOCK_K], const qp_bf16 b[QP_BLOCK_K]);

/* The chain over K elements, from `accumulator` on: sum of a[k] * b[k * b_stride]. K = 0 gives the accumulator. */
float qp_chain_fma(float accumulator, const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k);

/* A split K: each part of `part` elements, the last perhaps shorter, is a chain of its own from +0, and the parts are
 * added in f32 from the first to the last. */
float qp_split_chain_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t k, int64_t part);

#ifdef __cplusplus
}
#endif
#endif
