#include "../elementwise.cuh"
#include "../multiply/multiply.cuh"
#include "../silu/silu.cuh"
#include "../unfused.cuh"
#include "../weight_stream.cuh"
#include "rmsnorm_gate_up_silu.h"

namespace {

using namespace qp;

/* C3, C4. */
struct gated {
    __device__ qp_bf16 operator()(qp_bf16 gate, qp_bf16 up) const
    {
        return multiply_element()(silu_element()(gate), up);
    }
};

struct operands {
    stream_shape s;
    weight_map gate, up;
    qp_bf16 *y;
    int inner;
};

/* Eight rows of gate and the same eight of up, so that one lane gets both of a channel. */
struct same_channels {
    static constexpr int kCopies = 2;
    const weight_map *gate, *up;

    __device__ tile_rows operator()(int tile, int copy) const { return { copy ? up : gate, tile * kBoxRows }; }
};

/* C1 to C4. */
__global__ void __launch_bounds__(kStreamWarps *kWarp, 1) stream_gate_up(const __grid_constant__ operands o)
{
    extern __shared__ __align__(kBoxBytes) unsigned char shared[];
    allow_successor();
    const int first = static_cast<int>(blockIdx.x) * o.s.teams, step = static_cast<int>(gridDim.x) * o.s.teams;
    weight_stream<2, same_channels> stream(o.s, { &o.gate, &o.up }, shared, first, step);
    stream.prepare_to_normalise();
    stream.take_normalised_x([] {}); /* C1 */
    stream.run([&](int tile, const float(&sum)[4]) {
        const int channel = tile * kBoxRows + lane_row();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int token = 2 * lane_quad() + i;
            if (token < o.s.tokens && channel < o.inner)
                o.y[token * o.inner + channel] =
                    gated()(qp_bf16_from_f32(sum[i]), qp_bf16_from_f32(sum[2 + i])); /* C2 */
        }
    });
}

/* Whether the fused kernel takes it, and how. */
bool choose(const qp_rmsnorm_gate_up_silu_args &a, operands *o, unsigned *blocks)
{
    if (!stream_fits(a.tokens, a.hidden, a.part) || !aligned<8>(a.x, a.norm_weight, a.gate_weight, a.up_weight) ||
        a.inner > 1 << 24)
        return false;
    o->s =
        make_stream_shape(a.x, a.tokens, a.hidden, a.part, make_stream_norm(a.norm_weight, a.hidden, a.tokens, a.eps));
    o->y = a.y, o->inner = static_cast<int>(a.inner);
    return choose_stream_shape(&o->s, 2 * a.inner, 2, kStreamRing, blocks);
}

} // namespace

size_t qp_rmsnorm_gate_up_silu_cuda_workspace(const qp_call *call)
{
    const qp_rmsnorm_gate_up_silu_args a = qp_rmsnorm_gate_up_silu_bind(call);
    operands o;
    unsigned blocks;
    return choose(a, &o, &blocks) ? 0 : piece_bytes(a.tokens * a.hidden) + 2 * piece_bytes(a.tokens * a.inner);
}

qp_status qp_rmsnorm_gate_up_silu_cuda(const qp_call *call)
{
    const qp_rmsnorm_gate_up_silu_args a = qp_rmsnorm_gate_up_silu_bind(call);
    operands o;
    unsigned blocks;
    if (choose(a, &o, &blocks)) {
        if (!make_weight_map(a.gate_weight, a.inner, a.hidden, 1, &o.gate) ||
            !make_weight_map(a.up_weight, a.inner, a.hidden, 1, &o.up))
            return no_weight_map("rmsnorm_gate_up_silu");
        return launch_dependent(call, "rmsnorm_gate_up_silu", stream_gate_up, stream_launch(o.s, blocks), o);
    }
    workspace_pieces pieces(call);
    qp_bf16 *normed = pieces.take(a.tokens * a.hidden), *gate = pieces.take(a.tokens * a.inner),
            *up = pieces.take(a.tokens * a.inner);
    QP_TRY(enqueue_rms_norm(call, a.x, a.norm_weight, normed, a.tokens, a.hidden));
    QP_TRY(enqueue_linear(call, normed, a.gate_weight, gate, a.tokens, a.inner, a.hidden, a.part));
    QP_TRY(enqueue_linear(call, normed, a.up_weight, up, a.tokens, a.inner, a.hidden, a.part));
    launch_elementwise(call, gated(), a.y, a.tokens * a.inner, gate, up);
    return launched("rmsnorm_gate_up_silu");
}
