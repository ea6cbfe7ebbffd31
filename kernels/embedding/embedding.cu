#include "../cuda.cuh"
#include "embedding.h"

namespace {

constexpr int kThreads = 128, kVector = 8;

using vector = qp::vector<kVector>;

/* The part of a row that one thread copies: every blockDim.x-th element of T. */
template <typename T> __device__ void copy(T *y, const T *row, int64_t n)
{
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = row[i];
}

/* A block a token. An id that breaks P1 reads nothing and gives NaN. */
__global__ void __launch_bounds__(kThreads) embedding(const qp_embedding_args a, const bool vectors)
{
    for (int64_t t = blockIdx.x; t < a.tokens; t += gridDim.x) {
        const int64_t id = a.ids[t];
        qp_bf16 *y = a.y + t * a.hidden;
        if (id < 0 || id >= a.vocabulary) {
            for (int64_t i = threadIdx.x; i < a.hidden; i += blockDim.x) y[i].bits = 0x7fff;
            continue;
        }
        const qp_bf16 *row = a.table + id * a.hidden;
        if (vectors)
            copy(reinterpret_cast<vector *>(y), reinterpret_cast<const vector *>(row), a.hidden / kVector);
        else
            copy(y, row, a.hidden);
    }
}

} // namespace

qp_status qp_embedding_cuda(const qp_call *call)
{
    const qp_embedding_args a = qp_embedding_bind(call);
    const bool vectors = a.hidden % kVector == 0 && qp::aligned<kVector>(a.table, a.y);
    const unsigned blocks = qp::blocks_of(a.tokens);
    embedding<<<blocks, kThreads, 0, qp::stream_of(call)>>>(a, vectors);
    return qp::launched("embedding");
}
