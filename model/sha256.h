/* SHA-256, by OpenSSL's libcrypto. */
#ifndef QP_SHA256_H
#define QP_SHA256_H

#include <stddef.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_SHA256_TEXT = 65 }; /* 64 lower-case hexadecimal digits and a zero byte */

/* QP_NO_MEMORY if OpenSSL cannot; hex is then "". */
QP_MUST_USE qp_status qp_sha256(const void *data, size_t bytes, char hex[QP_SHA256_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
