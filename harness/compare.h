/* Element-wise comparison of two tensors: how many elements differ, by how much, and where. */
#ifndef QP_COMPARE_H
#define QP_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/operation.h"

/* Signed distance got - want in ulp, in classes:
 * <= -8, -7..-4, -3, -2, -1, 0, 1, 2, 3, 4..7, >= 8, and last the class mismatches (below). The counts of
 * a histogram add up to the elements. */
enum { QP_ULP_CLASSES = 12 };
extern const char *const qp_ulp_class_names[QP_ULP_CLASSES];

/* An element that differs. */
typedef struct qp_worst {
    int64_t index;
    double want, got;
    uint64_t want_bits, got_bits; /* in the tensor's own type; of an i64 as two's complement */
} qp_worst;

enum { QP_WORST = 4 };

typedef struct qp_comparison {
    int64_t elements;
    int64_t mismatches;       /* bits differ */
    int64_t class_mismatches; /* of these: one is NaN or an infinity and the other is not the same, or the two are
                                 zeros of different sign */
    int64_t signed_zeros;     /* of the class mismatches: +0 against -0, the only ones that have a distance */
    int64_t nonzero;          /* elements of `want` that are not zero */
    int64_t nonfinite;        /* elements of `want` that are NaN or infinite */
    double max_abs;           /* over pairs of finite elements */
    double max_ulp;           /* over pairs of finite elements; exact up to 2^53 */
    double p99_ulp;           /* the least distance that 99 % of the finite pairs do not exceed */
    int64_t histogram[QP_ULP_CLASSES];
    /* The worst elements, the worst first; of equals the one of the lower index. A NaN or an infinity out of place is worse
     * than any distance, +0 against -0 counts as 1 ulp. */
    int worst_count; /* 0 if nothing differs */
    qp_worst worst[QP_WORST];
} qp_comparison;

/* Compares n elements of dtype bf16, f32 or i64. Two NaN are equal, whatever their bits; +0 and -0 are
 * not (a class mismatch, 1 ulp apart: bf16 and f32 are counted along the ordered line of their bits).
 * For i64 an "ulp" is 1. n <= 0, and a dtype other than these three, give elements == 0 and
 * nothing else, which is never right. Does not fail and allocates nothing. */
qp_comparison qp_compare(qp_dtype dtype, const void *want, const void *got, int64_t n);

/* Errors between a tensor (bf16, f32 or i64, or f64 for the oracle's own) and the fp64 oracle, over the pairs
 * that are not left out. */
typedef struct qp_error {
    double max_abs;
    double rms;        /* root of the mean of the squares; 0 if every pair was left out */
    int64_t nonfinite; /* pairs left out because one of the two is not finite; two equal infinities are no error */
} qp_error;

qp_error qp_error_of(qp_dtype a_dtype, const void *a, qp_dtype b_dtype, const void *b, int64_t n);

/* The error's rms; NaN where it is of no pair, and so unknown, of `elements`. */
double qp_error_rms(const qp_error *error, int64_t elements);

/* The element as a double (an i64 beyond 2^53 is rounded). */
double qp_element(qp_dtype dtype, const void *data, int64_t index);

#endif
