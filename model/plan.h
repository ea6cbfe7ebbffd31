/* The plan: one forward pass of Qwen3 as data. A list of nodes, each an operation with its inputs, weights and
 * outputs by name; generate runs it, verify runs each node twice and compares, later bench times it. There is no
 * second description of the model anywhere.
 *
 * Names are PyTorch's module paths ("model.layers.2.self_attn.q_norm"). What no module returns has a name of its own
 * beside them: self_attn.{q,k}_rope, .scores, .probs, .context; residual_attn; mlp.act, .product; next_token. */
#ifndef QP_PLAN_H
#define QP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/operation.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_NAME_MAX = 80 };

typedef enum qp_tensor_kind {
    QP_TENSOR_INPUT,  /* input_ids, position_ids: what a pass is given */
    QP_TENSOR_WEIGHT, /* in the checkpoint */
    QP_TENSOR_CACHE,  /* keys or values of a layer: S rows, of which the last T are written by this pass */
    QP_TENSOR_VALUE   /* written by a node */
} qp_tensor_kind;

typedef struct qp_plan_tensor {
    char name[QP_NAME_MAX]; /* of a weight: its name in the checkpoint */
    qp_tensor_kind kind;
    qp_dtype dtype;
    int rank;
    int64_t dim[QP_MAX_RANK];      /* as the golden has it: batch dropped, slowest first */
    const char *axis[QP_MAX_RANK]; /* "token", "head", "channel", "key", "vocabulary", ... */
    int keys_axis;                 /* the axis that counts keys and so grows with the past; -1: none */
    const void *weight;            /* WEIGHT: its data, borrowed from the model */
    int slot;                      /* CACHE: 2 * layer for keys, 2 * layer + 1 for values; otherwise -1 */
    int cache;                     /* VALUE: the cache whose last T rows it is, or -1 */
    int buffer; /* VALUE without cache: its buffer (tensors that never live together share one); else -1 */
} qp_plan_tensor;

typedef struct qp_plan_node {
    char name[QP_NAME_MAX]; /* module path */
    const qp_operation *operation;
    int layer;                          /* -1 outside the layers */
    int in[QP_MAX_IN], out[QP_MAX_OUT]; /* indices of tensors, in the operation's order */
    int64_t in_skip[QP_MAX_IN];         /* elements of the input to skip */
    int64_t extent[QP_MAX_EXTENTS];
    int keys_extent;    /* the extent that counts keys; -1: none */
    bool order_unknown; /* the choices say that nobody knows in which order PyTorch sums here */
    qp_params params;
} qp_plan_node;

/* What cuBLAS chose on the card of a golden, by shape. It decides the order of sums, so it comes with the golden. */
typedef struct qp_split {
    int64_t m, n, k;
    int64_t part; /* elements of K in a part; 0: not split */
    bool unknown; /* the capture found no division that explains what it saw; then `part` is a guess */
} qp_split;

typedef struct qp_order {
    const qp_operation *product; /* scores or context */
    int64_t tokens, keys;
    qp_sum_order order;
    bool unknown; /* the capture found none; then the usual one is taken */
} qp_order;

typedef struct qp_cublas_choices {
    qp_split *splits; /* a shape that is not here is not split */
    int split_count;
    qp_order *orders; /* what is not here has the order that is usual for its shape (plan.c) */
    int order_count;
} qp_cublas_choices;

typedef struct qp_plan_options {
    int64_t tokens;                   /* T: rows of this pass, at least 1 */
    int64_t capacity;                 /* the most keys that the cache will hold, at least T */
    bool last_logits_only;            /* lm_head on the last position alone, as generate() does; otherwise on all */
    const qp_cublas_choices *choices; /* borrowed; NULL: what is usual */
} qp_plan_options;

typedef struct qp_plan {
    const qp_model *model; /* borrowed */
    qp_plan_options options;
    int64_t past; /* keys in the cache before this pass */
    qp_plan_tensor *tensors;
    int tensor_count;
    qp_plan_node *nodes;
    int node_count;
    struct qp_buffer_size {
        int64_t elements, bytes; /* the most that a tensor needs of it, at full capacity */
    } * buffers;
    int buffer_count;
    int input_ids, position_ids; /* tensors */
    int logits, next_token;
} qp_plan;

/* The reference plan: one node a boundary, in the order of transformers' Qwen3Model.
 * On failure *plan is all zero, which qp_plan_close accepts. */
QP_MUST_USE qp_status qp_plan_open(const qp_model *model, qp_plan_options options, qp_plan *plan);
void qp_plan_close(qp_plan *plan);

/* Sets the keys that the cache holds already; changes the dims, extents and orders that depend on the number of keys.
 * QP_INVALID if past + tokens exceeds the capacity. */
QP_MUST_USE qp_status qp_plan_set_past(qp_plan *plan, int64_t past);

int64_t qp_plan_tensor_elements(const qp_plan_tensor *tensor);

/* The index of the tensor with this name, or -1. */
int qp_plan_find(const qp_plan *plan, const char *name);

#ifdef __cplusplus
}
#endif
#endif
