/* Numbers that look random, for tests: the same from the same seed, so that a failure can be replayed. */
#ifndef QP_CHECK_RANDOM_H
#define QP_CHECK_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

/* 64 bits, SplitMix64. */
static inline uint64_t check_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Uniform in [0, 1). */
static inline double check_uniform(uint64_t *state) { return (double)(check_random(state) >> 11) * 0x1p-53; }

/* QP_SEED of the environment, to replay a failure, or the usual one. */
static inline uint64_t check_seed(uint64_t usual)
{
    const char *const text = getenv("QP_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : usual;
}

#endif
