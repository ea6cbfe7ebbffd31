/* The tensor core's chain of blocks on the card, twin of block_fma.h: one warp sums 16 rows of A times tiles of 8
 * columns of B, with the accumulators in its registers.
 *
 * mma.sync.m16n8k16 gives lane 4g + t (g = 0..7, t = 0..3) these elements (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16 with floating point type"):
 *   A  a[0], a[2]: row g, a[1], a[3]: row g + 8; of K 2t, 2t + 1 in a[0], a[1], and 2t + 8, 2t + 9 in a[2], a[3]
 *   B  column g; of K 2t, 2t + 1 in b[0], and 2t + 8, 2t + 9 in b[1]
 *   C  accumulator[0], [1]: row g, columns 2t and 2t + 1; [2], [3]: row g + 8, the same columns
 * The order inside a block does not matter (B4), so K may be dealt otherwise as long as A and B agree. Here lane t has
 * the quad 4t, 4t + 1 | 4t + 2, 4t + 3 of the block: one load of 8 bytes, and the four lanes of a row read a whole
 * sector. Which rows and columns of an operand A and B stand for is each kernel's own choice. */
#ifndef QP_BLOCK_FMA_CUH
#define QP_BLOCK_FMA_CUH

#include <cuda_runtime.h>

#include <type_traits>

#include "bf16.h"
#include "block_fma.h"
#include "warp.cuh"

namespace qp {

constexpr int kTileRows = 16, kTileColumns = 8;

/* This lane's g and t. */
__device__ __forceinline__ int lane_row() { return static_cast<int>(threadIdx.x) % kWarp / 4; }
__device__ __forceinline__ int lane_quad() { return static_cast<int>(threadIdx.x) % 4; }

/* One block step, B1 to B5. Every lane of the warp takes part. */
__device__ __forceinline__ void block_fma(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(accumulator[0]), "+f"(accumulator[1]), "+f"(accumulator[2]), "+f"(accumulator[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ uint32_t load(const qp_bf16 *p) { return __ldg(&p->bits); }

/* The element p[i], or zero if it is not one of the `left` that are there. */
__device__ __forceinline__ uint32_t load_if(const qp_bf16 *p, int64_t i, int64_t left)
{
    return i < left ? load(p + i) : 0;
}

/* Four neighbouring elements. kWide: in one load, from an address that is a multiple of 8. */
template <bool kWide> __device__ __forceinline__ uint2 load_quad(const qp_bf16 *p)
{
    if constexpr (kWide) return __ldg(reinterpret_cast<const uint2 *>(p));
    return make_uint2(load(p) | load(p + 1) << 16, load(p + 2) | load(p + 3) << 16);
}

__device__ __forceinline__ uint2 load_last_quad(const qp_bf16 *p, int64_t left)
{
    return make_uint2(load_if(p, 0, left) | load_if(p, 1, left) << 16, load_if(p, 2, left) | load_if(p, 3, left) << 16);
}

/* Operands for chain_fma. `load` fetches this lane's part of the block that begins at k, `load_last` that of a block of
 * which only `size` elements are there: the others are zeros and are not read. */

/* A, where the elements of K lie side by side. */
template <bool kWide> struct rows_a {
    const qp_bf16 *low, *high; /* rows g and g + 8, from the lane's first quad on */

    __device__ __forceinline__ void load(uint32_t (&a)[4], int64_t k) const
    {
        place(a, load_quad<kWide>(low + k), load_quad<kWide>(high + k));
    }
    __device__ __forceinline__ void load_last(uint32_t (&a)[4], int64_t k, int64_t size) const
    {
        const int64_t left = size - 4 * lane_quad();
        place(a, load_last_quad(low + k, left), load_last_quad(high + k, left));
    }
    __device__ __forceinline__ static void place(uint32_t (&a)[4], uint2 low, uint2 high)
    {
        a[0] = low.x, a[1] = high.x, a[2] = low.y, a[3] = high.y;
    }
};

/* Tiles of B, where the elements of K lie side by side. */
template <int kTiles, bool kWide> struct columns_b {
    const qp_bf16 *column[kTiles]; /* column g of each tile, from the lane's first quad on */

    __device__ __forceinline__ void load(uint32_t (&b)[kTiles][2], int64_t k) const
    {
#pragma unroll
        for (int i = 0; i < kTiles; i++) place(b[i], load_quad<kWide>(column[i] + k));
    }
    __device__ __forceinline__ void load_last(uint32_t (&b)[kTiles][2], int64_t k, int64_t size) const
    {
#pragma unroll
        for (int i = 0; i < kTiles; i++) place(b[i], load_last_quad(column[i] + k, size - 4 * lane_quad()));
    }
    __device__ __forceinline__ static void place(uint32_t (&b)[2], uint2 quad) { b[0] = quad.x, b[1] = quad.y; }
};

/* Blocks whose loads are in flight together: as many as the registers hold. Narrow loads take more of them. */
template <int kTiles, bool kWide>
constexpr int kBlocksInFlight = kTiles == 1   ? 16
                                : kTiles == 2 ? 8
                                : kTiles == 4 ? 4
                                : kWide       ? 2
                                              : 1;

/* A block of which only `size` elements are there, from k on; the others are zeros. */
template <int kTiles, class A, class B>
__device__ __forceinline__ void last_block_fma(float (&accumulator)[kTiles][4], const A &a, const B &b, int64_t k,
                                               int64_t size)
{
    uint32_t of_a[4], of_b[kTiles][2];
    a.load_last(of_a, k, size);
    b.load_last(of_b, k, size);
#pragma unroll
    for (int tile = 0; tile < kTiles; tile++) block_fma(accumulator[tile], of_a, of_b[tile]);
}

/* The chain over the elements [k, end) of K, in ascending blocks of 16 from k on. The last one is padded with zeros. */
template <int kInFlight, int kTiles, class A, class B>
__device__ __forceinline__ void chain_fma(float (&accumulator)[kTiles][4], const A &a, const B &b, int64_t k,
                                          int64_t end)
{
#pragma unroll 1
    for (; end - k >= kInFlight * QP_BLOCK_K; k += kInFlight * QP_BLOCK_K) {
        uint32_t of_a[kInFlight][4], of_b[kInFlight][kTiles][2];
#pragma unroll
        for (int i = 0; i < kInFlight; i++) {
            a.load(of_a[i], k + i * QP_BLOCK_K);
            b.load(of_b[i], k + i * QP_BLOCK_K);
        }
#pragma unroll
        for (int i = 0; i < kInFlight; i++)
#pragma unroll
            for (int tile = 0; tile < kTiles; tile++) block_fma(accumulator[tile], of_a[i], of_b[i][tile]);
    }
    if constexpr (kInFlight > 1) {
        chain_fma<(kInFlight > 4 ? 4 : 1)>(accumulator, a, b, k, end);
    } else if (k < end) {
        last_block_fma(accumulator, a, b, k, end - k);
    }
}

/* Calls launch(tiles) with a constant: as many tiles of 8 columns a warp as there are, of 1, 2, 4 or 8. */
template <class Launch> void launch_with_tiles(int64_t columns, Launch launch)
{
    if (columns <= kTileColumns)
        launch(std::integral_constant<int, 1>());
    else if (columns <= 2 * kTileColumns)
        launch(std::integral_constant<int, 2>());
    else if (columns <= 4 * kTileColumns)
        launch(std::integral_constant<int, 4>());
    else
        launch(std::integral_constant<int, 8>());
}

} // namespace qp

#endif
