/* The policy of a merge gate: which runs there are, and what their rows have to be. A JSON file, explained in docs/gate.md. What is
 * not said in it is strict: every row exact, nothing waived.
 *
 * The file is read strictly, too: a member that is unknown, twice there or of another type is an error, since a misspelt bound must
 * not become none. Paths are relative to the file's folder. */
#ifndef QP_GATE_H
#define QP_GATE_H

#include "verdict.h"

enum { QP_GATE_LIST = 16, QP_GATE_RULES = 64 };

/* Bits may differ where a contract says why. Judged by qp_judge_bounded. */
typedef struct qp_gate_bound {
    const char *key;  /* glob on keys */
    const char *mode; /* "local" or "carried"; NULL: both */
    double max_ulp, error_factor;
    const char *reason;
    int64_t matched; /* rows of the last qp_gate_judge */
} qp_gate_bound;

/* A row that fails, or is untrusted, and is known to. */
typedef struct qp_gate_waiver {
    const char *key, *mode; /* as above */
    const char *reason;
    const char *expires; /* "2026-12-31": the last day on which it holds, UTC */
    int64_t matched;
} qp_gate_waiver;

typedef struct qp_gate_run {
    const char *name;                  /* of letters, digits, '-', '_' and '.': the name of its report's folder */
    char *model, *golden;              /* paths; both NULL: the embedded ones */
    const char *golden_sha256;         /* of the file; NULL: any golden of the model */
    const char *backend, *plan, *only; /* as on the command line; NULL: not said */
    int fuse_count, impl_count;
    const char *fuse[QP_GATE_LIST], *impl[QP_GATE_LIST];
    int bound_count, waiver_count;
    qp_gate_bound bounds[QP_GATE_RULES];
    qp_gate_waiver waivers[QP_GATE_RULES];
    char *baseline; /* path of bench's JSON, with which times are compared; NULL: none are */
    double max_slow_down;
    int problem_count; /* of the last qp_gate_judge */
    char **problems;
} qp_gate_run;

typedef struct qp_gate qp_gate; /* opaque: owns all of it */

/* QP_IO, QP_NO_MEMORY, or QP_FORMAT with a sentence that names the member. On failure *gate is NULL. */
QP_MUST_USE qp_status qp_gate_open(const char *path, qp_gate **gate);
void qp_gate_close(qp_gate *gate); /* NULL is fine */

int qp_gate_run_count(const qp_gate *gate); /* at least 1 */
qp_gate_run *qp_gate_run_at(qp_gate *gate, int index);

/* QP_FORMAT unless the file at `path` has the run's golden_sha256; QP_OK if it asks for none. */
QP_MUST_USE qp_status qp_gate_require_golden(const qp_gate_run *run, const char *path);

/* Judges a report anew: rows that do not pass may be within a bound or waived. `today` is "2026-11-27". The report's problems are
 * then a waiver that has expired, one that no row needs, and a bound that matches no row. Sets report->gate and its summary; the
 * report borrows from the gate. QP_NO_MEMORY. */
QP_MUST_USE qp_status qp_gate_judge(const qp_gate *gate, qp_gate_run *run, const char *today, qp_report *report);

/* The day in UTC, as qp_gate_judge wants it. */
void qp_gate_today(char today[11]);

#endif
