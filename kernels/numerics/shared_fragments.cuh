/* Operands of block_fma that lie in shared memory: how they come there, and how a warp reads its fragments.
 *
 * ldmatrix reads four matrices of 8 rows of 16 bytes (8 bf16); lane l gives the address (shared_address) of row l % 8
 * of matrix l / 8. Lane 4g + t gets of each matrix the elements 2t and 2t + 1 of row g; transposed, element g of the rows
 * 2t and 2t + 1. So K is dealt to the lanes as PTX has it: 2t, 2t + 1 | 2t + 8, 2t + 9 of the block. */
#ifndef QP_SHARED_FRAGMENTS_CUH
#define QP_SHARED_FRAGMENTS_CUH

#include <cuda_runtime.h>

#include "bf16.h"
#include "block_fma.cuh"
#include "warp.cuh"

namespace qp {

constexpr int kChunkBytes = 16, kChunk = 8; /* what one copy or one row of a matrix holds: bytes, bf16 */

__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* Starts to copy 16 bytes to shared memory, past L1; zeros, and `from` is not read, if they are not `there`. */
__device__ __forceinline__ void copy_async(uint32_t to, const void *from, bool there = true)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(to), "l"(__cvta_generic_to_global(from)), "r"(there ? kChunkBytes : 0)
                 : "memory");
}
__device__ __forceinline__ void copy_async(void *to, const void *from, bool there = true)
{
    copy_async(shared_address(to), from, there);
}

/* The copies that this thread has started since the last call are a group. */
__device__ __forceinline__ void group_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Until all of this thread's groups but the last kPending are there. */
template <int kPending> __device__ __forceinline__ void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/* Until all copies that this thread has started are there. */
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(uint32_t (&m)[4], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

/* Two matrices: of the lanes' addresses the first 16 count. */
__device__ __forceinline__ void load_two_matrices(uint32_t (&m)[2], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(m[0]), "=r"(m[1])
                 : "r"(row)
                 : "memory");
}

/* The same for those who have a pointer, and have to work out the address. */
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], const void *row)
{
    load_matrices(m, shared_address(row));
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&m)[4], const void *row)
{
    load_matrices_transposed(m, shared_address(row));
}
__device__ __forceinline__ void load_two_matrices(uint32_t (&m)[2], const void *row)
{
    load_two_matrices(m, shared_address(row));
}

/* One block of 16, or the two blocks of 8 (sum_order.h, T2) that its fragments hold. */
__device__ __forceinline__ void block_fma(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                          bool narrow)
{
    if (!narrow) {
        block_fma(accumulator, a, b);
        return;
    }
    const uint32_t low_a[4] = { a[0], a[1], 0, 0 }, low_b[2] = { b[0], 0 };
    const uint32_t high_a[4] = { a[2], a[3], 0, 0 }, high_b[2] = { b[1], 0 };
    block_fma(accumulator, low_a, low_b);
    block_fma(accumulator, high_a, high_b);
}

/* Two neighbouring bf16 in one register, the first in the lower half. */
__device__ __forceinline__ float low_of(uint32_t pair) { return qp_f32_from_bits(pair << 16); }
__device__ __forceinline__ float high_of(uint32_t pair) { return qp_f32_from_bits(pair & 0xffff0000u); }

/* As qp_bf16_from_f32, in one instruction. */
__device__ __forceinline__ uint32_t pair_of(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

} // namespace qp

#endif
