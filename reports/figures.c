#include "figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qp_figure qp_figure_count(int64_t count)
{
    char digits[24];
    qp_figure f;
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    size_t at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') f.text[at++] = ',';
        f.text[at++] = digits[i];
    }
    f.text[at] = '\0';
    return f;
}

/* "1.2e-03" as "1.2e-3". */
static qp_figure scientific(double value, int decimals)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, "%.*e", decimals, value);
    char *exponent = strchr(f.text, 'e');
    if (!exponent) return f; /* "nan", "inf" */
    (void)snprintf(exponent + 1, sizeof f.text - (size_t)(exponent + 1 - f.text), "%ld",
                   strtol(exponent + 1, NULL, 10));
    return f;
}

qp_figure qp_figure_error(double error) { return error == 0.0 ? (qp_figure){ "0" } : scientific(error, 2); }

qp_figure qp_figure_ulp(double ulp)
{
    return ulp >= 0.0 && ulp < 1e15 ? qp_figure_count((int64_t)ulp) : scientific(ulp, 1);
}

/* Three digits and a unit. */
static qp_figure scaled(double value, const char *const units[])
{
    qp_figure f;
    int unit = 0;
    while (units[unit + 1] && value >= 999.5) {
        value /= 1000.0;
        unit++;
    }
    (void)snprintf(f.text, sizeof f.text, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return f;
}

qp_figure qp_figure_seconds(double seconds)
{
    static const char *const units[] = { "ns", "µs", "ms", "s", NULL };
    return scaled(1e9 * seconds, units);
}

qp_figure qp_figure_bytes(double bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", NULL };
    return scaled(bytes, units);
}

qp_figure qp_figure_rate(double rate, bool flops)
{
    static const char *const byte_units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s", NULL };
    static const char *const flop_units[] = { "flop/s", "kflop/s", "Mflop/s", "Gflop/s", "Tflop/s", NULL };
    return scaled(rate, flops ? flop_units : byte_units);
}

qp_figure qp_figure_percent(double share)
{
    qp_figure f;
    (void)snprintf(f.text, sizeof f.text, "%.*f %%", share < 0.09995 ? 1 : 0, 100.0 * share);
    return f;
}
