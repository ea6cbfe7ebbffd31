/* JSON, read and written. The only unit that knows cJSON.
 *
 * Reading is for files that may be wrong: each getter refuses with a sentence that names the file and the
 * key, e.g. "rope_parameters.rope_theta in DIR/config.json is a string, but a number is needed".
 * Writing is for reports: what is written reads back exactly the same, and in the order of writing. */
#ifndef QP_JSON_H
#define QP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Reading ---- */

typedef struct qp_json qp_json; /* opaque: a document, owns everything that was read from it */

/* One value of a document, passed by value. Borrowed: good until qp_json_free. */
typedef struct qp_json_node {
    const void *item; /* NULL: there is no such value */
    const qp_json *document;
} qp_json_node;

typedef enum qp_json_kind {
    QP_JSON_ABSENT, /* there is no such value */
    QP_JSON_NULL,
    QP_JSON_BOOL,
    QP_JSON_NUMBER,
    QP_JSON_STRING,
    QP_JSON_ARRAY,
    QP_JSON_OBJECT
} qp_json_kind;

/* Reads a document whole. QP_IO: the file is missing, unreadable or a folder. QP_FORMAT: it is empty, larger
 * than 256 MiB, no UTF-8, no JSON (with line and column), nested deeper than cJSON's limit of 1000, or holds a
 * zero byte or \u0000 (a C string would end there). On failure *json is NULL. */
QP_MUST_USE qp_status qp_json_read_file(const char *path, qp_json **json);
/* The same from memory. `origin` is what messages call it. */
QP_MUST_USE qp_status qp_json_parse(const char *text, int64_t bytes, const char *origin, qp_json **json);
void qp_json_free(qp_json *json); /* NULL is fine */

qp_json_node qp_json_root(const qp_json *json);
const char *qp_json_origin(const qp_json *json); /* the path or `origin` */

qp_json_kind qp_json_kind_of(qp_json_node node);
/* The member of an object, absent if there is none or if `object` is no object. Of members with one name, the
 * first. Takes time in the number of members: to read many, walk them. */
qp_json_node qp_json_find(qp_json_node object, const char *key);

/* Walking an array or object: `for (n = qp_json_first(a); n.item != NULL; n = qp_json_next(n))`. */
int64_t qp_json_count(qp_json_node node); /* elements or members; 0 for anything else. Takes time in the count */
qp_json_node qp_json_first(qp_json_node node);
qp_json_node qp_json_next(qp_json_node node);
const char *qp_json_key(qp_json_node node); /* the member's name; NULL for an element */

/* The value of a node, QP_FORMAT if it is absent or of another type. On failure *value is unchanged.
 * int64: an integral number of at most 2^53, or the decimal string that the writer makes of a larger one.
 * double: a finite number, or one of the strings "nan", "inf", "-inf" that the writer makes of the others. */
QP_MUST_USE qp_status qp_json_as_int64(qp_json_node node, int64_t *value);
QP_MUST_USE qp_status qp_json_as_double(qp_json_node node, double *value);
QP_MUST_USE qp_status qp_json_as_bool(qp_json_node node, bool *value);
QP_MUST_USE qp_status qp_json_as_string(qp_json_node node, const char **value); /* borrowed */

/* A member that must be there. */
QP_MUST_USE qp_status qp_json_get_int64(qp_json_node object, const char *key, int64_t *value);
QP_MUST_USE qp_status qp_json_get_double(qp_json_node object, const char *key, double *value);
QP_MUST_USE qp_status qp_json_get_bool(qp_json_node object, const char *key, bool *value);
QP_MUST_USE qp_status qp_json_get_string(qp_json_node object, const char *key, const char **value);
/* A copy of the text, cut to size - 1 bytes. */
QP_MUST_USE qp_status qp_json_copy_string(qp_json_node object, const char *key, char *text, size_t size);
QP_MUST_USE qp_status qp_json_get_object(qp_json_node object, const char *key, qp_json_node *value);
QP_MUST_USE qp_status qp_json_get_array(qp_json_node object, const char *key, qp_json_node *value);

/* A member that may be missing or null: *value is then `otherwise`. */
QP_MUST_USE qp_status qp_json_get_int64_or(qp_json_node object, const char *key, int64_t otherwise, int64_t *value);
QP_MUST_USE qp_status qp_json_get_double_or(qp_json_node object, const char *key, double otherwise, double *value);
QP_MUST_USE qp_status qp_json_get_bool_or(qp_json_node object, const char *key, bool otherwise, bool *value);
QP_MUST_USE qp_status qp_json_get_string_or(qp_json_node object, const char *key, const char *otherwise,
                                            const char **value);

/* Where a node stands, "rope_parameters.rope_theta" or "merges[3]", for a caller's own sentence. Writes at most
 * size - 1 characters; returns `text`. Searches the document: for failures only. */
const char *qp_json_where(qp_json_node node, char *text, size_t size);

/* ---- Writing ----
 * Values are appended to the innermost open object (with a key) or array (key NULL). The first failure is kept
 * and makes the rest do nothing, so that only the last call needs a check:
 *
 *     qp_json_writer *w = qp_json_writer_open();
 *     qp_json_open_object(w, NULL);
 *     qp_json_put_string(w, "schema", "...");
 *     qp_json_open_array(w, "rows");
 *     ...
 *     qp_json_close(w);
 *     qp_json_close(w);
 *     status = qp_json_write_file(w, file, path);
 *     qp_json_writer_close(w);
 */
typedef struct qp_json_writer qp_json_writer; /* opaque */

qp_json_writer *qp_json_writer_open(void); /* NULL without memory: every call below accepts it and fails in the end */
void qp_json_writer_close(qp_json_writer *writer);

void qp_json_open_object(qp_json_writer *writer, const char *key);
void qp_json_open_array(qp_json_writer *writer, const char *key);
void qp_json_close(qp_json_writer *writer); /* the innermost open object or array */

void qp_json_put_null(qp_json_writer *writer, const char *key);
void qp_json_put_bool(qp_json_writer *writer, const char *key, bool value);
/* Up to 2^53 a number, beyond it a decimal string: most readers hold numbers as doubles. */
void qp_json_put_int64(qp_json_writer *writer, const char *key, int64_t value);
void qp_json_put_uint64(qp_json_writer *writer, const char *key, uint64_t value);
/* As many of 17 digits as it takes to read back the same; "nan", "inf" and "-inf" as strings. */
void qp_json_put_double(qp_json_writer *writer, const char *key, double value);
/* Bytes that are no UTF-8 become U+FFFD, in keys as well; NULL becomes null. */
void qp_json_put_string(qp_json_writer *writer, const char *key, const char *value);

/* QP_INVALID if the calls above did not match (a key missing or too many, something still open),
 * QP_NO_MEMORY, or QP_OK. */
QP_MUST_USE qp_status qp_json_writer_status(const qp_json_writer *writer);
/* The document as text, indented, with a line break at its end. The caller frees *text. */
QP_MUST_USE qp_status qp_json_write_text(const qp_json_writer *writer, char **text);
/* The same into a file that is open for writing; `path` is for the message only. Does not close it. */
QP_MUST_USE qp_status qp_json_write_file(const qp_json_writer *writer, FILE *file, const char *path);
/* The same in one line, for a file of JSON Lines. */
QP_MUST_USE qp_status qp_json_write_line(const qp_json_writer *writer, FILE *file, const char *path);

#ifdef __cplusplus
}
#endif
#endif
