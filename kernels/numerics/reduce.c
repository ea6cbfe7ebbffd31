#include "reduce.h"

#include "strict_fp.h"

enum { WARP = 32 };

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* p(x) of the header. */
static int64_t power_below(int64_t x)
{
    int64_t power = 1;
    while (power < QP_MEAN_MAX_LANES && 2 * power <= x) power *= 2;
    return power;
}

typedef struct block_shape {
    int64_t x; /* threads that share a row */
    int64_t y; /* rows of a block */
} block_shape;

static block_shape mean_block(int64_t n, int64_t rows)
{
    const int64_t width = power_below(n >= QP_MEAN_VECTOR_MIN ? n / QP_MEAN_VECTOR : n), height = power_below(rows);
    const int64_t y = min64(height, QP_MEAN_MAX_LANES / min64(width, WARP));
    return (block_shape){ min64(width, QP_MEAN_MAX_LANES / y), y };
}

/* For each offset lanes/2, ..., 1: lane l += lane l + offset. Leaves the sum in lane 0. */
static float fold(float *sum, int64_t lanes)
{
    for (int64_t offset = lanes / 2; offset > 0; offset /= 2)
        for (int64_t l = 0; l < offset; l++) sum[l] = sum[l] + sum[l + offset];
    return sum[0];
}

bool qp_mean_is_known(int64_t n, int64_t rows)
{
    if (n < WARP || (n >= QP_MEAN_VECTOR_MIN && n % QP_MEAN_VECTOR)) return false;
    const block_shape block = mean_block(n, rows);
    const int64_t values_per_thread = (n + block.x - 1) / block.x;
    const int64_t split_from = 16 * block.y > 256 ? 16 * block.y : 256;
    return values_per_thread < split_from;
}

int64_t qp_mean_lanes(int64_t n, int64_t rows) { return mean_block(n, rows).x; }

float qp_mean_factor(int64_t n, int64_t rows) { return (float)rows / (float)(rows * n); }

float qp_mean(const float *values, int64_t n, int64_t rows)
{
    const int64_t lanes = qp_mean_lanes(n, rows);
    const bool vectors = n >= QP_MEAN_VECTOR_MIN;
    const int64_t element_stride = vectors ? 1 : lanes, lane_stride = vectors ? QP_MEAN_VECTOR : 1;
    float sum[QP_MEAN_MAX_LANES];
    for (int64_t l = 0; l < lanes; l++) {
        float a[QP_MEAN_VECTOR] = { 0, 0, 0, 0 };
        for (int64_t start = l * lane_stride; start < n; start += QP_MEAN_VECTOR * lanes) /* M1, M2 */
            for (int64_t i = 0; i < QP_MEAN_VECTOR && start + i * element_stride < n; i++)
                a[i] += values[start + i * element_stride];
        sum[l] = ((a[0] + a[1]) + a[2]) + a[3]; /* M3 */
    }
    return fold(sum, lanes) * qp_mean_factor(n, rows); /* M4, M5 */
}

int64_t qp_softmax_lanes(int64_t n)
{
    int64_t lanes = 1;
    while (lanes < WARP && lanes < n) lanes *= 2;
    return lanes;
}

/* S1 */
static float warp_sum(const float *values, int64_t n)
{
    const int64_t lanes = qp_softmax_lanes(n);
    float sum[WARP];
    for (int64_t l = 0; l < lanes; l++) {
        sum[l] = 0.0f;
        for (int64_t i = l; i < n; i += lanes) sum[l] += values[i];
    }
    /* The exchange gives lane 0 the same tree as a fold, since an addition does not depend on its order. */
    return fold(sum, lanes);
}

float qp_softmax_sum(const float *values, int64_t n, int64_t row)
{
    enum { THREADS = QP_SOFTMAX_THREADS };
    if (n <= QP_SOFTMAX_WARP_MAX) return warp_sum(values, n);

    const qp_softmax_parts parts = qp_softmax_parts_of(n, row);
    const int64_t rest = parts.head + parts.body;
    float sum[THREADS];
    for (int64_t t = 0; t < THREADS; t++) { /* S2, S3, S4 */
        const int64_t own = t - (THREADS - parts.head);
        sum[t] = own >= 0 ? values[own] : 0.0f;
        for (int64_t start = parts.head + t * QP_SOFTMAX_VECTOR; start < rest; start += THREADS * QP_SOFTMAX_VECTOR)
            for (int64_t i = 0; i < QP_SOFTMAX_VECTOR; i++) sum[t] += values[start + i];
        for (int64_t i = rest + t; i < n; i += THREADS) sum[t] += values[i];
    }
    float total[THREADS / WARP];
    for (int w = 0; w < THREADS / WARP; w++) total[w] = fold(sum + w * WARP, WARP);
    return fold(total, THREADS / WARP);
}
