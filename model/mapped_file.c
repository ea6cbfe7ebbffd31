#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

qp_status qp_mapped_file_open(const char *path, qp_mapped_file *file)
{
    qp_status status = QP_OK;
    struct stat info;
    *file = (qp_mapped_file){ 0 };

    /* O_NONBLOCK: opening a named pipe must not wait for a writer. It has no effect on regular files. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return qp_fail(QP_IO, "%s cannot be opened: %s", path, strerror(errno));
    if (fstat(descriptor, &info) != 0) {
        status = qp_fail(QP_IO, "%s cannot be examined: %s", path, strerror(errno));
        goto done;
    }
    if (S_ISDIR(info.st_mode)) {
        status = qp_fail(QP_IO, "%s is a folder, but a file is needed", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = qp_fail(QP_IO, "%s is a device or a pipe, but a regular file is needed", path);
        goto done;
    }
    if (info.st_size <= 0) {
        status = qp_fail(QP_FORMAT, "%s is empty", path);
        goto done;
    }
    if ((uintmax_t)info.st_size > SIZE_MAX) {
        status = qp_fail(QP_IO, "%s is too large for this machine's address space", path);
        goto done;
    }
    void *const data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
        status = qp_fail(QP_IO, "%s cannot be mapped: %s", path, strerror(errno));
        goto done;
    }
    file->data = data;
    file->bytes = (int64_t)info.st_size;

done:
    (void)close(descriptor);
    return status;
}

void qp_mapped_file_close(qp_mapped_file *file)
{
    /* munmap takes a pointer to non-const, but writes nothing. */
    union {
        const void *read;
        void *unmap;
    } data = { file->data };
    if (file->data != NULL) (void)munmap(data.unmap, (size_t)file->bytes);
    *file = (qp_mapped_file){ 0 };
}
