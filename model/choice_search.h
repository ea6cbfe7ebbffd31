/* What cuBLAS chooses on this card, found by asking it: where no golden tells, our own kernels need to know how it splits K and
 * in which order it sums the attention products, or they have other bits than PyTorch.
 *
 * An implementation is asked for a product of inputs that tell orders apart, and so is the contract with one order after
 * the other, until all results are equal. All summands are +1 or -1 (times a constant), but for pairs of +M and -M, where
 * 1 + M = M: what joins a partial sum that holds one of a pair vanishes, so that a result tells what was summed between
 * them (FPRev, arXiv 2411.00442; golden/attention_order.py looks so, too). Pairs are near and far, in many
 * sums, so that an order that differs anywhere gives another result somewhere. */
#ifndef QP_CHOICE_SEARCH_H
#define QP_CHOICE_SEARCH_H

#include "execute.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How `asked`, an implementation of linear for this device, splits K for [m, k] times [n, k]. Parts are looked for that are
 * equal, or, where K does not divide, whole tiles of 64. split->unknown, and no part, if none of them explains the results,
 * or if an operand has more than 2 GiB. */
QP_MUST_USE qp_status qp_find_split(qp_device *device, const qp_implementation *asked, int64_t m, int64_t n, int64_t k,
                                    qp_split *split);

/* In which order `asked`, an implementation of scores or context for this device, sums: for each number of keys from that
 * of `extent` (T, S, Hq, Hkv, D, as both products count) to last_keys, so many orders. orders[i].unknown if none of those
 * that attention_order.py tries explains the results, or if an operand has more than 2 GiB. For more than one query the
 * last one's sums are looked at. */
QP_MUST_USE qp_status qp_find_orders(qp_device *device, const qp_implementation *asked, const int64_t *extent,
                                     int64_t last_keys, qp_order *orders);

/* Adds to *choices what the backend's default implementations, cuBLAS's, choose for the products of a plan with these
 * options, after each number of keys from first_past to last_past in the cache; nothing if no node of it sums such products
 * itself (a fused node does, and an implementation that is not cuBLAS's), or on the CPU. It runs the products of each shape
 * once, and for attention of each number of keys. What is unknown then stays as it is usual (plan.c). Close the choices
 * also after a failure: QP_NO_MEMORY, QP_DEVICE, or what qp_plan_open gives. */
QP_MUST_USE qp_status qp_find_choices(const qp_runtime *runtime, const qp_selection *selection, qp_plan_options options,
                                      int64_t first_past, int64_t last_past, qp_cublas_choices *choices);

#ifdef __cplusplus
}
#endif
#endif
