/* What an operation is, as data: its operands, its oracle, its cases and its planted faults.
 * One folder below kernels/ defines each operation; registry.def lists operations and implementations.
 * The plan (model/plan.h), the verifier and the tests walk these tables and hold no list of their own. */
#ifndef QP_OPERATION_H
#define QP_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numerics/sum_order.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qp_dtype {
    QP_BF16, /* qp_bf16, 2 bytes */
    QP_F32,
    QP_F64,
    QP_I64
} qp_dtype;

size_t qp_dtype_bytes(qp_dtype dtype);
const char *qp_dtype_name(qp_dtype dtype); /* "bf16", "f32", "f64", "i64" */

typedef enum qp_backend { QP_CPU, QP_CUDA } qp_backend;
const char *qp_backend_name(qp_backend backend); /* "cpu", "cuda" */

enum { QP_MAX_IN = 12, QP_MAX_OUT = 8, QP_MAX_EXTENTS = 8, QP_MAX_RANK = 4 };

/* An operand is a dense row-major array. Its shape is a list of the operation's extents. */
typedef enum qp_role { QP_ACTIVATION, QP_WEIGHT } qp_role;

typedef struct qp_operand {
    const char *name; /* NULL ends a list of operands */
    qp_dtype dtype;
    qp_role role; /* the oracle takes bf16 and f32 activations as f64, weights as they are */
    int rank;
    int axis[QP_MAX_RANK]; /* indices into qp_operation.extents, slowest first */
} qp_operand;

/* The scalars of all operations; an operation reads those that its header names. */
typedef struct qp_params {
    float eps;                  /* rms_norm and what contains it */
    float scale;                /* scores, gqa_attention */
    double theta;               /* rotary_embedding */
    int64_t part;               /* linear and what contains it: elements of K in a part of a split K, the last perhaps
                                 * fewer; 0: K is not split. rmsnorm_qkv: of the query projection */
    int64_t part_kv;            /* rmsnorm_qkv: of the key and value projections */
    qp_sum_order order;         /* scores, context: how the product is summed. gqa_attention: that of the scores */
    qp_sum_order context_order; /* gqa_attention: that of the context */
    int64_t shared; /* cascade_attention: leading keys that all sequences have in common; 0: nothing is known */
} qp_params;

/* Bytes: of every tensor and workspace, as PyTorch's allocator aligns a tensor. cuBLAS's choice may depend on it. */
enum { QP_ALIGNMENT = 512 };

/* How the two attention products are summed. */
typedef struct qp_attention_order {
    qp_sum_order scores, context;
} qp_attention_order;

/* For a launch that is recorded once and replayed at any length up to that of the call: what changes from replay to replay
 * is read on the device. The call is that of the longest pass: its extents count all keys that there can be, and its
 * operands in a cache lie behind `recorded_past` rows. A fused operation that has such an operand, or counts keys, obeys
 * this; an operation of the reference plan does not know it and cannot be replayed if it has or does. */
typedef struct qp_replay {
    int64_t recorded_past;
    const int64_t *past;                      /* device: keys in the cache before this pass, at most recorded_past */
    const qp_attention_order *orders;         /* device: orders[keys] for each number of keys, in place of qp_params */
    const qp_attention_order *orders_on_host; /* the same, for the launcher, which may choose a kernel by them */
} qp_replay;

/* Where a CUDA implementation runs. Untyped, so that no CUDA header is needed here. A launcher enqueues its work and
 * returns: it does not allocate, synchronise, query the device or keep state. */
typedef struct qp_launch {
    void *stream;    /* cudaStream_t */
    void *cublas;    /* what qp_cublas_open gave for this stream (kernels/cublas.h): a handle set up as PyTorch's own */
    void *workspace; /* what the implementation's `workspace` asked for, aligned to QP_ALIGNMENT; NULL for none */
    const qp_replay *replay; /* on the host; NULL: the call says everything */
} qp_launch;

/* One execution of an operation: everything it reads and writes. Pointers are borrowed; for a CUDA implementation they are
 * the device's. */
typedef struct qp_call {
    int64_t extent[QP_MAX_EXTENTS]; /* in the order of qp_operation.extents */
    const void *in[QP_MAX_IN];
    void *out[QP_MAX_OUT];
    qp_params params;
    const qp_launch *launch; /* CUDA implementations only */
} qp_call;

typedef qp_status (*qp_run)(const qp_call *call);

typedef struct qp_cost {
    uint64_t bytes; /* compulsory traffic */
    uint64_t flops; /* multiplications and additions of the mathematical function */
} qp_cost;

typedef enum qp_fill {
    QP_FILL_NORMAL, /* standard normal values */
    QP_FILL_WIDE,   /* either sign, exponents spread over 2^-20 .. 2^20 */
    QP_FILL_EDGES   /* zeros of both signs, subnormals, ones and a few others */
} qp_fill;

/* A shape to test and time the operation with, apart from any model. */
typedef struct qp_case {
    const char *name; /* NULL ends a list of cases */
    int64_t extent[QP_MAX_EXTENTS];
    qp_params params;
    qp_fill fill;
} qp_case;

/* A deliberately wrong implementation. A comparison that lets one pass is too weak. */
typedef struct qp_fault {
    const char *name; /* NULL ends a list of faults */
    const char *what; /* the mistake, in words */
    const char *keys; /* glob on the node's module path: where the mistake is planted */
    qp_run run;
} qp_fault;

typedef struct qp_sequence qp_sequence; /* sequence.h */

typedef struct qp_operation {
    const char *name;    /* the folder's name */
    const char *formula; /* one line */
    const char *extents[QP_MAX_EXTENTS];
    qp_operand in[QP_MAX_IN], out[QP_MAX_OUT];
    const char *(*precondition)(const qp_call *call); /* what the extents violate, or NULL; may be NULL itself */
    qp_run oracle;                                    /* the same function in fp64 */
    uint64_t (*flops)(const qp_call *call);
    uint64_t (*bytes)(const qp_call *call); /* NULL: each operand read or written once, whole */
    const qp_case *cases;
    const qp_fault *faults;                       /* may be NULL */
    qp_sequence (*sequence)(const qp_call *call); /* of a fused operation: what it replaces; otherwise NULL */
    bool in_no_plan;                              /* nothing but its cases runs it */
    qp_run rounding_oracle; /* of an operation that is no such sequence, but rounds in between: as QP_ROUNDING_ORACLE */
    /* Fills an i64 input of a case, where the numbers have to fit together; NULL: any small ones do. */
    void (*fill_table)(const qp_call *call, int input, int64_t *table);
} qp_operation;

typedef struct qp_implementation {
    const char *operation;
    const char *name;
    qp_backend backend;
    qp_run run;
    size_t (*workspace)(const qp_call *call); /* bytes of device memory that one call needs */
} qp_implementation;

size_t qp_no_workspace(const qp_call *call); /* 0 */

/* Number of operands in a list. */
int qp_operand_count(const qp_operand *operands, int max);
/* Number of elements of an operand for the extents of `call`. */
int64_t qp_operand_elements(const qp_operand *operand, const qp_call *call);
/* Its bytes, in its own type. */
size_t qp_operand_bytes(const qp_operand *operand, const qp_call *call);
/* The bytes of all operands: each read or written once, whole. */
uint64_t qp_operands_bytes(const qp_operation *operation, const qp_call *call);
/* Bytes and flops of one call. */
qp_cost qp_operation_cost(const qp_operation *operation, const qp_call *call);
/* QP_OK if every extent is at least 1, no operand is missing and the precondition holds. */
QP_MUST_USE qp_status qp_operation_check(const qp_operation *operation, const qp_call *call);

/* The registry. Lists end with NULL (operations) or a NULL name (implementations). */
extern const qp_operation *const qp_operations[];
extern const qp_implementation qp_implementations[];

const qp_operation *qp_operation_find(const char *name); /* NULL if there is none */
/* The implementation called `name`, or with NULL the first listed of that backend; NULL if there is none. */
const qp_implementation *qp_implementation_find(const char *operation, qp_backend backend, const char *name);
/* The planted fault called `name`, and the operation that it belongs to; NULL if there is none. */
const qp_fault *qp_fault_find(const char *name, const qp_operation **operation);

#ifdef __cplusplus
}
#endif
#endif
