/* kernels/numerics/special against the card's own rsqrtf, ex2.approx.ftz, expf, cosf and sinf, and division. Exit code 77
 * (skipped) without a usable device. An argument: the parts of 2^24 inputs that are compared of each function, spread
 * evenly; 256 are all 2^32 of them. */
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "../kernels/numerics/bf16.h"
#include "../kernels/special_array.h"
#include "check_card.cuh"
#include "check_random.h"

namespace
{

constexpr int64_t kPart = INT64_C(1) << 24;
constexpr int kParts = 256;

__global__ void divide(const float *x, const float *z, float *y)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    y[i] = __fdiv_rn(x[i], z[i]);
}

void check(qp_status status)
{
    if (status == QP_OK) return;
    std::printf("%s\n", qp_last_error());
    std::exit(1);
}

/* Calls `count(first, end)` on all processors, and adds up what it returns. */
long in_threads(int64_t n, const std::function<long(int64_t, int64_t)> &count)
{
    const int64_t threads = std::max(1u, std::thread::hardware_concurrency()), share = (n + threads - 1) / threads;
    std::atomic<long> sum(0);
    std::vector<std::thread> all;
    for (int64_t t = 0; t < threads; t++)
        all.emplace_back([&, t] { sum += count(std::min(n, t * share), std::min(n, (t + 1) * share)); });
    for (std::thread &thread : all) thread.join();
    return sum;
}

const qp_launch launch = {};

/* Device memory, and host memory that it is quickly copied to. */
template <typename T> struct memory {
    T *device = nullptr, *host = nullptr;
    memory()
    {
        check(cudaMalloc(&device, kPart * sizeof(T)), "cudaMalloc");
        check(cudaMallocHost(&host, kPart * sizeof(T)), "cudaMallocHost");
    }
    ~memory()
    {
        cudaFree(device);
        cudaFreeHost(host);
    }
    void fetch() { check(cudaMemcpy(host, device, kPart * sizeof(T), cudaMemcpyDeviceToHost), "copy from the card"); }
    void send() { check(cudaMemcpy(device, host, kPart * sizeof(T), cudaMemcpyHostToDevice), "copy to the card"); }
};

long compare(qp_special f, int parts)
{
    memory<uint32_t> y;
    long differ = 0;
    for (int part = 0; part < parts; part++) {
        const uint32_t first = static_cast<uint32_t>(static_cast<int64_t>(part) * kParts / parts * kPart);
        const qp_call call = { { f, first, kPart }, {}, { y.device }, {}, &launch };
        check(qp_special_bits_cuda(&call));
        y.fetch();
        const long found = in_threads(kPart, [&](int64_t from, int64_t to) {
            long count = 0;
            for (int64_t i = from; i < to; i++) {
                const uint32_t x = first + static_cast<uint32_t>(i);
                count += qp_f32_bits(qp_special_value(f, qp_f32_from_bits(x))) != y.host[i];
            }
            return count;
        });
        for (int64_t i = 0; found > 0 && differ == 0 && i < kPart; i++) {
            const uint32_t x = first + static_cast<uint32_t>(i),
                           ours = qp_f32_bits(qp_special_value(f, qp_f32_from_bits(x)));
            if (ours == y.host[i]) continue;
            std::printf("  %s(%08x): ours %08x, card %08x\n", qp_special_name(f), x, ours, y.host[i]);
            break;
        }
        differ += found;
    }
    std::printf("%-16s %ld of %lld inputs differ\n", qp_special_name(f), differ, static_cast<long long>(parts * kPart));
    return differ;
}

/* Random bits over random bits. */
long compare_division(int parts)
{
    memory<float> x, z, y;
    long differ = 0;
    for (int part = 0; part < parts; part++) {
        in_threads(kPart, [&](int64_t from, int64_t to) {
            uint64_t state = check_seed(77) + static_cast<uint64_t>(part) * kPart * 8 + static_cast<uint64_t>(from);
            for (int64_t i = from; i < to; i++) {
                const uint64_t bits = check_random(&state);
                x.host[i] = qp_f32_from_bits(static_cast<uint32_t>(bits));
                z.host[i] = qp_f32_from_bits(static_cast<uint32_t>(bits >> 32));
            }
            return 0L;
        });
        x.send();
        z.send();
        divide<<<kPart / 256, 256>>>(x.device, z.device, y.device);
        check(cudaGetLastError(), "division");
        y.fetch();
        differ += in_threads(kPart, [&](int64_t from, int64_t to) {
            long count = 0;
            for (int64_t i = from; i < to; i++) { /* a NaN's bits are no matter: it is rounded to bf16's one NaN */
                const float ours = x.host[i] / z.host[i], card = y.host[i];
                count += qp_f32_bits(ours) != qp_f32_bits(card) && (ours == ours || card == card);
            }
            return count;
        });
    }
    std::printf("%-16s %ld of %lld pairs differ\n", "x / y", differ, static_cast<long long>(parts * kPart));
    return differ;
}

} // namespace

int main(int argc, char **argv)
{
    const int parts = std::min(kParts, std::max(1, argc > 1 ? std::atoi(argv[1]) : 16));
    begin_on_card("the CPU's special functions against its own");
    long differ = 0;
    for (int f = 0; f < QP_SPECIALS; f++) differ += compare(static_cast<qp_special>(f), parts);
    differ += compare_division(parts);
    std::printf("%ld differ\n", differ);
    return differ ? 1 : 0;
}
