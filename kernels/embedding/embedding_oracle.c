#include "embedding.h"

qp_status qp_embedding_oracle(const qp_call *call)
{
    const qp_embedding_args a = qp_embedding_bind(call);
    double *y = call->out[0];
    QP_TRY(qp_embedding_check_ids(a.ids, a.tokens, a.vocabulary));
    for (int64_t t = 0; t < a.tokens; t++)
        for (int64_t c = 0; c < a.hidden; c++)
            y[t * a.hidden + c] = (double)qp_bf16_to_f32(a.table[a.ids[t] * a.hidden + c]);
    return QP_OK;
}
