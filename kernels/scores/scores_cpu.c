#include "../numerics/matrix_fma.h"
#include "../numerics/strict_fp.h"
#include "../threads.h"
#include "scores.h"

/* R2, R3 */
static void scale_and_mask(const qp_scores_args *a)
{
    const int64_t rows = a->query_heads * a->tokens;
#pragma omp parallel for if (QP_WORTH_THREADS(rows * a->keys_count))
    for (int64_t row = 0; row < rows; row++) {
        qp_bf16 *y = a->y + row * a->keys_count;
        for (int64_t s = 0; s < a->keys_count; s++) {
            const qp_bf16 scaled = qp_bf16_from_f32(qp_bf16_to_f32(y[s]) * a->scale);                /* R2 */
            y[s] = qp_bf16_from_f32(qp_bf16_to_f32(scaled) + qp_scores_mask(a, row % a->tokens, s)); /* R3 */
        }
    }
}

qp_status qp_scores_cpu(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const int64_t group = a.query_heads / a.key_heads;
    const qp_matrix_fma_args product = {
        .m = a.tokens * group, /* all queries of all heads that share keys */
        .n = a.keys_count,
        .k = a.d,
        .batch = a.key_heads,
        .a = a.q,
        .a_batch = group * a.d,
        .a_rows = { .inner = group, .outer_step = a.query_heads * a.d, .inner_step = a.d },
        .b = a.keys,
        .b_batch = a.d,
        .b_row = a.key_heads * a.d,
        .b_step = 1,
        .y = a.y,
        .y_batch = group * a.tokens * a.keys_count,
        .y_rows = { .inner = group, .outer_step = a.keys_count, .inner_step = a.tokens * a.keys_count },
        .order = a.order,
    };
    QP_TRY(qp_matrix_fma(&product)); /* O1, R1 */
    scale_and_mask(&a);
    return QP_OK;
}
