/* Generating text: a prompt's pass, then one pass a token with the KV cache. Greedy generation without a look at the logits
 * replays a recorded step where the plan allows it (recorded_step.h), with the same tokens. On a card, what cuBLAS chooses
 * there is found out first for kernels of our own (choice_search.h), so that they have PyTorch's bits. */
#ifndef QP_GENERATE_H
#define QP_GENERATE_H

#include <stdbool.h>

#include "execute.h"
#include "sampling.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qp_stop { QP_STOP_LENGTH, QP_STOP_END_TOKEN, QP_STOP_CALLER } qp_stop;

typedef struct qp_generate_options {
    int64_t max_tokens; /* new tokens, at least 1; fewer if the model's positions end before */
    qp_sampling sampling;
    qp_fusions
        fusions; /* of the plan; without lm_head_argmax where logits are wanted, to sample from or for on_logits */
    bool keep_special; /* give the text of special tokens, too */
    bool ignore_end;   /* go on behind an end token */
    /* Called with the logits of each step (vocab_size of them) before its token is chosen; step 0 follows the prompt.
     * May be NULL. */
    void (*on_logits)(void *context, int64_t step, const qp_bf16 *logits);
    /* Called with the characters that are complete after each token, often with none, and its id. Returning false ends
     * the generation. A last call with id -1 gives U+FFFD for a character that was cut off. May be NULL. */
    bool (*on_token)(void *context, int64_t id, const char *text, int64_t bytes);
    qp_progress on_progress; /* of the prompt's pass; may be NULL */
    void *context;
} qp_generate_options;

typedef struct qp_generated {
    int64_t prompt_tokens, new_tokens;
    qp_stop stop;
    double prompt_seconds, decode_seconds; /* wall time of the prompt's pass, and of all later; without recording */
} qp_generated;

/* Generates from `count` ids. QP_INVALID: the prompt is empty, or longer than the model's positions leave room for.
 * QP_USAGE: no node has the planted fault. *generated is filled as far as it went, also on failure. */
QP_MUST_USE qp_status qp_generate(const qp_runtime *runtime, const qp_tokenizer *tokenizer,
                                  const qp_selection *selection, const int64_t *ids, int64_t count,
                                  const qp_generate_options *options, qp_generated *generated);

#ifdef __cplusplus
}
#endif
#endif
