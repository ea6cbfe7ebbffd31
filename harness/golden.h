/* Read-only access to a golden file (schema: golden/README.md). The only unit that knows HDF5.
 * Every function fails with QP_IO, QP_FORMAT, QP_NO_MEMORY or, for a wrong call, QP_INVALID and one sentence that
 * says what was found. HDF5 is used from one thread at a time: do not call from two, even for two files. */
#ifndef QP_GOLDEN_H
#define QP_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/operation.h"

typedef struct qp_golden qp_golden; /* opaque: owns the HDF5 handles and the lists below */

/* Refuses a file without schema "qwen3-parity-golden/1" or without complete = 1 (an interrupted capture), phases
 * whose `past` or numbers do not follow from each other, links to elsewhere, and members that the schema does not
 * have. The datasets are looked at only when they are read. On failure *golden is NULL. */
QP_MUST_USE qp_status qp_golden_open(const char *path, qp_golden **golden);
void qp_golden_close(qp_golden *golden); /* NULL is fine */

/* Text attribute of the file ("device_name", "model_config", "switches", "split_k", ...), or NULL.
 * Integer attributes come as their decimal text, a bool as "true" or "false". Owned by the golden. */
const char *qp_golden_attribute(const qp_golden *golden, const char *name);
/* Number of file attributes, and the name of each, sorted. */
int qp_golden_attribute_count(const qp_golden *golden);
const char *qp_golden_attribute_name(const qp_golden *golden, int index);

/* What a report tells of a golden: its path, and every attribute. Strings are borrowed from the golden or from a file that was
 * read; the list belongs to whoever made it. */
typedef struct qp_golden_facts {
    const char *path; /* NULL: there is no golden */
    int attribute_count;
    struct qp_golden_attribute {
        const char *name, *value;
    } * attributes;
} qp_golden_facts;
/* `golden` may be NULL. QP_NO_MEMORY. The caller frees facts->attributes. */
QP_MUST_USE qp_status qp_golden_describe(const qp_golden *golden, const char *path, qp_golden_facts *facts);
/* The attribute of that name; NULL if there is none. */
const char *qp_golden_fact(const qp_golden_facts *facts, const char *name);

/* JSON text of the dataset weights_sha256. Owned by the golden. */
const char *qp_golden_weights_sha256(const qp_golden *golden);

/* One captured forward pass. Phases are listed prompt by prompt in the file's creation order if it is
 * tracked, by name otherwise; within a prompt `prefill` first, then decode.000, decode.001, ... */
typedef struct qp_golden_phase {
    const char *prompt;            /* "aistonia" */
    const char *text;              /* the prompt's text */
    const char *name;              /* "prefill", "decode.003" */
    const char *path;              /* "aistonia/decode.003" */
    int64_t past;                  /* tokens in the cache before this pass */
    int64_t tokens;                /* tokens fed in this pass */
    const int64_t *ids;            /* [tokens] */
    int boundary_count;            /* datasets in this phase */
    const char *const *boundaries; /* their names, sorted */
} qp_golden_phase;

int qp_golden_phase_count(const qp_golden *golden);
const qp_golden_phase *qp_golden_phase_at(const qp_golden *golden, int index);

/* Whether the phase holds the boundary. */
bool qp_golden_has(const qp_golden_phase *phase, const char *boundary);

/* Reads a boundary whole: rank 0 and dims NULL for a scalar. Fails with QP_FORMAT unless the stored type, the
 * attribute `dtype` and the shape are exactly as asked: bf16 is stored as unsigned 16-bit little-endian with
 * dtype = "bf16", f32 as IEEE binary32 little-endian with "f32", i64 as signed 64-bit little-endian with "i64".
 * HDF5 never converts. */
QP_MUST_USE qp_status qp_golden_read(const qp_golden *golden, const qp_golden_phase *phase, const char *boundary,
                                     qp_dtype dtype, int rank, const int64_t *dims, void *destination);
#endif
