#include "chat.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define THINK "<think>"
#define THINK_END "</think>"

/* A part of a message, not zero-terminated. */
typedef struct span {
    const char *data;
    size_t length;
} span;

static span span_of(const char *text) { return (span){ text, strlen(text) }; }

static span skip_line_breaks(span s)
{
    while (s.length > 0 && *s.data == '\n') s = (span){ s.data + 1, s.length - 1 };
    return s;
}

static span cut_line_breaks(span s)
{
    while (s.length > 0 && s.data[s.length - 1] == '\n') s.length--;
    return s;
}

/* What follows the last `mark` in s, or all of it. */
static span after_last(span s, const char *mark)
{
    const size_t length = strlen(mark);
    for (size_t at = s.length + 1; at-- > 0;)
        if (s.length - at >= length && memcmp(s.data + at, mark, length) == 0)
            return (span){ s.data + at + length, s.length - at - length };
    return s;
}

/* The text while it grows. Without data it only counts, so that one walk measures and a second one writes. */
typedef struct sink {
    char *data;
    size_t length;
} sink;

static void put(sink *to, span s)
{
    if (to->data != NULL) memcpy(to->data + to->length, s.data, s.length);
    to->length += s.length;
}

static void put_text(sink *to, const char *text) { put(to, span_of(text)); }

static void put_answer(sink *to, const char *content, bool after_last_question, bool last)
{
    span thoughts = { "", 0 }, answer = span_of(content);
    const char *const end = strstr(content, THINK_END);
    if (end != NULL) {
        thoughts = cut_line_breaks((span){ content, (size_t)(end - content) });
        thoughts = skip_line_breaks(after_last(thoughts, THINK));
        answer = skip_line_breaks(after_last(answer, THINK_END));
    }
    if (after_last_question && (last || thoughts.length > 0)) {
        put_text(to, THINK "\n");
        put(to, cut_line_breaks(thoughts));
        put_text(to, "\n" THINK_END "\n\n");
        answer = skip_line_breaks(answer);
    }
    put(to, answer);
}

/* A question, and not the result of a tool that some clients send in its place. */
static bool is_question(const qp_chat_message *message)
{
    static const char begin[] = "<tool_response>", end[] = "</tool_response>";
    const span content = span_of(message->content);
    const bool begins = strncmp(content.data, begin, sizeof begin - 1) == 0;
    const bool ends =
        content.length >= sizeof end - 1 && strcmp(content.data + content.length - (sizeof end - 1), end) == 0;
    return strcmp(message->role, "user") == 0 && !(begins && ends);
}

static void write_all(sink *to, const qp_chat_message *messages, int64_t count, bool answer, bool thinking)
{
    int64_t question = count - 1;
    while (question >= 0 && !is_question(&messages[question])) question--;
    if (question < 0) question = count - 1; /* as the template does: without a question all thoughts are dropped */

    for (int64_t i = 0; i < count; i++) {
        put_text(to, "<|im_start|>");
        put_text(to, messages[i].role);
        put_text(to, "\n");
        if (strcmp(messages[i].role, "assistant") == 0)
            put_answer(to, messages[i].content, i > question, i == count - 1);
        else
            put_text(to, messages[i].content);
        put_text(to, "<|im_end|>\n");
    }
    if (answer) put_text(to, "<|im_start|>assistant\n");
    if (answer && !thinking) put_text(to, THINK "\n\n" THINK_END "\n\n");
}

qp_status qp_chat_format(const qp_chat_message *messages, int64_t count, bool answer, bool thinking, char **text)
{
    static const char *const roles[] = { "system", "user", "assistant" };
    *text = NULL;
    if (count < 1) return qp_fail(QP_USAGE, "a chat needs at least one message");
    for (int64_t i = 0; i < count; i++) {
        const char *const role = messages[i].role;
        bool known = false;
        for (size_t r = 0; r < sizeof roles / sizeof roles[0]; r++)
            known = known || (role != NULL && strcmp(role, roles[r]) == 0);
        if (!known)
            return qp_fail(QP_USAGE,
                           "message %" PRId64 " of the chat has the role \"%.32s\", but only system, user and"
                           " assistant are supported",
                           i + 1, role != NULL ? role : "");
        if (messages[i].content == NULL)
            return qp_fail(QP_USAGE, "message %" PRId64 " of the chat has no content", i + 1);
    }

    sink to = { NULL, 0 };
    write_all(&to, messages, count, answer, thinking);
    const size_t length = to.length;
    to = (sink){ malloc(length + 1), 0 };
    if (to.data == NULL) return qp_fail(QP_NO_MEMORY, "not enough memory for a chat of %zu bytes", length);
    write_all(&to, messages, count, answer, thinking);
    to.data[length] = '\0';
    *text = to.data;
    return QP_OK;
}
