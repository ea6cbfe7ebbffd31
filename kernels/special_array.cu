#include "cuda.cuh"
#include "special_array.h"

namespace
{

constexpr int kThreads = 256;

/* `function` is the same for all threads. */
__device__ uint32_t bits_of(qp_special function, uint32_t argument)
{
    const float x = __uint_as_float(argument);
    uint32_t y;
    switch (function) {
    case QP_RSQRT: return __float_as_uint(rsqrtf(x));
    case QP_EXP: return __float_as_uint(expf(x));
    case QP_COS: return __float_as_uint(cosf(x));
    case QP_SIN: return __float_as_uint(sinf(x));
    default: asm("ex2.approx.ftz.f32 %0, %1;" : "=r"(y) : "f"(x)); return y;
    }
}

__global__ void __launch_bounds__(kThreads) special_bits(qp_special function, uint32_t first, int64_t n, uint32_t *bits)
{
    const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step)
        bits[i] = bits_of(function, first + static_cast<uint32_t>(i));
}

/* A block a chunk. */
__global__ void __launch_bounds__(kThreads) special_checksums(qp_special function, uint32_t first, uint64_t *sums)
{
    __shared__ unsigned long long total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    const uint32_t start = (first + blockIdx.x) * QP_SPECIAL_CHUNK;
    unsigned long long sum = 0;
    for (uint32_t i = threadIdx.x; i < QP_SPECIAL_CHUNK; i += kThreads)
        sum += qp_special_mix(start + i, bits_of(function, start + i));
    atomicAdd(&total, sum);
    __syncthreads();
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

} // namespace

qp_status qp_special_bits_cuda(const qp_call *call)
{
    const int64_t n = call->extent[QP_SPECIAL_COUNT];
    special_bits<<<qp::blocks_of(qp::tiles_for(n, kThreads)), kThreads, 0, qp::stream_of(call)>>>(
        static_cast<qp_special>(call->extent[QP_SPECIAL_FUNCTION]),
        static_cast<uint32_t>(call->extent[QP_SPECIAL_FIRST]), n, static_cast<uint32_t *>(call->out[0]));
    return qp::launched("special functions");
}

qp_status qp_special_checksums_cuda(const qp_call *call)
{
    special_checksums<<<static_cast<unsigned>(call->extent[QP_SPECIAL_COUNT]), kThreads, 0, qp::stream_of(call)>>>(
        static_cast<qp_special>(call->extent[QP_SPECIAL_FUNCTION]),
        static_cast<uint32_t>(call->extent[QP_SPECIAL_FIRST]), static_cast<uint64_t *>(call->out[0]));
    return qp::launched("checksums of special functions");
}
