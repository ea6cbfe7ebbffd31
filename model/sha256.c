#include "sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

qp_status qp_sha256(const void *data, size_t bytes, char hex[QP_SHA256_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    hex[0] = '\0';
    if (EVP_Digest(data, bytes, digest, &length, EVP_sha256(), NULL) != 1 || length != QP_SHA256_TEXT / 2)
        return qp_fail(QP_NO_MEMORY, "OpenSSL could not compute a SHA-256");
    for (unsigned int i = 0; i < length; i++) (void)snprintf(hex + (size_t)i * 2, 3, "%02x", digest[i]);
    return QP_OK;
}
