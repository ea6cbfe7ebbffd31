#include "special_array.h"

#include "numerics/special.h"

const char *qp_special_name(qp_special function)
{
    static const char *const names[QP_SPECIALS] = { "rsqrtf", "ex2.approx.ftz", "expf", "cosf", "sinf" };
    return names[function];
}

float qp_special_value(qp_special function, float x)
{
    switch (function) {
    case QP_RSQRT: return qp_rsqrt(x);
    case QP_EX2: return qp_ex2(x);
    case QP_EXP: return qp_exp(x);
    case QP_COS: return qp_cos(x);
    default: return qp_sin(x);
    }
}

#ifdef QP_WITH_CUDA
#define ON(backend, cpu, cuda) ((backend) == QP_CPU ? (cpu) : (cuda))
#else
#define ON(backend, cpu, cuda) ((backend) == QP_CPU ? (cpu) : NULL)
#endif

qp_run qp_special_bits(qp_backend backend) { return ON(backend, qp_special_bits_cpu, qp_special_bits_cuda); }

qp_run qp_special_checksums(qp_backend backend)
{
    return ON(backend, qp_special_checksums_cpu, qp_special_checksums_cuda);
}

static uint32_t bits_of(qp_special function, uint32_t argument)
{
    return qp_f32_bits(qp_special_value(function, qp_f32_from_bits(argument)));
}

qp_status qp_special_bits_cpu(const qp_call *call)
{
    const qp_special function = (qp_special)call->extent[QP_SPECIAL_FUNCTION];
    uint32_t *bits = call->out[0];
#pragma omp parallel for
    for (int64_t i = 0; i < call->extent[QP_SPECIAL_COUNT]; i++)
        bits[i] = bits_of(function, (uint32_t)(call->extent[QP_SPECIAL_FIRST] + i));
    return QP_OK;
}

qp_status qp_special_checksums_cpu(const qp_call *call)
{
    const qp_special function = (qp_special)call->extent[QP_SPECIAL_FUNCTION];
    uint64_t *sums = call->out[0];
#pragma omp parallel for schedule(dynamic)
    for (int64_t chunk = 0; chunk < call->extent[QP_SPECIAL_COUNT]; chunk++) {
        const uint32_t first = (uint32_t)(call->extent[QP_SPECIAL_FIRST] + chunk) * QP_SPECIAL_CHUNK;
        uint64_t sum = 0;
        for (uint32_t i = 0; i < QP_SPECIAL_CHUNK; i++) sum += qp_special_mix(first + i, bits_of(function, first + i));
        sums[chunk] = sum;
    }
    return QP_OK;
}
