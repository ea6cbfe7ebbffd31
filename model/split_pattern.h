/* The pattern by which a tokenizer splits text into words. The only unit that knows PCRE2.
 *
 * tokenizer.json writes patterns for Oniguruma, which the `tokenizers` library uses. Some signs mean something else in
 * PCRE2, so a pattern is translated first, and refused where it uses a sign whose meaning was not checked. */
#ifndef QP_SPLIT_PATTERN_H
#define QP_SPLIT_PATTERN_H

#include <stddef.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_split_pattern qp_split_pattern; /* opaque; read-only once open, so that threads may share it */
typedef struct qp_split_search qp_split_search;   /* opaque: what one thread searches with */

/* `origin` is what messages call the file. QP_UNSUPPORTED: a sign that is not supported; QP_FORMAT: no valid
 * pattern; QP_NO_MEMORY. On failure *pattern is NULL. */
QP_MUST_USE qp_status qp_split_pattern_open(const char *regex, const char *origin, qp_split_pattern **pattern);
void qp_split_pattern_close(qp_split_pattern *pattern); /* NULL is fine */

/* Borrows the pattern. Searches in texts of up to `bytes` bytes in all. On failure *search is NULL. */
QP_MUST_USE qp_status qp_split_search_open(const qp_split_pattern *pattern, size_t bytes, qp_split_search **search);
void qp_split_search_close(qp_split_search *search); /* NULL is fine */

/* The first match in text[at..bytes), at < bytes: [*begin, *end), not empty; or both are `bytes` if there is none.
 * The text must be UTF-8, `at` the beginning of a character. QP_UNSUPPORTED: PCRE2's limits were reached, or the
 * pattern matches no character somewhere. */
QP_MUST_USE qp_status qp_split_next(qp_split_search *search, const char *text, size_t bytes, size_t at, size_t *begin,
                                    size_t *end);

#ifdef __cplusplus
}
#endif
#endif
