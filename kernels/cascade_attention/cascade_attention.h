/* cascade_attention: decode attention of B sequences whose contexts are made of pieces of one pool of keys and values:
 *   y[b, h, :] = sum over s of probs[b, h, s] * values[row(b, s), h / group, :],
 *   probs[b, h, :] = softmax over s of scale * (q[b, h, :] . keys[row(b, s), h / group, :])
 * group = Hq / Hkv query heads share a key head and a value head.
 *
 * The context of sequence b is the concatenation of its pieces: piece c is `length[b, c]` rows of the pool from row
 * `first[b, c]` on. So a prefix that sequences share, and any chain of chunks, lies in memory once. The last row of a
 * context is that of the sequence's newest token.
 * Source: transformers 5.17, modeling_qwen3.py, eager_attention_forward, for each sequence alone (gqa_attention.h, T = 1).
 * Order and rounding points, for each sequence:
 *   C1  scores, C2 softmax, C3 context over the concatenated rows, as in gqa_attention.h. No sum begins anew where a
 *       piece ends: a chain hands its accumulator on, and a block of 16 may hold the rows of two pieces.
 * So pieces change no bit, and neither does `shared` (qp_params): it promises that the first `shared` rows of all contexts
 * are the same rows, so that CUDA may read them once for all sequences.
 * Preconditions:
 *   P1  those of gqa_attention.
 *   P2  the lengths of a sequence are at least 0 and sum to S, the same for all; its rows are in the pool.
 *   P3  shared is at most S, and what it promises is true. CUDA does not look. */
#ifndef QP_CASCADE_ATTENTION_H
#define QP_CASCADE_ATTENTION_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    QP_CASCADE_ATTENTION_B,
    QP_CASCADE_ATTENTION_N,
    QP_CASCADE_ATTENTION_C,
    QP_CASCADE_ATTENTION_S,
    QP_CASCADE_ATTENTION_HQ,
    QP_CASCADE_ATTENTION_HKV,
    QP_CASCADE_ATTENTION_D
};
enum {
    QP_CASCADE_ATTENTION_Q,
    QP_CASCADE_ATTENTION_KEYS,
    QP_CASCADE_ATTENTION_VALUES,
    QP_CASCADE_ATTENTION_FIRST,
    QP_CASCADE_ATTENTION_LENGTH
};

typedef struct qp_cascade_attention_args {
    const qp_bf16 *q;      /* in  [B, Hq, D], bf16: the newest token of each sequence */
    const qp_bf16 *keys;   /* in  [N, Hkv, D], bf16, the pool                         */
    const qp_bf16 *values; /* in  [N, Hkv, D], bf16, the pool                         */
    const int64_t *first;  /* in  [B, C], i64                                         */
    const int64_t *length; /* in  [B, C], i64; 0: no piece                            */
    qp_bf16 *y;            /* out [B, Hq, D], bf16                                    */
    int64_t sequences, pool_rows, pieces, keys_count, query_heads, key_heads, d;
    int64_t shared;
    float scale;
    qp_sum_order order, context_order;
} qp_cascade_attention_args;

extern const qp_operation qp_cascade_attention_operation;

qp_cascade_attention_args qp_cascade_attention_bind(const qp_call *call);
QP_MUST_USE qp_status qp_cascade_attention_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_cascade_attention_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_cascade_attention_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_cascade_attention_oracle(const qp_call *call); /* the same operands, activations in f64 */
QP_MUST_USE qp_status
qp_cascade_attention_rounding_oracle(const qp_call *call); /* that, but scores and probs in bf16 */

/* Calls attend(call) for each sequence, on the rows of its context side by side. The call has the extents and operands of
 * gqa_attention, and behind them C and `first` and `length` of the sequence, for planted faults. `element`: bytes of an
 * element of q, keys, values and y. QP_INVALID if the pieces break P2 or P3. */
QP_MUST_USE qp_status qp_cascade_attention_flat(const qp_call *call, size_t element, qp_run attend);

#ifdef __cplusplus
}
#endif
#endif
