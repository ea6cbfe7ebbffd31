/* rmsnorm_qkv: from the residual stream to the queries, keys and values of a layer
 *   n = rms_norm(x) * norm_weight;  q = rope(rms_norm(n Wq^T) * q_norm);  k = rope(rms_norm(n Wk^T) * k_norm);  v = n Wv^T
 *
 * Source: transformers 5.17, modeling_qwen3.py: Qwen3DecoderLayer's input_layernorm, then q_proj, k_proj, v_proj, q_norm,
 * k_norm and apply_rotary_pos_emb of Qwen3Attention. It replaces eight nodes of the reference plan, and the append to
 * the cache: keys and values are written where they are to stay.
 * Order and rounding points: those of the operations that it replaces, one after the other, each result rounded to bf16
 * where theirs is. With their names (rms_norm.h, linear.h, rope.h):
 *   C1  n: rms_norm over H, whose order of the mean depends on T rows. n is bf16.
 *   C2  each projection: linear of n, M = T, K = H; `part` for the queries, `part_kv` for keys and values. bf16.
 *   C3  queries and keys: rms_norm over D, whose order of the mean depends on T * Hq and T * Hkv rows. bf16.
 *   C4  queries and keys: rope. bf16.
 * On CUDA, up to eight tokens are one launch, which sums as `part` and `part_kv` say, if H and the parts are multiples of
 * 64. Otherwise the products are PyTorch's own calls of cuBLAS (cublas.h), which have its order whatever it is, with our
 * kernels around them.
 * Preconditions:
 *   P1  those of rms_norm, linear and rope for these sizes. */
#ifndef QP_RMSNORM_QKV_H
#define QP_RMSNORM_QKV_H

#include "../numerics/bf16.h"
#include "../operation.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_RMSNORM_QKV_T, QP_RMSNORM_QKV_HIDDEN, QP_RMSNORM_QKV_HQ, QP_RMSNORM_QKV_HKV, QP_RMSNORM_QKV_D };
enum {
    QP_RMSNORM_QKV_X,
    QP_RMSNORM_QKV_NORM_WEIGHT,
    QP_RMSNORM_QKV_Q_WEIGHT,
    QP_RMSNORM_QKV_K_WEIGHT,
    QP_RMSNORM_QKV_V_WEIGHT,
    QP_RMSNORM_QKV_Q_NORM,
    QP_RMSNORM_QKV_K_NORM,
    QP_RMSNORM_QKV_COS,
    QP_RMSNORM_QKV_SIN
};
enum { QP_RMSNORM_QKV_Q, QP_RMSNORM_QKV_K, QP_RMSNORM_QKV_V };

typedef struct qp_rmsnorm_qkv_args {
    const qp_bf16 *x;                             /* in  [T, H], bf16: the residual stream          */
    const qp_bf16 *norm_weight;                   /* in  [H], bf16                                  */
    const qp_bf16 *q_weight;                      /* in  [Hq, D, H], bf16                           */
    const qp_bf16 *k_weight, *v_weight;           /* in  [Hkv, D, H], bf16                          */
    const qp_bf16 *q_norm_weight, *k_norm_weight; /* in  [D], bf16                                  */
    const qp_bf16 *cos, *sin;                     /* in  [T, D], bf16                               */
    qp_bf16 *q;                                   /* out [T, Hq, D], bf16                           */
    qp_bf16 *k, *v;                               /* out [T, Hkv, D], bf16: the newest rows of the cache */
    int64_t tokens, hidden, query_heads, key_heads, d;
    float eps;
    int64_t part, part_kv; /* elements of H in a part of a split; H without a split */
} qp_rmsnorm_qkv_args;

extern const qp_operation qp_rmsnorm_qkv_operation;

qp_rmsnorm_qkv_args qp_rmsnorm_qkv_bind(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_qkv_cpu(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_qkv_cuda(const qp_call *call); /* CUDA: the operands are the device's */
size_t qp_rmsnorm_qkv_cuda_workspace(const qp_call *call);
QP_MUST_USE qp_status qp_rmsnorm_qkv_oracle(const qp_call *call); /* the same operands, activations in f64 */

#ifdef __cplusplus
}
#endif
#endif
