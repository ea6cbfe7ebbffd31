/* kernels/numerics/block_fma against the card: mma.sync.m16n8k16 on every kind of input, with accumulators of every kind,
 * against the definition and against each path of matrix_fma that the processor can run.
 * Exit code 77 (skipped) without a usable device. An argument: the matrices of each kind, 128 results each. */
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/vector_path.h"
#include "check_block_inputs.h"
#include "check_card.cuh"

namespace
{

constexpr int kM = 16, kN = 8, kK = 16;
constexpr int kAccumulatorKinds = 3;
const char *const accumulator_names[kAccumulatorKinds] = { "zero", "like the inputs", "any bits" };

__device__ unsigned pair(const qp_bf16 *x) { return x[0].bits | static_cast<unsigned>(x[1].bits) << 16; }

/* One warp a matrix. a: [M, K], b: [N, K], c and d: [M, N], each dense. The fragments are those of the PTX ISA,
 * "Matrix Fragments for mma.m16n8k16 with floating point type". */
__global__ void one_block(const qp_bf16 *a, const qp_bf16 *b, const float *c, float *d)
{
    const int row = threadIdx.x / 4, column = 2 * (threadIdx.x % 4);
    a += blockIdx.x * kM * kK;
    b += blockIdx.x * kN * kK;
    c += blockIdx.x * kM * kN;
    d += blockIdx.x * kM * kN;
    const float *c_low = c + row * kN + column, *c_high = c_low + 8 * kN;
    float *d_low = d + row * kN + column, *d_high = d_low + 8 * kN;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                 : "=f"(d_low[0]), "=f"(d_low[1]), "=f"(d_high[0]), "=f"(d_high[1])
                 : "r"(pair(a + row * kK + column)), "r"(pair(a + (row + 8) * kK + column)),
                   "r"(pair(a + row * kK + column + 8)), "r"(pair(a + (row + 8) * kK + column + 8)),
                   "r"(pair(b + row * kK + column)), "r"(pair(b + row * kK + column + 8)), "f"(c_low[0]), "f"(c_low[1]),
                   "f"(c_high[0]), "f"(c_high[1]));
}

/* Runs the product on the card; the result is poisoned before. */
std::vector<float> on_the_card(const std::vector<qp_bf16> &a, const std::vector<qp_bf16> &b,
                               const std::vector<float> &c)
{
    std::vector<float> d(c.size());
    void *memory[4] = {};
    const size_t bytes[4] = { a.size() * sizeof a[0], b.size() * sizeof b[0], c.size() * sizeof c[0],
                              c.size() * sizeof c[0] };
    const void *host[3] = { a.data(), b.data(), c.data() };
    for (int i = 0; i < 4; i++) check(cudaMalloc(&memory[i], bytes[i]), "cudaMalloc");
    for (int i = 0; i < 3; i++) check(cudaMemcpy(memory[i], host[i], bytes[i], cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemset(memory[3], 0xa5, bytes[3]), "cudaMemset");
    one_block<<<static_cast<unsigned>(c.size() / (kM * kN)), 32>>>(
        static_cast<const qp_bf16 *>(memory[0]), static_cast<const qp_bf16 *>(memory[1]),
        static_cast<const float *>(memory[2]), static_cast<float *>(memory[3]));
    check(cudaGetLastError(), "one_block");
    check(cudaMemcpy(d.data(), memory[3], bytes[3], cudaMemcpyDeviceToHost), "one_block");
    for (void *m : memory) check(cudaFree(m), "cudaFree");
    return d;
}

float accumulator(int how, int kind, uint64_t *state)
{
    switch (how) {
    case 0: return 0.0f;
    case 1: return qp_bf16_to_f32(block_input(kind, state)) * 1.0009765625f;
    default: return qp_f32_from_bits(static_cast<uint32_t>(check_random(state)));
    }
}

/* A way to compute all results of a matrix: its rows of A, columns of B, accumulators, results. */
using model = void (*)(const qp_bf16 *a, const qp_bf16 *b, const float *c, float *d);

void by_definition(const qp_bf16 *a, const qp_bf16 *b, const float *c, float *d)
{
    for (int i = 0; i < kM * kN; i++) d[i] = qp_block_fma(c[i], a + i / kN * kK, b + i % kN * kK);
}

/* The lanes of a tile beyond the kN columns repeat the first ones. */
template <const qp_vector_path *path> void by_path(const qp_bf16 *a, const qp_bf16 *b, const float *c, float *d)
{
    alignas(64) uint32_t pairs[QP_PAIRS * QP_MAX_TILE];
    qp_bf16 columns[QP_MAX_TILE * kK];
    for (int i = 0; i < path->lanes * kK; i++) columns[i] = b[i % (kN * kK)];
    bool common;
    path->pack_columns(columns, kK, 1, pairs, &common);
    for (int row = 0; row < kM; row++) {
        qp_block_a block;
        float accumulators[QP_MAX_TILE];
        qp_block_a_set(&block, a + row * kK, kK);
        for (int i = 0; i < path->lanes; i++) accumulators[i] = c[row * kN + i % kN];
        path->chain(accumulators, &block, pairs, &common, 1);
        for (int i = 0; i < kN; i++) d[row * kN + i] = accumulators[i];
    }
}

struct named_model {
    const char *name;
    const qp_vector_path *path; /* nullptr: the definition */
    model run;
};

const named_model models[] = {
    { "qp_block_fma", nullptr, by_definition },
#ifdef QP_WITH_X86_VECTORS
    { "avx512", &qp_vector_avx512, by_path<&qp_vector_avx512> },
    { "avx2", &qp_vector_avx2, by_path<&qp_vector_avx2> },
#endif
    { "portable", &qp_vector_portable, by_path<&qp_vector_portable> },
};

/* Counts the results that differ and shows the first few. */
long compare(int kind, int how, int matrices)
{
    uint64_t state = check_seed(static_cast<uint64_t>(1000 + kAccumulatorKinds * kind + how));
    std::vector<qp_bf16> a(static_cast<size_t>(matrices) * kM * kK), b(static_cast<size_t>(matrices) * kN * kK);
    std::vector<float> c(static_cast<size_t>(matrices) * kM * kN);
    for (qp_bf16 &x : a) x = block_input(kind, &state);
    for (qp_bf16 &x : b) x = block_input(kind, &state);
    for (float &x : c) x = accumulator(how, kind, &state);

    const std::vector<float> card = on_the_card(a, b, c);
    long all = 0;
    std::printf("%-18s accumulator %-16s", block_kind_names[kind], accumulator_names[how]);
    for (const named_model &m : models) {
        if (m.path && !m.path->runs_here()) continue;
        std::atomic<long> differ(0);
        const size_t threads = std::max(1u, std::thread::hardware_concurrency());
        std::vector<std::thread> team;
        for (size_t t = 0; t < threads; t++)
            team.emplace_back([&, t] {
                for (size_t matrix = t; matrix < static_cast<size_t>(matrices); matrix += threads) {
                    float got[kM * kN];
                    m.run(&a[matrix * kM * kK], &b[matrix * kN * kK], &c[matrix * kM * kN], got);
                    for (size_t i = 0; i < kM * kN; i++) {
                        const size_t at = matrix * kM * kN + i;
                        if (qp_f32_bits(got[i]) == qp_f32_bits(card[at])) continue;
                        if (differ++ < 3)
                            std::printf("\n  accumulator %08x: %s %08x, card %08x ", qp_f32_bits(c[at]), m.name,
                                        qp_f32_bits(got[i]), qp_f32_bits(card[at]));
                    }
                }
            });
        for (std::thread &thread : team) thread.join();
        std::printf(" %s %ld", m.name, differ.load());
        all += differ;
    }
    std::printf(" of %zu differ\n", card.size());
    return all;
}

} // namespace

int main(int argc, char **argv)
{
    const int matrices = argc > 1 ? std::atoi(argv[1]) : 8000;
    begin_on_card("mma.sync.m16n8k16 against the definition and the paths of the CPU");
    long differ = 0;
    for (int kind = 0; kind < BLOCK_KINDS; kind++)
        for (int how = 0; how < kAccumulatorKinds; how++) differ += compare(kind, how, matrices);
    std::printf("%ld differ\n", differ);
    return differ ? 1 : 0;
}
