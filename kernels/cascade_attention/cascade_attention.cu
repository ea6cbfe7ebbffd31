/* Three ways: what sequences share once for all of them (cascade_attention.cuh, cascade_attention_lanes.cuh), where that
 * is worth its launches; the kernels of gqa_attention for few queries (gqa_attention_decode.cuh) for all sequences, which
 * read each context whole; and for shapes that those do not take, each context is copied together and goes through the
 * kernels of the reference plan. */
#include "../gqa_attention/gqa_attention_decode.cuh"
#include "../gqa_attention/gqa_attention_unfused.cuh"
#include "cascade_attention_lanes.cuh"

namespace {

using namespace qp;
using namespace qp::cascade;

constexpr char kName[] = "cascade_attention";
constexpr int kGatherThreads = 256;

/* One sequence alone, its keys still in the pool. */
qp_gqa_attention_args args_of_sequence(const qp_cascade_attention_args &a)
{
    qp_gqa_attention_args of_sequence = {};
    of_sequence.q = a.q, of_sequence.keys = a.keys, of_sequence.values = a.values, of_sequence.y = a.y;
    of_sequence.tokens = 1, of_sequence.keys_count = a.keys_count;
    of_sequence.query_heads = a.query_heads, of_sequence.key_heads = a.key_heads, of_sequence.d = a.d;
    of_sequence.scale = a.scale, of_sequence.order = a.order, of_sequence.context_order = a.context_order;
    return of_sequence;
}

rows_of_pieces rows_of(const qp_cascade_attention_args &a) { return { a.first, a.length, static_cast<int>(a.pieces) }; }

/* ---- Shared ---- */

/* But for the workspace. */
cascade_call call_of(const qp_cascade_attention_args &a)
{
    cascade_call c = {};
    c.a = args_of_sequence(a), c.row = rows_of(a);
    c.sequences = static_cast<int>(a.sequences);
    c.group = static_cast<int>(a.query_heads / a.key_heads);
    c.columns = c.sequences * c.group, c.by_group = divisor::of(c.group);
    const positions place(static_cast<int>(a.keys_count), a.context_order);
    c.end = place.blocks() * QP_BLOCK_K;
    const bool whole = a.shared == a.keys_count && a.context_order.lanes == 0; /* lanes sum keys, not positions */
    c.split = whole ? c.end : place.of(static_cast<int>(a.shared)) / QP_BLOCK_K * QP_BLOCK_K;
    if (const int lanes = a.context_order.lanes) {
        const int64_t run = a.context_order.run, turns = tiles_for(a.keys_count, lanes * run);
        c.dealt.lanes = lanes, c.dealt.run = a.context_order.run;
        c.dealt.length = static_cast<int>(tiles_for(turns * run, kChunk) * kChunk);
        c.dealt.by_lanes = divisor::of(lanes), c.dealt.by_run = divisor::of(a.context_order.run);
    }
    const int width = c.end > c.dealt.size() ? c.end : c.dealt.size();
    c.stride = static_cast<int>(tiles_for(width, kScoreKeys) * kScoreKeys);
    return c;
}

constexpr size_t kMostHeld = kSharedBytes - kWarp * sizeof(float); /* of a row in a block of the softmax */

bool takes_scores(const qp_sum_order &order)
{
    if (order.lanes) return lanes_fit_head(order);
    return !order.narrow && (order.run % QP_BLOCK_K == 0 || order.run >= kHeadDim);
}

bool takes_context(const qp_cascade_attention_args &a)
{
    if (a.context_order.lanes == 0) return !a.context_order.narrow;
    return a.context_order.lanes >= kFewestLanes && a.context_order.run <= a.keys_count &&
           held_bytes(call_of(a)) <= kMostHeld;
}

/* Whether four launches cost less than reading what is shared again and again: by the bytes that need not be read. */
bool by_sharing(const qp_cascade_attention_args &a)
{
    const int64_t worthwhile = (a.context_order.lanes ? 16 : 3) << 20;
    const int64_t saved = (a.sequences - 1) * a.shared * a.key_heads * a.d * 2 * static_cast<int64_t>(sizeof(qp_bf16));
    return fast_shape(args_of_sequence(a)) && a.sequences * a.query_heads <= 0x7fffffff / kHeadDim &&
           a.query_heads / a.key_heads <= kTileColumns && a.shared >= kStageKeys && saved >= worthwhile &&
           takes_scores(a.order) && takes_context(a);
}

int64_t score_elements(const cascade_call &c) { return c.a.key_heads * c.columns * c.stride; }
/* Of the sums, which are f32, as many bf16. */
int64_t sum_elements(const cascade_call &c)
{
    constexpr int64_t kSize = sizeof(float) / sizeof(qp_bf16);
    return kSize * c.a.key_heads * (c.dealt.lanes ? c.dealt.lanes : 1) * c.columns * kHeadDim;
}
size_t sharing_bytes(const cascade_call &c) { return piece_bytes(score_elements(c)) + piece_bytes(sum_elements(c)); }

qp_status launch_scores(const qp_call *call, const cascade_call &c)
{
    const int64_t tiles = score_tiles_of(c.split) + static_cast<int64_t>(c.sequences) * score_tiles_of(c.end - c.split);
    const bool lanes = c.a.order.lanes > 0;
    const launch_shape shape = { dim3(static_cast<unsigned>(c.a.key_heads * tiles)),
                                 dim3(lanes ? kLaneScoreThreads : kScoreThreads),
                                 lanes ? kLaneScoreBytes : score_bytes(c.columns), 1 };
    const int halved = c.a.order.fold == QP_FOLD_HALVES ? c.a.order.lanes : 0;
    return launch_dependent(call, kName,
                            !lanes         ? cascade_scores
                            : halved == 16 ? cascade_lane_scores<16>
                            : halved == 32 ? cascade_lane_scores<32>
                                           : cascade_lane_scores<0>,
                            shape, c);
}

template <bool kDealt> qp_status launch_softmax(const qp_call *call, const cascade_call &c)
{
    const int64_t rows = c.a.key_heads * c.columns;
    const size_t bytes = held_bytes(c);
    if (c.a.keys_count <= QP_SOFTMAX_WARP_MAX) {
        const launch_shape shape = { dim3(blocks_for(rows, kSoftmaxWarps)), dim3(kSoftmaxWarps * kWarp),
                                     kSoftmaxWarps * bytes, 1 };
        return launch_dependent(call, kName, cascade_softmax<false, kDealt>, shape, c);
    }
    const bool held = bytes <= kMostHeld;
    const launch_shape shape = { dim3(blocks_for(rows, 1)), dim3(QP_SOFTMAX_THREADS), held ? bytes : 0, 1 };
    return launch_dependent(call, kName, held ? cascade_softmax<true, kDealt> : cascade_softmax_long, shape, c);
}

/* Blocks of kColumns columns, where the columns of a head are computed in `parts` parts. */
template <int kColumns> int64_t column_blocks(const cascade_call &c, int64_t parts)
{
    return c.a.key_heads * parts * tiles_for(c.columns, kColumns);
}

template <int kColumns> qp_status launch_shared_context(const qp_call *call, const cascade_call &c, int64_t parts)
{
    const launch_shape shape = { dim3(static_cast<unsigned>(column_blocks<kColumns>(c, parts))),
                                 dim3(shared_shape<kColumns>::kThreads), shared_shape<kColumns>::kBytes, 1 };
    return launch_dependent(call, kName, cascade_shared_context<kColumns>, shape, c);
}

template <int kColumns> qp_status launch_lane_shared_context(const qp_call *call, const cascade_call &c)
{
    const launch_shape shape = { dim3(static_cast<unsigned>(column_blocks<kColumns>(c, c.dealt.lanes))),
                                 dim3(kLaneContextThreads<kColumns>), 0, 1 };
    return launch_dependent(call, kName, cascade_lane_shared_context<kColumns>, shape, c);
}

/* The chains over the shared positions, then those over each sequence's own. */
qp_status launch_context(const qp_call *call, const cascade_call &c)
{
    constexpr int64_t kParts = kHeadDim / kSharedChannels;
    constexpr int64_t kEnoughOf64 = 64, kEnoughOf32 = 100; /* blocks: wide ones read less, but there must be enough */
    QP_TRY(column_blocks<64>(c, kParts) >= kEnoughOf64   ? launch_shared_context<64>(call, c, kParts)
           : column_blocks<32>(c, kParts) >= kEnoughOf32 ? launch_shared_context<32>(call, c, kParts)
                                                         : launch_shared_context<16>(call, c, kParts));
    const launch_shape of_own = { dim3(static_cast<unsigned>(c.a.key_heads * c.sequences)), dim3(kOwnThreads),
                                  kOwnBytes, 1 };
    return launch_dependent(call, kName, cascade_own_context, of_own, c);
}

/* The same by lanes. */
qp_status launch_lane_context(const qp_call *call, const cascade_call &c)
{
    constexpr int64_t kEnough = kMultiprocessors; /* blocks */
    QP_TRY(column_blocks<64>(c, c.dealt.lanes) >= kEnough ? launch_lane_shared_context<64>(call, c)
                                                          : launch_lane_shared_context<32>(call, c));
    const launch_shape of_own = { dim3(static_cast<unsigned>(c.a.key_heads * c.sequences)), dim3(kLaneOwnThreads),
                                  lane_own_bytes(c), 1 };
    return launch_dependent(call, kName, cascade_lane_own_context, of_own, c);
}

qp_status run_shared(const qp_call *call, const qp_cascade_attention_args &a)
{
    cascade_call c = call_of(a);
    workspace_pieces pieces(call);
    c.scores = pieces.take(score_elements(c));
    c.sums = reinterpret_cast<float *>(pieces.take(sum_elements(c)));
    QP_TRY(launch_scores(call, c));
    if (c.dealt.lanes) {
        QP_TRY(launch_softmax<true>(call, c));
        return launch_lane_context(call, c);
    }
    QP_TRY(launch_softmax<false>(call, c));
    return launch_context(call, c);
}

/* ---- Copied together ---- */

__global__ void __launch_bounds__(kGatherThreads)
    gather(const qp_cascade_attention_args a, const rows_of_pieces row, int sequence, qp_bf16 *keys, qp_bf16 *values)
{
    const int64_t width = a.key_heads * a.d;
    rows_of_pieces::span known = {};
    for (int64_t i = blockIdx.x * static_cast<int64_t>(kGatherThreads) + threadIdx.x; i < a.keys_count * width;
         i += static_cast<int64_t>(gridDim.x) * kGatherThreads) {
        const int64_t from = row.of(sequence, static_cast<int>(i / width), known) * width + i % width;
        keys[i] = a.keys[from], values[i] = a.values[from];
    }
}

int64_t context_elements(const qp_cascade_attention_args &a) { return a.keys_count * a.key_heads * a.d; }

qp_status run_gathered(const qp_call *call, const qp_cascade_attention_args &a)
{
    workspace_pieces pieces(call);
    qp_bf16 *const keys = pieces.take(context_elements(a)), *const values = pieces.take(context_elements(a));
    const unsigned blocks = blocks_of(tiles_for(context_elements(a), kGatherThreads));
    for (int64_t b = 0; b < a.sequences; b++) {
        gather<<<blocks, kGatherThreads, 0, stream_of(call)>>>(a, rows_of(a), static_cast<int>(b), keys, values);
        QP_TRY(launched(kName));
        qp_gqa_attention_args of_sequence = args_of_sequence(a);
        of_sequence.keys = keys, of_sequence.values = values;
        of_sequence.q += b * a.query_heads * a.d, of_sequence.y += b * a.query_heads * a.d;
        QP_TRY(run_unfused(call, of_sequence, pieces));
    }
    return QP_OK;
}

} // namespace

qp_status qp_cascade_attention_cuda(const qp_call *call)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    if (call->launch->replay)
        return qp_fail(QP_UNSUPPORTED, "cascade_attention cannot be replayed at another length than its own");
    if (by_sharing(a)) return run_shared(call, a);
    const qp_gqa_attention_args of_sequence = args_of_sequence(a);
    return decode_rows(of_sequence) ? launch_decode(call, kName, of_sequence, rows_of(a), a.sequences)
                                    : run_gathered(call, a);
}

size_t qp_cascade_attention_cuda_workspace(const qp_call *call)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    if (by_sharing(a)) return sharing_bytes(call_of(a));
    const qp_gqa_attention_args of_sequence = args_of_sequence(a);
    return decode_rows(of_sequence) ? 0 : 2 * piece_bytes(context_elements(a)) + unfused_bytes(of_sequence);
}
