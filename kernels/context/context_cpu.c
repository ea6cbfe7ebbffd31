#include "../numerics/sum_order.h"
#include "../numerics/strict_fp.h"
#include "../threads.h"
#include "context.h"

qp_status qp_context_cpu(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const int64_t group = a.query_heads / a.value_heads, row = a.value_heads * a.d;
#pragma omp parallel for if (QP_WORTH_THREADS(a.tokens * a.query_heads * a.keys_count * a.d))
    for (int64_t h = 0; h < a.query_heads; h++)
        for (int64_t t = 0; t < a.tokens; t++) {
            const qp_bf16 *probs = a.probs + (h * a.tokens + t) * a.keys_count;
            const qp_bf16 *values = a.values + (h / group) * a.d;
            qp_bf16 *y = a.y + (t * a.query_heads + h) * a.d;
            for (int64_t j = 0; j < a.d; j++)
                y[j] = qp_bf16_from_f32(qp_ordered_fma(probs, values + j, row, a.keys_count, a.order)); /* O1, R1 */
        }
    return QP_OK;
}
