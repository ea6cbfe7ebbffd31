#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../gqa_attention/gqa_attention.h"
#include "cascade_attention.h"

/* The row of the pool that the key s of sequence b is; the pieces have as many. */
static int64_t row_of(const qp_cascade_attention_args *a, int64_t b, int64_t s)
{
    int64_t i = b * a->pieces;
    for (; s >= a->length[i]; i++) s -= a->length[i];
    return a->first[i] + s;
}

/* P2, P3. */
static qp_status check_pieces(const qp_cascade_attention_args *a)
{
    for (int64_t b = 0; b < a->sequences; b++) {
        int64_t keys = 0;
        for (int64_t i = b * a->pieces; i < (b + 1) * a->pieces; i++) {
            const int64_t first = a->first[i], length = a->length[i];
            if (length < 0 || (length > 0 && (first < 0 || length > a->pool_rows || first > a->pool_rows - length)))
                return qp_fail(QP_INVALID,
                               "cascade_attention: a piece of sequence %" PRId64 " has %" PRId64
                               " rows from row %" PRId64 " on, and the pool has %" PRId64,
                               b, length, first, a->pool_rows);
            keys += length;
        }
        if (keys != a->keys_count)
            return qp_fail(QP_INVALID,
                           "cascade_attention: the pieces of sequence %" PRId64 " have %" PRId64 " rows, not %" PRId64,
                           b, keys, a->keys_count);
    }
    for (int64_t s = 0; s < a->shared; s++) {
        const int64_t row = row_of(a, 0, s);
        for (int64_t b = 1; b < a->sequences; b++)
            if (row_of(a, b, s) != row)
                return qp_fail(QP_INVALID,
                               "cascade_attention: %" PRId64 " rows are to be shared, but the row %" PRId64
                               " of sequence %" PRId64 " is another than that of sequence 0",
                               a->shared, s, b);
    }
    return QP_OK;
}

static void gather(const qp_cascade_attention_args *a, int64_t b, const void *pool, size_t row_bytes, char *to)
{
    for (int64_t i = b * a->pieces; i < (b + 1) * a->pieces; i++) {
        if (a->length[i] == 0) continue;
        const size_t bytes = (size_t)a->length[i] * row_bytes;
        memcpy(to, (const char *)pool + (size_t)a->first[i] * row_bytes, bytes);
        to += bytes;
    }
}

qp_status qp_cascade_attention_flat(const qp_call *call, size_t element, qp_run attend)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    const size_t row_bytes = (size_t)(a.key_heads * a.d) * element, q_bytes = (size_t)(a.query_heads * a.d) * element;
    QP_TRY(check_pieces(&a));
    char *keys = malloc((size_t)a.keys_count * row_bytes), *values = malloc((size_t)a.keys_count * row_bytes);
    qp_status status = keys && values
                           ? QP_OK
                           : qp_fail(QP_NO_MEMORY, "cascade_attention: no memory for %" PRId64 " keys", a.keys_count);
    for (int64_t b = 0; b < a.sequences && status == QP_OK; b++) {
        gather(&a, b, a.keys, row_bytes, keys);
        gather(&a, b, a.values, row_bytes, values);
        const size_t before = (size_t)b * q_bytes;
        const qp_call flat = {
            .extent = { 1, a.keys_count, a.query_heads, a.key_heads, a.d, a.pieces },
            .in = { (const char *)call->in[QP_CASCADE_ATTENTION_Q] + before, keys, values, a.first + b * a.pieces,
                    a.length + b * a.pieces },
            .out = { (char *)call->out[0] + before },
            .params = call->params,
        };
        status = attend(&flat);
    }
    free(values);
    free(keys);
    return status;
}

qp_status qp_cascade_attention_cpu(const qp_call *call)
{
    return qp_cascade_attention_flat(call, sizeof(qp_bf16), qp_gqa_attention_cpu);
}
