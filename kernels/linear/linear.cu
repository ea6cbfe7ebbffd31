#include "../cuda.cuh"
#include "../numerics/block_fma.cuh"
#include "linear.h"

namespace {

using namespace qp;

/* One warp a block, so that few tiles spread over all multiprocessors. A is 16 rows of the weight, B is kTiles times 8
 * rows of x. Rows past the end are the last row again: nothing is read that is not there, and their results are
 * dropped. */
template <int kTiles, bool kWide> __global__ void __launch_bounds__(kWarp, 1) linear_tiles(const qp_linear_args a)
{
    constexpr int kTokens = kTiles * kTileColumns;
    const int row = lane_row(), quad = lane_quad();
    const int64_t token_tiles = tiles_for(a.m, kTokens), tiles = tiles_for(a.n, kTileRows) * token_tiles;
    /* The tiles that share weights are neighbours, so the weights come from memory once. */
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int64_t n = tile / token_tiles * kTileRows + row, m = tile % token_tiles * kTokens;
        const rows_a<kWide> weight = { a.weight + min(n, a.n - 1) * a.k + 4 * quad,
                                       a.weight + min(n + 8, a.n - 1) * a.k + 4 * quad };
        columns_b<kTiles, kWide> x;
#pragma unroll
        for (int i = 0; i < kTiles; i++) x.column[i] = a.x + min(m + i * kTileColumns + row, a.m - 1) * a.k + 4 * quad;

        float sum[kTiles][4];
        for (int64_t start = 0; start < a.k; start += a.part) { /* O2 */
            float part[kTiles][4] = {};
            chain_fma<kBlocksInFlight<kTiles, kWide>>(part, weight, x, start, min(start + a.part, a.k)); /* O1 */
#pragma unroll
            for (int i = 0; i < kTiles; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] = start ? __fadd_rn(sum[i][j], part[i][j]) : part[i][j];
        }
#pragma unroll
        for (int i = 0; i < kTiles; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int64_t token = m + i * kTileColumns + 2 * quad + j % 2, channel = n + j / 2 * 8;
                if (token < a.m && channel < a.n) a.y[token * a.n + channel] = qp_bf16_from_f32(sum[i][j]); /* R1 */
            }
    }
}

template <int kTiles> void launch(const qp_linear_args &a, cudaStream_t stream)
{
    const unsigned blocks =
        blocks_of(tiles_for(a.n, kTileRows) * tiles_for(a.m, static_cast<int64_t>(kTiles) * kTileColumns));
    /* The parts are multiples of 16 (P1), so they begin where loads of four elements may. */
    if (rows_aligned<4>(a.x, a.k, 0) && rows_aligned<4>(a.weight, a.k, 0))
        linear_tiles<kTiles, true><<<blocks, kWarp, 0, stream>>>(a);
    else
        linear_tiles<kTiles, false><<<blocks, kWarp, 0, stream>>>(a);
}

} // namespace

qp_status qp_linear_cuda(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    const cudaStream_t stream = stream_of(call);
    launch_with_tiles(a.m, [&](auto tiles) { launch<tiles()>(a, stream); });
    return launched("linear");
}
