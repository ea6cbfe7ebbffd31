#include "rope.h"

qp_status qp_rope_oracle(const qp_call *call)
{
    const qp_rope_args a = qp_rope_bind(call);
    const double *x = call->in[QP_ROPE_X], *cos = call->in[QP_ROPE_COS], *sin = call->in[QP_ROPE_SIN];
    double *y = call->out[0];
    const int64_t half = a.d / 2;
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t h = 0; h < a.heads; h++, x += a.d, y += a.d)
            for (int64_t j = 0; j < a.d; j++) {
                const double rotated = j < half ? -x[j + half] : x[j - half];
                y[j] = x[j] * cos[t * a.d + j] + rotated * sin[t * a.d + j];
            }
    return QP_OK;
}
