#include "../../reports/read.h"
#include "../../reports/reports.h"
#include "commands.h"
#include "outputs.h"

static const char *first_path, *second_path;
static qp_outputs outputs;
static bool every_row;

static const qp_option options[] = {
    { "FILE.json", NULL, "a report of verify or bench, or the rows of a run that did not end", QP_OPTION_ARGUMENT,
      &first_path },
    { "BENCH.json", NULL, "a report of bench, for the page", QP_OPTION_OPTIONAL_ARGUMENT, &second_path },
    QP_OUTPUTS_TABLE(outputs),
    { "rows", NULL, "print every row, not one line a boundary", QP_OPTION_FLAG, &every_row },
    { .name = NULL },
};

static qp_status show_bench(const qp_bench_report *bench, qp_terminal_style style, int *exit_code)
{
    if (outputs.folder || outputs.json || outputs.junit || outputs.markdown)
        return qp_fail(QP_USAGE, "of a report of bench alone there is only --html");
    qp_bench_print(bench, style, stdout);
    *exit_code = qp_exit_of_bench(bench);
    if (!outputs.html) return QP_OK;
    QP_TRY(qp_outputs_prepare(&outputs));
    QP_TRY(qp_write_html(NULL, bench, outputs.html));
    printf("page    %s\n", outputs.html);
    return QP_OK;
}

static qp_status show(const qp_saved_report *first, const qp_saved_report *second, int *exit_code)
{
    const qp_terminal_style style = { qp_wants_color(stdout), every_row };
    if (second && (first->is_bench || !second->is_bench))
        return qp_fail(QP_USAGE, "two files are a report of verify, then one of bench");
    if (first->is_bench) return show_bench(&first->bench, style, exit_code);
    QP_TRY(qp_outputs_prepare(&outputs));
    qp_report_print(&first->verify, style, stdout);
    *exit_code =
        qp_worse_exit(qp_exit_of_report(&first->verify), second ? qp_exit_of_bench(&second->bench) : QP_EXIT_OK);
    return qp_outputs_write(&outputs, &first->verify, second ? &second->bench : NULL, stdout);
}

static qp_status run(int *exit_code)
{
    qp_saved_report first, second = { 0 };
    QP_TRY(qp_saved_report_open(first_path, &first));
    qp_status status = second_path ? qp_saved_report_open(second_path, &second) : QP_OK;
    if (status == QP_OK) status = show(&first, second_path ? &second : NULL, exit_code);
    qp_saved_report_close(&second);
    qp_saved_report_close(&first);
    return status;
}

const qp_command qp_command_report = { "report", "show a saved report again, in any form",
                                       "Reads what verify or bench wrote with --json, or the rows of a verify that did "
                                       "not end (FILE.rows.jsonl), and gives the\n"
                                       "exit code that says what it found. Together they make one page.",
                                       options, run };
