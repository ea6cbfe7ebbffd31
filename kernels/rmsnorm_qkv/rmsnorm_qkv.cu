#include <algorithm>

#include "../rope/rope.cuh"
#include "../unfused.cuh"
#include "../weight_stream.cuh"
#include "rmsnorm_qkv.h"

namespace {

using namespace qp;

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

/* A cluster of blocks has a head, or a few of one kind: each block sums its share of the channels of each of them for all
 * tokens, and finishes its share of the rows, of which a token has one a head. For those the other blocks send it their
 * channels through distributed shared memory. Heads that are not there, in the last cluster of a kind, are zeros. */
template <int kBlocks, int kHeads, int kSharing> struct cluster_of {
    static constexpr int kSize = kBlocks, kOfHeads = kHeads;
    static constexpr int kOfMultiprocessor = kSharing;                  /* blocks for which one shall have room */
    static constexpr int kMostWarps = kSharing > 1 ? 10 : kStreamWarps; /* so that the registers suffice */
    static constexpr int kHeadTiles = kHead / (2 * kBoxRows), kTiles = kHeadTiles / kBlocks; /* of a head; in a block */
    static constexpr int kRows = (kStreamTokens * kHeads + kBlocks - 1) / kBlocks; /* the most that a block finishes */

    static int64_t clusters(int64_t heads) { return tiles_for(heads, kHeads); }
    static int64_t blocks(const qp_rmsnorm_qkv_args &a)
    {
        return (clusters(a.query_heads) + 2 * clusters(a.key_heads)) * kBlocks;
    }
};
using single_head = cluster_of<4, 1, 1>;
using three_heads = cluster_of<8, 3, 2>; /* 48 heads then have 136 blocks of three tiles, instead of 192 of two */

enum { kQuery, kKey, kValue, kKinds };

struct operands {
    stream_shape s[kKinds];
    weight_map weight[kKinds];
    head_norm of_heads[kKinds];
    const qp_bf16 *cos, *sin;
    qp_bf16 *y[kKinds];
    int heads[kKinds], clusters[kKinds];
    const int64_t
        *past; /* NULL: y is where it shall be. Otherwise keys and values go behind so many rows of the cache */
    int64_t recorded_past;
};

/* The rows of weights of a block's tiles, head by head. */
template <class Cluster> struct head_rows {
    static constexpr int kCopies = 1;
    const weight_map *map;
    int first; /* of the cluster's first head, the block's first tile */

    __device__ tile_rows operator()(int tile, int) const
    {
        const int of_head = tile / Cluster::kTiles * Cluster::kHeadTiles + tile % Cluster::kTiles;
        return { map, (first + of_head) * 2 * kBoxRows };
    }
};

/* Where something of this block's shared memory lies in that of another block of the cluster. */
__device__ uint32_t address_in(uint32_t own, int rank)
{
    uint32_t address;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(own), "r"(rank));
    return address;
}

/* Makes the barriers that the thread has set up known to the cluster, and says that it is here. */
__device__ void arrive_in_cluster()
{
    asm volatile("fence.mbarrier_init.release.cluster;\n"
                 "barrier.cluster.arrive.relaxed.aligned;" ::
                     : "memory");
}

/* Until all threads of the cluster are. */
__device__ void wait_for_cluster() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/* Writes there, and tells a barrier there of it: it need not be waited for here. */
__device__ void send(uint32_t to, float value, uint32_t barrier)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(to), "f"(value),
                 "r"(barrier)
                 : "memory");
}

template <class Cluster>
__global__ void __launch_bounds__(Cluster::kMostWarps *kWarp, Cluster::kOfMultiprocessor)
    stream_qkv(const __grid_constant__ operands o)
{
    extern __shared__ __align__(kBoxBytes) unsigned char shared[];
    allow_successor();
    constexpr int kSize = Cluster::kSize, kHeads = Cluster::kOfHeads;
    __shared__ float channels[Cluster::kRows][kHead]; /* of the rows that this block finishes */
    __shared__ uint64_t channels_there;
    const int rank = static_cast<int>(blockIdx.x) % kSize, warp = static_cast<int>(threadIdx.x) / kWarp;
    int number = static_cast<int>(blockIdx.x) / kSize, kind = kQuery;
    if (number >= o.clusters[kQuery]) number -= o.clusters[kQuery], kind = kKey;
    if (kind == kKey && number >= o.clusters[kKey]) number -= o.clusters[kKey], kind = kValue;
    const stream_shape &s = o.s[kind];
    const int rows = s.tokens * kHeads, first_tile = rank * Cluster::kTiles;
    const uint32_t to_channels = shared_address(channels), barrier = shared_address(&channels_there);
    if (threadIdx.x == 0) {
        barrier_init(barrier);
        barrier_expect(barrier, (rows - rank + kSize - 1) / kSize * static_cast<int>(sizeof channels[0]));
    }
    arrive_in_cluster();
    weight_stream<2, head_rows<Cluster>> stream(
        s, { &o.weight[kind], number * kHeads * Cluster::kHeadTiles + first_tile }, shared, 0, s.tiles);
    stream.prepare_to_normalise();

    /* The warp's row of what this block finishes, if it has one. */
    const int row = rank + warp * kSize, token = row / kHeads, head = number * kHeads + row % kHeads;
    const bool receives = row < rows, finishes = receives && head < o.heads[kind];
    const bool rotates = finishes && kind != kValue;
    vector4 weight = {}, cos = {}, sin = {};
    int64_t moved = 0;
    if (rotates) weight = load_part(o.of_heads[kind].weight);
    const auto fetch_more = [&] {
        if (rotates) cos = load_part(o.cos + token * kHead), sin = load_part(o.sin + token * kHead);
        if (o.past && kind != kQuery) moved = *o.past - o.recorded_past;
    };
    stream.take_normalised_x(fetch_more); /* C1 */
    wait_for_cluster();                   /* every block runs, so that its memory may be written, and has its barrier */
    stream.run([&](int tile, const float(&sum)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int of_token = 2 * lane_quad() + i % 2, to = of_token * kHeads + tile / Cluster::kTiles;
            const int channel = ((first_tile + tile % Cluster::kTiles) * 2 + i / 2) * kBoxRows + lane_row();
            if (of_token < s.tokens)
                send(address_in(to_channels + (to / kSize * kHead + channel) * static_cast<int>(sizeof(float)),
                                to % kSize),
                     sum[i], address_in(barrier, to % kSize));
        }
    });
    if (receives) barrier_wait(barrier, 0); /* also for what is not there: the block must not end before it was sent */
    if (!finishes) return;
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

/* Whether the fused kernel takes it with clusters of this kind, and how. */
template <class Cluster> bool choose(const qp_rmsnorm_qkv_args &a, operands *o, launch_shape *shape)
{
    const int64_t heads[kKinds] = { a.query_heads, a.key_heads, a.key_heads };
    const qp_bf16 *weights[kKinds] = { a.q_weight, a.k_weight, a.v_weight };
    qp_bf16 *y[kKinds] = { a.q, a.k, a.v };
    if (!has_usual_heads(a) || a.query_heads + a.key_heads > 1 << 16 || !aligned<8>(a.x, a.norm_weight)) return false;
    const int64_t blocks = Cluster::blocks(a);
    const stream_norm norm = make_stream_norm(a.norm_weight, a.hidden, a.tokens, a.eps);
    o->of_heads[kQuery] = make_head_norm(a.q_norm_weight, a.tokens * a.query_heads, a.eps);
    o->of_heads[kKey] = make_head_norm(a.k_norm_weight, a.tokens * a.key_heads, a.eps);
    o->of_heads[kValue] = {};
    o->cos = a.cos, o->sin = a.sin;
    *shape = { static_cast<unsigned>(blocks), 0, 0, Cluster::kSize };
    for (int kind = 0; kind < kKinds; kind++) {
        stream_shape *s = &o->s[kind];
        const int64_t part = kind == kQuery ? a.part : a.part_kv;
        if (!stream_fits(a.tokens, a.hidden, part) || !aligned<8>(weights[kind])) return false;
        *s = make_stream_shape(a.x, a.tokens, a.hidden, part, norm);
        s->groups = 2, s->tiles = s->teams = Cluster::kTiles * Cluster::kOfHeads; /* of a block */
        if (s->warps() > Cluster::kMostWarps ||
            !choose_stages(s, 1, blocks > kMultiprocessors ? kStreamRing * 3 / 4 : kStreamRing))
            return false;
        o->y[kind] = y[kind], o->heads[kind] = static_cast<int>(heads[kind]);
        o->clusters[kind] = static_cast<int>(Cluster::clusters(heads[kind]));
        shape->shared_bytes = std::max(shape->shared_bytes, s->shared_bytes());
        shape->block = std::max(shape->block.x, stream_threads(*s));
    }
    return true;
}

using kernel_of_few = void (*)(operands);

/* The kernel that takes it, and how; NULL: none. */
kernel_of_few choose(const qp_rmsnorm_qkv_args &a, operands *o, launch_shape *shape)
{
    if (single_head::blocks(a) > kMultiprocessors && choose<three_heads>(a, o, shape)) return stream_qkv<three_heads>;
    return choose<single_head>(a, o, shape) ? stream_qkv<single_head> : nullptr;
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
    if (const kernel_of_few kernel = choose(a, &o, &shape)) {
        if (!make_weight_map(a.q_weight, a.query_heads * a.d, a.hidden, 2, &o.weight[kQuery]) ||
            !make_weight_map(a.k_weight, a.key_heads * a.d, a.hidden, 2, &o.weight[kKey]) ||
            !make_weight_map(a.v_weight, a.key_heads * a.d, a.hidden, 2, &o.weight[kValue]))
            return no_weight_map("rmsnorm_qkv");
        o.past = replay ? replay->past : nullptr;
        o.recorded_past = replay ? replay->recorded_past : 0;
        return launch_dependent(call, "rmsnorm_qkv", kernel, shape, o);
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
