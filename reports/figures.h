/* Numbers as people read them on a page. Only for the writers. */
#ifndef QP_FIGURES_H
#define QP_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

/* A number with its unit, in UTF-8. */
typedef struct qp_figure {
    char text[40];
} qp_figure;

qp_figure qp_figure_count(int64_t count); /* "12,345,678" */
qp_figure qp_figure_error(double error);  /* "1.23e-3"; a zero, the best there is, as "0" */
qp_figure qp_figure_ulp(double ulp);      /* "30,244"; "1.8e19" where no integer holds it */
qp_figure qp_figure_seconds(double seconds);
qp_figure qp_figure_bytes(double bytes);
qp_figure qp_figure_rate(double rate, bool flops); /* bytes or flops a second */
qp_figure qp_figure_percent(double share);

#endif
