#include "../numerics/matrix_fma.h"
#include "linear.h"

qp_status qp_linear_cpu(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    const qp_matrix_fma_args product = {
        .m = a.m,
        .n = a.n,
        .k = a.k,
        .batch = 1,
        .a = a.x,
        .a_rows = { .inner = 1, .outer_step = a.k },
        .b = a.weight,
        .b_row = a.k,
        .b_step = 1,
        .y = a.y,
        .y_rows = { .inner = 1, .outer_step = a.n },
        .part = a.part,
    };
    return qp_matrix_fma(&product); /* O1, O2, R1 */
}
