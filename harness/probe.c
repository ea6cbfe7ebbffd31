#include "probe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/block_fma.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static qp_bf16 bf16_of(double x) { return qp_bf16_from_f32((float)x); }

/* ---- Text that ends in "..." where it is full ---- */

typedef struct text_writer {
    char *text;
    size_t size, length;
} text_writer;

static text_writer write_to(char *text, size_t size)
{
    if (size) *text = '\0';
    return (text_writer){ text, size, 0 };
}

static void put(text_writer *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(text_writer *to, const char *format, ...)
{
    va_list list;
    if (to->length >= to->size) return;
    va_start(list, format);
    const int length = vsnprintf(to->text + to->length, to->size - to->length, format, list);
    va_end(list);
    to->length += length > 0 ? (size_t)length : 0;
    if (to->length >= to->size && to->size > 4) memcpy(to->text + to->size - 4, "...", 4);
}

/* ---- Asking ---- */

enum { MAX_TERMS = 6 };

/* Factors at some places. Elsewhere x is 1 and w is zero. Questions that are asked together share x. */
typedef struct term {
    int64_t place;
    double x, w;
} term;

typedef struct question {
    term term[MAX_TERMS];
    int terms;
    int16_t *met; /* where a pair's number goes */
} question;

static void add_term(question *q, int64_t place, double x, double w) { q->term[q->terms++] = (term){ place, x, w }; }

/* `ones`: places whose w is 1 but for the terms. */
static qp_status ask(const qp_probe_subject *subject, const int64_t *ones, int one_count, const question *questions,
                     int64_t count, float *answer)
{
    if (count == 0) return QP_OK;
    const int64_t n = subject->n, batch = least(subject->batch, count);
    qp_bf16 *x = calloc((size_t)n, sizeof *x), *w = malloc((size_t)(batch * n) * sizeof *w);
    qp_bf16 *sums = malloc((size_t)batch * sizeof *sums);
    qp_status status = x && w && sums ? QP_OK : qp_fail(QP_NO_MEMORY, "no memory for the inputs of a probe");
    for (int64_t k = 0; status == QP_OK && k < n; k++) x[k] = bf16_of(1.0);
    for (int64_t start = 0; status == QP_OK && start < count; start += batch) {
        const int64_t here = least(batch, count - start);
        memset(w, 0, (size_t)(here * n) * sizeof *w);
        for (int64_t i = 0; i < here; i++) {
            const question *q = &questions[start + i];
            for (int k = 0; k < one_count; k++) w[i * n + ones[k]] = bf16_of(1.0);
            for (const term *t = q->term; t < q->term + q->terms; t++) {
                x[t->place] = bf16_of(t->x);
                w[i * n + t->place] = bf16_of(t->w);
            }
        }
        status = subject->sum(subject->context, x, w, here, sums);
        for (int64_t i = 0; status == QP_OK && i < here; i++) answer[start + i] = qp_bf16_to_f32(sums[i]);
    }
    free(x);
    free(w);
    free(sums);
    return status;
}

/* ---- Counting: the tree ---- */

/* All places of a short sum. Of a long one the first and the last as neighbours, which shows blocks and runs, and
 * between them others at distances that are not all the same, so that no regular order hides in them. */
static int choose_places(int64_t n, int64_t *place)
{
    enum { HEAD = 64, TAIL = 32, SPREAD = QP_PROBE_PLACES - HEAD - TAIL };
    const bool all = n <= QP_PROBE_PLACES;
    const int count = all ? (int)n : QP_PROBE_PLACES;
    const int64_t span = n - HEAD - TAIL, step = span / SPREAD;
    for (int k = 0; k < count; k++) {
        const int64_t t = k - HEAD;
        if (all || k < HEAD)
            place[k] = k;
        else
            place[k] = t < SPREAD ? HEAD + t * span / SPREAD + 5 * t % step : n - count + k;
    }
    return count;
}

static int64_t next_place(const qp_probe_counts *c, int k) { return k + 1 < c->places ? c->place[k + 1] : c->n; }

/* 1 + large = large, for all ones together and in any accumulator. */
static void add_pair(question *q, int64_t i, int64_t j, int16_t *met)
{
    const double large = 0x1p64;
    add_term(q, i, 1.0, large);
    add_term(q, j, 1.0, -large);
    q->met = met;
}

/* All listed places in pairs, and every other place with the listed one before it. */
static int64_t list_pairs(qp_probe_counts *c, question *pairs)
{
    int64_t count = 0;
    for (int i = 0; i < c->places; i++) {
        for (int j = i + 1; j < c->places; j++) add_pair(&pairs[count++], c->place[i], c->place[j], &c->met[i][j]);
        for (int64_t j = c->place[i] + 1; j < next_place(c, i); j++)
            add_pair(&pairs[count++], c->place[i], j, &c->beside[j]);
    }
    return count;
}

static qp_status ask_pairs(const qp_probe_subject *subject, qp_probe_counts *c, question *pairs, float *left)
{
    const int64_t count = list_pairs(c, pairs);
    QP_TRY(ask(subject, c->place, c->places, pairs, count, left));
    for (int64_t p = 0; p < count; p++) {
        const bool counts = left[p] >= 0.0f && left[p] <= (float)c->places && left[p] == floorf(left[p]);
        *pairs[p].met = (int16_t)(counts ? c->places - (int)left[p] : -1);
    }
    for (int i = 0; i < c->places; i++) {
        c->met[i][i] = 1;
        for (int j = 0; j < i; j++) c->met[i][j] = c->met[j][i];
    }
    return QP_OK;
}

qp_status qp_probe_count(const qp_probe_subject *subject, qp_probe_counts **counts)
{
    const size_t n = (size_t)subject->n;
    qp_probe_counts *c = *counts = calloc(1, sizeof *c);
    if (!c) return qp_fail(QP_NO_MEMORY, "no memory for what a probe counts");
    c->n = subject->n;
    c->places = choose_places(c->n, c->place);
    c->beside = calloc(n, sizeof *c->beside);
    const size_t most_pairs = n + QP_PROBE_PLACES * QP_PROBE_PLACES / 2;
    question *pairs = calloc(most_pairs, sizeof *pairs);
    float *left = malloc(most_pairs * sizeof *left);
    const qp_status status = c->beside && pairs && left
                                 ? ask_pairs(subject, c, pairs, left)
                                 : qp_fail(QP_NO_MEMORY, "no memory for the questions of a probe");
    free(pairs);
    free(left);
    return status;
}

void qp_probe_counts_free(qp_probe_counts *counts)
{
    if (counts) free(counts->beside);
    free(counts);
}

/* Hangs leaves, in ascending order, below a new node, which is its return value; -1: the counts are those of
 * no tree. Two leaves belong to the same child if they met before all of them had. */
static int hang(qp_probe_tree *tree, const qp_probe_counts *c, const int16_t *leaf, int size, int parent)
{
    int16_t left[QP_PROBE_PLACES], child[QP_PROBE_PLACES];
    const int node = tree->nodes++;
    tree->parent[node] = parent;
    tree->first[node] = leaf[0];
    tree->last[node] = leaf[size - 1];
    memcpy(left, leaf, (size_t)size * sizeof *left);
    for (int left_count = size; left_count > 0;) {
        const int before = left_count, first = left[0];
        int count = 0;
        left_count = 0;
        for (int i = 0; i < before; i++) {
            const int16_t one = left[i];
            if (one == first || c->met[first][one] < size)
                child[count++] = one;
            else
                left[left_count++] = one;
        }
        for (int i = 0; i < count; i++)
            for (int j = 0; j < left_count; j++)
                if (c->met[child[i]][left[j]] != size) return -1;
        if (count == 1)
            tree->parent[child[0]] = node;
        else if (count == size || hang(tree, c, child, count, node) < 0)
            return -1;
    }
    return node;
}

bool qp_probe_make_tree(const qp_probe_counts *counts, qp_probe_tree *tree)
{
    int16_t all[QP_PROBE_PLACES];
    memset(tree, 0, sizeof *tree);
    tree->places = tree->nodes = counts->places;
    for (int k = 0; k < counts->places; k++) {
        all[k] = (int16_t)k;
        tree->place[k] = counts->place[k];
        tree->first[k] = tree->last[k] = k;
    }
    return hang(tree, counts, all, counts->places, -1) >= 0;
}

/* The children of a node, leaves first; returns how many, and how many of them are leaves. */
static int children_of(const qp_probe_tree *tree, int node, int *child, int *leaves)
{
    int count = 0;
    *leaves = 0;
    for (int i = 0; i < tree->nodes; i++) {
        if (tree->parent[i] != node) continue;
        child[count++] = i;
        *leaves += i < tree->places;
    }
    return count;
}

static void put_node(text_writer *to, const qp_probe_tree *tree, int node)
{
    int child[QP_PROBE_NODES], leaves = 0;
    const int count = children_of(tree, node, child, &leaves);
    const bool chain = count - leaves == 1;
    for (int i = leaves; i < count && to->length < to->size; i++) {
        put(to, chain ? "" : "(");
        put_node(to, tree, child[i]);
        put(to, chain ? " >" : i + 1 < count ? ") " : ")");
    }
    for (int i = 0; i < leaves; i++) {
        const int first = i;
        while (i + 1 < leaves && tree->place[child[i + 1]] == tree->place[child[i]] + 1) i++;
        put(to, "%s%lld", first || count > leaves ? " " : "", (long long)tree->place[child[first]]);
        if (i > first) put(to, "-%lld", (long long)tree->place[child[i]]);
    }
}

void qp_probe_tree_in_words(const qp_probe_tree *tree, char *text, size_t size)
{
    text_writer to = write_to(text, size);
    put_node(&to, tree, tree->places);
}

/* ---- Orders that have words ---- */

/* Where an order puts a place: into which sum, and when. */
typedef struct spot {
    int64_t sum, turn;
} spot;

static spot spot_of(const qp_probe_order *order, int64_t place)
{
    if (order->lanes) return (spot){ place / order->run % order->lanes, place };
    int part = order->parts - 1;
    while (part > 0 && order->start[part] > place) part--;
    const int64_t block = order->block, first = order->first, i = place - order->start[part];
    return (spot){ part, i < first ? i / block : (first + block - 1) / block + (i - first) / block };
}

/* How many of the listed places have met when those at a and b do. */
static int met_in(const qp_probe_order *order, const spot *listed, int places, spot a, spot b)
{
    int count = 0, halves = 0;
    if (order->lanes && order->fold == QP_FOLD_HALVES && a.sum != b.sum)
        for (halves = order->lanes / 2; a.sum % halves != b.sum % halves;) halves /= 2;
    for (int k = 0; k < places; k++) {
        const spot s = listed[k];
        if (a.sum == b.sum)
            count += s.sum == a.sum && s.turn <= most(a.turn, b.turn);
        else
            count += halves ? s.sum % halves == a.sum % halves : s.sum <= most(a.sum, b.sum);
    }
    return count;
}

bool qp_probe_fits(const qp_probe_order *order, const qp_probe_counts *c)
{
    spot listed[QP_PROBE_PLACES];
    for (int k = 0; k < c->places; k++) listed[k] = spot_of(order, c->place[k]);
    for (int i = 0; i < c->places; i++)
        for (int j = i + 1; j < c->places; j++)
            if (c->met[i][j] != met_in(order, listed, c->places, listed[i], listed[j])) return false;
    for (int k = 0; k < c->places; k++)
        for (int64_t j = c->place[k] + 1; j < next_place(c, k); j++)
            if (c->beside[j] != met_in(order, listed, c->places, listed[k], spot_of(order, j))) return false;
    return true;
}

/* Reads the parts off the tree: as long as a node adds two sums of neighbours, the second of them is the last part. */
static int find_parts(const qp_probe_counts *c, const qp_probe_tree *tree, int64_t *start)
{
    int64_t found[QP_PROBE_PARTS];
    int parts = 1;
    for (int node = tree->places; parts < QP_PROBE_PARTS; parts++) {
        int child[QP_PROBE_NODES], leaves = 0;
        if (children_of(tree, node, child, &leaves) != 2 || leaves) break;
        const bool swapped = tree->first[child[0]] > tree->first[child[1]];
        const int a = tree->last[child[swapped]], b = tree->first[child[!swapped]];
        if (a > b) break;
        int64_t bound = c->place[a] + 1;
        while (bound < c->place[b] && c->beside[bound] != c->met[a][b]) bound++;
        found[parts - 1] = bound;
        node = child[swapped];
    }
    start[0] = 0;
    for (int i = 1; i < parts; i++) start[i] = found[parts - 1 - i];
    return parts;
}

static bool find_chain(const qp_probe_counts *c, const qp_probe_order *in_parts, qp_probe_order *order)
{
    static const int blocks[] = { 16, 8, 32, 4, 64, 2 };
    const int64_t firsts = in_parts->parts > 1 ? 1 : least(c->n, QP_PROBE_PLACES);
    *order = *in_parts;
    for (order->first = 0; order->first < firsts; order->first++)
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            order->block = blocks[i];
            if (qp_probe_fits(order, c)) return true;
        }
    return false;
}

static void in_lanes(qp_probe_order *order, qp_sum_order lanes)
{
    order->lanes = lanes.lanes;
    order->run = lanes.run;
    order->fold = lanes.fold;
}

/* Those of cuBLAS's kernels first, so that of all that sum alike these are named. Then any, with runs of a power of
 * two, or one run a lane. */
static bool find_lanes(const qp_probe_counts *c, qp_probe_order *order)
{
    const int lengths = 9;
    *order = (qp_probe_order){ .n = c->n, .block = 1, .parts = 1 };
    for (int i = 0; i < QP_LANE_ORDERS_SEEN; i++) {
        in_lanes(order, qp_lane_orders_seen[i]);
        if (qp_probe_fits(order, c)) return true;
    }
    for (order->fold = QP_FOLD_HALVES; order->fold <= QP_FOLD_IN_TURN; order->fold++)
        for (order->lanes = 2; order->lanes <= QP_MAX_LANES; order->lanes *= 2)
            for (int i = 0; i < lengths; i++) {
                order->run = i ? 1 << (i - 1) : (c->n + order->lanes - 1) / order->lanes;
                if (qp_probe_fits(order, c)) return true;
            }
    return false;
}

bool qp_probe_find_order(const qp_probe_counts *counts, const qp_probe_tree *tree, qp_probe_order *order)
{
    qp_probe_order in_parts = { .n = counts->n };
    in_parts.parts = find_parts(counts, tree, in_parts.start);
    const bool all_in_pairs =
        tree->nodes >= 2 * tree->places - 1; /* no node sums more than two, so there are no blocks */
    if (!all_in_pairs && find_chain(counts, &in_parts, order)) return true;
    *order = (qp_probe_order){ .n = counts->n, .block = 1, .parts = 1 };
    if (qp_probe_fits(order, counts) || find_lanes(counts, order)) return true;
    *order = in_parts;
    order->block = 1;
    return qp_probe_fits(order, counts);
}

bool qp_probe_order_of(int64_t n, const qp_params *params, qp_probe_order *order)
{
    const qp_sum_order given = params->order;
    const int64_t part = params->part > 0 ? params->part : n, parts = (n + part - 1) / part;
    *order = (qp_probe_order){ .n = n, .block = 1, .parts = 1 };
    if (given.lanes) {
        in_lanes(order, given);
        return true;
    }
    if (parts > QP_PROBE_PARTS) return false;
    order->block = given.narrow ? QP_BLOCK_K / 2 : QP_BLOCK_K;
    order->first = given.run;
    order->parts = (int)parts;
    for (int i = 0; i < order->parts; i++) order->start[i] = i * part;
    return true;
}

/* "2 parts of 1536"; "3 parts of 1216, 1216 and 640". */
static void put_parts(text_writer *to, const qp_probe_order *order)
{
    int64_t length[QP_PROBE_PARTS] = { 0 };
    bool alike = true;
    for (int i = 0; i < order->parts; i++) {
        length[i] = (i + 1 < order->parts ? order->start[i + 1] : order->n) - order->start[i];
        alike &= length[i] == length[0];
    }
    put(to, "%d parts of %lld", order->parts, (long long)length[0]);
    for (int i = 1; i < order->parts && !alike; i++)
        put(to, "%s %lld", i + 1 < order->parts ? "," : " and", (long long)length[i]);
}

void qp_probe_order_in_words(const qp_probe_order *order, char *text, size_t size)
{
    text_writer to = write_to(text, size);
    if (order->n < 3) {
        put(&to, "%s", order->n == 1 ? "a single product" : "two products");
    } else if (order->lanes) {
        put(&to, "%d lanes in runs of %lld, folded %s", order->lanes, (long long)order->run,
            order->fold == QP_FOLD_IN_TURN ? "in turn" : "by halves");
    } else if (order->parts > 1) {
        put_parts(&to, order);
        if (order->block > 1)
            put(&to, ", each a chain of blocks of %d, added in order", order->block);
        else
            put(&to, ", each one product after the other, added in order");
    } else if (order->block == 1) {
        put(&to, "one product after the other");
    } else if (order->n <= order->block && !order->first) {
        put(&to, "all %lld at once", (long long)order->n);
    } else {
        if (order->first) put(&to, "the first %lld, then ", (long long)order->first);
        put(&to, "one chain of blocks of %d", order->block);
    }
}

/* ---- The unit ---- */

enum { ROUNDINGS = 4, F32_STEPS = 23 /* an f32 from 1 on counts in 2^-23 */ };

/* Where to put the factors: places that one node sums at once, one that it has in its sum before, and one that joins
 * after it; -1: none. */
typedef struct stage {
    int64_t group[QP_PROBE_PLACES], before, after;
    int count;
    bool at_once;
} stage;

static stage find_stage(const qp_probe_tree *tree)
{
    stage best = { .before = -1, .after = -1 };
    int best_score = -1;
    for (int node = tree->places; node < tree->nodes; node++) {
        int child[QP_PROBE_NODES], leaves = 0, after = -1;
        const int count = children_of(tree, node, child, &leaves);
        const bool at_once = count > 2 && leaves > 1, before = at_once && count > leaves;
        for (int i = 0; i < tree->nodes && node != tree->places; i++)
            if (i != node && tree->parent[i] == tree->parent[node]) after = tree->first[i];
        const int score = (at_once ? 4 * leaves + 2 * before : 0) + (after >= 0);
        if (score <= best_score || (!at_once && count != 2)) continue;
        best_score = score;
        best = (stage){ .count = at_once ? leaves : count, .at_once = at_once };
        for (int i = 0; i < best.count; i++) best.group[i] = tree->place[tree->first[child[i]]];
        best.before = before ? tree->place[tree->first[child[leaves]]] : -1;
        best.after = after >= 0 ? tree->place[after] : -1;
    }
    return best;
}

/* What is left of terms at `place`, where a pair of factor * factor cancels in the node. */
static qp_status ask_beside_pair(const qp_probe_subject *subject, const stage *at, double factor, int64_t place,
                                 const double *terms, int count, float *left)
{
    question questions[QP_PROBE_MOST_BITS] = { 0 };
    for (int i = 0; i < count; i++) {
        add_term(&questions[i], at->group[0], factor, factor);
        add_term(&questions[i], at->group[1], factor, -factor);
        add_term(&questions[i], place, 1.0, terms[i]);
    }
    return ask(subject, NULL, 0, questions, count, left);
}

/* How small a term may be beside a pair whose exponent is 0. */
static qp_status find_bits(const qp_probe_subject *subject, const stage *at, int64_t place, int *bits)
{
    double terms[QP_PROBE_MOST_BITS];
    float left[QP_PROBE_MOST_BITS];
    for (int i = 0; i < QP_PROBE_MOST_BITS; i++) terms[i] = ldexp(1.0, -i - 1);
    QP_TRY(ask_beside_pair(subject, at, 1.0, place, terms, QP_PROBE_MOST_BITS, left));
    for (*bits = 0; *bits < QP_PROBE_MOST_BITS && (double)left[*bits] == terms[*bits];) ++*bits;
    return QP_OK;
}

/* What was rounded to whole numbers, and how. `result` is in units of `one`, and lacks `less` of the sign. */
static const double rounded[ROUNDINGS] = { 1.25, 1.75, -1.25, -1.75 };

static qp_probe_rounding rounding_of(const float *result, double one, double less)
{
    static const double whole[][ROUNDINGS] = { [QP_PROBE_TO_ZERO] = { 1, 1, -1, -1 },
                                               [QP_PROBE_TO_NEAREST] = { 1, 2, -1, -2 },
                                               [QP_PROBE_DOWN] = { 1, 1, -2, -2 } };
    for (qp_probe_rounding r = QP_PROBE_TO_ZERO; r <= QP_PROBE_DOWN; r++) {
        int alike = 0;
        for (int i = 0; i < ROUNDINGS; i++)
            alike += (double)result[i] / one + copysign(less, rounded[i]) == whole[r][i];
        if (alike == ROUNDINGS) return r;
    }
    return QP_PROBE_ODD;
}

/* How a product is cut to the last bit that is kept of it, and how its exponent counts: that of a pair of 1.5 * 1.5 is
 * 0 by the factors, and 1 by the product. */
static qp_status find_cut(const qp_probe_subject *subject, const stage *at, int64_t place, qp_probe_unit *unit)
{
    double terms[ROUNDINGS];
    const double last = ldexp(1.0, -unit->product_bits);
    float left[ROUNDINGS];
    for (int i = 0; i < ROUNDINGS; i++) terms[i] = rounded[i] * last;
    QP_TRY(ask_beside_pair(subject, at, 1.0, place, terms, ROUNDINGS, left));
    unit->cut = rounding_of(left, last, 0.0);
    QP_TRY(ask_beside_pair(subject, at, 1.5, place, &last, 1, left));
    unit->normalised = (double)left[0] != last;
    return QP_OK;
}

/* How a node's sum is rounded to f32: quarters of its last bit, which only show after its large part is gone again.
 * Where a node keeps fewer bits than these quarters need, several terms together make the sum larger than each. */
static qp_status find_sum_rounding(const qp_probe_subject *subject, const stage *at, qp_probe_unit *unit)
{
    question questions[ROUNDINGS] = { 0 };
    float left[ROUNDINGS];
    const int bits = unit->product_bits, carry = at->at_once ? (int)most(0, F32_STEPS + 2 - bits) : 0;
    if ((at->at_once && bits < F32_STEPS) || at->count < (1 << carry) + 1 || at->after < 0) return QP_OK;
    for (int i = 0; i < ROUNDINGS; i++) {
        const double sign = copysign(1.0, rounded[i]);
        for (int k = 0; k < 1 << carry; k++) add_term(&questions[i], at->group[k], 1.0, sign);
        add_term(&questions[i], at->group[1 << carry], 1.0, ldexp(rounded[i] - sign, carry - F32_STEPS));
        add_term(&questions[i], at->after, 1.0, -ldexp(sign, carry));
    }
    QP_TRY(ask(subject, NULL, 0, questions, ROUNDINGS, left));
    unit->sum = rounding_of(left, ldexp(1.0, carry - F32_STEPS), 1.0);
    return QP_OK;
}

static qp_status find_subnormals(const qp_probe_subject *subject, const stage *at, qp_probe_unit *unit)
{
    question questions[2] = { 0 };
    float left[2];
    add_term(&questions[0], at->group[0], 0x1p20, 0x1p-130);
    add_term(&questions[1], at->group[1], 0x1p-65, 0x1p-65);
    QP_TRY(ask(subject, NULL, 0, questions, 2, left));
    unit->subnormal_factors = left[0] == 0x1p-110f;
    unit->subnormal_sums = left[1] == 0x1p-130f;
    return QP_OK;
}

qp_status qp_probe_find_unit(const qp_probe_subject *subject, const qp_probe_tree *tree, const qp_probe_order *order,
                             qp_probe_unit *unit)
{
    memset(unit, 0, sizeof *unit);
    const stage at = find_stage(tree);
    if (tree->places < 3 || !at.count) return QP_OK;
    unit->width_is_least = at.count == tree->places;
    unit->width = !at.at_once ? 1 : order && !unit->width_is_least ? order->block : at.count;
    if (at.at_once) {
        const int64_t third = at.count > 2 ? at.group[2] : at.before;
        QP_TRY(find_bits(subject, &at, third, &unit->product_bits));
        if (at.before >= 0) QP_TRY(find_bits(subject, &at, at.before, &unit->accumulator_bits));
        if (unit->product_bits > 0 && unit->product_bits < QP_PROBE_MOST_BITS)
            QP_TRY(find_cut(subject, &at, third, unit));
    }
    QP_TRY(find_sum_rounding(subject, &at, unit));
    return find_subnormals(subject, &at, unit);
}

const char *qp_probe_rounding_name(qp_probe_rounding rounding)
{
    static const char *const names[] = { [QP_PROBE_UNTOLD] = "in a way that these shapes do not tell",
                                         [QP_PROBE_TO_ZERO] = "toward zero",
                                         [QP_PROBE_TO_NEAREST] = "to nearest",
                                         [QP_PROBE_DOWN] = "down",
                                         [QP_PROBE_ODD] = "in no usual way" };
    return names[rounding];
}

void qp_probe_unit_in_words(const qp_probe_unit *unit, const char *indent, char *text, size_t size)
{
    text_writer to = write_to(text, size);
    if (!unit->width) {
        put(&to, "%stoo few products to tell\n", indent);
        return;
    }
    if (unit->width == 1) {
        put(&to, "%sno block: one product after the other\n", indent);
    } else {
        put(&to, "%sblocks of %s%d products, summed at once\n", indent, unit->width_is_least ? "at least " : "",
            unit->width);
        if (unit->product_bits >= QP_PROBE_MOST_BITS)
            put(&to, "%sa product is not cut\n", indent);
        else
            put(&to,
                "%sE is the largest exponent in a block; a product is cut %s to a multiple of 2^(E - %d)\n"
                "%sthe exponent of a product is %s\n",
                indent, qp_probe_rounding_name(unit->cut), unit->product_bits, indent,
                unit->normalised ? "normalised: its significand is in [1, 2)"
                                 : "its factors' sum, not normalised: its significand is in [1, 4)");
        if (unit->accumulator_bits >= QP_PROBE_MOST_BITS)
            put(&to, "%sthe sum so far is not cut\n", indent);
        else if (unit->accumulator_bits)
            put(&to, "%sthe sum so far is one more term, cut to a multiple of 2^(E - %d)\n", indent,
                unit->accumulator_bits);
    }
    put(&to, "%sthe sum is rounded to f32 %s\n", indent, qp_probe_rounding_name(unit->sum));
    put(&to, "%ssubnormal factors %s, subnormal sums %s\n", indent, unit->subnormal_factors ? "count" : "count as zero",
        unit->subnormal_sums ? "are kept" : "become zero");
}
