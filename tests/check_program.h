/* The program as a user runs it: QP_PROGRAM with arguments, its output and its exit code. */
#ifndef QP_CHECK_PROGRAM_H
#define QP_CHECK_PROGRAM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../model/device.h"
#include "check_files.h"
#include "check_main.h"

/* What the last run printed. */
static char out[1 << 18], err[1 << 18];

static inline void slurp(const char *name, char *text, size_t size)
{
    size_t bytes = 0;
    char *const all = files_read(files_path(name), &bytes);
    ck_assert_uint_lt(bytes, size);
    memcpy(text, all, bytes + 1);
    free(all);
}

/* Runs the program with arguments as a shell would read them, after assignments to its environment or "". Returns its
 * exit code, or 1000 and more for a signal. */
static inline int run_in(const char *environment, const char *arguments)
{
    char command[8192], out_path[600], err_path[600];
    snprintf(out_path, sizeof out_path, "%s", files_path("out"));
    snprintf(err_path, sizeof err_path, "%s", files_path("err"));
    snprintf(command, sizeof command, "%s '%s' %s >'%s' 2>'%s' </dev/null", environment, QP_PROGRAM, arguments,
             out_path, err_path);
    const int status = system(command);
    slurp("out", out, sizeof out);
    slurp("err", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Whether the CUDA backend has a card here. */
static inline bool has_card(void)
{
    qp_device *device = NULL;
    const bool has = qp_device_open(QP_CUDA, &device) == QP_OK;
    qp_device_close(device);
    return has;
}

#endif
