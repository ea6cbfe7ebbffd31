/* The clock of the card's multiprocessors. Only for device_cuda.c. */
#ifndef QP_CLOCK_CUDA_H
#define QP_CLOCK_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

/* Spins on the stream for 0.1 ms, waits, and gives the cycles a second meanwhile. Returns a cudaError_t. */
int qp_cuda_measure_clock(void *stream, double *hertz);

#ifdef __cplusplus
}
#endif
#endif
