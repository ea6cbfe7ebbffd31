/* cascade_attention where sequences share a prefix: what they share is read once for all of them.
 *
 * A column is a query: the sequences' heads that share a key head, [sequence][head of the group]. Keys are dealt to
 * positions (gqa_attention.cuh), and the positions before `split`, a multiple of 16, hold shared keys alone. The block of
 * 16 in which the shared keys end belongs to each sequence, as do those behind it. Four kernels:
 *   1  scores (C1): the keys of 64 positions are the rows of A, the columns those of B; all columns for shared
 *      positions, those of one sequence for its own.
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

/* Keys by the lanes that sum them (sum_order.h, L1): [lane][key of the lane]. */
struct dealt_keys {
    int lanes, run, length; /* length: between the lanes' places; a multiple of kChunk */

    __host__ __device__ __forceinline__ int size() const { return lanes * length; }
    __device__ __forceinline__ int of(int key) const
    {
        const int number = key / run;
        return number % lanes * length + number / lanes * run + key % run;
    }
    /* The keys below `end` that a lane has. */
    __device__ __forceinline__ int count(int lane, int end) const
    {
        const int turn = lanes * run;
        return end / turn * run + min(max(end % turn - lane * run, 0), run);
    }
    /* The key n of a lane. */
    __device__ __forceinline__ int key(int lane, int n) const { return (n / run * lanes + lane) * run + n % run; }
};

struct cascade_call {
    qp_gqa_attention_args a; /* of one sequence; q and y of the next ones follow those of the first; pools */
    rows_of_pieces row;
    qp_bf16 *scores;  /* in the workspace */
    float *sums;      /* the same: [key head][lane][column][channel]; the tensor core has one lane */
    dealt_keys dealt; /* of the context by lanes */
    int sequences, group, columns;
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
        return ((column / group) * a.query_heads + head * group + column % group) * kHeadDim;
    }
    /* Of a pool: where a key's row of a head begins. */
    __device__ __forceinline__ int64_t key_at(int head, int sequence, int key, rows_of_pieces::span &known) const
    {
        return (row.of(sequence, key, known) * a.key_heads + head) * kHeadDim;
    }
};

/* ---- 1: scores ---- */

constexpr int kScoreKeys = 64, kScoreColumns = 64, kScoreWarps = kScoreKeys / kTileRows,
              kScoreThreads = kScoreWarps * kWarp;
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

__global__ void __launch_bounds__(kScoreThreads, 6) cascade_scores(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    unsigned char *const keys = reinterpret_cast<unsigned char *>(cascade_memory), *const queries =
                                                                                       keys + kScoreTileBytes;
    qp_bf16 *const results = reinterpret_cast<qp_bf16 *>(keys);
    allow_successor();
    wait_for_predecessor();

    const score_item item(c);
    const int head = item.head, sequence = item.sequence, start = item.start, count = item.count,
              first_column = item.first_column, columns = item.columns;
    const positions place = c.place();
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
    for (int row = thread / kHeadChunks; row < count; row += kRowsAtOnce) {
        const int key = place.key_at(start + row); /* what a zero's row holds does not matter */
        if (key >= 0)
            copy_async(head_chunk(keys, row, own_chunk),
                       c.a.keys + c.key_at(head, sequence, key, known) + own_chunk * kChunk);
    }
    fetch_queries(0);
    group_copies();

    qp_scores_args of_scores = scores_args(c.a);
    uint32_t a[kHeadBlocks][4];
    const int tiles = (columns + kScoreColumns - 1) / kScoreColumns;
    for (int tile = 0; tile < tiles; tile++) {
        if (tile + 1 < tiles) fetch_queries(tile + 1);
        group_copies();
        wait_for_copies<1>();
        __syncthreads();
        if (tile == 0) {
#pragma unroll
            for (int block = 0; block < kHeadBlocks; block++)
                load_matrices(a[block], head_chunk(keys, warp * kTileRows + lane % 16, 2 * block + lane / 16));
            __syncthreads(); /* results take their place */
        }
        const int of_tile = min(kScoreColumns, columns - tile * kScoreColumns);
        unsigned char *of_queries = queries + tile % 2 * kScoreTileBytes;
        if (warp * kTileRows < count)
            for (int column = 0; column < of_tile; column += 2 * kTileColumns) {
                float sum[2][4] = {};
#pragma unroll
                for (int block = 0; block < kHeadBlocks; block++) {
                    uint32_t b[4];
                    load_matrices(b,
                                  head_chunk(of_queries, column + lane % 8 + lane / 16 * 8, 2 * block + lane / 8 % 2));
                    const uint32_t first[2] = { b[0], b[1] }, second[2] = { b[2], b[3] };
                    block_fma(sum[0], a[block], first);
                    block_fma(sum[1], a[block], second);
                }
#pragma unroll
                for (int i = 0; i < 2; i++)
#pragma unroll
                    for (int n = 0; n < 4; n++) /* the only query of a sequence sees all keys */
                        results[(column + i * kTileColumns + 2 * lane_quad() + n % 2) * kScoreStride +
                                warp * kTileRows + lane_row() + n / 2 * 8] =
                            scale_and_mask(of_scores, qp_bf16_from_f32(sum[i][n]), 0, 0);
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

__device__ __forceinline__ float largest_of_keys(const qp_bf16 *row, const positions &place, int first, int step)
{
    float max = -INFINITY;
#pragma unroll 4
    for (int i = first; i < place.keys; i += step) max = fmaxf(max, qp_bf16_to_f32(row[place.of(i)]));
    return max;
}

/* Where the probabilities of a row go: by lanes to shared memory first, as the row is still read. */
template <bool kDealt> struct probability_row {
    qp_bf16 *row, *dealt;
    positions place;
    const dealt_keys &keys;

    __device__ __forceinline__ void put(int key, float probability) const
    {
        qp_bf16 *to = kDealt ? dealt + keys.of(key) : row + place.of(key);
        *to = qp_bf16_from_f32(probability); /* R4 */
    }
    /* After a barrier of the row's threads. */
    __device__ __forceinline__ void finish(int end, int thread, int threads) const
    {
        if constexpr (kDealt) {
            for (int i = thread; i < keys.size() / kChunk; i += threads)
                reinterpret_cast<uint4 *>(row)[i] = reinterpret_cast<const uint4 *>(dealt)[i];
        } else { /* the positions without a key have no probability */
            const int behind = place.keys + place.zeros;
            if (thread < place.zeros) row[place.residue + thread] = qp_bf16{ 0 };
            if (thread < end - behind) row[behind + thread] = qp_bf16{ 0 };
        }
    }
};

constexpr int kSoftmaxWarps = 4;

/* S1: a warp a row. */
template <bool kDealt>
__global__ void __launch_bounds__(kSoftmaxWarps *kWarp) cascade_softmax_warps(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    wait_for_predecessor();
    allow_successor(); /* what is older than the scores may be read now */
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t number = static_cast<int64_t>(blockIdx.x) * kSoftmaxWarps + warp;
    if (number >= static_cast<int64_t>(c.heads()) * c.columns) return;
    qp_bf16 *const row = c.scores + number * c.stride;
    const positions place = c.place();
    const row_exponentials e = { row, place, largest_of_warp(largest_of_keys(row, place, lane, kWarp)) };
    const float sum = softmax_warp_sum(e, place.keys, lane, kWarp);
    const probability_row<kDealt> to = { row, reinterpret_cast<qp_bf16 *>(cascade_memory) + warp * c.dealt.size(),
                                         place, c.dealt };
#pragma unroll 4
    for (int i = lane; i < place.keys; i += kWarp) to.put(i, __fdiv_rn(e.one(i), sum)); /* R3 */
    __syncwarp();
    to.finish(c.end, lane, kWarp);
}

/* Of a block of QP_SOFTMAX_THREADS; each thread gets it. */
__device__ __forceinline__ float largest_of_block(float max, float *shared)
{
    max = largest_of_warp(max);
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = max;
    __syncthreads();
    return largest_of_warp(shared[threadIdx.x % kWarp]);
}

/* S2 to S4: a block a row. kHeld: S2, where each thread holds its exponentials. */
template <bool kHeld, bool kDealt>
__global__ void __launch_bounds__(QP_SOFTMAX_THREADS) cascade_softmax_block(const __grid_constant__ cascade_call c)
{
    constexpr int kMost = QP_SOFTMAX_REGISTERS_MAX / QP_SOFTMAX_THREADS;
    extern __shared__ uint4 cascade_memory[];
    float *const of_warps = reinterpret_cast<float *>(cascade_memory);
    wait_for_predecessor();
    allow_successor();
    const int thread = static_cast<int>(threadIdx.x);
    qp_bf16 *const row = c.scores + static_cast<int64_t>(blockIdx.x) * c.stride;
    const positions place = c.place();
    const probability_row<kDealt> to = { row, reinterpret_cast<qp_bf16 *>(of_warps + kWarp), place, c.dealt };
    if constexpr (kHeld) {
        float x[kMost], max = -INFINITY, sum = 0.0f;
#pragma unroll
        for (int n = 0; n < kMost; n++) {
            const int i = thread + n * QP_SOFTMAX_THREADS;
            x[n] = i < place.keys ? qp_bf16_to_f32(row[place.of(i)]) : -INFINITY;
            max = fmaxf(max, x[n]);
        }
        max = largest_of_block(max, of_warps);
#pragma unroll
        for (int n = 0; n < kMost; n++) {
            if (thread + n * QP_SOFTMAX_THREADS >= place.keys) continue;
            x[n] = exponential(x[n], max);
            sum = __fadd_rn(sum, x[n]);
        }
        sum = softmax_block_fold(sum, of_warps);
#pragma unroll
        for (int n = 0; n < kMost; n++) {
            const int i = thread + n * QP_SOFTMAX_THREADS;
            if (i < place.keys) to.put(i, __fdiv_rn(x[n], sum)); /* R3 */
        }
    } else {
        const float max = largest_of_block(largest_of_keys(row, place, thread, QP_SOFTMAX_THREADS), of_warps);
        const int head = static_cast<int>(blockIdx.x) / c.columns, column = static_cast<int>(blockIdx.x) % c.columns;
        const row_exponentials e = { row, place, max };
        const float sum = softmax_block_sum(e, place.keys, head * c.group + column % c.group, of_warps);
#pragma unroll 4
        for (int i = thread; i < place.keys; i += QP_SOFTMAX_THREADS) to.put(i, __fdiv_rn(e.one(i), sum)); /* R3 */
    }
    __syncthreads();
    to.finish(c.end, thread, QP_SOFTMAX_THREADS);
}

/* ---- 3: the chain over the shared positions ---- */

constexpr int kStageSteps = 8, kStageKeys = kStageSteps * QP_BLOCK_K; /* a stage: so many blocks of 16 positions */
constexpr int kSharedChannels = 2 * kTileRows, kSharedChunks = kSharedChannels / kChunk;
constexpr int kFetchWarps = 4, kFetchThreads = kFetchWarps * kWarp;
constexpr int kStageChunks = kStageKeys / kChunk;

static_assert(kStageChunks == kHeadChunks, "a column's probabilities of a stage lie as a row of keys does");

/* kColumns: of a block; a warp has 16 of them, and all channels of the block. */
template <int kColumns> struct shared_shape {
    static constexpr int kWarps = kColumns / (2 * kTileColumns), kThreads = (kWarps + kFetchWarps) * kWarp;
    static constexpr int kValueBytes = kStageKeys * kSharedChannels * 2,
                         kSlotBytes = kValueBytes + kColumns * kStageKeys * 2;
    static constexpr int kSlots = kColumns == 64 ? 4 : kColumns == 32 ? 6 : 8;
    static constexpr size_t kBytes = static_cast<size_t>(kSlots) * kSlotBytes;
};

/* Rows of four chunks, such that 8 rows of the same chunk are in different banks. */
__device__ __forceinline__ uint4 *shared_value_chunk(unsigned char *slot, int row, int chunk)
{
    return reinterpret_cast<uint4 *>(slot) + row * kSharedChunks + (chunk ^ (row / 2 & 3));
}

template <int kColumns>
__global__ void __launch_bounds__(shared_shape<kColumns>::kThreads, 2)
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
        const int thread = static_cast<int>(threadIdx.x) - shape::kWarps * kWarp;
        const positions place = c.place();
        rows_of_pieces::span known = {};
        const auto fetch_values = [&](int stage) {
            const int chunk = thread % kSharedChunks;
#pragma unroll
            for (int i = 0; i < kStageKeys * kSharedChunks / kFetchThreads; i++) {
                const int row = thread / kSharedChunks + i * (kFetchThreads / kSharedChunks),
                          position = stage * kStageKeys + row;
                if (position >= c.split) continue;
                const int key = place.key_at(position);
                copy_async(shared_value_chunk(slot_of(stage), row, chunk),
                           c.a.values + c.key_at(head, 0, max(key, 0), known) + part * kSharedChannels + chunk * kChunk,
                           key >= 0);
            }
        };
        const auto fetch_probabilities = [&](int stage) {
            const int chunk = thread % kStageChunks, position = stage * kStageKeys + chunk * kChunk;
            if (position >= c.split) return;
#pragma unroll
            for (int i = 0; i < kColumns * kStageChunks / kFetchThreads; i++) {
                const int column = thread / kStageChunks + i * (kFetchThreads / kStageChunks);
                copy_async(head_chunk(slot_of(stage) + shape::kValueBytes, column, chunk),
                           c.score_row(head, min(first_column + column, c.columns - 1)) + position);
            }
        };
        for (int stage = 0; stage < min(kSlots - 1, stages); stage++) fetch_values(stage); /* older than the scores */
        wait_for_predecessor();
        allow_successor();
        for (int stage = 0; stage < kSlots - 1; stage++) {
            if (stage < stages) fetch_probabilities(stage);
            group_copies();
        }
        for (int stage = 0; stage < stages; stage++) {
            wait_for_copies<kSlots - 2>();
            __syncthreads();
            const int next = stage + kSlots - 1; /* in the slot of the stage before this one */
            if (next < stages) {
                fetch_values(next);
                fetch_probabilities(next);
            }
            group_copies();
        }
        return;
    }

    wait_for_predecessor();
    allow_successor();
    float sum[2][2][4] = {}; /* tiles of channels, tiles of columns */
    struct fragments {
        uint32_t a[kAhead][2][4], b[kAhead][4];
    } even, odd;
    for (int stage = 0; stage < stages; stage++) {
        unsigned char *const slot = slot_of(stage);
        const int count = min(kStageSteps, steps - stage * kStageSteps);
        const auto load = [&](fragments &f, int step) {
            const int of_step = lane % 8 + lane / 16 * 8, chunk = lane / 8 % 2;
#pragma unroll
            for (int i = 0; i < kAhead; i++) {
                if (step + i >= count) continue;
#pragma unroll
                for (int m = 0; m < 2; m++)
                    load_matrices_transposed(
                        f.a[i][m], shared_value_chunk(slot, (step + i) * QP_BLOCK_K + of_step, 2 * m + chunk));
                load_matrices(f.b[i], head_chunk(slot + shape::kValueBytes, warp * 2 * kTileColumns + of_step,
                                                 2 * (step + i) + chunk));
            }
        };
        const auto add = [&](const fragments &f, int step) {
#pragma unroll
            for (int i = 0; i < kAhead; i++) {
                if (step + i >= count) continue;
                const uint32_t first[2] = { f.b[i][0], f.b[i][1] }, second[2] = { f.b[i][2], f.b[i][3] };
#pragma unroll
                for (int m = 0; m < 2; m++) {
                    block_fma(sum[m][0], f.a[i][m], first);
                    block_fma(sum[m][1], f.a[i][m], second);
                }
            }
        };
        __syncthreads();
        load(even, 0);
#pragma unroll
        for (int step = 0; step < kStageSteps; step += 2 * kAhead) {
            load(odd, step + kAhead);
            add(even, step);
            load(even, step + 2 * kAhead);
            add(odd, step + kAhead);
        }
    }
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
    const positions place = c.place();
    const auto slot_of = [&](int stage) { return ring + stage % kOwnSlots * kOwnSlotBytes; };
    rows_of_pieces::span known = {};
    const auto fetch = [&](int stage) {
        const int start = c.split + stage * kOwnKeys, count = min(kOwnKeys, c.end - start);
        for (int row = thread / kHeadChunks; row < count; row += kOwnThreads / kHeadChunks) {
            const int key = place.key_at(start + row), chunk = thread % kHeadChunks;
            copy_async(head_chunk(slot_of(stage), row, chunk),
                       c.a.values + c.key_at(head, sequence, max(key, 0), known) + chunk * kChunk, key >= 0);
        }
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
