#include "model.h"

#include <string.h>

qp_status qp_model_open(const char *dir, qp_model *model)
{
    memset(model, 0, sizeof *model);
    qp_status status = qp_config_read(dir, &model->config);
    if (status == QP_OK) status = qp_checkpoint_open(dir, &model->checkpoint);
    if (status == QP_OK) status = qp_checkpoint_require_qwen3(model->checkpoint, &model->config);
    if (status != QP_OK) qp_model_close(model);
    return status;
}

void qp_model_close(qp_model *model)
{
    qp_checkpoint_close(model->checkpoint);
    memset(model, 0, sizeof *model);
}
