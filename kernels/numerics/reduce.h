/* PyTorch's summation orders on CUDA, for f32 rows. Every addition is one IEEE f32 addition, so the order is
 * the whole contract.
 *
 * Source: PyTorch 2.11, aten/src/ATen/native/cuda/Reduce.cuh (setReduceConfig, input_vectorized_thread_reduce,
 * thread_reduce, block_x_reduce), ReduceMomentKernel.cu (MeanOps), PersistentSoftmax.cuh (softmax_warp_forward),
 * SoftMax.cu (cunn_SoftMaxForwardReg). Checked on an H200: no element differs for the mean with n = 64, 128, 256,
 * 320, 1024, 2048, 2560, 4096, 5120 and 1 to 4,000 rows, nor for the softmax sum at 22 lengths from 1 to 2,048
 * and at 2,049, 3,000, 4,096, 5,000, 8,192 and 9,000. */
#ifndef QP_REDUCE_H
#define QP_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

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

/* Whether qp_mean knows the order: n < 128 or a multiple of 4 (otherwise rows are not aligned for vectors),
 * at least 32, and short enough that PyTorch does not split a row over several warps in y. */
bool qp_mean_is_known(int64_t n, int64_t rows);

/* The sum in softmax over a row of n exponentials.
 * S1  n <= 2048: w = min(32, smallest power of two >= n) lanes; lane l adds the elements l, l + w, l + 2w, ...
 *     from left to right; then for each offset w/2, ..., 1 every lane adds the lane whose number differs in that bit.
 * S2  above: 1,024 threads, thread t adds the elements t, t + 1024, ... from left to right; each warp of 32
 *     folds with offsets 16, 8, 4, 2, 1 (lane l += lane l + offset), and the 32 totals fold in the same way.
 * Above about 9,200 values PyTorch takes a third path whose order is not established: S2 is used there, too. */
float qp_softmax_sum(const float *values, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
