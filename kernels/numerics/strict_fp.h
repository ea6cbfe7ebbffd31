/* Included by every unit whose floating-point results are part of a claim. */
#ifndef QP_STRICT_FP_H
#define QP_STRICT_FP_H

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "this unit defines or compares numbers: build it without fast-math"
#endif

#include <float.h>
#if !defined(__cplusplus) && FLT_EVAL_METHOD != 0
#error "this unit needs float arithmetic in float: build it for SSE2 or another target with FLT_EVAL_METHOD 0"
#endif

#endif
