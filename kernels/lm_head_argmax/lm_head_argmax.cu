#include "../argmax/argmax.cuh"
#include "../argmax/argmax.h"
#include "../unfused.cuh"
#include "../weight_stream.cuh"
#include "lm_head_argmax.h"

namespace {

using namespace qp;

struct operands {
    stream_shape s;
    weight_map weight;
    candidate *of_blocks;
    int vocabulary;
};

/* C1, C2, and C3 among the block's logits. */
__global__ void __launch_bounds__(kStreamWarps *kWarp, 1) stream_candidates(const __grid_constant__ operands o)
{
    extern __shared__ __align__(kBoxBytes) unsigned char shared[];
    allow_successor();
    const int first = static_cast<int>(blockIdx.x) * o.s.teams, step = static_cast<int>(gridDim.x) * o.s.teams;
    weight_stream<2, consecutive_rows<2>> stream(o.s, { &o.weight }, shared, first, step);
    stream.prepare_to_normalise();
    stream.take_normalised_x([] {});
    candidate best = { 0, 0 };
    stream.run([&](int tile, const float(&sum)[4]) {
        if (lane_quad()) return; /* the only token is column 0 */
#pragma unroll
        for (int group = 0; group < 2; group++) {
            const int row = (tile * 2 + group) * kBoxRows + lane_row();
            if (row < o.vocabulary) best = better(best, { rank_of(qp_bf16_from_f32(sum[2 * group])), row });
        }
    });
    best = best_of_block(best);
    if (threadIdx.x == 0) o.of_blocks[blockIdx.x] = best;
}

constexpr int kLongRing = 3 * kStreamRing / 2; /* what follows has no weights that would need the room */
constexpr int kThreads = 128;

/* C3 among the blocks. */
__global__ void __launch_bounds__(kThreads) best_of_blocks(const candidate *of_blocks, const int blocks, int64_t *y)
{
    candidate best = { 0, 0 };
    allow_successor();
    wait_for_predecessor();
    for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kThreads) best = better(best, of_blocks[i]);
    best = best_of_block(best);
    if (threadIdx.x == 0) *y = best.index;
}

/* Whether the fused kernel takes it, and how. */
bool choose(const qp_lm_head_argmax_args &a, operands *o, unsigned *blocks)
{
    const qp_bf16 *last = a.x + (a.tokens - 1) * a.hidden;
    if (!stream_fits(1, a.hidden, a.part) || !aligned<8>(last, a.norm_weight, a.weight) || a.vocabulary > 1 << 30)
        return false;
    o->s = make_stream_shape(last, 1, a.hidden, a.part, make_stream_norm(a.norm_weight, a.hidden, a.tokens, a.eps));
    o->vocabulary = static_cast<int>(a.vocabulary);
    return choose_stream_shape(&o->s, a.vocabulary, 2, kLongRing, blocks);
}

} // namespace

size_t qp_lm_head_argmax_cuda_workspace(const qp_call *call)
{
    const qp_lm_head_argmax_args a = qp_lm_head_argmax_bind(call);
    operands o;
    unsigned blocks;
    return choose(a, &o, &blocks) ? blocks * sizeof(candidate)
                                  : piece_bytes(a.tokens * a.hidden) + piece_bytes(a.vocabulary);
}

qp_status qp_lm_head_argmax_cuda(const qp_call *call)
{
    const qp_lm_head_argmax_args a = qp_lm_head_argmax_bind(call);
    operands o;
    unsigned blocks;
    if (choose(a, &o, &blocks)) {
        if (!make_weight_map(a.weight, a.vocabulary, a.hidden, o.s.groups, &o.weight))
            return no_weight_map("lm_head_argmax");
        o.of_blocks = static_cast<candidate *>(call->launch->workspace);
        QP_TRY(launch_dependent(call, "lm_head_argmax", stream_candidates, stream_launch(o.s, blocks), o));
        return launch_dependent(call, "lm_head_argmax", best_of_blocks, { 1, kThreads, 0, 1 }, o.of_blocks,
                                static_cast<int>(blocks), a.y);
    }
    workspace_pieces pieces(call);
    qp_bf16 *normed = pieces.take(a.tokens * a.hidden), *logits = pieces.take(a.vocabulary);
    QP_TRY(enqueue_rms_norm(call, a.x, a.norm_weight, normed, a.tokens, a.hidden));
    QP_TRY(
        enqueue_linear(call, normed + (a.tokens - 1) * a.hidden, a.weight, logits, 1, a.vocabulary, a.hidden, a.part));
    qp_call part = {};
    part.extent[QP_ARGMAX_T] = part.extent[QP_ARGMAX_ONE] = 1, part.extent[QP_ARGMAX_V] = a.vocabulary;
    part.in[QP_ARGMAX_X] = logits;
    part.out[0] = a.y;
    part.launch = call->launch;
    return qp_argmax_cuda(&part);
}
