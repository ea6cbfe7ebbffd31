/* cascade_attention where sequences share a prefix: what they share is read once for all of them.
 *
 * A column is a query: the sequences' heads that share a key head, [sequence][head of the group]. Keys are dealt to
 * positions (gqa_attention.cuh), and the positions before `split`, a multiple of 16, hold shared keys alone. The block of
 * 16 in which the shared keys end belongs to each sequence, as do those behind it. Four kernels:
 *   1  scores (C1): of the keys of 64 positions and all columns, for shared positions, or the columns of one sequence,
 *      for its own.
 *   2  softmax (C2): each row alone, in place. Where the context is summed by lanes, each lane's probabilities then lie
 *      side by side (dealt_keys).
 *   3  the context's chain (C3) over the shared positions: channels by columns. Its accumulators go to the workspace.
 *   4  the chain goes on over each sequence's own positions.
 * 1, 3 and 4 are here on the tensor core; by lanes they are in cascade_attention_lanes.cuh.
 * Scores, then probabilities, lie in the workspace as [key head][column][position]. */
#ifndef QP_CASCADE_ATTENTION_CUH
#define QP_CASCADE_ATTENTION_CUH

#include "../gqa_attention/gqa_attention.cuh"
#include "cascade_attention.h"

namespace qp::cascade {

using namespace attention;

/* Where the key of a sequence lies in the pool. */
struct rows_of_pieces {
    static constexpr bool kEarly = false; /* the kernel before may write the tables */
    const int64_t *first, *length;
    int pieces;

    /* Of a piece: its keys, and how much further on its rows are. */
    struct span {
        int begin, count;
        int64_t shift;
    };
    __device__ __forceinline__ span find(int sequence, int key) const
    {
        const int64_t *of_first = first + static_cast<int64_t>(sequence) * pieces,
                      *of_length = length + static_cast<int64_t>(sequence) * pieces;
        int64_t begin = 0;
        int c = 0;
        for (; c < pieces - 1 && key - begin >= of_length[c]; c++) begin += of_length[c];
        return { static_cast<int>(begin), static_cast<int>(of_length[c]), of_first[c] - begin };
    }
    __device__ __forceinline__ int64_t of(int sequence, int key, span &known) const
    {
        if (key < known.begin || key - known.begin >= known.count) known = find(sequence, key);
        return key + known.shift;
    }
};

/* Divides numbers n >= 0 with n * by < 2^32: ceil(2^32 / by) is too large by less than by / 2^32 of the quotient. */
struct divisor {
    int by;
    uint64_t inverse;

    static divisor of(int by) { return { by, ((UINT64_C(1) << 32) + static_cast<uint64_t>(by) - 1) / by }; }
    __device__ __forceinline__ int quotient(int n) const
    {
        return static_cast<int>(static_cast<uint64_t>(n) * inverse >> 32);
    }
};

/* Keys by the lanes that sum them (sum_order.h, L1): [lane][key of the lane]. */
struct dealt_keys {
    int lanes, run, length; /* length: between the lanes' places; a multiple of kChunk */
    divisor by_lanes, by_run;

    __host__ __device__ __forceinline__ int size() const { return lanes * length; }
    /* The keys below `end` that a lane has. */
    __device__ __forceinline__ int count(int lane, int end) const
    {
        const int turn = lanes * run;
        return end / turn * run + min(max(end % turn - lane * run, 0), run);
    }
    /* The key n of a lane. */
    __device__ __forceinline__ int key(int lane, int n) const
    {
        const int number = by_run.quotient(n);
        return n + (number * (lanes - 1) + lane) * run;
    }
};

struct cascade_call {
    qp_gqa_attention_args a; /* of one sequence; q and y of the next ones follow those of the first; pools */
    rows_of_pieces row;
    qp_bf16 *scores;  /* in the workspace */
    float *sums;      /* the same: [key head][lane][column][channel]; the tensor core has one lane */
    dealt_keys dealt; /* of the context by lanes */
    int sequences, group, columns;
    divisor by_group;
    int split, end; /* positions: where those of each sequence begin, and where they end; multiples of 16 */
    int stride;     /* between the rows of scores */

    __device__ __forceinline__ int heads() const { return static_cast<int>(a.key_heads); }
    __device__ __forceinline__ positions place() const
    {
        return positions(static_cast<int>(a.keys_count), a.context_order);
    }
    __device__ __forceinline__ qp_bf16 *score_row(int head, int column) const
    {
        return scores + (static_cast<int64_t>(head) * columns + column) * stride;
    }
    __device__ __forceinline__ float *sum_row(int head, int lane, int column) const
    {
        return sums + ((static_cast<int64_t>(head) * max(dealt.lanes, 1) + lane) * columns + column) * kHeadDim;
    }
    /* Of q and y: where the row of a column begins. */
    __device__ __forceinline__ int64_t query_at(int head, int column) const
    {
        const int sequence = by_group.quotient(column);
        return (sequence * (a.query_heads - group) + head * group + column) * kHeadDim;
    }
    /* Of a pool: where a key's row of a head begins. */
    __device__ __forceinline__ int64_t key_at(int head, int sequence, int key, rows_of_pieces::span &known) const
    {
        return (row.of(sequence, key, known) * a.key_heads + head) * kHeadDim;
    }
    /* Positions from one on, up to `end`, whose keys lie side by side; `origin`: of a pool, where the row of a head at the
     * position 0 would begin then. */
    struct neighbours {
        int64_t origin;
        int end;
    };
    __device__ __forceinline__ neighbours neighbours_from(int head, int sequence, int start,
                                                          rows_of_pieces::span &known) const
    {
        const positions place = this->place();
        const int key = place.key_at(start);
        if (key < 0) return { 0, start };
        const int64_t of_start = key_at(head, sequence, key, known);
        const int end = min(key < place.residue ? place.residue : place.keys, known.begin + known.count);
        return { of_start - start * a.key_heads * kHeadDim, start + end - key };
    }
    /* Calls take(row, at, there) for row = first, first + step, ... below `count`: of a pool, where the row of a head begins
     * that has the position start + row, and whether there is one. Nearly always all are neighbours. */
    template <class Take>
    __device__ __forceinline__ void each_row(int head, int sequence, int start, int count, int first, int step,
                                             rows_of_pieces::span &known, Take take) const
    {
        const neighbours found = neighbours_from(head, sequence, start, known);
        if (start + count <= found.end) {
            int64_t at = found.origin + (start + first) * a.key_heads * kHeadDim;
#pragma unroll 2
            for (int i = first; i < count; i += step, at += step * a.key_heads * kHeadDim) take(i, at, true);
        } else {
            for (int i = first; i < count; i += step) {
                const int key = place().key_at(start + i);
                take(i, key < 0 ? 0 : key_at(head, sequence, key, known), key >= 0);
            }
        }
    }
};

/* ---- 1: scores ---- */

constexpr int kScoreKeys = 64, kScoreColumns = 64;
constexpr int kWarpKeys = 2 * kTileColumns, kScoreWarps = kScoreKeys / kWarpKeys, kScoreThreads = kScoreWarps * kWarp;
constexpr int kScoreTileBytes = kScoreKeys * kHeadBytes;
constexpr int kScoreStride = kScoreKeys + kChunk; /* of results in shared memory; banks differ */
constexpr int kScoreChunks = kScoreKeys / kChunk;

static_assert(kScoreKeys == kScoreColumns, "a tile of keys and one of queries have the same size");
static_assert(kScoreColumns * kScoreStride * sizeof(qp_bf16) <= kScoreTileBytes, "results take the place of the keys");

/* Keys, and queries in one or two buffers. */
inline size_t score_bytes(int columns)
{
    return static_cast<size_t>(kScoreTileBytes) * (columns > kScoreColumns ? 3 : 2);
}
/* Tiles of `positions` positions. */
__host__ __device__ inline int score_tiles_of(int positions) { return (positions + kScoreKeys - 1) / kScoreKeys; }

/* What a block scores. */
struct score_item {
    int head, sequence, start, count; /* positions start to start + count - 1, whose keys are those of a sequence */
    int first_column, columns;

    __device__ __forceinline__ explicit score_item(const cascade_call &c)
    {
        const int number = static_cast<int>(blockIdx.x) / c.heads(), shared_tiles = score_tiles_of(c.split),
                  own_tiles = score_tiles_of(c.end - c.split);
        const bool own = number >= shared_tiles;
        head = static_cast<int>(blockIdx.x) % c.heads();
        sequence = own ? (number - shared_tiles) / own_tiles : 0;
        start = own ? c.split + (number - shared_tiles) % own_tiles * kScoreKeys : number * kScoreKeys;
        count = min(kScoreKeys, (own ? c.end : c.split) - start);
        first_column = own ? sequence * c.group : 0, columns = own ? c.group : c.columns;
    }
};

/* scores.h, R1 to R3, of two sums. The only query of a sequence sees all keys: the mask is 0, which turns -0 into +0. */
__device__ __forceinline__ uint32_t pair_of_scores(float low, float high, float scale)
{
    const uint32_t scaled = scaled_pair(low, high, scale);
    return pair_of(__fadd_rn(low_of(scaled), 0.0f), __fadd_rn(high_of(scaled), 0.0f));
}

/* A: the queries, B: the keys, so that a lane has the scores of neighbouring keys. */
__global__ void __launch_bounds__(kScoreThreads, 6) cascade_scores(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    unsigned char *const keys = reinterpret_cast<unsigned char *>(cascade_memory);
    unsigned char *const queries = keys + kScoreTileBytes;
    qp_bf16 *const results = reinterpret_cast<qp_bf16 *>(keys);
    allow_successor();
    wait_for_predecessor();

    const score_item item(c);
    const int head = item.head, sequence = item.sequence, start = item.start, count = item.count,
              first_column = item.first_column, columns = item.columns;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
    const int own_chunk = thread % kHeadChunks;
    constexpr int kRowsAtOnce = kScoreThreads / kHeadChunks;

    const auto fetch_queries = [&](int tile) {
        unsigned char *to = queries + tile % 2 * kScoreTileBytes;
        const int of_tile = min(kScoreColumns, (columns - tile * kScoreColumns + 15) / 16 * 16);
        for (int column = thread / kHeadChunks; column < of_tile; column += kRowsAtOnce) {
            const int from = min(tile * kScoreColumns + column, columns - 1);
            copy_async(head_chunk(to, column, own_chunk),
                       c.a.q + c.query_at(head, first_column + from) + own_chunk * kChunk);
        }
    };

    rows_of_pieces::span known = {};
    /* What a zero's row holds does not matter. */
    c.each_row(head, sequence, start, count, thread / kHeadChunks, kRowsAtOnce, known,
               [&](int row, int64_t at, bool there) {
                   if (there) copy_async(head_chunk(keys, row, own_chunk), c.a.keys + at + own_chunk * kChunk);
               });
    fetch_queries(0);
    group_copies();

    uint32_t b[kHeadBlocks][4]; /* two tiles of 8 keys */
    const int tiles = (columns + kScoreColumns - 1) / kScoreColumns;
    for (int tile = 0; tile < tiles; tile++) {
        if (tile + 1 < tiles) fetch_queries(tile + 1);
        group_copies();
        wait_for_copies<1>();
        __syncthreads();
        if (tile == 0) {
#pragma unroll
            for (int block = 0; block < kHeadBlocks; block++)
                load_matrices(b[block],
                              head_chunk(keys, warp * kWarpKeys + lane % 8 + lane / 16 * 8, 2 * block + lane / 8 % 2));
            __syncthreads(); /* results take their place */
        }
        const int of_tile = min(kScoreColumns, columns - tile * kScoreColumns);
        unsigned char *of_queries = queries + tile % 2 * kScoreTileBytes;
        if (warp * kWarpKeys < count)
            for (int column = 0; column < of_tile; column += kTileRows) {
                float sum[2][4] = {};
#pragma unroll
                for (int block = 0; block < kHeadBlocks; block++) {
                    uint32_t a[4];
                    load_matrices(a, head_chunk(of_queries, column + lane % 16, 2 * block + lane / 16));
                    const uint32_t first[2] = { b[block][0], b[block][1] }, second[2] = { b[block][2], b[block][3] };
                    block_fma(sum[0], a, first);
                    block_fma(sum[1], a, second);
                }
#pragma unroll
                for (int i = 0; i < 2; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++)
                        *reinterpret_cast<uint32_t *>(results + (column + lane_row() + half * 8) * kScoreStride +
                                                      warp * kWarpKeys + i * kTileColumns + 2 * lane_quad()) =
                            pair_of_scores(sum[i][2 * half], sum[i][2 * half + 1], c.a.scale);
            }
        __syncthreads();
        for (int piece = thread; piece < of_tile * kScoreChunks; piece += kScoreThreads) {
            const int column = piece / kScoreChunks, chunk = piece % kScoreChunks;
            if (chunk * kChunk >= count) continue;
            *reinterpret_cast<uint4 *>(c.score_row(head, first_column + tile * kScoreColumns + column) + start +
                                       chunk * kChunk) =
                *reinterpret_cast<const uint4 *>(results + column * kScoreStride + chunk * kChunk);
        }
    }
}

/* ---- 2: softmax ---- */

constexpr int kQuad = 4, kQuadsAtOnce = 3; /* positions; quads that a thread has in flight */
constexpr int kSoftmaxWarps = 4;

/* The exponentials of a row in shared memory, each in place of its score. A sum asks for each once. */
struct held_exponentials {
    float *row; /* by keys */
    float max;

    __device__ __forceinline__ float one(int key) const { return row[key] = exponential(row[key], max); }
    __device__ __forceinline__ float4 four(int key) const
    {
        if (key % kQuad != 0) return float4{ one(key), one(key + 1), one(key + 2), one(key + 3) };
        float4 &x = *reinterpret_cast<float4 *>(row + key);
        return x = float4{ exponential(x.x, max), exponential(x.y, max), exponential(x.z, max), exponential(x.w, max) };
    }
};

/* Finds the keys of four positions from a multiple of 4 on. */
struct quads_of_keys {
    positions place;
    bool aligned; /* the first key's number is a multiple of 4, too */

    __device__ __forceinline__ explicit quads_of_keys(const positions &place)
        : place(place), aligned(place.zeros == 0 || (place.residue % kQuad == 0 && place.zeros % kQuad == 0))
    {
    }
    /* The first key of an aligned quad of neighbours, or -1. */
    __device__ __forceinline__ int first_key(int at) const
    {
        const int key = place.key_at(at);
        return aligned && key + kQuad <= place.keys ? key : -1;
    }
};

/* x / sum, as __fdiv_rn has it, for many x: a quotient that is off by less than a unit in the last place, its exact
 * remainder and the correctly rounded 1 / sum give the correctly rounded quotient (Markstein, IBM Journal of Research and
 * Development 34, 1990). The first quotient may be off by more, so there are two steps. For a sum from 1 to 2^24. */
struct quotients {
    float sum, inverse; /* 1 / sum */

    __device__ __forceinline__ float one(float x) const
    {
        float quotient = __fmul_rn(x, inverse);
        quotient = __fmaf_rn(__fmaf_rn(-quotient, sum, x), inverse, quotient);
        return __fmaf_rn(__fmaf_rn(-quotient, sum, x), inverse, quotient);
    }
    /* R3, R4 of four. */
    __device__ __forceinline__ uint64_t four(const float4 &x) const
    {
        constexpr float kLeast = 0x1p-100f; /* the remainder of what is less may not be exact */
        const bool exact = fminf(fminf(x.x, x.y), fminf(x.z, x.w)) >= kLeast;
        const uint32_t low = exact ? pair_of(one(x.x), one(x.y)) : pair_of(__fdiv_rn(x.x, sum), __fdiv_rn(x.y, sum)),
                       high = exact ? pair_of(one(x.z), one(x.w)) : pair_of(__fdiv_rn(x.z, sum), __fdiv_rn(x.w, sum));
        return static_cast<uint64_t>(high) << 32 | low;
    }
};

/* Of a block of QP_SOFTMAX_THREADS; each thread gets it. */
__device__ __forceinline__ float largest_of_block(float max, float *shared)
{
    max = largest_of_warp(max);
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = max;
    __syncthreads();
    return largest_of_warp(shared[threadIdx.x % kWarp]);
}

/* Of the row `number` of scores: the number that it has in the tensor of its sequence. */
__device__ __forceinline__ int row_of_sequence(const cascade_call &c, int number)
{
    const int head = number / c.columns, column = number % c.columns;
    return head * c.group + column % c.group;
}

/* Of a row in shared memory. */
inline size_t held_bytes(const cascade_call &c) { return static_cast<size_t>(c.end) * sizeof(float); }

/* S1: a warp a row. S2 to S4, kBlock: a block a row. A row is read and written once, and meanwhile held in shared memory,
 * in f32. */
template <bool kBlock, bool kDealt>
__global__ void __launch_bounds__(kBlock ? QP_SOFTMAX_THREADS : kSoftmaxWarps *kWarp, kBlock ? 2 : 6)
    cascade_softmax(const __grid_constant__ cascade_call c)
{
    constexpr int kThreads = kBlock ? QP_SOFTMAX_THREADS : kWarp, kRows = kBlock ? 1 : kSoftmaxWarps;
    extern __shared__ uint4 cascade_memory[];
    __shared__ float of_warps[kWarp];
    wait_for_predecessor();
    allow_successor(); /* what is older than the scores may be read now */
    const int thread = static_cast<int>(threadIdx.x) % kThreads, own = static_cast<int>(threadIdx.x) / kThreads;
    const int number = static_cast<int>(blockIdx.x) * kRows + own;
    if (number >= c.heads() * c.columns) return; /* whole warps, which meet no others */
    uint64_t *const row = reinterpret_cast<uint64_t *>(c.scores + static_cast<int64_t>(number) * c.stride);
    float *const held = reinterpret_cast<float *>(cascade_memory) + own * c.end;
    const quads_of_keys quad(c.place());
    const int quads = c.end / kQuad, keys = quad.place.keys;

    float max = -INFINITY;
    for (int base = thread; base < quads; base += kQuadsAtOnce * kThreads) {
        uint64_t scores[kQuadsAtOnce];
#pragma unroll
        for (int i = 0; i < kQuadsAtOnce; i++)
            if (base + i * kThreads < quads) scores[i] = __ldcg(row + base + i * kThreads);
#pragma unroll
        for (int i = 0; i < kQuadsAtOnce; i++) {
            if (base + i * kThreads >= quads) continue;
            const int at = (base + i * kThreads) * kQuad, first = quad.first_key(at);
            if (first >= 0) {
                const uint32_t low = static_cast<uint32_t>(scores[i]), high = static_cast<uint32_t>(scores[i] >> 32);
                const float4 x = { low_of(low), high_of(low), low_of(high), high_of(high) };
                *reinterpret_cast<float4 *>(held + first) = x;
                max = fmaxf(max, fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)));
                continue;
            }
#pragma unroll 1
            for (int n = 0; n < kQuad; n++) {
                const int key = quad.place.key_at(at + n);
                if (key >= 0) max = fmaxf(max, held[key] = low_of(static_cast<uint32_t>(scores[i] >> 16 * n)));
            }
        }
    }
    float sum;
    if constexpr (kBlock) {
        const held_exponentials e = { held, largest_of_block(max, of_warps) };
        sum = softmax_block_sum<int>(e, keys, row_of_sequence(c, number), of_warps);
    } else {
        const held_exponentials e = { held, largest_of_warp(max) };
        __syncwarp();
        sum = softmax_warp_sum<int>(e, keys, thread, kWarp);
        __syncwarp();
    }
    const quotients by_sum = { sum, __fdiv_rn(1.0f, sum) };
    if constexpr (kDealt) { /* neighbouring threads have quads of different lanes: so have neighbours in a row */
#pragma unroll 1
        for (int i = thread; i < c.dealt.size() / kQuad; i += kThreads) {
            const int number_of_lane = c.dealt.by_lanes.quotient(i), lane = i - number_of_lane * c.dealt.lanes;
            const auto one = [&](int n) {
                const int key = c.dealt.key(lane, number_of_lane * kQuad + n);
                return key < keys ? held[key] : 0.0f;
            };
            row[lane * (c.dealt.length / kQuad) + number_of_lane] =
                by_sum.four(float4{ one(0), one(1), one(2), one(3) });
        }
    } else { /* a zero has no probability */
#pragma unroll 1
        for (int i = thread; i < quads; i += kThreads) {
            const int first = quad.first_key(i * kQuad);
            const auto one = [&](int n) {
                const int key = quad.place.key_at(i * kQuad + n);
                return key < 0 ? 0.0f : held[key];
            };
            row[i] = by_sum.four(first >= 0 ? *reinterpret_cast<const float4 *>(held + first)
                                            : float4{ one(0), one(1), one(2), one(3) });
        }
    }
}

/* S2 to S4 of rows that are too long to be held. */
__global__ void __launch_bounds__(QP_SOFTMAX_THREADS) cascade_softmax_long(const __grid_constant__ cascade_call c)
{
    __shared__ float of_warps[kWarp];
    wait_for_predecessor();
    allow_successor();
    const int thread = static_cast<int>(threadIdx.x), number = static_cast<int>(blockIdx.x);
    qp_bf16 *const row = c.scores + static_cast<int64_t>(number) * c.stride;
    const positions place = c.place();
    float max = -INFINITY;
#pragma unroll 4
    for (int i = thread; i < place.keys; i += QP_SOFTMAX_THREADS) max = fmaxf(max, qp_bf16_to_f32(row[place.of(i)]));
    const row_exponentials e = { row, place, largest_of_block(max, of_warps) };
    const float sum = softmax_block_sum(e, place.keys, row_of_sequence(c, number), of_warps);
#pragma unroll 4
    for (int i = thread; i < c.end; i += QP_SOFTMAX_THREADS) {
        const int key = place.key_at(i); /* R3, R4; a zero has no probability */
        row[i] = key < 0 ? qp_bf16{ 0 } : qp_bf16_from_f32(__fdiv_rn(e.one(key), sum));
    }
}

/* ---- 3: the chain over the shared positions ---- */

constexpr int kStageSteps = 8, kStageKeys = kStageSteps * QP_BLOCK_K; /* a stage: so many blocks of 16 positions */
constexpr int kSharedChannels = 2 * kTileRows, kSharedChunks = kSharedChannels / kChunk;
constexpr int kFetchWarps = 4, kFetchThreads = kFetchWarps * kWarp; /* of values; as many fetch probabilities */
constexpr int kStageChunks = kStageKeys / kChunk;

static_assert(kStageChunks == kHeadChunks, "a column's probabilities of a stage lie as a row of keys does");

/* kColumns: of a block; a warp has 16 of them, and all channels of the block. */
template <int kColumns> struct shared_shape {
    static constexpr int kWarps = kColumns / (2 * kTileColumns), kThreads = (kWarps + 2 * kFetchWarps) * kWarp;
    static constexpr int kValueBytes = kStageKeys * kSharedChannels * 2,
                         kSlotBytes = kValueBytes + kColumns * kStageKeys * 2;
    static constexpr int kBlocks = kColumns == 64 ? 1 : 2; /* of a multiprocessor */
    static constexpr int kSlots = kColumns == 32 ? 7 : 9;
    static constexpr size_t kBytes = static_cast<size_t>(kSlots) * kSlotBytes;
};

/* Rows of four chunks, such that 8 rows of the same chunk are in different banks. */
__device__ __forceinline__ uint4 *shared_value_chunk(unsigned char *slot, int row, int chunk)
{
    return reinterpret_cast<uint4 *>(slot) + row * kSharedChunks + (chunk ^ (row / 2 & 3));
}

template <int kColumns>
__global__ void __launch_bounds__(shared_shape<kColumns>::kThreads, shared_shape<kColumns>::kBlocks)
    cascade_shared_context(const __grid_constant__ cascade_call c)
{
    using shape = shared_shape<kColumns>;
    constexpr int kSlots = shape::kSlots, kAhead = 2;
    extern __shared__ uint4 cascade_memory[];
    unsigned char *const ring = reinterpret_cast<unsigned char *>(cascade_memory);
    constexpr int kParts = kHeadDim / kSharedChannels;
    const int heads = c.heads(), part = static_cast<int>(blockIdx.x) % kParts,
              head = static_cast<int>(blockIdx.x) / kParts % heads,
              first_column = static_cast<int>(blockIdx.x) / kParts / heads * kColumns;
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    const int steps = c.split / QP_BLOCK_K, stages = (steps + kStageSteps - 1) / kStageSteps;
    const auto slot_of = [&](int stage) { return ring + stage % kSlots * shape::kSlotBytes; };

    if (warp >= shape::kWarps) { /* fetches */
        const int fetcher = static_cast<int>(threadIdx.x) - shape::kWarps * kWarp, thread = fetcher % kFetchThreads;
        rows_of_pieces::span known = {};
        const auto offset_of = [](int stage) { return static_cast<uint32_t>(stage % kSlots * shape::kSlotBytes); };
        /* A thread has the same chunk of every so many rows, and of every so many columns. */
        constexpr int kRowsAtOnce = kFetchThreads / kSharedChunks, kColumnsAtOnce = kFetchThreads / kStageChunks;
        constexpr int kOwnColumns = kColumns / kColumnsAtOnce;
        static_assert(kRowsAtOnce % 8 == 0 && kColumnsAtOnce % 8 == 0, "chunks are in the same order in all of them");
        const int row = thread / kSharedChunks, chunk = thread % kSharedChunks, width = heads * kHeadDim;
        const qp_bf16 *const values = c.a.values + part * kSharedChannels + chunk * kChunk;
        const uint32_t to_values = shared_address(shared_value_chunk(ring, row, chunk));
        cascade_call::neighbours found = {};
        const auto fetch_values = [&](int stage) {
            const int start = stage * kStageKeys, end = start + kStageKeys;
            if (end > found.end) found = c.neighbours_from(head, 0, start, known);
            if (end <= min(found.end, c.split)) {
                const qp_bf16 *from = values + found.origin + static_cast<int64_t>(start + row) * width;
                const uint32_t to = to_values + offset_of(stage);
#pragma unroll
                for (int i = 0; i < kStageKeys; i += kRowsAtOnce, from += kRowsAtOnce * static_cast<int64_t>(width))
                    copy_async(to + i * kSharedChunks * kChunkBytes, from);
            } else {
                unsigned char *const slot = slot_of(stage);
                c.each_row(head, 0, start, min(end, c.split) - start, row, kRowsAtOnce, known,
                           [&](int i, int64_t at, bool there) {
                               copy_async(shared_value_chunk(slot, i, chunk), values + at, there);
                           });
            }
        };
        const int column = thread / kStageChunks, of_stage = thread % kStageChunks * kChunk;
        const uint32_t to_probabilities =
            shared_address(head_chunk(ring + shape::kValueBytes, column, thread % kStageChunks));
        const qp_bf16 *probabilities[kOwnColumns]; /* of the next stage */
#pragma unroll
        for (int i = 0; i < kOwnColumns; i++)
            probabilities[i] =
                c.score_row(head, min(first_column + column + i * kColumnsAtOnce, c.columns - 1)) + of_stage;
        const auto fetch_probabilities = [&](int stage) {
            if (stage * kStageKeys + of_stage >= c.split) return;
            const uint32_t to = to_probabilities + offset_of(stage);
#pragma unroll
            for (int i = 0; i < kOwnColumns; i++) {
                copy_async(to + i * kColumnsAtOnce * kStageChunks * kChunkBytes, probabilities[i]);
                probabilities[i] += kStageKeys;
            }
        };
        const auto fill = [&](auto fetch) {
            for (int stage = 0; stage < kSlots - 1; stage++) {
                if (stage < stages) fetch(stage);
                group_copies();
            }
        };
        const auto follow = [&](auto fetch) {
            for (int stage = 0; stage < stages; stage++) {
                wait_for_copies<kSlots - 2>();
                __syncthreads();
                const int next = stage + kSlots - 1; /* in the slot of the stage before this one */
                if (next < stages) fetch(next);
                group_copies();
            }
        };
        if (fetcher < kFetchThreads) {
            fill(fetch_values); /* older than the scores */
            wait_for_predecessor();
            allow_successor();
            follow(fetch_values);
        } else {
            wait_for_predecessor();
            allow_successor();
            fill(fetch_probabilities);
            follow(fetch_probabilities);
        }
        return;
    }

    wait_for_predecessor();
    allow_successor();
    float sum[2][2][4] = {}; /* tiles of channels, tiles of columns */
    struct fragments {
        uint32_t a[kAhead][2][4], b[kAhead][4];
    } even, odd;
    /* Past the end of the last stage, too: what is there is not added. */
    const auto load = [&](fragments &f, int stage, int step) {
        unsigned char *const slot = slot_of(stage);
        const int of_step = lane % 8 + lane / 16 * 8, chunk = lane / 8 % 2;
#pragma unroll
        for (int i = 0; i < kAhead; i++) {
#pragma unroll
            for (int m = 0; m < 2; m++)
                load_matrices_transposed(f.a[i][m],
                                         shared_value_chunk(slot, (step + i) * QP_BLOCK_K + of_step, 2 * m + chunk));
            load_matrices(f.b[i], head_chunk(slot + shape::kValueBytes, warp * 2 * kTileColumns + of_step,
                                             2 * (step + i) + chunk));
        }
    };
    const auto add = [&](const fragments &f, int count) {
#pragma unroll
        for (int i = 0; i < kAhead; i++) {
            if (i >= count) continue;
            const uint32_t first[2] = { f.b[i][0], f.b[i][1] }, second[2] = { f.b[i][2], f.b[i][3] };
#pragma unroll
            for (int m = 0; m < 2; m++) {
                block_fma(sum[m][0], f.a[i][m], first);
                block_fma(sum[m][1], f.a[i][m], second);
            }
        }
    };
    /* Fragments are loaded while the ones before them are added, also those of the stage that comes next: so the chain
     * does not wait for it. `count`: steps that the stage has. */
    const auto add_stage = [&](int stage, int count) {
#pragma unroll
        for (int step = 0; step < kStageSteps; step += 2 * kAhead) {
            load(odd, stage, step + kAhead);
            add(even, count - step);
            if (step + 2 * kAhead < kStageSteps) {
                load(even, stage, step + 2 * kAhead);
            } else if (stage + 1 < stages) {
                __syncthreads(); /* the next stage is there, and this one has been read */
                load(even, stage + 1, 0);
            }
            add(odd, count - step - kAhead);
        }
    };
    __syncthreads();
    load(even, 0, 0);
    const int whole = steps / kStageSteps;
    for (int stage = 0; stage < whole; stage++) add_stage(stage, kStageSteps);
    if (whole < stages) add_stage(whole, steps % kStageSteps);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int column = first_column + warp * 2 * kTileColumns + n * kTileColumns + 2 * lane_quad() + i % 2;
                const int channel = part * kSharedChannels + m * kTileRows + lane_row() + i / 2 * 8;
                if (column < c.columns) c.sum_row(head, 0, column)[channel] = sum[m][n][i];
            }
}

/* ---- 4: the chain over a sequence's own positions ---- */

constexpr int kOwnSteps = 4, kOwnKeys = kOwnSteps * QP_BLOCK_K, kOwnSlots = 3;
constexpr int kOwnWarps = kHeadDim / kTileRows, kOwnThreads = kOwnWarps * kWarp;
constexpr int kOwnChunks = kOwnKeys / kChunk;
constexpr int kOwnValueBytes = kOwnKeys * kHeadBytes, kOwnSlotBytes = kOwnValueBytes + kTileColumns * kOwnKeys * 2;
constexpr size_t kOwnBytes = static_cast<size_t>(kOwnSlots) * kOwnSlotBytes;

/* Rows of eight chunks, as head_chunk. */
__device__ __forceinline__ uint4 *own_chunk_of(unsigned char *slot, int column, int chunk)
{
    return reinterpret_cast<uint4 *>(slot + kOwnValueBytes) + column * kOwnChunks + (chunk ^ (column & 7));
}

/* A block a sequence and a key head, whose columns are at most a tile. A warp has 16 channels. */
__global__ void __launch_bounds__(kOwnThreads) cascade_own_context(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    unsigned char *const ring = reinterpret_cast<unsigned char *>(cascade_memory);
    const int heads = c.heads(), head = static_cast<int>(blockIdx.x) % heads,
              sequence = static_cast<int>(blockIdx.x) / heads;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
    const int steps = (c.end - c.split) / QP_BLOCK_K, stages = (steps + kOwnSteps - 1) / kOwnSteps;
    const auto slot_of = [&](int stage) { return ring + stage % kOwnSlots * kOwnSlotBytes; };
    rows_of_pieces::span known = {};
    const auto fetch = [&](int stage) {
        const int start = c.split + stage * kOwnKeys, count = min(kOwnKeys, c.end - start);
        const int own_chunk = thread % kHeadChunks;
        unsigned char *const slot = slot_of(stage);
        c.each_row(head, sequence, start, count, thread / kHeadChunks, kOwnThreads / kHeadChunks, known,
                   [&](int row, int64_t at, bool there) {
                       copy_async(head_chunk(slot, row, own_chunk), c.a.values + at + own_chunk * kChunk, there);
                   });
        const int column = thread / kOwnChunks, chunk = thread % kOwnChunks;
        if (column < kTileColumns && chunk * kChunk < count)
            copy_async(own_chunk_of(slot_of(stage), column, chunk),
                       c.score_row(head, sequence * c.group + min(column, c.group - 1)) + start + chunk * kChunk);
    };

    allow_successor();
    for (int stage = 0; stage < kOwnSlots - 1; stage++) { /* older than the sums */
        if (stage < stages) fetch(stage);
        group_copies();
    }
    wait_for_predecessor();
    float sum[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int column = 2 * lane_quad() + i % 2, channel = warp * kTileRows + lane_row() + i / 2 * 8;
        sum[i] = column < c.group ? __ldcg(c.sum_row(head, 0, sequence * c.group + column) + channel) : 0.0f;
    }
    for (int stage = 0; stage < stages; stage++) {
        wait_for_copies<kOwnSlots - 2>();
        __syncthreads();
        if (stage + kOwnSlots - 1 < stages) fetch(stage + kOwnSlots - 1);
        group_copies();
        const int count = min(kOwnSteps, steps - stage * kOwnSteps);
        uint32_t a[kOwnSteps][4], b[kOwnSteps][2];
#pragma unroll
        for (int step = 0; step < kOwnSteps; step++) {
            if (step >= count) continue;
            load_matrices_transposed(a[step], head_chunk(slot_of(stage), step * QP_BLOCK_K + lane % 8 + lane / 16 * 8,
                                                         2 * warp + lane / 8 % 2));
            load_two_matrices(b[step], own_chunk_of(slot_of(stage), lane % 8, 2 * step + lane / 8 % 2));
        }
#pragma unroll
        for (int step = 0; step < kOwnSteps; step++)
            if (step < count) block_fma(sum, a[step], b[step]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int column = 2 * lane_quad() + i % 2, channel = warp * kTileRows + lane_row() + i / 2 * 8;
        if (column < c.group)
            c.a.y[c.query_at(head, sequence * c.group + column) + channel] = qp_bf16_from_f32(sum[i]); /* R1 */
    }
}

} // namespace qp::cascade

#endif
