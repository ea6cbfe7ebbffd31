#include "../../reports/read.h"
#include "../../reports/reports.h"
#include "../changes.h"
#include "commands.h"

static const char *old_path, *new_path, *markdown_path;
static double max_slow_down = QP_SPEED_MAX_SLOW_DOWN;
static bool strict;

static const qp_option options[] = {
    { "OLD.json", NULL, "a report of verify or bench", QP_OPTION_ARGUMENT, &old_path },
    { "NEW.json", NULL, "a later one of the same kind", QP_OPTION_ARGUMENT, &new_path },
    { "strict", NULL, "refuse runs of another card, library or golden (exit code 3)", QP_OPTION_FLAG, &strict },
    { "max-slow-down", "FACTOR", "times within this factor are the same (default: 1.1)", QP_OPTION_NUMBER,
      &max_slow_down },
    { "markdown", "FILE", "write it for a merge request, too", QP_OPTION_TEXT, &markdown_path },
    { .name = NULL },
};

static qp_status compare(const qp_saved_report *was, const qp_saved_report *is, int *exit_code)
{
    qp_changes changes;
    if (was->is_bench != is->is_bench)
        return qp_fail(QP_USAGE, "one is a report of verify, the other of bench: compare two of a kind");
    QP_TRY(is->is_bench ? qp_changes_of_bench(&was->bench, &is->bench, max_slow_down, &changes)
                        : qp_changes_of_verify(&was->verify, &is->verify, &changes));
    qp_changes_print(&changes, (qp_terminal_style){ .color = qp_wants_color(stdout) }, stdout);
    qp_status status = markdown_path ? qp_changes_write_markdown(&changes, markdown_path) : QP_OK;
    if (status == QP_OK && strict && changes.unfair)
        status = qp_fail(QP_UNSUPPORTED, "the runs cannot be compared fairly (above), which --strict does not allow");
    *exit_code = qp_exit_of_changes(&changes);
    qp_changes_close(&changes);
    return status;
}

static qp_status run(int *exit_code)
{
    qp_saved_report was, is = { 0 };
    if (!(max_slow_down >= 1.0)) return qp_fail(QP_USAGE, "--max-slow-down must be at least 1");
    QP_TRY(qp_saved_report_open(old_path, &was));
    qp_status status = qp_saved_report_open(new_path, &is);
    if (status == QP_OK) status = compare(&was, &is, exit_code);
    qp_saved_report_close(&is);
    qp_saved_report_close(&was);
    return status;
}

const qp_command qp_command_compare = { "compare", "what changed between two saved reports",
                                        "Of verify: rows that fail now, that are cured, that have other bits or "
                                        "another order of sums. Of bench: times, by their\n"
                                        "medians and quartiles. What differs around the runs is said first. Exit code "
                                        "1: worse; 4: only slower; 5: nothing in common.",
                                        options, run };
