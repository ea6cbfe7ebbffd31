/* How a bf16 dot product is summed, told from its results alone: the tree of its additions, and the arithmetic of the
 * unit that does them. Nothing here compares with a model; a designed input makes each property visible in a result
 * that bf16 holds exactly.
 *
 * The tree. Let all products be 1 but for a pair +M and -M, with 1 + M = M. What is summed into either of the two, or
 * together with both, before they have met is lost; what joins later counts. So a result tells how many products have
 * met by then, and these numbers for all pairs are those of exactly one tree (FPRev, Xie et al., arXiv 2411.00442),
 * also where a node sums more than two at once. bf16 counts exactly to 256, so only that many places hold ones, and the
 * others zeros; where there are more places, every other one is asked for, too, in a pair with the one before it that
 * holds a one. So the bounds of parts are exact in any length. (A unit that rounds small terms up, not off, has no
 * such M; its counts are no tree.)
 *
 * The unit. Where a node sums products at once, a pair that cancels there sets the largest exponent, E, and a small
 * third product shows what is left of it; where the pair cancels one node later, what rounding made of the sum. */
#ifndef QP_PROBE_H
#define QP_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../kernels/operation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What is asked ---- */

/* Sums result[q] = sum over k of x[k] * w[q * n + k] for each of `count` <= batch queries, all in the order that is to
 * be found. A NaN is an answer that tells nothing. */
typedef qp_status (*qp_probe_sum)(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result);

typedef struct qp_probe_subject {
    int64_t n, batch; /* both at least 1 */
    qp_probe_sum sum;
    void *context;
} qp_probe_subject;

/* ---- The order ---- */

enum { QP_PROBE_PLACES = 256, QP_PROBE_NODES = 2 * QP_PROBE_PLACES, QP_PROBE_PARTS = 64 };

/* What was seen. Numbers of places among place[0..places), ascending. */
typedef struct qp_probe_counts {
    int64_t n;
    int places;
    int64_t place[QP_PROBE_PLACES];
    int16_t met[QP_PROBE_PLACES][QP_PROBE_PLACES]; /* how many, i and j included, have met when i and j do; -1: none */
    int16_t *beside; /* [n]: the same for a place that is not in the list and the listed one before it; 0: not asked */
} qp_probe_counts;

/* Asks. QP_NO_MEMORY, or what the subject's sum gives. Free the counts also after a failure; NULL is fine. */
QP_MUST_USE qp_status qp_probe_count(const qp_probe_subject *subject, qp_probe_counts **counts);
void qp_probe_counts_free(qp_probe_counts *counts);

/* Nodes [0, places) are the listed places, the others are sums; node `places` is the root. */
typedef struct qp_probe_tree {
    int places, nodes;
    int64_t place[QP_PROBE_PLACES];
    int parent[QP_PROBE_NODES];                      /* -1: the root's */
    int first[QP_PROBE_NODES], last[QP_PROBE_NODES]; /* of the listed places below it */
} qp_probe_tree;

/* The only tree with these counts, or false: there is none, since places are not summed in one order. */
bool qp_probe_make_tree(const qp_probe_counts *counts, qp_probe_tree *tree);

/* Nested: `0-15 > 16-31` sums the places 0 to 15 at once, and then with 16 to 31; `(0-1) (2-3)` adds two sums. Ends in
 * "..." if the text is too short for it. */
void qp_probe_tree_in_words(const qp_probe_tree *tree, char *text, size_t size);

/* An order that has words. Places are dealt to sums: neighbouring parts, each from start[i] on, or lanes in turn, `run`
 * neighbours each time. Each is a chain of blocks of `block`; a block of 1 adds one product after the other. */
typedef struct qp_probe_order {
    int64_t n;
    int block;
    int64_t first; /* without parts and lanes: so many have blocks of their own (T1 of sum_order.h); else 0 */
    int parts;     /* 1: K is not split; they are added from the first to the last */
    int64_t start[QP_PROBE_PARTS];
    int lanes; /* 0: none */
    int64_t run;
    qp_fold fold; /* of lanes */
} qp_probe_order;

/* O1, O2 of linear.h, or T1 to L3 of sum_order.h, whichever the parameters set; false: more parts than have words. */
bool qp_probe_order_of(int64_t n, const qp_params *params, qp_probe_order *order);

/* Whether the order explains all that was seen. */
bool qp_probe_fits(const qp_probe_order *order, const qp_probe_counts *counts);
/* Finds an order that does: the tensor core's first, then lanes; false: none has words. Of all that sum alike the first
 * is named. `tree` is that of the counts. */
bool qp_probe_find_order(const qp_probe_counts *counts, const qp_probe_tree *tree, qp_probe_order *order);
void qp_probe_order_in_words(const qp_probe_order *order, char *text, size_t size);

/* ---- The unit ---- */

typedef enum qp_probe_rounding {
    QP_PROBE_UNTOLD, /* the inputs that would show it do not fit this order */
    QP_PROBE_TO_ZERO,
    QP_PROBE_TO_NEAREST,
    QP_PROBE_DOWN,
    QP_PROBE_ODD /* none of these */
} qp_probe_rounding;

const char *qp_probe_rounding_name(qp_probe_rounding rounding); /* "toward zero", ... */

enum { QP_PROBE_MOST_BITS = 60 };

/* Compare B1 to B4 of block_fma.h. Zero, or false, is also what could not be told. */
typedef struct qp_probe_unit {
    int width;            /* products that are summed at once; 1: one after the other; 0: too few places to tell */
    bool width_is_least;  /* all places there are: it may be wider */
    int product_bits;     /* kept of a product below E, the largest exponent; QP_PROBE_MOST_BITS: at least so many */
    int accumulator_bits; /* the same of what was summed before */
    qp_probe_rounding cut;
    qp_probe_rounding sum;  /* of a node's sum to f32 */
    bool normalised;        /* E counts the exponents of the products, and not the sums of their factors' exponents */
    bool subnormal_factors; /* count; false: as zeros */
    bool subnormal_sums;    /* are kept; false: become zero */
} qp_probe_unit;

/* Asks. `order` is the one that was found, or NULL: a first product that is alone in its block looks like one more
 * product of the next, and only all blocks together show how wide they are. QP_NO_MEMORY, or what the subject's sum
 * gives. */
QP_MUST_USE qp_status qp_probe_find_unit(const qp_probe_subject *subject, const qp_probe_tree *tree,
                                         const qp_probe_order *order, qp_probe_unit *unit);
/* A few lines, each after `indent`. */
void qp_probe_unit_in_words(const qp_probe_unit *unit, const char *indent, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
