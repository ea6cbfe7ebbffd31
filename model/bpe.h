/* Byte-pair merging: the bytes of one word to token ids. */
#ifndef QP_BPE_H
#define QP_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_bpe qp_bpe; /* opaque: the table of merges; read-only once filled, so that threads may share it */

/* A table for up to `merge_count` merges. byte_ids[b] is the token of the single byte b.
 * On failure (QP_NO_MEMORY) *bpe is NULL. */
QP_MUST_USE qp_status qp_bpe_open(int64_t merge_count, const int32_t byte_ids[256], qp_bpe **bpe);
void qp_bpe_close(qp_bpe *bpe); /* NULL is fine */
/* The tokens left and right, side by side, become the token `id`; lower ranks first. Ids are not negative. Of a pair
 * that is added twice the last counts, as in the `tokenizers` library. QP_INVALID: more than merge_count pairs. */
QP_MUST_USE qp_status qp_bpe_add(qp_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t id);

/* Ids as they grow, and the memory to work with. All zero is an empty one; qp_bpe_output_free frees it. */
typedef struct qp_bpe_output {
    int64_t *ids; /* owned: [count] */
    size_t count, room;
    struct qp_bpe_symbol *symbols; /* owned */
    struct qp_bpe_candidate *heap; /* owned */
    size_t symbol_room, heap_count;
} qp_bpe_output;

void qp_bpe_output_free(qp_bpe_output *output);
/* Appends an id. */
QP_MUST_USE qp_status qp_bpe_put(qp_bpe_output *output, int64_t id);
/* Appends the ids of a word of at most INT32_MAX bytes, merging the pair of lowest rank first, of equals the leftmost.
 * Takes O(bytes log bytes). */
QP_MUST_USE qp_status qp_bpe_encode(const qp_bpe *bpe, const char *word, size_t bytes, qp_bpe_output *output);

#ifdef __cplusplus
}
#endif
#endif
