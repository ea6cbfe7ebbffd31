#include "split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATTERN = 10000 };

struct qp_split_pattern {
    char *origin;     /* owned */
    pcre2_code *code; /* owned */
};

struct qp_split_search {
    const qp_split_pattern *pattern; /* borrowed */
    pcre2_match_data *match;         /* owned */
    pcre2_match_context *context;    /* owned */
};

static qp_status no_memory(const char *origin)
{
    return qp_fail(QP_NO_MEMORY, "not enough memory for the split pattern of %s", origin);
}

/* ---- Translation ---- */

/* White_Space of the Unicode standard, as Oniguruma's \s has it. PCRE2's own \s adds U+180E. */
#define WHITE_SPACE                                                                                                    \
    "\\x{09}-\\x{0D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}"                               \
    "\\x{202F}\\x{205F}\\x{3000}"

typedef struct translation {
    const char *at; /* what is still to be read */
    char *out;      /* owned; room for every translation */
    size_t length;
    bool in_class;
} translation;

static void emit(translation *t, const char *text, size_t length)
{
    memcpy(t->out + t->length, text, length);
    t->length += length;
    t->out[t->length] = '\0';
}

/* Copies `length` characters of the pattern. */
static void copy(translation *t, size_t length)
{
    emit(t, t->at, length);
    t->at += length;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* A backslash: the escapes that mean the same in both. Returns what is not supported, or NULL. */
static const char *translate_escape(translation *t)
{
    const char c = t->at[1];
    if (c == 's' || c == 'S') {
        if (c == 'S' && t->in_class) return "\\S in brackets";
        if (!t->in_class) emit(t, c == 's' ? "[" : "[^", c == 's' ? 1 : 2);
        emit(t, WHITE_SPACE, sizeof WHITE_SPACE - 1);
        if (!t->in_class) emit(t, "]", 1);
        t->at += 2;
        return NULL;
    }
    if (c == 'p' || c == 'P') {
        /* General categories only: \p{L}, \p{Nd}. Scripts and other properties have several names. */
        const char *const name = t->at + 3;
        const size_t length = t->at[2] == '{' ? strspn(name, "LMNPSZCudtlmocenkfsip") : 0;
        if (length < 1 || length > 2 || name[length] != '}') return "a \\p other than of a general category";
        copy(t, length + 4);
        return NULL;
    }
    if (c == 'r' || c == 'n' || c == 't' || (c > 0x20 && c < 0x7F && !is_letter(c) && !is_digit(c))) {
        copy(t, 2);
        return NULL;
    }
    return "an escape other than \\s, \\S, \\p, \\r, \\n, \\t and of punctuation";
}

static const char *translate_group(translation *t)
{
    static const char *const known[] = { "(?:", "(?i:", "(?!", "(?=" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const size_t length = strlen(known[i]);
        if (strncmp(t->at, known[i], length) != 0) continue;
        copy(t, length);
        return NULL;
    }
    if (t->at[1] == '?' || t->at[1] == '*') return "a group other than (?: (?i: (?! and (?=";
    copy(t, 1);
    return NULL;
}

/* {n}, {n,} or {n,m}. */
static const char *translate_count(translation *t)
{
    const char *end = t->at + 1;
    while (is_digit(*end)) end++;
    if (end == t->at + 1) return "a { that begins no count";
    if (*end == ',') end++;
    while (is_digit(*end)) end++;
    /* {n}+ is possessive in PCRE2 and a repeated repetition in Oniguruma, {n}? likewise differs. */
    if (*end != '}' || end[1] == '+' || end[1] == '?') return "a count other than {n}, {n,} and {n,m}";
    copy(t, (size_t)(end + 1 - t->at));
    return NULL;
}

static const char *translate_class_start(translation *t)
{
    copy(t, t->at[1] == '^' ? 2 : 1);
    t->in_class = true;
    return *t->at == ']' ? "a ] at the beginning of brackets" : NULL;
}

/* Writes the pattern so that PCRE2 understands by it what Oniguruma (Ruby syntax, no options) does, for the part of the
 * language in which this is known. Returns what is not supported, or NULL. */
static const char *translate(translation *t)
{
    while (*t->at != '\0') {
        const char *trouble = NULL;
        const char c = *t->at;
        if (c == '\\') {
            trouble = translate_escape(t);
        } else if (t->in_class) {
            if (c == '[' || (c == '&' && t->at[1] == '&')) return "brackets in brackets";
            if (c == ']') t->in_class = false;
            copy(t, 1);
        } else if (c == '(') {
            trouble = translate_group(t);
        } else if (c == '{') {
            trouble = translate_count(t);
        } else if (c == '[') {
            trouble = translate_class_start(t);
        } else if (c == '.' || c == '^' || c == '$') {
            return "one of . ^ $ outside brackets";
        } else {
            copy(t, 1);
        }
        if (trouble != NULL) return trouble;
    }
    return NULL;
}

/* ---- The pattern ---- */

static qp_status compile(const char *regex, const char *origin, pcre2_code **code)
{
    qp_status status = QP_OK;
    translation t = { .at = regex };
    int error;
    PCRE2_SIZE at;
    if (strlen(regex) > MAX_PATTERN)
        return qp_fail(QP_UNSUPPORTED, "the split pattern of %s is longer than %d bytes", origin, MAX_PATTERN);
    t.out = malloc(strlen(regex) * (sizeof WHITE_SPACE + 4) + 1);
    if (t.out == NULL) return no_memory(origin);
    t.out[0] = '\0';
    const char *const trouble = translate(&t);
    if (trouble != NULL) {
        status = qp_fail(QP_UNSUPPORTED, "the split pattern of %s uses %s, which is not supported", origin, trouble);
        goto done;
    }
    *code = pcre2_compile((PCRE2_SPTR)t.out, t.length, PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);
    if (*code == NULL) {
        char reason[128];
        (void)pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        status = qp_fail(QP_FORMAT, "the split pattern of %s is not valid: %s", origin, reason);
        goto done;
    }
    /* Without a just-in-time compiler for this machine, or memory for its code, the interpreter does the same. */
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);

done:
    free(t.out);
    return status;
}

qp_status qp_split_pattern_open(const char *regex, const char *origin, qp_split_pattern **pattern)
{
    *pattern = NULL;
    qp_split_pattern *const made = calloc(1, sizeof *made);
    if (made == NULL || (made->origin = strdup(origin)) == NULL) {
        qp_split_pattern_close(made);
        return no_memory(origin);
    }
    const qp_status status = compile(regex, origin, &made->code);
    if (status == QP_OK)
        *pattern = made;
    else
        qp_split_pattern_close(made);
    return status;
}

void qp_split_pattern_close(qp_split_pattern *pattern)
{
    if (pattern == NULL) return;
    pcre2_code_free(pattern->code);
    free(pattern->origin);
    free(pattern);
}

/* ---- The search ---- */

qp_status qp_split_search_open(const qp_split_pattern *pattern, size_t bytes, qp_split_search **search)
{
    *search = NULL;
    qp_split_search *const made = calloc(1, sizeof *made);
    if (made == NULL) return no_memory(pattern->origin);
    made->pattern = pattern;
    made->match = pcre2_match_data_create(1, NULL);
    made->context = pcre2_match_context_create(NULL);
    if (made->match == NULL || made->context == NULL) {
        qp_split_search_close(made);
        return no_memory(pattern->origin);
    }
    /* A long run of spaces costs PCRE2 a few steps each; only a pattern that costs more in proportion is stopped. */
    const uint64_t limit = 10000000 + (uint64_t)bytes * 12;
    (void)pcre2_set_match_limit(made->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    *search = made;
    return QP_OK;
}

void qp_split_search_close(qp_split_search *search)
{
    if (search == NULL) return;
    pcre2_match_context_free(search->context);
    pcre2_match_data_free(search->match);
    free(search);
}

qp_status qp_split_next(qp_split_search *search, const char *text, size_t bytes, size_t at, size_t *begin, size_t *end)
{
    const pcre2_code *const code = search->pattern->code;
    const char *const origin = search->pattern->origin;
    int found = pcre2_match(code, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK, search->match, search->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter takes its memory from the heap */
        found = pcre2_match(code, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, search->match,
                            search->context);
    *begin = *end = bytes;
    if (found == PCRE2_ERROR_NOMATCH) return QP_OK;
    if (found < 0) {
        char reason[128];
        (void)pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
        return qp_fail(QP_UNSUPPORTED, "the split pattern of %s fails at byte %zu of the text: %s", origin, at, reason);
    }
    const PCRE2_SIZE *const place = pcre2_get_ovector_pointer(search->match);
    if (place[0] < at || place[1] <= place[0] || place[1] > bytes)
        return qp_fail(QP_UNSUPPORTED, "the split pattern of %s matches no character at byte %zu of the text", origin,
                       at);
    *begin = place[0];
    *end = place[1];
    return QP_OK;
}
