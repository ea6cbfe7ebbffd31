#include "embedding.h"

#include <inttypes.h>
#include <string.h>

qp_status qp_embedding_check_ids(const int64_t *ids, int64_t tokens, int64_t vocabulary)
{
    for (int64_t t = 0; t < tokens; t++)
        if (ids[t] < 0 || ids[t] >= vocabulary)
            return qp_fail(QP_INVALID, "token %" PRId64 " has the id %" PRId64 ", outside the vocabulary of %" PRId64,
                           t, ids[t], vocabulary);
    return QP_OK;
}

qp_status qp_embedding_cpu(const qp_call *call)
{
    const qp_embedding_args a = qp_embedding_bind(call);
    QP_TRY(qp_embedding_check_ids(a.ids, a.tokens, a.vocabulary)); /* P1 */
    for (int64_t t = 0; t < a.tokens; t++)
        memcpy(a.y + t * a.hidden, a.table + a.ids[t] * a.hidden, (size_t)a.hidden * sizeof *a.y);
    return QP_OK;
}
