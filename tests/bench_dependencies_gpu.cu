/* What the dependencies of a decode step cost on this card, which its weights' bytes do not show: a kernel that needs what
 * the one before wrote, and a block of 16 in a chain that each block has to wait for. With the number of kernels and of blocks
 * in a step they say what it needs at least, however fast memory is. Not a test: it is run by hand. */
#include <algorithm>
#include <cstdio>
#include <vector>

#include "../kernels/weight_stream.cuh"
#include "check_card.cuh"

namespace {

using namespace qp;

constexpr int kSamples = 21;

float median(std::vector<float> samples)
{
    std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
    return samples[samples.size() / 2];
}

/* ---- A kernel after a kernel, in a CUDA graph ---- */

constexpr int kKernels = 256, kBlocks = 128, kThreads = 128, kRow = 1024; /* kRow: elements of bf16 */

/* Every block reads the whole row, as a product does, and writes its share of the next one. */
__global__ void __launch_bounds__(kThreads) hand_on(const uint4 *row, qp_bf16 *next)
{
    allow_successor();
    wait_for_predecessor();
    const uint4 own = __ldcg(row + threadIdx.x);
    const int any = __syncthreads_or(static_cast<int>(own.x ^ own.y ^ own.z ^ own.w));
    if (threadIdx.x < kRow / kBlocks)
        next[blockIdx.x * (kRow / kBlocks) + threadIdx.x].bits = static_cast<uint16_t>(any);
}

/* Microseconds of a kernel. */
double time_of_kernel(cudaStream_t stream, bool dependent)
{
    qp_bf16 *rows[2] = { device_memory<qp_bf16>(kRow), device_memory<qp_bf16>(kRow) };
    for (qp_bf16 *row : rows) check(cudaMemset(row, 0, kRow * sizeof *row), "cudaMemset");
    qp_launch launch = {};
    launch.stream = stream;
    qp_call call = {};
    call.launch = &launch;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "cudaEventCreate");
    check(cudaEventCreate(&end), "cudaEventCreate");
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (int i = 0; i < kKernels; i++) {
        const uint4 *from = reinterpret_cast<const uint4 *>(rows[i % 2]);
        if (dependent)
            check_status(
                launch_dependent(&call, "hand_on", hand_on, { kBlocks, kThreads, 0, 1 }, from, rows[(i + 1) % 2]));
        else
            hand_on<<<kBlocks, kThreads, 0, stream>>>(from, rows[(i + 1) % 2]);
    }
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    std::vector<float> samples;
    for (int i = 0; i < kSamples; i++) {
        float milliseconds = 0.0f;
        check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch"); /* warm */
        check(cudaEventRecord(begin, stream), "cudaEventRecord");
        check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
        check(cudaEventRecord(end, stream), "cudaEventRecord");
        check(cudaEventSynchronize(end), "hand_on");
        check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
        samples.push_back(milliseconds);
    }
    check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    check(cudaEventDestroy(begin), "cudaEventDestroy");
    check(cudaEventDestroy(end), "cudaEventDestroy");
    for (qp_bf16 *row : rows) check(cudaFree(row), "cudaFree");
    return 1e3 * static_cast<double>(median(samples)) / kKernels;
}

/* ---- A block after a block ---- */

/* Operands that are in registers. */
__global__ void chain_of_registers(int blocks, int64_t *cycles, float *sums)
{
    float sum[4] = {};
    const uint32_t a[4] = { threadIdx.x, 1, 2, 3 }, b[2] = { threadIdx.x, 5 };
    const int64_t begin = clock64();
    for (int i = 0; i < blocks; i += 8) {
#pragma unroll
        for (int j = 0; j < 8; j++) block_fma(sum, a, b);
    }
    sums[threadIdx.x] = sum[0];
    if (threadIdx.x == 0) *cycles = clock64() - begin;
}

struct operands {
    stream_shape s;
    weight_map weight;
};

/* As in the fused kernels (weight_stream.cuh), all weights there. */
__global__ void chain_of_stages(const __grid_constant__ operands o, int64_t *cycles, float *sums)
{
    constexpr int kUntilAllIsThere = 100000; /* cycles */
    extern __shared__ __align__(kBoxBytes) unsigned char shared[];
    weight_stream<2, consecutive_rows<2>> stream(o.s, { &o.weight }, shared, 0, 1);
    stream.prepare();
    for (const int64_t begin = clock64(); clock64() - begin < kUntilAllIsThere;) continue;
    stream.take_x([] {});
    const int64_t begin = clock64();
    stream.run([&](int, const float(&sum)[4]) { sums[threadIdx.x] = sum[0]; });
    if (threadIdx.x == 0) *cycles = clock64() - begin;
}

/* Cycles of a chain over `blocks` blocks: the fewest of several, when its instructions are there. */
template <class Launch> int64_t cycles_of(Launch launch)
{
    int64_t *cycles = device_memory<int64_t>(1), fewest = INT64_MAX;
    float *sums = device_memory<float>(kNormThreads);
    for (int i = 0; i < kSamples; i++) {
        int64_t some = 0;
        launch(cycles, sums);
        check(cudaGetLastError(), "a chain");
        check(cudaMemcpy(&some, cycles, sizeof some, cudaMemcpyDeviceToHost), "a chain");
        fewest = std::min(fewest, some);
    }
    check(cudaFree(cycles), "cudaFree");
    check(cudaFree(sums), "cudaFree");
    return fewest;
}

int64_t cycles_of_stages(int64_t k)
{
    qp_bf16 *weight = device_memory<qp_bf16>(static_cast<size_t>(k) * kTileRows);
    qp_bf16 *x = device_memory<qp_bf16>(static_cast<size_t>(k));
    check(cudaMemset(weight, 0, static_cast<size_t>(k) * kTileRows * sizeof *weight), "cudaMemset");
    check(cudaMemset(x, 0, static_cast<size_t>(k) * sizeof *x), "cudaMemset");
    operands o = {};
    o.s = make_stream_shape(x, 1, k, k, {});
    o.s.groups = 2, o.s.tiles = o.s.teams = 1;
    if (!choose_stages(&o.s, 1, static_cast<int>(k) * kTileRows * static_cast<int>(sizeof *weight)) ||
        !make_weight_map(weight, kTileRows, k, o.s.groups, &o.weight))
        check_status(qp_fail(QP_DEVICE, "a chain over %lld elements cannot be streamed", static_cast<long long>(k)));
    check(cudaFuncSetAttribute(chain_of_stages, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(o.s.shared_bytes())),
          "cudaFuncSetAttribute");
    const int64_t cycles = cycles_of([&](int64_t *to, float *sums) {
        chain_of_stages<<<1, stream_threads(o.s), o.s.shared_bytes()>>>(o, to, sums);
    });
    check(cudaFree(weight), "cudaFree");
    check(cudaFree(x), "cudaFree");
    return cycles;
}

} // namespace

int main()
{
    begin_on_card("what the dependencies of a decode step cost");
    cudaStream_t stream;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    std::printf(
        "a kernel of %d blocks that reads the row that the one before it wrote, and writes the next, in a graph\n"
        "of %d: %.2f us after an ordinary launch, %.2f us after a programmatic dependent one\n\n",
        kBlocks, kKernels, time_of_kernel(stream, false), time_of_kernel(stream, true));
    std::printf("chain of one warp, in cycles     K  blocks  from registers  in the fused kernels\n");
    int64_t before[2] = {}, k_before = 0;
    for (const int64_t k : { 1024, 2048, 4096 }) {
        const int blocks = static_cast<int>(k / QP_BLOCK_K);
        const int64_t cycles[2] = { cycles_of([&](int64_t *to, float *sums) {
                                        chain_of_registers<<<1, kWarp>>>(blocks, to, sums);
                                    }),
                                    cycles_of_stages(k) };
        std::printf("%34lld %7d %15lld %21lld\n", static_cast<long long>(k), blocks, static_cast<long long>(cycles[0]),
                    static_cast<long long>(cycles[1]));
        if (k_before)
            std::printf("%34s %7s %15.1f %21.1f\n", "", "each",
                        static_cast<double>(cycles[0] - before[0]) * QP_BLOCK_K / static_cast<double>(k - k_before),
                        static_cast<double>(cycles[1] - before[1]) * QP_BLOCK_K / static_cast<double>(k - k_before));
        before[0] = cycles[0], before[1] = cycles[1], k_before = k;
    }
    return 0;
}
