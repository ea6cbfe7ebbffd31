/* Coherence prompts: does the model, run with these kernels, still recall what it has just been told?
 *
 * A prompt tells facts about made-up names and asks for one. Its twin is the same with another made-up name in the
 * same place, so that no habit of the model can give both answers. */
#ifndef QP_COHERENCE_H
#define QP_COHERENCE_H

#include "../model/generate.h"

typedef struct qp_coherence_prompt {
    const char *name;
    bool is_twin;
    const char *prompt, *answer;
    double min_margin; /* logits between the answer's first token and the best other one */
} qp_coherence_prompt;

typedef struct qp_coherence_prompts qp_coherence_prompts; /* opaque: owns the texts */

/* Reads a file of schema "qwen3-parity-coherence/1" (golden/README.md); each prompt is followed by its twin.
 * QP_IO, QP_FORMAT. On failure *prompts is NULL. */
QP_MUST_USE qp_status qp_coherence_open(const char *path, qp_coherence_prompts **prompts);
void qp_coherence_close(qp_coherence_prompts *prompts); /* NULL is fine */
int qp_coherence_count(const qp_coherence_prompts *prompts);
const qp_coherence_prompt *qp_coherence_at(const qp_coherence_prompts *prompts, int index);

typedef struct qp_coherence_result {
    bool passed;    /* text_is_right, rank is 1, and margin is at least min_margin */
    char text[256]; /* the greedy text up to the end token, a full stop or a line break, trimmed (cut if longer) */
    bool text_is_right;
    int64_t rank;  /* of the answer's first token among the logits after the prompt; 1 is best */
    double margin; /* its logit less the best other one */
    double seconds;
} qp_coherence_result;

/* Runs one prompt. QP_FORMAT if the answer does not begin with a token of its own behind the prompt. */
QP_MUST_USE qp_status qp_coherence_run(const qp_runtime *runtime, const qp_tokenizer *tokenizer,
                                       const qp_selection *selection, qp_fusions fusions,
                                       const qp_coherence_prompt *prompt, qp_coherence_result *result);

#endif
