#include "json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mapped_file.h"
#include "utf8.h"

#define MAX_BYTES (INT64_C(256) << 20)
#define MAX_EXACT (INT64_C(1) << 53)

struct qp_json {
    cJSON *root;  /* owned */
    char *origin; /* owned */
};

/* ---- Reading: the document ---- */

/* Line and column, counted from 1 and in bytes, of a position. */
static void line_and_column(const char *text, size_t at, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        *column += 1;
        if (text[i] == '\n') {
            *line += 1;
            *column = 1;
        }
    }
}

static qp_status fail_at(const char *text, size_t at, const char *origin, const char *what)
{
    size_t line, column;
    line_and_column(text, at, &line, &column);
    return qp_fail(QP_FORMAT, "%s, line %zu, column %zu: %s", origin, line, column, what);
}

/* What cJSON lets pass, but C strings and messages cannot carry. */
static qp_status check_characters(const char *text, size_t bytes, const char *origin)
{
    size_t bad;
    if (!qp_utf8_valid(text, bytes, &bad)) return fail_at(text, bad, origin, "this is not UTF-8 text");
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0') return fail_at(text, i, origin, "a zero byte is not allowed in JSON");
        if (text[i] != '\\') continue;
        if (bytes - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
            return fail_at(text, i, origin, "the character \\u0000 is not supported");
        i++; /* the escaped character, which may be a backslash itself */
    }
    return QP_OK;
}

qp_status qp_json_parse(const char *text, int64_t bytes, const char *origin, qp_json **json)
{
    *json = NULL;
    if (bytes < 0 || bytes > MAX_BYTES)
        return qp_fail(QP_FORMAT, "%s has %" PRId64 " bytes, more than the %" PRId64 " that are read as JSON", origin,
                       bytes, MAX_BYTES);
    const size_t size = (size_t)bytes;
    QP_TRY(check_characters(text, size, origin));

    const char *end = text;
    cJSON *const root = cJSON_ParseWithLengthOpts(text, size, &end, 0);
    size_t at = (size_t)(end - text);
    if (root == NULL) return fail_at(text, at, origin, "this is not valid JSON");
    while (at < size && strchr(" \t\r\n", text[at]) != NULL) at++;
    qp_json *const made = malloc(sizeof *made);
    char *const copy = strdup(origin);
    if (at < size || made == NULL || copy == NULL) {
        cJSON_Delete(root);
        free(made);
        free(copy);
        return at < size ? fail_at(text, at, origin, "there is more after the end of the JSON value")
                         : qp_fail(QP_NO_MEMORY, "not enough memory to read %s", origin);
    }
    made->root = root;
    made->origin = copy;
    *json = made;
    return QP_OK;
}

qp_status qp_json_read_file(const char *path, qp_json **json)
{
    qp_mapped_file file;
    *json = NULL;
    QP_TRY(qp_mapped_file_open(path, &file));
    const qp_status status = qp_json_parse(file.data, file.bytes, path, json);
    qp_mapped_file_close(&file);
    return status;
}

void qp_json_free(qp_json *json)
{
    if (json == NULL) return;
    cJSON_Delete(json->root);
    free(json->origin);
    free(json);
}

const char *qp_json_origin(const qp_json *json) { return json->origin; }

/* ---- Reading: nodes ---- */

static qp_json_node make_node(const cJSON *item, const qp_json *document)
{
    const qp_json_node node = { item, document };
    return node;
}

qp_json_node qp_json_root(const qp_json *json) { return make_node(json->root, json); }

qp_json_kind qp_json_kind_of(qp_json_node node)
{
    const cJSON *const item = node.item;
    if (cJSON_IsNull(item)) return QP_JSON_NULL;
    if (cJSON_IsBool(item)) return QP_JSON_BOOL;
    if (cJSON_IsNumber(item)) return QP_JSON_NUMBER;
    if (cJSON_IsString(item)) return QP_JSON_STRING;
    if (cJSON_IsArray(item)) return QP_JSON_ARRAY;
    if (cJSON_IsObject(item)) return QP_JSON_OBJECT;
    return QP_JSON_ABSENT;
}

static const char *kind_text(qp_json_kind kind)
{
    switch (kind) {
    case QP_JSON_ABSENT: break;
    case QP_JSON_NULL: return "null";
    case QP_JSON_BOOL: return "true or false";
    case QP_JSON_NUMBER: return "a number";
    case QP_JSON_STRING: return "a string";
    case QP_JSON_ARRAY: return "an array";
    case QP_JSON_OBJECT: return "an object";
    }
    return "missing";
}

qp_json_node qp_json_find(qp_json_node object, const char *key)
{
    const cJSON *const item =
        qp_json_kind_of(object) == QP_JSON_OBJECT ? cJSON_GetObjectItemCaseSensitive(object.item, key) : NULL;
    return make_node(item, object.document);
}

qp_json_node qp_json_first(qp_json_node node)
{
    const qp_json_kind kind = qp_json_kind_of(node);
    const cJSON *const item = node.item;
    return make_node(kind == QP_JSON_ARRAY || kind == QP_JSON_OBJECT ? item->child : NULL, node.document);
}

qp_json_node qp_json_next(qp_json_node node)
{
    const cJSON *const item = node.item;
    return make_node(item != NULL ? item->next : NULL, node.document);
}

int64_t qp_json_count(qp_json_node node)
{
    int64_t count = 0;
    for (qp_json_node n = qp_json_first(node); n.item != NULL; n = qp_json_next(n)) count++;
    return count;
}

const char *qp_json_key(qp_json_node node)
{
    const cJSON *const item = node.item;
    return item != NULL ? item->string : NULL;
}

/* Appends the way from `from` down to `to` to the text; false if `to` is not below. */
static bool find_way(const cJSON *from, const cJSON *to, char *text, size_t size, size_t length)
{
    if (from == to) return true;
    int64_t index = 0;
    for (const cJSON *child = from->child; child != NULL; child = child->next, index++) {
        int added = 0;
        if (cJSON_IsArray(from))
            added = snprintf(text + length, size - length, "[%" PRId64 "]", index);
        else if (child->string != NULL)
            added = snprintf(text + length, size - length, "%s%s", length > 0 ? "." : "", child->string);
        const size_t room = size - length - 1;
        const size_t step = added < 0 ? 0 : (size_t)added < room ? (size_t)added : room;
        if (find_way(child, to, text, size, length + step)) return true;
        text[length] = '\0';
    }
    return false;
}

const char *qp_json_where(qp_json_node node, char *text, size_t size)
{
    if (size == 0) return "";
    text[0] = '\0';
    if (node.item == NULL || node.document == NULL) return text;
    (void)find_way(node.document->root, node.item, text, size, 0);
    /* Keys come from the file: a sentence has no line breaks. */
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    return text;
}

static const char *origin_of(qp_json_node node) { return node.document != NULL ? node.document->origin : "a document"; }

static qp_status fail_type(qp_json_node node, const char *wanted)
{
    char where[256];
    qp_json_where(node, where, sizeof where);
    return qp_fail(QP_FORMAT, "%s in %s is %s, but %s is needed", where[0] != '\0' ? where : "the value",
                   origin_of(node), kind_text(qp_json_kind_of(node)), wanted);
}

qp_status qp_json_as_int64(qp_json_node node, int64_t *value)
{
    static const char wanted[] = "a whole number";
    const qp_json_kind kind = qp_json_kind_of(node);
    const cJSON *const item = node.item;
    char where[256];
    if (kind == QP_JSON_STRING) {
        char *end;
        errno = 0;
        const long long read = strtoll(item->valuestring, &end, 10);
        char canonical[32];
        (void)snprintf(canonical, sizeof canonical, "%lld", read);
        const bool exact = errno == 0 && strcmp(canonical, item->valuestring) == 0;
        if (!exact || (read >= -MAX_EXACT && read <= MAX_EXACT)) return fail_type(node, wanted);
        *value = read;
        return QP_OK;
    }
    if (kind != QP_JSON_NUMBER) return fail_type(node, wanted);
    const double read = item->valuedouble;
    if (!(fabs(read) <= (double)MAX_EXACT) || floor(read) != read)
        return qp_fail(QP_FORMAT, "%s in %s is %.17g, but a whole number of at most 2^53 is needed",
                       qp_json_where(node, where, sizeof where), origin_of(node), read);
    *value = (int64_t)read;
    return QP_OK;
}

qp_status qp_json_as_double(qp_json_node node, double *value)
{
    const qp_json_kind kind = qp_json_kind_of(node);
    const cJSON *const item = node.item;
    char where[256];
    if (kind == QP_JSON_STRING) {
        if (strcmp(item->valuestring, "nan") == 0)
            *value = (double)NAN;
        else if (strcmp(item->valuestring, "inf") == 0)
            *value = (double)INFINITY;
        else if (strcmp(item->valuestring, "-inf") == 0)
            *value = -(double)INFINITY;
        else
            return fail_type(node, "a number");
        return QP_OK;
    }
    if (kind != QP_JSON_NUMBER) return fail_type(node, "a number");
    if (!isfinite(item->valuedouble))
        return qp_fail(QP_FORMAT, "%s in %s is too large for a double", qp_json_where(node, where, sizeof where),
                       origin_of(node));
    *value = item->valuedouble;
    return QP_OK;
}

qp_status qp_json_as_bool(qp_json_node node, bool *value)
{
    if (qp_json_kind_of(node) != QP_JSON_BOOL) return fail_type(node, "true or false");
    *value = cJSON_IsTrue((const cJSON *)node.item) != 0;
    return QP_OK;
}

qp_status qp_json_as_string(qp_json_node node, const char **value)
{
    if (qp_json_kind_of(node) != QP_JSON_STRING) return fail_type(node, "a string");
    *value = ((const cJSON *)node.item)->valuestring;
    return QP_OK;
}

/* ---- Reading: members ---- */

static qp_status require(qp_json_node object, const char *key, qp_json_node *member)
{
    char where[256];
    if (qp_json_kind_of(object) != QP_JSON_OBJECT) return fail_type(object, "an object");
    *member = qp_json_find(object, key);
    if (member->item != NULL) return QP_OK;
    qp_json_where(object, where, sizeof where);
    return qp_fail(QP_FORMAT, "%s%s%s is missing from %s", where, where[0] != '\0' ? "." : "", key, origin_of(object));
}

/* Whether an optional member is there; null counts as missing. */
static qp_status look_for(qp_json_node object, const char *key, qp_json_node *member, bool *found)
{
    if (qp_json_kind_of(object) != QP_JSON_OBJECT) return fail_type(object, "an object");
    *member = qp_json_find(object, key);
    const qp_json_kind kind = qp_json_kind_of(*member);
    *found = kind != QP_JSON_ABSENT && kind != QP_JSON_NULL;
    return QP_OK;
}

qp_status qp_json_get_int64(qp_json_node object, const char *key, int64_t *value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    return qp_json_as_int64(member, value);
}

qp_status qp_json_get_double(qp_json_node object, const char *key, double *value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    return qp_json_as_double(member, value);
}

qp_status qp_json_get_bool(qp_json_node object, const char *key, bool *value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    return qp_json_as_bool(member, value);
}

qp_status qp_json_get_string(qp_json_node object, const char *key, const char **value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    return qp_json_as_string(member, value);
}

qp_status qp_json_copy_string(qp_json_node object, const char *key, char *text, size_t size)
{
    const char *value = NULL;
    QP_TRY(qp_json_get_string(object, key, &value));
    (void)snprintf(text, size, "%s", value);
    return QP_OK;
}

qp_status qp_json_get_object(qp_json_node object, const char *key, qp_json_node *value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    if (qp_json_kind_of(member) != QP_JSON_OBJECT) return fail_type(member, "an object");
    *value = member;
    return QP_OK;
}

qp_status qp_json_get_array(qp_json_node object, const char *key, qp_json_node *value)
{
    qp_json_node member = object;
    QP_TRY(require(object, key, &member));
    if (qp_json_kind_of(member) != QP_JSON_ARRAY) return fail_type(member, "an array");
    *value = member;
    return QP_OK;
}

qp_status qp_json_get_int64_or(qp_json_node object, const char *key, int64_t otherwise, int64_t *value)
{
    qp_json_node member = object;
    bool found = false;
    QP_TRY(look_for(object, key, &member, &found));
    if (found) return qp_json_as_int64(member, value);
    *value = otherwise;
    return QP_OK;
}

qp_status qp_json_get_double_or(qp_json_node object, const char *key, double otherwise, double *value)
{
    qp_json_node member = object;
    bool found = false;
    QP_TRY(look_for(object, key, &member, &found));
    if (found) return qp_json_as_double(member, value);
    *value = otherwise;
    return QP_OK;
}

qp_status qp_json_get_bool_or(qp_json_node object, const char *key, bool otherwise, bool *value)
{
    qp_json_node member = object;
    bool found = false;
    QP_TRY(look_for(object, key, &member, &found));
    if (found) return qp_json_as_bool(member, value);
    *value = otherwise;
    return QP_OK;
}

qp_status qp_json_get_string_or(qp_json_node object, const char *key, const char *otherwise, const char **value)
{
    qp_json_node member = object;
    bool found = false;
    QP_TRY(look_for(object, key, &member, &found));
    if (found) return qp_json_as_string(member, value);
    *value = otherwise;
    return QP_OK;
}

/* ---- Writing ---- */

enum { MAX_OPEN = 64 };

struct qp_json_writer {
    cJSON *root;           /* owned, with everything below it */
    cJSON *open[MAX_OPEN]; /* borrowed from root, the innermost last */
    int open_count;
    qp_status status;      /* the first failure */
    const char *complaint; /* what was wrong */
};

static void keep_failure(qp_json_writer *writer, qp_status status, const char *complaint)
{
    if (writer->status != QP_OK) return;
    writer->status = status;
    writer->complaint = complaint;
}

/* A copy in which U+FFFD stands for what is no UTF-8. Malloc'ed; NULL without memory. */
static char *repaired(const char *value)
{
    const size_t bytes = strlen(value);
    char *const copy =
        bytes < SIZE_MAX / QP_UTF8_REPLACEMENT_BYTES - 1 ? malloc(bytes * QP_UTF8_REPLACEMENT_BYTES + 1) : NULL;
    if (copy == NULL) return NULL;
    char *to = copy;
    for (size_t at = 0, length = 0; at < bytes; at += length) {
        const bool good = qp_utf8_next(value + at, bytes - at, &length) >= 0;
        const size_t step = good ? length : (size_t)QP_UTF8_REPLACEMENT_BYTES;
        memcpy(to, good ? value + at : QP_UTF8_REPLACEMENT, step);
        to += step;
    }
    *to = '\0';
    return copy;
}

/* Into an array, or an object under a key that may be no UTF-8. */
static bool add_item(cJSON *parent, const char *key, cJSON *item)
{
    size_t bad;
    if (cJSON_IsArray(parent)) return cJSON_AddItemToArray(parent, item);
    if (qp_utf8_valid(key, strlen(key), &bad)) return cJSON_AddItemToObject(parent, key, item);
    char *const copy = repaired(key);
    const bool added = copy != NULL && cJSON_AddItemToObject(parent, copy, item);
    free(copy);
    return added;
}

/* Takes the item, NULL if it could not be made, and puts it where the next value belongs. */
static void append(qp_json_writer *writer, const char *key, cJSON *item)
{
    const char *complaint = NULL;
    cJSON *const parent = writer != NULL && writer->open_count > 0 ? writer->open[writer->open_count - 1] : NULL;
    if (writer == NULL || writer->status != QP_OK) goto refuse;
    if (item == NULL) {
        keep_failure(writer, QP_NO_MEMORY, "not enough memory to write JSON");
        return;
    }
    if (parent == NULL && writer->root != NULL) complaint = "a second value was written outside the JSON document";
    if (parent == NULL && key != NULL) complaint = "the outermost JSON value was written with a key";
    if (cJSON_IsObject(parent) && key == NULL) complaint = "a value was written into a JSON object without a key";
    if (cJSON_IsArray(parent) && key != NULL) complaint = "a value was written into a JSON array with a key";
    if (complaint != NULL) {
        keep_failure(writer, QP_INVALID, complaint);
        goto refuse;
    }
    if (parent == NULL) {
        writer->root = item;
        return;
    }
    if (add_item(parent, key, item)) return;
    keep_failure(writer, QP_NO_MEMORY, "not enough memory to write JSON");
refuse:
    cJSON_Delete(item);
}

qp_json_writer *qp_json_writer_open(void) { return calloc(1, sizeof(qp_json_writer)); }

void qp_json_writer_close(qp_json_writer *writer)
{
    if (writer == NULL) return;
    cJSON_Delete(writer->root);
    free(writer);
}

static void open_container(qp_json_writer *writer, const char *key, cJSON *item)
{
    append(writer, key, item);
    if (writer == NULL || writer->status != QP_OK) return;
    if (writer->open_count == MAX_OPEN)
        keep_failure(writer, QP_INVALID, "JSON was nested too deeply");
    else
        writer->open[writer->open_count++] = item;
}

void qp_json_open_object(qp_json_writer *writer, const char *key) { open_container(writer, key, cJSON_CreateObject()); }

void qp_json_open_array(qp_json_writer *writer, const char *key) { open_container(writer, key, cJSON_CreateArray()); }

void qp_json_close(qp_json_writer *writer)
{
    if (writer == NULL || writer->status != QP_OK) return;
    if (writer->open_count == 0)
        keep_failure(writer, QP_INVALID, "a JSON object or array was closed that was not open");
    else
        writer->open_count--;
}

void qp_json_put_null(qp_json_writer *writer, const char *key) { append(writer, key, cJSON_CreateNull()); }

void qp_json_put_bool(qp_json_writer *writer, const char *key, bool value)
{
    append(writer, key, cJSON_CreateBool(value));
}

/* Numbers go in as text: cJSON itself prints too few digits of some doubles and of integers over 2^31. */
void qp_json_put_int64(qp_json_writer *writer, const char *key, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    append(writer, key, value >= -MAX_EXACT && value <= MAX_EXACT ? cJSON_CreateRaw(text) : cJSON_CreateString(text));
}

void qp_json_put_uint64(qp_json_writer *writer, const char *key, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    append(writer, key, value <= (uint64_t)MAX_EXACT ? cJSON_CreateRaw(text) : cJSON_CreateString(text));
}

void qp_json_put_double(qp_json_writer *writer, const char *key, double value)
{
    char text[40];
    if (!isfinite(value)) {
        append(writer, key, cJSON_CreateString(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"));
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        const double again = strtod(text, NULL);
        if (memcmp(&again, &value, sizeof value) == 0) break;
    }
    append(writer, key, cJSON_CreateRaw(text));
}

void qp_json_put_string(qp_json_writer *writer, const char *key, const char *value)
{
    size_t bad;
    if (value == NULL) {
        qp_json_put_null(writer, key);
    } else if (qp_utf8_valid(value, strlen(value), &bad)) {
        append(writer, key, cJSON_CreateString(value));
    } else {
        char *const copy = repaired(value);
        append(writer, key, copy != NULL ? cJSON_CreateString(copy) : NULL);
        free(copy);
    }
}

qp_status qp_json_writer_status(const qp_json_writer *writer)
{
    if (writer == NULL) return qp_fail(QP_NO_MEMORY, "not enough memory to write JSON");
    if (writer->status != QP_OK) return qp_fail(writer->status, "%s", writer->complaint);
    if (writer->open_count > 0 || writer->root == NULL)
        return qp_fail(QP_INVALID, "the JSON document is not complete: %d objects or arrays are still open",
                       writer->open_count);
    return QP_OK;
}

qp_status qp_json_write_text(const qp_json_writer *writer, char **text)
{
    *text = NULL;
    QP_TRY(qp_json_writer_status(writer));
    char *const printed = cJSON_Print(writer->root);
    const size_t length = printed != NULL ? strlen(printed) : 0;
    /* A copy, because only cJSON may free its own text. */
    char *const copy = printed != NULL ? malloc(length + 2) : NULL;
    if (copy != NULL) {
        memcpy(copy, printed, length);
        memcpy(copy + length, "\n", 2);
    }
    cJSON_free(printed);
    if (copy == NULL) return qp_fail(QP_NO_MEMORY, "not enough memory to print JSON");
    *text = copy;
    return QP_OK;
}

static qp_status write_text(const char *text, FILE *file, const char *path)
{
    const bool written = fputs(text, file) >= 0 && fflush(file) == 0;
    return written ? QP_OK : qp_fail(QP_IO, "%s cannot be written: %s", path, strerror(errno));
}

qp_status qp_json_write_file(const qp_json_writer *writer, FILE *file, const char *path)
{
    char *text;
    QP_TRY(qp_json_write_text(writer, &text));
    const qp_status status = write_text(text, file, path);
    free(text);
    return status;
}

qp_status qp_json_write_line(const qp_json_writer *writer, FILE *file, const char *path)
{
    QP_TRY(qp_json_writer_status(writer));
    char *const printed = cJSON_PrintUnformatted(writer->root);
    if (printed == NULL) return qp_fail(QP_NO_MEMORY, "not enough memory to print JSON");
    qp_status status = write_text(printed, file, path);
    cJSON_free(printed);
    return status == QP_OK ? write_text("\n", file, path) : status;
}
