/* UTF-8, read one character at a time. C11, also C++. */
#ifndef QP_UTF8_H
#define QP_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* What stands for bytes that are no UTF-8: U+FFFD. */
#define QP_UTF8_REPLACEMENT "\xEF\xBF\xBD"
enum { QP_UTF8_REPLACEMENT_BYTES = 3 };

/* Reads the character at the start of text[0..bytes), bytes >= 1, and sets *length to its bytes.
 * Returns its code point (never a surrogate, never over U+10FFFF), or
 *   -1 if it is no UTF-8: *length is then the maximal subpart (Unicode 3.9, D93b), the bytes that one U+FFFD
 *      stands for in Python's bytes.decode("utf-8", "replace") and Rust's from_utf8_lossy;
 *   -2 if the text ends inside a character that is right so far: *length is then `bytes`. */
static inline int32_t qp_utf8_next(const char *text, size_t bytes, size_t *length)
{
    const unsigned char *const at = (const unsigned char *)text;
    *length = 1;
    if (at[0] < 0x80) return at[0];
    if (at[0] < 0xC2 || at[0] > 0xF4) return -1;
    const size_t wanted = at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    int32_t point = at[0] & (0xFF >> (wanted + 1));
    for (size_t i = 1; i < wanted; i++) {
        if (i == bytes) return -2;
        /* The second byte's range excludes longer forms than needed, surrogates and what is over U+10FFFF. */
        const unsigned char low = i > 1 ? 0x80 : at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
        const unsigned char high = i > 1 ? 0xBF : at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
        if (at[i] < low || at[i] > high) return -1;
        point = (point << 6) | (at[i] & 0x3F);
        *length = i + 1;
    }
    return point;
}

/* Whether text[0..bytes) is UTF-8 throughout; if not, *bad is the position of the first byte that is not. */
static inline int qp_utf8_valid(const char *text, size_t bytes, size_t *bad)
{
    for (size_t at = 0, length = 0; at < bytes; at += length) {
        if (qp_utf8_next(text + at, bytes - at, &length) < 0) {
            *bad = at;
            return 0;
        }
    }
    return 1;
}

#endif
