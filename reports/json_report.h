/* What the JSON reports have in common. Only for the writers. */
#ifndef QP_JSON_REPORT_H
#define QP_JSON_REPORT_H

#include "../model/device.h"
#include "../model/json.h"

/* The member `environment`: this program, this machine, the device and the time. */
void qp_json_put_environment(qp_json_writer *writer, const qp_device_facts *device);

/* The members `backend`, `plan`, `fault` and `only`: which implementations ran, on what. */
void qp_json_put_selection(qp_json_writer *writer, const char *backend, const char *plan, const char *fault,
                           const char *only);

/* Writes the document beside `path` first and renames it, so that an interrupted run leaves no half file. A pipe, a
 * device or a link is written through. QP_IO if it cannot be written. */
QP_MUST_USE qp_status qp_json_write_report(const qp_json_writer *writer, const char *path);

#endif
