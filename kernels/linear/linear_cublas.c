#include "../cublas.h"
#include "linear.h"

/* The split (O2) is cuBLAS's own choice again. */
qp_status qp_linear_cublas(const qp_call *call)
{
    const qp_linear_args a = qp_linear_bind(call);
    return qp_cublas_gemm(call->launch->cublas, a.x, a.weight, a.y, a.m, a.n, a.k);
}
