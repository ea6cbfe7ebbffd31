/* A verdict says whether numbers are right; a status (kernels/status.h) says whether work could be done. */
#ifndef QP_VERDICT_H
#define QP_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/operation.h"
#include "../model/device.h"
#include "../model/fusion.h"
#include "../model/plan.h"
#include "../model/sha256.h"
#include "compare.h"
#include "environment.h"
#include "golden.h"

/* From bad to good. */
typedef enum qp_verdict {
    QP_VERDICT_FAIL,      /* something differs: the value 0, so that nothing passes by default */
    QP_VERDICT_UNTRUSTED, /* equal, but the golden shows too little (see qp_judge) */
    QP_VERDICT_WAIVED,    /* one of the two, and a waiver of the gate's policy says that it is known (gate.h) */
    QP_VERDICT_PASS
} qp_verdict;

const char *qp_verdict_name(qp_verdict verdict); /* "fail", "untrusted", "waived", "pass" */

/* What a row has to be: equal bit for bit, or within a bound that the gate's policy states (gate.h). */
typedef enum qp_gate_kind { QP_GATE_EXACT, QP_GATE_BOUNDED } qp_gate_kind;
const char *qp_gate_kind_name(qp_gate_kind kind); /* "exact", "bounded" */

typedef enum qp_mode {
    QP_LOCAL,  /* the node ran on the golden's own inputs */
    QP_CARRIED /* the node ran on our upstream outputs, from the token ids on */
} qp_mode;
const char *qp_mode_name(qp_mode mode); /* "local", "carried" */

/* One tensor of one forward pass, compared once. Strings are borrowed from the report. */
typedef struct qp_row {
    const char *key;            /* "aistonia/decode.003/model.layers.2.self_attn.q_norm" */
    const char *boundary;       /* the part after the phase */
    int layer;                  /* -1 outside the layers */
    const char *operation;      /* "rms_norm" */
    const char *implementation; /* "cpu" */
    char order[QP_ORDER_TEXT];  /* how its sums are added up, where that is chosen (qp_plan_node_order); "" elsewhere */
    qp_mode mode;
    const char *violation; /* what the implementation did that none may do, e.g. change its input; NULL: nothing */
    qp_gate_kind gate;
    qp_verdict verdict;
    char reason[200]; /* why not "pass"; "" if it is */
    const char
        *excuse; /* of a bounded row: why its bits may differ; of a waived one: why it is waived; NULL: neither */
    qp_dtype dtype;
    int rank;
    int64_t dim[QP_MAX_RANK];
    const char *axis[QP_MAX_RANK]; /* "token", "head", "channel", ... */
    qp_comparison comparison;      /* ours against the golden */
    double worst_oracle[QP_WORST]; /* the fp64 oracle's values at the worst elements */
    /* Of the tensors' bytes: little-endian, slowest axis first. Equal if and only if the bits are, NaN included. */
    char golden_sha256[QP_SHA256_TEXT], ours_sha256[QP_SHA256_TEXT];
    double seconds;     /* by the host's clock: the node, its oracle, the comparison */
    int64_t true_zeros; /* elements that are zero in the golden and, carried through in fp64, in truth */
    /* three-way errors */
    qp_error ours_golden, ours_oracle, golden_oracle;
    /* Carried rows only: ours - golden = (ours - local) + (local - golden), element by element, where `local`
     * is the same node on the golden's inputs. */
    bool has_origin;
    qp_error came_in; /* ours - local: what the inputs brought */
    int64_t came_in_mismatches;
    qp_error added; /* local - golden: what this node added */
    int64_t added_mismatches;
} qp_row;

typedef struct qp_report_summary {
    int64_t rows, failed, untrusted, waived;
    int64_t exact_rows;           /* without a mismatch, whatever the verdict */
    int64_t bounded;              /* that pass though elements differ, because they are within a bound */
    int64_t elements, mismatches; /* over all rows, so a tensor counts once in each mode */
    int64_t local_mismatches, carried_mismatches;
    /* pass only if the run ended, there is a row, each passed or is waived, no golden tensor is not compared, and the gate
     * has no problem */
    qp_verdict verdict;
} qp_report_summary;

/* What `verify` found. Made by the verifier (verify.h) or read from a file (reports/read.h); a gate may judge it anew (gate.h);
 * the writers only read it. */
typedef struct qp_report {
    qp_environment environment;
    const char *model; /* its path, as given */
    qp_golden_facts golden;
    const char *backend;
    char plan[QP_FUSIONS_TEXT]; /* as qp_fusions_describe says it */
    qp_device_facts device;
    const char *fault; /* name of a planted fault, or NULL */
    const char *only;  /* the key filter, or NULL */
    bool complete;     /* false: the run did not end, and these are the rows that it got to */
    int row_count;
    qp_row *rows; /* in the order of the plan, local before carried for each tensor */
    int not_compared_count;
    const struct qp_not_compared {
        const char *key, *why;
    } * not_compared; /* golden tensors without a row, though asked for */
    int inside_fused_count;
    /* Golden tensors that are inside a fused node and so in no memory, though asked for. No row can be made of them, and none
     * is missed: whatever is wrong there shows in the node's outputs. */
    const struct qp_inside_fused {
        char boundary[QP_NAME_MAX], node[QP_NAME_MAX]; /* `*` for the layer */
        int64_t tensors;                               /* of all phases and layers */
    } * inside_fused;                                  /* in the order of the plan */
    int64_t left_out;                                  /* golden tensors that the key filter left out */
    double seconds;
    const char *gate; /* path of the policy that judged it; NULL: every row has to be exact */
    int problem_count;
    const char *slower; /* what the gate says of times over the baseline's; NULL: nothing. No part of the verdict */
    const char *const *problems; /* what is wrong with the policy's own lines: a waiver that nothing needs, ... */
    qp_report_summary summary;
} qp_report;

/* Sets verdict and reason of a row from its comparison, shape, violation and true zeros. The verdict starts as "fail", and only
 * one condition changes it: every element is equal, bit for bit (two NaN are equal, +0 and -0 are not). A tolerance there is
 * only where a gate's policy states one (gate.h). A row with no elements, with another number of them than its shape, or with a
 * violation fails.
 *
 * A row that passes becomes "untrusted" when the golden shows too little: no element is finite, or fewer elements are
 * either not zero or zero in truth, too, than there are rows (a row is the last dimension; a causal mask leaves each row
 * of probabilities at least one). Integers, of which zero is as good a value as any, and tensors of one element are
 * exempt from the rule on zeros. */
void qp_judge(qp_row *row);

/* Judges a row that fails because elements differ anew: it passes, or is untrusted by the rule above, if no distance is over
 * `max_ulp` and our error against fp64, root-mean-square and largest, is at most `error_factor` times PyTorch's own. A NaN or an
 * infinity out of place, a whole number, and whatever else fails a row, are outside of every bound. The row's gate is then
 * "bounded", whatever its verdict. */
void qp_judge_bounded(qp_row *row, double max_ulp, double error_factor);

/* The position of an element of the row's tensor along each axis: position[0 .. rank). */
void qp_row_position(const qp_row *row, int64_t index, int64_t position[QP_MAX_RANK]);

/* Computes the summary from the rows, the tensors not compared and the gate's problems. */
void qp_report_summarise(qp_report *report);

#endif
