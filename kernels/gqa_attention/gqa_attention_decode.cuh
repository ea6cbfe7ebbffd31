/* gqa_attention for few queries: a cluster of eight blocks takes up to kRows queries that share a key head. Where the
 * keys of a call lie in memory is a type (rows_of_cache, or that of another operation), so one kernel serves several.
 *
 * C1  Blocks of 16 positions (gqa_attention.cuh) are dealt to the blocks of the cluster in turn: each computes the
 *     scores of its own share.
 * C2  Up to kWholeKeys keys, each block gets all scores and does the whole softmax itself, which saves two barriers.
 *     Beyond, it keeps its share: the maxima are exchanged, then what the threads of PyTorch's kernel sum, which are
 *     dealt to the blocks too; then each block turns its share into probabilities.
 * C3  Each block sums 16 channels over all keys.
 *
 * Keys and then values stream through one ring of slots in shared memory. It is filled before the wait for the kernel
 * before this one, with all but the newest keys: only those are new. */
#ifndef QP_GQA_ATTENTION_DECODE_CUH
#define QP_GQA_ATTENTION_DECODE_CUH

#include <cooperative_groups.h>

#include "gqa_attention_short.cuh"

namespace qp::attention {

constexpr int kCluster = 8, kDecodeWarps = 8, kDecodeThreads = kDecodeWarps * kWarp;
constexpr int kOwnChannels = kHeadDim / kCluster, kValueChunks = kOwnChannels / kChunk;
/* A stage of the ring: a block of 16 positions for each warp of the cluster. */
constexpr int kStageBlocks = kCluster * kDecodeWarps, kStagePositions = kStageBlocks * QP_BLOCK_K;
constexpr int kSlots = 4;
constexpr int kBlockBytes = QP_BLOCK_K * kHeadBytes;                            /* 16 keys of one head */
constexpr int kBlockChunks = QP_BLOCK_K / kChunk, kBlockPairs = QP_BLOCK_K / 2; /* of 16 scores of one query */
constexpr int kWholeKeys = QP_SOFTMAX_WARP_MAX;        /* S1 has one warp a row: nothing to deal */
constexpr int kChunkStride = kStagePositions + kChunk; /* so that rows of a matrix are in different banks */

static_assert(kOwnChannels == kTileRows, "a block has one tile of channels");

/* How the shared memory of a call is laid out. */
struct decode_layout {
    int slot_bytes, slots;
    int score_stride; /* between the rows of scores */
    int fetched;      /* stages of probabilities that are fetched from other blocks: 0 or 2 */
    size_t bytes;
};

/* For up to `keys` keys. */
inline decode_layout decode_layout_for(int64_t keys, int rows)
{
    const int64_t most_zeros = QP_BLOCK_K - 1, blocks = tiles_for(keys + most_zeros, QP_BLOCK_K),
                  share = tiles_for(blocks, kCluster);
    const int64_t whole = (keys < kWholeKeys ? keys : kWholeKeys) + most_zeros;
    decode_layout layout = {};
    layout.slot_bytes = static_cast<int>(share < kDecodeWarps ? share : kDecodeWarps) * kBlockBytes;
    layout.slots = blocks <= kStageBlocks ? 2 : kSlots;
    int64_t stride = tiles_for(whole, QP_BLOCK_K) * QP_BLOCK_K;
    if (keys > kWholeKeys) {
        layout.fetched = 2;
        if (stride < share * QP_BLOCK_K) stride = share * QP_BLOCK_K;
    }
    layout.score_stride = static_cast<int>(stride + kChunk);
    layout.bytes = static_cast<size_t>(layout.slots) * static_cast<size_t>(layout.slot_bytes) +
                   static_cast<size_t>(rows) * sizeof(qp_bf16) *
                       static_cast<size_t>(stride + kChunk + static_cast<int64_t>(layout.fetched) * kChunkStride);
    return layout;
}

/* How it is called. */
template <class Rows> struct cluster_call : decode_call<Rows> {
    decode_layout layout;
};

template <int kRows> struct decode_shared {
    static constexpr int kKeysALane = kRows == 8 ? 2 : 4; /* whose sums by lanes a thread has in registers */
    static constexpr int kItems = kKeysALane * kRows, kOutputs = kRows * kOwnChannels;

    alignas(16) float q[kHeadDim][kRows]; /* for sums by lanes, as lane_place says */
    union {
        float of_warp[kDecodeWarps][kItems][kWarp + 1];
        float of_lane[QP_MAX_LANES][kOutputs + 1];
    } sums; /* what lanes have to fold */
    float largest[kCluster][kRows];
    float totals[kRows][QP_SOFTMAX_THREADS / kWarp];
    decode_queries<kRows> of;
};

/* The exponentials of a row of scores whose shares are in the blocks of the cluster. */
struct dealt_exponentials {
    const qp_bf16 *share; /* this block's */
    positions place;
    float max;

    __device__ __forceinline__ float one(int64_t i) const
    {
        const int position = place.of(static_cast<int>(i)), block = position / QP_BLOCK_K;
        const qp_bf16 *of_owner =
            cooperative_groups::this_cluster().map_shared_rank(share, static_cast<unsigned>(block % kCluster));
        return exponential(qp_bf16_to_f32(of_owner[block / kCluster * QP_BLOCK_K + position % QP_BLOCK_K]), max);
    }
};

/* softmax.h, R1 to R4, of the pairs first, first + step, ... of a row, in place. A zero's score is -infinity. */
__device__ __forceinline__ void to_probabilities(qp_bf16 *row, int pairs, float max, float sum, int first, int step)
{
    uint32_t *const pair = reinterpret_cast<uint32_t *>(row);
#pragma unroll 4
    for (int i = first; i < pairs; i += step)
        pair[i] = pair_of(__fdiv_rn(exponential(low_of(pair[i]), max), sum),
                          __fdiv_rn(exponential(high_of(pair[i]), max), sum));
}

/* Of a warp: the largest of a row of chunks. */
__device__ __forceinline__ float largest_of_row(const qp_bf16 *row, int chunks)
{
    float max = -INFINITY;
    for (int i = static_cast<int>(threadIdx.x) % kWarp; i < chunks; i += kWarp) {
        const uint4 x = reinterpret_cast<const uint4 *>(row)[i];
        const uint32_t pairs[4] = { x.x, x.y, x.z, x.w };
#pragma unroll
        for (int n = 0; n < 4; n++) max = fmaxf(max, fmaxf(low_of(pairs[n]), high_of(pairs[n])));
    }
    return largest_of_warp(max);
}

/* kLean: up to kWholeKeys keys, in orders that is_lean knows; a kernel without all other ways is much smaller, and its
 * instructions come from memory each time, too. */
template <int kRows, class Rows, bool kLean> class decode_pass
{
    using shared_t = decode_shared<kRows>;

    cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
    const cluster_call<Rows> &call;
    shared_t &shared;
    unsigned char *ring;
    qp_bf16 *scores, *fetched; /* fetched: chunks of all blocks' probabilities */
    qp_scores_args of_scores;
    int keys;
    qp_attention_order order;
    int tokens, past;
    positions place;
    const decode_place queries;
    const int rows;
    int rank;
    int blocks, share, stages; /* blocks of 16 positions; those of this block; stages of keys, and as many of values */
    bool whole;                /* each block has all scores */
    const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
    const int warp =
        __shfl_sync(kWholeWarp, thread / kWarp, 0); /* so that the compiler knows it to be the whole warp's */
    int own_place = 0;                              /* lane_place of the element of a query that this thread loads */

    __device__ unsigned char *slot_of(int stage) const { return ring + stage % kSlots * call.layout.slot_bytes; }
    __device__ static uint4 *value_chunk(unsigned char *slot, int row, int chunk)
    {
        return reinterpret_cast<uint4 *>(slot) + row * kValueChunks + (chunk ^ (row / 4 & 1));
    }
    __device__ const qp_bf16 *key_row(typename Rows::span &span, int key, int chunk) const
    {
        return call.a.keys + queries.row_of(call, key, span) + chunk * kChunk;
    }
    __device__ const qp_bf16 *value_row(typename Rows::span &span, int key, int chunk) const
    {
        return call.a.values + queries.row_of(call, key, span) + rank * kOwnChannels + chunk * kChunk;
    }
    /* The position of a row of the block's share; blocks of 16 are dealt in turn. */
    __device__ int position_of(int row) const
    {
        return (row / QP_BLOCK_K * kCluster + rank) * QP_BLOCK_K + row % QP_BLOCK_K;
    }
    /* Rows of its share in a stage. */
    __device__ int rows_in(int stage) const { return min(kDecodeWarps, share - stage * kDecodeWarps) * QP_BLOCK_K; }
    __device__ int positions_in(int chunk) const
    {
        return min(kStageBlocks, blocks - chunk * kStageBlocks) * QP_BLOCK_K;
    }

    /* Starts a stage's copies, of the keys below `end`. */
    __device__ void fetch(int stage, int end) const
    {
        unsigned char *slot = slot_of(stage);
        typename Rows::span span = {};
        if (stage < stages) {
            const int pieces = rows_in(stage) * kHeadChunks;
            for (int piece = thread; piece < pieces; piece += kDecodeThreads) {
                const int row = piece / kHeadChunks, chunk = piece % kHeadChunks;
                const int key = place.key_at(position_of(stage * kDecodeWarps * QP_BLOCK_K + row));
                if (key >= 0 && key < end) copy_async(head_chunk(slot, row, chunk), key_row(span, key, chunk));
            }
        } else {
            const int start = (stage - stages) * kStagePositions;
            const int pieces = positions_in(stage - stages) * kValueChunks;
            for (int piece = thread; piece < pieces; piece += kDecodeThreads) {
                const int row = piece / kValueChunks, chunk = piece % kValueChunks, key = place.key_at(start + row);
                if (key < end) copy_async(value_chunk(slot, row, chunk), value_row(span, max(key, 0), chunk), key >= 0);
            }
        }
    }

    /* The newest keys of the stages that were fetched without them. */
    __device__ void fetch_newest() const
    {
        constexpr int kPieces = kHeadChunks + kValueChunks;
        typename Rows::span span = {};
        for (int piece = thread; piece < tokens * kPieces; piece += kDecodeThreads) {
            const int key = past + piece / kPieces, chunk = piece % kPieces, position = place.of(key);
            if (chunk < kHeadChunks) {
                const int block = position / QP_BLOCK_K, stage = block / kStageBlocks;
                if (block % kCluster != rank || stage >= kSlots) continue;
                const int row = block / kCluster % kDecodeWarps * QP_BLOCK_K + position % QP_BLOCK_K;
                *head_chunk(slot_of(stage), row, chunk) =
                    __ldcg(reinterpret_cast<const uint4 *>(key_row(span, key, chunk)));
            } else {
                const int stage = stages + position / kStagePositions, of_values = chunk - kHeadChunks;
                if (stage >= kSlots) continue;
                *value_chunk(slot_of(stage), position % kStagePositions, of_values) =
                    __ldcg(reinterpret_cast<const uint4 *>(value_row(span, key, of_values)));
            }
        }
    }

    /* Waits for a stage, and refills the slot of the one before it. */
    __device__ void next_stage(int stage) const
    {
        if (stage == 0)
            wait_for_copies<kSlots - 1>();
        else
            wait_for_copies<kSlots - 2>();
        __syncthreads();
        if (stage == 0) return;
        if (stage - 1 + kSlots < 2 * stages) fetch(stage - 1 + kSlots, keys);
        group_copies();
    }

    /* ---- C1 ---- */

    /* Where the element k of a query is for sums by lanes: those that the lanes need at the same time lie side by side,
     * if the lanes have as many each. */
    __device__ int lane_place(int k) const
    {
        const int lanes = order.scores.lanes, run = order.scores.run, turn = lanes * run;
        return kHeadDim % turn ? k : (k / turn * run + k % run) * lanes + k / run % lanes;
    }

    /* This thread has the same element of every other query, whose place was computed before the wait. */
    __device__ void load_lane_queries() const
    {
        constexpr int kAtOnce = kDecodeThreads / kHeadDim;
#pragma unroll
        for (int row = thread / kHeadDim; row < kRows; row += kAtOnce) {
            const qp_bf16 *of_row = call.a.q + shared.of.at[row] + thread % kHeadDim;
            const unsigned bits = row < rows ? __ldcg(reinterpret_cast<const unsigned short *>(of_row)) : 0;
            shared.q[own_place][row] = low_of(bits);
        }
    }

    /* R1 to R3 of a row of the block's share and a query. */
    __device__ void put_score(int row, int query, float sum) const
    {
        if (query >= rows) return;
        const int position = position_of(row), key = place.key_at(position);
        scores[query * call.layout.score_stride + (whole ? position : row)] =
            key < 0 ? qp_bf16{ 0xff80 } : scale_and_mask(of_scores, qp_bf16_from_f32(sum), shared.of.token[query], key);
    }

    /* A chain with a residue that ends inside a block of the fragments: element by element. */
    __device__ void residue_scores(float (&sum)[4], unsigned char *slot) const
    {
        const int residue = min(order.scores.run, kHeadDim), size = order.scores.narrow ? QP_BLOCK_K / 2 : QP_BLOCK_K;
        const int column = lane_row(), first = 2 * lane_quad();
        for (int k = 0, end; k < kHeadDim; k = end) {
            end = min(k + size, k < residue ? residue : kHeadDim);
            uint32_t a[4] = {}, b[2] = {};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int of_k = k + first + i % 2 + i / 2 * kChunk, shift = i % 2 * 16, half = i / 2;
                if (of_k >= end) continue;
#pragma unroll
                for (int eight = 0; eight < 2; eight++) {
                    const qp_bf16 *chunk = reinterpret_cast<const qp_bf16 *>(
                        head_chunk(slot, warp * QP_BLOCK_K + eight * 8 + column, of_k / kChunk));
                    a[2 * half + eight] |= static_cast<uint32_t>(chunk[of_k % kChunk].bits) << shift;
                }
                if (column < rows)
                    b[half] |= static_cast<uint32_t>(__ldcg(
                                   reinterpret_cast<const unsigned short *>(call.a.q + shared.of.at[column] + of_k)))
                               << shift;
            }
            block_fma(sum, a, b);
        }
    }

    /* A warp: one block of 16 positions, on the tensor core. A is the keys, B the queries. */
    __device__ void tile_scores(int stage, const tile_queries &q) const
    {
        unsigned char *slot = slot_of(stage);
        float sum[4] = {};
        if (kLean || order.scores.run % QP_BLOCK_K == 0)
            q.multiply(sum, slot, warp * QP_BLOCK_K, !kLean && order.scores.narrow);
        else
            residue_scores(sum, slot);
        const int row = (stage * kDecodeWarps + warp) * QP_BLOCK_K + lane_row(), query = 2 * lane_quad();
#pragma unroll
        for (int i = 0; i < 4; i++) put_score(row + i / 2 * 8, query + i % 2, sum[i]);
    }

    /* All warps: the stage's share by lanes, which are neighbouring threads. */
    __device__ void lane_scores(int stage)
    {
        constexpr int kKeys = shared_t::kKeysALane;
        unsigned char *slot = slot_of(stage);
        const int lanes = order.scores.lanes, run = order.scores.run, turn = lanes * run;
        const int own = thread % lanes, at_once = kDecodeThreads / lanes, count = rows_in(stage);
        const int first_row = stage * kDecodeWarps * QP_BLOCK_K;
        const bool side_by_side = kHeadDim % turn == 0;
        for (int base = 0; base < count; base += at_once * kKeys) {
            int row[kKeys];
            float sum[kKeys][kRows] = {};
#pragma unroll
            for (int i = 0; i < kKeys; i++) row[i] = min(base + thread / lanes + i * at_once, count - 1);
            int number = own;                                              /* of the element among those of all lanes */
            for (int start = own * run; start < kHeadDim; start += turn) { /* L1 */
                const int end = min(start + run, kHeadDim);
                for (int k = start; k < end;) {
                    const int chunk_end = min(end, (k / kChunk + 1) * kChunk);
                    const qp_bf16 *chunk[kKeys];
#pragma unroll
                    for (int i = 0; i < kKeys; i++)
                        chunk[i] = reinterpret_cast<const qp_bf16 *>(head_chunk(slot, row[i], k / kChunk));
                    for (; k < chunk_end; k++, number += lanes) {
                        const float *of_k = shared.q[side_by_side ? number : k];
#pragma unroll
                        for (int i = 0; i < kKeys; i++)
#pragma unroll
                            for (int r = 0; r < kRows; r++) /* L2 */
                                sum[i][r] = __fmaf_rn(of_k[r], qp_bf16_to_f32(chunk[i][k % kChunk]), sum[i][r]);
                    }
                }
            }
            fold_scores(sum, first_row, base, count);
        }
    }

    /* L3. */
    __device__ void fold_scores(const float (&sum)[shared_t::kKeysALane][kRows], int first_row, int base, int count)
    {
        constexpr int kKeys = shared_t::kKeysALane, kItems = shared_t::kItems;
        const int lanes = order.scores.lanes, at_once = kDecodeThreads / lanes, of_warp = kWarp / lanes;
        if (order.scores.fold == QP_FOLD_HALVES) {
#pragma unroll
            for (int i = 0; i < kKeys; i++)
#pragma unroll
                for (int r = 0; r < kRows; r++) {
                    const int row = base + thread / lanes + i * at_once;
                    const float total = fold_lanes(sum[i][r], order.scores);
                    if (thread % lanes == 0 && row < count) put_score(first_row + row, r, total);
                }
            return;
        }
        float(*const place_of)[kWarp + 1] = shared.sums.of_warp[warp];
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kKeys; i++)
#pragma unroll
            for (int r = 0; r < kRows; r++) place_of[i * kRows + r][lane] = sum[i][r];
        __syncwarp();
        for (int n = lane; n < kItems * of_warp; n += kWarp) {
            const int item = n % kItems, key = n / kItems, row = base + warp * of_warp + key + item / kRows * at_once;
            const float *lane_sums = place_of[item] + key * lanes;
            float total = lane_sums[0];
            for (int l = 1; l < lanes; l++) total = __fadd_rn(total, lane_sums[l]);
            if (row < count) put_score(first_row + row, item % kRows, total);
        }
    }

    /* A warp: its block of 16 positions to all other blocks. */
    __device__ void share_scores(int stage)
    {
        const int first = ((stage * kDecodeWarps + warp) * kCluster + rank) * QP_BLOCK_K;
        for (int i = lane; i < kCluster * kRows * kBlockChunks; i += kWarp) {
            const int peer = i / kBlockChunks / kRows, query = i / kBlockChunks % kRows;
            if (query >= rows || peer == rank) continue;
            uint4 *chunk =
                reinterpret_cast<uint4 *>(scores + query * call.layout.score_stride + first) + i % kBlockChunks;
            *cluster.map_shared_rank(chunk, static_cast<unsigned>(peer)) = *chunk;
        }
    }

    __device__ bool has_block(int stage) const { return warp * QP_BLOCK_K < rows_in(stage); }

    /* The orders with one run of 8 or 4 elements for each lane, which cuBLAS takes most often: a lane has its elements of
     * the queries in registers, and those of a key in one load. */
    template <int kRun> struct run_queries {
        uint32_t pair[kRows][kRun / 2];
    };
    template <int kRun> __device__ void load_run_queries(run_queries<kRun> &q) const
    {
        const int own = thread % (kHeadDim / kRun);
#pragma unroll
        for (int row = 0; row < kRows; row++) {
            const unsigned *of_row =
                reinterpret_cast<const unsigned *>(call.a.q + shared.of.at[min(row, rows - 1)] + own * kRun);
#pragma unroll
            for (int i = 0; i < kRun / 2; i++) q.pair[row][i] = __ldcg(of_row + i);
        }
    }

    template <int kRun> __device__ void run_scores(int stage, const run_queries<kRun> &q)
    {
        constexpr int kLanes = kHeadDim / kRun, kAtOnce = kDecodeThreads / kLanes;
        const int own = thread % kLanes, count = rows_in(stage), first_row = stage * kDecodeWarps * QP_BLOCK_K;
        for (int base = 0; base < count; base += kAtOnce) { /* a multiple of 16 rows */
            const int row = base + thread / kLanes;
            uint32_t key[kRun / 2];
            load_run<kRun>(key, slot_of(stage), row, own);
            float sum[kRows] = {};
#pragma unroll
            for (int i = 0; i < kRun / 2; i++)
#pragma unroll
                for (int r = 0; r < kRows; r++) { /* L2 */
                    sum[r] = __fmaf_rn(low_of(q.pair[r][i]), low_of(key[i]), sum[r]);
                    sum[r] = __fmaf_rn(high_of(q.pair[r][i]), high_of(key[i]), sum[r]);
                }
#pragma unroll
            for (int offset = kLanes / 2; offset > 0; offset /= 2) /* L3 */
#pragma unroll
                for (int r = 0; r < kRows; r++)
                    sum[r] = __fadd_rn(sum[r], __shfl_down_sync(kWholeWarp, sum[r], offset, kLanes));
            if (own > 0) continue;
#pragma unroll
            for (int r = 0; r < kRows; r++) put_score(first_row + row, r, sum[r]);
        }
    }

    /* All warps have to score a stage together where lanes do: score(stage). */
    template <class Score> __device__ void lane_stages(Score score)
    {
        fetch_newest();
        for (int stage = 0; stage < stages; stage++) {
            next_stage(stage);
            score(stage);
            __syncthreads();
            if (whole && has_block(stage)) share_scores(stage);
        }
    }
    template <int kRun> __device__ void run_stages()
    {
        run_queries<kRun> q;
        load_run_queries(q);
        lane_stages([&](int stage) { run_scores(stage, q); });
    }

    __device__ void score_stages()
    {
        const bool one_run = order.scores.lanes * order.scores.run == kHeadDim && order.scores.fold == QP_FOLD_HALVES;
        if (one_run && order.scores.run == 8) {
            run_stages<8>();
        } else if (one_run && order.scores.run == 4) {
            run_stages<4>();
        } else if (!kLean && order.scores.lanes) {
            load_lane_queries();
            lane_stages([&](int stage) { lane_scores(stage); });
        } else {
            tile_queries q;
            q.load(call.a.q, shared.of, rows);
            fetch_newest();
            for (int stage = 0; stage < stages; stage++) {
                next_stage(stage);
                if (!has_block(stage)) continue;
                tile_scores(stage, q);
                __syncwarp();
                if (whole) share_scores(stage);
            }
        }
    }

    /* ---- C2 ---- */

    __device__ void whole_softmax()
    {
        constexpr int kParts = kDecodeWarps / kRows; /* warps that share a row; they sum it each */
        const int query = warp % kRows;
        qp_bf16 *row = scores + query * call.layout.score_stride;
        float max = 0.0f, sum = 0.0f;
        if (query < rows) {
            max = largest_of_row(row, blocks * kBlockChunks);
            sum = softmax_warp_sum(row_exponentials{ row, place, max }, keys, lane, kWarp);
        }
        __syncthreads();
        if (query < rows)
            to_probabilities(row, blocks * kBlockPairs, max, sum, warp / kRows * kWarp + lane, kParts * kWarp);
    }

    __device__ float largest_of_query(int query) const
    {
        float max = -INFINITY;
#pragma unroll
        for (int i = 0; i < kCluster; i++) max = fmaxf(max, shared.largest[i][query]);
        return max;
    }

    __device__ void share_largest()
    {
        __syncthreads();
        const int query = warp;
        if (query >= rows) return;
        const float max = largest_of_row(scores + query * call.layout.score_stride, share * kBlockChunks);
        if (lane < kCluster) *cluster.map_shared_rank(&shared.largest[rank][query], static_cast<unsigned>(lane)) = max;
    }

    /* S2 to S4: the threads of PyTorch's kernel are dealt to the blocks by their warps. */
    __device__ void share_totals()
    {
        constexpr int kWarps = QP_SOFTMAX_THREADS / kWarp / kCluster;
        for (int task = warp; task < rows * kWarps; task += kDecodeWarps) {
            const int query = task / kWarps, of_row = rank * kWarps + task % kWarps;
            const dealt_exponentials e = { scores + query * call.layout.score_stride, place, largest_of_query(query) };
            const int64_t row = static_cast<int64_t>(queries.head) * call.queries + queries.first_query + query;
            float total = fold_warp(softmax_thread_sum(e, keys, row, of_row * kWarp + lane));
            total = __shfl_sync(kWholeWarp, total, 0);
            if (lane < kCluster)
                *cluster.map_shared_rank(&shared.totals[query][of_row], static_cast<unsigned>(lane)) = total;
        }
    }

    __device__ void own_probabilities()
    {
        for (int query = 0; query < rows; query++) {
            const float sum = __shfl_sync(kWholeWarp, fold_warp(shared.totals[query][lane]), 0);
            to_probabilities(scores + query * call.layout.score_stride, share * kBlockPairs, largest_of_query(query),
                             sum, thread, kDecodeThreads);
        }
    }

    /* ---- C3 ---- */

    __device__ qp_bf16 *fetched_chunk(int chunk) const { return fetched + chunk % 2 * kRows * kChunkStride; }

    /* The probabilities of a stage, from all blocks; `threads` threads, of which this is `first`. */
    __device__ void fetch_probabilities(int chunk, int first, int threads)
    {
        constexpr int kPieces = kBlockChunks * kStageBlocks;
        qp_bf16 *to = fetched_chunk(chunk);
#pragma unroll 4
        for (int i = first; i < rows * kPieces; i += threads) {
            const int query = i / kPieces, local = i / kBlockChunks % kStageBlocks, half = i % kBlockChunks;
            const int block = chunk * kStageBlocks + local;
            if (block >= blocks) continue;
            const qp_bf16 *from =
                scores + query * call.layout.score_stride + block / kCluster * QP_BLOCK_K + half * kChunk;
            *reinterpret_cast<uint4 *>(to + query * kChunkStride + local * QP_BLOCK_K + half * kChunk) =
                *reinterpret_cast<const uint4 *>(
                    cluster.map_shared_rank(from, static_cast<unsigned>(block % kCluster)));
        }
    }

    /* Fragments of blocks of 16 positions: A is the channels, B the queries. From one block to the next their places in
     * shared memory are a constant apart, since 16 rows do not change how chunks are exchanged. */
    static constexpr int kAhead = 6, kAtOnce = 8; /* blocks whose fragments are loaded ahead, of as many in registers */
    struct fragments {
        uint32_t a[kAtOnce][4], b[kAtOnce][2];
    };
    __device__ __forceinline__ static void load_block(fragments &f, int i, uint32_t values, uint32_t probabilities,
                                                      int block)
    {
        load_matrices_transposed(f.a[i], values + block * (QP_BLOCK_K * kValueChunks * kChunkBytes));
        load_two_matrices(f.b[i], probabilities + block * (QP_BLOCK_K * static_cast<int>(sizeof(qp_bf16))));
    }

    /* One warp, on the tensor core: `end` blocks. A block waits for the one before it, and in between the
     * fragments of a later one are loaded. */
    template <bool kNarrow>
    __device__ void tile_context(float (&sum)[4], unsigned char *slot, const qp_bf16 *probabilities, int stride,
                                 int end) const
    {
        const int of_block = lane % 8 + lane / QP_BLOCK_K * 8, chunk = lane / 8 % 2, query = min(lane % 8, kRows - 1);
        const uint32_t a = shared_address(value_chunk(slot, of_block, chunk)),
                       b = shared_address(probabilities + query * stride + chunk * kChunk);
        fragments f;
#pragma unroll
        for (int i = 0; i < kAhead; i++)
            if (i < end) load_block(f, i, a, b, i);
        int block = 0;
        for (; block + kAhead + kAtOnce <= end; block += kAtOnce)
#pragma unroll
            for (int i = 0; i < kAtOnce; i++) {
                block_fma(sum, f.a[i], f.b[i], kNarrow);
                load_block(f, (i + kAhead) % kAtOnce, a, b, block + i + kAhead);
            }
        for (; block < end; block += kAtOnce)
#pragma unroll
            for (int i = 0; i < kAtOnce; i++) {
                if (block + i < end) block_fma(sum, f.a[i], f.b[i], kNarrow);
                if (block + i + kAhead < end) load_block(f, (i + kAhead) % kAtOnce, a, b, block + i + kAhead);
            }
    }

    /* Sums by lanes: a thread has a lane and two channels. Where there are fewer lanes than QP_MAX_LANES, teams of them
     * share the queries. */
    struct lane_state {
        float sum[kRows][2];
        int next, left; /* the next key, and how many are left of its run */
    };
    static constexpr int kPairs = kOwnChannels / 2;
    __device__ int own_lane() const { return thread / kPairs % order.context.lanes; }
    __device__ bool own_query(int query) const
    {
        const int lanes = order.context.lanes, teams = QP_MAX_LANES / lanes;
        return query % teams == thread / kPairs / lanes;
    }

    /* The keys from `start` on, below `end`. */
    __device__ void lane_context(lane_state &state, unsigned char *slot, const qp_bf16 *probabilities, int stride,
                                 int start, int end) const
    {
        constexpr int kKeysAtOnce = 4;
        const int pair = thread % kPairs, step = (order.context.lanes - 1) * order.context.run;
        while (state.next < end) {
            uint32_t values[kKeysAtOnce];
            int row[kKeysAtOnce];
#pragma unroll
            for (int i = 0; i < kKeysAtOnce; i++) {
                row[i] = state.next < end ? state.next - start : -1;
                values[i] =
                    row[i] < 0 ? 0 : reinterpret_cast<const uint32_t *>(value_chunk(slot, row[i], pair / 4))[pair % 4];
                if (row[i] < 0) continue;
                state.next++;
                if (--state.left > 0) continue;
                state.next += step, state.left = order.context.run;
            }
#pragma unroll
            for (int query = 0; query < kRows; query++) {
                if (query >= rows || !own_query(query)) continue;
#pragma unroll
                for (int i = 0; i < kKeysAtOnce; i++) { /* a product of zeros changes no sum */
                    const float p = row[i] < 0 ? 0.0f : qp_bf16_to_f32(probabilities[query * stride + row[i]]);
                    state.sum[query][0] = __fmaf_rn(p, low_of(values[i]), state.sum[query][0]); /* L2 */
                    state.sum[query][1] = __fmaf_rn(p, high_of(values[i]), state.sum[query][1]);
                }
            }
        }
    }

    /* The order of by_usual_lanes. A run's probabilities are one load. */
    __device__ void usual_lane_context(float (&sum)[kRows][2], unsigned char *slot, const qp_bf16 *probabilities,
                                       int stride, int end) const
    {
        const int pair = thread % kPairs;
        for (int row = thread / kPairs * kUsualRun; row < end; row += QP_MAX_LANES * kUsualRun) {
            uint32_t values[kUsualRun];
#pragma unroll
            for (int i = 0; i < kUsualRun; i++)
                values[i] = row + i < end
                                ? reinterpret_cast<const uint32_t *>(value_chunk(slot, row + i, pair / 4))[pair % 4]
                                : 0;
#pragma unroll
            for (int query = 0; query < kRows; query++) {
                const uint2 p = *reinterpret_cast<const uint2 *>(probabilities + query * stride + row);
                const float of_key[kUsualRun] = { low_of(p.x), high_of(p.x), low_of(p.y), high_of(p.y) };
#pragma unroll
                for (int i = 0; i < kUsualRun; i++) {
                    if (row + i >= end) continue;
                    sum[query][0] = __fmaf_rn(of_key[i], low_of(values[i]), sum[query][0]); /* L2 */
                    sum[query][1] = __fmaf_rn(of_key[i], high_of(values[i]), sum[query][1]);
                }
            }
        }
    }

    /* L3 of that, and the result: a warp folds a few outputs at once. */
    __device__ void fold_usual_context(const float (&sum)[kRows][2])
    {
        constexpr int kOfWarp = shared_t::kOutputs / kDecodeWarps;
        static_assert(QP_MAX_LANES == kWarp, "a warp has a thread for each lane");
#pragma unroll
        for (int query = 0; query < kRows; query++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                shared.sums.of_lane[thread / kPairs][query * kOwnChannels + 2 * (thread % kPairs) + i] = sum[query][i];
        __syncthreads();
        float total[kOfWarp];
#pragma unroll
        for (int i = 0; i < kOfWarp; i++) total[i] = shared.sums.of_lane[lane][warp * kOfWarp + i];
#pragma unroll
        for (int offset = kWarp / 2; offset > 0; offset /= 2)
#pragma unroll
            for (int i = 0; i < kOfWarp; i++)
                total[i] = __fadd_rn(total[i], __shfl_down_sync(kWholeWarp, total[i], offset));
        if (lane > 0) return;
#pragma unroll
        for (int i = 0; i < kOfWarp; i++) {
            const int output = warp * kOfWarp + i;
            put_context(output / kOwnChannels, output % kOwnChannels, total[i]);
        }
    }

    __device__ void put_context(int query, int channel, float sum) const
    {
        if (query < rows)
            call.a.y[shared.of.at[query] + rank * kOwnChannels + channel] = qp_bf16_from_f32(sum); /* R1 */
    }

    /* L3, and the result. */
    __device__ void fold_context(const lane_state &state)
    {
        const int lanes = order.context.lanes, at_once = kDecodeThreads / lanes, pair = thread % kPairs;
#pragma unroll
        for (int query = 0; query < kRows; query++) {
            if (!own_query(query)) continue;
            float *to = &shared.sums.of_lane[own_lane()][query * kOwnChannels + 2 * pair];
            to[0] = state.sum[query][0], to[1] = state.sum[query][1];
        }
        __syncthreads();
        for (int base = 0; base < shared_t::kOutputs; base += at_once) {
            const int output = base + thread / lanes; /* all threads have to fold */
            const float total = fold_lanes(
                output < shared_t::kOutputs ? shared.sums.of_lane[thread % lanes][output] : 0.0f, order.context);
            if (thread % lanes == 0 && output < shared_t::kOutputs)
                put_context(output / kOwnChannels, output % kOwnChannels, total);
        }
    }

    /* take(slot, probabilities, stride, chunk, more) for each stage. more: the next one's probabilities have to be
     * fetched. */
    template <class Take> __device__ void each_chunk(Take take)
    {
        if (!kLean && !whole) fetch_probabilities(0, thread, kDecodeThreads);
        for (int chunk = 0; chunk < stages; chunk++) {
            next_stage(stages + chunk);
            take(slot_of(stages + chunk), kLean || whole ? scores + chunk * kStagePositions : fetched_chunk(chunk),
                 kLean || whole ? call.layout.score_stride : kChunkStride, chunk,
                 !kLean && !whole && chunk + 1 < stages);
        }
    }

    __device__ void context_stages()
    {
        if (order.context.lanes == QP_MAX_LANES && order.context.run == kUsualRun &&
            order.context.fold == QP_FOLD_HALVES) {
            float sum[kRows][2] = {};
            each_chunk([&](unsigned char *slot, const qp_bf16 *probabilities, int stride, int chunk, bool more) {
                if (!kLean && more) fetch_probabilities(chunk + 1, thread, kDecodeThreads);
                usual_lane_context(sum, slot, probabilities, stride,
                                   min(kStagePositions, keys - chunk * kStagePositions));
            });
            fold_usual_context(sum);
        } else if (!kLean && order.context.lanes) {
            lane_state state = {};
            state.next = own_lane() * order.context.run, state.left = order.context.run; /* L1 */
            each_chunk([&](unsigned char *slot, const qp_bf16 *probabilities, int stride, int chunk, bool more) {
                if (!kLean && more) fetch_probabilities(chunk + 1, thread, kDecodeThreads);
                const int start = chunk * kStagePositions;
                lane_context(state, slot, probabilities, stride, start, min(keys, start + kStagePositions));
            });
            fold_context(state);
        } else {
            float sum[4] = {};
            each_chunk([&](unsigned char *slot, const qp_bf16 *probabilities, int stride, int chunk, bool more) {
                const int of_chunk = positions_in(chunk) / QP_BLOCK_K;
                if (warp == 0 && !kLean && order.context.narrow)
                    tile_context<true>(sum, slot, probabilities, stride, of_chunk);
                else if (warp == 0)
                    tile_context<false>(sum, slot, probabilities, stride, of_chunk);
                else if (!kLean && more)
                    fetch_probabilities(chunk + 1, thread - kWarp, kDecodeThreads - kWarp);
            });
            if (warp > 0) return;
#pragma unroll
            for (int i = 0; i < 4; i++) put_context(2 * lane_quad() + i % 2, lane_row() + i / 2 * 8, sum[i]);
        }
    }

  public:
    __device__ decode_pass(const cluster_call<Rows> &call, shared_t &shared, unsigned char *memory)
        : call(call), shared(shared), ring(memory),
          scores(reinterpret_cast<qp_bf16 *>(memory + call.layout.slots * call.layout.slot_bytes)),
          fetched(scores + kRows * call.layout.score_stride), of_scores(scores_args(call.a)), keys(call.keys()),
          order(call.order(keys)), tokens(static_cast<int>(call.a.tokens)), past(keys - tokens),
          place(keys, order.context), queries(call, static_cast<int>(blockIdx.x) / kCluster, kRows), rows(queries.rows)
    {
        rank = static_cast<int>(cluster.block_rank());
        blocks = place.blocks();
        share = (blocks - rank + kCluster - 1) / kCluster;
        stages = (blocks + kStageBlocks - 1) / kStageBlocks;
        whole = kLean || keys <= kWholeKeys;
        of_scores.keys_count = keys;
        if (thread < kRows) queries.put(shared.of, thread, call);
        if (!kLean && order.scores.lanes) own_place = lane_place(thread % kHeadDim);
    }

    /* What may be done while the kernel before this one runs. */
    __device__ void prepare()
    {
        for (int stage = 0; stage < kSlots; stage++) {
            if (stage < 2 * stages) fetch(stage, past);
            group_copies();
        }
        cluster.sync(); /* every block runs, so that its shared memory may be written */
    }

    __device__ void run()
    {
        score_stages();
        if (kLean || whole) {
            cluster.sync(); /* all scores are here */
            whole_softmax();
            context_stages();
        } else {
            share_largest();
            cluster.sync(); /* all scores are written, and all maxima */
            share_totals();
            cluster.sync(); /* all totals; nobody reads scores any more */
            own_probabilities();
            cluster.sync(); /* all probabilities */
            context_stages();
            cluster.sync(); /* nobody reads them any more: the block may end */
        }
    }
};

template <int kRows, class Rows, bool kLean>
__global__ void __launch_bounds__(kDecodeThreads, kLean ? 2 : 1) decode(const __grid_constant__ cluster_call<Rows> call)
{
    extern __shared__ uint4 decode_memory[];
    __shared__ decode_shared<kRows> shared;
    allow_successor();
    decode_pass<kRows, Rows, kLean> pass(call, shared, reinterpret_cast<unsigned char *>(decode_memory));
    if constexpr (!Rows::kEarly) wait_for_predecessor();
    pass.prepare();
    if constexpr (Rows::kEarly) wait_for_predecessor();
    pass.run();
}

/* ---- How it is launched ---- */

constexpr int64_t kDecodeQueries = 64; /* the most that the clusters of a key head take */

template <int kRows> size_t decode_bytes(const qp_gqa_attention_args &a)
{
    return decode_layout_for(a.keys_count, kRows).bytes + sizeof(decode_shared<kRows>);
}

/* By the decode kernel for `rows` queries a cluster, or not at all (0). */
inline int decode_rows(const qp_gqa_attention_args &a)
{
    const int64_t queries = a.query_heads / a.key_heads * a.tokens;
    if (!fast_shape(a) || queries > kDecodeQueries) return 0;
    if (queries > 4 && decode_bytes<8>(a) <= kSharedBytes) return 8;
    if (queries > 2 && decode_bytes<4>(a) <= kSharedBytes) return 4;
    return decode_bytes<2>(a) <= kSharedBytes ? 2 : 0;
}

/* Whether a kernel knows the call's order, at each length that it may be replayed for. */
inline bool knows_all(bool (*knows)(const qp_attention_order &), const qp_call *call, const qp_gqa_attention_args &a)
{
    const qp_replay *replay = call->launch->replay;
    if (!replay) return knows({ a.order, a.context_order });
    for (int64_t keys = a.tokens; keys <= a.keys_count; keys++)
        if (!knows(replay->orders_on_host[keys])) return false;
    return true;
}

template <int kRows, class Rows>
qp_status launch_decode_of(const qp_call *call, const char *operation, const qp_gqa_attention_args &a, const Rows &row,
                           int64_t sequences, bool lean)
{
    const cluster_call<Rows> c = { make_decode_call(call, a, row, kRows), decode_layout_for(a.keys_count, kRows) };
    const dim3 blocks(static_cast<unsigned>(sequences * a.key_heads * c.query_tiles * kCluster));
    return launch_dependent(call, operation, lean ? decode<kRows, Rows, true> : decode<kRows, Rows, false>,
                            { blocks, dim3(kDecodeThreads), c.layout.bytes, kCluster }, c);
}

template <int kRows, class Rows>
qp_status launch_short_of(const qp_call *call, const char *operation, const qp_gqa_attention_args &a, const Rows &row,
                          int64_t sequences)
{
    const short_call<Rows> c(make_decode_call(call, a, row, kRows), kRows);
    const auto blocks = static_cast<unsigned>(sequences * a.key_heads * c.query_tiles * kSlices);
    const size_t bytes = blocks <= kMultiprocessors && c.bytes < kShortLeast ? kShortLeast : c.bytes;
    return launch_dependent(call, operation, short_decode<kRows, Rows>, { blocks, kShortThreads, bytes, 1 }, c);
}

/* With as few queries a block as leave no multiprocessor more than one block. */
template <class Rows>
qp_status launch_short(const qp_call *call, const char *operation, const qp_gqa_attention_args &a, const Rows &row,
                       int64_t sequences)
{
    const int64_t queries = a.query_heads / a.key_heads * a.tokens;
    const auto do_for = [&](int64_t rows) {
        return queries <= rows || sequences * a.key_heads * tiles_for(queries, rows) * kSlices <= kMultiprocessors;
    };
    if (do_for(1)) return launch_short_of<1>(call, operation, a, row, sequences);
    if (do_for(2)) return launch_short_of<2>(call, operation, a, row, sequences);
    if (do_for(4)) return launch_short_of<4>(call, operation, a, row, sequences);
    return launch_short_of<8>(call, operation, a, row, sequences);
}

/* For `sequences` calls like `a` in one launch; decode_rows(a) is not 0. */
template <class Rows>
qp_status launch_decode(const qp_call *call, const char *operation, const qp_gqa_attention_args &a, const Rows &row,
                        int64_t sequences)
{
    if (a.keys_count <= kShortKeys && knows_all(is_short, call, a))
        return launch_short(call, operation, a, row, sequences);
    const bool lean = a.keys_count <= kWholeKeys && knows_all(is_lean, call, a);
    switch (decode_rows(a)) {
    case 8: return launch_decode_of<8>(call, operation, a, row, sequences, lean);
    case 4: return launch_decode_of<4>(call, operation, a, row, sequences, lean);
    default: return launch_decode_of<2>(call, operation, a, row, sequences, lean);
    }
}

} // namespace qp::attention

#endif
