#include "choice_search.h"

#include <stdlib.h>
#include <string.h>

#include "../kernels/context/context.h"
#include "../kernels/linear/linear.h"
#include "../kernels/numerics/block_fma.h"
#include "../kernels/scores/scores.h"
#include "random_model.h"

/* All three products have the operand with the pairs second, and count tokens first; scores and context count all alike. */
enum { X, TERMS };
enum { T, S, HQ, HKV, D };

enum {
    PERIOD = 65521,  /* terms that repeat; a prime, so that a weight has few rows that are alike */
    QUESTIONS = 256, /* results that are wanted at least; a product that has fewer is asked again with other terms */
    MOST_ROUNDS = 32,
    MOST_PARTS = 32,
    MOST_ORDERS = 160,
    LARGEST_GAP = 11 /* bits */
};
static const uint64_t most_bytes = UINT64_C(1) << 31; /* of an operand or a result */
static const uint64_t seed = 17;
static const char purpose[] = "the search for cuBLAS's orders"; /* of memory */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t up_to_multiple(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

/* ---- Terms ---- */

/* `count` terms, each `stride` behind the one before. From a large one to the next, of the other sign, it is any number of
 * terms up to 2^bits, short ones as often as long ones. */
static void make_terms(uint64_t series, int bits, int64_t count, int64_t stride, qp_bf16 *terms)
{
    float large = 0x1p64f;
    int64_t next = -1;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t random = qp_hash_of(seed + series, (uint64_t)i);
        if (next < i) next = i + (int64_t)((random >> 8) % (UINT64_C(1) << random % (uint64_t)(bits + 1)));
        float term = random >> 63 ? 1.0f : -1.0f;
        if (i == next) term = large = -large;
        terms[i * stride] = qp_bf16_from_f32(term);
    }
}

/* Enough bits for gaps up to n. */
static int bits_for(int64_t n)
{
    int bits = 0;
    while (bits < LARGEST_GAP && INT64_C(1) << bits < n) bits++;
    return bits;
}

/* ---- A product that is asked ---- */

typedef struct search {
    qp_device *device;
    const qp_operation *product;
    const qp_implementation *asked, *told;
    void *x, *terms, *y;   /* on the device; all of x is alike */
    qp_bf16 *seen, *made;  /* what both gave in all rounds */
    int64_t rounds, shift; /* round r has the terms from r * shift on */
} search;

static void close_search(search *s)
{
    qp_device_free(s->device, s->x);
    qp_device_free(s->device, s->terms);
    qp_device_free(s->device, s->y);
    free(s->seen);
    free(s->made);
}

/* Room for the largest call and `terms` elements of its second operand, and for `results` in all rounds. Close it also
 * after a failure. */
static qp_status open_search(qp_device *device, const qp_implementation *asked, const qp_call *largest, int64_t terms,
                             int64_t results, search *s)
{
    *s = (search){ .device = device,
                   .product = qp_operation_find(asked->operation),
                   .asked = asked,
                   .told = qp_implementation_find(asked->operation, asked->backend, "contract"),
                   .rounds = 1 };
    const size_t x_bytes = qp_operand_bytes(&s->product->in[X], largest);
    QP_TRY(qp_device_allocate(device, x_bytes, purpose, &s->x));
    QP_TRY(qp_device_fill(device, s->x, 0x3f, x_bytes)); /* 0.74609375, whose multiples are exact in f32 */
    QP_TRY(qp_device_allocate(device, (uint64_t)terms * sizeof(qp_bf16), purpose, &s->terms));
    QP_TRY(qp_device_allocate(device, qp_operand_bytes(&s->product->out[0], largest), purpose, &s->y));
    s->seen = malloc((size_t)results * sizeof *s->seen);
    s->made = malloc((size_t)results * sizeof *s->made);
    return s->seen && s->made ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for %s", purpose);
}

static bool is_too_large(const qp_operation *product, const qp_call *call)
{
    return qp_operand_bytes(&product->in[X], call) > most_bytes ||
           qp_operand_bytes(&product->in[TERMS], call) > most_bytes ||
           qp_operand_bytes(&product->out[0], call) > most_bytes;
}

/* Terms that repeat, to the end of the operand. */
static qp_status place_repeated_terms(search *s, int bits, int64_t count)
{
    const int64_t once = least(PERIOD, count);
    qp_bf16 *terms = malloc((size_t)once * sizeof *terms);
    if (!terms) return qp_fail(QP_NO_MEMORY, "no memory for %s", purpose);
    make_terms(0, bits, once, 1, terms);
    qp_status status = qp_device_write(s->device, s->terms, terms, (uint64_t)once * sizeof *terms);
    free(terms);
    for (int64_t done = once; done < count && status == QP_OK;) {
        const int64_t here = least(done, count - done);
        status = qp_device_copy(s->device, (qp_bf16 *)s->terms + done, s->terms, (uint64_t)here * sizeof(qp_bf16));
        done += here;
    }
    return status;
}

/* Terms of their own for each of `columns`, which are summed along the rows. */
static qp_status place_columns(search *s, int bits, int64_t rows, int64_t columns)
{
    const uint64_t bytes = (uint64_t)(rows * columns) * sizeof(qp_bf16);
    qp_bf16 *terms = malloc((size_t)bytes);
    if (!terms) return qp_fail(QP_NO_MEMORY, "no memory for %s", purpose);
    for (int64_t c = 0; c < columns; c++) make_terms((uint64_t)c, bits, rows, columns, terms + c);
    const qp_status status = qp_device_write(s->device, s->terms, terms, bytes);
    free(terms);
    return status;
}

/* How many results a round has: those of one token. */
static int64_t results_of(const qp_operation *product, const qp_call *call)
{
    return qp_operand_elements(&product->out[0], call) / call->extent[T];
}

/* The results of the last token, in all rounds. */
static qp_status run_rounds(const search *s, const qp_implementation *implementation, const qp_call *call,
                            qp_bf16 *results)
{
    const uint64_t bytes = qp_operand_bytes(&s->product->out[0], call);
    const int64_t tokens = call->extent[T];
    const int64_t rows = s->product == &qp_scores_operation && tokens > 1 ? call->extent[HQ] : 1; /* [Hq, T, S] */
    const int64_t length = results_of(s->product, call) / rows;
    qp_call of_round = *call;
    of_round.in[X] = s->x;
    of_round.out[0] = s->y;
    for (int64_t round = 0; round < s->rounds; round++) {
        of_round.in[TERMS] = (const qp_bf16 *)s->terms + round * s->shift;
        QP_TRY(qp_device_fill(s->device, s->y, QP_POISON, bytes));
        QP_TRY(qp_device_run(s->device, implementation, &of_round));
        for (int64_t row = 0; row < rows; row++, results += length)
            QP_TRY(qp_device_read(s->device, results,
                                  (const qp_bf16 *)s->y + row * tokens * length + (tokens - 1) * length,
                                  (uint64_t)length * sizeof *results));
    }
    return QP_OK;
}

/* Whether the contract sums so. It has the same bits for any number of rows, so it is asked for one. */
static qp_status explains(const search *s, const qp_call *call, const qp_params *params, bool *does)
{
    qp_call told = *call;
    told.extent[T] = 1;
    told.params = *params;
    QP_TRY(run_rounds(s, s->told, &told, s->made));
    *does = !memcmp(s->seen, s->made, (size_t)(s->rounds * results_of(s->product, call)) * sizeof *s->made);
    return QP_OK;
}

/* ---- The split of K ---- */

/* 0: K cannot be divided into so many. */
static int64_t part_of(int64_t k, int64_t parts)
{
    const int64_t tile = 64;
    const int64_t part = k % (QP_BLOCK_K * parts) == 0 ? k / parts : up_to_multiple((k + parts - 1) / parts, tile);
    return (k + part - 1) / part == parts ? part : 0;
}

static qp_status try_parts(search *s, const qp_call *call, qp_split *split)
{
    bool found = false;
    QP_TRY(run_rounds(s, s->asked, call, s->seen));
    for (int64_t parts = 1; parts <= MOST_PARTS && !found; parts++) {
        const int64_t part = part_of(split->k, parts);
        if (!part) continue;
        split->part = parts > 1 ? part : 0;
        QP_TRY(explains(s, call, &(qp_params){ .part = split->part }, &found));
    }
    split->unknown = !found;
    if (!found) split->part = 0;
    return QP_OK;
}

qp_status qp_find_split(qp_device *device, const qp_implementation *asked, int64_t m, int64_t n, int64_t k,
                        qp_split *split)
{
    const qp_call call = { .extent = { m, n, k } };
    search s = { .device = device };
    *split = (qp_split){ .m = m, .n = n, .k = k, .unknown = true };
    if (is_too_large(&qp_linear_operation, &call)) return QP_OK;
    qp_status status = open_search(device, asked, &call, n * k, n, &s);
    if (status == QP_OK) status = place_repeated_terms(&s, bits_for(k), n * k);
    if (status == QP_OK) status = try_parts(&s, &call, split);
    close_search(&s);
    return status;
}

/* ---- The order of an attention product ---- */

static int add_order(qp_sum_order order, int count, qp_sum_order *orders)
{
    orders[count] = order;
    return count + 1;
}

static int add_seen_lanes(int count, qp_sum_order *orders)
{
    for (int i = 0; i < QP_LANE_ORDERS_SEEN; i++) count = add_order(qp_lane_orders_seen[i], count, orders);
    return count;
}

/* The tensor core's orders, those with lanes that cuBLAS's kernels were seen to have, and their relatives, the likely ones
 * first; of all that give the same sums the first is named. `orders` has room for MOST_ORDERS, less one. */
static int list_orders(int64_t n, int64_t queries, qp_sum_order *orders)
{
    static const int tiles[] = { 64, 32, 128, 16, 256 }; /* of K, in kernels of CUTLASS */
    int count = add_order((qp_sum_order){ 0 }, 0, orders);
    if (queries == 1) count = add_seen_lanes(count, orders);
    for (int narrow = 0; narrow < 2; narrow++) {
        if (narrow) count = add_order((qp_sum_order){ .narrow = true }, count, orders);
        for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
            const int run = (int)(n % tiles[i]);
            if (run > 0 && run < n && (narrow || run % QP_BLOCK_K))
                count = add_order((qp_sum_order){ .run = run, .narrow = narrow }, count, orders);
        }
    }
    if (queries > 1) count = add_seen_lanes(count, orders);
    for (int fold = QP_FOLD_HALVES; fold <= QP_FOLD_IN_TURN; fold++)
        for (int lanes = QP_MAX_LANES; lanes > 0; lanes /= 2) {
            const int runs[] = { 4, 8, 64, 2, 1, (int)((n + lanes - 1) / lanes) };
            for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
                count =
                    add_order((qp_sum_order){ .lanes = lanes, .run = runs[i], .fold = (qp_fold)fold }, count, orders);
        }
    return count;
}

/* Neighbouring numbers of keys often have one order: `likely` is tried first. */
static qp_status try_orders(search *s, const qp_call *call, qp_sum_order likely, qp_order *found)
{
    const bool scores = s->product == &qp_scores_operation;
    qp_sum_order orders[MOST_ORDERS];
    int count = add_order(likely, 0, orders);
    count += list_orders(call->extent[scores ? D : S], call->extent[T], orders + count);
    found->unknown = true;
    QP_TRY(run_rounds(s, s->asked, call, s->seen));
    for (int i = 0; i < count && found->unknown; i++) {
        bool does = false;
        QP_TRY(explains(s, call, &(qp_params){ .scale = 1.0f, .order = orders[i] }, &does));
        found->unknown = !does;
        if (does) found->order = orders[i];
    }
    return QP_OK;
}

static int64_t rounds_for(int64_t keys, const int64_t *extent)
{
    return least(MOST_ROUNDS, (QUESTIONS - 1) / (keys * extent[HKV]) + 1);
}

/* All keys or values of a round; the next begins behind them, aligned. */
static int64_t shift_for(int64_t keys, const int64_t *extent)
{
    return up_to_multiple(keys * extent[HKV] * extent[D], QP_ALIGNMENT);
}

static qp_status find_each(search *s, qp_call *call, int64_t count, qp_order *orders)
{
    qp_sum_order likely = { 0 };
    for (int64_t i = 0; i < count; i++) {
        const int64_t keys = call->extent[S] = orders[i].keys;
        s->rounds = rounds_for(keys, call->extent);
        s->shift = shift_for(keys, call->extent);
        QP_TRY(try_orders(s, call, likely, &orders[i]));
        if (!orders[i].unknown) likely = orders[i].order;
    }
    return QP_OK;
}

qp_status qp_find_orders(qp_device *device, const qp_implementation *asked, const int64_t *extent, int64_t last_keys,
                         qp_order *orders)
{
    const qp_operation *product = qp_operation_find(asked->operation);
    const bool scores = product == &qp_scores_operation;
    const int64_t count = last_keys - extent[S] + 1, row = extent[HKV] * extent[D];
    qp_call call = { .extent = { extent[T], last_keys, extent[HQ], extent[HKV], extent[D] }, .params.scale = 1.0f };
    qp_call each = call;
    search s = { .device = device };
    for (int64_t i = 0; i < count; i++)
        orders[i] = (qp_order){ .product = product, .tokens = extent[T], .keys = extent[S] + i, .unknown = true };
    if (is_too_large(product, &call)) return QP_OK;

    int64_t terms = 0, results = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t keys = each.extent[S] = orders[i].keys, rounds = rounds_for(keys, extent);
        terms = most(terms, rounds * shift_for(keys, extent));
        results = most(results, rounds * results_of(product, &each));
    }
    terms = up_to_multiple(terms, row);
    qp_status status = open_search(device, asked, &call, terms, results, &s);
    if (status == QP_OK)
        status = scores ? place_repeated_terms(&s, bits_for(extent[D]), terms)
                        : place_columns(&s, bits_for(last_keys), terms / row, row);
    if (status == QP_OK) status = find_each(&s, &call, count, orders);
    close_search(&s);
    return status;
}

/* ---- All products of a plan ---- */

static bool is_product(const qp_operation *operation)
{
    return operation == &qp_linear_operation || operation == &qp_scores_operation || operation == &qp_context_operation;
}

static qp_status sums_itself(const qp_plan *plan, const qp_selection *selection, bool *itself)
{
    *itself = false;
    for (int n = 0; n < plan->node_count && !*itself; n++) {
        const qp_operation *operation = plan->nodes[n].operation;
        qp_implementation implementation;
        QP_TRY(qp_selection_find(selection, &plan->nodes[n], &implementation));
        *itself = operation->sequence || (is_product(operation) && strcmp(implementation.name, "cublas") != 0);
    }
    return QP_OK;
}

static qp_status add_split(qp_device *device, const qp_implementation *asked, const qp_plan_node *node,
                           qp_cublas_choices *choices)
{
    const int64_t m = node->extent[QP_LINEAR_M], n = node->extent[QP_LINEAR_N], k = node->extent[QP_LINEAR_K];
    for (int i = 0; i < choices->split_count; i++)
        if (choices->splits[i].m == m && choices->splits[i].n == n && choices->splits[i].k == k) return QP_OK;
    qp_split *splits = realloc(choices->splits, ((size_t)choices->split_count + 1) * sizeof *splits);
    if (!splits) return qp_fail(QP_NO_MEMORY, "no memory for what cuBLAS chooses");
    choices->splits = splits;
    qp_split *split = &splits[choices->split_count];
    QP_TRY(qp_find_split(device, asked, m, n, k, split));
    if (split->unknown) split->part = node->params.part; /* the usual one */
    choices->split_count++;
    return QP_OK;
}

static qp_status add_orders(qp_device *device, const qp_implementation *asked, const qp_plan_node *node,
                            int64_t last_keys, qp_cublas_choices *choices)
{
    const int64_t count = last_keys - node->extent[node->keys_extent] + 1;
    qp_order *orders = realloc(choices->orders, (size_t)(choices->order_count + count) * sizeof *orders);
    if (!orders) return qp_fail(QP_NO_MEMORY, "no memory for what cuBLAS chooses");
    choices->orders = orders;
    QP_TRY(qp_find_orders(device, asked, node->extent, last_keys, orders + choices->order_count));
    choices->order_count += (int)count;
    return QP_OK;
}

/* The layers are alike, so the first one's attention says all. */
static qp_status add_products(qp_device *device, const qp_plan *plan, int64_t last_past, qp_cublas_choices *choices)
{
    const qp_backend backend = qp_device_backend(device);
    for (int n = 0; n < plan->node_count; n++) {
        const qp_plan_node *node = &plan->nodes[n];
        const qp_implementation *asked = qp_implementation_find(node->operation->name, backend, NULL);
        if (node->operation == &qp_linear_operation)
            QP_TRY(add_split(device, asked, node, choices));
        else if (is_product(node->operation) && node->layer == 0)
            QP_TRY(add_orders(device, asked, node, last_past + plan->options.tokens, choices));
    }
    return QP_OK;
}

qp_status qp_find_choices(const qp_runtime *runtime, const qp_selection *selection, qp_plan_options options,
                          int64_t first_past, int64_t last_past, qp_cublas_choices *choices)
{
    qp_plan plan;
    bool itself = false;
    if (qp_device_backend(runtime->device) == QP_CPU) return QP_OK;
    options.choices = NULL;
    QP_TRY(qp_plan_open(runtime->model, options, &plan));
    qp_status status = sums_itself(&plan, selection, &itself);
    qp_plan_close(&plan);
    if (status != QP_OK || !itself) return status;

    options.fusions = 0;
    QP_TRY(qp_plan_open(runtime->model, options, &plan));
    status = qp_plan_set_past(&plan, first_past);
    if (status == QP_OK) status = add_products(runtime->device, &plan, last_past, choices);
    qp_plan_close(&plan);
    return status;
}
