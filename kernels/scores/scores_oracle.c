#include "../threads.h"
#include "scores.h"

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

qp_status qp_scores_oracle(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const double *q = call->in[QP_SCORES_Q], *keys = call->in[QP_SCORES_KEYS];
    double *y = call->out[0];
    const int64_t group = a.query_heads / a.key_heads;
#pragma omp parallel for if (QP_WORTH_THREADS(a.tokens * a.query_heads * a.keys_count * a.d))
    for (int64_t row = 0; row < a.query_heads * a.tokens; row++) {
        const int64_t h = row / a.tokens, t = row % a.tokens;
        for (int64_t s = 0; s < a.keys_count; s++) {
            const double product =
                dot(q + (t * a.query_heads + h) * a.d, keys + (s * a.key_heads + h / group) * a.d, a.d);
            const double mask = (double)qp_scores_mask(&a, t, s);
            y[row * a.keys_count + s] = product * (double)a.scale + mask;
        }
    }
    return QP_OK;
}
