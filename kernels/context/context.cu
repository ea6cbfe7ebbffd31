#include "../cuda.cuh"
#include "../numerics/block_fma.cuh"
#include "../numerics/sum_order.cuh"
#include "context.h"

namespace {

using namespace qp;

/* A, where the elements of K are the keys and lie a row of all heads apart. The rows of A are channels: row g is
 * channel 2g of the tile and row g + 8 is channel 2g + 1, so that kPairs fetches both at once, and eight lanes read a
 * whole sector. */
template <bool kPairs> struct channels_a {
    const qp_bf16 *low, *high; /* channels 2g and 2g + 1, from the lane's first quad on */
    int64_t step;

    __device__ __forceinline__ void load(uint32_t (&a)[4], int64_t k) const
    {
        uint32_t pair[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if constexpr (kPairs)
                pair[i] = __ldg(reinterpret_cast<const uint32_t *>(low + (k + i) * step));
            else
                pair[i] = qp::load(low + (k + i) * step) | qp::load(high + (k + i) * step) << 16;
        place(a, pair);
    }
    __device__ __forceinline__ void load_last(uint32_t (&a)[4], int64_t k, int64_t size) const
    {
        const int64_t left = size - 4 * lane_quad();
        uint32_t pair[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            pair[i] = i < left ? qp::load(low + (k + i) * step) | qp::load(high + (k + i) * step) << 16 : 0;
        place(a, pair);
    }
    /* From (low, high) of each key to (key, next key) of each channel. */
    __device__ __forceinline__ static void place(uint32_t (&a)[4], const uint32_t (&pair)[4])
    {
        a[0] = __byte_perm(pair[0], pair[1], 0x5410), a[1] = __byte_perm(pair[0], pair[1], 0x7632);
        a[2] = __byte_perm(pair[2], pair[3], 0x5410), a[3] = __byte_perm(pair[2], pair[3], 0x7632);
    }
};

/* O1 without lanes. One warp a block. A is 16 channels of one value head, B is kTiles times 8 of the queries that share
 * it, over heads and tokens in the order of probs. Channels and queries past the end are the last ones again, and their
 * results are dropped. */
template <int kTiles, bool kPairs, bool kWide>
__global__ void __launch_bounds__(kWarp, 1) context_tiles(const qp_context_args a)
{
    constexpr int kQueries = kTiles * kTileColumns;
    const int row = lane_row(), quad = lane_quad();
    const int64_t group = a.query_heads / a.value_heads, queries = group * a.tokens, step = a.value_heads * a.d;
    const int64_t channel_tiles = tiles_for(a.d, kTileRows), query_tiles = tiles_for(queries, kQueries);
    for (int64_t tile = blockIdx.x; tile < a.value_heads * query_tiles * channel_tiles; tile += gridDim.x) {
        const int64_t head = tile / channel_tiles / query_tiles, query = tile / channel_tiles % query_tiles * kQueries,
                      channel = tile % channel_tiles * kTileRows + 2 * row;
        const qp_bf16 *of_head = a.values + head * a.d + 4 * quad * step;
        const int64_t low = min(channel, a.d - (kPairs ? 2 : 1)), high = min(channel + 1, a.d - 1);
        const channels_a<kPairs> values = { of_head + low, of_head + high, step };
        columns_b<kTiles, kWide> probs;
#pragma unroll
        for (int i = 0; i < kTiles; i++)
            probs.column[i] =
                a.probs + (head * queries + min(query + i * kTileColumns + row, queries - 1)) * a.keys_count + 4 * quad;

        float sum[kTiles][4] = {};
        tensor_core_fma<kBlocksInFlight<kTiles, kWide>>(sum, values, probs, a.keys_count, a.order);
#pragma unroll
        for (int i = 0; i < kTiles; i++)
#pragma unroll
            for (int column = 0; column < 2; column++) {
                const int64_t own = query + i * kTileColumns + 2 * quad + column;
                const int64_t h = head * group + own / a.tokens, t = own % a.tokens;
                qp_bf16 *y = a.y + (t * a.query_heads + h) * a.d;
                if (own < queries && channel < a.d) y[channel] = qp_bf16_from_f32(sum[i][column]);             /* R1 */
                if (own < queries && channel + 1 < a.d) y[channel + 1] = qp_bf16_from_f32(sum[i][2 + column]); /* R1 */
            }
    }
}

/* O1 with lanes. A block has a warp for each lane and takes 32 channels of one query: neighbouring channels are read
 * together. */
__global__ void __launch_bounds__(QP_MAX_LANES *kWarp) context_lanes(const qp_context_args a)
{
    __shared__ float sums[QP_MAX_LANES][kWarp];
    const int lane = static_cast<int>(threadIdx.x) / kWarp, column = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t group = a.query_heads / a.value_heads, step = a.value_heads * a.d, tiles = tiles_for(a.d, kWarp);
    for (int64_t tile = blockIdx.x; tile < a.tokens * a.query_heads * tiles; tile += gridDim.x) {
        const int64_t row = tile / tiles, channel = tile % tiles * kWarp + column; /* the row of y: token and head */
        const int64_t t = row / a.query_heads, h = row % a.query_heads;
        const qp_bf16 *probs = a.probs + (h * a.tokens + t) * a.keys_count;
        const qp_bf16 *values = a.values + h / group * a.d + channel;
        sums[lane][column] =
            channel < a.d ? lane_sum(probs, values, step, a.keys_count, a.order, lane) : 0.0f; /* L1, L2 */
        __syncthreads();
        if (a.order.fold == QP_FOLD_IN_TURN) { /* L3 */
            if (lane == 0)
                for (int l = 1; l < a.order.lanes; l++) sums[0][column] = __fadd_rn(sums[0][column], sums[l][column]);
        } else {
            for (int offset = a.order.lanes / 2; offset > 0; offset /= 2) {
                if (lane < offset) sums[lane][column] = __fadd_rn(sums[lane][column], sums[lane + offset][column]);
                __syncthreads();
            }
        }
        if (lane == 0 && channel < a.d) a.y[row * a.d + channel] = qp_bf16_from_f32(sums[0][column]); /* R1 */
        __syncthreads(); /* the next tile may overwrite */
    }
}

/* `queries`: that share a value head. */
template <int kTiles> void launch(const qp_context_args &a, int64_t queries, cudaStream_t stream)
{
    const unsigned blocks = blocks_of(a.value_heads * tiles_for(a.d, kTileRows) *
                                             tiles_for(queries, static_cast<int64_t>(kTiles) * kTileColumns));
    const bool pairs = rows_aligned<2>(a.values, a.d, 0), wide = rows_aligned<4>(a.probs, a.keys_count, a.order.run);
    if (pairs && wide)
        context_tiles<kTiles, true, true><<<blocks, kWarp, 0, stream>>>(a);
    else if (pairs)
        context_tiles<kTiles, true, false><<<blocks, kWarp, 0, stream>>>(a);
    else
        context_tiles<kTiles, false, false><<<blocks, kWarp, 0, stream>>>(a);
}

} // namespace

qp_status qp_context_cuda(const qp_call *call)
{
    const qp_context_args a = qp_context_bind(call);
    const cudaStream_t stream = stream_of(call);
    if (a.order.lanes) {
        const int64_t tiles = a.tokens * a.query_heads * tiles_for(a.d, kWarp);
        const unsigned threads = static_cast<unsigned>(a.order.lanes) * kWarp;
        context_lanes<<<blocks_of(tiles), threads, 0, stream>>>(a);
    } else {
        const int64_t queries = a.query_heads / a.value_heads * a.tokens;
        launch_with_tiles(queries, [&](auto tiles) { launch<tiles()>(a, queries, stream); });
    }
    return launched("context");
}
