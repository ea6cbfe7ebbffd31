/* Command-line options as a table, from which both the parser and --help are made. */
#ifndef QP_OPTIONS_H
#define QP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../../kernels/status.h"

typedef enum qp_option_kind {
    QP_OPTION_FLAG,
    QP_OPTION_TEXT,
    QP_OPTION_INTEGER,
    QP_OPTION_NUMBER,
    QP_OPTION_LIST
} qp_option_kind;

enum { QP_OPTION_LIST_MAX = 32 };

typedef struct qp_option_list {
    const char *items[QP_OPTION_LIST_MAX];
    int count;
} qp_option_list;

typedef struct qp_option {
    const char *name;  /* without dashes; NULL ends a table */
    const char *value; /* what --help calls the value; NULL for a flag */
    const char *help;
    qp_option_kind kind;
    void *
        target; /* bool *, const char **, int64_t *, double * or qp_option_list *, by kind; keeps its value if the option is not given */
} qp_option;

/* Reads `--name VALUE`, `--name=VALUE` and `--flag`. QP_USAGE for anything else, and for an argument without dashes.
 * Stops at `--help` where an option is expected, with *help true. */
QP_MUST_USE qp_status qp_options_parse(const qp_option *options, int argc, char **argv, bool *help);
/* One line an option. */
void qp_options_print(const qp_option *options, FILE *stream);

#endif
