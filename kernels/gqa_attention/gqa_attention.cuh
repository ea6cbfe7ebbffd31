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

/* scores.h, R1 and R2, of two sums. */
__device__ __forceinline__ uint32_t scaled_pair(float low, float high, float scale)
{
    const uint32_t product = pair_of(low, high);
    return pair_of(__fmul_rn(low_of(product), scale), __fmul_rn(high_of(product), scale));
}

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

/* The tensor core from the first element on. */
inline bool by_tensor_core(const qp_sum_order &order) { return order.lanes == 0 && order.run == 0 && !order.narrow; }

/* One run of 8 or 4 elements of a head a lane. */
inline bool by_runs(const qp_sum_order &order)
{
    return order.lanes > 0 && order.fold == QP_FOLD_HALVES && (order.run == 8 || order.run == 4) &&
           order.lanes * order.run == kHeadDim;
}

/* 16 lanes to which the elements are dealt one at a time. */
constexpr int kSingleLanes = 16;
inline bool by_single_elements(const qp_sum_order &order) { return order.lanes == kSingleLanes && order.run == 1; }

/* 32 lanes in runs of 4 keys, which cuBLAS takes most often for the context of one query. */
constexpr int kUsualRun = 4;
inline bool by_usual_lanes(const qp_sum_order &order)
{
    return order.lanes == QP_MAX_LANES && order.run == kUsualRun && order.fold == QP_FOLD_HALVES;
}

inline bool is_usual_context(const qp_sum_order &order) { return by_tensor_core(order) || by_usual_lanes(order); }

/* Whether cuBLAS's usual ways are enough: what the lean kernel knows (gqa_attention_decode.cuh). */
inline bool is_lean(const qp_attention_order &order)
{
    return (by_tensor_core(order.scores) || by_runs(order.scores)) && is_usual_context(order.context);
}

/* What the kernel for few keys knows (gqa_attention_short.cuh): also what cuBLAS takes for the scores of many heads. */
inline bool is_short(const qp_attention_order &order)
{
    return is_lean(order) || (by_single_elements(order.scores) && is_usual_context(order.context));
}

/* Where the key s of a sequence lies: row s of the cache. */
struct rows_of_cache {
    static constexpr bool kEarly = true; /* all but the newest keys may be read before the wait: dependent_launch.cuh */

    struct span {
    }; /* neighbouring keys whose rows are neighbours: what was found for a key serves the next one */
    __device__ __forceinline__ int64_t of(int, int key, span &) const { return key; }
};

/* A call of few queries, for the kernels that take some at a time. */
template <class Rows> struct decode_call {
    qp_gqa_attention_args a; /* of one sequence; q and y of the next ones follow those of the first */
    Rows row;
    int group, queries;               /* that share a key head: query heads, and with all their tokens */
    int query_tiles;                  /* blocks or clusters that share those queries */
    const int64_t *past;              /* as in qp_replay, or NULL */
    const qp_attention_order *orders; /* the same */

    __device__ int keys() const { return static_cast<int>(past ? *past + a.tokens : a.keys_count); }
    __device__ qp_attention_order order(int keys) const
    {
        return orders ? orders[keys] : qp_attention_order{ a.order, a.context_order };
    }
};

template <class Rows>
decode_call<Rows> make_decode_call(const qp_call *call, const qp_gqa_attention_args &a, const Rows &row, int rows)
{
    const qp_replay *replay = call->launch->replay;
    const int group = static_cast<int>(a.query_heads / a.key_heads), queries = group * static_cast<int>(a.tokens);
    return { a,
             row,
             group,
             queries,
             static_cast<int>(tiles_for(queries, rows)),
             replay ? replay->past : nullptr,
             replay ? replay->orders : nullptr };
}

/* The queries that a block or a cluster takes. */
template <int kRows> struct decode_queries {
    int token[kRows];
    int64_t at[kRows]; /* element of q and y at which the row of the query begins */
};

/* Which those are: `number` counts query_tiles, then key heads, then sequences. */
struct decode_place {
    int sequence, head, first_query, rows;

    template <class Rows>
    __device__ decode_place(const decode_call<Rows> &call, int number, int most_rows)
        : sequence(number / call.query_tiles / static_cast<int>(call.a.key_heads)),
          head(number / call.query_tiles % static_cast<int>(call.a.key_heads)),
          first_query(number % call.query_tiles * most_rows), rows(min(most_rows, call.queries - first_query))
    {
    }
    /* Element of the cache at which the head's row of a key begins. */
    template <class Rows>
    __device__ int64_t row_of(const decode_call<Rows> &call, int key, typename Rows::span &span) const
    {
        return (call.row.of(sequence, key, span) * call.a.key_heads + head) * kHeadDim;
    }
    /* Of the query `row`; one past the end is the last one again. */
    template <int kRows, class Rows>
    __device__ void put(decode_queries<kRows> &queries, int row, const decode_call<Rows> &call) const
    {
        const int tokens = static_cast<int>(call.a.tokens), own = first_query + min(row, rows - 1);
        queries.token[row] = own % tokens;
        queries.at[row] = ((static_cast<int64_t>(sequence) * tokens + own % tokens) * call.a.query_heads +
                           head * call.group + own / tokens) *
                          kHeadDim;
    }
};

/* Of a warp: the chains over a head of 16 keys, A, from row `first` of those in shared memory on, and of the queries, B. */
struct tile_queries {
    uint32_t b[kHeadBlocks][2];

    template <int kRows>
    __device__ __forceinline__ void load(const qp_bf16 *q, const decode_queries<kRows> &queries, int rows)
    {
        const int row = lane_row();
        const unsigned *of_row = reinterpret_cast<const unsigned *>(q + queries.at[row % kRows]) + lane_quad();
#pragma unroll
        for (int block = 0; block < kHeadBlocks; block++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                b[block][half] = row < rows ? __ldcg(of_row + (block * QP_BLOCK_K + half * kChunk) / 2) : 0;
    }
    __device__ __forceinline__ void multiply(float (&sum)[4], unsigned char *keys, int first, bool narrow) const
    {
        const int lane = static_cast<int>(threadIdx.x) % kWarp;
        uint32_t a[kHeadBlocks][4];
#pragma unroll
        for (int block = 0; block < kHeadBlocks; block++)
            load_matrices(a[block], head_chunk(keys, first + lane % QP_BLOCK_K, 2 * block + lane / QP_BLOCK_K));
#pragma unroll
        for (int block = 0; block < kHeadBlocks; block++) block_fma(sum, a[block], b[block], narrow);
    }
};

/* The kRun elements, 8 or 4, that a lane has of a row of a head, in one load. */
template <int kRun>
__device__ __forceinline__ void load_run(uint32_t (&pairs)[kRun / 2], unsigned char *rows, int row, int lane)
{
    const uint4 *chunk = head_chunk(rows, row, lane * kRun / kChunk);
    if constexpr (kRun == kChunk) {
        const uint4 all = *chunk;
        pairs[0] = all.x, pairs[1] = all.y, pairs[2] = all.z, pairs[3] = all.w;
    } else {
        const uint2 half = reinterpret_cast<const uint2 *>(chunk)[lane % (kChunk / kRun)];
        pairs[0] = half.x, pairs[1] = half.y;
    }
}

} // namespace qp::attention

#endif
