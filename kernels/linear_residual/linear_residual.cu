#include "../elementwise.cuh"
#include "../residual_add/residual_add.cuh"
#include "../unfused.cuh"
#include "../weight_stream.cuh"
#include "linear_residual.h"

namespace {

using namespace qp;

struct operands {
    stream_shape s;
    weight_map weight;
    const qp_bf16 *residual;
    qp_bf16 *y;
    int n;
};

/* C1, C2. A lane has kGroups channels of two tokens. */
template <int kGroups>
__global__ void __launch_bounds__(kStreamWarps *kWarp, 1) stream_residual(const __grid_constant__ operands o)
{
    extern __shared__ __align__(kBoxBytes) unsigned char shared[];
    allow_successor();
    const int first = static_cast<int>(blockIdx.x) * o.s.teams, step = static_cast<int>(gridDim.x) * o.s.teams;
    weight_stream<kGroups, consecutive_rows<kGroups>> stream(o.s, { &o.weight }, shared, first, step);
    const auto for_each = [&](int tile, auto action) {
#pragma unroll
        for (int i = 0; i < 2 * kGroups; i++) {
            const int token = 2 * lane_quad() + i % 2, channel = (tile * kGroups + i / 2) * kBoxRows + lane_row();
            if (token < o.s.tokens && channel < o.n) action(i, token * o.n + channel);
        }
    };
    qp_bf16 residual[2 * kGroups];
    const auto fetch_residual = [&](int i, int at) { residual[i] = o.residual[at]; };
    stream.prepare();
    stream.take_x([&] { for_each(stream.first_tile(), fetch_residual); });
    stream.run([&](int tile, const float(&sum)[4]) {
        for_each(tile, [&](int i, int at) { o.y[at] = residual_add_element()(residual[i], qp_bf16_from_f32(sum[i])); });
        for_each(tile + step, fetch_residual);
    });
}

/* Groups of a tile: what leaves fewer multiprocessors without one. */
int groups_for(int64_t n)
{
    const auto busy = [n](int64_t rows) {
        const double tiles = static_cast<double>(tiles_for(n, rows));
        return tiles / static_cast<double>(tiles_for(tiles_for(n, rows), kMultiprocessors));
    };
    return busy(2 * kBoxRows) >= busy(kBoxRows) ? 2 : 1;
}

/* Whether the fused kernel takes it, and how. */
bool choose(const qp_linear_residual_args &a, operands *o, unsigned *blocks)
{
    if (!stream_fits(a.m, a.k, a.part) || !aligned<8>(a.x, a.weight) || a.n > 1 << 24) return false;
    o->s = make_stream_shape(a.x, a.m, a.k, a.part, {});
    o->residual = a.residual, o->y = a.y, o->n = static_cast<int>(a.n);
    return choose_stream_shape(&o->s, a.n, groups_for(a.n), kStreamRing, blocks);
}

} // namespace

size_t qp_linear_residual_cuda_workspace(const qp_call *call)
{
    const qp_linear_residual_args a = qp_linear_residual_bind(call);
    operands o;
    unsigned blocks;
    return choose(a, &o, &blocks) ? 0 : piece_bytes(a.m * a.n);
}

qp_status qp_linear_residual_cuda(const qp_call *call)
{
    const qp_linear_residual_args a = qp_linear_residual_bind(call);
    operands o;
    unsigned blocks;
    if (choose(a, &o, &blocks)) {
        if (!make_weight_map(a.weight, a.n, a.k, o.s.groups, &o.weight)) return no_weight_map("linear_residual");
        return launch_dependent(call, "linear_residual", o.s.groups == 1 ? stream_residual<1> : stream_residual<2>,
                                stream_launch(o.s, blocks), o);
    }
    workspace_pieces pieces(call);
    qp_bf16 *product = pieces.take(a.m * a.n);
    QP_TRY(enqueue_linear(call, a.x, a.weight, product, a.m, a.n, a.k, a.part));
    launch_elementwise(call, residual_add_element(), a.y, a.m * a.n, a.residual, product);
    return launched("linear_residual");
}
