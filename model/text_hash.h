/* A hash of a text, for tables and seeds. */
#ifndef QP_TEXT_HASH_H
#define QP_TEXT_HASH_H

#include <stdint.h>

/* FNV-1a, 64 bits, of a text that goes on where `hash` is that of what stands before. */
static inline uint64_t qp_text_hash_on(uint64_t hash, const char *text)
{
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static inline uint64_t qp_text_hash(const char *text) { return qp_text_hash_on(UINT64_C(0xcbf29ce484222325), text); }

#endif
