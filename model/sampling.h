/* Drawing the next token from the logits. Greedy choice is no sampling: it is the plan's own next_token (argmax). */
#ifndef QP_SAMPLING_H
#define QP_SAMPLING_H

#include <stdint.h>

#include "../kernels/numerics/bf16.h"
#include "../kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In the order in which transformers' generate() applies them: temperature, top_k, top_p. */
typedef struct qp_sampling {
    double temperature; /* 0: greedy, and the rest is not used */
    int64_t top_k;      /* keep the k largest logits and what equals the smallest of them; 0: all */
    double top_p;       /* keep the fewest most likely tokens whose probabilities sum to at least this; 1: all */
    uint64_t seed;      /* the same seed gives the same tokens */
} qp_sampling;

typedef struct qp_sampler {
    qp_sampling sampling;
    uint64_t state; /* of the generator, SplitMix64 */
    struct qp_candidate {
        double weight;
        int64_t id;
    } * candidates; /* [vocabulary] */
    int64_t vocabulary;
} qp_sampler;

/* QP_INVALID if a value is out of range: temperature < 0, top_k < 0, top_p outside (0, 1].
 * On failure *sampler is all zero, which qp_sampler_close accepts. */
QP_MUST_USE qp_status qp_sampler_open(qp_sampling sampling, int64_t vocabulary, qp_sampler *sampler);
void qp_sampler_close(qp_sampler *sampler);

/* The next token from one row of logits, at a temperature above 0. A logit that is not finite is never drawn; a row
 * without a finite logit gives token 0. */
int64_t qp_sampler_next(qp_sampler *sampler, const qp_bf16 *logits);

#ifdef __cplusplus
}
#endif
#endif
