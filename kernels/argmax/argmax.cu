#include "argmax.cuh"
#include "argmax.h"

namespace {

using namespace qp;

constexpr int kThreads = 1024, kVector = 8;

using vector8 = vector<kVector>;

/* One block for the last row. The elements past the last whole vector, or all without vectors, are taken one by one. */
__global__ void __launch_bounds__(kThreads) argmax(const qp_bf16 *row, const int64_t n, int64_t *y, const bool vectors)
{
    const int t = static_cast<int>(threadIdx.x);
    const int64_t whole = vectors ? n / kVector * kVector : 0;
    candidate best = { 0, 0 };
    for (int64_t start = static_cast<int64_t>(t) * kVector; start < whole; start += kThreads * kVector) {
        const vector8 v = *reinterpret_cast<const vector8 *>(row + start);
#pragma unroll
        for (int i = 0; i < kVector; i++) best = better(best, { rank_of(v.at[i]), start + i });
    }
    for (int64_t i = whole + t; i < n; i += kThreads) best = better(best, { rank_of(row[i]), i });

    best = best_of_block(best);
    if (t == 0) *y = best.index;
}

} // namespace

qp_status qp_argmax_cuda(const qp_call *call)
{
    const qp_argmax_args a = qp_argmax_bind(call);
    const qp_bf16 *row = a.x + (a.tokens - 1) * a.v;
    argmax<<<1, kThreads, 0, qp::stream_of(call)>>>(row, a.v, a.y, qp::aligned<kVector>(row));
    return qp::launched("argmax");
}
