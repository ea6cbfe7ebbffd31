#include "bpe.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct merge {
    uint64_t pair; /* left id and right id; NO_PAIR: a free slot */
    uint32_t rank;
    int32_t id; /* of the merged token */
} merge;

#define NO_PAIR UINT64_MAX

struct qp_bpe {
    merge *merges; /* owned: hash table by pair, at most half full */
    size_t mask;
    int64_t count, room;
    int32_t byte_ids[256];
};

typedef struct qp_bpe_symbol {
    int32_t id;
    int32_t previous, next; /* -1: none */
    bool gone;              /* merged into the symbol before it */
} symbol;

typedef struct qp_bpe_candidate {
    uint32_t rank;
    int32_t place; /* of the left symbol */
    int32_t id;    /* that the pair becomes */
} candidate;

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "not enough memory to merge tokens"); }

/* ---- The table ---- */

static uint64_t make_pair(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

/* The slot that holds the pair, or the free one where it belongs. */
static merge *find_merge(const qp_bpe *bpe, uint64_t pair)
{
    const uint64_t spread = pair * UINT64_C(0x9E3779B97F4A7C15);
    size_t slot = (size_t)(spread ^ spread >> 32) & bpe->mask;
    while (bpe->merges[slot].pair != pair && bpe->merges[slot].pair != NO_PAIR) slot = (slot + 1) & bpe->mask;
    return &bpe->merges[slot];
}

qp_status qp_bpe_open(int64_t merge_count, const int32_t byte_ids[256], qp_bpe **bpe)
{
    *bpe = NULL;
    size_t slots = 16;
    while (slots < (size_t)merge_count * 2) slots *= 2;
    qp_bpe *const made = calloc(1, sizeof *made);
    if (made == NULL || (made->merges = malloc(slots * sizeof *made->merges)) == NULL) {
        qp_bpe_close(made);
        return no_memory();
    }
    for (size_t i = 0; i < slots; i++) made->merges[i].pair = NO_PAIR;
    for (int b = 0; b < 256; b++) made->byte_ids[b] = byte_ids[b];
    made->mask = slots - 1;
    made->room = merge_count;
    *bpe = made;
    return QP_OK;
}

void qp_bpe_close(qp_bpe *bpe)
{
    if (bpe == NULL) return;
    free(bpe->merges);
    free(bpe);
}

qp_status qp_bpe_add(qp_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    const uint64_t pair = make_pair(left, right);
    merge *const slot = find_merge(bpe, pair);
    if (slot->pair == NO_PAIR && bpe->count++ >= bpe->room)
        return qp_fail(QP_INVALID, "more merges were added than the table was made for");
    *slot = (merge){ .pair = pair, .rank = rank, .id = id };
    return QP_OK;
}

/* ---- The output ---- */

void qp_bpe_output_free(qp_bpe_output *output)
{
    free(output->ids);
    free(output->symbols);
    free(output->heap);
    *output = (qp_bpe_output){ 0 };
}

qp_status qp_bpe_put(qp_bpe_output *output, int64_t id)
{
    if (output->count == output->room) {
        const size_t room = output->room * 2 + 64;
        int64_t *const grown = realloc(output->ids, room * sizeof *grown);
        if (grown == NULL) return no_memory();
        output->ids = grown;
        output->room = room;
    }
    output->ids[output->count++] = id;
    return QP_OK;
}

/* Room for a word. Each of the at most bytes - 1 merges adds two candidates to the bytes - 1 of the beginning, so that
 * there are never more than 3 * bytes. */
static qp_status reserve(qp_bpe_output *output, size_t bytes)
{
    if (bytes <= output->symbol_room) return QP_OK;
    const size_t room = bytes * 2;
    symbol *const symbols = realloc(output->symbols, room * sizeof *symbols);
    if (symbols != NULL) output->symbols = symbols;
    candidate *const heap = realloc(output->heap, room * 3 * sizeof *heap);
    if (heap != NULL) output->heap = heap;
    if (symbols == NULL || heap == NULL) return no_memory();
    output->symbol_room = room;
    return QP_OK;
}

/* ---- Merging ---- */

static bool before(candidate a, candidate b) { return a.rank != b.rank ? a.rank < b.rank : a.place < b.place; }

static void heap_push(qp_bpe_output *output, candidate added)
{
    candidate *const heap = output->heap;
    size_t at = output->heap_count++;
    for (; at > 0 && before(added, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = added;
}

static candidate heap_pop(qp_bpe_output *output)
{
    candidate *const heap = output->heap;
    const candidate top = heap[0], last = heap[--output->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= output->heap_count) break;
        if (child + 1 < output->heap_count && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* Notes that the symbol at `place` and the one after it can be merged, if they can. */
static void consider(const qp_bpe *bpe, qp_bpe_output *output, int32_t place)
{
    const symbol *const left = &output->symbols[place];
    if (left->next < 0) return;
    const merge *const found = find_merge(bpe, make_pair(left->id, output->symbols[left->next].id));
    if (found->pair != NO_PAIR) heap_push(output, (candidate){ found->rank, place, found->id });
}

qp_status qp_bpe_encode(const qp_bpe *bpe, const char *word, size_t bytes, qp_bpe_output *output)
{
    if (bytes == 0) return QP_OK;
    if (bytes > INT32_MAX) return qp_fail(QP_INVALID, "a word of %zu bytes is too long to be encoded", bytes);
    QP_TRY(reserve(output, bytes));
    symbol *const symbols = output->symbols;
    const int32_t count = (int32_t)bytes;
    for (int32_t i = 0; i < count; i++)
        symbols[i] = (symbol){ .id = bpe->byte_ids[(unsigned char)word[i]],
                               .previous = i - 1,
                               .next = i + 1 < count ? i + 1 : -1 };
    output->heap_count = 0;
    for (int32_t i = 0; i < count; i++) consider(bpe, output, i);

    while (output->heap_count > 0) {
        const candidate best = heap_pop(output);
        symbol *const left = &symbols[best.place];
        if (left->gone || left->next < 0) continue;
        symbol *const right = &symbols[left->next];
        /* Either side may have changed since. As in the library, another pair that has come to stand here and gives the
         * same token is merged at the old pair's turn. */
        const merge *const now = find_merge(bpe, make_pair(left->id, right->id));
        if (now->pair == NO_PAIR || now->id != best.id) continue;
        left->id = best.id;
        left->next = right->next;
        right->gone = true;
        if (left->next >= 0) symbols[left->next].previous = best.place;
        if (left->previous >= 0) consider(bpe, output, left->previous);
        consider(bpe, output, best.place);
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next) QP_TRY(qp_bpe_put(output, symbols[i].id));
    return QP_OK;
}
