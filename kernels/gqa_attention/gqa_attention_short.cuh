/* gqa_attention for few queries and few keys, in the orders that is_short knows: no block waits for another. Eight blocks
 * take up to kRows queries that share a key head, 16 channels of the context each; each has all keys in its shared memory,
 * and computes all scores and the whole softmax itself. For few keys that costs less than to exchange scores within a
 * cluster (gqa_attention_decode.cuh) does.
 *
 * Keys and values come before the wait for the kernel before this one, all but the newest: only those are new. In these
 * orders no residue comes first (sum_order.h, T1), so a key's position in its block of 16 is its number. */
#ifndef QP_GQA_ATTENTION_SHORT_CUH
#define QP_GQA_ATTENTION_SHORT_CUH

#include "gqa_attention.cuh"

namespace qp::attention {

constexpr int kShortKeys = 256; /* the most of a call */
/* Of shared memory, for a block, if there are few of them: so that they spread over the multiprocessors. */
constexpr size_t kShortLeast = 112 << 10;
constexpr int kShortWarps = 8, kShortThreads = kShortWarps * kWarp;
constexpr int kSlices = 8, kSliceChannels = kHeadDim / kSlices, kSliceChunks = kSliceChannels / kChunk;
/* Of values: four rows, and a chunk so that ldmatrix finds eight rows, and each lane its run of four, in other banks. */
constexpr int kFourRows = 4, kFourRowsBytes = (kFourRows * kSliceChunks + 1) * kChunkBytes;
constexpr int kBlockValuesBytes = QP_BLOCK_K / kFourRows * kFourRowsBytes; /* of a block of 16 keys */

/* For sums of lanes that are dealt single elements: each thread has all lanes of one, in other banks than the next. */
constexpr int kShortSums = kShortThreads * (kSingleLanes + 1);

static_assert(kSliceChannels == kTileRows, "a block has one tile of channels");

/* How it is called, for up to keys_count keys. */
template <class Rows> struct short_call : decode_call<Rows> {
    int values_at, scores_at, sums_at; /* in shared memory, behind the keys, in bytes */
    int stride;                        /* between the rows of scores, and of probabilities behind them */
    size_t bytes;

    short_call(const decode_call<Rows> &call, int rows) : decode_call<Rows>(call)
    {
        const int blocks = static_cast<int>(tiles_for(call.a.keys_count, QP_BLOCK_K));
        values_at = blocks * QP_BLOCK_K * kHeadBytes;
        scores_at = values_at + blocks * kBlockValuesBytes;
        stride = blocks * QP_BLOCK_K + kChunk; /* so that the rows of a matrix are in different banks */
        sums_at = scores_at + 2 * rows * stride * static_cast<int>(sizeof(qp_bf16));
        bytes = static_cast<size_t>(sums_at + kShortSums * static_cast<int>(sizeof(float)));
    }
};

template <int kRows, class Rows> class short_pass
{
    struct piece_copy {
        const qp_bf16 *from;
        uint4 *to;
    };

    const short_call<Rows> &call;
    decode_queries<kRows> &of;
    unsigned char *const all_keys, *const all_values;
    qp_bf16 *const scores, *const probabilities;
    float *const sums; /* [kShortSums] */
    const int keys, tokens, past, blocks, slice;
    const qp_attention_order order;
    const decode_place queries;
    const int rows;
    qp_scores_args of_scores;
    piece_copy first_newest = {};
    const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
    const int warp =
        __shfl_sync(kWholeWarp, thread / kWarp, 0); /* so that the compiler knows it to be the whole warp's */

    __device__ uint4 *value_chunk(int row, int chunk) const
    {
        return reinterpret_cast<uint4 *>(all_values + row / kFourRows * kFourRowsBytes) +
               row % kFourRows * kSliceChunks + chunk;
    }
    __device__ const qp_bf16 *value_row(typename Rows::span &span, int key) const
    {
        return call.a.values + queries.row_of(call, key, span) + slice * kSliceChannels;
    }

    /* A piece of the newest keys and values. */
    static constexpr int kNewestPieces = kHeadChunks + kSliceChunks;
    __device__ piece_copy newest(int piece) const
    {
        typename Rows::span span = {};
        const int key = past + piece / kNewestPieces, chunk = piece % kNewestPieces, of_values = chunk - kHeadChunks;
        return of_values < 0 ? piece_copy{ call.a.keys + queries.row_of(call, key, span) + chunk * kChunk,
                                           head_chunk(all_keys, key, chunk) }
                             : piece_copy{ value_row(span, key) + of_values * kChunk, value_chunk(key, of_values) };
    }
    /* Starts to fetch them, first the piece whose places were worked out before the wait. */
    __device__ void fetch_newest() const
    {
        if (thread < tokens * kNewestPieces) copy_async(first_newest.to, first_newest.from);
#pragma unroll 1
        for (int piece = thread + kShortThreads; piece < tokens * kNewestPieces; piece += kShortThreads) {
            const piece_copy more = newest(piece);
            copy_async(more.to, more.from);
        }
    }
    __device__ static void await_keys()
    {
        wait_for_copies();
        __syncthreads();
    }

    /* ---- The scores ---- */

    /* R1 to R3. */
    __device__ void put_score(int key, int query, float sum) const
    {
        if (query < rows && key < keys)
            scores[query * call.stride + key] = scale_and_mask(of_scores, qp_bf16_from_f32(sum), of.token[query], key);
    }

    /* A warp: blocks of 16 keys on the tensor core. A is the keys, B the queries. */
    __device__ void tile_scores() const
    {
        tile_queries q;
        q.load(call.a.q, of, rows);
        await_keys();
        for (int block = warp; block < blocks; block += kShortWarps) {
            float sum[4] = {};
            q.multiply(sum, all_keys, block * QP_BLOCK_K, false);
#pragma unroll
            for (int i = 0; i < 4; i++)
                put_score(block * QP_BLOCK_K + lane_row() + i / 2 * 8, 2 * lane_quad() + i % 2, sum[i]);
        }
    }

    /* All threads: each lane of the order has kRun elements of the queries in registers, and sums those of a few keys. */
    template <int kRun> __device__ void run_scores() const
    {
        constexpr int kLanes = kHeadDim / kRun, kTeams = kShortThreads / kLanes, kKeys = kRows < 8 ? 8 / kRows : 1;
        constexpr int kSums = kKeys * kRows, kShared = kLanes / kSums; /* lanes that end with the same sum */
        const int own = thread % kLanes, padded = blocks * QP_BLOCK_K;
        uint2 bits[kRows][kRun / 4];
#pragma unroll
        for (int r = 0; r < kRows; r++)
#pragma unroll
            for (int i = 0; i < kRun / 4; i++)
                bits[r][i] = __ldcg(reinterpret_cast<const uint2 *>(call.a.q + of.at[r] + own * kRun) + i);
        await_keys();
        float q[kRows][kRun];
#pragma unroll
        for (int r = 0; r < kRows; r++)
#pragma unroll
            for (int i = 0; i < kRun; i++) {
                const uint32_t pair = i / 2 % 2 ? bits[r][i / 4].y : bits[r][i / 4].x;
                q[r][i] = i % 2 ? high_of(pair) : low_of(pair);
            }
        for (int base = 0; base < padded; base += kKeys * kTeams) {
            float sum[kSums] = {};
#pragma unroll
            for (int n = 0; n < kKeys; n++) {
                const int key = base + n * kTeams + thread / kLanes;
                if (base + n * kTeams >= padded) break; /* all threads */
                uint32_t pairs[kRun / 2];
                load_run<kRun>(pairs, all_keys, key, own);
                float k[kRun];
#pragma unroll
                for (int i = 0; i < kRun; i++) k[i] = i % 2 ? high_of(pairs[i / 2]) : low_of(pairs[i / 2]);
#pragma unroll
                for (int i = 0; i < kRun; i++)
#pragma unroll
                    for (int r = 0; r < kRows; r++) /* L2 */
                        sum[n * kRows + r] = __fmaf_rn(q[r][i], k[i], sum[n * kRows + r]);
            }
            fold_lanes_together<kLanes>(sum); /* L3 */
            const int mine = own / kShared;
            if (own % kShared == 0) put_score(base + mine / kRows * kTeams + thread / kLanes, mine % kRows, sum[0]);
        }
    }

    /* L3, of a sum's lanes. */
    __device__ float fold_single_lanes(const float *of_lane) const
    {
        constexpr int kLanes = kSingleLanes;
        float sum[kLanes];
#pragma unroll
        for (int l = 0; l < kLanes; l++) sum[l] = of_lane[l];
        if (order.scores.fold == QP_FOLD_IN_TURN) {
#pragma unroll
            for (int l = 1; l < kLanes; l++) sum[0] = __fadd_rn(sum[0], sum[l]);
            return sum[0];
        }
#pragma unroll
        for (int offset = kLanes / 2; offset > 0; offset /= 2)
#pragma unroll
            for (int l = 0; l < kLanes / 2; l++)
                if (l < offset) sum[l] = __fadd_rn(sum[l], sum[l + offset]);
        return sum[0];
    }

    /* All threads: lanes that are dealt single elements. A thread has two neighbouring lanes of a few keys' sums, then all
     * lanes of one of them, by way of shared memory. */
    __device__ void single_scores() const
    {
        constexpr int kLanes = kSingleLanes, kTurns = kHeadDim / kLanes, kStride = kLanes + 1;
        constexpr int kTeam = kLanes / 2, kTeams = kShortThreads / kTeam;
        constexpr int kRowsAtOnce = kRows < 2 ? kRows : 2 /* more need more registers */, kKeys = kTeam / kRowsAtOnce;
        const int own = thread % kTeam, team = thread / kTeam, padded = blocks * QP_BLOCK_K;
        float *const of_team = sums + team * kTeam * kStride;
        for (int first = 0; first < kRows; first += kRowsAtOnce) {
            uint32_t q[kRowsAtOnce][kTurns];
#pragma unroll
            for (int r = 0; r < kRowsAtOnce; r++)
#pragma unroll
                for (int turn = 0; turn < kTurns; turn++)
                    q[r][turn] =
                        __ldcg(reinterpret_cast<const unsigned *>(call.a.q + of.at[first + r] + turn * kLanes) + own);
            if (first == 0) await_keys();
            for (int base = 0; base < padded; base += kKeys * kTeams) {
#pragma unroll 1
                for (int n = 0; n < kKeys && base + n * kTeams < padded; n++) {
                    const int key = min(base + n * kTeams + team, padded - 1);
                    float sum[kRowsAtOnce][2] = {};
#pragma unroll
                    for (int turn = 0; turn < kTurns; turn++) {
                        const int element = turn * kLanes + 2 * own;
                        const uint32_t k = reinterpret_cast<const uint32_t *>(
                            head_chunk(all_keys, key, element / kChunk))[element % kChunk / 2];
#pragma unroll
                        for (int r = 0; r < kRowsAtOnce; r++) { /* L2 */
                            sum[r][0] = __fmaf_rn(low_of(q[r][turn]), low_of(k), sum[r][0]);
                            sum[r][1] = __fmaf_rn(high_of(q[r][turn]), high_of(k), sum[r][1]);
                        }
                    }
#pragma unroll
                    for (int r = 0; r < kRowsAtOnce; r++)
#pragma unroll
                        for (int i = 0; i < 2; i++)
                            of_team[(n * kRowsAtOnce + r) * kStride + 2 * own + i] = sum[r][i];
                }
                __syncwarp();
                put_score(base + own / kRowsAtOnce * kTeams + team, first + own % kRowsAtOnce,
                          fold_single_lanes(of_team + own * kStride));
                __syncwarp();
            }
        }
    }

    /* ---- The softmax ---- */

    /* A row has kShortWarps / kRows warps: each sums it, and writes its share. */
    __device__ void softmax() const
    {
        constexpr int kMost = kShortKeys / kWarp, kParts = kShortWarps / kRows;
        const int query = warp % kRows, part = warp / kRows;
        if (query >= rows) return;
        const qp_bf16 *of_query = scores + query * call.stride;
        float x[kMost], max = -INFINITY, sum = 0.0f;
#pragma unroll
        for (int i = 0; i < kMost; i++) {
            const int key = i * kWarp + lane;
            x[i] = key < keys ? qp_bf16_to_f32(of_query[key]) : -INFINITY;
            max = fmaxf(max, x[i]);
        }
        max = largest_of_warp(max);
#pragma unroll
        for (int i = 0; i < kMost; i++) x[i] = exponential(x[i], max); /* of no key: 0, which changes no sum */
#pragma unroll
        for (int i = 0; i < kMost; i++) sum = __fadd_rn(sum, x[i]);
        sum = fold_warp_for_all(sum);
#pragma unroll
        for (int i = 0; i < kMost; i += kParts) {
            float own = x[i];
#pragma unroll
            for (int n = 1; n < kParts; n++) own = part == n ? x[i + n] : own;
            const int key = (i + part) * kWarp + lane;
            const qp_bf16 probability = qp_bf16_from_f32(__fdiv_rn(own, sum)); /* R3, R4 */
            if (key < blocks * QP_BLOCK_K)
                probabilities[query * call.stride + key] = key < keys ? probability : qp_bf16{ 0 };
        }
    }

    /* ---- The context ---- */

    /* One warp, on the tensor core. A is the channels, B the queries. */
    __device__ void tile_context() const
    {
        constexpr int kAtOnce = 8;
        const int chunk = lane / 8 % 2, query = min(lane % 8, kRows - 1);
        const uint32_t a = shared_address(value_chunk(lane % 8 + lane / QP_BLOCK_K * 8, chunk)),
                       b = shared_address(probabilities + query * call.stride + chunk * kChunk);
        float sum[4] = {};
        for (int base = 0; base < blocks; base += kAtOnce) {
            uint32_t of_values[kAtOnce][4], of_keys[kAtOnce][2];
#pragma unroll
            for (int i = 0; i < kAtOnce; i++) {
                if (base + i >= blocks) break;
                load_matrices_transposed(of_values[i], a + (base + i) * kBlockValuesBytes);
                load_two_matrices(of_keys[i], b + (base + i) * QP_BLOCK_K * static_cast<int>(sizeof(qp_bf16)));
            }
#pragma unroll
            for (int i = 0; i < kAtOnce; i++) {
                if (base + i >= blocks) break;
                block_fma(sum, of_values[i], of_keys[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int of_query = 2 * lane_quad() + i % 2, channel = lane_row() + i / 2 * 8;
            if (of_query < rows)
                call.a.y[of.at[of_query] + slice * kSliceChannels + channel] = qp_bf16_from_f32(sum[i]); /* R1 */
        }
    }

    /* All warps: each has a query and some channels; its threads are the lanes of the order, in runs of 4 keys. */
    __device__ void run_context() const
    {
        constexpr int kRun = kUsualRun, kOwn = kSliceChannels * kRows / kShortWarps, kWords = kOwn / 2;
        static_assert(QP_MAX_LANES == kWarp && kFourRows == kRun, "a lane's run lies in one piece");
        const int query = warp % kRows, first = warp / kRows * kOwn;
        float sum[kOwn] = {};
        for (int start = lane * kRun; start < keys; start += kWarp * kRun) {
            const uint2 p = *reinterpret_cast<const uint2 *>(probabilities + query * call.stride + start);
            const float of_key[kRun] = { low_of(p.x), high_of(p.x), low_of(p.y), high_of(p.y) };
#pragma unroll
            for (int i = 0; i < kRun; i++) {
                struct alignas(kOwn < kChunk ? 2 * kOwn : kChunkBytes) words {
                    uint32_t pair[kWords];
                };
                const words v = *reinterpret_cast<const words *>(
                    reinterpret_cast<const qp_bf16 *>(value_chunk(start + i, 0)) + first);
                if (start + i >= keys) continue;
#pragma unroll
                for (int c = 0; c < kOwn; c++) /* L2 */
                    sum[c] = __fmaf_rn(of_key[i], c % 2 ? high_of(v.pair[c / 2]) : low_of(v.pair[c / 2]), sum[c]);
            }
        }
        fold_lanes_together<kWarp>(sum); /* L3 */
        constexpr int kShared = kWarp / kOwn;
        if (lane % kShared == 0 && query < rows)
            call.a.y[of.at[query] + slice * kSliceChannels + first + lane / kShared] =
                qp_bf16_from_f32(sum[0]); /* R1 */
    }

  public:
    __device__ short_pass(const short_call<Rows> &call, decode_queries<kRows> &of, unsigned char *memory)
        : call(call), of(of), all_keys(memory), all_values(memory + call.values_at),
          scores(reinterpret_cast<qp_bf16 *>(memory + call.scores_at)), probabilities(scores + kRows * call.stride),
          sums(reinterpret_cast<float *>(memory + call.sums_at)),
          keys(call.keys()), tokens(static_cast<int>(call.a.tokens)), past(keys - tokens),
          blocks((keys + QP_BLOCK_K - 1) / QP_BLOCK_K), slice(static_cast<int>(blockIdx.x) % kSlices),
          order(call.order(keys)), queries(call, static_cast<int>(blockIdx.x) / kSlices, kRows), rows(queries.rows),
          of_scores(scores_args(call.a))
    {
        of_scores.keys_count = keys;
        if (thread < kRows) queries.put(of, thread, call);
    }

    /* What may be done while the kernel before this one runs. Values past the last key are zeros, for the tensor core. */
    __device__ void prepare()
    {
        typename Rows::span span = {};
        for (int piece = thread; piece < past * kHeadChunks; piece += kShortThreads) {
            const int key = piece / kHeadChunks, chunk = piece % kHeadChunks;
            copy_async(head_chunk(all_keys, key, chunk),
                       call.a.keys + queries.row_of(call, key, span) + chunk * kChunk);
        }
        span = {};
        for (int piece = thread; piece < blocks * QP_BLOCK_K * kSliceChunks; piece += kShortThreads) {
            const int key = piece / kSliceChunks, chunk = piece % kSliceChunks;
            if (key < past || key >= keys)
                copy_async(value_chunk(key, chunk), value_row(span, min(key, keys - 1)) + chunk * kChunk, key < past);
        }
        if (thread < tokens * kNewestPieces) first_newest = newest(thread);
        wait_for_copies();
        __syncthreads(); /* the places of the queries are there */
    }

    __device__ void run() const
    {
        fetch_newest();
        if (order.scores.lanes == 0)
            tile_scores();
        else if (order.scores.run == kChunk)
            run_scores<kChunk>();
        else if (order.scores.run == kChunk / 2)
            run_scores<kChunk / 2>();
        else
            single_scores();
        __syncthreads();
        softmax();
        __syncthreads();
        if (order.context.lanes)
            run_context();
        else if (warp == 0)
            tile_context();
    }
};

template <int kRows, class Rows>
__global__ void __launch_bounds__(kShortThreads, 2) short_decode(const __grid_constant__ short_call<Rows> call)
{
    extern __shared__ uint4 short_memory[];
    __shared__ decode_queries<kRows> of;
    short_pass<kRows, Rows> pass(call, of, reinterpret_cast<unsigned char *>(short_memory));
    if constexpr (!Rows::kEarly) wait_for_predecessor();
    pass.prepare();
    if constexpr (Rows::kEarly) wait_for_predecessor();
    allow_successor(); /* not earlier: what the next kernels fetch is more, and would come first */
    pass.run();
}

} // namespace qp::attention

#endif
