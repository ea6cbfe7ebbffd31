#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../context/context.h"
#include "../gqa_attention/gqa_attention.h"
#include "../numerics/block_fma.h"
#include "../numerics/special.h"
#include "../numerics/strict_fp.h"
#include "../scores/scores.h"
#include "../softmax/softmax.h"
#include "cascade_attention.h"

qp_cascade_attention_args qp_cascade_attention_bind(const qp_call *call)
{
    return (qp_cascade_attention_args){
        .q = call->in[QP_CASCADE_ATTENTION_Q],
        .keys = call->in[QP_CASCADE_ATTENTION_KEYS],
        .values = call->in[QP_CASCADE_ATTENTION_VALUES],
        .first = call->in[QP_CASCADE_ATTENTION_FIRST],
        .length = call->in[QP_CASCADE_ATTENTION_LENGTH],
        .y = call->out[0],
        .sequences = call->extent[QP_CASCADE_ATTENTION_B],
        .pool_rows = call->extent[QP_CASCADE_ATTENTION_N],
        .pieces = call->extent[QP_CASCADE_ATTENTION_C],
        .keys_count = call->extent[QP_CASCADE_ATTENTION_S],
        .query_heads = call->extent[QP_CASCADE_ATTENTION_HQ],
        .key_heads = call->extent[QP_CASCADE_ATTENTION_HKV],
        .d = call->extent[QP_CASCADE_ATTENTION_D],
        .shared = call->params.shared,
        .scale = call->params.scale,
        .order = call->params.order,
        .context_order = call->params.context_order,
    };
}

/* What gqa_attention knows one sequence by. */
static qp_call call_of_sequence(const qp_call *call)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    return (qp_call){ .extent = { 1, a.keys_count, a.query_heads, a.key_heads, a.d }, .params = call->params };
}

static const char *precondition(const qp_call *call)
{
    const qp_call sequence = call_of_sequence(call);
    if (call->params.shared < 0 || call->params.shared > call->extent[QP_CASCADE_ATTENTION_S])
        return "shared must be from 0 to S";
    return qp_gqa_attention_operation.precondition(&sequence);
}

static uint64_t flops(const qp_call *call)
{
    const qp_call sequence = call_of_sequence(call);
    return (uint64_t)call->extent[QP_CASCADE_ATTENTION_B] * qp_gqa_attention_operation.flops(&sequence);
}

/* Keys and values that are shared are read once. */
static uint64_t bytes(const qp_call *call)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    const int64_t rows = a.shared + a.sequences * (a.keys_count - a.shared), heads = a.key_heads;
    return (uint64_t)(2 * (rows * heads + a.sequences * a.query_heads) * a.d) * sizeof(qp_bf16) +
           (uint64_t)(2 * a.sequences * a.pieces) * sizeof(int64_t);
}

/* The rows of piece c of sequence b in a case. What is shared is cut into about half of the pieces, and the rest into
 * those that are left, each sequence in its own way; a single piece is shared whole. */
static int64_t piece_length(const qp_cascade_attention_args *a, int64_t b, int64_t c)
{
    const int64_t of_shared = a->shared > 0 ? (a->pieces + 1) / 2 : 0;
    if (a->pieces == 1) return a->keys_count;
    const bool own = c >= of_shared;
    const int64_t number = own ? c - of_shared : c, count = own ? a->pieces - of_shared : of_shared,
                  rows = own ? a->keys_count - a->shared : a->shared, part = rows / count;
    const int64_t cut = own ? (b * 7) % (part + 1) : part / 3; /* the first piece is shorter by this, the last longer */
    return part - (number == 0 && count > 1 ? cut : 0) +
           (number == count - 1 ? rows % count + (count > 1 ? cut : 0) : 0);
}

/* Shared pieces lie from the end of the pool on downward, so that no neighbours in a context are neighbours there. */
static int64_t piece_first(const qp_cascade_attention_args *a, int64_t b, int64_t c)
{
    const int64_t of_shared = a->shared > 0 ? (a->pieces + 1) / 2 : 0, length = piece_length(a, b, c);
    if (c >= of_shared) return (b * 41 + c * 13 + 3) % (a->pool_rows - length + 1);
    int64_t end = a->pool_rows;
    for (int64_t i = 0; i <= c; i++) end -= piece_length(a, b, i);
    return end;
}

static void fill_table(const qp_call *call, int input, int64_t *table)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    for (int64_t i = 0; i < a.sequences * a.pieces; i++) {
        const int64_t b = i / a.pieces, c = i % a.pieces;
        table[i] = input == QP_CASCADE_ATTENTION_FIRST ? piece_first(&a, b, c) : piece_length(&a, b, c);
    }
}

#define SCALE .scale = 0.08838834764f

/* cuBLAS's orders for one query and a number of keys that is not a multiple of 8. */
#define LANES .order = { .lanes = 16, .run = 8 }, .context_order = { .lanes = 32, .run = 4 }
#define IN_TURN .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN }, .context_order = { .lanes = 8, .run = 64 }

static const qp_case cases[] = {
    { .name = "sequences_5", .extent = { 5, 400, 2, 104, 16, 8, 128 }, .params = { SCALE, .shared = 64 } },
    { .name = "unaligned", .extent = { 5, 400, 2, 120, 4, 2, 128 }, .params = { SCALE, .shared = 77 } },
    { .name = "lanes", .extent = { 5, 400, 2, 117, 4, 2, 128 }, .params = { SCALE, LANES, .shared = 70 } },
    { .name = "in_turn", .extent = { 3, 300, 3, 101, 4, 2, 128 }, .params = { SCALE, IN_TURN, .shared = 33 } },
    { .name = "residue",
      .extent = { 3, 300, 4, 104, 4, 2, 128 },
      .params = { SCALE, .context_order = { .run = 40 }, .shared = 61 } },
    { .name = "narrow",
      .extent = { 3, 300, 3, 45, 4, 2, 128 },
      .params = { SCALE, .order = { .narrow = true }, .context_order = { .run = 1, .narrow = true }, .shared = 20 } },
    { .name = "one_sequence", .extent = { 1, 200, 3, 88, 4, 2, 128 }, .params = { SCALE, .shared = 40 } },
    { .name = "nothing_shared", .extent = { 3, 200, 4, 88, 4, 2, 128 }, .params = { SCALE } },
    { .name = "one_piece", .extent = { 4, 100, 1, 64, 4, 2, 128 }, .params = { SCALE, .shared = 64 } },
    { .name = "sequences_33_group_4", .extent = { 33, 300, 3, 56, 4, 1, 128 }, .params = { SCALE, .shared = 35 } },
    { .name = "group_1", .extent = { 5, 200, 5, 72, 2, 2, 128 }, .params = { SCALE, .shared = 50 } },
    { .name = "keys_1000", .extent = { 8, 2000, 3, 1000, 16, 8, 128 }, .params = { SCALE, .shared = 700 } },
    { .name = "keys_2100", .extent = { 2, 2400, 3, 2100, 2, 1, 128 }, .params = { SCALE, LANES, .shared = 2000 } },
    { .name = "small_heads", .extent = { 2, 40, 3, 21, 3, 3, 40 }, .params = { SCALE, .shared = 10 } },
    { .name = "one_element", .extent = { 1, 1, 1, 1, 1, 1, 1 }, .params = { SCALE } },
    { .name = NULL },
};

/* ---- Planted faults: each takes a sequence's call, as qp_cascade_attention_flat makes it ---- */

enum { PIECES = 5, LENGTH = QP_CASCADE_ATTENTION_LENGTH };

/* The right scores and, with `probs`, probabilities of a sequence. */
static qp_status probabilities(const qp_call *flat, qp_bf16 *scores, qp_bf16 *probs)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(flat);
    qp_call of_scores = *flat;
    of_scores.out[0] = scores;
    QP_TRY(qp_scores_cpu(&of_scores));
    const qp_call of_rows = { .extent = { a.query_heads, a.keys_count }, .in = { scores }, .out = { probs } };
    return probs ? qp_softmax_cpu(&of_rows) : QP_OK;
}

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "cascade_attention: no memory for a planted fault"); }

/* Zeros fill up the last block of 16 of each piece. */
static qp_status padded_apart(const qp_call *flat)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(flat);
    const int64_t *length = flat->in[LENGTH], pieces = flat->extent[PIECES], row = a.key_heads * a.d;
    int64_t padded = 0;
    for (int64_t c = 0; c < pieces; c++) padded += (length[c] + QP_BLOCK_K - 1) / QP_BLOCK_K * QP_BLOCK_K;
    const size_t rows = (size_t)a.query_heads, element = sizeof(qp_bf16);
    qp_bf16 *scores = calloc(rows * (size_t)a.keys_count, element),
            *probs = calloc(rows * (size_t)a.keys_count, element), *wide_probs = calloc(rows * (size_t)padded, element),
            *wide_values = calloc((size_t)(padded * row), element);
    qp_status status = scores && probs && wide_probs && wide_values ? probabilities(flat, scores, probs) : no_memory();
    if (status != QP_OK) goto done;
    for (int64_t c = 0, from = 0, to = 0; c < pieces; from += length[c], c++) {
        memcpy(wide_values + to * row, a.values + from * row, (size_t)(length[c] * row) * element);
        for (int64_t h = 0; h < a.query_heads; h++)
            memcpy(wide_probs + h * padded + to, probs + h * a.keys_count + from, (size_t)length[c] * element);
        to += (length[c] + QP_BLOCK_K - 1) / QP_BLOCK_K * QP_BLOCK_K;
    }
    const qp_call of_context = {
        .extent = { 1, padded, a.query_heads, a.key_heads, a.d },
        .in = { wide_probs, wide_values },
        .out = { a.y },
        .params = { .order = a.context_order },
    };
    status = qp_context_cpu(&of_context);
done:
    free(wide_values);
    free(wide_probs);
    free(probs);
    free(scores);
    return status;
}

/* One head: a softmax of each piece alone, which are brought to a common maximum at the end, the flash-decoding way. */
static void merge_pieces(const qp_bf16 *scores, const int64_t *length, int64_t pieces, const qp_bf16 *values,
                         int64_t value_step, int64_t d, qp_bf16 *y, float *sum)
{
    float max = -INFINITY, total = 0.0f;
    for (int64_t j = 0; j < d; j++) sum[j] = 0.0f;
    for (int64_t c = 0; c < pieces; scores += length[c], values += length[c] * value_step, c++) {
        float own = -INFINITY;
        for (int64_t s = 0; s < length[c]; s++) own = fmaxf(own, qp_bf16_to_f32(scores[s]));
        if (length[c] == 0) continue;
        const float common = fmaxf(max, own), down = qp_exp(max - common), own_down = qp_exp(own - common);
        total *= down;
        for (int64_t j = 0; j < d; j++) sum[j] *= down;
        for (int64_t s = 0; s < length[c]; s++) {
            const float power = own_down * qp_exp(qp_bf16_to_f32(scores[s]) - own);
            total += power;
            for (int64_t j = 0; j < d; j++) sum[j] += power * qp_bf16_to_f32(values[s * value_step + j]);
        }
        max = common;
    }
    for (int64_t j = 0; j < d; j++) y[j] = qp_bf16_from_f32(sum[j] / total);
}

static qp_status merged(const qp_call *flat)
{
    const qp_gqa_attention_args a = qp_gqa_attention_bind(flat);
    const int64_t group = a.query_heads / a.key_heads;
    qp_bf16 *scores = malloc((size_t)(a.query_heads * a.keys_count) * sizeof *scores);
    float *sum = malloc((size_t)a.d * sizeof *sum);
    const qp_status status = scores && sum ? probabilities(flat, scores, NULL) : no_memory();
    for (int64_t h = 0; h < a.query_heads && status == QP_OK; h++)
        merge_pieces(scores + h * a.keys_count, flat->in[LENGTH], flat->extent[PIECES], a.values + h / group * a.d,
                     a.key_heads * a.d, a.d, a.y + h * a.d, sum);
    free(sum);
    free(scores);
    return status;
}

static qp_status pieces_padded_apart(const qp_call *call)
{
    return qp_cascade_attention_flat(call, sizeof(qp_bf16), padded_apart);
}

static qp_status pieces_merged(const qp_call *call) { return qp_cascade_attention_flat(call, sizeof(qp_bf16), merged); }

/* The right operation on tables whose last piece comes first. */
static qp_status pieces_swapped(const qp_call *call)
{
    const qp_cascade_attention_args a = qp_cascade_attention_bind(call);
    const int64_t n = a.sequences * a.pieces;
    int64_t *tables = malloc((size_t)(2 * n) * sizeof *tables);
    if (!tables) return no_memory();
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = i / a.pieces * a.pieces + (i + a.pieces - 1) % a.pieces;
        tables[i] = a.first[from];
        tables[n + i] = a.length[from];
    }
    qp_call wrong = *call;
    wrong.in[QP_CASCADE_ATTENTION_FIRST] = tables;
    wrong.in[LENGTH] = tables + n;
    wrong.params.shared = 0;
    const qp_status status = qp_cascade_attention_cpu(&wrong);
    free(tables);
    return status;
}

static const qp_fault faults[] = {
    { "pieces-padded-apart", "each piece begins a new block of 16 of the context's sum", "*", pieces_padded_apart },
    { "pieces-merged", "each piece has a softmax of its own, and they are rescaled and added", "*", pieces_merged },
    { "pieces-swapped", "the last piece of each context comes first", "*", pieces_swapped },
    { .name = NULL },
};

#define OF_Q                                                                                                           \
    {                                                                                                                  \
        QP_CASCADE_ATTENTION_B, QP_CASCADE_ATTENTION_HQ, QP_CASCADE_ATTENTION_D                                        \
    }
#define OF_POOL                                                                                                        \
    {                                                                                                                  \
        QP_CASCADE_ATTENTION_N, QP_CASCADE_ATTENTION_HKV, QP_CASCADE_ATTENTION_D                                       \
    }
#define OF_PIECES                                                                                                      \
    {                                                                                                                  \
        QP_CASCADE_ATTENTION_B, QP_CASCADE_ATTENTION_C                                                                 \
    }

const qp_operation qp_cascade_attention_operation = {
    .name = "cascade_attention",
    .formula = "y[b, h, :] = sum over s of softmax(scale * q[b, h, :] . keys[row(b, s), h / group, :]) * "
               "values[row(b, s), h / group, :]",
    .extents = { "B", "N", "C", "S", "Hq", "Hkv", "D" },
    .in = { { "q", QP_BF16, QP_ACTIVATION, 3, OF_Q },
            { "keys", QP_BF16, QP_ACTIVATION, 3, OF_POOL },
            { "values", QP_BF16, QP_ACTIVATION, 3, OF_POOL },
            { "first", QP_I64, QP_ACTIVATION, 2, OF_PIECES },
            { "length", QP_I64, QP_ACTIVATION, 2, OF_PIECES } },
    .out = { { "y", QP_BF16, QP_ACTIVATION, 3, OF_Q } },
    .precondition = precondition,
    .oracle = qp_cascade_attention_oracle,
    .flops = flops,
    .bytes = bytes,
    .cases = cases,
    .faults = faults,
    .in_no_plan = true,
    .rounding_oracle = qp_cascade_attention_rounding_oracle,
    .fill_table = fill_table,
};
