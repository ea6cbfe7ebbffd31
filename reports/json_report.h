/* What the JSON reports have in common. Only for the writers. */
#ifndef QP_JSON_REPORT_H
#define QP_JSON_REPORT_H

#include "../harness/environment.h"
#include "../harness/golden.h"
#include "../harness/verdict.h"
#include "../model/device.h"
#include "../model/json.h"

/* The schemas that are written, and read again (read.h). */
#define QP_VERIFY_SCHEMA "qwen3-parity-verify/2"
#define QP_JOURNAL_SCHEMA "qwen3-parity-verify-journal/2" /* journal.h */
#define QP_BENCH_SCHEMA "qwen3-parity-bench/2"
#define QP_BENCH_SCHEMA_1                                                                                              \
    "qwen3-parity-bench/1" /* the same without `complete`, `nodes` and the golden's attributes: only read */

/* The member `environment`: the program, the machine, the device and the time. */
void qp_json_put_environment(qp_json_writer *writer, const qp_environment *environment, const qp_device_facts *device);

/* The member `golden`: its path and attributes, or null. */
void qp_json_put_golden(qp_json_writer *writer, const qp_golden_facts *golden);

/* The members `backend`, `plan`, `fault` and `only`: which implementations ran, on what. */
void qp_json_put_selection(qp_json_writer *writer, const char *backend, const char *plan, const char *fault,
                           const char *only);

/* Members of a document of `verify`: what is known before its first row; and a row of it, an object in an array or alone. */
void qp_json_put_verify_head(qp_json_writer *writer, const qp_report *report, const char *schema);
void qp_json_put_verify_row(qp_json_writer *writer, const qp_row *row);

/* Writes the document to a file (file.h). */
QP_MUST_USE qp_status qp_json_write_report(const qp_json_writer *writer, const char *path);

#endif
