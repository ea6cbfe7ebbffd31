#include "context.h"

qp_status qp_context_oracle(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const double *probs = call->in[QP_CONTEXT_PROBS], *values = call->in[QP_CONTEXT_VALUES];
    double *y = call->out[0];
    const int64_t group = a.query_heads / a.value_heads;
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t h = 0; h < a.query_heads; h++)
            for (int64_t j = 0; j < a.d; j++) {
                double sum = 0.0;
                for (int64_t s = 0; s < a.keys_count; s++)
                    sum += probs[(h * a.tokens + t) * a.keys_count + s] *
                           values[(s * a.value_heads + h / group) * a.d + j];
                y[(t * a.query_heads + h) * a.d + j] = sum;
            }
    return QP_OK;
}
