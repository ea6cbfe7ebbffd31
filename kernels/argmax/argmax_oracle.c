#include "argmax.h"

qp_status qp_argmax_oracle(const qp_call *call)
{
    const qp_argmax_args a = qp_argmax_bind(call);
    const double *row = (const double *)call->in[QP_ARGMAX_X] + (a.tokens - 1) * a.v;
    int64_t best = 0;
    for (int64_t i = 1; i < a.v; i++)
        if (row[i] > row[best]) best = i;
    *a.y = best;
    return QP_OK;
}
