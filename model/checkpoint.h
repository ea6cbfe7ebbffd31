/* Weights of a model folder in safetensors form: model.safetensors, or shards with model.safetensors.index.json.
 * The files are mapped, never copied; a tensor's data lie in the mapping. Or weights that were made in memory.
 *
 * The parser is strict, because a file that lies about one offset may lie about another: the header must be a
 * JSON object of at most 100 MB inside the file, every dtype known, every size equal to shape times dtype, and the
 * tensors must cover the data section without overlap or hole, as the format demands.
 * All failures: QP_IO (missing, unreadable, a folder), QP_FORMAT, QP_UNSUPPORTED or QP_NO_MEMORY. */
#ifndef QP_CHECKPOINT_H
#define QP_CHECKPOINT_H

#include <stdint.h>

#include "../kernels/numerics/bf16.h"
#include "../kernels/status.h"
#include "sha256.h"
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_checkpoint qp_checkpoint; /* opaque: owns the mappings and the list of tensors */

enum { QP_CHECKPOINT_MAX_RANK = 8 };

typedef struct qp_checkpoint_tensor {
    const char *name;
    const char *dtype;                    /* as the format spells it: "BF16", "F32", "I64", ... */
    int rank;                             /* 0 is a scalar */
    int64_t dims[QP_CHECKPOINT_MAX_RANK]; /* slowest first, row-major */
    const void *data;                     /* borrowed from the checkpoint */
    int64_t bytes;
} qp_checkpoint_tensor;

/* Opens DIR/model.safetensors, or if there is none the shards that DIR/model.safetensors.index.json names.
 * On failure *checkpoint is NULL. */
QP_MUST_USE qp_status qp_checkpoint_open(const char *dir, qp_checkpoint **checkpoint);

/* Room in memory for every tensor of a dense Qwen3 of this config, each aligned to QP_ALIGNMENT, for the caller to fill
 * through qp_checkpoint_tensor.data; `origin` is what messages call it. QP_NO_MEMORY if there is not that much. */
QP_MUST_USE qp_status qp_checkpoint_allocate(const char *origin, const qp_config *config, qp_checkpoint **checkpoint);

void qp_checkpoint_close(qp_checkpoint *checkpoint); /* NULL is fine */

/* The tensors, sorted by name. */
int64_t qp_checkpoint_count(const qp_checkpoint *checkpoint);
const qp_checkpoint_tensor *qp_checkpoint_at(const qp_checkpoint *checkpoint, int64_t index);
const qp_checkpoint_tensor *qp_checkpoint_find(const qp_checkpoint *checkpoint, const char *name); /* NULL: none */

/* A bf16 tensor of exactly this shape; *data is borrowed. QP_FORMAT, and a sentence that says what was found
 * and what is needed, if it is missing, of another type or shape, or not aligned to 2 bytes. */
QP_MUST_USE qp_status qp_checkpoint_bf16(const qp_checkpoint *checkpoint, const char *name, int rank,
                                         const int64_t *dims, const qp_bf16 **data);

/* Whether every tensor of a dense Qwen3 of this config is there as qp_checkpoint_bf16 demands, and no layer more.
 * The sentence names the first that is not. Other tensors are ignored, lm_head.weight too if it is tied. */
QP_MUST_USE qp_status qp_checkpoint_require_qwen3(const qp_checkpoint *checkpoint, const qp_config *config);

/* SHA-256 of the tensor's bytes as 64 lower-case hex digits. Reads all of it. */
QP_MUST_USE qp_status qp_checkpoint_sha256(const qp_checkpoint_tensor *tensor, char hex[QP_SHA256_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
