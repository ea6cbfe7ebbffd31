#include "../cuda.cuh"
#include "../numerics/block_fma.cuh"
#include "../numerics/sum_order.cuh"
#include "scores.cuh"
#include "scores.h"

namespace {

using namespace qp;

constexpr int kThreads = 256;

__device__ qp_bf16 score(const qp_scores_args &a, float sum, int64_t t, int64_t s)
{
    return scale_and_mask(a, qp_bf16_from_f32(sum), t, s); /* R1, R2, R3 */
}

/* O1 without lanes. One warp a block. A is 16 keys of one key head, B is kTiles times 8 of the queries that share it,
 * over heads and tokens in the order of y. Keys and queries past the end are the last one again, and their results are
 * dropped. */
template <int kTiles, bool kWide>
__global__ void __launch_bounds__(kWarp, 1) score_tiles(const qp_scores_args a)
{
    constexpr int kQueries = kTiles * kTileColumns, kInFlight = kTiles == 1 ? 8 : kBlocksInFlight<kTiles, kWide>;
    const int row = lane_row(), quad = lane_quad();
    const int64_t group = a.query_heads / a.key_heads, queries = group * a.tokens;
    const int64_t key_tiles = tiles_for(a.keys_count, kTileRows), query_tiles = tiles_for(queries, kQueries);
    /* The tiles that share keys are neighbours, so the keys come from memory once. */
    for (int64_t tile = blockIdx.x; tile < a.key_heads * key_tiles * query_tiles; tile += gridDim.x) {
        const int64_t head = tile / query_tiles / key_tiles, s = tile / query_tiles % key_tiles * kTileRows + row,
                      query = tile % query_tiles * kQueries;
        const qp_bf16 *of_head = a.keys + head * a.d + 4 * quad;
        const int64_t step = a.key_heads * a.d;
        const rows_a<kWide> keys = { of_head + min(s, a.keys_count - 1) * step,
                                     of_head + min(s + 8, a.keys_count - 1) * step };
        columns_b<kTiles, kWide> q;
#pragma unroll
        for (int i = 0; i < kTiles; i++) {
            const int64_t own = min(query + i * kTileColumns + row, queries - 1);
            const int64_t h = head * group + own / a.tokens, t = own % a.tokens;
            q.column[i] = a.q + (t * a.query_heads + h) * a.d + 4 * quad;
        }

        float sum[kTiles][4] = {};
        tensor_core_fma<kInFlight>(sum, keys, q, a.d, a.order);
#pragma unroll
        for (int i = 0; i < kTiles; i++)
#pragma unroll
            for (int column = 0; column < 2; column++) {
                const int64_t own = query + i * kTileColumns + 2 * quad + column, t = own % a.tokens;
                qp_bf16 *y = a.y + (head * queries + own) * a.keys_count;
                if (own < queries && s < a.keys_count) y[s] = score(a, sum[i][column], t, s);
                if (own < queries && s + 8 < a.keys_count) y[s + 8] = score(a, sum[i][2 + column], t, s + 8);
            }
    }
}

/* O1 with lanes, which are neighbouring threads. */
__global__ void __launch_bounds__(kThreads) score_lanes(const qp_scores_args a)
{
    const int64_t group = a.query_heads / a.key_heads, elements = a.query_heads * a.tokens * a.keys_count;
    const int at_once = kThreads / a.order.lanes, lane = static_cast<int>(threadIdx.x) % a.order.lanes;
    for (int64_t start = static_cast<int64_t>(blockIdx.x) * at_once; start < elements;
         start += static_cast<int64_t>(gridDim.x) * at_once) {
        const int64_t i = start + threadIdx.x / a.order.lanes,
                      own = min(i, elements - 1); /* all threads have to fold */
        const int64_t s = own % a.keys_count, t = own / a.keys_count % a.tokens, h = own / a.keys_count / a.tokens;
        const qp_bf16 *q = a.q + (t * a.query_heads + h) * a.d, *key = a.keys + (s * a.key_heads + h / group) * a.d;
        const float sum = fold_lanes(lane_sum(q, key, 1, a.d, a.order, lane), a.order);
        if (lane == 0 && i < elements) a.y[i] = score(a, sum, t, s);
    }
}

/* `queries`: that share a key head. */
template <int kTiles> void launch(const qp_scores_args &a, int64_t queries, cudaStream_t stream)
{
    const unsigned blocks = blocks_of(a.key_heads * tiles_for(a.keys_count, kTileRows) *
                                             tiles_for(queries, static_cast<int64_t>(kTiles) * kTileColumns));
    if (rows_aligned<4>(a.q, a.d, a.order.run) && rows_aligned<4>(a.keys, a.d, a.order.run))
        score_tiles<kTiles, true><<<blocks, kWarp, 0, stream>>>(a);
    else
        score_tiles<kTiles, false><<<blocks, kWarp, 0, stream>>>(a);
}

} // namespace

qp_status qp_scores_cuda(const qp_call *call)
{
    const qp_scores_args a = qp_scores_bind(call);
    const cudaStream_t stream = stream_of(call);
    if (a.order.lanes) {
        const int64_t elements = a.query_heads * a.tokens * a.keys_count;
        score_lanes<<<blocks_of(tiles_for(elements, kThreads / a.order.lanes)), kThreads, 0, stream>>>(a);
    } else {
        const int64_t queries = a.query_heads / a.key_heads * a.tokens;
        launch_with_tiles(queries, [&](auto tiles) { launch<tiles()>(a, queries, stream); });
    }
    return launched("scores");
}
