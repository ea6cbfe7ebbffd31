/* Four ways: blocks of their own for few queries over few keys (gqa_attention_short.cuh), clusters for few queries over
 * more (gqa_attention_decode.cuh), tiles for many (gqa_attention_prefill.cuh), and the kernels of the reference plan for
 * the rest: heads that are not 128 channels wide, many queries by lanes, and many queries with more keys than PyTorch's
 * softmax sums by S1 and S2. */
#include "gqa_attention_decode.cuh"
#include "gqa_attention_prefill.cuh"
#include "gqa_attention_unfused.cuh"

#include <inttypes.h>

namespace {

using namespace qp;
using namespace qp::attention;

template <int kWarps> qp_status launch_prefill(const qp_call *call, const qp_gqa_attention_args &a)
{
    const int64_t tiles = tiles_for(a.tokens, static_cast<int64_t>(kWarps) * kTileRows);
    const launch_shape shape = { dim3(static_cast<unsigned>(tiles * a.query_heads)), dim3(kWarps * kWarp),
                                 kPrefillBytes, 1 };
    return a.order.narrow || a.context_order.narrow
               ? launch_dependent(call, "gqa_attention", prefill<kWarps, true>, shape, a)
               : launch_dependent(call, "gqa_attention", prefill<kWarps, false>, shape, a);
}

bool by_prefill(const qp_gqa_attention_args &a)
{
    const bool on_tensor_core =
        a.order.lanes == 0 && a.context_order.lanes == 0 && (a.order.run % QP_BLOCK_K == 0 || a.order.run >= kHeadDim);
    return fast_shape(a) && on_tensor_core && a.keys_count <= kPrefillKeys && a.scale >= 0.0f;
}

} // namespace

qp_status qp_gqa_attention_cuda(const qp_call *call)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(call);
    if (decode_rows(a)) return launch_decode(call, "gqa_attention", a, rows_of_cache(), 1);
    if (call->launch->replay)
        return qp_fail(QP_UNSUPPORTED,
                       "gqa_attention can be replayed for up to %" PRId64 " queries of a key head with %d channels, "
                       "not for %" PRId64 " with %" PRId64 " and %" PRId64 " keys",
                       kDecodeQueries, kHeadDim, a.query_heads / a.key_heads * a.tokens, a.d, a.keys_count);
    if (!by_prefill(a)) return run_unfused(call, a, workspace_pieces(call));
    constexpr int64_t kWorthwhile = 2 * kMultiprocessors; /* blocks */
    const int64_t wide_blocks = tiles_for(a.tokens, 8 * kTileRows) * a.query_heads;
    return wide_blocks >= kWorthwhile ? launch_prefill<8>(call, a) : launch_prefill<4>(call, a);
}

size_t qp_gqa_attention_cuda_workspace(const qp_call *call)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(call);
    return decode_rows(a) || by_prefill(a) ? 0 : unfused_bytes(a);
}
