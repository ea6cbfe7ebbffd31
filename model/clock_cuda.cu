/* The clock of the multiprocessors, measured: cycles counted while the card's own clock counts nanoseconds. */
#include <cuda_runtime.h>

#include <cstdint>

#include "clock_cuda.h"

namespace {

constexpr uint64_t kNanoseconds = 100000; /* globaltimer steps by up to a microsecond, so this is within one percent */

__device__ uint64_t nanoseconds()
{
    uint64_t value;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value));
    return value;
}

__global__ void count_cycles(uint64_t *counts)
{
    const uint64_t first = nanoseconds();
    const long long start = clock64();
    uint64_t now = nanoseconds();
    while (now - first < kNanoseconds) now = nanoseconds();
    counts[0] = static_cast<uint64_t>(clock64() - start);
    counts[1] = now - first;
}

}  // namespace

int qp_cuda_measure_clock(void *stream, double *hertz)
{
    const cudaStream_t s = static_cast<cudaStream_t>(stream);
    uint64_t *counts = nullptr, read[2] = { 0, 1 };
    cudaError_t error = cudaMalloc(&counts, sizeof read);
    if (error == cudaSuccess) {
        count_cycles<<<1, 1, 0, s>>>(counts);
        error = cudaGetLastError();
        if (error == cudaSuccess) error = cudaMemcpyAsync(read, counts, sizeof read, cudaMemcpyDeviceToHost, s);
        if (error == cudaSuccess) error = cudaStreamSynchronize(s);
        (void)cudaFree(counts);
    }
    *hertz = 1e9 * static_cast<double>(read[0]) / static_cast<double>(read[1]);
    return static_cast<int>(error);
}
