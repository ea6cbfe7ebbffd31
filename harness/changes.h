/* What changed between two reports of the same kind: verdicts, bits, orders of sums, times. Neither is a reference: the golden
 * judged both. */
#ifndef QP_CHANGES_H
#define QP_CHANGES_H

#include "bench.h"
#include "verdict.h"

/* What differs around the two runs. */
typedef struct qp_difference {
    const char *what; /* "device", "cuBLAS", "golden", ... */
    char was[200], is[200];
    bool
        unfair; /* so that what the runs found cannot be compared: another card, another library, another golden, ... */
} qp_difference;

typedef enum qp_change_kind {
    QP_CHANGE_NEW_FAILURE, /* does not pass, and had a better verdict before */
    QP_CHANGE_GONE,        /* was compared, and is not now, though plan and filter are the same */
    QP_CHANGE_CURED,       /* passes or is waived, and did not before */
    QP_CHANGE_JUDGED,      /* another verdict, neither of the above: waived and not, with the same bits or others */
    QP_CHANGE_BITS,        /* other bits, though the verdict is the same: by the hash of the output */
    QP_CHANGE_ORDER,       /* the same operation adds its sums up in another order */
    QP_CHANGE_KINDS
} qp_change_kind;
const char *qp_change_kind_name(qp_change_kind kind); /* "failing now", "cured", ... */

typedef struct qp_change {
    qp_change_kind kind;
    int place; /* among the rows of the new report; of one that is gone among those of the old one */
    char key[256];
    const char *mode;       /* of verify: "local" or "carried"; of bench "" */
    char was[200], is[200]; /* in words */
} qp_change;

typedef enum qp_speed {
    QP_SPEED_SAME,   /* the medians are within the allowed factor of each other */
    QP_SPEED_FASTER, /* they are not, and the quartiles lie apart */
    QP_SPEED_SLOWER, /* the same */
    QP_SPEED_AMBIGUOUS, /* they are not, but the quartiles overlap, or there are too few samples, or there is no time now */
    QP_SPEEDS
} qp_speed;
const char *qp_speed_name(qp_speed speed); /* "same", "faster", "slower", "ambiguous" */

enum { QP_SPEED_LEAST = 3 };
#define QP_SPEED_MAX_SLOW_DOWN                                                                                         \
    1.1 /* unless somebody says otherwise: runs of one program differ by less (published/compare-h200.txt) */

/* How a time compares with what it was: by the factor between the medians, and by whether the middle halves of the samples lie
 * apart. `max_slow_down` is at least 1, and holds in both directions. What it was needs QP_SPEED_LEAST samples; what it is needs
 * them to be faster, but one to be slower: slow things have few. */
qp_speed qp_speed_of(const qp_statistics *was, const qp_statistics *is, double max_slow_down);

typedef struct qp_speed_change {
    char key[256];
    const char *protocol; /* "cold", "hot", "in-model"; of a pass "device" */
    qp_statistics was, is;
    double factor; /* of the medians, is / was */
    qp_speed speed;
} qp_speed_change;

/* All of it. Strings are borrowed from the reports. */
typedef struct qp_changes {
    int difference_count, change_count, speed_count;
    qp_difference *differences;
    qp_change *changes; /* kind by kind, in the order of the report, which is the plan's */
    qp_speed_change *speeds;
    int64_t compared; /* rows, passes and times that both have */
    int64_t added;    /* rows that only the new one has */
    int64_t counts[QP_CHANGE_KINDS], speed_counts[QP_SPEEDS];
    double max_slow_down; /* of bench */
    bool of_bench;
    bool unfair; /* one of the differences is */
} qp_changes;

typedef enum qp_changes_verdict {
    QP_CHANGES_NOTHING, /* nothing is in both; of bench: no time is the same, faster or slower */
    QP_CHANGES_WORSE,   /* a new failure, or something that is no longer compared */
    QP_CHANGES_SLOWER,  /* and nothing worse */
    QP_CHANGES_NOT_WORSE
} qp_changes_verdict;
qp_changes_verdict qp_changes_judge(const qp_changes *changes);

/* QP_NO_MEMORY; on failure *changes is all zero, which qp_changes_close accepts. */
QP_MUST_USE qp_status qp_changes_of_verify(const qp_report *was, const qp_report *is, qp_changes *changes);
/* Rows are the same if key and extents are, passes if name, tokens and context are. */
QP_MUST_USE qp_status qp_changes_of_bench(const qp_bench_report *was, const qp_bench_report *is, double max_slow_down,
                                          qp_changes *changes);
void qp_changes_close(qp_changes *changes);

#endif
