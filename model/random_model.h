/* A Qwen3 of a released size with seeded random weights, made in memory: to time kernels without a download. */
#ifndef QP_RANDOM_MODEL_H
#define QP_RANDOM_MODEL_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `shape` is one of qwen3-0.6b, 1.7b, 4b, 8b, 14b, 32b; `layers` is how many of its layers, 0 all. Matrices have the
 * deviation 1/sqrt(columns), so that activations stay in a sane range at any size; norms lie in 0.2 to 1.2, and one
 * rotary pair of each k_norm is 96.5, as in the released models (golden/random_model.py, which has other values). A
 * tensor depends on its name and the seed alone: not on the number of threads, nor on `layers`. QP_USAGE: no such
 * shape, naming those that exist, or not that many layers. QP_NO_MEMORY. On failure *model is all zero. */
QP_MUST_USE qp_status qp_model_open_random(const char *shape, int64_t layers, uint64_t seed, qp_model *model);

/* A well-mixed function of a seed and a counter: the same wherever and by whichever thread it is computed. */
static inline uint64_t qp_hash_of(uint64_t seed, uint64_t counter)
{
    uint64_t x = seed + counter * UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* n values, uniform between low and high. */
void qp_random_fill(uint64_t seed, float low, float high, qp_bf16 *values, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
