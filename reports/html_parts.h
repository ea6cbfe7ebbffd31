/* The parts of the page, each in a file of its own. Only for the page.
 *
 * What each part writes can be read as it is. What page.js adds to it, it finds by the ids and classes written here. */
#ifndef QP_HTML_PARTS_H
#define QP_HTML_PARTS_H

#include <stdio.h>

#include "../harness/bench.h"
#include "figures.h"
#include "html_view.h"

/* An error as "1.23e-3": charts are drawn from it, and 5,000 rows have to fit. */
qp_figure qp_html_say_error(double error);
qp_figure qp_html_say_ulp(double ulp); /* "30,244" */
qp_figure qp_html_say_seconds(double seconds);

/* The id of a row in the page: the same in every report, for it is made from its key and mode alone. */
void qp_html_put_row_id(const qp_row *row, FILE *f);
/* The row's key as a link to it. */
void qp_html_put_row_link(const qp_row *row, FILE *f);

/* A verdict with its sign: no colour is needed to tell it. */
void qp_html_put_verdict(qp_verdict verdict, FILE *f);

/* The verdict of the page, large. */
void qp_html_put_stamp(bool pass, const char *word, FILE *f);

/* A figure and what it is out of, or "", of an open <dl>. */
void qp_html_put_tile(const char *name, qp_figure figure, const char *of, FILE *f);

/* A name and its text, of an open <dl>; nothing if there is no text. */
void qp_html_put_fact(const char *name, const char *text, FILE *f);

/* What ran: the device, and which kernels. `only` and `fault` may be NULL. */
void qp_html_put_ours(const qp_device_facts *device, const char *backend, const char *plan, const char *only,
                      const char *fault, FILE *f);
void qp_html_put_environment(const qp_environment *environment, FILE *f);

/* html_map.c: layers and boundaries, coloured; and a line of figures for each boundary. */
void qp_html_put_map(const qp_html_view *view, FILE *f);
void qp_html_put_boundaries(const qp_html_view *view, FILE *f);

/* html_rows.c: the chosen row, the table of all, and what page.js needs to show more of one. QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_html_put_rows(const qp_html_view *view, FILE *f);

/* html_timing.c: what `bench` found, in a few figures, with the verdict if the page tells nothing else; and all. */
void qp_html_put_timing_summary(const qp_bench_report *bench, bool alone, FILE *f);
void qp_html_put_timing(const qp_bench_report *bench, FILE *f);

#endif
