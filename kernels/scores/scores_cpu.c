#include "../numerics/sum_order.h"
#include "../numerics/strict_fp.h"
#include "../threads.h"
#include "scores.h"

qp_status qp_scores_cpu(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const int64_t group = a.query_heads / a.key_heads;
#pragma omp parallel for if (QP_WORTH_THREADS(a.tokens * a.query_heads * a.keys_count * a.d))
    for (int64_t h = 0; h < a.query_heads; h++)
        for (int64_t t = 0; t < a.tokens; t++)
            for (int64_t s = 0; s < a.keys_count; s++) {
                const qp_bf16 *q = a.q + (t * a.query_heads + h) * a.d;
                const qp_bf16 *key = a.keys + (s * a.key_heads + h / group) * a.d;
                const float mask = qp_scores_mask(&a, t, s);
                const float sum = qp_ordered_fma(q, key, 1, a.d, a.order);                                    /* O1 */
                const qp_bf16 product = qp_bf16_from_f32(sum);                                                /* R1 */
                const qp_bf16 scaled = qp_bf16_from_f32(qp_bf16_to_f32(product) * a.scale);                   /* R2 */
                a.y[(h * a.tokens + t) * a.keys_count + s] = qp_bf16_from_f32(qp_bf16_to_f32(scaled) + mask); /* R3 */
            }
    return QP_OK;
}
