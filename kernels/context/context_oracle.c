#include "../threads.h"
#include "context.h"

qp_status qp_context_oracle(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const double *probs = call->in[QP_CONTEXT_PROBS], *values = call->in[QP_CONTEXT_VALUES];
    double *out = call->out[0];
    const int64_t group = a.query_heads / a.value_heads;
#pragma omp parallel for if (QP_WORTH_THREADS(a.tokens * a.query_heads * a.keys_count * a.d))
    for (int64_t row = 0; row < a.tokens * a.query_heads; row++) {
        const int64_t t = row / a.query_heads, h = row % a.query_heads;
        double *y = out + row * a.d;
        for (int64_t j = 0; j < a.d; j++) y[j] = 0.0;
        for (int64_t s = 0; s < a.keys_count; s++) {
            const double p = probs[(h * a.tokens + t) * a.keys_count + s];
            const double *value = values + (s * a.value_heads + h / group) * a.d;
            for (int64_t j = 0; j < a.d; j++) y[j] += p * value[j];
        }
    }
    return QP_OK;
}
