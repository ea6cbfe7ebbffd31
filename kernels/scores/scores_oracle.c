#include "scores.h"

qp_status qp_scores_oracle(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const double *q = call->in[QP_SCORES_Q], *keys = call->in[QP_SCORES_KEYS];
    double *y = call->out[0];
    const int64_t group = a.query_heads / a.key_heads, past = a.keys_count - a.tokens;
    for (int64_t h = 0; h < a.query_heads; h++)
        for (int64_t t = 0; t < a.tokens; t++)
            for (int64_t s = 0; s < a.keys_count; s++) {
                double sum = 0.0;
                for (int64_t j = 0; j < a.d; j++)
                    sum += q[(t * a.query_heads + h) * a.d + j] * keys[(s * a.key_heads + h / group) * a.d + j];
                const double mask = s <= past + t ? 0.0 : (double)qp_bf16_to_f32(QP_SCORES_MASKED);
                y[(h * a.tokens + t) * a.keys_count + s] = sum * (double)a.scale + mask;
            }
    return QP_OK;
}
