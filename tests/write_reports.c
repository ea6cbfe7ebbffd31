/* Writes reports in the forms that other programs read, for check_schema.py and check_junit.py: those made by hand, and
 * one of a real run with a planted fault. No test of its own. */
#include <stdlib.h>

#include "../harness/golden_model.h"
#include "../harness/verify.h"
#include "../model/execute.h"
#include "../reports/reports.h"
#include "check_report_by_hand.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_status write_forms(const qp_report *of, const char *folder, const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s.json", folder, name);
    QP_TRY(qp_report_write_json(of, path));
    (void)snprintf(path, sizeof path, "%s/%s.xml", folder, name);
    QP_TRY(qp_report_write_junit(of, path));
    (void)snprintf(path, sizeof path, "%s/%s.md", folder, name);
    return qp_report_write_markdown(of, path);
}

static qp_status write_by_hand(const char *folder)
{
    static const struct {
        const char *name;
        void (*change)(void);
    } kinds[] = { { "failed", by_hand_leave_one_out }, { "exact", by_hand_make_exact },
                  { "fused", by_hand_fuse },           { "gate", by_hand_gate },
                  { "empty", by_hand_make_empty },     { "incomplete", by_hand_end_early },
                  { "hostile", by_hand_make_hostile } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        by_hand_make();
        kinds[i].change();
        QP_TRY(write_forms(&report, folder, kinds[i].name));
    }
    return QP_OK;
}

static qp_status verify(const char *folder, const qp_model *model, const qp_runtime *runtime, const qp_golden *golden)
{
    qp_verify_options options = {
        .model_path = MODEL, .golden_path = GOLDEN, .selection = { .backend = QP_CPU }, .only = "aistonia/*"
    };
    qp_report found;
    QP_TRY(qp_selection_plant(&options.selection, "weight-before-cast"));
    QP_TRY(qp_golden_require_model(golden, model));
    QP_TRY(qp_verify(runtime, golden, &options, &found));
    const qp_status status = write_forms(&found, folder, "verify");
    qp_report_close(&found);
    return status;
}

static qp_status write_verified(const char *folder)
{
    qp_model model;
    qp_runtime runtime;
    qp_golden *golden = NULL;
    QP_TRY(qp_model_open(MODEL, &model));
    qp_status status = qp_runtime_open(&model, QP_CPU, &runtime);
    if (status == QP_OK) status = qp_golden_open(GOLDEN, &golden);
    if (status == QP_OK) status = verify(folder, &model, &runtime, golden);
    qp_golden_close(golden);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
    return status;
}

int main(int argument_count, char **arguments)
{
    if (argument_count == 2 && write_by_hand(arguments[1]) == QP_OK && write_verified(arguments[1]) == QP_OK)
        return EXIT_SUCCESS;
    (void)fprintf(stderr, "%s\n", argument_count == 2 ? qp_last_error() : "usage: write_reports FOLDER");
    return EXIT_FAILURE;
}
