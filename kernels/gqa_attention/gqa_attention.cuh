/* What the kernels of gqa_attention share. */
#ifndef QP_GQA_ATTENTION_CUH
#define QP_GQA_ATTENTION_CUH

#include "../cuda.cuh"
#include "../dependent_launch.cuh"
#include "../numerics/block_fma.cuh"
#include "../numerics/reduce.cuh"
#include "../numerics/shared_fragments.cuh"
#include "../numerics/sum_order.cuh"
#include "../scores/scores.cuh"
#include "gqa_attention.h"

namespace qp::attention {

constexpr int kHeadDim = 128; /* of the fast kernels */
constexpr int kHeadChunks = kHeadDim / kChunk, kHeadBytes = kHeadChunks * kChunkBytes;
constexpr int kHeadBlocks = kHeadDim / QP_BLOCK_K;

/* A row of chunks in shared memory lies such that 8 rows of the same chunk, and 8 chunks of the same row, are in
 * different banks. */
__device__ __forceinline__ uint4 *head_chunk(unsigned char *rows, int row, int chunk)
{
    return reinterpret_cast<uint4 *>(rows) + row * kHeadChunks + (chunk ^ (row & 7));
}

/* The keys, dealt to blocks of 16 as the context sums them. Blocks begin at multiples of 16 positions: without a
 * residue (T1) a key's position is its number; with one, zeros fill up the last block of the residue, and what follows
 * lies further on. */
struct positions {
    int keys, residue, zeros;

    __host__ __device__ __forceinline__ positions(int keys, const qp_sum_order &order)
        : keys(keys), residue(order.lanes || order.run > keys ? keys : order.run),
          zeros(residue < keys ? (QP_BLOCK_K - residue % QP_BLOCK_K) % QP_BLOCK_K : 0)
    {
    }
    __host__ __device__ __forceinline__ int of(int key) const { return key < residue ? key : key + zeros; }
    /* The key at a position, or -1 for a zero. */
    __device__ __forceinline__ int key_at(int position) const
    {
        const int later = position - zeros;
        return position < residue ? position : later >= residue && later < keys ? later : -1;
    }
    /* Blocks of 16 positions. */
    __host__ __device__ __forceinline__ int blocks() const { return (keys + zeros + QP_BLOCK_K - 1) / QP_BLOCK_K; }
};

/* softmax.h, R1 and R2. */
__device__ __forceinline__ float exponential(float x, float max) { return expf(__fsub_rn(x, max)); }

/* The exponentials of a row of scores. */
struct row_exponentials {
    const qp_bf16 *row;
    positions place;
    float max;

    __device__ __forceinline__ float one(int64_t i) const
    {
        return exponential(qp_bf16_to_f32(row[place.of(static_cast<int>(i))]), max);
    }
};

/* Of the warp; each lane gets it. A NaN may get lost: it makes the sum, and so the row, NaN all the same. */
__device__ __forceinline__ float largest_of_warp(float max)
{
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) max = fmaxf(max, __shfl_xor_sync(kWholeWarp, max, offset));
    return max;
}

/* Elements of a cache or of an output that the fast kernels can number. */
inline bool fits(const qp_gqa_attention_args &a)
{
    constexpr int64_t kMost = 0x7fffffff;
    return a.keys_count <= kMost / QP_BLOCK_K && a.tokens * a.query_heads <= kMost / kHeadDim;
}

inline bool fast_shape(const qp_gqa_attention_args &a)
{
    return a.d == kHeadDim && aligned<kChunk>(a.q, a.keys, a.values, a.y) && fits(a);
}

/* What scores.cuh knows a call by. */
__host__ __device__ inline qp_scores_args scores_args(const qp_gqa_attention_args &a)
{
    qp_scores_args of_scores = {};
    of_scores.tokens = a.tokens, of_scores.keys_count = a.keys_count;
    of_scores.query_heads = a.query_heads, of_scores.key_heads = a.key_heads;
    of_scores.d = a.d, of_scores.scale = a.scale, of_scores.order = a.order;
    return of_scores;
}

} // namespace qp::attention

#endif
