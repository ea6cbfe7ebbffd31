/* Fusions: one node of the plan in the place of several reference nodes that follow each other. What a fusion
 * replaces, and which operands and extents it takes from where, is a table; operands, weights and what cuBLAS chose come from
 * the replaced nodes, so nothing of the model is described twice. */
#ifndef QP_FUSION_H
#define QP_FUSION_H

#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_MAX_REPLACED = 8, QP_FUSIONS_TEXT = 160 };

typedef struct qp_fusion {
    qp_fusions bit;
    const char *name; /* NULL ends the list */
    const qp_operation *operation;
    const char *replaces[QP_MAX_REPLACED + 1]; /* names of nodes without the layer's path, as they follow each other */
    const struct qp_fusion_form *form;         /* fusion.c */
} qp_fusion;

extern const qp_fusion qp_all_fusions[]; /* in the order of the model */

/* Adds fusions by name: "rmsnorm_qkv" or "rmsnorm_qkv,o_residual". QP_USAGE for an unknown name, naming the known. */
QP_MUST_USE qp_status qp_fusions_add(qp_fusions *fusions, const char *names);

/* What reports call the plan: "reference", "fused" (with all fusions), or "fused: rmsnorm_qkv, o_residual". */
void qp_fusions_describe(qp_fusions fusions, char text[QP_FUSIONS_TEXT]);

/* For qp_plan_open: replaces nodes of the reference plan as its options say. Tensors that then no node writes become
 * QP_TENSOR_INSIDE. QP_INVALID if a fusion finds nothing to replace. */
QP_MUST_USE qp_status qp_plan_fuse(qp_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
