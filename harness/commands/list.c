#include <string.h>

#include "../../model/fusion.h"
#include "../golden.h"
#include "commands.h"

static const char *golden_path;

static const qp_option options[] = {
    { "golden", "FILE", "list the keys of this golden instead ('embedded': the embedded model's)", QP_OPTION_TEXT,
      &golden_path },
    { .name = NULL },
};

static void print_shape(const qp_operation *operation, const qp_operand *operand)
{
    printf("%s %s[", operand->name, qp_dtype_name(operand->dtype));
    for (int i = 0; i < operand->rank; i++) printf("%s%s", i ? ", " : "", operation->extents[operand->axis[i]]);
    printf("]");
}

static void print_operation(const qp_operation *operation)
{
    printf("%s: %s\n  operands:  ", operation->name, operation->formula);
    const int in = qp_operand_count(operation->in, QP_MAX_IN), out = qp_operand_count(operation->out, QP_MAX_OUT);
    for (int i = 0; i < in + out; i++) {
        if (i) printf(i == in ? " -> " : ", ");
        print_shape(operation, i < in ? &operation->in[i] : &operation->out[i - in]);
    }
    printf("\n");
    for (const qp_fusion *f = qp_all_fusions; f->name; f++) {
        if (f->operation != operation) continue;
        printf("  --fuse:    %s: in place of", f->name);
        for (int i = 0; f->replaces[i]; i++)
            printf("%s %s", i ? "," : "", *f->replaces[i] ? f->replaces[i] : "the layer's output");
        printf("\n");
    }
    for (const qp_implementation *i = qp_implementations; i->name; i++)
        if (!strcmp(i->operation, operation->name))
            printf("  --impl:    %s=%s (%s)\n", i->operation, i->name, qp_backend_name(i->backend));
    for (const qp_fault *fault = operation->faults; fault && fault->name; fault++)
        printf("  --fault:   %s: %s\n", fault->name, fault->what);
    printf("  cases:    ");
    for (const qp_case *c = operation->cases; c->name; c++) printf(" %s", c->name);
    printf("\n\n");
}

static qp_status list_keys(void)
{
    char embedded[PATH_MAX];
    qp_golden *golden = NULL;
    if (!strcmp(golden_path, "embedded")) golden_path = NULL;
    QP_TRY(qp_default_path(&golden_path, "qwen3-tiny.h5", embedded));
    QP_TRY(qp_golden_open(golden_path, &golden));
    for (int i = 0; i < qp_golden_phase_count(golden); i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i);
        for (int j = 0; j < phase->boundary_count; j++) printf("%s/%s\n", phase->path, phase->boundaries[j]);
    }
    qp_golden_close(golden);
    return QP_OK;
}

static qp_status run(int *exit_code)
{
    *exit_code = QP_EXIT_OK;
    if (golden_path) return list_keys();
    for (int i = 0; qp_operations[i]; i++) print_operation(qp_operations[i]);
    return QP_OK;
}

const qp_command qp_command_list = { "list",
                                     "the operations with their implementations, fusions, planted faults and cases",
                                     "With --golden, the keys of a golden, one a line, as --only of verify takes them.",
                                     options, run };
