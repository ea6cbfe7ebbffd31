#include "cublas.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

enum { WORKSPACE_BYTES = 4096 * 8 * 1024 }; /* C1 */

typedef struct qp_cublas {
    cublasHandle_t handle;
    void *workspace;
} qp_cublas;

static qp_status checked(cublasStatus_t status, const char *what)
{
    return status == CUBLAS_STATUS_SUCCESS ? QP_OK
                                           : qp_fail(QP_DEVICE, "%s failed: %s", what, cublasGetStatusString(status));
}

static qp_status set_up(qp_cublas *state, void *stream)
{
    QP_TRY(checked(cublasCreate(&state->handle), "cublasCreate"));
    const cudaError_t error = cudaMalloc(&state->workspace, WORKSPACE_BYTES);
    if (error != cudaSuccess)
        return qp_fail(QP_DEVICE, "no %d bytes of device memory for the workspace of cuBLAS: %s", WORKSPACE_BYTES,
                       cudaGetErrorString(error));
    QP_TRY(checked(cublasSetStream(state->handle, (cudaStream_t)stream), "cublasSetStream"));
    QP_TRY(checked(cublasSetWorkspace(state->handle, state->workspace, WORKSPACE_BYTES), "cublasSetWorkspace"));
    QP_TRY(checked(cublasSetPointerMode(state->handle, CUBLAS_POINTER_MODE_HOST), "cublasSetPointerMode"));
    return checked(cublasSetMathMode(state->handle, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
}

qp_status qp_cublas_open(void *stream, void **cublas)
{
    qp_cublas *state = calloc(1, sizeof *state);
    if (!state) return qp_fail(QP_NO_MEMORY, "no memory for the state of cuBLAS");
    const qp_status status = set_up(state, stream);
    if (status != QP_OK) {
        qp_cublas_close(state);
        state = NULL;
    }
    *cublas = state;
    return status;
}

void qp_cublas_close(void *cublas)
{
    qp_cublas *state = cublas;
    if (!state) return;
    if (state->handle) (void)cublasDestroy(state->handle);
    (void)cudaFree(state->workspace);
    free(state);
}

int qp_cublas_version(void)
{
    int version = 0;
    return cublasGetVersion(NULL, &version) == CUBLAS_STATUS_SUCCESS ? version : 0;
}

/* One product as cuBLAS has it: c[m, n] = op(a) op(b), each matrix by columns. */
typedef struct product {
    const qp_bf16 *a, *b;
    qp_bf16 *c;
    cublasOperation_t op_a, op_b;
    int64_t m, n, k, lda, ldb, ldc;
    int64_t stride_a, stride_b, stride_c, batch;
} product;

static int64_t at_least_1(int64_t x) { return x > 1 ? x : 1; }

/* The leading dimension of a matrix with one column is never used, and PyTorch sets it to the least that is allowed. */
static void adjust_leading_dimensions(product *p)
{
    if (p->n <= 1) p->ldc = at_least_1(p->m);
    if (p->op_a == CUBLAS_OP_N ? p->k <= 1 : p->m <= 1) p->lda = at_least_1(p->op_a == CUBLAS_OP_N ? p->m : p->k);
    if (p->op_b == CUBLAS_OP_N ? p->n <= 1 : p->k <= 1) p->ldb = at_least_1(p->op_b == CUBLAS_OP_N ? p->k : p->n);
}

static bool fits(const product *p)
{
    const int64_t sizes[] = { p->m, p->n, p->k, p->lda, p->ldb, p->ldc, p->batch };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] < 1 || sizes[i] > INT_MAX) return false;
    return true;
}

/* C2 */
static qp_status run(const qp_cublas *state, product *p)
{
    if (!state) return qp_fail(QP_INVALID, "a product of cuBLAS was asked for without qp_cublas_open");
    adjust_leading_dimensions(p);
    if (!fits(p)) return qp_fail(QP_UNSUPPORTED, "a product has a size that is no positive int, which cuBLAS takes");
    const float alpha = 1.0f, beta = 0.0f;
    const int m = (int)p->m, n = (int)p->n, k = (int)p->k, lda = (int)p->lda, ldb = (int)p->ldb, ldc = (int)p->ldc;
    if (p->batch == 1) /* PyTorch, too, calls another function then */
        return checked(cublasGemmEx(state->handle, p->op_a, p->op_b, m, n, k, &alpha, p->a, CUDA_R_16BF, lda, p->b,
                                    CUDA_R_16BF, ldb, &beta, p->c, CUDA_R_16BF, ldc, CUBLAS_COMPUTE_32F,
                                    CUBLAS_GEMM_DEFAULT_TENSOR_OP),
                       "cublasGemmEx");
    return checked(cublasGemmStridedBatchedEx(state->handle, p->op_a, p->op_b, m, n, k, &alpha, p->a, CUDA_R_16BF, lda,
                                              p->stride_a, p->b, CUDA_R_16BF, ldb, p->stride_b, &beta, p->c,
                                              CUDA_R_16BF, ldc, p->stride_c, (int)p->batch, CUBLAS_COMPUTE_32F,
                                              CUBLAS_GEMM_DEFAULT_TENSOR_OP),
                   "cublasGemmStridedBatchedEx");
}

qp_status qp_cublas_gemm(void *cublas, const qp_bf16 *x, const qp_bf16 *weight, qp_bf16 *y, int64_t m, int64_t n,
                         int64_t k)
{
    /* Where a size is 1, PyTorch takes the transposed weight [K, N] for dense by rows, so cuBLAS transposes nothing. */
    const bool transposed = n > 1 && k > 1;
    product p = {
        .a = weight, /* C3 */
        .b = x,
        .c = y,
        .op_a = transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
        .op_b = CUBLAS_OP_N,
        .m = n,
        .n = m,
        .k = k,
        .lda = transposed ? k : 1,
        .ldb = k,
        .ldc = n,
        .batch = 1,
    };
    return run(cublas, &p);
}

/* How one operand of torch.bmm is passed. `by_rows` says that the result lies by rows, so that the operand is seen
 * transposed; `height` is the length of its columns as cuBLAS then counts them, `width` that of its rows. False:
 * PyTorch would copy it. */
static bool as_stored(const qp_cublas_batch *operand, bool by_rows, int64_t height, int64_t width,
                      cublasOperation_t *op, int64_t *leading_dimension)
{
    const int64_t along = operand->stride[by_rows ? 2 : 1], across = operand->stride[by_rows ? 1 : 2];
    if (along == 1 && across >= at_least_1(height)) {
        *op = CUBLAS_OP_N;
        *leading_dimension = across;
        return true;
    }
    *op = CUBLAS_OP_T;
    *leading_dimension = along;
    return across == 1 && along >= at_least_1(width);
}

qp_status qp_cublas_gemm_batched(void *cublas, const qp_cublas_batch *a, const qp_cublas_batch *b, qp_bf16 *y,
                                 int64_t batch, int64_t rows, int64_t columns, int64_t inner)
{
    const bool by_rows = columns != 1; /* C3; a single column is as good by columns, and PyTorch looks at that first */
    const qp_cublas_batch *first = by_rows ? b : a, *second = by_rows ? a : b;
    product p = {
        .a = first->data,
        .b = second->data,
        .c = y,
        .m = by_rows ? columns : rows,
        .n = by_rows ? rows : columns,
        .k = inner,
        .ldc = columns,
        .stride_a = first->stride[0],
        .stride_b = second->stride[0],
        .stride_c = rows * columns,
        .batch = batch,
    };
    if (!as_stored(first, by_rows, p.m, p.k, &p.op_a, &p.lda) || !as_stored(second, by_rows, p.k, p.n, &p.op_b, &p.ldb))
        return qp_fail(QP_UNSUPPORTED, "an operand of a batched product is dense neither by rows nor by columns");
    return run(cublas, &p);
}
