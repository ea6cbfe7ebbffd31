/* embedding: y[t, :] = table[ids[t], :]
 *
 * Source: transformers 5.17, modeling_qwen3.py, Qwen3Model.embed_tokens (nn.Embedding).
 * Rounding points: none; rows are copied.
 * Preconditions:
 *   P1  0 <= ids[t] < V. Any other id fails with QP_INVALID on the CPU. The CUDA implementation cannot fail for it: it
 *       reads nothing and fills the row with NaN (0x7FFF). The ids are checked on the host, before they get there. */
#ifndef QP_EMBEDDING_H
#define QP_EMBEDDING_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_EMBEDDING_T, QP_EMBEDDING_V, QP_EMBEDDING_HIDDEN };
enum { QP_EMBEDDING_IDS, QP_EMBEDDING_TABLE };

typedef struct qp_embedding_args {
    const int64_t *ids;   /* in  [T]          */
    const qp_bf16 *table; /* in  [V, H], bf16 */
    qp_bf16 *y;           /* out [T, H], bf16 */
    int64_t tokens, vocabulary, hidden;
} qp_embedding_args;

extern const qp_operation qp_embedding_operation;

qp_embedding_args qp_embedding_bind(const qp_call *call);
/* P1 for a call in any precision. */
QP_MUST_USE qp_status qp_embedding_check_ids(const int64_t *ids, int64_t tokens, int64_t vocabulary);
QP_MUST_USE qp_status qp_embedding_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_embedding_cuda(const qp_call *call);   /* CUDA: the operands are the device's */
QP_MUST_USE qp_status qp_embedding_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
