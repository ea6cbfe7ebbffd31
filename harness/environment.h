/* Where and with what a report was made. */
#ifndef QP_ENVIRONMENT_H
#define QP_ENVIRONMENT_H

#include "../model/device.h"

typedef struct qp_environment {
    const char *program_version; /* QP_VERSION, set by the build */
    const char *compiler;        /* "gcc 12.2.0": what built this program */
    const char *flags;           /* QP_FLAGS, set by the build: the flags that decide numbers; NULL if it is not */
    char os[256];                /* "Linux 6.1.0 x86_64" */
    char cpu[256];               /* "Intel(R) Xeon(R) ..."; "unknown" if the system does not say */
    int threads;                 /* processors that are online */
    char time[32];               /* "2025-01-31T12:00:00Z", when this was read */
} qp_environment;

/* A device in words: "NVIDIA H200, CUDA 13.0, driver's 13.0, cuBLAS 13.1.0"; "CPU, avx2". */
typedef struct qp_device_text {
    char text[192];
} qp_device_text;
qp_device_text qp_device_in_words(const qp_device_facts *facts);

/* Does not fail: what the system does not say is "unknown". */
qp_environment qp_environment_read(void);

#endif
