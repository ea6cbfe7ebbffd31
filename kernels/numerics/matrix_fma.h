/* Matrix products on the CPU, each element of which is summed in one of the orders of block_fma.h and sum_order.h:
 * bit for bit what qp_split_chain_fma and qp_ordered_fma give, but fast: with the processor's vectors, and with threads
 * over the columns. */
#ifndef QP_MATRIX_FMA_H
#define QP_MATRIX_FMA_H

#include <stdbool.h>
#include <stdint.h>

#include "../status.h"
#include "bf16.h"
#include "sum_order.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where M rows lie: row m begins at (m / inner) * outer_step + (m % inner) * inner_step, in elements. So the query heads
 * that share a key head are rows of one product. */
typedef struct qp_rows {
    int64_t inner, outer_step, inner_step;
} qp_rows;

/* y[m, n] = sum over k of a[m, k] * b[n, k], rounded to bf16; a batch of such products. */
typedef struct qp_matrix_fma_args {
    int64_t m, n, k;                   /* at least 1 */
    int64_t batch;                     /* at least 1 */
    int64_t a_batch, b_batch, y_batch; /* elements from one product's operand to the next one's */
    const qp_bf16 *a;                  /* a row's K elements lie side by side */
    qp_rows a_rows;
    const qp_bf16 *b;      /* b[n, k] is at n * b_row + k * b_step: read in place */
    int64_t b_row, b_step; /* one of them is 1 */
    qp_bf16 *y;            /* a row's N elements lie side by side */
    qp_rows y_rows;
    int64_t part;       /* elements of K in a part of a split, a multiple of 16; 0: not split */
    qp_sum_order order; /* known (qp_sum_order_is_known), and the tensor core's where K is split */
} qp_matrix_fma_args;

/* QP_NO_MEMORY if the operands' rearranged rows find no place. */
QP_MUST_USE qp_status qp_matrix_fma(const qp_matrix_fma_args *args);

/* The ways to compute it, which give the same bits: "avx512", "avx2", "portable". Names of those that this machine can
 * run, the fastest first, NULL-ended; the one in use, at first the fastest; and the choice of another (false: there is no
 * such way here). Not for several threads at once, nor while a product runs. */
const char *const *qp_vector_paths(void);
const char *qp_vector_path_name(void);
bool qp_vector_path_use(const char *name);

#ifdef __cplusplus
}
#endif
#endif
