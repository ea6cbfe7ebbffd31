/* The dot product of cuBLAS's kernels without tensor cores (gemvx, gemvNSP), which one query gets in the attention
 * products when the number of keys is not a multiple of 8.
 *
 *   L1  K is cut into runs of `run` consecutive elements, dealt to `lanes` lanes in turn: lane l takes the runs l,
 *       l + lanes, l + 2 lanes, ...
 *   L2  a lane starts at +0 and adds its products one after the other: fma in f32. A product of two bf16 is exact in
 *       f32 (but for exponents below -126, where it is not normal), so this is an addition.
 *   L3  the lanes fold: for each offset lanes/2, lanes/4, ..., 1: lane l += lane l + offset.
 *
 * Source: the trees were revealed on an H200 with cuBLAS 13.1 by golden/probe_attention.py (the method of FPRev,
 * arXiv 2411.00442) and compared with PyTorch's outputs on the embedded golden, where 0 elements differ. */
#ifndef QP_LANE_FMA_H
#define QP_LANE_FMA_H

#include <stdint.h>

#include "bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_LANES = 32 };

/* Sum of a[k] * b[k * b_stride]. `lanes` is a power of two of at most QP_MAX_LANES. */
float qp_lane_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, int lanes, int run);

#ifdef __cplusplus
}
#endif
#endif
