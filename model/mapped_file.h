/* A file mapped into memory for reading. */
#ifndef QP_MAPPED_FILE_H
#define QP_MAPPED_FILE_H

#include <stdint.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The mapping starts at a page boundary. A file that is cut shorter while it is mapped kills the process
 * at the next read, as with every mapping: nobody may write to model files while they are in use. */
typedef struct qp_mapped_file {
    const void *data; /* owned; NULL if closed */
    int64_t bytes;    /* >= 1 */
} qp_mapped_file;

/* Maps the whole file. QP_IO if it is missing, unreadable or no regular file; QP_FORMAT if it is empty.
 * On failure *file is all zero, which qp_mapped_file_close accepts. */
QP_MUST_USE qp_status qp_mapped_file_open(const char *path, qp_mapped_file *file);
void qp_mapped_file_close(qp_mapped_file *file); /* also twice */

#ifdef __cplusplus
}
#endif
#endif
