#include "sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct qp_candidate candidate;

qp_status qp_sampler_open(qp_sampling sampling, int64_t vocabulary, qp_sampler *sampler)
{
    memset(sampler, 0, sizeof *sampler);
    if (!(sampling.temperature >= 0.0) || !isfinite(sampling.temperature))
        return qp_fail(QP_INVALID, "the temperature is %g, it must be 0 (greedy) or more", sampling.temperature);
    if (sampling.top_k < 0) return qp_fail(QP_INVALID, "top-k is negative; 0 keeps every token");
    if (!(sampling.top_p > 0.0 && sampling.top_p <= 1.0))
        return qp_fail(QP_INVALID, "top-p is %g, it must be more than 0 and at most 1", sampling.top_p);
    candidate *candidates = malloc((size_t)vocabulary * sizeof *candidates);
    if (!candidates) return qp_fail(QP_NO_MEMORY, "no memory for %lld candidates", (long long)vocabulary);
    *sampler = (qp_sampler){ sampling, sampling.seed, candidates, vocabulary };
    return QP_OK;
}

void qp_sampler_close(qp_sampler *sampler)
{
    free(sampler->candidates);
    memset(sampler, 0, sizeof *sampler);
}

/* Uniform in [0, 1), 53 bits. SplitMix64 (Steele, Lea, Flood 2014): one addition and a fixed mix a step. */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static int larger_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

int64_t qp_sampler_next(qp_sampler *sampler, const qp_bf16 *logits)
{
    const qp_sampling *s = &sampler->sampling;
    candidate *c = sampler->candidates;
    int64_t n = 0;
    double largest = -INFINITY;
    for (int64_t i = 0; i < sampler->vocabulary; i++) {
        const double logit = (double)qp_bf16_to_f32(logits[i]);
        if (!isfinite(logit)) continue;
        c[n++] = (candidate){ logit, i };
        largest = fmax(largest, logit);
    }
    if (n == 0) return 0;
    /* The largest becomes 0 first, so that no temperature is too small to divide by. */
    for (int64_t i = 0; i < n; i++) c[i].weight = (c[i].weight - largest) / s->temperature;
    qsort(c, (size_t)n, sizeof *c, larger_first);
    if (s->top_k > 0 && s->top_k < n) {
        const double smallest = c[s->top_k - 1].weight;
        int64_t kept = s->top_k;
        while (kept < n && c[kept].weight == smallest) kept++;
        n = kept;
    }

    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += c[i].weight = exp(c[i].weight);
    double kept_sum = 0.0;
    int64_t kept = 0;
    while (kept < n && (kept == 0 || kept_sum < s->top_p * sum)) kept_sum += c[kept++].weight;

    double point = uniform(&sampler->state) * kept_sum;
    for (int64_t i = 0; i < kept; i++) {
        if (point < c[i].weight) return c[i].id;
        point -= c[i].weight;
    }
    return c[kept - 1].id; /* rounding left a rest */
}
