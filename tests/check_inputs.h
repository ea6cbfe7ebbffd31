/* Inputs for the cases of an operation: the same from the same seed. */
#ifndef QP_CHECK_INPUTS_H
#define QP_CHECK_INPUTS_H

#include <math.h>
#include <stdint.h>

#include "../kernels/numerics/bf16.h"
#include "../kernels/operation.h"
#include "check_random.h"

static inline float check_value(qp_fill fill, uint64_t *state)
{
    static const float edges[] = { 0.0f, -0.0f, 1.0f, -1.0f, 0x1p-133f, -0x1p-127f, 0x1p12f, -0x1p12f, 0.5f, 3.0f };
    const double size = sqrt(-2.0 * log(1.0 - check_uniform(state)));
    const double normal = size * cos(6.283185307179586 * check_uniform(state));
    switch (fill) {
    case QP_FILL_NORMAL: return (float)normal;
    case QP_FILL_WIDE: return (float)ldexp(2.0 * check_uniform(state) - 1.0, (int)(check_uniform(state) * 40.0) - 20);
    case QP_FILL_EDGES: return edges[(size_t)(check_uniform(state) * 10.0)];
    }
    return 0.0f;
}

/* Fills an input, bf16 or i64. Ids and positions are small, whatever the vocabulary. */
static inline void check_fill_input(const qp_operation *operation, int input, const qp_call *call, qp_fill fill,
                                    uint64_t *state, void *data)
{
    const qp_operand *operand = &operation->in[input];
    if (operand->dtype == QP_I64 && operation->fill_table) {
        operation->fill_table(call, input, data);
        return;
    }
    const int64_t n = qp_operand_elements(operand, call);
    for (int64_t j = 0; j < n; j++) {
        if (operand->dtype == QP_I64)
            ((int64_t *)data)[j] = j % (operand->rank == 1 && call->extent[1] < 100 ? call->extent[1] : 100);
        else
            ((qp_bf16 *)data)[j] = qp_bf16_from_f32(check_value(fill, state));
    }
}

#endif
