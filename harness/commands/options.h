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
    QP_OPTION_LIST,
    QP_OPTION_ARGUMENT,         /* no option: a text without dashes, by its place */
    QP_OPTION_OPTIONAL_ARGUMENT /* the same, and may be left out */
} qp_option_kind;

enum { QP_OPTION_LIST_MAX = 32 };

typedef struct qp_option_list {
    const char *items[QP_OPTION_LIST_MAX];
    int count;
} qp_option_list;

typedef struct qp_option {
    const char *name;  /* without dashes; of an argument what --help calls it. NULL ends a table */
    const char *value; /* what --help calls the value; NULL for a flag */
    const char *help;
    qp_option_kind kind;
    void *
        target; /* bool *, const char **, int64_t *, double * or qp_option_list *, by kind; keeps its value if the option is not given */
} qp_option;

/* Reads `--name VALUE`, `--name=VALUE`, `--flag`, and arguments in the order of the table. QP_USAGE for anything else, for too
 * many arguments and for one that is missing. Stops at `--help` where an option is expected, with *help true. */
QP_MUST_USE qp_status qp_options_parse(const qp_option *options, int argc, char **argv, bool *help);
/* " OLD.json [NEW.json] [OPTION ...]": what follows the command's name. */
void qp_options_print_usage(const qp_option *options, FILE *stream);
/* One line an argument or option. */
void qp_options_print(const qp_option *options, FILE *stream);

#endif
