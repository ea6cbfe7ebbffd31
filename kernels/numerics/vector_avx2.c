#include "strict_fp.h"

#define VECTOR 8
#define VECTORS 2
#include "vector_chain.inc"
#include "vector_x86.inc"

static inline words larger_halves(words a, words b) { return (words)_mm256_max_epu16((__m256i)a, (__m256i)b); }
static inline integers larger(integers a, integers b) { return (integers)_mm256_max_epi32((__m256i)a, (__m256i)b); }
static inline integers cut_to_integers(floats x) { return (integers)_mm256_cvttps_epi32((__m256)x); }

/* The nearest, less one ulp where that is larger. */
static inline floats cut_to_floats(integers x)
{
    const floats nearest = __builtin_convertvector(x, floats);
    const words excess = (words)cut_to_integers(nearest) - (words)x; /* right, modulo 2^32, for 2^31 too */
    const integers larger = (integers)_mm256_sign_epi32((__m256i)excess, (__m256i)x) > 0;
    return (floats)((integers)nearest + larger);
}

static inline floats fused(float x, floats y, floats z)
{
    return (floats)_mm256_fmadd_ps(_mm256_set1_ps(x), (__m256)y, (__m256)z);
}

static inline uint32_t signs(integers x) { return (uint32_t)_mm256_movemask_ps((__m256)x); }

static bool runs_here(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const qp_vector_path qp_vector_avx2 = { "avx2", LANES, runs_here, pack_columns, pack_rows, chain, lane_sums };
