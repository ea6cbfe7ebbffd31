/* The only door to cuBLAS: a handle set up as PyTorch sets up its own, and the two products that PyTorch asks it for.
 *
 * cuBLAS chooses a kernel, and with it an order of summation, by what it is asked: sizes, transpositions, leading
 * dimensions, strides, types, algorithm, math mode, alignment and the size of the workspace. So all of these are part
 * of the contract, and a call that repeats them on the same card with the same library gives PyTorch's bits.
 *   C1  the handle: stream first, for setting it takes the workspace back, then a workspace of 32 MiB, as PyTorch has
 *       it on compute capability 9.0 without CUBLAS_WORKSPACE_CONFIG; default math mode, which lets a split K be
 *       reduced in less than f32; scalars on the host.
 *   C2  every product: bf16 operands and result, alpha 1 and beta 0 in f32, CUBLAS_COMPUTE_32F (PyTorch writes
 *       CUDA_R_32F, which cublas_api.h turns into it), CUBLAS_GEMM_DEFAULT_TENSOR_OP.
 *   C3  cuBLAS counts by columns, so PyTorch asks for the transposed result: the second operand goes first.
 * Whoever calls keeps operands and result aligned to QP_ALIGNMENT (operation.h), as PyTorch's allocator does.
 *
 * Source: PyTorch, aten/src/ATen/cuda/CublasHandlePool.cpp (getCurrentCUDABlasHandle, parseChosenWorkspaceSize),
 * cuda/CUDABlas.cpp (the bfloat16 helpers of gemm_internal_cublas and bgemm_internal_cublas, _cublasAdjustLdLevel3),
 * native/cuda/Blas.cpp (addmm_out_cuda_impl, baddbmm_out_cuda_impl, prepare_batch_matrix_for_cublas) and
 * native/cuda/cuBlasCommonArgs.h, read in a neighbour of 2.11. The constants, types and the order of calls of C1 and C2
 * were found again in the machine code of libtorch_cuda.so of 2.11.0+cu130. C11, also C++. */
#ifndef QP_CUBLAS_H
#define QP_CUBLAS_H

#include <stddef.h>
#include <stdint.h>

#include "numerics/bf16.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* C1 for the current device. `stream` is a cudaStream_t. What comes back is for qp_launch.cublas; it owns the
 * workspace, so it serves one stream. Close it after the stream has done its work; NULL is allowed. */
QP_MUST_USE qp_status qp_cublas_open(void *stream, void **cublas);
void qp_cublas_close(void *cublas);

/* y[m, n] = sum over k of x[m, k] * weight[n, k], all dense: F.linear without a bias. */
QP_MUST_USE qp_status qp_cublas_gemm(void *cublas, const qp_bf16 *x, const qp_bf16 *weight, qp_bf16 *y, int64_t m,
                                     int64_t n, int64_t k);

/* A batch of matrices as PyTorch has it: one pointer and three strides. */
typedef struct qp_cublas_batch {
    const qp_bf16 *data;
    int64_t stride[3]; /* elements from one matrix, row and column to the next */
} qp_cublas_batch;

/* y[batch, rows, columns], dense, = a[batch, rows, inner] times b[batch, inner, columns]: torch.bmm. The rows or the
 * columns of a and of b have to be dense; PyTorch would copy others. */
QP_MUST_USE qp_status qp_cublas_gemm_batched(void *cublas, const qp_cublas_batch *a, const qp_cublas_batch *b,
                                             qp_bf16 *y, int64_t batch, int64_t rows, int64_t columns, int64_t inner);

/* The library that is loaded, as cublasGetVersion gives it: 130100 for 13.1.0. Needs no device. */
int qp_cublas_version(void);

#ifdef __cplusplus
}
#endif
#endif
