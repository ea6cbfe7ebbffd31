/* What reading a shared prefix once gains: cascade_attention that knows what its sequences share, against the same call
 * that does not, which is flat attention of all sequences in one launch. For prefixes of 256 to 32,768 tokens and 1 to
 * 256 sequences, with tokens of their own each (the argument, 64 without one). Results are compared first, all bits; times
 * are medians of events on a card whose L2 was filled with something else before, by reading: what was written would have
 * to go to memory first. Not a test: it is run by hand. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../kernels/cascade_attention/cascade_attention.h"
#include "check_card.cuh"

namespace {

constexpr int kSamples = 21, kHeadDim = 128, kKeyHeads = 8, kMostSequences = 256, kMostPrefix = 32768;
constexpr size_t kFlushBytes = 256 << 20; /* several times the L2 */

/* About normal values: the sum of four uniform ones. */
__global__ void fill(qp_bf16 *x, int64_t n, uint64_t seed)
{
    for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < n;
         i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        uint64_t z = (static_cast<uint64_t>(i) + seed) * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        float sum = 0.0f;
        for (int part = 0; part < 4; part++) sum += static_cast<float>(z >> 16 * part & 0xffff) * 0x1p-16f - 0.5f;
        x[i] = qp_bf16_from_f32(sum * 1.7320508f);
    }
}

/* Fills the L2 with x. */
__global__ void read_all(const uint4 *x, int64_t n, unsigned *sum)
{
    unsigned all = 0;
    for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < n;
         i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        const uint4 four = __ldcg(x + i);
        all += four.x ^ four.y ^ four.z ^ four.w;
    }
    if (all == 1) *sum = all; /* never: it is zeros */
}

qp_bf16 *random_memory(size_t count, uint64_t seed)
{
    qp_bf16 *memory = device_memory<qp_bf16>(count);
    fill<<<1024, 256>>>(memory, static_cast<int64_t>(count), seed << 40);
    check(cudaGetLastError(), "fill");
    return memory;
}

struct bench {
    cudaStream_t stream;
    cudaEvent_t begin, end;
    uint4 *flush; /* zeros */
    void *workspace = nullptr;
    size_t workspace_bytes = 0;
    qp_bf16 *q, *keys, *values, *y;
    int64_t *first, *length;
    int64_t own;

    /* All sequences begin with the same rows, and their own follow behind them. */
    qp_call call_of(int64_t sequences, int64_t prefix, int64_t query_heads, bool known)
    {
        qp_call call = {};
        call.extent[QP_CASCADE_ATTENTION_B] = sequences, call.extent[QP_CASCADE_ATTENTION_C] = 2;
        call.extent[QP_CASCADE_ATTENTION_N] = prefix + sequences * own;
        call.extent[QP_CASCADE_ATTENTION_S] = prefix + own;
        call.extent[QP_CASCADE_ATTENTION_HQ] = query_heads, call.extent[QP_CASCADE_ATTENTION_HKV] = kKeyHeads;
        call.extent[QP_CASCADE_ATTENTION_D] = kHeadDim;
        call.in[QP_CASCADE_ATTENTION_Q] = q, call.in[QP_CASCADE_ATTENTION_KEYS] = keys;
        call.in[QP_CASCADE_ATTENTION_VALUES] = values;
        call.in[QP_CASCADE_ATTENTION_FIRST] = first, call.in[QP_CASCADE_ATTENTION_LENGTH] = length;
        call.out[0] = y;
        call.params.scale = 0.08838834764f;
        call.params.shared = known ? prefix : 0;
        if ((prefix + own) % 8 != 0) { /* cuBLAS's usual orders for one query */
            call.params.order.lanes = 16, call.params.order.run = 8;
            call.params.context_order.lanes = 32, call.params.context_order.run = 4;
        }
        return call;
    }

    void write_tables(int64_t sequences, int64_t prefix)
    {
        std::vector<int64_t> of_first, of_length;
        for (int64_t b = 0; b < sequences; b++) {
            of_first.insert(of_first.end(), { 0, prefix + b * own });
            of_length.insert(of_length.end(), { prefix, own });
        }
        const size_t bytes = of_first.size() * sizeof of_first[0];
        check(cudaMemcpy(first, of_first.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
        check(cudaMemcpy(length, of_length.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    }

    void run(const qp_call &call)
    {
        qp_call with_launch = call;
        const size_t bytes = qp_cascade_attention_cuda_workspace(&call);
        if (bytes > workspace_bytes) {
            check(cudaFree(workspace), "cudaFree");
            workspace = device_memory<char>(workspace_bytes = bytes);
        }
        qp_launch launch = {};
        launch.stream = stream, launch.workspace = workspace;
        with_launch.launch = &launch;
        check_status(qp_cascade_attention_cuda(&with_launch));
    }

    /* Bits; memory is NaN before, and what stays so ends the program. */
    std::vector<uint16_t> result_of(const qp_call &call)
    {
        const size_t bytes = qp_operand_bytes(&qp_cascade_attention_operation.out[0], &call);
        std::vector<uint16_t> result(bytes / sizeof(uint16_t));
        check(cudaMemset(y, 0xff, bytes), "cudaMemset");
        if (workspace) check(cudaMemset(workspace, 0xff, workspace_bytes), "cudaMemset");
        check(cudaDeviceSynchronize(), "cudaMemset");
        run(call);
        check(cudaStreamSynchronize(stream), "cascade_attention");
        check(cudaMemcpy(result.data(), y, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
        for (const uint16_t bits : result)
            if ((bits & 0x7fff) > 0x7f80) check_status(qp_fail(QP_DEVICE, "a result is NaN, or was not written"));
        return result;
    }

    /* Median, in microseconds. */
    double time_of(const qp_call &call)
    {
        std::vector<float> samples;
        for (int i = 0; i < kSamples; i++) {
            float milliseconds = 0.0f;
            read_all<<<1024, 256, 0, stream>>>(flush, kFlushBytes / sizeof(uint4), &flush->x);
            check(cudaEventRecord(begin, stream), "cudaEventRecord");
            run(call);
            check(cudaEventRecord(end, stream), "cudaEventRecord");
            check(cudaEventSynchronize(end), "cascade_attention");
            check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
            samples.push_back(milliseconds);
        }
        std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
        return 1e3 * static_cast<double>(samples[kSamples / 2]);
    }
};

} // namespace

int main(int argc, char **argv)
{
    begin_on_card("cascade_attention that knows the shared prefix, against flat attention of the same sequences");
    bench b = {};
    b.own = argc > 1 ? std::atoll(argv[1]) : 64;
    if (b.own < 1 || b.own > 4096) {
        std::printf("the tokens of a sequence's own must be from 1 to 4096\n");
        return 2;
    }
    const size_t most_heads = 32, rows = static_cast<size_t>(kMostPrefix + kMostSequences * b.own);
    check(cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cudaEventCreate(&b.begin), "cudaEventCreate");
    check(cudaEventCreate(&b.end), "cudaEventCreate");
    b.flush = device_memory<uint4>(kFlushBytes / sizeof(uint4));
    check(cudaMemset(b.flush, 0, kFlushBytes), "cudaMemset");
    b.q = random_memory(kMostSequences * most_heads * kHeadDim, 1);
    b.y = device_memory<qp_bf16>(kMostSequences * most_heads * kHeadDim);
    b.keys = random_memory(rows * kKeyHeads * kHeadDim, 2);
    b.values = random_memory(rows * kKeyHeads * kHeadDim, 3);
    b.first = device_memory<int64_t>(2 * kMostSequences);
    b.length = device_memory<int64_t>(2 * kMostSequences);
    check(cudaDeviceSynchronize(), "fill");

    std::printf(
        "%lld tokens of each sequence's own; %d key heads of %d; medians of %d, cold\n"
        "query heads  prefix sequences equal  MB flat  MB once predicted  us flat  us once    gain  of predicted\n",
        static_cast<long long>(b.own), kKeyHeads, kHeadDim, kSamples);
    bool all_equal = true;
    for (const int64_t query_heads : { 16, 32 })
        for (int64_t prefix = 256; prefix <= kMostPrefix; prefix *= 2)
            for (int64_t sequences = 1; sequences <= kMostSequences; sequences *= 2) {
                const qp_call flat = b.call_of(sequences, prefix, query_heads, false),
                              once = b.call_of(sequences, prefix, query_heads, true);
                b.write_tables(sequences, prefix);
                const bool equal = b.result_of(flat) == b.result_of(once);
                all_equal = all_equal && equal;
                const double flat_bytes =
                                 static_cast<double>(qp_operation_cost(&qp_cascade_attention_operation, &flat).bytes),
                             once_bytes =
                                 static_cast<double>(qp_operation_cost(&qp_cascade_attention_operation, &once).bytes);
                const double flat_time = b.time_of(flat), once_time = b.time_of(once);
                const double predicted = flat_bytes / once_bytes, gain = flat_time / once_time;
                std::printf("%11lld %7lld %9lld %5s %8.1f %8.1f %9.2f %8.1f %8.1f %7.2f %13.2f\n",
                            static_cast<long long>(query_heads), static_cast<long long>(prefix),
                            static_cast<long long>(sequences), equal ? "yes" : "NO", flat_bytes / 1e6, once_bytes / 1e6,
                            predicted, flat_time, once_time, gain, gain / predicted);
                std::fflush(stdout);
            }
    std::printf("%s\n", all_equal ? "all results are equal, bit for bit" : "some results DIFFER");
    return all_equal ? 0 : 1;
}
