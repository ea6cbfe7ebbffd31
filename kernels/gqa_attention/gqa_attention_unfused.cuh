/* gqa_attention by the kernels of the reference plan, for what no fused kernel takes. */
#ifndef QP_GQA_ATTENTION_UNFUSED_CUH
#define QP_GQA_ATTENTION_UNFUSED_CUH

#include "../context/context.h"
#include "../cuda.cuh"
#include "../scores/scores.h"
#include "../softmax/softmax.h"
#include "gqa_attention.h"

namespace qp::attention {

inline int64_t score_elements(const qp_gqa_attention_args &a) { return a.query_heads * a.tokens * a.keys_count; }
/* Of the memory that run_unfused needs. */
inline size_t unfused_bytes(const qp_gqa_attention_args &a) { return 2 * piece_bytes(score_elements(a)); }

/* The three operations one after the other. `call` gives the launch, `pieces` what the call has left of its workspace. */
inline qp_status run_unfused(const qp_call *call, const qp_gqa_attention_args &a, workspace_pieces pieces)
{
    qp_bf16 *const scores = pieces.take(score_elements(a)), *const probs = pieces.take(score_elements(a));
    qp_call part = {};
    part.extent[QP_SCORES_T] = a.tokens, part.extent[QP_SCORES_S] = a.keys_count;
    part.extent[QP_SCORES_HQ] = a.query_heads, part.extent[QP_SCORES_HKV] = a.key_heads;
    part.extent[QP_SCORES_D] = a.d; /* they are those of context, too */
    part.in[QP_SCORES_Q] = a.q, part.in[QP_SCORES_KEYS] = a.keys, part.out[0] = scores;
    part.params.scale = a.scale, part.params.order = a.order;
    part.launch = call->launch;
    QP_TRY(qp_scores_cuda(&part));

    qp_call of_rows = {};
    of_rows.extent[QP_SOFTMAX_ROWS] = a.query_heads * a.tokens, of_rows.extent[QP_SOFTMAX_S] = a.keys_count;
    of_rows.in[QP_SOFTMAX_X] = scores, of_rows.out[0] = probs;
    of_rows.launch = call->launch;
    QP_TRY(qp_softmax_cuda(&of_rows));

    part.in[QP_CONTEXT_PROBS] = probs, part.in[QP_CONTEXT_VALUES] = a.values;
    part.out[0] = a.y;
    part.params.order = a.context_order;
    return qp_context_cuda(&part);
}

} // namespace qp::attention

#endif
