/* The fused operations' sequences of steps: that each is wired as its header's formula says, written here a second time,
 * straight in f64. Their contract, their oracle and their faults run the same list, so only this can tell. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/context/context.h"
#include "../kernels/gqa_attention/gqa_attention.h"
#include "../kernels/linear_residual/linear_residual.h"
#include "../kernels/lm_head_argmax/lm_head_argmax.h"
#include "../kernels/rmsnorm_gate_up_silu/rmsnorm_gate_up_silu.h"
#include "../kernels/rmsnorm_qkv/rmsnorm_qkv.h"
#include "../kernels/scores/scores.h"
#include "../kernels/softmax/softmax.h"
#include "check_main.h"
#include "check_random.h"

enum { T = 3, H = 24, HQ = 4, HKV = 2, GROUP = HQ / HKV, D = 6, INNER = 10, VOCABULARY = 50, S = 5 };
#define EPS 0.25f /* large, so that leaving it out shows */

static uint64_t random_state;

static void fill(double *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = 2.0 * check_uniform(&random_state) - 1.0;
}

static void fill_weight(qp_bf16 *w, int n)
{
    for (int i = 0; i < n; i++) w[i] = qp_bf16_from_f32((float)(2.0 * check_uniform(&random_state) - 1.0));
}

static void norm(const double *x, const qp_bf16 *weight, int n, double *y)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / n + (double)EPS) * (double)qp_bf16_to_f32(weight[i]);
}

static double dot(const double *x, const qp_bf16 *weight, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += x[i] * (double)qp_bf16_to_f32(weight[i]);
    return sum;
}

static void assert_close(double got, double want, const char *what)
{
    ck_assert_msg(fabs(got - want) <= 1e-12 * (1.0 + fabs(want)), "%s is %.17g, not %.17g", what, got, want);
}

/* One head of a token: projected, normalised and rotated. */
static void head_of(const double *n, const qp_bf16 *weight, const qp_bf16 *head_norm, const double *cos,
                    const double *sin, double *y)
{
    double projected[D], x[D];
    for (int j = 0; j < D; j++) projected[j] = dot(n, weight + j * H, H);
    norm(projected, head_norm, D, x);
    for (int j = 0; j < D / 2; j++) {
        y[j] = x[j] * cos[j] - x[j + D / 2] * sin[j];
        y[j + D / 2] = x[j + D / 2] * cos[j + D / 2] + x[j] * sin[j + D / 2];
    }
}

START_TEST(test_rmsnorm_qkv)
{
    double x[T * H], cos[T * D], sin[T * D], q[T * HQ * D], k[T * HKV * D], v[T * HKV * D];
    qp_bf16 norm_weight[H], wq[HQ * D * H], wk[HKV * D * H], wv[HKV * D * H], q_norm[D], k_norm[D];
    fill(x, T * H);
    fill(cos, T * D);
    fill(sin, T * D);
    fill_weight(norm_weight, H);
    fill_weight(wq, HQ * D * H);
    fill_weight(wk, HKV * D * H);
    fill_weight(wv, HKV * D * H);
    fill_weight(q_norm, D);
    fill_weight(k_norm, D);
    const qp_call call = { .extent = { T, H, HQ, HKV, D },
                           .in = { x, norm_weight, wq, wk, wv, q_norm, k_norm, cos, sin },
                           .out = { q, k, v },
                           .params = { .eps = EPS } };
    ck_assert_int_eq(qp_rmsnorm_qkv_oracle(&call), QP_OK);
    for (int t = 0; t < T; t++) {
        double n[H], want[D];
        norm(x + t * H, norm_weight, H, n);
        for (int h = 0; h < HQ; h++) {
            head_of(n, wq + h * D * H, q_norm, cos + t * D, sin + t * D, want);
            for (int j = 0; j < D; j++) assert_close(q[(t * HQ + h) * D + j], want[j], "q");
        }
        for (int h = 0; h < HKV; h++) {
            head_of(n, wk + h * D * H, k_norm, cos + t * D, sin + t * D, want);
            for (int j = 0; j < D; j++) {
                assert_close(k[(t * HKV + h) * D + j], want[j], "k");
                assert_close(v[(t * HKV + h) * D + j], dot(n, wv + (h * D + j) * H, H), "v");
            }
        }
    }
}
END_TEST

START_TEST(test_gqa_attention)
{
    double q[T * HQ * D], keys[S * HKV * D], values[S * HKV * D], y[T * HQ * D];
    fill(q, T * HQ * D);
    fill(keys, S * HKV * D);
    fill(values, S * HKV * D);
    const qp_call call = {
        .extent = { T, S, HQ, HKV, D }, .in = { q, keys, values }, .out = { y }, .params = { .scale = 0.5f }
    };
    ck_assert_int_eq(qp_gqa_attention_oracle(&call), QP_OK);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < HQ; h++) {
            double power[S], total = 0.0;
            const int visible = S - T + t + 1;
            for (int s = 0; s < visible; s++) {
                double score = 0.0;
                for (int j = 0; j < D; j++) score += q[(t * HQ + h) * D + j] * keys[(s * HKV + h / GROUP) * D + j];
                total += power[s] = exp(0.5 * score);
            }
            for (int j = 0; j < D; j++) {
                double want = 0.0;
                for (int s = 0; s < visible; s++) want += power[s] / total * values[(s * HKV + h / GROUP) * D + j];
                assert_close(y[(t * HQ + h) * D + j], want, "y");
            }
        }
}
END_TEST

START_TEST(test_linear_residual)
{
    double x[T * H], residual[T * INNER], y[T * INNER];
    qp_bf16 weight[INNER * H];
    fill(x, T * H);
    fill(residual, T * INNER);
    fill_weight(weight, INNER * H);
    const qp_call call = { .extent = { T, INNER, H }, .in = { x, weight, residual }, .out = { y } };
    ck_assert_int_eq(qp_linear_residual_oracle(&call), QP_OK);
    for (int i = 0; i < T * INNER; i++)
        assert_close(y[i], residual[i] + dot(x + i / INNER * H, weight + i % INNER * H, H), "y");
}
END_TEST

START_TEST(test_rmsnorm_gate_up_silu)
{
    double x[T * H], y[T * INNER];
    qp_bf16 norm_weight[H], gate[INNER * H], up[INNER * H];
    fill(x, T * H);
    fill_weight(norm_weight, H);
    fill_weight(gate, INNER * H);
    fill_weight(up, INNER * H);
    const qp_call call = {
        .extent = { T, H, INNER }, .in = { x, norm_weight, gate, up }, .out = { y }, .params = { .eps = EPS }
    };
    ck_assert_int_eq(qp_rmsnorm_gate_up_silu_oracle(&call), QP_OK);
    for (int t = 0; t < T; t++) {
        double n[H];
        norm(x + t * H, norm_weight, H, n);
        for (int i = 0; i < INNER; i++) {
            const double g = dot(n, gate + i * H, H);
            assert_close(y[t * INNER + i], g / (1.0 + exp(-g)) * dot(n, up + i * H, H), "y");
        }
    }
}
END_TEST

START_TEST(test_lm_head_argmax)
{
    double x[T * H], n[H];
    int64_t y = -1, want = 0;
    qp_bf16 norm_weight[H], weight[VOCABULARY * H];
    fill(x, T * H);
    fill_weight(norm_weight, H);
    fill_weight(weight, VOCABULARY * H);
    const qp_call call = {
        .extent = { T, H, VOCABULARY, 1 }, .in = { x, norm_weight, weight }, .out = { &y }, .params = { .eps = EPS }
    };
    ck_assert_int_eq(qp_lm_head_argmax_oracle(&call), QP_OK);
    norm(x + (T - 1) * H, norm_weight, H, n);
    for (int v = 1; v < VOCABULARY; v++)
        if (dot(n, weight + v * H, H) > dot(n, weight + want * H, H)) want = v;
    ck_assert_int_eq(y, want);
}
END_TEST

static qp_bf16 *random_bf16(int n)
{
    qp_bf16 *x = malloc((size_t)n * sizeof *x);
    ck_assert_ptr_nonnull(x);
    fill_weight(x, n);
    return x;
}

/* Makes sums over n elements show their order: the first and the last element are large and cancel. */
static void cancel(qp_bf16 *x, int n)
{
    x[0] = qp_bf16_from_f32(0x1p18f);
    x[n - 1] = qp_bf16_from_f32(-0x1p18f);
}

static void set_ends(qp_bf16 *x, int rows, int n)
{
    for (int r = 0; r < rows; r++) x[r * n] = x[r * n + n - 1] = qp_bf16_from_f32(1.0f);
}

/* What the formula does not see, the order of each sum: queries take `part`, keys and values `part_kv`. */
START_TEST(test_each_projection_has_its_own_split)
{
    enum { WIDTH = 256, HEAD = 128, PART = 64, PART_KV = 128 };
    qp_call call = { .extent = { 1, WIDTH, 1, 1, HEAD } };
    const int in[] = { WIDTH, WIDTH, HEAD * WIDTH, HEAD * WIDTH, HEAD * WIDTH, HEAD, HEAD, HEAD, HEAD };
    enum { INPUTS = sizeof in / sizeof *in };
    qp_bf16 *input[INPUTS];
    for (int i = 0; i < INPUTS; i++) call.in[i] = input[i] = random_bf16(in[i]);
    cancel(input[QP_RMSNORM_QKV_X], WIDTH);
    set_ends(input[QP_RMSNORM_QKV_NORM_WEIGHT], 1, WIDTH);
    for (int i = QP_RMSNORM_QKV_Q_WEIGHT; i <= QP_RMSNORM_QKV_V_WEIGHT; i++) set_ends(input[i], HEAD, WIDTH);
    static const qp_params given[] = {
        { .eps = EPS, .part = PART, .part_kv = PART_KV },
        { .eps = EPS, .part = PART, .part_kv = PART },
        { .eps = EPS, .part = PART_KV, .part_kv = PART_KV },
    };
    qp_bf16 y[3][3][HEAD]; /* call, output */
    for (int i = 0; i < 3; i++) {
        call.params = given[i];
        for (int k = 0; k < 3; k++) call.out[k] = y[i][k];
        ck_assert_int_eq(qp_rmsnorm_qkv_cpu(&call), QP_OK);
    }
    for (int k = 0; k < 3; k++) {
        const int same = k == QP_RMSNORM_QKV_Q ? 1 : 2;
        ck_assert_mem_eq(y[0][k], y[same][k], sizeof y[0][k]);
        ck_assert_mem_ne(y[0][k], y[3 - same][k], sizeof y[0][k]);
    }
    for (int i = 0; i < INPUTS; i++) free(input[i]);
}
END_TEST

/* Likewise: `order` is that of the scores, `context_order` that of the context. */
START_TEST(test_each_attention_product_has_its_own_order)
{
    enum { KEYS = 77, HEAD = 128 };
    const qp_sum_order order = { .lanes = 16, .run = 8 }, context_order = { .lanes = 32, .run = 4 };
    qp_bf16 *q = random_bf16(HEAD), *keys = random_bf16(KEYS * HEAD), *values = random_bf16(KEYS * HEAD);
    qp_bf16 scores[KEYS], probs[KEYS], want[HEAD], got[HEAD];
    cancel(q, HEAD);
    memset(keys, 0, HEAD * sizeof *keys); /* a score of 0 for the first and the last key, whose values cancel, too */
    memset(keys + (KEYS - 1) * HEAD, 0, HEAD * sizeof *keys);
    set_ends(keys, KEYS, HEAD);
    for (int j = 0; j < HEAD; j++) {
        values[j] = qp_bf16_from_f32(0x1p20f * qp_bf16_to_f32(values[j]));
        values[(KEYS - 1) * HEAD + j] = qp_bf16_from_f32(-qp_bf16_to_f32(values[j]));
    }
    const qp_call steps[] = {
        { .extent = { 1, KEYS, 1, 1, HEAD },
          .in = { q, keys },
          .out = { scores },
          .params = { .scale = 0.5f, .order = order } },
        { .extent = { 1, KEYS }, .in = { scores }, .out = { probs } },
        { .extent = { 1, KEYS, 1, 1, HEAD },
          .in = { probs, values },
          .out = { want },
          .params = { .order = context_order } },
    };
    ck_assert_int_eq(qp_scores_cpu(&steps[0]), QP_OK);
    ck_assert_int_eq(qp_softmax_cpu(&steps[1]), QP_OK);
    ck_assert_int_eq(qp_context_cpu(&steps[2]), QP_OK);
    qp_call call = { .extent = { 1, KEYS, 1, 1, HEAD },
                     .in = { q, keys, values },
                     .out = { got },
                     .params = { .scale = 0.5f, .order = order, .context_order = context_order } };
    ck_assert_int_eq(qp_gqa_attention_cpu(&call), QP_OK);
    ck_assert_mem_eq(got, want, sizeof want);
    call.params.order = context_order;
    ck_assert_int_eq(qp_gqa_attention_cpu(&call), QP_OK);
    ck_assert_mem_ne(got, want, sizeof want);
    call.params.order = call.params.context_order = order;
    ck_assert_int_eq(qp_gqa_attention_cpu(&call), QP_OK);
    ck_assert_mem_ne(got, want, sizeof want);
    free(q);
    free(keys);
    free(values);
}
END_TEST

/* `what` is a part of the sentence with which the step refuses. */
static void assert_refused(const qp_operation *fused, qp_call call, const char *what)
{
    const char *violated = fused->precondition(&call);
    ck_assert_msg(violated && strstr(violated, what), "%s refuses with '%s', not '%s'", fused->name,
                  violated ? violated : "nothing", what);
}

START_TEST(test_preconditions_are_those_of_the_steps)
{
    const qp_call qkv = { .extent = { 1, 256, 4, 2, 128 } };
    qp_call wrong = qkv;
    ck_assert_ptr_null(qp_rmsnorm_qkv_operation.precondition(&qkv));
    wrong.params.part = 40;
    assert_refused(&qp_rmsnorm_qkv_operation, wrong, "multiple of 16");
    wrong = qkv;
    wrong.params.part_kv = 40;
    assert_refused(&qp_rmsnorm_qkv_operation, wrong, "multiple of 16");
    wrong = qkv;
    wrong.extent[QP_RMSNORM_QKV_HIDDEN] = 130;
    assert_refused(&qp_rmsnorm_qkv_operation, wrong, "mean");
    wrong = qkv;
    wrong.extent[QP_RMSNORM_QKV_D] = 33;
    assert_refused(&qp_rmsnorm_qkv_operation, wrong, "odd");

    const qp_call attention = { .extent = { 2, 3, 4, 2, 128 } };
    ck_assert_ptr_null(qp_gqa_attention_operation.precondition(&attention));
    wrong = attention;
    wrong.params.context_order.lanes = 3;
    assert_refused(&qp_gqa_attention_operation, wrong, "order");
    wrong = attention;
    wrong.params.order.lanes = 3;
    assert_refused(&qp_gqa_attention_operation, wrong, "order");
    wrong = attention;
    wrong.extent[QP_GQA_ATTENTION_S] = 1;
    assert_refused(&qp_gqa_attention_operation, wrong, "fewer keys");
}
END_TEST

/* What an implementation reads decides the cost: the last of many rows only. */
START_TEST(test_cost_of_lm_head_argmax_does_not_grow_with_the_rows)
{
    const qp_cost one = qp_operation_cost(&qp_lm_head_argmax_operation, &(qp_call){ .extent = { 1, 64, 100, 1 } });
    const qp_cost many = qp_operation_cost(&qp_lm_head_argmax_operation, &(qp_call){ .extent = { 9, 64, 100, 1 } });
    ck_assert_uint_eq(one.bytes, 2 * (64 + 64 + 100 * 64) + 8);
    ck_assert_uint_eq(one.flops, 4 * 64 + 2 * 100 * 64 + 100);
    ck_assert_uint_eq(many.bytes, one.bytes);
    ck_assert_uint_eq(many.flops, one.flops);
}
END_TEST

static void seed(void) { random_state = check_seed(21); }

static Suite *sequence_suite(void)
{
    Suite *suite = suite_create("sequence");
    TCase *formulas = tcase_create("formulas");
    tcase_add_checked_fixture(formulas, seed, NULL);
    tcase_add_test(formulas, test_rmsnorm_qkv);
    tcase_add_test(formulas, test_gqa_attention);
    tcase_add_test(formulas, test_linear_residual);
    tcase_add_test(formulas, test_rmsnorm_gate_up_silu);
    tcase_add_test(formulas, test_lm_head_argmax);
    suite_add_tcase(suite, formulas);
    TCase *orders = tcase_create("orders");
    tcase_add_checked_fixture(orders, seed, NULL);
    tcase_add_test(orders, test_each_projection_has_its_own_split);
    tcase_add_test(orders, test_each_attention_product_has_its_own_order);
    suite_add_tcase(suite, orders);
    TCase *descriptors = tcase_create("descriptors");
    tcase_add_test(descriptors, test_preconditions_are_those_of_the_steps);
    tcase_add_test(descriptors, test_cost_of_lm_head_argmax_does_not_grow_with_the_rows);
    suite_add_tcase(suite, descriptors);
    return suite;
}

int main(void) { return qp_check_main(sequence_suite()); }
