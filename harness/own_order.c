#include "own_order.h"

#include <math.h>

#include "../kernels/context/context.h"
#include "../kernels/linear/linear.h"
#include "../kernels/numerics/strict_fp.h"
#include "../kernels/scores/scores.h"
#include "compare.h"

int64_t qp_products_in_a_sum(const qp_operation *operation, const int64_t *extent)
{
    if (operation == &qp_linear_operation) return extent[QP_LINEAR_K];
    if (operation == &qp_scores_operation) return extent[QP_SCORES_D];
    if (operation == &qp_context_operation) return extent[QP_CONTEXT_S];
    return 0;
}

double qp_own_order_rate(int64_t products, int64_t elements)
{
    return 2e-6 * (double)products + fmin(4.0 / (double)elements, 1e-2);
}

static int64_t strays(const void *want, const void *got, int64_t n, int64_t products)
{
    const double masked = 1e38; /* scores: the least bf16 is no sum */
    double largest = 0.0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const double size = fabs(qp_element(QP_BF16, want, i));
        if (size > largest && size < masked) largest = size;
    }
    const double cut = ((double)products / 16.0 + 1.0) * 0x1p-22 * largest;
    for (int64_t i = 0; i < n; i++) {
        const double a = qp_element(QP_BF16, want, i), b = qp_element(QP_BF16, got, i);
        const bool close = fabs(a - b) <= 0x1p-6 * fabs(a) + cut;
        count += !(close || (isnan(a) && isnan(b)) || a == b);
    }
    return count;
}

bool qp_own_order_explains(const void *want, const void *got, int64_t n, int64_t products)
{
    const qp_comparison c = qp_compare(QP_BF16, want, got, n);
    const double allowed = qp_own_order_rate(products, n) * (double)n;
    return c.elements > 0 && c.class_mismatches == c.signed_zeros && (double)c.mismatches <= allowed &&
           strays(want, got, n, products) == 0;
}
