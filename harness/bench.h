/* Bench: how fast each node of the plan is, alone with cold and with hot caches and inside the pass, and how fast
 * the passes are: the prefill, and one decode step.
 *
 * A time counts only for a result that was verified with the same buffers. Nodes with the same operation, extents,
 * parameters and implementation are one row; its first node is run on its place in the pass, compared, timed, and
 * looked at again: the timed launches must have written the same bits and left their inputs alone. The pass as a
 * whole must give the same bits before and after its timing. A decode step that can be recorded (recorded_step.h) is also
 * timed so, if its replays give the tokens and the bits of as many ordinary passes. With --only the chosen nodes of the decode
 * step are recorded, if they can be, and timed if that leaves the bits of their launches. What is not verified has no time. */
#ifndef QP_BENCH_H
#define QP_BENCH_H

#include "../model/execute.h"
#include "../model/fusion.h"
#include "environment.h"
#include "golden.h"
#include "host_speed.h"
#include "timer.h"

typedef enum qp_protocol {
    QP_PROTOCOL_COLD,     /* alone, operands in memory */
    QP_PROTOCOL_HOT,      /* alone, operands in the caches, as far as they fit */
    QP_PROTOCOL_IN_MODEL, /* while the whole pass runs; all nodes of the row together */
    QP_PROTOCOLS
} qp_protocol;
const char *qp_protocol_name(qp_protocol protocol); /* "cold", "hot", "in-model" */

enum { QP_BENCH_KINDS = 8 };

typedef struct qp_bench_row {
    char key[QP_NAME_MAX]; /* module path of the row's first node */
    /* Module paths of all of its nodes, `*` for the layer; should there be more kinds, the others are left out. */
    char kinds[QP_BENCH_KINDS][QP_NAME_MAX];
    int kind_count;
    const char *phase; /* "prefill", "decode" */
    int layer;         /* of the first node; -1 outside the layers */
    int64_t count;     /* nodes of the phase that are this row */
    const qp_operation *operation;
    qp_implementation implementation;
    int64_t extent[QP_MAX_EXTENTS];
    qp_params params;
    qp_cost cost; /* of one node */
    const char
        *verified; /* "golden", "cpu" (the contract on the CPU), or NULL: there is no time, and `reason` says why */
    bool failed;   /* compared, and wrong */
    char reason[200];
    bool own_order;               /* compared within what another order of the sum explains (own_order.h) */
    int64_t elements, mismatches; /* compared; with a golden over all nodes of the row */
    qp_time time[QP_PROTOCOLS];
    double share; /* of the time of the pass, in-model; 0 without that time */
} qp_bench_row;

typedef struct qp_bench_step {
    /* "prefill", "decode_step"; "decode_graph": the decode step recorded and replayed; "decode_nodes": of the decode step the
     * nodes that `only` chose, recorded and replayed one behind the other */
    const char *name;
    int64_t tokens;       /* fed in this pass */
    int64_t context;      /* keys in the cache before it */
    bool all_logits;      /* of every position, as the golden has them; otherwise of the last alone */
    qp_cost cost;         /* of all nodes */
    const char *verified; /* as in a row: "golden" if every row is */
    bool failed;
    char reason[200];
    int64_t next_token; /* greedy; -1 if not verified, and of decode_nodes */
    qp_time time;       /* by the device's clock, with the launches enqueued ahead: what the device needs */
    qp_statistics wall; /* by the host's, from nothing enqueued to everything done; of decode_graph the share of one of
                         * many replays, each fed the token of the one before */
    qp_time one_thread; /* a decode step on the CPU, with one thread */
    double speed_up;    /* of the pass with all threads over that; 0: unknown */
    double readings;    /* a decode step on the CPU: its time over that of reading its weights once; 0: unknown */
} qp_bench_step;

/* A node inside the whole pass. */
typedef struct qp_bench_node {
    char key[QP_NAME_MAX]; /* its module path */
    const char *phase;     /* "prefill", "decode" */
    double seconds;        /* the median of its times in model */
} qp_bench_node;

/* What `bench` found. Made by qp_bench or read from a file (reports/read.h); the writers only read it. */
typedef struct qp_bench_report {
    qp_environment environment;
    const char *model;      /* as given */
    qp_golden_facts golden; /* may be none */
    const char *backend;
    char plan[QP_FUSIONS_TEXT]; /* as qp_fusions_describe says it */
    const char *fault, *only;
    uint64_t seed; /* of token ids and cached keys and values, where no golden gives them */
    int64_t samples;
    qp_device_facts device;
    uint64_t flush_bytes;
    double mark_overhead; /* seconds */
    double clock;         /* Hz: the highest seen; 0: unknown */
    int64_t dropped;      /* samples, over all */
    qp_ceilings ceilings;
    qp_host_speed host; /* with the CPU's backend */
    int row_count, step_count;
    qp_bench_row *rows; /* phase by phase, in the order of the plan */
    qp_bench_step steps[3];
    int node_count;
    qp_bench_node *nodes; /* of the verified rows, phase by phase, in the order of the plan: the time line of a pass */
    int verified, not_verified; /* rows */
    int failed;                 /* rows, steps that fail by themselves, and the CPU's paths that give wrong products */
    bool profiled;              /* only that: there are no rows */
    bool complete;              /* false: the run did not end, and this is what it got to */
    double seconds;
} qp_bench_report;

/* Counts `verified`, `not_verified` and `failed` anew. */
void qp_bench_report_count(qp_bench_report *report);

/* Takes the report after each row and each pass, as far as it is known, so that it is kept whatever happens later. A failure ends
 * the run. */
typedef qp_status (*qp_bench_sink)(void *context, const qp_bench_report *report);

enum { QP_BENCH_MAX_SAMPLES = 1000000 };

typedef struct qp_bench_options {
    const char *model, *golden_path; /* for the report; borrowed */
    qp_selection selection;
    qp_fusions fusions;     /* of the plan */
    const char *only;       /* glob on module paths: the rows; NULL: all. Passes are then not timed */
    bool prefill, decode;   /* which phases */
    int64_t prefill_tokens; /* -1: 512, on the CPU 32, or the golden's longest */
    int64_t context;        /* keys in the cache before the decode step; -1: 128, or the golden's longest */
    int64_t samples; /* at most, a time; on the CPU slow ones are fewer, so that a run ends within a minute or two */
    uint64_t seed;
    bool profile;         /* run each phase once for a profiler, and time nothing */
    qp_progress progress; /* may be NULL */
    void *progress_context;
    qp_bench_sink sink; /* may be NULL */
    void *sink_context;
} qp_bench_options;

/* Measures on the runtime's device. With a golden, which must belong to the model (qp_golden_require_model), its
 * tokens are fed, its tensors are given to every node, and every output that it holds is compared with it;
 * otherwise, and where it lacks an output, the contract on the CPU gets the same inputs. QP_USAGE for a phase that
 * the golden does not hold, or that the model has no positions for, and for a fault that no node has. What was found
 * is in *report. On failure it is all zero. */
QP_MUST_USE qp_status qp_bench(const qp_runtime *runtime, const qp_golden *golden, const qp_bench_options *options,
                               qp_bench_report *report);
void qp_bench_close(qp_bench_report *report);

#endif
