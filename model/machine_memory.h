/* Memory of this machine in large pieces. */
#ifndef QP_MACHINE_MEMORY_H
#define QP_MACHINE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* free() gives it back. False if the machine has not that much: Linux promises memory that it does not have and kills the
 * process later, so the size is compared first. */
static inline bool qp_machine_allocate(uint64_t bytes, size_t alignment, void **memory)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    return bytes < machine && posix_memalign(memory, alignment, (size_t)bytes) == 0;
}

#endif
