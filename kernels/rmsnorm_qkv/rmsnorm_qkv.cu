#include <cooperative_groups.h>

#include "../rope/rope.cuh"
#include "../unfused.cuh"
#include "../weight_stream.cuh"
#include "rmsnorm_qkv.h"

namespace {

using namespace qp;
namespace cg = cooperative_groups;

/* The heads of Qwen3. A warp has a row of one: four channels a lane, which is also PyTorch's order of the mean (M1). */
constexpr int kHead = 128, kLaneChannels = kHead / kWarp, kPairLanes = kWarp / 2;
using vector4 = vector<kLaneChannels>;

/* What happens to a head behind its projection. */
struct head_norm {
    const qp_bf16 *weight;
    float factor, eps; /* of the mean over one row of all that PyTorch normalises together */
};

/* C3 and C4 of one row, by one warp. */
__device__ vector4 norm_and_rope(vector4 x, vector4 weight, vector4 cos, vector4 sin, const head_norm &norm)
{
    const float sum = fold_warp(squares::sum_of(x));
    const float scale = __shfl_sync(kWholeWarp, rms_norm_scale(sum, norm.factor, norm.eps), 0);
    const bool low = static_cast<int>(threadIdx.x) % kWarp < kPairLanes;
    vector4 y;
#pragma unroll
    for (int i = 0; i < kLaneChannels; i++) {
        const float own = qp_bf16_to_f32(rms_norm_element(x.at[i], weight.at[i], scale));
        const float other = __shfl_xor_sync(kWholeWarp, own, kPairLanes); /* half a head away */
        y.at[i] = rope_element(own, low ? -other : other, cos.at[i], sin.at[i]);
    }
    return y;
}

__device__ vector4 load_part(const qp_bf16 *row)
{
    return reinterpret_cast<const vector4 *>(row)[static_cast<int>(threadIdx.x) % kWarp];
}

__device__ void store_part(qp_bf16 *row, vector4 part)
{
    reinterpret_cast<vector4 *>(row)[static_cast<int>(threadIdx.x) % kWarp] = part;
}

/* ---- A few tokens. ---- */

/* A cluster of blocks has a head: each sums its share of the channels for all tokens, and finishes its share of the tokens,
 * for which the other blocks send it their channels through distributed shared memory. */
constexpr int kCluster = 4, kBlockTiles = kHead / kCluster / (2 * kBoxRows), kBlockTokens = kStreamTokens / kCluster;

enum { kQuery, kKey, kValue, kKinds };

struct operands {
    stream_shape s[kKinds];
    stream_norm norm;
    weight_map weight[kKinds];
    head_norm of_heads[kKinds];
    const qp_bf16 *cos, *sin;
    qp_bf16 *y[kKinds];
    int heads[kKinds];
    const int64_t
        *past; /* NULL: y is where it shall be. Otherwise keys and values go behind so many rows of the cache */
    int64_t recorded_past;
};

/* Where something of this block's shared memory lies in that of another block of the cluster. */
__device__ uint32_t address_in(uint32_t own, int rank)
{
    uint32_t address;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(own), "r"(rank));
    return address;
}

/* Writes there, and tells a barrier there of it: it need not be waited for here. */
__device__ void send(uint32_t to, float value, uint32_t barrier)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(to), "f"(value),
                 "r"(barrier)
                 : "memory");
}

__global__ void __launch_bounds__(kStreamWarps *kWarp, 1) stream_qkv(const __grid_constant__ operands o)
{
    extern __shared__ unsigned char shared[];
    allow_successor();
    __shared__ float channels[kBlockTokens][kHead]; /* of the tokens that this block finishes */
    __shared__ uint64_t channels_there;
    const cg::cluster_group cluster = cg::this_cluster();
    const int rank = static_cast<int>(cluster.block_rank()), warp = static_cast<int>(threadIdx.x) / kWarp;
    int head = static_cast<int>(blockIdx.x) / kCluster, kind = kQuery;
    if (head >= o.heads[kQuery]) head -= o.heads[kQuery], kind = kKey;
    if (kind == kKey && head >= o.heads[kKey]) head -= o.heads[kKey], kind = kValue;
    const stream_shape &s = o.s[kind];
    const int first = (head * kCluster + rank) * kBlockTiles;
    const uint32_t to_channels = shared_address(channels), barrier = shared_address(&channels_there);
    if (threadIdx.x == 0) { /* made known by weight_stream, with its own barriers */
        barrier_init(barrier);
        barrier_expect(barrier, (s.tokens - rank + kCluster - 1) / kCluster * static_cast<int>(sizeof channels[0]));
    }
    weight_stream<2, consecutive_rows<2>> stream(s, { &o.weight[kind] }, shared, first, s.tiles);
    stream.prepare(o.norm);

    /* The warp's row of what this block finishes, if it has one. */
    const int token = rank + warp * kCluster;
    const bool finishes = warp < kBlockTokens && token < s.tokens, rotates = finishes && kind != kValue;
    vector4 weight = {}, cos = {}, sin = {};
    int64_t moved = 0;
    if (rotates) weight = load_part(o.of_heads[kind].weight);
    cluster.sync(); /* every block runs, so that its memory may be written, and has its barrier */
    const auto fetch_more = [&] {
        if (rotates) cos = load_part(o.cos + token * kHead), sin = load_part(o.sin + token * kHead);
        if (o.past && kind != kQuery) moved = *o.past - o.recorded_past;
    };
    stream.take_x(o.norm, fetch_more); /* C1 */
    stream.run([&](int tile, const float(&sum)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int to = 2 * lane_quad() + i % 2, row = (tile * 2 + i / 2) * kBoxRows + lane_row();
            if (to < s.tokens)
                send(address_in(to_channels + (to / kCluster * kHead + row % kHead) * static_cast<int>(sizeof(float)),
                                to % kCluster),
                     sum[i], address_in(barrier, to % kCluster));
        }
    });
    if (!finishes) return;
    barrier_wait(barrier, 0);
    const float4 sums = reinterpret_cast<const float4 *>(channels[warp])[static_cast<int>(threadIdx.x) % kWarp];
    vector4 x = { { qp_bf16_from_f32(sums.x), qp_bf16_from_f32(sums.y), qp_bf16_from_f32(sums.z),
                    qp_bf16_from_f32(sums.w) } };                          /* C2 */
    if (rotates) x = norm_and_rope(x, weight, cos, sin, o.of_heads[kind]); /* C3, C4 */
    store_part(o.y[kind] + ((moved + token) * o.heads[kind] + head) * kHead, x);
}

/* ---- Many tokens. ---- */

constexpr int kRows = 8; /* of a block */

/* C3 and C4 of the projections in memory. */
__global__ void __launch_bounds__(kRows *kWarp)
    finish_heads(const qp_bf16 *x, qp_bf16 *y, const qp_bf16 *cos, const qp_bf16 *sin, const head_norm norm,
                 const int64_t rows, const int64_t heads)
{
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / kWarp;
    if (row >= rows) return;
    const int64_t t = row / heads;
    store_part(y + row * kHead, norm_and_rope(load_part(x + row * kHead), load_part(norm.weight),
                                              load_part(cos + t * kHead), load_part(sin + t * kHead), norm));
}

head_norm make_head_norm(const qp_bf16 *weight, int64_t rows, float eps)
{
    return { weight, qp_mean_factor(kHead, rows), eps };
}

bool has_usual_heads(const qp_rmsnorm_qkv_args &a)
{
    return a.d == kHead && aligned<kLaneChannels>(a.q_norm_weight, a.k_norm_weight, a.cos, a.sin, a.q, a.k, a.v);
}

/* Whether the fused kernel takes it, and how. */
bool choose(const qp_rmsnorm_qkv_args &a, operands *o, launch_shape *shape)
{
    const int64_t heads[kKinds] = { a.query_heads, a.key_heads, a.key_heads };
    const qp_bf16 *weights[kKinds] = { a.q_weight, a.k_weight, a.v_weight };
    qp_bf16 *y[kKinds] = { a.q, a.k, a.v };
    if (!has_usual_heads(a) || a.query_heads + a.key_heads > 1 << 16 || !aligned<8>(a.x, a.norm_weight)) return false;
    o->norm = make_stream_norm(a.norm_weight, a.hidden, a.tokens, a.eps);
    o->of_heads[kQuery] = make_head_norm(a.q_norm_weight, a.tokens * a.query_heads, a.eps);
    o->of_heads[kKey] = make_head_norm(a.k_norm_weight, a.tokens * a.key_heads, a.eps);
    o->of_heads[kValue] = {};
    o->cos = a.cos, o->sin = a.sin;
    for (int kind = 0; kind < kKinds; kind++) {
        stream_shape *s = &o->s[kind];
        const int64_t part = kind == kQuery ? a.part : a.part_kv;
        if (!stream_fits(a.tokens, a.hidden, part) || !aligned<8>(weights[kind])) return false;
        *s = make_stream_shape(a.x, a.tokens, a.hidden, part, true);
        s->groups = 2, s->teams = kBlockTiles;
        s->tiles = static_cast<int>(heads[kind]) * kBlockTiles * kCluster;
        if (s->warps() > kStreamWarps) return false;
        o->y[kind] = y[kind], o->heads[kind] = static_cast<int>(heads[kind]);
    }
    const int64_t blocks = (a.query_heads + 2 * a.key_heads) * kCluster;
    size_t shared = 0;
    unsigned threads = 0;
    for (stream_shape &s : o->s) {
        if (!choose_stages(&s, 1, blocks > kMultiprocessors ? kStreamRing / 2 : kStreamRing)) return false;
        shared = s.shared_bytes() > shared ? s.shared_bytes() : shared;
        threads = stream_threads(s) > threads ? stream_threads(s) : threads;
    }
    *shape = { static_cast<unsigned>(blocks), threads, shared, kCluster };
    return true;
}

} // namespace

size_t qp_rmsnorm_qkv_cuda_workspace(const qp_call *call)
{
    const qp_rmsnorm_qkv_args a = qp_rmsnorm_qkv_bind(call);
    operands o;
    launch_shape shape;
    return choose(a, &o, &shape) ? 0
                                 : piece_bytes(a.tokens * a.hidden) + piece_bytes(a.tokens * a.query_heads * a.d) +
                                       piece_bytes(a.tokens * a.key_heads * a.d);
}

qp_status qp_rmsnorm_qkv_cuda(const qp_call *call)
{
    const qp_rmsnorm_qkv_args a = qp_rmsnorm_qkv_bind(call);
    const qp_replay *replay = call->launch->replay;
    operands o;
    launch_shape shape;
    if (choose(a, &o, &shape)) {
        if (!make_weight_map(a.q_weight, a.query_heads * a.d, a.hidden, &o.weight[kQuery]) ||
            !make_weight_map(a.k_weight, a.key_heads * a.d, a.hidden, &o.weight[kKey]) ||
            !make_weight_map(a.v_weight, a.key_heads * a.d, a.hidden, &o.weight[kValue]))
            return no_weight_map("rmsnorm_qkv");
        o.past = replay ? replay->past : nullptr;
        o.recorded_past = replay ? replay->recorded_past : 0;
        return launch_dependent(call, "rmsnorm_qkv", stream_qkv, shape, o);
    }
    if (replay) return qp_fail(QP_UNSUPPORTED, "rmsnorm_qkv: this size cannot be replayed");
    workspace_pieces pieces(call);
    qp_bf16 *normed = pieces.take(a.tokens * a.hidden), *q = pieces.take(a.tokens * a.query_heads * a.d),
            *k = pieces.take(a.tokens * a.key_heads * a.d);
    const int64_t q_rows = a.tokens * a.query_heads, k_rows = a.tokens * a.key_heads;
    QP_TRY(enqueue_rms_norm(call, a.x, a.norm_weight, normed, a.tokens, a.hidden));
    QP_TRY(enqueue_linear(call, normed, a.q_weight, q, a.tokens, a.query_heads * a.d, a.hidden, a.part));
    QP_TRY(enqueue_linear(call, normed, a.k_weight, k, a.tokens, a.key_heads * a.d, a.hidden, a.part_kv));
    QP_TRY(enqueue_linear(call, normed, a.v_weight, a.v, a.tokens, a.key_heads * a.d, a.hidden, a.part_kv));
    if (has_usual_heads(a)) {
        finish_heads<<<blocks_for(q_rows, kRows), kRows * kWarp, 0, stream_of(call)>>>(
            q, a.q, a.cos, a.sin, make_head_norm(a.q_norm_weight, q_rows, a.eps), q_rows, a.query_heads);
        finish_heads<<<blocks_for(k_rows, kRows), kRows * kWarp, 0, stream_of(call)>>>(
            k, a.k, a.cos, a.sin, make_head_norm(a.k_norm_weight, k_rows, a.eps), k_rows, a.key_heads);
        return launched("rmsnorm_qkv");
    }
    QP_TRY(enqueue_rms_norm(call, q, a.q_norm_weight, q, q_rows, a.d));
    QP_TRY(enqueue_rms_norm(call, k, a.k_norm_weight, k, k_rows, a.d));
    QP_TRY(enqueue_rope(call, q, a.cos, a.sin, a.q, a.tokens, a.query_heads, a.d));
    return enqueue_rope(call, k, a.cos, a.sin, a.k, a.tokens, a.key_heads, a.d);
}
