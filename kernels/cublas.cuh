/* What the cuBLAS implementations of the two attention products share. PyTorch makes copies around these products,
 * which decide the strides and with them perhaps cuBLAS's choice (cublas.h), so they are made here, too. */
#ifndef QP_CUBLAS_CUH
#define QP_CUBLAS_CUH

#include "cublas.h"
#include "cuda.cuh"

namespace qp {

constexpr int kCopyThreads = 256;

/* One thread an item of `width` items a row. */
template <class Item>
__global__ void __launch_bounds__(kCopyThreads)
    copy_exchanged(const Item *x, Item *y, int64_t outer, int64_t inner, int64_t width, int64_t repeats)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
    if (i >= outer * inner * width) return;
    const int64_t row = i / width, at = i % width;
    y[i] = x[(row % inner * (outer / repeats) + row / inner / repeats) * width + at];
}

/* y[o, i, :] = x[i, o / repeats, :], where y is [outer, inner, d] and x is [inner, outer / repeats, d]. */
inline void exchange_axes(const qp_bf16 *x, qp_bf16 *y, int64_t outer, int64_t inner, int64_t d, int64_t repeats,
                          cudaStream_t stream)
{
    constexpr int kWide = sizeof(uint4) / sizeof(qp_bf16);
    const bool wide = d % kWide == 0 && aligned<kWide>(x, y);
    const int64_t width = wide ? d / kWide : d;
    const unsigned blocks = blocks_for(outer * inner * width, kCopyThreads);
    if (wide)
        copy_exchanged<<<blocks, kCopyThreads, 0, stream>>>(reinterpret_cast<const uint4 *>(x),
                                                            reinterpret_cast<uint4 *>(y), outer, inner, width, repeats);
    else
        copy_exchanged<<<blocks, kCopyThreads, 0, stream>>>(x, y, outer, inner, width, repeats);
}

/* The heads of a cache [S, heads, d], each `repeats` times: transformers' repeat_kv, a copy [heads * repeats, S, d]. A
 * single head is not copied: its expanded view stays a view, all matrices of which are the same one. */
struct repeated_heads {
    const qp_bf16 *cache;
    int64_t s, heads, d, repeats;

    size_t bytes() const { return heads == 1 ? 0 : piece_bytes(heads * repeats * s * d); }

    /* Makes the copy at `to`. */
    qp_cublas_batch make(qp_bf16 *to, cudaStream_t stream) const
    {
        if (heads == 1) return { cache, { 0, d, 1 } };
        exchange_axes(cache, to, heads * repeats, s, d, repeats, stream);
        return { to, { s * d, d, 1 } };
    }
};

} // namespace qp

#endif
