#include "statistics.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* The value below which the share `p` of the sorted values lies. */
static double quantile(const double *values, int64_t count, double p)
{
    const double place = p * (double)(count - 1), whole = floor(place);
    const int64_t low = (int64_t)whole, high = low + 1 < count ? low + 1 : low;
    return values[low] + (place - whole) * (values[high] - values[low]);
}

qp_statistics qp_statistics_of(double *values, int64_t count)
{
    if (count < 1) return (qp_statistics){ 0 };
    qsort(values, (size_t)count, sizeof *values, ascending);
    return (qp_statistics){ .samples = count,
                            .median = quantile(values, count, 0.5),
                            .q1 = quantile(values, count, 0.25),
                            .q3 = quantile(values, count, 0.75) };
}

double qp_statistics_noise(const qp_statistics *statistics)
{
    return statistics->median > 0.0 ? (statistics->q3 - statistics->q1) / statistics->median : 0.0;
}

bool qp_clock_admits(qp_clock_gate *gate, double before, double after)
{
    if (before > gate->reference) gate->reference = before;
    if (after > gate->reference) gate->reference = after;
    const double least = QP_CLOCK_LEAST_SHARE * gate->reference;
    return (before == 0.0 || before >= least) && (after == 0.0 || after >= least);
}
