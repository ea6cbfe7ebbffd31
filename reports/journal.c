#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json_report.h"

static qp_status write_line(qp_journal *journal, qp_json_writer *writer)
{
    const qp_status status = qp_json_write_line(writer, journal->stream, journal->path);
    qp_json_writer_close(writer);
    return status;
}

qp_status qp_journal_open(const char *path, qp_journal *journal)
{
    static const char ending[] = ".rows.jsonl";
    *journal = (qp_journal){ .path = malloc(strlen(path) + sizeof ending) };
    if (!journal->path) return qp_fail(QP_NO_MEMORY, "not enough memory for the journal of '%s'", path);
    memcpy(journal->path, path, strlen(path));
    memcpy(journal->path + strlen(path), ending, sizeof ending);
    (void)unlink(journal->path); /* of an earlier run that did not end */
    return QP_OK;
}

qp_status qp_journal_add(void *context, const qp_report *report, const qp_row *row)
{
    qp_journal *journal = context;
    if (!journal->stream) {
        journal->stream = fopen(journal->path, "w");
        if (!journal->stream)
            return qp_fail(QP_IO, "the journal '%s' cannot be written: %s; choose another path for the report",
                           journal->path, strerror(errno));
        qp_json_writer *head = qp_json_writer_open();
        qp_json_open_object(head, NULL);
        qp_json_put_verify_head(head, report, QP_JOURNAL_SCHEMA);
        qp_json_close(head);
        QP_TRY(write_line(journal, head));
    }
    qp_json_writer *line = qp_json_writer_open();
    qp_json_put_verify_row(line, row);
    return write_line(journal, line);
}

void qp_journal_close(qp_journal *journal, bool report_is_there)
{
    if (journal->stream) {
        (void)fclose(journal->stream);
        if (report_is_there) (void)unlink(journal->path);
    }
    free(journal->path);
    *journal = (qp_journal){ 0 };
}
