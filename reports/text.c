#include "text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../model/utf8.h"

/* The next character of *text as it may be shown, and moves on. `shown` holds it as UTF-8. */
static void take_character(const char **text, char shown[5])
{
    size_t length = 0;
    const int32_t point = qp_utf8_next(*text, strnlen(*text, 4), &length);
    const int direction = (point >= 0x202A && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069) ||
                          point == 0x200E || point == 0x200F || point == 0x061C;
    const int unseen = direction || (point >= 0x80 && point < 0xA0) || (point & 0xFFFE) == 0xFFFE;
    memset(shown, 0, 5);
    if (point < 0 || unseen)
        memcpy(shown, QP_UTF8_REPLACEMENT, QP_UTF8_REPLACEMENT_BYTES);
    else if (point < 0x20 || point == 0x7F) /* U+2400 + point; U+2421 for DEL */
        memcpy(shown, (const char[]){ '\xE2', '\x90', (char)(0x80 + (point == 0x7F ? 0x21 : point)) }, 3);
    else
        memcpy(shown, *text, length);
    *text += length;
}

int qp_text_put_plain(const char *text, FILE *stream)
{
    char shown[5];
    int characters = 0;
    for (; *text; characters++) {
        const bool control = (unsigned char)*text < 0x20 || *text == 0x7F;
        take_character(&text, shown);
        (void)fputs(control || !strcmp(shown, QP_UTF8_REPLACEMENT) ? "?" : shown, stream);
    }
    return characters;
}

void qp_text_put_markup(const char *text, FILE *stream)
{
    char shown[5];
    while (*text) {
        take_character(&text, shown);
        switch (shown[0]) {
        case '&': (void)fputs("&amp;", stream); break;
        case '<': (void)fputs("&lt;", stream); break;
        case '>': (void)fputs("&gt;", stream); break;
        case '"': (void)fputs("&quot;", stream); break;
        case '\'': (void)fputs("&#39;", stream); break;
        default: (void)fputs(shown, stream);
        }
    }
}

enum { MOST_MARKDOWN = 200 }; /* characters of one text */

static bool is_word(char c) { return isalnum((unsigned char)c) != 0; }

/* `within`: between two letters or digits, where '_' and '-' are no markup, so that keys can be searched for. */
static void put_markdown_character(const char shown[5], bool within, FILE *stream)
{
    switch (shown[0]) {
    case '&': (void)fputs("&amp;", stream); break;
    case '<': (void)fputs("&lt;", stream); break;
    case '>': (void)fputs("&gt;", stream); break;
    /* Would notify somebody, or refer to an issue: that is looked for when references are resolved, but not across
     * elements. */
    case '@': (void)fputs("&#64;<b></b>", stream); break;
    case '#': (void)fputs("&#35;<b></b>", stream); break;
    case '|': (void)fputs("&#124;", stream); break; /* also inside a table */
    case ':': (void)fputs("&#58;", stream); break;  /* would make a link of an address */
    default:
        if (strchr("\\`*_{}[]()+-!~$", shown[0]) && !(within && strchr("_-", shown[0]))) (void)fputc('\\', stream);
        (void)fputs(shown, stream);
    }
}

void qp_text_put_markdown(const char *text, FILE *stream)
{
    char shown[5];
    bool after_word = false;
    for (int i = 0; *text; i++) {
        if (i == MOST_MARKDOWN) {
            (void)fputs("...", stream);
            return;
        }
        if (*text == '\n' || *text == '\r' || *text == '\t') {
            (void)fputc(' ', stream);
            after_word = false;
            text++;
            continue;
        }
        take_character(&text, shown);
        put_markdown_character(shown, after_word && is_word(*text), stream);
        after_word = is_word(shown[0]);
    }
}

void qp_text_put_markdown_code(const char *text, FILE *stream)
{
    (void)fputs("<code>", stream);
    qp_text_put_markdown(text, stream);
    (void)fputs("</code>", stream);
}

void qp_text_put_script_string(const char *text, FILE *stream)
{
    char shown[5];
    (void)fputc('"', stream);
    while (*text) {
        take_character(&text, shown);
        switch (shown[0]) {
        case '&':
        case '<':
        case '>': (void)fprintf(stream, "\\u%04x", (unsigned)shown[0]); break;
        case '"':
        case '\\': (void)fprintf(stream, "\\%c", shown[0]); break;
        default: (void)fputs(shown, stream);
        }
    }
    (void)fputc('"', stream);
}
