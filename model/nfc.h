/* Unicode's normalization form C. The only unit that knows utf8proc. */
#ifndef QP_NFC_H
#define QP_NFC_H

#include <stddef.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The normal form of a text that is UTF-8, in time that grows with its length only. If the text is plainly in normal
 * form, as all of Latin-1 is, *normal is NULL and the text itself is the answer. Otherwise the caller frees *normal,
 * which has no zero byte behind it. QP_NO_MEMORY: *normal is NULL too. */
QP_MUST_USE qp_status qp_nfc(const char *text, size_t bytes, char **normal, size_t *normal_bytes);

#ifdef __cplusplus
}
#endif
#endif
