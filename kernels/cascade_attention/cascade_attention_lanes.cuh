/* cascade_attention where cuBLAS sums without tensor cores (sum_order.h, L1 to L3): the kernels 1, 3 and 4 of
 * cascade_attention.cuh by lanes. A thread takes a few keys or channels of a few columns, so that an element is read from
 * shared memory once for several products; elements are widened to f32 on their way there. */
#ifndef QP_CASCADE_ATTENTION_LANES_CUH
#define QP_CASCADE_ATTENTION_LANES_CUH

#include "cascade_attention.cuh"

namespace qp::cascade {

/* Eight bf16 as f32: take(i, value). */
template <class Take> __device__ __forceinline__ void each_of_chunk(const uint4 &chunk, Take take)
{
    const uint32_t pairs[4] = { chunk.x, chunk.y, chunk.z, chunk.w };
#pragma unroll
    for (int i = 0; i < 4; i++) take(2 * i, low_of(pairs[i])), take(2 * i + 1, high_of(pairs[i]));
}

/* The same side by side, at a multiple of 16 bytes. */
__device__ __forceinline__ void put_chunk(float *to, const uint4 &chunk)
{
    reinterpret_cast<float4 *>(to)[0] = float4{ low_of(chunk.x), high_of(chunk.x), low_of(chunk.y), high_of(chunk.y) };
    reinterpret_cast<float4 *>(to)[1] = float4{ low_of(chunk.z), high_of(chunk.z), low_of(chunk.w), high_of(chunk.w) };
}

/* Four f32 from a multiple of 16 bytes, in one access. */
__device__ __forceinline__ void take_quad(float *to, const float *from)
{
    const float4 x = *reinterpret_cast<const float4 *>(from);
    to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}

__device__ __forceinline__ uint4 load_chunk(const qp_bf16 *p) { return __ldcg(reinterpret_cast<const uint4 *>(p)); }

/* ---- 1: scores ---- */

constexpr int kLaneTile = 4, kLaneKeyTile = 2 * kLaneTile; /* columns and keys of a thread */
constexpr int kKeyGroups = kScoreKeys / kLaneKeyTile, kLaneScoreThreads = kKeyGroups * kScoreColumns / kLaneTile;
constexpr int kFoldLevels = 5; /* of QP_MAX_LANES lanes */
constexpr size_t kLaneScoreBytes = 2 * kHeadDim * kScoreKeys * sizeof(float);

static_assert(1 << kFoldLevels == QP_MAX_LANES, "a level halves the lanes");
static_assert(kLaneTile == 4, "the scores of so many keys are written at once");

/* Lanes with as many elements of a head each. */
inline bool lanes_fit_head(const qp_sum_order &order) { return kHeadDim % (order.lanes * order.run) == 0; }

/* The elements of a head lie lane after lane. Folded by halves, lanes come in the order of their reversed bits: then those
 * that are added first are neighbours, and a sum waits for its partner in the place of its level. A thread has four keys,
 * the four that lie half a tile further on, and four columns. kLanes: so many, which fold by halves, and the compiler knows
 * the place of nearly every sum; or 0, any. */
template <int kLanes>
__global__ void __launch_bounds__(kLaneScoreThreads, 2) cascade_lane_scores(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    float(*const keys)[kScoreKeys] = reinterpret_cast<float(*)[kScoreKeys]>(cascade_memory);
    float(*const queries)[kScoreColumns] = keys + kHeadDim;
    __shared__ int place_of[kHeadDim];
    allow_successor();
    wait_for_predecessor();

    const score_item item(c);
    const positions place = c.place();
    const int lanes = kLanes ? kLanes : c.a.order.lanes, run = c.a.order.run, elements = kHeadDim / lanes;
    const bool halves = kLanes || c.a.order.fold == QP_FOLD_HALVES;
    const int thread = static_cast<int>(threadIdx.x);
    static_assert(kLaneScoreThreads == kHeadDim, "a thread finds the place of an element");
    {
        int lane = thread / run % lanes, number = 0; /* L1 */
        if (halves)
            for (int bit = 1; bit < lanes; bit *= 2, lane /= 2) number = 2 * number + lane % 2;
        else
            number = lane;
        place_of[thread] = number * elements + thread / (run * lanes) * run + thread % run;
    }
    __syncthreads();

    constexpr int kAtOnce = kLaneScoreThreads / kScoreKeys, kOwnChunks = kHeadChunks / kAtOnce;
    const int own = thread % kScoreKeys, first_chunk = thread / kScoreKeys * kOwnChunks;
    const auto load = [&](float(*to)[kScoreKeys], const qp_bf16 *from) {
        uint4 chunks[kOwnChunks];
#pragma unroll
        for (int i = 0; i < kOwnChunks; i++) chunks[i] = load_chunk(from + (first_chunk + i) * kChunk);
#pragma unroll
        for (int i = 0; i < kOwnChunks; i++)
            each_of_chunk(chunks[i], [&](int n, float x) { to[place_of[(first_chunk + i) * kChunk + n]][own] = x; });
    };
    const int key = own < item.count ? place.key_at(item.start + own) : -1; /* a zero's score does not matter */
    rows_of_pieces::span known = {};
    load(keys, c.a.keys + c.key_at(item.head, item.sequence, max(key, 0), known));

    constexpr int kHalf = kScoreKeys / 2;
    const int first_key = thread % kKeyGroups * kLaneTile, of_tile = thread / kKeyGroups * kLaneTile;
    for (int tile = 0; tile < item.columns; tile += kScoreColumns) {
        __syncthreads(); /* the tile before has been read */
        load(queries, c.a.q + c.query_at(item.head, item.first_column + min(tile + own, item.columns - 1)));
        __syncthreads();
        if (tile + of_tile >= item.columns || first_key >= item.count) continue;

        float waiting[kFoldLevels][kLaneKeyTile][kLaneTile], sum[kLaneKeyTile][kLaneTile];
        const auto each = [&](auto take) {
#pragma unroll
            for (int i = 0; i < kLaneKeyTile; i++)
#pragma unroll
                for (int n = 0; n < kLaneTile; n++) take(i, n);
        };
        constexpr int kUnrolled = kLanes ? kLanes / 2 : 1;
        for (int first_lane = 0; first_lane < lanes; first_lane += kUnrolled)
#pragma unroll
            for (int l = 0; l < kUnrolled; l++) {
                const int lane = first_lane + l;
                each([&](int i, int n) { sum[i][n] = 0.0f; });
#pragma unroll(kLanes ? kHeadDim / kLanes : 4)
                for (int k = lane * elements; k < (lane + 1) * elements; k++) {
                    float of_keys[kLaneKeyTile], of_queries[kLaneTile];
                    take_quad(of_keys, &keys[k][first_key]);
                    take_quad(of_keys + kLaneTile, &keys[k][kHalf + first_key]);
                    take_quad(of_queries, &queries[k][of_tile]);
                    each([&](int i, int n) { sum[i][n] = __fmaf_rn(of_queries[n], of_keys[i], sum[i][n]); }); /* L2 */
                }
                if (!halves) { /* L3 */
                    if (lane > 0) each([&](int i, int n) { sum[i][n] = __fadd_rn(waiting[0][i][n], sum[i][n]); });
                    each([&](int i, int n) { waiting[0][i][n] = sum[i][n]; });
                    continue;
                }
                bool open = true;
#pragma unroll
                for (int level = 0; level < kFoldLevels; level++) {
                    if (!open) continue;
                    open = (kUnrolled >> level > 1 ? l : lane) >> level & 1;
                    if (open)
                        each([&](int i, int n) { sum[i][n] = __fadd_rn(waiting[level][i][n], sum[i][n]); });
                    else
                        each([&](int i, int n) { waiting[level][i][n] = sum[i][n]; });
                }
            } /* the last lane completes the sum */
#pragma unroll
        for (int n = 0; n < kLaneTile; n++) {
            if (tile + of_tile + n >= item.columns) continue;
            qp_bf16 *const row =
                c.score_row(item.head, item.first_column + tile + of_tile + n) + item.start + first_key;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                if (half * kHalf + first_key >= item.count) continue;
                const int i = half * kLaneTile;
                *reinterpret_cast<uint2 *>(row + half * kHalf) =
                    make_uint2(pair_of_scores(sum[i][n], sum[i + 1][n], c.a.scale),
                               pair_of_scores(sum[i + 2][n], sum[i + 3][n], c.a.scale));
            }
        }
    }
}

/* ---- 3: the sums of the lanes over the shared keys ---- */

constexpr int kLaneKeys = 32;            /* of a lane that are in shared memory at a time */
constexpr int kLaneSide = 2 * kLaneTile; /* channels and columns of a thread */
template <int kColumns> constexpr int kLaneContextThreads = kColumns *kHeadDim / (kLaneSide * kLaneSide);

/* A block has a lane, all channels, and kColumns columns; a thread four channels and the four that lie 64 further on, and
 * four columns and the four that lie half the block's further on. */
template <int kColumns>
__global__ void __launch_bounds__(kLaneContextThreads<kColumns>)
    cascade_lane_shared_context(const __grid_constant__ cascade_call c)
{
    constexpr int kThreads = kLaneContextThreads<kColumns>;
    constexpr int kValueChunks = kLaneKeys * kHeadChunks / kThreads, /* of a thread */
        kProbabilityChunks = kLaneKeys * kColumns / kChunk / kThreads;
    constexpr int kGroups = kHeadDim / kLaneSide, kHalf = kHeadDim / 2, kHalfColumns = kColumns / 2;
    static_assert(kThreads % kColumns == 0, "a thread has probabilities of one column");
    alignas(16) __shared__ float values[kLaneKeys][kHeadDim];
    alignas(16) __shared__ float probabilities[kLaneKeys][kColumns];
    const int lanes = c.dealt.lanes, number = static_cast<int>(blockIdx.x), lane = number % lanes,
              head = number / lanes % c.heads(), first_column = number / lanes / c.heads() * kColumns;
    const int thread = static_cast<int>(threadIdx.x), count = c.dealt.count(lane, c.split);
    const int own_channel = thread % kGroups * kLaneTile, own_column = thread / kGroups * kLaneTile;

    uint4 of_values[kValueChunks], of_probabilities[kProbabilityChunks] = {};
    rows_of_pieces::span known = {};
    /* Those of a key past the end are not used. */
    const auto load_values = [&](int start) {
        const int chunk = thread % kHeadChunks;
#pragma unroll
        for (int i = 0; i < kValueChunks; i++) {
            const int row = thread / kHeadChunks + i * (kThreads / kHeadChunks);
            const int key = c.dealt.key(lane, min(start + row, count - 1));
            of_values[i] = load_chunk(c.a.values + c.key_at(head, 0, key, known) + chunk * kChunk);
        }
    };
    const int probability_column = thread % kColumns;
    const auto probability_key = [&](int i) { return (thread / kColumns + i * (kThreads / kColumns)) * kChunk; };
    const qp_bf16 *const of_column_row =
        c.score_row(head, min(first_column + probability_column, c.columns - 1)) + lane * c.dealt.length;
    const auto load_probabilities = [&](int start) {
#pragma unroll
        for (int i = 0; i < kProbabilityChunks; i++) {
            const int at = start + probability_key(i);
            if (at < count) of_probabilities[i] = load_chunk(of_column_row + at);
        }
    };
    if (count > 0) load_values(0); /* older than the scores */
    wait_for_predecessor();
    allow_successor();
    if (count > 0) load_probabilities(0);

    float sum[kLaneSide][kLaneSide] = {};
    for (int start = 0; start < count; start += kLaneKeys) {
        __syncthreads(); /* what was there before has been read */
#pragma unroll
        for (int i = 0; i < kValueChunks; i++) {
            const int row = thread / kHeadChunks + i * (kThreads / kHeadChunks), chunk = thread % kHeadChunks;
            put_chunk(&values[row][chunk * kChunk], of_values[i]);
        }
#pragma unroll
        for (int i = 0; i < kProbabilityChunks; i++)
            each_of_chunk(of_probabilities[i],
                          [&](int n, float x) { probabilities[probability_key(i) + n][probability_column] = x; });
        __syncthreads();
        if (start + kLaneKeys < count) load_values(start + kLaneKeys), load_probabilities(start + kLaneKeys);
        const int end = min(kLaneKeys, count - start);
#pragma unroll 4
        for (int k = 0; k < end; k++) {
            float of_channel[kLaneSide], of_column[kLaneSide];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                take_quad(of_channel + half * kLaneTile, &values[k][half * kHalf + own_channel]);
                take_quad(of_column + half * kLaneTile, &probabilities[k][half * kHalfColumns + own_column]);
            }
#pragma unroll
            for (int i = 0; i < kLaneSide; i++)
#pragma unroll
                for (int n = 0; n < kLaneSide; n++) /* L2 */
                    sum[i][n] = __fmaf_rn(of_column[n], of_channel[i], sum[i][n]);
        }
    }
#pragma unroll
    for (int n = 0; n < kLaneSide; n++) {
        const int column = first_column + n / kLaneTile * kHalfColumns + own_column + n % kLaneTile;
        if (column >= c.columns) continue;
        float *to = c.sum_row(head, lane, column) + own_channel;
        *reinterpret_cast<float4 *>(to) = float4{ sum[0][n], sum[1][n], sum[2][n], sum[3][n] };
        *reinterpret_cast<float4 *>(to + kHalf) = float4{ sum[4][n], sum[5][n], sum[6][n], sum[7][n] };
    }
}

/* ---- 4: the lanes' sums over a sequence's own keys, and their fold ---- */

constexpr int kLaneWarps = QP_MAX_LANES, kLaneOwnThreads = kLaneWarps * kWarp;
constexpr int kMostChannels = kHeadDim / kWarp; /* of a thread, with as many lanes as warps */
constexpr int kFewestLanes = QP_MAX_LANES / kMostChannels;

static_assert(kTileColumns * kHeadDim <= kLaneOwnThreads, "a thread folds at most one output");

inline size_t lane_own_bytes(const cascade_call &c)
{
    return static_cast<size_t>(c.dealt.lanes) * static_cast<size_t>(c.group) * kHeadDim * sizeof(float);
}

/* A block a sequence and a key head. A lane has one or several warps, which share the channels. */
__global__ void __launch_bounds__(kLaneOwnThreads) cascade_lane_own_context(const __grid_constant__ cascade_call c)
{
    extern __shared__ uint4 cascade_memory[];
    float *const sums = reinterpret_cast<float *>(cascade_memory); /* [lane][column][channel] */
    constexpr int kAtOnce = 4, kKeysAtOnce = 2;                    /* columns; keys whose loads are in flight */
    allow_successor();
    wait_for_predecessor();
    const int heads = c.heads(), head = static_cast<int>(blockIdx.x) % heads,
              sequence = static_cast<int>(blockIdx.x) / heads, first_column = sequence * c.group;
    const int lanes = c.dealt.lanes, keys = static_cast<int>(c.a.keys_count);
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = warp % lanes,
              channels = lanes / kFewestLanes; /* of this thread, a warp apart */
    const int first_channel = warp / lanes * channels * kWarp + thread % kWarp;

    const int outputs = c.group * kHeadDim, first = c.dealt.count(lane, c.split), end = c.dealt.count(lane, keys);
    rows_of_pieces::span known = {};
    for (int base = 0; base < c.group; base += kAtOnce) {
        float sum[kAtOnce][kMostChannels];
#pragma unroll
        for (int column = 0; column < kAtOnce; column++)
#pragma unroll
            for (int i = 0; i < kMostChannels; i++)
                if (base + column < c.group && i < channels)
                    sum[column][i] =
                        __ldcg(c.sum_row(head, lane, first_column + base + column) + first_channel + i * kWarp);
        for (int n = first; n < end; n += kKeysAtOnce) {
            qp_bf16 x[kKeysAtOnce][kMostChannels] = {}, p[kKeysAtOnce][kAtOnce] = {};
#pragma unroll
            for (int k = 0; k < kKeysAtOnce; k++) {
                if (n + k >= end) continue;
                const qp_bf16 *value =
                    c.a.values + c.key_at(head, sequence, c.dealt.key(lane, n + k), known) + first_channel;
#pragma unroll
                for (int i = 0; i < kMostChannels; i++)
                    if (i < channels) x[k][i] = value[i * kWarp];
#pragma unroll
                for (int column = 0; column < kAtOnce; column++)
                    if (base + column < c.group)
                        p[k][column] = c.score_row(head, first_column + base + column)[lane * c.dealt.length + n + k];
            }
#pragma unroll
            for (int k = 0; k < kKeysAtOnce; k++)
#pragma unroll
                for (int column = 0; column < kAtOnce; column++)
#pragma unroll
                    for (int i = 0; i < kMostChannels; i++) /* L2 */
                        if (n + k < end)
                            sum[column][i] =
                                __fmaf_rn(qp_bf16_to_f32(p[k][column]), qp_bf16_to_f32(x[k][i]), sum[column][i]);
        }
#pragma unroll
        for (int column = 0; column < kAtOnce; column++)
#pragma unroll
            for (int i = 0; i < kMostChannels; i++)
                if (base + column < c.group && i < channels)
                    sums[lane * outputs + (base + column) * kHeadDim + first_channel + i * kWarp] = sum[column][i];
    }
    __syncthreads();
    if (thread >= outputs) return;
    float *const own = sums + thread; /* L3: a thread has its output of all lanes */
    if (c.a.context_order.fold == QP_FOLD_IN_TURN) {
        for (int l = 1; l < lanes; l++) own[0] = __fadd_rn(own[0], own[l * outputs]);
    } else {
        for (int offset = lanes / 2; offset > 0; offset /= 2)
            for (int l = 0; l < offset; l++)
                own[l * outputs] = __fadd_rn(own[l * outputs], own[(l + offset) * outputs]);
    }
    c.a.y[c.query_at(head, first_column + thread / kHeadDim) + thread % kHeadDim] = qp_bf16_from_f32(own[0]); /* R1 */
}

} // namespace qp::cascade

#endif
