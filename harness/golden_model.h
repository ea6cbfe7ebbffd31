/* What a golden says of the model that it was captured from. */
#ifndef QP_GOLDEN_MODEL_H
#define QP_GOLDEN_MODEL_H

#include "../model/plan.h"
#include "golden.h"

/* QP_OK if the golden holds the prompts that it names and was captured from this model with eager attention in bf16: the
 * configs agree in every field that decides the arithmetic, and every weight has the SHA-256 that the golden holds. Otherwise QP_FORMAT
 * (another model, naming the first field or weight that differs) or QP_UNSUPPORTED (another attention).
 * Reads every weight once. */
QP_MUST_USE qp_status qp_golden_require_model(const qp_golden *golden, const qp_model *model);

/* What cuBLAS chose when the golden was captured. A shape for which the capture found no explanation is left to what is
 * usual. On failure *choices is all zero, which qp_cublas_choices_close accepts. */
QP_MUST_USE qp_status qp_golden_choices(const qp_golden *golden, qp_cublas_choices *choices);

#endif
