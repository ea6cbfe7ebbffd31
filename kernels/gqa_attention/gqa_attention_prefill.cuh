/* gqa_attention for many queries, on the tensor core, up to kPrefillKeys keys. A warp has 16 queries of one head, with
 * their tokens; a block's warps share the tiles of 64 keys.
 *
 * No score is kept, so that a block may have many queries, and each key that it loads serves all of them. Each of three
 * passes over the visible keys computes the scores again:
 *   1  the maximum of each row;
 *   2  C2's sum. In S1, lane l adds the keys l, l + 32, ...: a lane is a column of the fragments. In S2, the thread t
 *      of PyTorch's kernel adds t, t + 1024, ...: so the tiles are visited by columns of 1024 keys, and a column of the
 *      fragments is such a thread, whose warp is folded before the next ones begin;
 *   3  probabilities, which are fragments of A for C3.
 * Passes 1 and 2 go by keys, pass 3 by positions (gqa_attention.cuh).
 * The maximum is taken before R1 and R2, which never decrease where the scale is not negative; R3 adds 0 to a key that
 * is not masked, which moves no exponential. A masked key's exponential is +0 and is left out of maximum and sum; that
 * is so unless all scores of a row are infinite or within a few ulps of the least bf16. */
#ifndef QP_GQA_ATTENTION_PREFILL_CUH
#define QP_GQA_ATTENTION_PREFILL_CUH

#include "gqa_attention.cuh"

namespace qp::attention {

constexpr int kPrefillKeys = QP_SOFTMAX_REGISTERS_MAX; /* S1 and S2 */
constexpr int kTileKeys = 64, kTileParts = kTileKeys / kTileColumns, kTileBytes = kTileKeys * kHeadBytes;
constexpr int kColumnTiles = QP_SOFTMAX_THREADS / kTileKeys; /* S2: tiles between one key of a thread and its next */
constexpr int kPrefillStages = 2;
constexpr size_t kPrefillBytes = kPrefillStages * 2 * kTileBytes; /* dynamic shared memory: keys and values */
constexpr int kPasses = 3, kContextPass = 2;

/* The tiles of all passes, one after the other. */
struct tile_walk {
    int tiles, context_tiles; /* by keys, by positions */
    bool by_columns;          /* the second pass */
    int pass = 0, tile = 0;

    __device__ __forceinline__ bool done() const { return pass == kPasses; }
    /* Whether the next tile of the pass, if there is one, is that of other columns. */
    __device__ __forceinline__ bool last_of_column() const { return by_columns && tile + kColumnTiles >= tiles; }
    __device__ __forceinline__ void next()
    {
        bool ended;
        if (pass == 1 && by_columns) {
            const int below = tile + kColumnTiles, beside = tile % kColumnTiles + 1;
            ended = below >= tiles && (beside == kColumnTiles || beside >= tiles);
            tile = below < tiles ? below : beside;
        } else {
            ended = ++tile == (pass == kContextPass ? context_tiles : tiles);
        }
        if (ended) pass++, tile = 0;
    }
};

/* The scores' products of 16 queries and a tile of keys: part i has the keys 8 i to 8 i + 7. */
template <bool kNarrow>
__device__ __forceinline__ void tile_products(float (&sum)[kTileParts][4], const uint32_t (&q)[kHeadBlocks][4],
                                              unsigned char *keys, bool narrow)
{
    const int lane = static_cast<int>(threadIdx.x) % kWarp, row = lane % 8 + lane / 16 * 8, chunk = lane / 8 % 2;
#pragma unroll
    for (int i = 0; i < kTileParts; i++)
#pragma unroll
        for (int n = 0; n < 4; n++) sum[i][n] = 0.0f;
#pragma unroll
    for (int block = 0; block < kHeadBlocks; block++)
#pragma unroll
        for (int i = 0; i < kTileParts; i += 2) {
            uint32_t b[4];
            load_matrices(b, head_chunk(keys, i * kTileColumns + row, 2 * block + chunk));
            const uint32_t first[2] = { b[0], b[1] }, second[2] = { b[2], b[3] };
            block_fma(sum[i], q[block], first, kNarrow && narrow);
            block_fma(sum[i + 1], q[block], second, kNarrow && narrow);
        }
}

/* C3 of 16 queries and a tile: part i has the channels 8 i to 8 i + 7. */
template <bool kNarrow>
__device__ __forceinline__ void tile_context(float (&sum)[kHeadChunks][4], const float (&p)[kTileParts][4],
                                             unsigned char *values, bool narrow)
{
    const int lane = static_cast<int>(threadIdx.x) % kWarp, row = lane % QP_BLOCK_K, chunk = lane / QP_BLOCK_K;
#pragma unroll
    for (int block = 0; block < kTileParts / 2; block++) {
        const float(&low)[4] = p[2 * block], (&high)[4] = p[2 * block + 1];
        const uint32_t a[4] = { pair_of(low[0], low[1]), pair_of(low[2], low[3]), pair_of(high[0], high[1]),
                                pair_of(high[2], high[3]) };
#pragma unroll
        for (int i = 0; i < kHeadChunks; i += 2) {
            uint32_t b[4];
            load_matrices_transposed(b, head_chunk(values, block * QP_BLOCK_K + row, i + chunk));
            const uint32_t first[2] = { b[0], b[1] }, second[2] = { b[2], b[3] };
            block_fma(sum[i], a, first, kNarrow && narrow);
            block_fma(sum[i + 1], a, second, kNarrow && narrow);
        }
    }
}

/* S1's and S2's fold of 32 columns, four parts, of the row that has the elements first and first + 1 of each part. Each
 * lane of the row gets it. */
template <int kFirst> __device__ __forceinline__ float fold_columns(const float (*x)[4])
{
    float pair[2];
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const float sixteen = __fadd_rn(x[0][kFirst + n], x[2][kFirst + n]),
                    other = __fadd_rn(x[1][kFirst + n], x[3][kFirst + n]);
        pair[n] = __fadd_rn(sixteen, other);
        pair[n] = __fadd_rn(pair[n], __shfl_xor_sync(kWholeWarp, pair[n], 2));
        pair[n] = __fadd_rn(pair[n], __shfl_xor_sync(kWholeWarp, pair[n], 1));
    }
    return __fadd_rn(pair[0], pair[1]);
}

/* S2's fold of the warps' totals of a row, by the four lanes of the row. */
__device__ __forceinline__ float fold_totals(const float *totals)
{
    float x[8];
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = totals[4 * i + lane_quad()];
#pragma unroll
    for (int half = 4; half > 0; half /= 2)
#pragma unroll
        for (int i = 0; i < half; i++) x[i] = __fadd_rn(x[i], x[i + half]);
    x[0] = __fadd_rn(x[0], __shfl_xor_sync(kWholeWarp, x[0], 2));
    return __fadd_rn(x[0], __shfl_xor_sync(kWholeWarp, x[0], 1));
}

/* Of the four lanes of a row. */
__device__ __forceinline__ float largest_of_quad(float max)
{
    max = fmaxf(max, __shfl_xor_sync(kWholeWarp, max, 2));
    return fmaxf(max, __shfl_xor_sync(kWholeWarp, max, 1));
}

template <int kWarps, bool kNarrow>
__global__ void __launch_bounds__(kWarps *kWarp, kWarps == 4 ? 3 : 1)
    prefill(const __grid_constant__ qp_gqa_attention_args a)
{
    constexpr int kQueries = kWarps * kTileRows;
    extern __shared__ uint4 prefill_memory[];
    constexpr int kTotals = QP_SOFTMAX_THREADS / kWarp + 1; /* of a row, and one so that rows are in different banks */
    __shared__ float totals[kQueries][kTotals];
    allow_successor();
    wait_for_predecessor();

    /* The last tokens have the most keys: they begin first. */
    const int heads = static_cast<int>(a.query_heads), tokens = static_cast<int>(a.tokens),
              keys = static_cast<int>(a.keys_count), past = keys - tokens;
    const int number = static_cast<int>(gridDim.x - 1 - blockIdx.x), h = number % heads,
              head = h * static_cast<int>(a.key_heads) / heads, first_token = number / heads * kQueries;
    const int warp = static_cast<int>(threadIdx.x) / kWarp, row = lane_row(), quad = lane_quad();
    const int last_token = min(first_token + kQueries, tokens) - 1, visible = past + last_token + 1;
    const positions place(keys, a.context_order);

    /* This lane's two rows. Queries past the end are the last one again, and their results are dropped. */
    const int own = first_token + warp * kTileRows + row;
    int limit[2]; /* the last key that the query sees */
    uint32_t q[kHeadBlocks][4];
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int t = min(own + 8 * n, tokens - 1);
        const qp_bf16 *from = a.q + (static_cast<int64_t>(t) * heads + h) * kHeadDim;
        limit[n] = past + t;
#pragma unroll
        for (int block = 0; block < kHeadBlocks; block++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                q[block][2 * half + n] =
                    __ldcg(reinterpret_cast<const unsigned *>(from + block * QP_BLOCK_K + half * kChunk) + quad);
    }
    const int least = past + min(first_token + warp * kTileRows, tokens - 1),
              most = past + min(first_token + warp * kTileRows + kTileRows, tokens) - 1; /* of the warp's limits */

    unsigned char *const memory = reinterpret_cast<unsigned char *>(prefill_memory);
    const auto fetch = [&](const tile_walk &walk, int stage) {
        unsigned char *to = memory + stage * 2 * kTileBytes;
        const bool of_context = walk.pass == kContextPass;
        constexpr int kRowsAtOnce = kWarps * kWarp / kHeadChunks;
        const int chunk = static_cast<int>(threadIdx.x) % kHeadChunks;
        const int64_t start = head * kHeadDim + chunk * kChunk;
#pragma unroll 1
        for (int of_tile = static_cast<int>(threadIdx.x) / kHeadChunks; of_tile < kTileKeys; of_tile += kRowsAtOnce) {
            const int at = walk.tile * kTileKeys + of_tile, key = of_context ? place.key_at(at) : at;
            const bool there = key >= 0 && key < visible;
            const int64_t element = (there ? key : 0) * a.key_heads * kHeadDim + start;
            copy_async(head_chunk(to, of_tile, chunk), a.keys + element, there);
            if (of_context) copy_async(head_chunk(to + kTileBytes, of_tile, chunk), a.values + element, there);
        }
    };

    tile_walk walk = { (visible + kTileKeys - 1) / kTileKeys, place.of(visible - 1) / kTileKeys + 1,
                       keys > QP_SOFTMAX_WARP_MAX };
    tile_walk ahead = walk;
    fetch(ahead, 0);
    group_copies();
    ahead.next();

    for (int i = static_cast<int>(threadIdx.x) % kWarp; i < kTileRows * kTotals; i += kWarp)
        (&totals[warp * kTileRows][0])[i] = 0.0f; /* of the columns that have no visible key */

    float max[2] = { -INFINITY, -INFINITY }, sum[2] = {};
    float accumulator[kHeadChunks][4] = {}; /* pass 2: of the columns, the first kTileParts; pass 3: the context */
    for (int stage = 0; !walk.done(); walk.next(), stage ^= 1) {
        if (!ahead.done()) {
            fetch(ahead, stage ^ 1);
            ahead.next();
        }
        group_copies();
        wait_for_copies<kPrefillStages - 1>();
        __syncthreads();
        unsigned char *const tile = memory + stage * 2 * kTileBytes;
        const bool of_context = walk.pass == kContextPass;
        const int start = walk.tile * kTileKeys;
        if (start <= (of_context ? place.of(most) : most)) {
            float x[kTileParts][4];
            tile_products<kNarrow>(x, q, tile, a.order.narrow);

            /* Whether the query of the row n sees what stands at an element's column. */
            const bool all = start + kTileKeys - 1 <= least && !(of_context && place.zeros > 0);
            const auto sees = [&](int i, int element) {
                const int at = start + i * kTileColumns + 2 * quad + element % 2;
                if (!of_context) return at <= limit[element / 2];
                const int key = place.key_at(at);
                return key >= 0 && key <= limit[element / 2];
            };
            if (walk.pass == 0) {
#pragma unroll
                for (int i = 0; i < kTileParts; i++)
#pragma unroll
                    for (int n = 0; n < 4; n++)
                        if (all || sees(i, n)) max[n / 2] = fmaxf(max[n / 2], x[i][n]);
            } else {
#pragma unroll
                for (int i = 0; i < kTileParts; i++)
#pragma unroll
                    for (int n = 0; n < 2; n++) {
                        const uint32_t pair = scaled_pair(x[i][2 * n], x[i][2 * n + 1], a.scale);
                        x[i][2 * n] = exponential(low_of(pair), max[n]);
                        x[i][2 * n + 1] = exponential(high_of(pair), max[n]);
                    }
                if (!all)
#pragma unroll
                    for (int i = 0; i < kTileParts; i++)
#pragma unroll
                        for (int n = 0; n < 4; n++)
                            if (!sees(i, n)) x[i][n] = 0.0f;
                if (!of_context) {
                    if (walk.by_columns) {
#pragma unroll
                        for (int i = 0; i < kTileParts; i++)
#pragma unroll
                            for (int n = 0; n < 4; n++) accumulator[i][n] = __fadd_rn(accumulator[i][n], x[i][n]);
                    } else {
#pragma unroll
                        for (int i = 0; i < kTileParts; i++)
#pragma unroll
                            for (int n = 0; n < 4; n++)
                                accumulator[i % 4][n] = __fadd_rn(accumulator[i % 4][n], x[i][n]);
                    }
                } else {
#pragma unroll
                    for (int i = 0; i < kTileParts; i++)
#pragma unroll
                        for (int n = 0; n < 4; n++) x[i][n] = __fdiv_rn(x[i][n], sum[n / 2]);
                    tile_context<kNarrow>(accumulator, x, tile + kTileBytes, a.context_order.narrow);
                }
            }
        }

        if (walk.pass == 0 && walk.tile == walk.tiles - 1) {
#pragma unroll
            for (int n = 0; n < 2; n++) max[n] = low_of(scaled_pair(largest_of_quad(max[n]), 0.0f, a.scale));
        } else if (walk.pass == 1 && (walk.by_columns ? walk.last_of_column() : walk.tile == walk.tiles - 1)) {
            const float(*const totals_of)[kTotals] = totals + warp * kTileRows + row;
            sum[0] = fold_columns<0>(accumulator), sum[1] = fold_columns<2>(accumulator);
            if (walk.by_columns) {
                const float second[2] = { fold_columns<0>(accumulator + 4), fold_columns<2>(accumulator + 4) };
                const int column = walk.tile % kColumnTiles * 2;
#pragma unroll
                for (int n = 0; n < 2; n++)
                    if (quad == 0) {
                        float *of_row = totals[warp * kTileRows + row + 8 * n] + column;
                        of_row[0] = sum[n], of_row[1] = second[n];
                    }
                __syncwarp();
                sum[0] = fold_totals(totals_of[0]),
                sum[1] = fold_totals(totals_of[8]); /* of the last column: the sum */
            }
#pragma unroll
            for (int i = 0; i < kTileParts; i++)
#pragma unroll
                for (int n = 0; n < 4; n++) accumulator[i][n] = 0.0f;
        }
        __syncthreads(); /* the tile has been read */
    }

#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int t = own + 8 * n;
        if (t >= tokens) continue;
        uint32_t *y = reinterpret_cast<uint32_t *>(a.y + (static_cast<int64_t>(t) * heads + h) * kHeadDim) + quad;
#pragma unroll
        for (int i = 0; i < kHeadChunks; i++)
            y[i * kTileColumns / 2] = pair_of(accumulator[i][2 * n], accumulator[i][2 * n + 1]);
    }
}

} // namespace qp::attention

#endif
