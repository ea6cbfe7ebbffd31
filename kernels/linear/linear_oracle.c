#include <stdlib.h>

#include "../threads.h"
#include "linear.h"

/* Rows of the weight that a thread takes at once, widened: a row of x serves all of them while it is in the cache. Four sums
 * at a time keep the adders busy. */
enum { TILE = 16, SUMS = 4 };

static void dot4(const double *x, const double *w, int64_t k, double sum[SUMS])
{
    double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < k; i++) {
        s0 += x[i] * w[i];
        s1 += x[i] * w[i + k];
        s2 += x[i] * w[i + 2 * k];
        s3 += x[i] * w[i + 3 * k];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

/* The rows [start, start + TILE) of the weight; past the end, the last one again. */
static void widen(const qp_linear_args *a, int64_t start, double *wide)
{
    for (int64_t n = 0; n < TILE; n++) {
        const qp_bf16 *row = a->weight + (start + n < a->n ? start + n : a->n - 1) * a->k;
        for (int64_t i = 0; i < a->k; i++) wide[n * a->k + i] = (double)qp_bf16_to_f32(row[i]);
    }
}

qp_status qp_linear_oracle(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    const double *x = call->in[QP_LINEAR_X];
    double *y = call->out[0];
    int failed = 0;
#pragma omp parallel for reduction(+ : failed) if (QP_WORTH_THREADS(a.m * a.n * a.k))
    for (int64_t start = 0; start < a.n; start += TILE) {
        double *wide = malloc((size_t)a.k * TILE * sizeof *wide);
        if (!wide) {
            failed++;
            continue;
        }
        widen(&a, start, wide);
        for (int64_t m = 0; m < a.m; m++)
            for (int64_t n = 0; n < TILE; n += SUMS) {
                double sum[SUMS];
                dot4(x + m * a.k, wide + n * a.k, a.k, sum);
                for (int64_t i = 0; i < SUMS && start + n + i < a.n; i++) y[m * a.n + start + n + i] = sum[i];
            }
        free(wide);
    }
    return failed ? qp_fail(QP_NO_MEMORY, "linear: no memory to widen %d rows of the weight", TILE) : QP_OK;
}
