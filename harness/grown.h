/* A list that grows by one element at a time, whose room is told by its count. Only for lists that grow so from the first on. */
#ifndef QP_GROWN_H
#define QP_GROWN_H

#include <stdbool.h>
#include <stdlib.h>

/* The list, which has `count` elements, with room for one more; NULL, and the list stays, if there is no memory. */
static inline void *qp_grown(void *list, int count, size_t size)
{
    const bool full = count == 0 || (count >= 16 && (count & (count - 1)) == 0); /* at 0, 16, 32, 64, ... */
    return full ? realloc(list, (size_t)(count ? 2 * count : 16) * size) : list;
}

#endif
