#include <math.h>

#include "rotary_embedding.h"

qp_status qp_rotary_embedding_oracle(const qp_call *call)
{
    const qp_rotary_embedding_args a = qp_rotary_embedding_bind(call);
    double *inv_freq = call->out[QP_ROTARY_EMBEDDING_INV_FREQ];
    double *cosine = call->out[QP_ROTARY_EMBEDDING_COS], *sine = call->out[QP_ROTARY_EMBEDDING_SIN];
    const int64_t half = a.d / 2;
    for (int64_t i = 0; i < half; i++) inv_freq[i] = pow(a.theta, -2.0 * (double)i / (double)a.d);
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t j = 0; j < a.d; j++) {
            const double angle = (double)a.positions[t] * inv_freq[j % half];
            cosine[t * a.d + j] = cos(angle);
            sine[t * a.d + j] = sin(angle);
        }
    return QP_OK;
}
