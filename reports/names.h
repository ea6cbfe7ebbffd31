/* Texts by number: the same text gets the same number, in the order in which they are first seen. Only for the
 * writers. */
#ifndef QP_NAMES_H
#define QP_NAMES_H

#include "../kernels/status.h"

typedef struct qp_names {
    char **text; /* [count] */
    int count, room;
    int *slot; /* [2 * room], by hash: the text's number, or -1 */
} qp_names;

/* The number of the text, which is copied if it is new. QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_names_add(qp_names *names, const char *text, int *number);
void qp_names_close(qp_names *names); /* all zero is fine */

#endif
