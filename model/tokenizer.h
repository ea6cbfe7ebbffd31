/* The tokenizer of a Qwen3 folder: byte-level BPE as its tokenizer.json describes it.
 *
 * Text to ids, in the order of the `tokenizers` library, whose ids these are:
 *   1. Bytes that are no UTF-8 become U+FFFD, one for each maximal subpart, as Python's
 *      bytes.decode("utf-8", "replace") does. Zero bytes are characters like others.
 *   2. Added tokens ("<|im_start|>", "<think>") are found in the raw text, leftmost first, of several the longest.
 *   3. The text between them is brought to NFC (utf8proc), then split by the file's pattern (PCRE2);
 *      what lies between two matches is a piece too.
 *   4. Each piece's bytes are merged pair by pair, the lowest rank first, of equals the leftmost.
 *
 * A file that asks for anything else is refused in a sentence: other models, normalizers or pre-tokenizers,
 * patterns whose meaning in PCRE2 and in the library's Oniguruma may differ, added tokens that are stripped,
 * normalized or matched as single words.
 *
 * Character properties are those of the installed PCRE2 and utf8proc. Compared with tokenizers 0.23.2 over every code
 * point, PCRE2 10.42 (Unicode 14) splits differently only at letters and digits of Unicode 15 and 16, and utf8proc 2.8.0
 * (Unicode 15) normalizes differently only where 108 combining marks newer than Unicode 9 stand among other marks, and
 * U+11935 U+11930, which the library leaves apart. */
#ifndef QP_TOKENIZER_H
#define QP_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_tokenizer qp_tokenizer; /* opaque; read-only once open, so that threads may share it */

/* Reads DIR/tokenizer.json. QP_IO, QP_FORMAT, QP_UNSUPPORTED or QP_NO_MEMORY; on failure *tokenizer is NULL. */
QP_MUST_USE qp_status qp_tokenizer_open(const char *dir, qp_tokenizer **tokenizer);
void qp_tokenizer_close(qp_tokenizer *tokenizer); /* NULL is fine */

/* The highest id and one more. A model's vocab_size may be larger: its last rows then stand for no token. */
int64_t qp_tokenizer_vocab_size(const qp_tokenizer *tokenizer);
/* The id of a token as the file writes it ("<|im_end|>", or with the byte alphabet: "Ġthe" with U+0120 for a
 * space), or -1. */
int64_t qp_tokenizer_token_id(const qp_tokenizer *tokenizer, const char *token);
/* Whether the id is an added token that is marked special, which decoding can skip. */
bool qp_tokenizer_is_special(const qp_tokenizer *tokenizer, int64_t id);

/* The ids of a text of at most 64 MiB; text may be NULL if bytes is 0. The caller frees *ids, which is not NULL on
 * success even if *count is 0. Takes O(n log n). QP_INVALID: bytes out of range. QP_UNSUPPORTED: the pattern reached
 * PCRE2's limits or matched nothing at some place. On failure *ids is NULL and *count is 0. */
QP_MUST_USE qp_status qp_tokenizer_encode(const qp_tokenizer *tokenizer, const char *text, int64_t bytes, int64_t **ids,
                                          int64_t *count);

/* The text of ids: always UTF-8, with U+FFFD where the tokens' bytes are not, and a zero byte behind it that *bytes
 * does not count. The caller frees *text. QP_INVALID: an id that stands for no token. On failure *text is NULL.
 * With skip_special, special tokens give nothing; an added token gives what the file calls it. */
QP_MUST_USE qp_status qp_tokenizer_decode(const qp_tokenizer *tokenizer, const int64_t *ids, int64_t count,
                                          bool skip_special, char **text, int64_t *bytes);

/* ---- Decoding as the ids come ----
 * A character may be cut between tokens. The decoder holds back its first bytes until the rest comes; joined, what it
 * gives is exactly what qp_tokenizer_decode gives for all the ids. */
typedef struct qp_decoder qp_decoder; /* opaque */

QP_MUST_USE qp_status qp_decoder_open(const qp_tokenizer *tokenizer, bool skip_special, qp_decoder **decoder);
void qp_decoder_close(qp_decoder *decoder); /* NULL is fine; the tokenizer stays open */
/* Takes the next id, gives the characters that are complete now, often none (*bytes == 0). *text is borrowed until the
 * next call, and a zero byte follows it. A failure (QP_INVALID, as above) changes nothing in the decoder. */
QP_MUST_USE qp_status qp_decoder_push(qp_decoder *decoder, int64_t id, const char **text, int64_t *bytes);
/* After the last id: U+FFFD if a character was left incomplete. The decoder can then start anew. */
QP_MUST_USE qp_status qp_decoder_finish(qp_decoder *decoder, const char **text, int64_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
