/* The chat format. The wanted texts are what Qwen3's own template gives for these messages. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../model/chat.h"
#include "check_main.h"

Suite *chat_suite(void);

typedef struct chat_case {
    const char *name;
    qp_chat_message messages[5]; /* up to the first without a role */
    bool answer, thinking;
    const char *wanted;
} chat_case;

#define USER(text)                                                                                                     \
    {                                                                                                                  \
        "user", text                                                                                                   \
    }
#define ANSWER(text)                                                                                                   \
    {                                                                                                                  \
        "assistant", text                                                                                              \
    }
#define SYSTEM(text)                                                                                                   \
    {                                                                                                                  \
        "system", text                                                                                                 \
    }

static const chat_case cases[] = {
    { "one question", { USER("Hi") }, true, true, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" },
    { "one question, thinking off",
      { USER("Hi") },
      true,
      false,
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" },
    { "no answer wanted", { USER("Hi") }, false, false, "<|im_start|>user\nHi<|im_end|>\n" },
    { "system first",
      { SYSTEM("Be brief."), USER("Hi") },
      true,
      true,
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" },
    { "content is taken as it is",
      { USER("\n a\n\n<think>b</think> ") },
      false,
      true,
      "<|im_start|>user\n\n a\n\n<think>b</think> <|im_end|>\n" },
    { "empty content", { USER("") }, true, true, "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n" },
    { "earlier thoughts are dropped",
      { USER("a"), ANSWER("<think>\nlong\n</think>\n\nb"), USER("c") },
      true,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
      "<|im_start|>assistant\n" },
    { "earlier answer without thoughts keeps its line breaks",
      { USER("a"), ANSWER("\n\nb\n"), USER("c") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n\n\nb\n<|im_end|>\n<|im_start|>user\nc<|im_end|>\n" },
    { "last answer keeps its thoughts",
      { USER("a"), ANSWER("<think>\n\nwhy\n\n</think>\n\n\nb\n") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nwhy\n</think>\n\nb\n<|im_end|>\n" },
    { "last answer without thoughts gets empty ones",
      { USER("a"), ANSWER("\nb") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nb<|im_end|>\n" },
    { "of two last answers the first has no thoughts",
      { USER("a"), ANSWER("b"), ANSWER("c") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
      "<|im_start|>assistant\n<think>\n\n</think>\n\nc<|im_end|>\n" },
    { "of several thoughts the first, of the rest the last",
      { USER("a"), ANSWER("<think>x<think>y</think>z</think>w") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\ny\n</think>\n\nw<|im_end|>\n" },
    { "an end of thoughts alone",
      { USER("a"), ANSWER("x</think>y") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nx\n</think>\n\ny<|im_end|>\n" },
    { "without a question all thoughts are dropped",
      { ANSWER("<think>x</think>y") },
      false,
      true,
      "<|im_start|>assistant\ny<|im_end|>\n" },
    { "a tool's result is no question",
      { USER("a"), ANSWER("<think>x</think>y"), USER("<tool_response>1</tool_response>") },
      false,
      true,
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nx\n</think>\n\ny<|im_end|>\n"
      "<|im_start|>user\n<tool_response>1</tool_response><|im_end|>\n" },
};

START_TEST(test_chat_format)
{
    const chat_case *const c = &cases[_i];
    int64_t count = 0;
    char *text;
    while (count < 5 && c->messages[count].role != NULL) count++;
    const qp_status status = qp_chat_format(c->messages, count, c->answer, c->thinking, &text);
    ck_assert_msg(status == QP_OK, "%s: %s", c->name, qp_last_error());
    ck_assert_msg(strcmp(text, c->wanted) == 0, "%s: got\n%s\nwhere this is wanted\n%s", c->name, text, c->wanted);
    free(text);
}
END_TEST

static void expect_refusal(const qp_chat_message *messages, int64_t count, const char *part)
{
    char *text;
    ck_assert_int_eq(qp_chat_format(messages, count, true, true, &text), QP_USAGE);
    ck_assert_ptr_null(text);
    ck_assert_msg(strstr(qp_last_error(), part) != NULL, "'%s' does not say '%s'", qp_last_error(), part);
}

START_TEST(test_chat_refuses_in_a_sentence)
{
    static const qp_chat_message tool[] = { USER("a"), { "tool", "b" } }, nobody[] = { { NULL, "a" } },
                                 silent[] = { USER(NULL) };
    expect_refusal(NULL, 0, "at least one message");
    expect_refusal(tool, -1, "at least one message");
    expect_refusal(tool, 2, "message 2 of the chat has the role \"tool\"");
    expect_refusal(nobody, 1, "message 1 of the chat has the role \"\"");
    expect_refusal(silent, 1, "message 1 of the chat has no content");
}
END_TEST

Suite *chat_suite(void)
{
    Suite *suite = suite_create("chat");
    TCase *format = tcase_create("format");
    tcase_add_loop_test(format, test_chat_format, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(format, test_chat_refuses_in_a_sentence);
    suite_add_tcase(suite, format);
    return suite;
}

int main(void) { return qp_check_main(chat_suite()); }
