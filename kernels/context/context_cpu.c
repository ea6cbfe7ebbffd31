#include "../numerics/matrix_fma.h"
#include "context.h"

qp_status qp_context_cpu(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const int64_t group = a.query_heads / a.value_heads;
    const qp_matrix_fma_args product = {
        .m = a.tokens * group, /* all queries of all heads that share values */
        .n = a.d,
        .k = a.keys_count,
        .batch = a.value_heads,
        .a = a.probs,
        .a_batch = group * a.tokens * a.keys_count,
        .a_rows = { .inner = group, .outer_step = a.keys_count, .inner_step = a.tokens * a.keys_count },
        .b = a.values,
        .b_batch = a.d,
        .b_row = 1,
        .b_step = a.value_heads * a.d,
        .y = a.y,
        .y_batch = group * a.d,
        .y_rows = { .inner = group, .outer_step = a.query_heads * a.d, .inner_step = a.d },
        .order = a.order,
    };
    return qp_matrix_fma(&product); /* O1, R1 */
}
