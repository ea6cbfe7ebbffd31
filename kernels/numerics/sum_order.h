/* The order in which an attention product is summed. cuBLAS chooses a kernel by the numbers of heads, queries and keys, and
 * some of them use no tensor core, or begin with what is left over. An order is (lanes, run, fold, narrow):
 *
 * Without lanes it is the tensor core's chain of blocks of 16 (block_fma.h).
 *   T1  A `run` above 0 then means that the first `run` elements have blocks of their own, the last of which is padded with
 *       zeros, before the rest begins: CUTLASS's kernels load what K leaves over a whole number of tiles first.
 *   T2  `narrow` means blocks of 8: mma.m16n8k8, which kernels for rows that no vector load fits use. Such a block is one
 *       of 16 whose second half is zeros, since a zero product does not count in a block (B2).
 * With lanes it is the dot product of cuBLAS's kernels without tensor cores (gemvx, gemvNSP, gemv2T), which one query can
 * get: on an H200 when the number of keys is not a multiple of 8.
 *   L1  K is cut into runs of `run` neighbouring elements, dealt to `lanes` lanes in turn: lane l takes the runs l,
 *       l + lanes, l + 2 lanes, ...
 *   L2  a lane starts at +0 and adds its products one after the other: fma in f32. A product of two bf16 is exact in
 *       f32 (but for exponents below -126, where it is not normal), so this is an addition.
 *   L3  the lanes fold by halves: for each offset lanes/2, lanes/4, ..., 1: lane l += lane l + offset; or in turn: lane 0
 *       += lane 1, += lane 2, and so on.
 *
 * Source: the orders were revealed on an H200 with cuBLAS 13.1 by the method of FPRev (arXiv 2411.00442), see
 * golden/attention_order.py, which finds the one of a shape. */
#ifndef QP_SUM_ORDER_H
#define QP_SUM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_LANES = 32 };

typedef enum qp_fold { QP_FOLD_HALVES, QP_FOLD_IN_TURN } qp_fold;

/* All zero: the tensor core. */
typedef struct qp_sum_order {
    int lanes; /* a power of two of at most QP_MAX_LANES, or 0 */
    int run;
    qp_fold fold;
    bool narrow; /* without lanes only */
} qp_sum_order;

/* Sum of a[k] * b[k * b_stride] in an order that is known, written straight from its definition: slow. */
float qp_ordered_fma(const qp_bf16 *a, const qp_bf16 *b, int64_t b_stride, int64_t k, qp_sum_order order);

/* L3 of `width` dot products: sums is [order.lanes][width], and its first row gets the results. */
void qp_fold_lanes(float *sums, int64_t width, qp_sum_order order);

/* The orders with lanes that kernels of cuBLAS were seen to have; whoever looks for one tries these first. */
enum { QP_LANE_ORDERS_SEEN = 7 };
extern const qp_sum_order qp_lane_orders_seen[QP_LANE_ORDERS_SEEN];

/* Whether qp_ordered_fma knows the order. */
bool qp_sum_order_is_known(qp_sum_order order);

#ifdef __cplusplus
}
#endif
#endif
