#include "nfc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "utf8.h"

/* The longest canonical decomposition of one character has four. */
enum { MAX_PARTS = 4, SHORT_RUN = 32 };

static int combining_class(int32_t point) { return (int)utf8proc_get_property(point)->combining_class; }

static void sort_short(int32_t *run, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const int32_t moved = run[i];
        size_t at = i;
        for (; at > 0 && combining_class(run[at - 1]) > combining_class(moved); at--) run[at] = run[at - 1];
        run[at] = moved;
    }
}

/* By counting: there are 256 classes. `spare` has room for the run. */
static void sort_long(int32_t *run, size_t count, int32_t *spare)
{
    size_t place[257] = { 0 };
    for (size_t i = 0; i < count; i++) place[combining_class(run[i]) + 1]++;
    for (int c = 0; c < 256; c++) place[c + 1] += place[c];
    for (size_t i = 0; i < count; i++) spare[place[combining_class(run[i])]++] = run[i];
    memcpy(run, spare, count * sizeof *run);
}

/* Canonical order: within a run of combining characters, by class and otherwise as they stood. utf8proc sorts by
 * exchanging neighbours, which takes quadratic time on long runs. False without memory. */
static bool sort_runs(int32_t *points, size_t count)
{
    int32_t *spare = NULL;
    for (size_t begin = 0, end; begin < count; begin = end + 1) {
        bool sorted = true;
        for (end = begin; end < count && combining_class(points[end]) != 0; end++)
            sorted = sorted && (end == begin || combining_class(points[end - 1]) <= combining_class(points[end]));
        if (sorted) continue;
        if (end - begin <= SHORT_RUN) {
            sort_short(points + begin, end - begin);
            continue;
        }
        if (spare == NULL && (spare = malloc(count * sizeof *spare)) == NULL) return false;
        sort_long(points + begin, end - begin, spare);
    }
    free(spare);
    return true;
}

/* The characters of the text, decomposed but not yet in order. Malloc'ed; NULL without memory. */
static int32_t *decompose(const char *text, size_t bytes, size_t *count)
{
    size_t room = bytes + MAX_PARTS + 1, used = 0;
    int32_t *points = malloc(room * sizeof *points);
    for (size_t at = 0, length = 0; points != NULL && at < bytes; at += length) {
        if (room - used < MAX_PARTS + 1) {
            room *= 2;
            int32_t *const grown = realloc(points, room * sizeof *grown);
            if (grown == NULL) free(points);
            points = grown;
            if (points == NULL) break;
        }
        const int32_t point = qp_utf8_next(text + at, bytes - at, &length);
        const utf8proc_ssize_t parts =
            utf8proc_decompose_char(point, points + used, MAX_PARTS, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
        if (parts >= 1 && parts <= MAX_PARTS) {
            used += (size_t)parts;
        } else { /* does not happen with what Unicode defines */
            points[used++] = point >= 0 ? point : 0xFFFD;
        }
    }
    *count = used;
    return points;
}

qp_status qp_nfc(const char *text, size_t bytes, char **normal, size_t *normal_bytes)
{
    size_t count = 0;
    bool plain = true; /* below U+0300, whose first byte is 0xCC, each character is its own normal form */
    *normal = NULL;
    *normal_bytes = bytes;
    for (size_t i = 0; i < bytes && plain; i++) plain = (unsigned char)text[i] < 0xCC;
    if (plain) return QP_OK;

    int32_t *const points = decompose(text, bytes, &count);
    if (points == NULL || !sort_runs(points, count)) goto no_memory;
    const utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    char *const made = composed >= 0 ? malloc((size_t)composed * 4 + 1) : NULL;
    if (made == NULL) goto no_memory;
    size_t length = 0;
    for (utf8proc_ssize_t i = 0; i < composed; i++)
        length += (size_t)utf8proc_encode_char(points[i], (utf8proc_uint8_t *)made + length);
    free(points);
    *normal = made;
    *normal_bytes = length;
    return QP_OK;

no_memory:
    free(points);
    return qp_fail(QP_NO_MEMORY, "not enough memory to normalize a text of %zu bytes", bytes);
}
