#include "linear.h"

/* Rows of the weight that a thread takes at once: a row of x serves all of them while it is in the cache. */
enum { TILE = 16 };

static double dot(const double *x, const qp_bf16 *weight, int64_t k)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < k; i++) sum += x[i] * (double)qp_bf16_to_f32(weight[i]);
    return sum;
}

qp_status qp_linear_oracle(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    const double *x = call->in[QP_LINEAR_X];
    double *y = call->out[0];
#pragma omp parallel for
    for (int64_t start = 0; start < a.n; start += TILE)
        for (int64_t m = 0; m < a.m; m++)
            for (int64_t n = start; n < a.n && n < start + TILE; n++)
                y[m * a.n + n] = dot(x + m * a.k, a.weight + n * a.k, a.k);
    return QP_OK;
}
