/* The dot product of cuBLAS's kernels without tensor cores (gemvx, gemvNSP), which one query can get in the attention
 * products: on an H200 when the number of keys is not a multiple of 8.
 *
 *   L1  K is cut into runs of `run` neighbouring elements, dealt to `lanes` lanes in turn: lane l takes the runs l,
 *       l + lanes, l + 2 lanes, ...
 *   L2  a lane starts at +0 and adds its products one after the other: fma in f32. A product of two bf16 is exact in
 *       f32 (but for exponents below -126, where it is not normal), so this is an addition.
 *   L3  the lanes fold: for each offset lanes/2, lanes/4, ..., 1: lane l += lane l + offset.
 *
 * Source: the orders were revealed on an H200 with cuBLAS 13.1 by golden/attention_order.py (the method of FPRev,
 * arXiv 2411.00442); with them 0 elements of the embedded golden differ. */
#ifndef QP_LANE_FMA_H
#define QP_LANE_FMA_H

#include <stdbool.h>
#include <stdint.h>

#include "bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_LANES = 32 };

/* Sum of a[k] * b[k * b_stride]. `lanes` is a power of two of at most QP_MAX_LANES, `run` at least 1. */
float qp_lane_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes, int run);

/* The same in any order that an attention product can have. Without lanes it is the tensor core's chain of blocks of 16
 * (block_fma.h); a `run` above 0 then means that the first `run` elements fill blocks of their own, the last of which is
 * padded with zeros, before the rest begins: CUTLASS's kernels load what K leaves over a whole number of tiles first. */
float qp_ordered_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes, int run);

/* Whether qp_ordered_fma knows the order (lanes, run). */
bool qp_order_is_known(int lanes, int run);

#ifdef __cplusplus
}
#endif
#endif
