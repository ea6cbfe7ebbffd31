/* For the test programs that compare a model of the card with the card itself, without Check. */
#ifndef QP_CHECK_CARD_CUH
#define QP_CHECK_CARD_CUH

#include <cstdio>
#include <cstdlib>

#include <cuda_runtime.h>

#include "../kernels/status.h"

constexpr int kSkipped = 77; /* ctest's SKIP_RETURN_CODE */

/* Ends the program with 1 if CUDA failed. */
inline void check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return;
    std::printf("%s: %s\n", what, cudaGetErrorString(error));
    std::exit(1);
}

inline void check_status(qp_status status)
{
    if (status == QP_OK) return;
    std::printf("%s\n", qp_last_error());
    std::exit(1);
}

template <typename T> T *device_memory(size_t count)
{
    void *memory = nullptr;
    check(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
    return static_cast<T *>(memory);
}

/* Says what is compared with the card; ends the program with kSkipped where there is none that the models are of. */
inline void begin_on_card(const char *what)
{
    cudaDeviceProp device;
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0 || cudaGetDeviceProperties(&device, 0) != cudaSuccess) {
        std::printf("skipped: no CUDA device is usable\n");
        std::exit(kSkipped);
    }
    if (device.major != 9) {
        std::printf("skipped: the model is that of compute capability 9, and %s has %d\n", device.name, device.major);
        std::exit(kSkipped);
    }
    std::printf("%s: %s\n", device.name, what);
}

#endif
