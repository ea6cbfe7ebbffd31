#include "../numerics/block_fma.h"
#include "../numerics/strict_fp.h"
#include "../threads.h"
#include "linear.h"

qp_status qp_linear_cpu(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    /* A weight row serves all rows of x while it is in the cache. */
#pragma omp parallel for if (QP_WORTH_THREADS(a.m * a.n * a.k))
    for (int64_t n = 0; n < a.n; n++)
        for (int64_t m = 0; m < a.m; m++)
            a.y[m * a.n + n] =
                qp_bf16_from_f32(qp_split_chain_fma(a.x + m * a.k, a.weight + n * a.k, a.k, a.part)); /* O1, O2, R1 */
    return QP_OK;
}
