/* Every operation of the registry on every one of its cases: the contract on the CPU against the fp64 oracle, and how it
 * treats memory. No list of operations here: the registry is walked. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/compare.h"
#include "../kernels/numerics/bf16.h"
#include "../kernels/operation.h"
#include "../kernels/sequence.h"
#include "check_inputs.h"
#include "check_main.h"

enum { GUARD = 256 }; /* bytes of canary on either side of each operand */

typedef struct buffer {
    unsigned char *memory; /* GUARD, data, GUARD */
    void *data;
    size_t bytes;
} buffer;

static buffer guarded(size_t bytes, unsigned char poison)
{
    buffer b = { malloc(bytes + 2 * GUARD), NULL, bytes };
    ck_assert_ptr_nonnull(b.memory);
    memset(b.memory, 0xa5, bytes + 2 * GUARD);
    b.data = b.memory + GUARD;
    memset(b.data, poison, bytes);
    return b;
}

static bool canaries_live(const buffer *b)
{
    for (size_t i = 0; i < GUARD; i++)
        if (b->memory[i] != 0xa5 || b->memory[GUARD + b->bytes + i] != 0xa5) return false;
    return true;
}

static uint64_t random_state;

typedef struct run {
    qp_call call, oracle;
    int in, out;
    buffer inputs[QP_MAX_IN], copies[QP_MAX_IN], wide[QP_MAX_IN], outputs[QP_MAX_OUT], truth[QP_MAX_OUT];
    buffer
        rounded[QP_MAX_OUT]; /* of a fused operation: the oracle's, with temporaries rounded; otherwise the truth's */
} run;

static void fill_input(const qp_operation *operation, const qp_call *call, qp_fill fill, run *r, int i)
{
    const qp_operand *operand = &operation->in[i];
    const int64_t n = qp_operand_elements(operand, call);
    r->inputs[i] = guarded((size_t)n * qp_dtype_bytes(operand->dtype), 0);
    r->copies[i] = guarded(r->inputs[i].bytes, 0);
    r->wide[i] = guarded((size_t)n * sizeof(double), 0);
    check_fill_input(operation, i, call, fill, &random_state, r->inputs[i].data);
    for (int64_t j = 0; j < n && operand->dtype != QP_I64; j++)
        ((double *)r->wide[i].data)[j] = (double)qp_bf16_to_f32(((qp_bf16 *)r->inputs[i].data)[j]);
    memcpy(r->copies[i].data, r->inputs[i].data, r->inputs[i].bytes);
    r->call.in[i] = r->inputs[i].data;
    r->oracle.in[i] = operand->role == QP_WEIGHT || operand->dtype == QP_I64 ? r->inputs[i].data : r->wide[i].data;
}

static void set_up(run *r, const qp_operation *operation, const qp_case *c)
{
    memset(r, 0, sizeof *r);
    memcpy(r->call.extent, c->extent, sizeof c->extent);
    r->call.params = c->params;
    r->oracle = r->call;
    r->in = qp_operand_count(operation->in, QP_MAX_IN);
    r->out = qp_operand_count(operation->out, QP_MAX_OUT);
    for (int i = 0; i < r->in; i++) fill_input(operation, &r->call, c->fill, r, i);
    for (int i = 0; i < r->out; i++) {
        const int64_t n = qp_operand_elements(&operation->out[i], &r->call);
        r->outputs[i] = guarded((size_t)n * qp_dtype_bytes(operation->out[i].dtype), 0xff);
        r->truth[i] = guarded((size_t)n * sizeof(double), 0xff);
        r->rounded[i] = guarded((size_t)n * sizeof(double), 0xff);
        r->call.out[i] = r->outputs[i].data;
        r->oracle.out[i] = r->truth[i].data;
    }
}

static void tear_down(run *r)
{
    for (int i = 0; i < r->in; i++) {
        free(r->inputs[i].memory);
        free(r->copies[i].memory);
        free(r->wide[i].memory);
    }
    for (int i = 0; i < r->out; i++) {
        free(r->outputs[i].memory);
        free(r->truth[i].memory);
        free(r->rounded[i].memory);
    }
}

static void run_oracle(const qp_operation *operation, run *r)
{
    ck_assert_msg(operation->oracle(&r->oracle) == QP_OK, "%s", qp_last_error());
    if (operation->sequence || operation->rounding_oracle) {
        qp_call rounding = r->oracle;
        for (int k = 0; k < r->out; k++) rounding.out[k] = r->rounded[k].data;
        const qp_status status = operation->rounding_oracle ? operation->rounding_oracle(&rounding)
                                                            : qp_fused_run(operation, &rounding, QP_ROUNDING_ORACLE);
        ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    } else {
        for (int k = 0; k < r->out; k++) memcpy(r->rounded[k].data, r->truth[k].data, r->truth[k].bytes);
    }
}

/* A contract rounds to bf16 (2^-9 relative) a few times, so its error is a few times 2^-9 of the size of what it
 * computes. A fused operation rounds between its steps, too, and a step can make an error larger (a softmax of large
 * scores, say) or turn it into another index. How far such roundings carry is what they do to the oracle: each step
 * rounds as often as a single operation, so that counts as often. Infinite results of the edge inputs and masked scores
 * are left out of the sizes. */
static void assert_near_the_oracle(const qp_operation *operation, const qp_case *c, run *r, int out)
{
    const qp_dtype dtype = operation->out[out].dtype;
    const int64_t n = qp_operand_elements(&operation->out[out], &r->call);
    double error = 0.0, size = 0.0, carried = 0.0;
    for (int64_t j = 0; j < n; j++) {
        const double got = qp_element(dtype, r->outputs[out].data, j);
        if (dtype == QP_I64) {
            ck_assert_msg(got == qp_element(QP_I64, r->truth[out].data, j) ||
                              got == qp_element(QP_I64, r->rounded[out].data, j),
                          "%s/%s: element %lld", operation->name, c->name, (long long)j);
            continue;
        }
        const double truth = ((double *)r->truth[out].data)[j], rounded = ((double *)r->rounded[out].data)[j];
        ck_assert_msg(!isnan(got), "%s/%s: element %lld of %s was not written or is NaN", operation->name, c->name,
                      (long long)j, operation->out[out].name);
        if (fabs(truth) > 1e30) {
            ck_assert_msg(fabs(got) > 1e29 && signbit(got) == signbit(truth), "%s/%s: element %lld is %g, not %g",
                          operation->name, c->name, (long long)j, got, truth);
            continue;
        }
        error += (got - truth) * (got - truth);
        size += truth * truth;
        carried += (rounded - truth) * (rounded - truth);
    }
    const double bound = 3.0 * (0x1p-9 * sqrt(size) + sqrt(carried));
    ck_assert_msg(isfinite(bound), "%s/%s: the oracle has no finite bound", operation->name, c->name);
    ck_assert_msg(sqrt(error) <= bound, "%s/%s: the error is %g, more than %g", operation->name, c->name, sqrt(error),
                  bound);
}

START_TEST(test_contract_is_near_the_oracle_and_touches_only_its_outputs)
{
    const qp_operation *operation = qp_operations[_i];
    for (const qp_implementation *i = qp_implementations; i->name; i++) {
        if (strcmp(i->operation, operation->name) != 0 || i->backend != QP_CPU) continue;
        for (const qp_case *c = operation->cases; c->name; c++) {
            run r;
            random_state = 1234;
            set_up(&r, operation, c);
            ck_assert_msg(qp_operation_check(operation, &r.call) == QP_OK, "%s", qp_last_error());
            ck_assert_msg(i->run(&r.call) == QP_OK, "%s", qp_last_error());
            run_oracle(operation, &r);
            for (int k = 0; k < r.in; k++) {
                ck_assert_msg(canaries_live(&r.inputs[k]), "%s/%s: wrote beside an input", operation->name, c->name);
                ck_assert_msg(!memcmp(r.inputs[k].data, r.copies[k].data, r.inputs[k].bytes), "%s/%s: changed an input",
                              operation->name, c->name);
            }
            for (int k = 0; k < r.out; k++) {
                ck_assert_msg(canaries_live(&r.outputs[k]), "%s/%s: wrote beside an output", operation->name, c->name);
                ck_assert_msg(canaries_live(&r.truth[k]), "%s/%s: the oracle wrote beside an output", operation->name,
                              c->name);
                assert_near_the_oracle(operation, c, &r, k);
            }
            tear_down(&r);
        }
    }
}
END_TEST

/* A fault that changes nothing on any case would prove nothing. */
START_TEST(test_every_fault_changes_some_case)
{
    const qp_operation *operation = qp_operations[_i];
    const qp_implementation *right = qp_implementation_find(operation->name, QP_CPU, NULL);
    for (const qp_fault *fault = operation->faults; fault && fault->name; fault++) {
        bool changed = false;
        for (const qp_case *c = operation->cases; c->name && !changed; c++) {
            run r, wrong;
            random_state = 99;
            set_up(&r, operation, c);
            random_state = 99;
            set_up(&wrong, operation, c);
            ck_assert_int_eq(right->run(&r.call), QP_OK);
            ck_assert_int_eq(fault->run(&wrong.call), QP_OK);
            for (int k = 0; k < r.out; k++)
                changed |= memcmp(r.outputs[k].data, wrong.outputs[k].data, r.outputs[k].bytes) != 0;
            tear_down(&r);
            tear_down(&wrong);
        }
        ck_assert_msg(changed, "%s changes no case", fault->name);
    }
}
END_TEST

START_TEST(test_registry_is_complete)
{
    for (int i = 0; qp_operations[i]; i++) {
        const qp_operation *operation = qp_operations[i];
        ck_assert_ptr_eq(qp_operation_find(operation->name), operation);
        ck_assert_msg(qp_implementation_find(operation->name, QP_CPU, NULL) != NULL, "%s has no CPU implementation",
                      operation->name);
        ck_assert_ptr_nonnull(operation->cases[0].name);
        ck_assert_msg(operation->oracle != NULL, "%s has no oracle", operation->name);
        for (int j = 0; j < i; j++) ck_assert_str_ne(operation->name, qp_operations[j]->name);
    }
    for (const qp_implementation *i = qp_implementations; i->name; i++) {
        ck_assert_ptr_nonnull(qp_operation_find(i->operation));
        ck_assert_ptr_eq(qp_implementation_find(i->operation, i->backend, i->name), i);
    }
    ck_assert_ptr_null(qp_operation_find("no_such_operation"));
    ck_assert_ptr_null(qp_implementation_find("linear", QP_CPU, "no_such_implementation"));
}
END_TEST

START_TEST(test_check_refuses_what_the_contract_does_not_cover)
{
    const qp_operation *scores = qp_operation_find("scores");
    float storage[4] = { 0 };
    qp_call call = { .extent = { 1, 1, 1, 1, 1 }, .in = { storage, storage }, .out = { storage } };
    ck_assert_int_eq(qp_operation_check(scores, &call), QP_OK);
    call.extent[0] = 2; /* more queries than keys */
    ck_assert_int_eq(qp_operation_check(scores, &call), QP_UNSUPPORTED);
    call.extent[0] = 0;
    ck_assert_int_eq(qp_operation_check(scores, &call), QP_INVALID);
    call.extent[0] = 1;
    call.in[1] = NULL;
    ck_assert_int_eq(qp_operation_check(scores, &call), QP_INVALID);
}
END_TEST

START_TEST(test_embedding_refuses_an_id_outside_the_vocabulary)
{
    static const qp_bf16 table[4] = { { 0 } };
    qp_bf16 y[2];
    for (int64_t id = -1; id <= 2; id += 3) {
        const qp_call call = { .extent = { 1, 2, 2 }, .in = { &id, table }, .out = { y } };
        ck_assert_int_eq(qp_implementation_find("embedding", QP_CPU, NULL)->run(&call), QP_INVALID);
    }
}
END_TEST

START_TEST(test_cascade_attention_refuses_pieces_that_do_not_fit)
{
    static const struct {
        int64_t first[4], length[4], shared;
        qp_status want;
    } tables[] = {
        { { 0, 4, 0, 1 }, { 3, 2, 3, 2 }, 3, QP_OK },
        { { 0, 3, 0, 3 }, { 3, 2, 0, 5 }, 0, QP_OK },
        { { 0, 3, 3, 0 }, { 3, 2, 5, 0 }, 0, QP_OK },
        { { 0, 3, 0, 3 }, { 3, 2, 3, 2 }, 5, QP_OK },       /* whole contexts are shared */
        { { 0, 3, 0, 0 }, { 3, 2, 2, 2 }, 0, QP_INVALID },  /* too few keys */
        { { 0, 7, 0, 1 }, { 3, 2, 3, 2 }, 0, QP_INVALID },  /* past the pool's end */
        { { -1, 4, 0, 1 }, { 3, 2, 3, 2 }, 0, QP_INVALID }, /* before its begin */
        { { 0, 0, 0, 0 }, { 6, -1, 3, 2 }, 0, QP_INVALID }, /* a negative length */
        { { 0, 4, 0, 5 }, { 3, 2, 3, 2 }, 4, QP_INVALID },  /* the fourth key is not shared */
    };
    static const qp_bf16 q[2], pool[8];
    qp_bf16 y[2];
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const qp_call call = { .extent = { 2, 8, 2, 5, 1, 1, 1 },
                               .in = { q, pool, pool, tables[i].first, tables[i].length },
                               .out = { y },
                               .params = { .scale = 1.0f, .shared = tables[i].shared } };
        ck_assert_int_eq(qp_implementation_find("cascade_attention", QP_CPU, NULL)->run(&call), tables[i].want);
    }
}
END_TEST

START_TEST(test_argmax_takes_the_lowest_of_equals_and_the_first_nan)
{
    qp_bf16 x[5];
    int64_t y = -1;
    const qp_call call = { .extent = { 1, 5, 1 }, .in = { x }, .out = { &y } };
    const float rows[][5] = {
        { 1, 3, 3, 2, 3 }, { -0.0f, 0.0f, -1, -1, 0 }, { 1, NAN, 5, NAN, 9 }, { -INFINITY, -INFINITY, 0, 0, -1 }
    };
    const int64_t want[] = { 1, 0, 1, 2 };
    for (size_t r = 0; r < sizeof want / sizeof *want; r++) {
        for (int i = 0; i < 5; i++) x[i] = qp_bf16_from_f32(rows[r][i]);
        ck_assert_int_eq(qp_implementation_find("argmax", QP_CPU, NULL)->run(&call), QP_OK);
        ck_assert_int_eq(y, want[r]);
    }
}
END_TEST

/* R4 and R5 against both orders spelled out: the right one fits everywhere, the other one visibly does not. */
START_TEST(test_rms_norm_rounds_before_the_weight)
{
    enum { ROWS = 64, DIM = 128 };
    static qp_bf16 x[ROWS * DIM], weight[DIM], y[ROWS * DIM];
    random_state = 5;
    for (int i = 0; i < ROWS * DIM; i++) x[i] = qp_bf16_from_f32(check_value(QP_FILL_NORMAL, &random_state));
    for (int i = 0; i < DIM; i++) weight[i] = qp_bf16_from_f32(96.5f * (float)check_uniform(&random_state));
    const qp_call call = { .extent = { ROWS, DIM }, .in = { x, weight }, .out = { y }, .params = { .eps = 1e-6f } };
    ck_assert_int_eq(qp_implementation_find("rms_norm", QP_CPU, NULL)->run(&call), QP_OK);
    int before = 0, after = 0;
    for (int r = 0; r < ROWS; r++) {
        double sum = 0.0;
        for (int c = 0; c < DIM; c++) sum += pow((double)qp_bf16_to_f32(x[r * DIM + c]), 2.0);
        const float scale = (float)(1.0 / sqrt(sum / DIM + 1e-6));
        for (int c = 0; c < DIM; c++) {
            const float normalised = qp_bf16_to_f32(x[r * DIM + c]) * scale, w = qp_bf16_to_f32(weight[c]);
            const qp_bf16 rounded_first = qp_bf16_from_f32(w * qp_bf16_to_f32(qp_bf16_from_f32(normalised)));
            before += y[r * DIM + c].bits == rounded_first.bits;
            after += y[r * DIM + c].bits == qp_bf16_from_f32(w * normalised).bits;
        }
    }
    ck_assert_int_ge(before, ROWS * DIM - 2); /* but for a tie that this test's own scale decides otherwise */
    ck_assert_int_le(after, ROWS * DIM * 9 / 10);
}
END_TEST

static Suite *operations_suite(void)
{
    int count = 0;
    while (qp_operations[count]) count++;
    Suite *suite = suite_create("operations");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, test_contract_is_near_the_oracle_and_touches_only_its_outputs, 0, count);
    tcase_add_loop_test(cases, test_every_fault_changes_some_case, 0, count);
    suite_add_tcase(suite, cases);
    TCase *contracts = tcase_create("contracts");
    tcase_add_test(contracts, test_registry_is_complete);
    tcase_add_test(contracts, test_check_refuses_what_the_contract_does_not_cover);
    tcase_add_test(contracts, test_embedding_refuses_an_id_outside_the_vocabulary);
    tcase_add_test(contracts, test_cascade_attention_refuses_pieces_that_do_not_fit);
    tcase_add_test(contracts, test_argmax_takes_the_lowest_of_equals_and_the_first_nan);
    tcase_add_test(contracts, test_rms_norm_rounds_before_the_weight);
    suite_add_tcase(suite, contracts);
    return suite;
}

int main(void) { return qp_check_main(operations_suite()); }
