#include "strict_fp.h"

#define VECTOR 16
#define VECTORS 2
#include "vector_chain.inc"
#include "vector_x86.inc"

static inline words larger_halves(words a, words b) { return (words)_mm512_max_epu16((__m512i)a, (__m512i)b); }
static inline integers larger(integers a, integers b) { return (integers)_mm512_max_epi32((__m512i)a, (__m512i)b); }
static inline integers cut_to_integers(floats x) { return (integers)_mm512_cvttps_epi32((__m512)x); }
static inline floats cut_to_floats(integers x)
{
    return (floats)_mm512_cvt_roundepi32_ps((__m512i)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
static inline floats fused(float x, floats y, floats z)
{
    return (floats)_mm512_fmadd_ps(_mm512_set1_ps(x), (__m512)y, (__m512)z);
}

static inline uint32_t signs(integers x) { return _mm512_movepi32_mask((__m512i)x); }

static bool runs_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

const qp_vector_path qp_vector_avx512 = { "avx512", LANES, runs_here, pack_columns, pack_rows, chain, lane_sums };
