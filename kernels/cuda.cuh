/* What every .cu file of an operation needs: rounding to bf16 on the card, and how a launcher ends.
 *
 * Arithmetic of a contract is written with explicit operations (__fmul_rn, __fadd_rn, __fmaf_rn, __fdiv_rn), and all .cu
 * files are built with -fmad=false, so no rounding point can be contracted away. */
#ifndef QP_CUDA_CUH
#define QP_CUDA_CUH

#include <cuda_runtime.h>

#include "numerics/bf16.h"
#include "operation.h"

namespace qp {

inline cudaStream_t stream_of(const qp_call *call) { return static_cast<cudaStream_t>(call->launch->stream); }

/* Neighbouring elements that one access moves, from an address that is a multiple of their size. */
template <int kCount> struct alignas(kCount * sizeof(qp_bf16)) vector {
    qp_bf16 at[kCount];
};

/* Whether all of these are such addresses. */
template <int kCount, class... Pointer> bool aligned(const Pointer *...p)
{
    return ((reinterpret_cast<uintptr_t>(p) % sizeof(vector<kCount>) == 0) && ...);
}

/* Whether rows of `row` elements, taken from element `start` on, consist of such addresses. */
template <int kCount> bool rows_aligned(const qp_bf16 *p, int64_t row, int64_t start)
{
    return aligned<kCount>(p) && row % kCount == 0 && start % kCount == 0;
}

/* Tiles of `size` that cover n, and blocks that take one each. */
__host__ __device__ constexpr int64_t tiles_for(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline unsigned blocks_for(int64_t n, int64_t size) { return static_cast<unsigned>(tiles_for(n, size)); }

/* Blocks for a kernel that takes the tiles blockIdx.x, blockIdx.x + gridDim.x, ... */
inline unsigned blocks_of(int64_t tiles)
{
    constexpr int64_t kMostBlocks = 0x7fffffff;
    return static_cast<unsigned>(tiles < kMostBlocks ? tiles : kMostBlocks);
}

/* Of an H100 or H200, for which choices are tuned; they are right on any number. */
constexpr int kMultiprocessors = 132;

/* Pieces of a workspace, each aligned as PyTorch's allocator aligns a tensor. */
inline size_t piece_bytes(int64_t elements)
{
    return (static_cast<size_t>(elements) * sizeof(qp_bf16) + QP_ALIGNMENT - 1) / QP_ALIGNMENT * QP_ALIGNMENT;
}

/* Takes them from the call's workspace, one after the other. */
class workspace_pieces {
public:
    explicit workspace_pieces(const qp_call *call) : next(static_cast<char *>(call->launch->workspace)) {}
    qp_bf16 *take(int64_t elements)
    {
        qp_bf16 *piece = reinterpret_cast<qp_bf16 *>(next);
        next += piece_bytes(elements);
        return piece;
    }

private:
    char *next;
};

/* The status of the launch just made. Only what the launch itself did wrong shows here; what a kernel does wrong while it
 * runs shows when the device is next waited for (model/device.h). */
inline qp_status launched(const char *operation)
{
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess
               ? QP_OK
               : qp_fail(QP_DEVICE, "%s could not be launched: %s", operation, cudaGetErrorString(error));
}

} // namespace qp

#endif
