/* Qwen3's chat format for turns of text.
 *
 * The template that Qwen3 ships is a program in Jinja; this is what it does for messages without tools, written out:
 *   - each turn is "<|im_start|>ROLE\nCONTENT<|im_end|>\n"; there is no system turn unless one is given;
 *   - an answer's thoughts, all up to its last "</think>", are dropped if a question follows it;
 *   - an answer after the last question is "<think>\nTHOUGHTS\n</think>\n\nANSWER" if it is the last message or has
 *     thoughts, and plain otherwise;
 *   - then, if an answer is wanted, "<|im_start|>assistant\n", and with thinking off "<think>\n\n</think>\n\n".
 * Content is taken as it is: a special token written in it will be one. */
#ifndef QP_CHAT_H
#define QP_CHAT_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_chat_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* without a zero byte inside */
} qp_chat_message;

/* The prompt for `count` messages. `answer` asks for the beginning of the assistant's next turn; `thinking` false then
 * gives it empty thoughts. The caller frees *text. QP_USAGE: no message, an unknown role, a message without content.
 * On failure *text is NULL. */
QP_MUST_USE qp_status qp_chat_format(const qp_chat_message *messages, int64_t count, bool answer, bool thinking,
                                     char **text);

#ifdef __cplusplus
}
#endif
#endif
