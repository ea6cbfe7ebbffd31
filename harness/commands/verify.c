#include <stdlib.h>

#include "../../reports/reports.h"
#include "../verify.h"
#include "commands.h"

static qp_run_options run_options = QP_RUN_OPTIONS_DEFAULT;
static const char *golden_path, *only, *json_path;
static bool every_row;

static const qp_option options[] = {
    QP_RUN_OPTIONS_TABLE(run_options),
    { "golden", "FILE", "the golden to compare with (default: the embedded model's)", QP_OPTION_TEXT, &golden_path },
    { "only", "KEY-GLOB", "compare only these keys, e.g. 'aistonia/*q_norm'", QP_OPTION_TEXT, &only },
    { "json", "FILE", "write the whole report as JSON (reports/README.md)", QP_OPTION_TEXT, &json_path },
    { "rows", NULL, "print every row, not one line a boundary", QP_OPTION_FLAG, &every_row },
    { .name = NULL },
};

static qp_status verify(const qp_runtime *runtime, const qp_golden *golden, const qp_verify_options *verify_options,
                        int *exit_code)
{
    qp_report report;
    const qp_status verified = qp_verify(runtime, golden, verify_options, &report);
    qp_progress_line(NULL, 1, 1, "");
    QP_TRY(verified);
    qp_report_print(&report, (qp_terminal_style){ qp_wants_color(stdout), every_row }, stdout);
    const qp_status status = json_path ? qp_report_write_json(&report, json_path) : QP_OK;
    *exit_code = report.row_count == 0                       ? QP_EXIT_NOTHING
                 : report.summary.verdict != QP_VERDICT_PASS ? QP_EXIT_VERDICT
                                                             : QP_EXIT_OK;
    qp_report_close(&report);
    return status;
}

static qp_status run(int *exit_code)
{
    char embedded_golden[PATH_MAX];
    qp_run_context context;
    qp_golden *golden = NULL;
    if (!run_options.model != !golden_path)
        return qp_fail(QP_USAGE, "--model and --golden belong together: a golden is of one model");
    QP_TRY(qp_default_path(&golden_path, "qwen3-tiny.h5", embedded_golden));
    qp_status status = qp_run_open(&run_options, &context);
    if (status == QP_OK) status = qp_open_golden_of(&context, golden_path, &golden);
    if (status == QP_OK) {
        const qp_verify_options verify_options = { .model_path = context.model_path,
                                                   .golden_path = golden_path,
                                                   .selection = context.selection,
                                                   .fusions = context.fusions,
                                                   .only = only,
                                                   .progress = qp_progress_line };
        status = verify(&context.runtime, golden, &verify_options, exit_code);
    }
    qp_golden_close(golden);
    qp_run_close(&context);
    return status;
}

const qp_command qp_command_verify = { "verify", "compare every boundary with a golden captured from PyTorch",
                                       "Runs each node of the plan on the golden's own inputs (local) and on our "
                                       "upstream outputs (carried), and compares\n"
                                       "every output that the golden holds: bits, largest absolute and ulp difference, "
                                       "and the errors of both against fp64.",
                                       options, run };
