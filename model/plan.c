#include "plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/argmax/argmax.h"
#include "../kernels/context/context.h"
#include "../kernels/embedding/embedding.h"
#include "../kernels/gqa_attention/gqa_attention.h"
#include "../kernels/linear/linear.h"
#include "../kernels/linear_residual/linear_residual.h"
#include "../kernels/lm_head_argmax/lm_head_argmax.h"
#include "../kernels/multiply/multiply.h"
#include "../kernels/residual_add/residual_add.h"
#include "../kernels/rms_norm/rms_norm.h"
#include "../kernels/rmsnorm_gate_up_silu/rmsnorm_gate_up_silu.h"
#include "../kernels/rmsnorm_qkv/rmsnorm_qkv.h"
#include "../kernels/rope/rope.h"
#include "../kernels/rotary_embedding/rotary_embedding.h"
#include "../kernels/scores/scores.h"
#include "../kernels/silu/silu.h"
#include "../kernels/softmax/softmax.h"
#include "fusion.h"

/* ---- Building. The first failure is kept, and what follows does nothing. ---- */

typedef struct builder {
    qp_plan *plan;
    int tensor_room, node_room;
    int layer; /* of the nodes being added; -1 outside the layers */
    qp_status status;
} builder;

/* Makes room for one more element of a growing array. */
static void *grown(builder *b, void *array, int count, int *room, size_t size)
{
    if (count < *room) return array;
    const int wanted = *room ? 2 * *room : 64;
    void *larger = realloc(array, (size_t)wanted * size);
    if (!larger) {
        b->status = qp_fail(QP_NO_MEMORY, "no memory for a plan of %d entries", wanted);
        return array;
    }
    *room = wanted;
    return larger;
}

static int add_tensor(builder *b, qp_plan_tensor tensor)
{
    qp_plan *plan = b->plan;
    if (b->status != QP_OK) return 0;
    plan->tensors = grown(b, plan->tensors, plan->tensor_count, &b->tensor_room, sizeof *plan->tensors);
    if (b->status != QP_OK) return 0;
    plan->tensors[plan->tensor_count] = tensor;
    return plan->tensor_count++;
}

typedef struct shape {
    int rank;
    int64_t dim[QP_MAX_RANK];
    const char *axis[QP_MAX_RANK];
    int keys_axis;
} shape;

static shape shape1(const char *axis, int64_t dim) { return (shape){ 1, { dim }, { axis }, -1 }; }

static shape shape2(const char *axis0, int64_t dim0, const char *axis1, int64_t dim1)
{
    return (shape){ 2, { dim0, dim1 }, { axis0, axis1 }, -1 };
}

static shape shape3(const char *axis0, int64_t dim0, const char *axis1, int64_t dim1, const char *axis2, int64_t dim2)
{
    return (shape){ 3, { dim0, dim1, dim2 }, { axis0, axis1, axis2 }, -1 };
}

static qp_plan_tensor new_tensor(qp_tensor_kind kind, qp_dtype dtype, shape s)
{
    qp_plan_tensor tensor = { .kind = kind,
                              .dtype = dtype,
                              .rank = s.rank,
                              .keys_axis = s.keys_axis,
                              .slot = -1,
                              .cache = -1,
                              .buffer = -1,
                              .inside = -1 };
    memcpy(tensor.dim, s.dim, sizeof s.dim);
    memcpy(tensor.axis, s.axis, sizeof s.axis);
    return tensor;
}

static int add_input(builder *b, const char *name, int64_t tokens)
{
    qp_plan_tensor tensor = new_tensor(QP_TENSOR_INPUT, QP_I64, shape1("token", tokens));
    qp_plan_name(tensor.name, b->layer, name);
    return add_tensor(b, tensor);
}

static int add_value(builder *b, const char *name, qp_dtype dtype, shape s)
{
    qp_plan_tensor tensor = new_tensor(QP_TENSOR_VALUE, dtype, s);
    qp_plan_name(tensor.name, b->layer, name);
    return add_tensor(b, tensor);
}

/* A value that is written straight into the newest rows of a cache. */
static int add_cached_value(builder *b, const char *name, shape s, int cache)
{
    const int index = add_value(b, name, QP_BF16, s);
    if (b->status == QP_OK) b->plan->tensors[index].cache = cache;
    return index;
}

static int add_cache(builder *b, const char *name, int slot, int64_t heads, int64_t head_dim)
{
    shape s = shape3("key", b->plan->options.tokens, "head", heads, "channel", head_dim);
    s.keys_axis = 0;
    qp_plan_tensor tensor = new_tensor(QP_TENSOR_CACHE, QP_BF16, s);
    tensor.slot = slot;
    qp_plan_name(tensor.name, b->layer, name);
    return add_tensor(b, tensor);
}

static int add_weight(builder *b, const char *name, shape s)
{
    qp_plan_tensor tensor = new_tensor(QP_TENSOR_WEIGHT, QP_BF16, s);
    qp_plan_name(tensor.name, b->layer, name);
    const size_t length = strlen(tensor.name);
    (void)snprintf(tensor.name + length, sizeof tensor.name - length, ".weight");
    if (b->status == QP_OK) {
        const qp_bf16 *data = NULL;
        b->status = qp_checkpoint_bf16(b->plan->model->checkpoint, tensor.name, s.rank, s.dim, &data);
        tensor.weight = data;
    }
    return add_tensor(b, tensor);
}

static qp_plan_node *add_node(builder *b, const char *name, const qp_operation *operation)
{
    static qp_plan_node unused; /* takes the writes after a failure */
    qp_plan *plan = b->plan;
    if (b->status == QP_OK) plan->nodes = grown(b, plan->nodes, plan->node_count, &b->node_room, sizeof *plan->nodes);
    qp_plan_node *node = b->status == QP_OK ? &plan->nodes[plan->node_count++] : &unused;
    memset(node, 0, sizeof *node);
    qp_plan_name(node->name, b->layer, name);
    node->operation = operation;
    node->layer = b->layer;
    node->keys_extent = -1;
    return node;
}

/* ---- The parts of the model. ---- */

static int add_norm(builder *b, const char *name, int x, shape s)
{
    const int64_t dim = s.dim[s.rank - 1];
    const int weight = add_weight(b, name, shape1("channel", dim));
    const int y = add_value(b, name, QP_BF16, s);
    qp_plan_node *node = add_node(b, name, &qp_rms_norm_operation);
    node->in[QP_RMS_NORM_X] = x;
    node->in[QP_RMS_NORM_WEIGHT] = weight;
    node->out[0] = y;
    node->extent[QP_RMS_NORM_ROWS] = s.rank == 3 ? s.dim[0] * s.dim[1] : s.dim[0];
    node->extent[QP_RMS_NORM_DIM] = dim;
    node->params.eps = b->plan->model->config.rms_norm_eps;
    return y;
}

/* Where neither a golden tells nor a card can be asked: how cuBLAS 13.1 splits the products of the released Qwen3 sizes for up
 * to 8 rows on an H200. Goldens of 0.6B, 1.7B, 4B and 8B have it as `split_k`, and so have the reports about them
 * (reports/published/verify-*-fused-h200.json.gz). For more rows it depends on their number, and an H100 splits some of them
 * otherwise. */
static int64_t usual_part(int64_t m, int64_t n, int64_t k)
{
    static const struct {
        int64_t n, k, part;
    } seen[] = { { 1024, 3072, 1536 }, { 2048, 6144, 2048 }, { 2560, 4096, 2048 },  { 4096, 4096, 2048 },
                 { 1024, 4096, 1408 }, { 2048, 4096, 1408 }, { 4096, 12288, 4096 }, { 2560, 9728, 1984 } };
    for (size_t i = 0; i < sizeof seen / sizeof *seen && m <= 8; i++)
        if (seen[i].n == n && seen[i].k == k) return seen[i].part;
    return 0;
}

/* What cuBLAS chose for a linear node. */
static void choose_part(const qp_cublas_choices *choices, qp_plan_node *node)
{
    const int64_t *extent = node->extent;
    if (!choices) node->params.part = usual_part(extent[QP_LINEAR_M], extent[QP_LINEAR_N], extent[QP_LINEAR_K]);
    for (int i = 0; choices && i < choices->split_count; i++) {
        const qp_split *split = &choices->splits[i];
        if (split->m != extent[QP_LINEAR_M] || split->n != extent[QP_LINEAR_N] || split->k != extent[QP_LINEAR_K])
            continue;
        node->params.part = split->part;
        node->order_unknown = split->unknown;
        return;
    }
}

/* Where neither tells, or none was found: the tensor core, but for one query and a number of keys that is not a multiple of 8
 * what cuBLAS 13.1 took on an H200 with 4 heads and up to 300 keys. */
static qp_sum_order usual_order(const qp_operation *product, int64_t tokens, int64_t keys)
{
    if (tokens > 1 || keys % 8 == 0) return (qp_sum_order){ 0 };
    return product == &qp_scores_operation ? (qp_sum_order){ .lanes = 16, .run = 8 }
                                           : (qp_sum_order){ .lanes = 32, .run = 4 };
}

static qp_sum_order order_of(const qp_order *order)
{
    return order->unknown ? usual_order(order->product, order->tokens, order->keys) : order->order;
}

/* What cuBLAS chose for an attention product over `keys` keys. Sets *unknown if nobody knows. */
static qp_sum_order choose_order(const qp_plan_options *options, const qp_operation *product, int64_t keys,
                                 bool *unknown)
{
    const qp_cublas_choices *choices = options->choices;
    for (int i = 0; choices && i < choices->order_count; i++) {
        const qp_order *order = &choices->orders[i];
        if (order->product != product || order->tokens != options->tokens || order->keys != keys) continue;
        *unknown = *unknown || order->unknown;
        return order_of(order);
    }
    return usual_order(product, options->tokens, keys);
}

static void add_linear_node(builder *b, const char *name, int x, int64_t skip, int weight, int y, int64_t m, int64_t n,
                            int64_t k)
{
    qp_plan_node *node = add_node(b, name, &qp_linear_operation);
    node->in[QP_LINEAR_X] = x;
    node->in_skip[QP_LINEAR_X] = skip;
    node->in[QP_LINEAR_WEIGHT] = weight;
    node->out[0] = y;
    node->extent[QP_LINEAR_M] = m;
    node->extent[QP_LINEAR_N] = n;
    node->extent[QP_LINEAR_K] = k;
    choose_part(b->plan->options.choices, node);
}

/* cache: the cache that takes the output, or -1. */
static int add_linear(builder *b, const char *name, int x, int64_t n, int64_t k, int cache)
{
    const int64_t m = b->plan->options.tokens;
    const shape s = shape2("token", m, "channel", n);
    const int weight = add_weight(b, name, shape2("out", n, "in", k));
    const int y = cache < 0 ? add_value(b, name, QP_BF16, s) : add_cached_value(b, name, s, cache);
    add_linear_node(b, name, x, 0, weight, y, m, n, k);
    return y;
}

static int add_rope(builder *b, const char *name, int x, int cos, int sin, shape s, int cache)
{
    const int y = cache < 0 ? add_value(b, name, QP_BF16, s) : add_cached_value(b, name, s, cache);
    qp_plan_node *node = add_node(b, name, &qp_rope_operation);
    node->in[QP_ROPE_X] = x;
    node->in[QP_ROPE_COS] = cos;
    node->in[QP_ROPE_SIN] = sin;
    node->out[0] = y;
    node->extent[QP_ROPE_T] = s.dim[0];
    node->extent[QP_ROPE_HEADS] = s.dim[1];
    node->extent[QP_ROPE_D] = s.dim[2];
    return y;
}

static int add_residual(builder *b, const char *name, int residual, int x, shape s)
{
    const int y = add_value(b, name, QP_BF16, s);
    qp_plan_node *node = add_node(b, name, &qp_residual_add_operation);
    node->in[QP_RESIDUAL_ADD_RESIDUAL] = residual;
    node->in[QP_RESIDUAL_ADD_X] = x;
    node->out[0] = y;
    node->extent[QP_RESIDUAL_ADD_N] = s.dim[0] * s.dim[1];
    return y;
}

/* Returns the context, [T, Hq, D]. */
static int add_attention(builder *b, int normed, int cos, int sin)
{
    const qp_config *c = &b->plan->model->config;
    const int64_t tokens = b->plan->options.tokens, d = c->head_dim;
    const int64_t hq = c->num_attention_heads, hkv = c->num_key_value_heads;
    const shape q_shape = shape3("token", tokens, "head", hq, "channel", d);
    const shape k_shape = shape3("token", tokens, "head", hkv, "channel", d);
    const int keys = add_cache(b, "self_attn.keys", 2 * b->layer, hkv, d);
    const int values = add_cache(b, "self_attn.values", 2 * b->layer + 1, hkv, d);

    const int q = add_linear(b, "self_attn.q_proj", normed, hq * d, c->hidden_size, -1);
    const int k = add_linear(b, "self_attn.k_proj", normed, hkv * d, c->hidden_size, -1);
    (void)add_linear(b, "self_attn.v_proj", normed, hkv * d, c->hidden_size, values);
    const int q_norm = add_norm(b, "self_attn.q_norm", q, q_shape);
    const int k_norm = add_norm(b, "self_attn.k_norm", k, k_shape);
    const int q_rope = add_rope(b, "self_attn.q_rope", q_norm, cos, sin, q_shape, -1);
    (void)add_rope(b, "self_attn.k_rope", k_norm, cos, sin, k_shape, keys);

    shape s = shape3("head", hq, "token", tokens, "key", tokens);
    s.keys_axis = 2;
    const int scores = add_value(b, "self_attn.scores", QP_BF16, s);
    qp_plan_node *node = add_node(b, "self_attn.scores", &qp_scores_operation);
    node->in[QP_SCORES_Q] = q_rope;
    node->in[QP_SCORES_KEYS] = keys;
    node->out[0] = scores;
    node->extent[QP_SCORES_T] = tokens;
    node->extent[QP_SCORES_HQ] = hq;
    node->extent[QP_SCORES_HKV] = hkv;
    node->extent[QP_SCORES_D] = d;
    node->keys_extent = QP_SCORES_S;
    node->params.scale = (float)(1.0 / sqrt((double)d)); /* head_dim**-0.5 is a Python float, used as f32 */

    const int probs = add_value(b, "self_attn.probs", QP_BF16, s);
    node = add_node(b, "self_attn.probs", &qp_softmax_operation);
    node->in[QP_SOFTMAX_X] = scores;
    node->out[0] = probs;
    node->extent[QP_SOFTMAX_ROWS] = hq * tokens;
    node->keys_extent = QP_SOFTMAX_S;

    const int context = add_value(b, "self_attn.context", QP_BF16, q_shape);
    node = add_node(b, "self_attn.context", &qp_context_operation);
    node->in[QP_CONTEXT_PROBS] = probs;
    node->in[QP_CONTEXT_VALUES] = values;
    node->out[0] = context;
    node->extent[QP_CONTEXT_T] = tokens;
    node->extent[QP_CONTEXT_HQ] = hq;
    node->extent[QP_CONTEXT_HKV] = hkv;
    node->extent[QP_CONTEXT_D] = d;
    node->keys_extent = QP_CONTEXT_S;
    return context;
}

/* Returns mlp.down_proj, [T, hidden]. */
static int add_mlp(builder *b, int normed)
{
    const qp_config *c = &b->plan->model->config;
    const int64_t tokens = b->plan->options.tokens, inner = c->intermediate_size;
    const shape s = shape2("token", tokens, "channel", inner);
    const int gate = add_linear(b, "mlp.gate_proj", normed, inner, c->hidden_size, -1);
    const int up = add_linear(b, "mlp.up_proj", normed, inner, c->hidden_size, -1);

    const int act = add_value(b, "mlp.act", QP_BF16, s);
    qp_plan_node *node = add_node(b, "mlp.act", &qp_silu_operation);
    node->in[QP_SILU_X] = gate;
    node->out[0] = act;
    node->extent[QP_SILU_N] = tokens * inner;

    const int product = add_value(b, "mlp.product", QP_BF16, s);
    node = add_node(b, "mlp.product", &qp_multiply_operation);
    node->in[QP_MULTIPLY_A] = act;
    node->in[QP_MULTIPLY_B] = up;
    node->out[0] = product;
    node->extent[QP_MULTIPLY_N] = tokens * inner;
    return add_linear(b, "mlp.down_proj", product, c->hidden_size, inner, -1);
}

static void add_model(builder *b)
{
    qp_plan *plan = b->plan;
    const qp_config *c = &plan->model->config;
    const int64_t tokens = plan->options.tokens, hidden = c->hidden_size, d = c->head_dim;
    const shape hidden_shape = shape2("token", tokens, "channel", hidden);

    b->layer = -1;
    plan->input_ids = add_input(b, "input_ids", tokens);
    plan->position_ids = add_input(b, "position_ids", tokens);

    const int table = add_weight(b, "model.embed_tokens", shape2("vocabulary", c->vocab_size, "channel", hidden));
    int h = add_value(b, "model.embed_tokens", QP_BF16, hidden_shape);
    qp_plan_node *node = add_node(b, "model.embed_tokens", &qp_embedding_operation);
    node->in[QP_EMBEDDING_IDS] = plan->input_ids;
    node->in[QP_EMBEDDING_TABLE] = table;
    node->out[0] = h;
    node->extent[QP_EMBEDDING_T] = tokens;
    node->extent[QP_EMBEDDING_V] = c->vocab_size;
    node->extent[QP_EMBEDDING_HIDDEN] = hidden;

    const int inv_freq = add_value(b, "model.rotary_emb.inv_freq", QP_F32, shape1("frequency", d / 2));
    const int cos = add_value(b, "model.rotary_emb.cos", QP_BF16, shape2("token", tokens, "channel", d));
    const int sin = add_value(b, "model.rotary_emb.sin", QP_BF16, shape2("token", tokens, "channel", d));
    node = add_node(b, "model.rotary_emb", &qp_rotary_embedding_operation);
    node->in[QP_ROTARY_EMBEDDING_POSITIONS] = plan->position_ids;
    node->out[QP_ROTARY_EMBEDDING_INV_FREQ] = inv_freq;
    node->out[QP_ROTARY_EMBEDDING_COS] = cos;
    node->out[QP_ROTARY_EMBEDDING_SIN] = sin;
    node->extent[QP_ROTARY_EMBEDDING_T] = tokens;
    node->extent[QP_ROTARY_EMBEDDING_HALF] = d / 2;
    node->extent[QP_ROTARY_EMBEDDING_D] = d;
    node->params.theta = c->rope_theta;

    for (b->layer = 0; b->layer < c->num_hidden_layers && b->status == QP_OK; b->layer++) {
        const int attention_in = add_norm(b, "input_layernorm", h, hidden_shape);
        const int context = add_attention(b, attention_in, cos, sin);
        const int o = add_linear(b, "self_attn.o_proj", context, hidden, c->num_attention_heads * d, -1);
        const int residual = add_residual(b, "residual_attn", h, o, hidden_shape);
        const int mlp_in = add_norm(b, "post_attention_layernorm", residual, hidden_shape);
        const int mlp_out = add_mlp(b, mlp_in);
        h = add_residual(b, "", residual, mlp_out, hidden_shape); /* the layer's own output: "model.layers.N" */
    }

    b->layer = -1;
    const int norm = add_norm(b, "model.norm", h, hidden_shape);
    const int64_t logit_rows = plan->options.last_logits_only ? 1 : tokens;
    const int lm_head = c->tie_word_embeddings
                            ? table
                            : add_weight(b, "lm_head", shape2("vocabulary", c->vocab_size, "channel", hidden));
    plan->logits = add_value(b, "lm_head", QP_BF16, shape2("token", logit_rows, "vocabulary", c->vocab_size));
    add_linear_node(b, "lm_head", norm, (tokens - logit_rows) * hidden, lm_head, plan->logits, logit_rows,
                    c->vocab_size, hidden);

    plan->next_token = add_value(b, "next_token", QP_I64, shape1("position", 1));
    node = add_node(b, "next_token", &qp_argmax_operation);
    node->in[QP_ARGMAX_X] = plan->logits;
    node->out[0] = plan->next_token;
    node->extent[QP_ARGMAX_T] = logit_rows;
    node->extent[QP_ARGMAX_V] = c->vocab_size;
    node->extent[QP_ARGMAX_ONE] = 1;
}

/* ---- Buffers: values that never live at the same time share one. ---- */

static int64_t elements_at_capacity(const qp_plan *plan, const qp_plan_tensor *tensor)
{
    int64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++) elements *= i == tensor->keys_axis ? plan->options.capacity : tensor->dim[i];
    return elements;
}

static qp_status assign_buffers(qp_plan *plan)
{
    int *last_use = malloc((size_t)plan->tensor_count * sizeof *last_use);
    bool *taken = calloc((size_t)plan->tensor_count, sizeof *taken); /* there are at most as many buffers as tensors */
    plan->buffers = calloc((size_t)plan->tensor_count, sizeof *plan->buffers);
    qp_status status = QP_OK;
    if (!last_use || !taken || !plan->buffers) {
        status = qp_fail(QP_NO_MEMORY, "no memory for a plan of %d tensors", plan->tensor_count);
        goto done;
    }
    for (int t = 0; t < plan->tensor_count; t++) last_use[t] = -1;
    for (int n = 0; n < plan->node_count; n++)
        for (int i = 0; i < qp_operand_count(plan->nodes[n].operation->in, QP_MAX_IN); i++)
            last_use[plan->nodes[n].in[i]] = n;
    last_use[plan->next_token] = plan->node_count; /* read by the caller, as the logits are */
    if (plan->logits >= 0) last_use[plan->logits] = plan->node_count;

    for (int n = 0; n < plan->node_count; n++) {
        const qp_plan_node *node = &plan->nodes[n];
        for (int i = 0; i < qp_operand_count(node->operation->out, QP_MAX_OUT); i++) {
            qp_plan_tensor *tensor = &plan->tensors[node->out[i]];
            if (tensor->cache >= 0) continue;
            int buffer = 0;
            while (taken[buffer]) buffer++;
            taken[buffer] = true;
            tensor->buffer = buffer;
            if (buffer >= plan->buffer_count) plan->buffer_count = buffer + 1;
            const int64_t elements = elements_at_capacity(plan, tensor);
            const int64_t bytes = elements * (int64_t)qp_dtype_bytes(tensor->dtype);
            struct qp_buffer_size *size = &plan->buffers[buffer];
            if (size->elements < elements) size->elements = elements;
            if (size->bytes < bytes) size->bytes = bytes;
        }
        /* Inputs and unread outputs end here; only now, so that no output shares a buffer with an input. */
        for (int t = 0; t < plan->tensor_count; t++)
            if (plan->tensors[t].buffer >= 0 && taken[plan->tensors[t].buffer] && last_use[t] <= n) {
                taken[plan->tensors[t].buffer] = false;
                last_use[t] = plan->node_count + 1; /* ended: leave the buffer to its next owner */
            }
    }
done:
    free(taken);
    free(last_use);
    return status;
}

/* ---- Public functions. ---- */

qp_status qp_plan_open(const qp_model *model, qp_plan_options options, qp_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    if (options.tokens < 1 || options.capacity < options.tokens)
        return qp_fail(QP_INVALID, "a pass of %" PRId64 " tokens does not fit a cache of %" PRId64, options.tokens,
                       options.capacity);
    plan->model = model;
    plan->options = options;
    builder b = { .plan = plan, .layer = -1, .status = QP_OK };
    add_model(&b);
    if (b.status == QP_OK) b.status = qp_plan_fuse(plan);
    if (b.status == QP_OK) b.status = assign_buffers(plan);
    if (b.status == QP_OK) b.status = qp_plan_set_past(plan, 0);
    if (b.status != QP_OK) qp_plan_close(plan);
    return b.status;
}

void qp_plan_close(qp_plan *plan)
{
    free(plan->buffers);
    free(plan->nodes);
    free(plan->tensors);
    memset(plan, 0, sizeof *plan);
}

/* Of a node that sums over attention: how. */
static void set_orders(const qp_plan_options *options, int64_t keys, qp_plan_node *node)
{
    const qp_operation *operation = node->operation;
    bool unknown = false;
    if (operation == &qp_scores_operation || operation == &qp_context_operation) {
        node->params.order = choose_order(options, operation, keys, &unknown);
    } else if (operation == &qp_gqa_attention_operation) {
        node->params.order = choose_order(options, &qp_scores_operation, keys, &unknown);
        node->params.context_order = choose_order(options, &qp_context_operation, keys, &unknown);
    } else {
        return;
    }
    node->order_unknown = unknown;
}

static void say_sum(const char *what, qp_sum_order order, char *text)
{
    const size_t used = strlen(text), room = QP_ORDER_TEXT - used;
    if (order.lanes == 0)
        (void)snprintf(text + used, room, "%s%s%s", what, *what ? " " : "",
                       order.narrow ? "tensor core, blocks of 8" : "tensor core");
    else
        (void)snprintf(text + used, room, "%s%s%d lanes of %d, folded %s", what, *what ? " " : "", order.lanes,
                       order.run, order.fold == QP_FOLD_HALVES ? "in halves" : "in turn");
}

static void say_part(const char *what, int64_t part, char *text)
{
    const size_t used = strlen(text), room = QP_ORDER_TEXT - used;
    if (part == 0)
        (void)snprintf(text + used, room, "%sK whole", what);
    else
        (void)snprintf(text + used, room, "%sK in parts of %" PRId64, what, part);
}

const char *qp_plan_node_order(const qp_plan_node *node, char text[QP_ORDER_TEXT])
{
    const qp_operation *operation = node->operation;
    text[0] = '\0';
    if (operation == &qp_scores_operation || operation == &qp_context_operation) {
        say_sum("", node->params.order, text);
    } else if (operation == &qp_gqa_attention_operation) {
        say_sum("scores", node->params.order, text);
        (void)snprintf(text + strlen(text), QP_ORDER_TEXT - strlen(text), "; ");
        say_sum("context", node->params.context_order, text);
    } else if (operation == &qp_rmsnorm_qkv_operation) {
        say_part("q: ", node->params.part, text);
        say_part("; k, v: ", node->params.part_kv, text);
    } else if (operation == &qp_linear_operation || operation == &qp_linear_residual_operation ||
               operation == &qp_rmsnorm_gate_up_silu_operation || operation == &qp_lm_head_argmax_operation) {
        say_part("", node->params.part, text);
    }
    if (node->order_unknown && *text)
        (void)snprintf(text + strlen(text), QP_ORDER_TEXT - strlen(text), " (the golden does not know it)");
    return text;
}

qp_status qp_plan_set_past(qp_plan *plan, int64_t past)
{
    const int64_t keys = past + plan->options.tokens;
    if (past < 0 || keys > plan->options.capacity)
        return qp_fail(QP_INVALID, "%" PRId64 " tokens after %" PRId64 " do not fit a cache of %" PRId64,
                       plan->options.tokens, past, plan->options.capacity);
    plan->past = past;
    for (int t = 0; t < plan->tensor_count; t++)
        if (plan->tensors[t].keys_axis >= 0) plan->tensors[t].dim[plan->tensors[t].keys_axis] = keys;
    for (int n = 0; n < plan->node_count; n++) {
        qp_plan_node *node = &plan->nodes[n];
        if (node->keys_extent >= 0) node->extent[node->keys_extent] = keys;
        set_orders(&plan->options, keys, node);
    }
    return QP_OK;
}

int64_t qp_plan_tensor_elements(const qp_plan_tensor *tensor)
{
    int64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++) elements *= tensor->dim[i];
    return elements;
}

int qp_plan_find(const qp_plan *plan, const char *name)
{
    for (int t = 0; t < plan->tensor_count; t++)
        if (!strcmp(plan->tensors[t].name, name) && plan->tensors[t].kind != QP_TENSOR_WEIGHT) return t;
    return -1;
}

void qp_plan_attention_orders(const qp_plan *plan, qp_attention_order *orders)
{
    const qp_plan_options *options = &plan->options;
    const qp_cublas_choices *choices = options->choices;
    orders[0] = (qp_attention_order){ 0 };
    for (int64_t keys = 1; keys <= options->capacity; keys++) {
        orders[keys].scores = usual_order(&qp_scores_operation, options->tokens, keys);
        orders[keys].context = usual_order(&qp_context_operation, options->tokens, keys);
    }
    for (int i = choices ? choices->order_count - 1 : -1; i >= 0; i--) { /* the first of a shape counts, as in a pass */
        const qp_order *order = &choices->orders[i];
        if (order->tokens != options->tokens || order->keys < 1 || order->keys > options->capacity) continue;
        if (order->product == &qp_scores_operation)
            orders[order->keys].scores = order_of(order);
        else
            orders[order->keys].context = order_of(order);
    }
}

void qp_cublas_choices_close(qp_cublas_choices *choices)
{
    free(choices->splits);
    free(choices->orders);
    memset(choices, 0, sizeof *choices);
}

void qp_plan_name(char name[QP_NAME_MAX], int layer, const char *own)
{
    if (layer < 0)
        (void)snprintf(name, QP_NAME_MAX, "%s", own);
    else
        (void)snprintf(name, QP_NAME_MAX, "model.layers.%d%s%s", layer, *own ? "." : "", own);
}

void qp_plan_name_of_all_layers(char text[QP_NAME_MAX], const char *name, int layer)
{
    char path[QP_NAME_MAX];
    qp_plan_name(path, layer, "");
    const size_t length = strlen(path);
    const bool in_layer = layer >= 0 && !strncmp(name, path, length) && (name[length] == '.' || !name[length]);
    (void)snprintf(text, QP_NAME_MAX, "%s%s", in_layer ? "model.layers.*" : "", name + (in_layer ? length : 0));
}
