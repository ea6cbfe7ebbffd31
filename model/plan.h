/* The plan: one forward pass of Qwen3 as data. A list of nodes, each an operation with its inputs, weights and
 * outputs by name; generate runs it, verify runs each node twice and compares, bench times it. There is no
 * second description of the model anywhere: a fused node is made from the reference nodes that it replaces (fusion.h).
 *
 * Names are PyTorch's module paths ("model.layers.2.self_attn.q_norm"). What no module returns has a name of its own
 * beside them: self_attn.{q,k}_rope, .scores, .probs, .context; residual_attn; mlp.act, .product; next_token.
 * A reference node has the name of its output, or of the module that gives its outputs. A fused node has that of its
 * fusion, behind the layer's path ("model.layers.2.rmsnorm_qkv", "lm_head_argmax"); its outputs keep theirs. */
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
    QP_TENSOR_VALUE,  /* written by a node */
    QP_TENSOR_INSIDE  /* inside a fused node: no memory holds it */
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
    int inside; /* INSIDE: the node that it is inside of; else -1 */
} qp_plan_tensor;

typedef struct qp_plan_node {
    char name[QP_NAME_MAX];
    const qp_operation *operation;
    int layer;                          /* -1 outside the layers */
    int in[QP_MAX_IN], out[QP_MAX_OUT]; /* indices of tensors, in the operation's order */
    int64_t in_skip[QP_MAX_IN];         /* elements of the input to skip */
    int64_t extent[QP_MAX_EXTENTS];
    int keys_extent;    /* the extent that counts keys; -1: none */
    bool order_unknown; /* the choices say that nobody knows in which order PyTorch sums here */
    qp_params params;
} qp_plan_node;

/* What cuBLAS chose on a card, by shape. It decides the order of sums, so it comes with a golden of that card (golden_model.h),
 * or the card is asked (choice_search.h). */
typedef struct qp_split {
    int64_t m, n, k;
    int64_t part; /* elements of K in a part; 0: not split */
    bool unknown; /* no division was found that explains what was seen; then `part` is a guess */
} qp_split;

typedef struct qp_order {
    const qp_operation *product; /* scores or context */
    int64_t tokens, keys;
    qp_sum_order order;
    bool unknown; /* none was found; then the usual one is taken */
} qp_order;

typedef struct qp_cublas_choices {
    qp_split *splits; /* a shape that is not here is not split */
    int split_count;
    qp_order *orders; /* what is not here has the order that is usual for its shape (plan.c) */
    int order_count;
} qp_cublas_choices;

/* Frees the lists; all zero is fine. */
void qp_cublas_choices_close(qp_cublas_choices *choices);

/* Which nodes are fused: a set of these. Each takes the place of the reference nodes that fusion.c lists. */
typedef unsigned qp_fusions;
enum {
    QP_FUSE_RMSNORM_QKV = 1 << 0,
    QP_FUSE_GQA_ATTENTION = 1 << 1,
    QP_FUSE_O_RESIDUAL = 1 << 2,
    QP_FUSE_RMSNORM_GATE_UP_SILU = 1 << 3,
    QP_FUSE_DOWN_RESIDUAL = 1 << 4,
    QP_FUSE_LM_HEAD_ARGMAX = 1 << 5, /* there are then no logits */
    QP_FUSE_ALL = (1 << 6) - 1
};

typedef struct qp_plan_options {
    int64_t tokens;                   /* T: rows of this pass, at least 1 */
    int64_t capacity;                 /* the most keys that the cache will hold, at least T */
    bool last_logits_only;            /* lm_head on the last position alone, as generate() does; otherwise on all */
    const qp_cublas_choices *choices; /* borrowed; NULL: what is usual */
    qp_fusions fusions;               /* 0: the reference plan */
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
    int logits;                  /* -1: inside a fused node */
    int next_token;
} qp_plan;

/* The reference plan has one node a boundary, in the order of transformers' Qwen3Model; fusions replace some of them.
 * On failure *plan is all zero, which qp_plan_close accepts. */
QP_MUST_USE qp_status qp_plan_open(const qp_model *model, qp_plan_options options, qp_plan *plan);
void qp_plan_close(qp_plan *plan);

/* Sets the keys that the cache holds already; changes the dims, extents and orders that depend on the number of keys.
 * QP_INVALID if past + tokens exceeds the capacity. */
QP_MUST_USE qp_status qp_plan_set_past(qp_plan *plan, int64_t past);

int64_t qp_plan_tensor_elements(const qp_plan_tensor *tensor);

/* How a node's sums are added up, where that is chosen: "K in parts of 1536", "scores 16 lanes of 8, folded in halves; context
 * tensor core"; "" for a node without such a choice. Bits may change with it. Returns `text`. */
enum { QP_ORDER_TEXT = 128 };
const char *qp_plan_node_order(const qp_plan_node *node, char text[QP_ORDER_TEXT]);

/* How a pass sums its attention products, as qp_plan_set_past would say: orders[keys] for each number of keys from 1 to the
 * capacity; orders[0] is zero. */
void qp_plan_attention_orders(const qp_plan *plan, qp_attention_order *orders);

/* The index of the tensor with this name, or -1. */
int qp_plan_find(const qp_plan *plan, const char *name);

/* "model.layers.2.self_attn.q_norm" from 2 and "self_attn.q_norm". A layer's own output has no name but its path; outside the
 * layers (-1) the name is the path. */
void qp_plan_name(char name[QP_NAME_MAX], int layer, const char *own);

/* "model.layers.*.self_attn.q_norm" from such a name and its layer: one text for all layers. */
void qp_plan_name_of_all_layers(char text[QP_NAME_MAX], const char *name, int layer);

#ifdef __cplusplus
}
#endif
#endif
