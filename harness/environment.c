#include "environment.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifndef QP_VERSION
#define QP_VERSION "0.1.0"
#endif

#if defined(__clang__)
#define COMPILER __VERSION__ /* names itself: "Clang 14.0.6" */
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

/* The processor's name in /proc/cpuinfo: "model name" on x86, "Model" or "Hardware" on some ARM boards; other ARM
 * machines give no name there. */
static void read_cpu(char *cpu, size_t size)
{
    static const char *const keys[] = { "model name", "Model", "Hardware" };
    char line[512];
    (void)snprintf(cpu, size, "unknown");
    FILE *stream = fopen("/proc/cpuinfo", "r");
    if (!stream) return;
    while (fgets(line, sizeof line, stream)) {
        char *value = strchr(line, ':');
        if (!value) continue;
        size_t length = (size_t)(value - line);
        while (length > 0 && (line[length - 1] == '\t' || line[length - 1] == ' ')) length--;
        value += strspn(value, ": \t");
        value[strcspn(value, "\n")] = '\0';
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            if (length != strlen(keys[i]) || strncmp(line, keys[i], length) != 0 || !*value) continue;
            (void)snprintf(cpu, size, "%.*s", (int)size - 1, value);
            (void)fclose(stream);
            return;
        }
    }
    (void)fclose(stream);
}

qp_environment qp_environment_read(void)
{
    qp_environment environment;
    struct utsname system;
    memset(&environment, 0, sizeof environment);
    environment.program_version = QP_VERSION;
    environment.compiler = COMPILER;
#ifdef QP_FLAGS
    environment.flags = QP_FLAGS;
#endif
    if (uname(&system) >= 0)
        (void)snprintf(environment.os, sizeof environment.os, "%.64s %.96s %.64s", system.sysname, system.release,
                       system.machine);
    else
        (void)snprintf(environment.os, sizeof environment.os, "unknown");
    read_cpu(environment.cpu, sizeof environment.cpu);
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    environment.threads = processors > 0 && processors <= INT_MAX ? (int)processors : 1;
    const time_t now = time(NULL);
    struct tm utc;
    if (now == (time_t)-1 || !gmtime_r(&now, &utc) ||
        strftime(environment.time, sizeof environment.time, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(environment.time, sizeof environment.time, "unknown");
    return environment;
}

qp_device_text qp_device_in_words(const qp_device_facts *facts)
{
    qp_device_text d;
    if (facts->compute_capability == 0)
        (void)snprintf(d.text, sizeof d.text, "%s", facts->name);
    else
        (void)snprintf(d.text, sizeof d.text, "%s, CUDA %d.%d, driver's %d.%d, cuBLAS %d.%d.%d", facts->name,
                       facts->runtime_version / 1000, facts->runtime_version / 10 % 100, facts->driver_version / 1000,
                       facts->driver_version / 10 % 100, facts->cublas_version / 10000,
                       facts->cublas_version / 100 % 100, facts->cublas_version % 100);
    return d;
}
