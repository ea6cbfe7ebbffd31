/* kernels/numerics/block_fma against the card: mma.sync.m16n8k16 on every kind of input, with accumulators of every kind.
 * Exit code 77 (skipped) without a usable device. An argument: the matrices of each kind, 128 results each. */
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../kernels/numerics/block_fma.h"
#include "check_block_inputs.h"

namespace {

constexpr int kM = 16, kN = 8, kK = 16, kSkipped = 77;
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

void check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return;
    std::printf("%s: %s\n", what, cudaGetErrorString(error));
    std::exit(1);
}

/* Runs the product on the card; the result is poisoned before. */
std::vector<float> on_the_card(const std::vector<qp_bf16> &a, const std::vector<qp_bf16> &b, const std::vector<float> &c)
{
    std::vector<float> d(c.size());
    void *memory[4] = {};
    const size_t bytes[4] = { a.size() * sizeof a[0], b.size() * sizeof b[0], c.size() * sizeof c[0], c.size() * sizeof c[0] };
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
    long differ = 0;
    for (size_t i = 0; i < card.size(); i++) {
        const size_t matrix = i / (kM * kN), row = i / kN % kM, column = i % kN;
        const float model = qp_block_fma(c[i], &a[(matrix * kM + row) * kK], &b[(matrix * kN + column) * kK]);
        if (qp_f32_bits(model) == qp_f32_bits(card[i])) continue;
        if (differ++ < 3)
            std::printf("  accumulator %08x: model %08x, card %08x\n", qp_f32_bits(c[i]), qp_f32_bits(model), qp_f32_bits(card[i]));
    }
    std::printf("%-18s accumulator %-16s %ld of %zu differ\n", block_kind_names[kind], accumulator_names[how], differ, card.size());
    return differ;
}

} // namespace

int main(int argc, char **argv)
{
    const int matrices = argc > 1 ? std::atoi(argv[1]) : 8000;
    cudaDeviceProp device;
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0 || cudaGetDeviceProperties(&device, 0) != cudaSuccess) {
        std::printf("skipped: no CUDA device is usable\n");
        return kSkipped;
    }
    if (device.major != 9) {
        std::printf("skipped: the model is that of compute capability 9, and %s has %d\n", device.name, device.major);
        return kSkipped;
    }
    std::printf("%s: mma.sync.m16n8k16 against qp_block_fma\n", device.name);
    long differ = 0;
    for (int kind = 0; kind < BLOCK_KINDS; kind++)
        for (int how = 0; how < kAccumulatorKinds; how++) differ += compare(kind, how, matrices);
    std::printf("%ld differ\n", differ);
    return differ ? 1 : 0;
}
