/* PyTorch's summation orders on CUDA, for f32 rows. Every addition is one IEEE f32 addition, so the order is
 * the whole contract.
 *
 * Source: PyTorch 2.11, aten/src/ATen/native/cuda/Reduce.cuh (setReduceConfig, input_vectorized_thread_reduce,
 * thread_reduce, block_x_reduce), ReduceMomentKernel.cu (MeanOps), PersistentSoftmax.cuh (softmax_warp_forward),
 * SoftMax.cu (host_softmax, ilpReduce, cunn_SoftMaxForwardReg, cunn_SoftMaxForwardSmem, cunn_SoftMaxForward),
 * block_reduce.cuh (BlockReduce). Checked on an H200: no element differs for the mean with n = 64, 128, 256, 320,
 * 1024, 2048, 2560, 4096, 5120 and 1 to 4,000 rows, nor for the softmax sum at 22 lengths from 1 to 2,048 (S1) and at
 * 2,049, 3,000, 4,096, 5,000, 8,192 and 9,000 (S2), nor for softmax at 9,301 to 9,305 (S4, but S3 at 9,304). The exact
 * lengths at which the orders change, and S4 from 12,256 on, are read from the source and from the machine code of
 * PyTorch 2.11.0+cu130 (its dispatch, its kernels for sm_90), not checked on the card. */
#ifndef QP_REDUCE_H
#define QP_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

#include "bf16.h"

#ifdef __cplusplus
extern "C" {
#endif

/* torch.mean over a row of n values, where the tensor has `rows` rows: the order depends on both.
 *
 * A row is summed by `lanes` threads: with d = n / 4 if n >= 128 (loads of four) and n otherwise,
 *   lanes = min(p(d), 512 / min(p(rows), 512 / min(p(d), 32)))    p(x): largest power of two <= x, at most 512.
 * M1  n >= 128: lane l adds the four elements of the vectors l, l + lanes, l + 2 lanes, ... to four
 *     accumulators, element i to accumulator i.
 * M2  n < 128: lane l adds the elements l, l + lanes, l + 2 lanes, ... to its four accumulators in turn.
 * M3  the lane's sum is ((a0 + a1) + a2) + a3.
 * M4  the lanes' sums are folded: for each offset lanes/2, lanes/4, ..., 1: lane l += lane l + offset.
 * M5  the mean is lane 0 times f32(rows) / f32(rows * n): one multiplication, no division by n. */
float qp_mean(const float *values, int64_t n, int64_t rows);

enum { QP_MEAN_MAX_LANES = 512, QP_MEAN_VECTOR = 4, QP_MEAN_VECTOR_MIN = 128 };

/* Two parts of it, for the card: `lanes`, and the factor of M5. */
int64_t qp_mean_lanes(int64_t n, int64_t rows);
float qp_mean_factor(int64_t n, int64_t rows);

/* Whether qp_mean knows the order: n < 128 or a multiple of 4 (otherwise rows are not aligned for vectors),
 * at least 32, and short enough that PyTorch does not split a row over several warps in y. */
bool qp_mean_is_known(int64_t n, int64_t rows);

/* The sum in softmax over a row of n exponentials, the row number `row` of its f32 tensor. The tensor is aligned to 16
 * bytes, as PyTorch's allocator aligns it; where n is not a multiple of 4, its rows are not.
 * S1  n <= 2048: w = min(32, smallest power of two >= n) lanes; lane l adds the elements l, l + w, l + 2w, ...
 *     from left to right; then for each offset w/2, ..., 1 every lane adds the lane whose number differs in that bit.
 * S2  n <= 9216: 1,024 threads, thread t adds the elements t, t + 1024, ... from left to right; each warp of 32
 *     folds with offsets 16, 8, 4, 2, 1 (lane l += lane l + offset), and the 32 totals fold in the same way.
 * S3  n < 12256 and a multiple of 4: 1,024 threads, thread t adds the vectors of four t, t + 1024, ..., each from left
 *     to right; then they fold as in S2.
 * S4  otherwise: 1,024 threads. With shift = row * n mod 4, the elements from a boundary of 16 bytes to the row,
 *     thread t adds, one after the other,
 *       of the head, if shift > 0, which is the first 1024 - shift elements: element t - shift, for t >= shift;
 *       of the body, which is as many multiples of 4,096 elements as follow: its vectors of four as in S3;
 *       of the rest: its elements t, t + 1024, ...;
 *     then they fold as in S2.
 * 9,216 is what 1,024 threads hold in nine registers each; 12,256 floats and S2's 32 totals fill 48 KiB of shared
 * memory (cudaDeviceProp.sharedMemPerBlock, which PyTorch asks; not the larger opt-in limit).
 * In S2 to S4 PyTorch's compiler contracts the exponential's last multiplication, by a power of two, and the addition
 * into one fma. A sum can differ for it only in terms below 2^-126, against a total of at least 1. */
float qp_softmax_sum(const float *values, int64_t n, int64_t row);

/* S1's w. */
int64_t qp_softmax_lanes(int64_t n);

enum { QP_SOFTMAX_WARP_MAX = 2048, QP_SOFTMAX_REGISTERS_MAX = 9216, QP_SOFTMAX_SHARED_END = 12256 };
enum { QP_SOFTMAX_THREADS = 1024, QP_SOFTMAX_VECTOR = 4 };

/* How S2 to S4 cut a row: `head` elements, then `body` elements, then the rest. S2 is all rest, S3 all body. */
typedef struct qp_softmax_parts {
    int64_t head, body;
} qp_softmax_parts;

QP_HOST_DEVICE static inline qp_softmax_parts qp_softmax_parts_of(int64_t n, int64_t row)
{
    qp_softmax_parts parts = { 0, 0 };
    if (n <= QP_SOFTMAX_REGISTERS_MAX) return parts;
    if (n < QP_SOFTMAX_SHARED_END && n % QP_SOFTMAX_VECTOR == 0) {
        parts.body = n;
        return parts;
    }
    const int64_t shift = (row % QP_SOFTMAX_VECTOR) * (n % QP_SOFTMAX_VECTOR) % QP_SOFTMAX_VECTOR;
    if (shift > 0) parts.head = QP_SOFTMAX_THREADS - shift;
    parts.body = n - parts.head - (n - parts.head) % (QP_SOFTMAX_THREADS * QP_SOFTMAX_VECTOR);
    return parts;
}

#ifdef __cplusplus
}
#endif
#endif
