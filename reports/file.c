#include "file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

qp_status qp_report_file_open(const char *path, qp_report_file *file)
{
    struct stat found;
    *file = (qp_report_file){ .path = path };
    if (lstat(path, &found) != 0 || S_ISREG(found.st_mode)) {
        const size_t bytes = strlen(path) + 40;
        file->partial = malloc(bytes);
        if (!file->partial) return qp_fail(QP_NO_MEMORY, "not enough memory to write the report '%s'", path);
        /* With the process id, so that two runs with one path do not write into each other's file. */
        (void)snprintf(file->partial, bytes, "%s.%ld.partial", path, (long)getpid());
    }
    file->stream = fopen(file->partial ? file->partial : path, "w");
    if (file->stream) return QP_OK;
    const int reason = errno;
    free(file->partial);
    return qp_fail(QP_IO, "report '%s' cannot be written: %s; choose another path", path, strerror(reason));
}

qp_status qp_report_file_close(qp_report_file *file, qp_status status)
{
    const bool failed = ferror(file->stream) != 0;
    const bool closed = fclose(file->stream) == 0; /* a full disk may show only here */
    if (status == QP_OK && (failed || !closed))
        status = qp_fail(QP_IO, "report '%s' cannot be written: %s; make room or choose another path", file->path,
                         errno ? strerror(errno) : "the device refuses");
    if (status == QP_OK && file->partial && rename(file->partial, file->path) != 0)
        status =
            qp_fail(QP_IO, "report '%s' cannot be put in place: %s; choose another path", file->path, strerror(errno));
    if (status != QP_OK && file->partial) (void)unlink(file->partial);
    free(file->partial);
    *file = (qp_report_file){ 0 };
    return status;
}
