#include "figures.h"

#include <inttypes.h>
#include <math.h>

/* Divides by thousands while there is a unit left, of `units`, and tells which; *decimals makes three digits of it. */
static int scale(double *value, int units, int *decimals)
{
    int unit = 0;
    for (; unit + 1 < units && *value >= 999.5; unit++) *value /= 1000.0;
    *decimals = *value < 9.995 ? 2 : *value < 99.95 ? 1 : 0;
    return unit;
}

qp_figure qp_say_count(int64_t count)
{
    static const char units[] = "MGTPE";
    qp_figure f;
    int decimals = 0;
    double value = (double)count / 1e6;
    if (count < 1000000) {
        (void)snprintf(f.text, sizeof f.text, "%" PRId64, count);
        return f;
    }
    const int unit = scale(&value, (int)sizeof units - 1, &decimals);
    (void)snprintf(f.text, sizeof f.text, "%.*f%c", decimals, value, units[unit]);
    return f;
}

qp_figure qp_say_grouped(int64_t count)
{
    char digits[24];
    qp_figure f;
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < sizeof f.text; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') f.text[at++] = ',';
        f.text[at++] = digits[i];
    }
    f.text[at] = '\0';
    return f;
}

qp_figure qp_say_error(double error)
{
    qp_figure f;
    if (error == 0.0)
        (void)snprintf(f.text, sizeof f.text, "0");
    else
        (void)snprintf(f.text, sizeof f.text, "%.1e", error);
    return f;
}

qp_figure qp_say_ulp(double ulp)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, ulp < 1e5 ? "%.0f" : "%.0e", ulp);
    return f;
}

qp_figure qp_say_scaled(double value, const char *const units[])
{
    qp_figure f;
    int count = 0, decimals = 0;
    while (units[count]) count++;
    const int unit = scale(&value, count, &decimals);
    (void)snprintf(f.text, sizeof f.text, "%.*f %s", decimals, value, units[unit]);
    return f;
}

qp_figure qp_say_seconds(double seconds)
{
    static const char *const units[] = { "ns", "us", "ms", "s", NULL };
    return qp_say_scaled(1e9 * seconds, units);
}

qp_figure qp_say_rate(double rate, bool flops)
{
    static const char *const byte_units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s", NULL };
    static const char *const flop_units[] = { "flop/s", "kflop/s", "Mflop/s", "Gflop/s", "Tflop/s", NULL };
    return qp_say_scaled(rate, flops ? flop_units : byte_units);
}

qp_figure qp_say_bytes(double bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", NULL };
    return qp_say_scaled(bytes, units);
}

qp_figure qp_say_percent(double share)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, "%.*f %%", share < 0.09995 ? 1 : 0, 100.0 * share);
    return f;
}

qp_figure qp_say_element(double value)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, "%.9g", value);
    return f;
}

qp_figure qp_say_bits(qp_dtype dtype, uint64_t bits)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, "0x%0*" PRIx64, 2 * (int)qp_dtype_bytes(dtype), bits);
    return f;
}

void qp_put_position(const qp_row *row, int64_t index, qp_put_text put, FILE *stream)
{
    int64_t position[QP_MAX_RANK];
    qp_row_position(row, index, position);
    for (int i = 0; i < row->rank; i++) {
        if (i) (void)fputs(", ", stream);
        put(row->axis[i] ? row->axis[i] : "axis", stream);
        (void)fprintf(stream, " %" PRId64, position[i]);
    }
}

int64_t qp_count_inside_fused(const qp_report *report)
{
    int64_t tensors = 0;
    for (int i = 0; i < report->inside_fused_count; i++) tensors += report->inside_fused[i].tensors;
    return tensors;
}
