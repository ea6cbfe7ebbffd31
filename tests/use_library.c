/* A program that links with the installed libraries: see check_install.cmake. */
#include <stdio.h>

#include "harness/verify.h"
#include "kernels/operation.h"
#include "model/model.h"
#include "reports/reports.h"

int main(int argc, char **argv)
{
    qp_model model;
    if (argc != 2 || qp_model_open(argv[1], &model) != QP_OK) {
        fprintf(stderr, "%s\n", qp_last_error());
        return 1;
    }
    printf("%lld layers; %s\n", (long long)model.config.num_hidden_layers, qp_operation_find("linear")->formula);
    qp_model_close(&model);
    return 0;
}
