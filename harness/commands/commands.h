/* The commands of the program. Each prints its results on stdout and returns the program's exit code, or a status. */
#ifndef QP_COMMANDS_H
#define QP_COMMANDS_H

#include <limits.h>

#include "../../model/execute.h"
#include "../../model/runtime.h"
#include "../bench.h"
#include "../changes.h"
#include "../golden.h"
#include "../verdict.h"
#include "options.h"

/* Exit codes of the program (README.md). */
enum {
    QP_EXIT_OK = 0,
    QP_EXIT_VERDICT = 1, /* a verdict failed */
    QP_EXIT_USAGE = 2,
    QP_EXIT_UNUSABLE = 3, /* a file, device or environment is not usable */
    QP_EXIT_SLOWER = 4,
    QP_EXIT_NOTHING = 5 /* nothing was compared */
};

/* The exit code that says what was found. */
int qp_exit_of_report(const qp_report *report);
int qp_exit_of_bench(const qp_bench_report *report);
int qp_exit_of_changes(const qp_changes *changes);
/* Of two exit codes that say what was found, what a merge should hear: 1 before 5, 4 and 0. */
int qp_worse_exit(int a, int b);

typedef struct qp_command {
    const char *name;
    const char *summary;
    const char *details; /* for --help of the command */
    const qp_option *options;
    qp_status (*run)(int *exit_code);
} qp_command;

extern const qp_command qp_command_verify, qp_command_generate, qp_command_coherence, qp_command_bench,
    qp_command_report, qp_command_compare, qp_command_list, qp_command_info, qp_command_probe;

/* Options that several commands share. */
typedef struct qp_run_options {
    const char *model;   /* NULL: the embedded model */
    const char *backend; /* "cpu" */
    const char *plan;    /* NULL: "reference", or with `fuse` "fused" */
    const char *fault;   /* NULL: none */
    qp_option_list impl, fuse;
    const char *shape; /* in place of a model: random weights (model/random_model.h); NULL: none */
    int64_t layers;    /* of the shape; 0: all */
    int64_t seed;      /* of the weights */
} qp_run_options;

/* clang-format off */
#define QP_RUN_OPTIONS_DEFAULT { .backend = "cpu" }
#define QP_RUN_OPTIONS_TABLE(o)                                                                                          \
    { "model", "DIR", "a Qwen3 folder in Hugging Face form (default: the embedded model)", QP_OPTION_TEXT, &(o).model }, \
    { "backend", "cpu|cuda", "where the kernels run (default: cpu)", QP_OPTION_TEXT, &(o).backend },                     \
    { "plan", "reference|fused", "one node a boundary, or all fused nodes (default: reference)", QP_OPTION_TEXT,         \
      &(o).plan },                                                                                                       \
    { "fuse", "NAME,...", "fused nodes, but only these; may be repeated; see list", QP_OPTION_LIST, &(o).fuse },         \
    { "impl", "OP=NAME", "the implementation of an operation; may be repeated; see list", QP_OPTION_LIST, &(o).impl },   \
    { "fault", "NAME", "plants a deliberate mistake, to see that it is found; see list", QP_OPTION_TEXT,           \
      &(o).fault }
/* clang-format on */

/* What the options stand for, opened: which plan and implementations, of which model, on which device. */
typedef struct qp_run_context {
    const char *model_path;        /* or the shape */
    char embedded_model[PATH_MAX]; /* where model_path is kept if no model was named */
    qp_selection selection;
    qp_fusions fusions;
    qp_model model;
    qp_runtime runtime;
} qp_run_context;

/* QP_USAGE for an unknown word, QP_DEVICE for a backend that this build or machine has not, and what qp_model_open or
 * qp_model_open_random gives. qp_run_close accepts what a failure left. */
QP_MUST_USE qp_status qp_run_open(const qp_run_options *options, qp_run_context *context);
void qp_run_close(qp_run_context *context);

/* If *path is NULL, makes it the embedded model, golden or prompts of this name, kept in `storage`: beside the program
 * as installed (../share/qwen3-parity), or in the source tree that it was built from. QP_IO if neither is there. */
QP_MUST_USE qp_status qp_default_path(const char **path, const char *name, char storage[PATH_MAX]);

/* Opens the golden at `path`, and hashes the weights to see that it is the model's. On failure *golden is NULL. */
QP_MUST_USE qp_status qp_open_golden_of(const qp_run_context *context, const char *path, qp_golden **golden);

/* A progress line on stderr, if that is a terminal; drawn at most ten times a second. done == total erases it. A
 * qp_progress, whose context it ignores. */
void qp_progress_line(void *context, int done, int total, const char *what);

/* Whether to write colours to a stream: a terminal, and no NO_COLOR in the environment. */
bool qp_wants_color(FILE *stream);

#endif
