/* A Qwen3 folder, opened: its config and its weights. */
#ifndef QP_MODEL_H
#define QP_MODEL_H

#include "checkpoint.h"
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_model {
    qp_config config;
    qp_checkpoint *checkpoint; /* owned; mapped, not copied */
} qp_model;

/* Refuses a folder without all the weights of a dense Qwen3, naming the first that is missing or wrong.
 * On failure *model is all zero, which qp_model_close accepts. */
QP_MUST_USE qp_status qp_model_open(const char *dir, qp_model *model);
void qp_model_close(qp_model *model);

#ifdef __cplusplus
}
#endif
#endif
