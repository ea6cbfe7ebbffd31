/* How far apart two results of the same products may be because they were summed in different orders. cuBLAS chooses an
 * order for a shape, and without a golden of that shape nobody knows it.
 *
 * Two f32 sums of the same products in different orders differ in their last bits, so the rounding to bf16 goes the other way
 * for the few elements near a tie: for 3e-7 to 6e-7 of the elements, times the products in a sum (normally distributed
 * products in 2 or 16 parts: tests/check_bench.c, reports/published/own-order.txt). Allowed are 2e-6, and because such
 * elements come at random, 4 elements more, or 1 % of a small tensor. By ulp there is no bound, since a sum may nearly cancel.
 * But no element may be a stray: off by more than 2 ulp and by more than the tensor core can cut off in as many steps, of
 * 2^-22 each, from a sum as large as the tensor's largest. */
#ifndef QP_OWN_ORDER_H
#define QP_OWN_ORDER_H

#include "../kernels/operation.h"

/* How many products a sum of the operation has, 0 if it is no matrix product. */
int64_t qp_products_in_a_sum(const qp_operation *operation, const int64_t *extent);

/* The share of `elements` of bf16 that may differ. */
double qp_own_order_rate(int64_t products, int64_t elements);

/* Whether of n > 0 elements of bf16 no more differ, none is NaN or infinite on one side only, and none is a stray. */
bool qp_own_order_explains(const void *want, const void *got, int64_t n, int64_t products);

#endif
