#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "json_report.h"

static qp_status write_line(qp_journal *journal, qp_json_writer *writer)
{
    const qp_status status = qp_json_write_line(writer, journal->stream, journal->path);
    qp_json_writer_close(writer);
    return status;
}

static qp_status refuse(const qp_journal *journal, const char *why)
{
    return qp_fail(QP_IO, "the journal '%s' cannot be written: %s; choose another path for the report", journal->path,
                   why);
}

/* The lock is the process's, and goes with it. */
static qp_status open_locked(qp_journal *journal)
{
    const int file = open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) return refuse(journal, strerror(errno));
    const bool locked = flock(file, LOCK_EX | LOCK_NB) == 0;
    if (!locked || ftruncate(file, 0) != 0 || !(journal->stream = fdopen(file, "w"))) {
        const qp_status status = refuse(journal, locked ? strerror(errno) : "another run is writing it");
        (void)close(file);
        return status;
    }
    return QP_OK;
}

qp_status qp_journal_open(const char *path, qp_journal *journal)
{
    static const char ending[] = ".rows.jsonl";
    *journal = (qp_journal){ .path = malloc(strlen(path) + sizeof ending) };
    if (!journal->path) return qp_fail(QP_NO_MEMORY, "not enough memory for the journal of '%s'", path);
    (void)sprintf(journal->path, "%s%s", path, ending);
    const qp_status status = open_locked(journal);
    if (status != QP_OK) qp_journal_close(journal, false);
    return status;
}

qp_status qp_journal_add(void *context, const qp_report *report, const qp_row *row)
{
    qp_journal *journal = context;
    if (!journal->begun) {
        qp_json_writer *head = qp_json_writer_open();
        qp_json_open_object(head, NULL);
        qp_json_put_verify_head(head, report, QP_JOURNAL_SCHEMA);
        qp_json_close(head);
        QP_TRY(write_line(journal, head));
        journal->begun = true;
    }
    qp_json_writer *line = qp_json_writer_open();
    qp_json_put_verify_row(line, row);
    return write_line(journal, line);
}

void qp_journal_close(qp_journal *journal, bool report_is_there)
{
    if (journal->stream) {
        if (report_is_there || !journal->begun) (void)unlink(journal->path); /* while it is locked */
        (void)fclose(journal->stream);
    }
    free(journal->path);
    *journal = (qp_journal){ 0 };
}
