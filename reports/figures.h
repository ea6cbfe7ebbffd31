/* How the figures of a report are said to people. Only for the writers. */
#ifndef QP_REPORT_FIGURES_H
#define QP_REPORT_FIGURES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../harness/verdict.h"

/* A few characters of a line. */
typedef struct qp_figure {
    char text[32];
} qp_figure;

/* A count in at most 6 characters: "98765", "1.23M". */
qp_figure qp_say_count(int64_t count);
/* "12,345,678" */
qp_figure qp_say_grouped(int64_t count);
/* An error in 7 characters; a zero, the best there is, as "0". */
qp_figure qp_say_error(double error);
/* A distance in at most 5 characters. */
qp_figure qp_say_ulp(double ulp);
/* Three digits and a unit, "1.23 us": of `units`, a list that ends with NULL, each a thousand times the one before. */
qp_figure qp_say_scaled(double value, const char *const units[]);
qp_figure qp_say_seconds(double seconds);
qp_figure qp_say_rate(double rate, bool flops); /* bytes or flops a second */
qp_figure qp_say_bytes(double bytes);
/* "98 %", and of less than ten percent a digit more: "3.1 %". */
qp_figure qp_say_percent(double share);
/* An element: as many digits as tell two floats apart. */
qp_figure qp_say_element(double value);
/* An element's bits, as many digits as the type has: "0x3f80". */
qp_figure qp_say_bits(qp_dtype dtype, uint64_t bits);

/* Where an element of a row stands, by the names of the axes: "token 3, head 0, channel 17". The names go through
 * `put`, which knows what may stand in the form (text.h). */
typedef void (*qp_put_text)(const char *text, FILE *stream);
void qp_put_position(const qp_row *row, int64_t index, qp_put_text put, FILE *stream);

/* Golden tensors inside fused nodes. */
int64_t qp_count_inside_fused(const qp_report *report);

#endif
