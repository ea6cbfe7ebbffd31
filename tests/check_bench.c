/* harness/bench, host_speed, timer and statistics, model/random_model, and the command: what is a time, what is none, and that
 * no time stands beside a wrong result. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "../harness/bench.h"
#include "../harness/compare.h"
#include "../harness/golden_model.h"
#include "../harness/host_speed.h"
#include "../harness/own_order.h"
#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/matrix_fma.h"
#include "../model/device_backend.h"
#include "../model/json.h"
#include "../model/random_model.h"
#include "../reports/reports.h"
#include "check_inputs.h"
#include "check_program.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static void use_threads(int threads)
{
#ifdef _OPENMP
    omp_set_num_threads(threads);
#else
    (void)threads;
#endif
}

/* ---- Statistics. ---- */

START_TEST(test_median_and_quartiles_of_known_numbers)
{
    double odd[] = { 5, 1, 4, 2, 3 }, even[] = { 40, 10, 30, 20 }, one[] = { 7 };
    qp_statistics s = qp_statistics_of(odd, 5);
    ck_assert_int_eq(s.samples, 5);
    ck_assert(s.q1 == 2.0 && s.median == 3.0 && s.q3 == 4.0);
    ck_assert_double_eq_tol(qp_statistics_noise(&s), 2.0 / 3.0, 1e-15);
    s = qp_statistics_of(even, 4);
    ck_assert(s.q1 == 17.5 && s.median == 25.0 && s.q3 == 32.5);
    s = qp_statistics_of(one, 1);
    ck_assert(s.q1 == 7.0 && s.median == 7.0 && s.q3 == 7.0 && qp_statistics_noise(&s) == 0.0);
    s = qp_statistics_of(one, 0);
    ck_assert(s.samples == 0 && s.median == 0.0 && qp_statistics_noise(&s) == 0.0);
}
END_TEST

START_TEST(test_samples_at_a_low_clock_do_not_count)
{
    qp_clock_gate gate = { 0 };
    ck_assert(qp_clock_admits(&gate, 0.0, 0.0)); /* unknown */
    ck_assert(qp_clock_admits(&gate, 1000.0, 1000.0));
    ck_assert(!qp_clock_admits(&gate, 1000.0, 940.0));
    ck_assert(!qp_clock_admits(&gate, 940.0, 1000.0));
    ck_assert(qp_clock_admits(&gate, 950.0, 951.0));
    ck_assert(!qp_clock_admits(&gate, 1000.0, 2000.0)); /* rises: what was before is low now */
    ck_assert(gate.reference == 2000.0);
    ck_assert(!qp_clock_admits(&gate, 1000.0, 1000.0));
    ck_assert(qp_clock_admits(&gate, 0.0, 2000.0));
}
END_TEST

/* ---- Orders of summation. ---- */

/* The figures of own_order.h: how many elements another order changes. What is allowed is at least twice that, and not more than
 * twenty times. */
START_TEST(test_another_order_changes_fewer_elements_than_are_allowed)
{
    enum { ROWS = 64, COLUMNS = 256, N = ROWS * COLUMNS, MOST = 8192 };
    static qp_bf16 a[ROWS * MOST], b[COLUMNS * MOST], whole[N], split[N];
    static const int64_t products[] = { 1024, 3072, MOST };
    uint64_t state = check_seed(5);
    for (int i = 0; i < ROWS * MOST; i++) a[i] = qp_bf16_from_f32(check_value(QP_FILL_NORMAL, &state));
    for (int i = 0; i < COLUMNS * MOST; i++) b[i] = qp_bf16_from_f32(check_value(QP_FILL_NORMAL, &state));
    for (size_t p = 0; p < sizeof products / sizeof *products; p++) {
        const int64_t k = products[p];
        for (int64_t parts = 2; parts <= 16; parts *= 8) {
            for (int i = 0; i < N; i++) {
                const qp_bf16 *row = a + i / COLUMNS * k, *column = b + i % COLUMNS * k;
                whole[i] = qp_bf16_from_f32(qp_chain_fma(0.0f, row, column, 1, k));
                split[i] = qp_bf16_from_f32(qp_split_chain_fma(row, column, k, k / parts));
            }
            const int64_t changed = qp_compare(QP_BF16, whole, split, N).mismatches;
            const double rate = (double)changed / (double)N, allowed = qp_own_order_rate(k, N);
            printf("%4lld products in %2lld parts: %lld of %d elements change, %.1e times the products; allowed %.1e\n",
                   (long long)k, (long long)parts, (long long)changed, N, rate / (double)k, allowed / (double)k);
            ck_assert(allowed >= 2.0 * rate && allowed <= 20.0 * rate);
            ck_assert(qp_own_order_explains(whole, split, N, k));
        }
    }
}
END_TEST

START_TEST(test_an_order_explains_no_nan_no_stray_and_not_many)
{
    enum { N = 1000, K = 1024 };
    qp_bf16 want[N], got[N];
    uint64_t state = check_seed(6);
    for (int i = 0; i < N; i++) want[i] = qp_bf16_from_f32(32.0f * check_value(QP_FILL_NORMAL, &state));
    memcpy(got, want, sizeof got);
    ck_assert(qp_own_order_explains(want, got, N, K));
    ck_assert(!qp_own_order_explains(want, got, 0, K));
    for (int i = 0; i < 6; i++) got[i].bits ^= 1; /* 2e-6 * 1024 * 1000, and 4 */
    ck_assert(qp_own_order_explains(want, got, N, K));
    got[6].bits ^= 1;
    ck_assert(!qp_own_order_explains(want, got, N, K));
    static const uint16_t wrong[] = { 0x7fc0, 0x7f80, 0xff80, 0x0000, 0x4680 }; /* NaN, infinities, 0, 16384 */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(got, want, sizeof got);
        want[0] = qp_bf16_from_f32(70.0f);
        got[0].bits = wrong[i];
        ck_assert_msg(!qp_own_order_explains(want, got, N, K), "0x%04x for 70", wrong[i]);
        ck_assert_msg(!qp_own_order_explains(got, want, N, K), "70 for 0x%04x", wrong[i]);
    }
}
END_TEST

/* ---- The timer, on a CPU device with a clock that the test sets. ---- */

static const double *clock_readings;
static int clock_count, clock_at;

static qp_status told_clock(qp_device *device, double *hertz)
{
    (void)device;
    *hertz = clock_readings[clock_at < clock_count ? clock_at : clock_count - 1];
    clock_at++;
    return QP_OK;
}

static qp_device_methods told_methods;
static qp_device *device;
static qp_timer timer;

static void open_timer(void)
{
    ck_assert_int_eq(qp_device_open(QP_CPU, &device), QP_OK);
    told_methods = *device->methods;
    told_methods.clock = told_clock;
    ck_assert_int_eq(qp_timer_open(device, &timer), QP_OK);
}

static void close_timer(void)
{
    qp_timer_close(&timer);
    qp_device_close(device);
}

static void tell_clock(const double *readings, int count)
{
    device->methods = &told_methods;
    clock_readings = readings;
    clock_count = count;
    clock_at = 0;
}

/* Counts up, so that the test sees which samples were kept. */
static qp_status take_number(void *context, int64_t count, double *values)
{
    double *next = context;
    for (int64_t i = 0; i < count; i++) values[i] = (*next)++;
    return QP_OK;
}

START_TEST(test_a_batch_at_a_low_clock_is_dropped_and_repeated)
{
    /* Before the first, after it, after the second (low), before the third, after it. */
    const double readings[] = { 2e9, 2e9, 1e9, 2e9, 1.95e9 };
    double next = 0.0;
    qp_samples samples;
    tell_clock(readings, 5);
    ck_assert_int_eq(qp_timer_sample(&timer, 4, 1, take_number, &next, &samples), QP_OK);
    ck_assert_int_eq(samples.count, 4);
    ck_assert_int_eq(samples.dropped, 3);
    ck_assert(samples.values[0] == 0.0 && samples.values[1] == 4.0 && samples.values[3] == 6.0);
    ck_assert(samples.clock == 1.95e9);
    const qp_time time = qp_time_of(&samples, 1);
    ck_assert(time.why == NULL && time.dropped == 3 && time.seconds.samples == 4);
    free(samples.values);
}
END_TEST

START_TEST(test_a_clock_that_stays_low_gives_no_time_and_an_end)
{
    const double readings[] = { 2e9, 1e9 };
    double next = 0.0;
    qp_samples samples;
    tell_clock(readings, 2);
    ck_assert_int_eq(qp_timer_sample(&timer, 4, 1, take_number, &next, &samples), QP_OK);
    ck_assert_int_eq(samples.count, 0);
    ck_assert_int_ge(samples.dropped, 8);
    const qp_time time = qp_time_of(&samples, 1);
    ck_assert_ptr_nonnull(time.why);
    ck_assert(time.seconds.samples == 0 && time.seconds.median == 0.0);
    free(samples.values);
}
END_TEST

static int slept;

static qp_status sleep_a_while(const qp_call *call)
{
    const struct timespec while_ = { 0, 2000000 };
    (void)call;
    slept++;
    return nanosleep(&while_, NULL) == 0 ? QP_OK : QP_INVALID;
}

START_TEST(test_cold_and_hot_time_the_launches)
{
    const qp_implementation sleeper = { "silu", "sleeper", QP_CPU, sleep_a_while, qp_no_workspace };
    const qp_call call = { .extent = { 1 } };
    qp_time time;
    ck_assert(timer.mark_overhead >= 0.0 && timer.mark_overhead < 1e-3);
    ck_assert_int_eq(qp_timer_cold(&timer, 3, &sleeper, &call, &time), QP_OK);
    ck_assert_int_eq(time.seconds.samples, 3);
    ck_assert(time.seconds.median >= 2e-3 && time.seconds.median < 1.0);
    ck_assert_int_eq(time.launches, 1);
    ck_assert_int_eq(slept, 4); /* one to warm up, and one a sample: the fill of the caches is not in the time */
    timer.mark_overhead = 2e-4; /* then 1 % takes ten launches */
    slept = 0;
    ck_assert_int_eq(qp_timer_hot(&timer, 2, &sleeper, &call, &time), QP_OK);
    ck_assert(time.launches >= 1 && time.launches <= 10);
    ck_assert(time.seconds.median >= 2e-3 && time.seconds.median < 1.0); /* of one launch */
    ck_assert_int_eq(slept, 5 + 2 * ((int)time.launches + 1));
}
END_TEST

START_TEST(test_the_device_copies_and_knows_no_clock)
{
    char text[] = "0123456789", seen[sizeof text] = "";
    void *a = NULL, *b = NULL;
    double hertz = -1.0;
    ck_assert_int_eq(qp_device_allocate(device, sizeof text, "a test", &a), QP_OK);
    ck_assert_int_eq(qp_device_allocate(device, sizeof text, "a test", &b), QP_OK);
    ck_assert_int_eq(qp_device_write(device, a, text, sizeof text), QP_OK);
    ck_assert_int_eq(qp_device_copy(device, b, a, sizeof text), QP_OK);
    ck_assert_int_eq(qp_device_read(device, seen, b, sizeof text), QP_OK);
    ck_assert_str_eq(seen, text);
    ck_assert_int_eq(qp_device_clock(device, &hertz), QP_OK);
    ck_assert(hertz == 0.0 && timer.clock.reference == 0.0);
    ck_assert_int_eq(qp_device_profile(device, true), QP_OK);
    ck_assert_int_eq(qp_device_profile(device, false), QP_OK);
    qp_device_free(device, a);
    qp_device_free(device, b);
}
END_TEST

START_TEST(test_ceilings_are_measured)
{
    qp_ceilings ceilings;
    ck_assert_int_eq(qp_timer_measure_ceilings(&timer, 2, &ceilings), QP_OK);
    ck_assert(ceilings.copy.why == NULL && ceilings.copy_bytes_per_second > 1e8);
    ck_assert(ceilings.product.why == NULL && ceilings.product_flops_per_second > 1e6);
    ck_assert_str_eq(ceilings.product_implementation, "contract");
    const double copied = 2.0 * (double)ceilings.copy_bytes / ceilings.copy.seconds.median;
    ck_assert_double_eq_tol(copied, ceilings.copy_bytes_per_second, 1.0);
}
END_TEST

/* ---- Random models. ---- */

static qp_model random_model(uint64_t seed)
{
    qp_model model;
    ck_assert_msg(qp_model_open_random("qwen3-0.6b", 1, seed, &model) == QP_OK, "%s", qp_last_error());
    return model;
}

static const qp_checkpoint_tensor *tensor_of(const qp_model *model, const char *name)
{
    const qp_checkpoint_tensor *tensor = qp_checkpoint_find(model->checkpoint, name);
    ck_assert_ptr_nonnull(tensor);
    return tensor;
}

START_TEST(test_random_weights_have_the_shape_and_the_deviation)
{
    qp_model model = random_model(3);
    const qp_config *c = &model.config;
    char hex[65];
    ck_assert_int_eq(qp_checkpoint_count(model.checkpoint), 13);
    ck_assert(c->num_hidden_layers == 1 && c->hidden_size == 1024 && c->tie_word_embeddings);
    ck_assert_ptr_null(qp_checkpoint_find(model.checkpoint, "lm_head.weight"));
    for (int64_t i = 1; i < qp_checkpoint_count(model.checkpoint); i++)
        ck_assert_int_lt(
            strcmp(qp_checkpoint_at(model.checkpoint, i - 1)->name, qp_checkpoint_at(model.checkpoint, i)->name), 0);

    const qp_checkpoint_tensor *down = tensor_of(&model, "model.layers.0.mlp.down_proj.weight");
    const qp_bf16 *values = down->data;
    const int64_t n = down->bytes / 2;
    double sum = 0.0, squares = 0.0;
    ck_assert(down->dims[0] == 1024 && down->dims[1] == 3072);
    for (int64_t i = 0; i < n; i++) {
        const double value = (double)qp_bf16_to_f32(values[i]);
        sum += value;
        squares += value * value;
    }
    ck_assert_double_eq_tol(sqrt(squares / (double)n) * sqrt(3072.0), 1.0, 0.01);
    ck_assert_double_eq_tol(sum / (double)n * sqrt(3072.0), 0.0, 0.01);

    values = tensor_of(&model, "model.layers.0.self_attn.k_norm.weight")->data;
    for (int i = 0; i < 128; i++) {
        const float value = qp_bf16_to_f32(values[i]);
        ck_assert(i == 3 || i == 67 ? value == 96.5f : value >= 0.2f && value <= 1.21f);
    }
    ck_assert_int_eq(qp_checkpoint_sha256(tensor_of(&model, "model.norm.weight"), hex), QP_OK);
    ck_assert_uint_eq(strlen(hex), 64);
    qp_model_close(&model);
}
END_TEST

START_TEST(test_random_weights_depend_on_the_seed_and_not_on_threads)
{
    use_threads(1);
    qp_model one = random_model(5), other = random_model(6);
    use_threads(2);
    qp_model two = random_model(5);
    for (int64_t i = 0; i < qp_checkpoint_count(one.checkpoint); i++) {
        const qp_checkpoint_tensor *a = qp_checkpoint_at(one.checkpoint, i), *b = qp_checkpoint_at(two.checkpoint, i);
        const qp_checkpoint_tensor *c = qp_checkpoint_at(other.checkpoint, i);
        ck_assert_str_eq(a->name, b->name);
        ck_assert_msg(!memcmp(a->data, b->data, (size_t)a->bytes), "%s depends on the threads", a->name);
        ck_assert_msg(memcmp(a->data, c->data, (size_t)a->bytes) != 0, "%s does not depend on the seed", a->name);
    }
    const qp_checkpoint_tensor *gate = tensor_of(&one, "model.layers.0.mlp.gate_proj.weight");
    const qp_checkpoint_tensor *up = tensor_of(&one, "model.layers.0.mlp.up_proj.weight");
    ck_assert_int_ne(memcmp(gate->data, up->data, (size_t)gate->bytes), 0);
    qp_model_close(&one);
    qp_model_close(&two);
    qp_model_close(&other);
}
END_TEST

START_TEST(test_unknown_shapes_and_layers_are_refused)
{
    qp_model model;
    ck_assert_int_eq(qp_model_open_random("qwen3-7b", 0, 0, &model), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "qwen3-7b"));
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "qwen3-0.6b, qwen3-1.7b, qwen3-4b, qwen3-8b, qwen3-14b, qwen3-32b"));
    ck_assert_int_eq(qp_model_open_random("qwen3-0.6b", 29, 0, &model), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "28"));
    ck_assert_int_eq(qp_model_open_random("qwen3-0.6b", -1, 0, &model), QP_USAGE);
    ck_assert_ptr_null(model.checkpoint);
}
END_TEST

/* ---- Bench, on the embedded model. ---- */

static qp_model model;
static qp_runtime runtime;
static qp_bench_report report;

static void open_model(void)
{
    ck_assert_msg(qp_model_open(MODEL, &model) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_runtime_open(&model, QP_CPU, &runtime), QP_OK);
}

static void close_model(void)
{
    qp_bench_close(&report);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
}

static qp_bench_options small_bench(void)
{
    return (qp_bench_options){ .model = MODEL,
                               .selection = { .backend = QP_CPU },
                               .prefill = true,
                               .decode = true,
                               .prefill_tokens = 5,
                               .context = 9,
                               .samples = 1 };
}

static void run_bench(const qp_golden *golden, const qp_bench_options *options)
{
    ck_assert_msg(qp_bench(&runtime, golden, options, &report) == QP_OK, "%s", qp_last_error());
}

static bool has_time(const qp_time *time)
{
    ck_assert((time->why == NULL) == (time->seconds.samples > 0));
    ck_assert(time->why != NULL ||
              (time->seconds.q1 <= time->seconds.median && time->seconds.median <= time->seconds.q3));
    return time->why == NULL;
}

static const qp_bench_row *row_of(const char *phase, const char *key)
{
    for (int i = 0; i < report.row_count; i++)
        if (!strcmp(report.rows[i].phase, phase) && !strcmp(report.rows[i].key, key)) return &report.rows[i];
    ck_abort_msg("there is no row %s %s", phase, key);
    return NULL;
}

START_TEST(test_every_shape_is_verified_and_has_its_times)
{
    qp_bench_options options = small_bench();
    options.samples = 2;
    run_bench(NULL, &options);
    ck_assert_int_eq(report.row_count, 40);
    ck_assert(report.verified == 40 && report.failed == 0 && report.not_verified == 0 && report.step_count == 2);
    double share = 0.0;
    int64_t nodes = 0;
    for (int i = 0; i < report.row_count; i++) {
        const qp_bench_row *row = &report.rows[i];
        ck_assert_str_eq(row->verified, "cpu");
        ck_assert(row->elements > 0 && row->mismatches == 0);
        for (int j = 0; j < QP_PROTOCOLS; j++) ck_assert(has_time(&row->time[j]));
        ck_assert_int_eq(row->time[QP_PROTOCOL_COLD].seconds.samples, 2);
        ck_assert_int_eq(row->time[QP_PROTOCOL_IN_MODEL].seconds.samples, 2 * row->count);
        share += row->share;
        nodes += row->count;
    }
    ck_assert_double_eq_tol(share, 2.0, 1e-9); /* two phases */
    ck_assert_int_eq(nodes, 2 * (2 + 20 * 4 + 3));
    ck_assert_int_eq(row_of("decode", "model.layers.0.mlp.gate_proj")->count, 8); /* up_proj has the same shape */
    ck_assert_int_eq(row_of("prefill", "model.layers.0.input_layernorm")->count, 9);
    const qp_bench_row *norms = row_of("prefill", "model.layers.0.input_layernorm");
    ck_assert_int_eq(norms->kind_count, 3);
    ck_assert_str_eq(norms->kinds[0], "model.layers.*.input_layernorm");
    ck_assert_str_eq(norms->kinds[1], "model.layers.*.post_attention_layernorm");
    ck_assert_str_eq(norms->kinds[2], "model.norm");
    const qp_bench_row *residuals = row_of("decode", "model.layers.0.residual_attn");
    ck_assert(residuals->kind_count == 2 && !strcmp(residuals->kinds[1], "model.layers.*"));

    const qp_bench_step *prefill = &report.steps[0], *decode = &report.steps[1];
    ck_assert_str_eq(prefill->name, "prefill");
    ck_assert_str_eq(decode->name, "decode_step");
    ck_assert(prefill->tokens == 5 && prefill->context == 0 && decode->tokens == 1 && decode->context == 9);
    for (int i = 0; i < 2; i++) {
        ck_assert(has_time(&report.steps[i].time) && report.steps[i].wall.samples == 2);
        ck_assert(report.steps[i].wall.median > 0.0);
        ck_assert(report.steps[i].next_token >= 0 && report.steps[i].cost.bytes > 1000000);
    }
}
END_TEST

START_TEST(test_a_golden_gives_the_tokens_and_the_truth)
{
    qp_golden *golden = NULL;
    qp_bench_options options = small_bench();
    options.prefill_tokens = 23;
    options.context = 25;
    ck_assert_int_eq(qp_golden_open(GOLDEN, &golden), QP_OK);
    run_bench(golden, &options);
    ck_assert(report.verified == report.row_count && report.failed == 0);
    for (int i = 0; i < report.row_count; i++) ck_assert_str_eq(report.rows[i].verified, "golden");
    /* Every node of a row is compared, not the first alone. */
    ck_assert_int_eq(row_of("prefill", "model.layers.0.mlp.gate_proj")->elements, 8 * 23 * 768);
    ck_assert(report.steps[0].tokens == 23 && report.steps[1].context == 25 && report.steps[0].all_logits);
    for (int i = 0; i < 2; i++) {
        int64_t token = -1;
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i ? 3 : 0); /* aistonia/prefill, decode.002 */
        const int64_t one = 1;
        ck_assert_int_eq(qp_golden_read(golden, phase, "next_token", QP_I64, 1, &one, &token), QP_OK);
        ck_assert_int_eq(report.steps[i].next_token, token);
        ck_assert_str_eq(report.steps[i].verified, "golden");
        ck_assert(has_time(&report.steps[i].time));
    }
    qp_bench_close(&report);

    options.prefill_tokens = 24;
    ck_assert_int_eq(qp_bench(&runtime, golden, &options, &report), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "131"));
    options.prefill = false;
    options.context = 99;
    ck_assert_int_eq(qp_bench(&runtime, golden, &options, &report), QP_USAGE);
    qp_golden_close(golden);
}
END_TEST

/* The rows of the operation failed and have no time; others have; the pass has none. */
static void assert_no_time_for(const char *operation, const char *reason)
{
    int wrong = 0, right = 0;
    for (int i = 0; i < report.row_count; i++) {
        const qp_bench_row *row = &report.rows[i];
        const bool of_it = !strcmp(row->operation->name, operation);
        wrong += of_it;
        right += !of_it;
        ck_assert_msg(row->failed == of_it && (row->verified == NULL) == of_it, "%s: %s", row->key, row->reason);
        for (int j = 0; j < QP_PROTOCOLS; j++) ck_assert(has_time(&row->time[j]) == !of_it);
        if (of_it) ck_assert_msg(strstr(row->reason, reason) != NULL, "%s: %s", row->key, row->reason);
        if (of_it) ck_assert(row->share == 0.0);
    }
    ck_assert(wrong > 0 && right > 0);
    ck_assert_int_ge(report.failed, wrong);
    for (int i = 0; i < report.step_count; i++)
        ck_assert(!report.steps[i].verified && !has_time(&report.steps[i].time) && report.steps[i].wall.samples == 0);
}

START_TEST(test_a_planted_fault_has_no_time)
{
    qp_golden *golden = NULL;
    qp_bench_options options = small_bench();
    options.prefill = false;
    ck_assert_int_eq(qp_selection_plant(&options.selection, "weight-before-cast"), QP_OK);
    run_bench(NULL, &options);
    assert_no_time_for("rms_norm", "differ");
    qp_bench_close(&report);

    options.context = -1;
    ck_assert_int_eq(qp_golden_open(GOLDEN, &golden), QP_OK);
    run_bench(golden, &options);
    assert_no_time_for("rms_norm", "differ");
    qp_golden_close(golden);
}
END_TEST

/* Right at first, so that a check before the timing alone would let it pass. */
static int silu_calls;

static qp_status tired_silu(const qp_call *call)
{
    const qp_status status = qp_implementation_find("silu", QP_CPU, NULL)->run(call);
    if (++silu_calls > 3) ((qp_bf16 *)call->out[0])->bits ^= 1;
    return status;
}

static qp_status lazy_silu(const qp_call *call)
{
    return ++silu_calls > 1 ? QP_OK : qp_implementation_find("silu", QP_CPU, NULL)->run(call);
}

START_TEST(test_a_kernel_that_is_wrong_only_while_it_is_timed_has_no_time)
{
    static const qp_implementation kernels[] = {
        { "silu", "tired", QP_CPU, tired_silu, qp_no_workspace },
        { "silu", "lazy", QP_CPU, lazy_silu, qp_no_workspace },
    };
    qp_bench_options options = small_bench();
    options.prefill = false;
    options.selection.chosen[0] = &kernels[_i];
    options.selection.chosen_count = 1;
    silu_calls = 0;
    run_bench(NULL, &options);
    const qp_bench_row *row = row_of("decode", "model.layers.0.mlp.act");
    ck_assert(row->failed && !row->verified);
    ck_assert_ptr_nonnull(strstr(row->reason, "timed launches"));
    for (int j = 0; j < QP_PROTOCOLS; j++) ck_assert(!has_time(&row->time[j]));
    ck_assert(!has_time(&report.steps[0].time));
}
END_TEST

/* What cuBLAS does: another order of the sum. And what it must not: the last element is not computed. */
static qp_status split_linear(const qp_call *call)
{
    qp_call split = *call;
    split.params.part = 32;
    return qp_implementation_find("linear", QP_CPU, NULL)->run(&split);
}

static qp_status cut_linear(const qp_call *call)
{
    const qp_status status = split_linear(call);
    ((qp_bf16 *)call->out[0])[call->extent[0] * call->extent[1] - 1].bits = 0;
    return status;
}

START_TEST(test_an_order_of_its_own_is_allowed_to_cublas_and_nothing_else)
{
    static const struct {
        qp_implementation linear;
        bool holds;
    } cases[] = {
        { { "linear", "cublas", QP_CPU, split_linear, qp_no_workspace }, true },
        { { "linear", "cublas", QP_CPU, cut_linear, qp_no_workspace }, false },
        { { "linear", "split", QP_CPU, split_linear, qp_no_workspace }, false },
    };
    qp_bench_options options = small_bench();
    options.decode = false;
    options.prefill_tokens = 40;
    options.only = "model.layers.0.mlp.down_proj";
    options.selection.chosen[0] = &cases[_i].linear;
    options.selection.chosen_count = 1;
    run_bench(NULL, &options);
    ck_assert_int_eq(report.row_count, 1);
    ck_assert_msg((report.rows[0].verified != NULL) == cases[_i].holds, "%s", report.rows[0].reason);
    ck_assert(report.rows[0].failed == !cases[_i].holds);
    ck_assert(report.rows[0].mismatches > 0 && has_time(&report.rows[0].time[QP_PROTOCOL_COLD]) == cases[_i].holds);
}
END_TEST

START_TEST(test_only_chooses_rows_and_leaves_the_pass_without_time)
{
    qp_bench_options options = small_bench();
    options.only = "*.mlp.*";
    run_bench(NULL, &options);
    ck_assert_int_eq(report.row_count, 2 * 4);
    for (int i = 0; i < report.row_count; i++) {
        ck_assert_ptr_nonnull(strstr(report.rows[i].key, ".mlp."));
        ck_assert(has_time(&report.rows[i].time[QP_PROTOCOL_IN_MODEL]));
        ck_assert(report.rows[i].share > 0.0 && report.rows[i].share < 1.0);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert(!has_time(&report.steps[i].time) && !report.steps[i].failed);
        ck_assert_ptr_nonnull(strstr(report.steps[i].reason, "--only"));
    }
    ck_assert_int_eq(report.failed, 0);
    qp_bench_close(&report);
    options.only = "no/such/node";
    run_bench(NULL, &options);
    ck_assert(report.row_count == 0 && report.verified == 0);
}
END_TEST

START_TEST(test_recorded_nodes_have_a_time_and_no_token)
{
    char *text = NULL;
    size_t bytes = 0;
    qp_json *json = NULL;
    qp_bench_options options = small_bench();
    options.prefill = false;
    run_bench(NULL, &options);
    qp_bench_step *step = &report.steps[0];
    ck_assert(has_time(&step->time) && step->next_token >= 0);
    step->name = "decode_nodes", step->next_token = -1;
    FILE *stream = open_memstream(&text, &bytes);
    qp_bench_print(&report, (qp_terminal_style){ 0 }, stream);
    ck_assert_int_eq(fclose(stream), 0);
    char *line = strstr(text, "\ndecode_nodes ");
    ck_assert_ptr_nonnull(line);
    *strchr(line + 1, '\n') = 0;
    ck_assert_msg(strstr(line, "          - ") != NULL && !strcmp(strrchr(line, ' '), " -"), "%s", line);
    free(text);
    ck_assert_int_eq(qp_bench_write_json(&report, files_path("nodes.json")), QP_OK);
    ck_assert_msg(qp_json_read_file(files_path("nodes.json"), &json) == QP_OK, "%s", qp_last_error());
    const qp_json_node nodes = qp_json_first(qp_json_find(qp_json_root(json), "steps"));
    ck_assert(qp_json_kind_of(qp_json_find(nodes, "median_ns")) != QP_JSON_ABSENT);
    ck_assert(qp_json_kind_of(qp_json_find(nodes, "wall")) != QP_JSON_ABSENT);
    ck_assert(qp_json_kind_of(qp_json_find(nodes, "next_token")) == QP_JSON_ABSENT);
    ck_assert(qp_json_kind_of(qp_json_find(nodes, "tokens_per_second")) == QP_JSON_ABSENT);
    qp_json_free(json);
}
END_TEST

/* Where there is a card. */
START_TEST(test_only_records_the_chosen_nodes)
{
    qp_runtime card;
    if (qp_runtime_open(&model, QP_CUDA, &card) != QP_OK) return;
    qp_bench_options options = small_bench();
    options.selection.backend = QP_CUDA, options.fusions = QP_FUSE_ALL, options.only = "*o_residual";
    ck_assert_msg(qp_bench(&card, NULL, &options, &report) == QP_OK, "%s", qp_last_error());
    ck_assert(report.step_count == 3 && report.row_count == 2 && report.failed == 0);
    const qp_bench_step *passes = &report.steps[1], *nodes = &report.steps[2];
    ck_assert_str_eq(nodes->name, "decode_nodes");
    ck_assert(nodes->verified && has_time(&nodes->time) && nodes->next_token == -1);
    ck_assert(nodes->cost.bytes == report.rows[1].cost.bytes * (uint64_t)report.rows[1].count);
    ck_assert(nodes->cost.bytes < passes->cost.bytes);
    qp_runtime_close(&card);
}
END_TEST

/* Right when the nodes run one by one and in the pass that is compared, wrong in those that are timed. */
static int argmax_calls;

static qp_status aging_argmax(const qp_call *call)
{
    const qp_status status = qp_implementation_find("argmax", QP_CPU, NULL)->run(call);
    if (++argmax_calls > 2) ((int64_t *)call->out[0])[0] ^= 1;
    return status;
}

START_TEST(test_a_pass_that_is_wrong_only_while_it_is_timed_has_no_time)
{
    static const qp_implementation aging = { "argmax", "aging", QP_CPU, aging_argmax, qp_no_workspace };
    qp_bench_options options = small_bench();
    options.prefill = false;
    options.only = "*.mlp.*"; /* so that argmax is not timed alone */
    options.selection.chosen[0] = &aging;
    options.selection.chosen_count = 1;
    run_bench(NULL, &options);
    ck_assert_int_eq(argmax_calls, 1 + 1 + 1);
    ck_assert(report.failed == 1 && report.steps[0].failed);
    ck_assert_ptr_nonnull(strstr(report.steps[0].reason, "timed passes"));
    for (int i = 0; i < report.row_count; i++) {
        ck_assert(has_time(&report.rows[i].time[QP_PROTOCOL_COLD]));
        ck_assert(!has_time(&report.rows[i].time[QP_PROTOCOL_IN_MODEL]) && report.rows[i].share == 0.0);
    }
}
END_TEST

START_TEST(test_profile_runs_and_times_nothing)
{
    qp_bench_options options = small_bench();
    options.profile = true;
    run_bench(NULL, &options);
    ck_assert(report.profiled && report.row_count == 0 && report.step_count == 0);
}
END_TEST

START_TEST(test_more_tokens_than_positions_are_refused)
{
    qp_bench_options options = small_bench();
    options.prefill_tokens = model.config.max_position_embeddings + 1;
    ck_assert_int_eq(qp_bench(&runtime, NULL, &options, &report), QP_USAGE);
    options = small_bench();
    options.prefill = false;
    options.context = model.config.max_position_embeddings;
    ck_assert_int_eq(qp_bench(&runtime, NULL, &options, &report), QP_USAGE);
    ck_assert_ptr_null(report.rows);
}
END_TEST

/* ---- The host. ---- */

START_TEST(test_slow_samples_are_fewer)
{
    ck_assert_int_eq(qp_host_samples(50, 0.0, 1.0), 50);
    ck_assert_int_eq(qp_host_samples(50, 0.001, 1.0), 50);
    ck_assert_int_eq(qp_host_samples(50, 0.1, 1.0), 10);
    ck_assert_int_eq(qp_host_samples(50, 0.9, 1.0), 3);
    ck_assert_int_eq(qp_host_samples(50, 1.1, 1.0), 1);
    ck_assert_int_eq(qp_host_samples(2, 0.9, 1.0), 2);
}
END_TEST

static void measure_host(const char *only, const char *openblas, qp_host_speed *speed)
{
    const qp_host_options options = { .only = only, .samples = 1, .openblas = openblas };
    qp_timer cpu_timer;
    ck_assert_int_eq(qp_timer_open(runtime.device, &cpu_timer), QP_OK);
    ck_assert_msg(qp_host_measure(&cpu_timer, &model, &options, speed) == QP_OK, "%s", qp_last_error());
    qp_timer_close(&cpu_timer);
}

START_TEST(test_the_weights_are_read_and_every_path_of_the_products_is_right)
{
    const char *const used = qp_vector_path_name();
    int64_t bytes = 0;
    int paths = 0;
    qp_host_speed speed;
    use_threads(2); /* this process has had no threads so far */
    measure_host("model.layers.*.mlp.*", NULL, &speed);
    for (int64_t i = 0; i < qp_checkpoint_count(model.checkpoint); i++)
        bytes += qp_checkpoint_at(model.checkpoint, i)->bytes;
    ck_assert_uint_eq(speed.read_bytes, (uint64_t)bytes); /* the embedding's table is the vocabulary's, too */
    ck_assert(has_time(&speed.read.all) && speed.read_bytes_per_second > 0.0 && speed.failed == 0);
    ck_assert_str_eq(qp_vector_path_name(), used);
    for (const char *const *name = qp_vector_paths(); *name; name++) paths++;
    ck_assert_int_eq(speed.product_count, 2 * 2); /* gate_proj, which up_proj is like, and down_proj */
    for (int i = 0; i < speed.product_count; i++) {
        const qp_host_product *p = &speed.products[i];
        ck_assert_str_eq(p->key, i < 2 ? "model.layers.0.mlp.gate_proj" : "model.layers.0.mlp.down_proj");
        ck_assert(p->m == (i % 2 ? 64 : 1) && p->n == (i < 2 ? 768 : 256) && p->k == (i < 2 ? 256 : 768));
        ck_assert_int_eq(p->path_count, i < 2 ? paths : 1);
        ck_assert_str_eq(p->path[0].name, used);
        for (int j = 0; j < p->path_count; j++)
            ck_assert(has_time(&p->path[j].time.all) && qp_host_product_rate(p, &p->path[j].time.all) > 0.0);
        ck_assert(has_time(&p->plain.all) && has_time(&p->openblas.all) == !speed.no_openblas);
        ck_assert_int_eq(has_time(&p->plain.one), speed.threads > 1);
        ck_assert((qp_scaling_speed_up(&p->plain) > 0.0) == (speed.threads > 1));
    }
    qp_host_close(&speed);
}
END_TEST

START_TEST(test_without_openblas_there_is_a_sentence)
{
    static const struct {
        const char *library, *mentions;
    } cases[] = { { "/no/such/library.so", "libopenblas0-pthread" }, { "libm.so.6", "cblas_sgemv" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qp_host_speed speed;
        measure_host("*.k_proj", cases[i].library, &speed);
        ck_assert_ptr_nonnull(speed.no_openblas);
        ck_assert_ptr_nonnull(strstr(speed.no_openblas, cases[i].mentions));
        ck_assert(speed.product_count == 2 && speed.failed == 0);
        ck_assert(!has_time(&speed.products[0].openblas.all) && has_time(&speed.products[0].plain.all));
        ck_assert(has_time(&speed.products[0].path[0].time.all));
        ck_assert(!has_time(&speed.products[0].plain.one)); /* there is one thread */
        qp_host_close(&speed);
    }
}
END_TEST

/* ---- The command. ---- */

static int run(const char *arguments)
{
    char command[3000];
    snprintf(command, sizeof command, "bench %s", arguments);
    return run_in("", command);
}

static double number_of(qp_json_node object, const char *key)
{
    double value = NAN;
    ck_assert_msg(qp_json_get_double(object, key, &value) == QP_OK, "%s", qp_last_error());
    return value;
}

static const char *text_of(qp_json_node object, const char *key)
{
    static const char *value; /* gcc 12 takes the text for the variable, if this is none that outlives the call */
    value = NULL;
    ck_assert_msg(qp_json_get_string(object, key, &value) == QP_OK, "%s", qp_last_error());
    return value;
}

static bool is_absent(qp_json_node object, const char *key)
{
    return qp_json_kind_of(qp_json_find(object, key)) == QP_JSON_ABSENT;
}

static void check_row(qp_json_node row, bool passed)
{
    ck_assert_str_eq(text_of(row, "plan"), "reference");
    ck_assert(number_of(row, "bytes") > 0.0 && number_of(row, "count") >= 1.0 && number_of(row, "flops") >= 0.0);
    const char *key = text_of(row, "key"), *phase = text_of(row, "phase"), *kind = NULL;
    ck_assert(!strncmp(key, phase, strlen(phase)) && key[strlen(phase)] == '/');
    ck_assert_int_eq(qp_json_as_string(qp_json_first(qp_json_find(row, "nodes")), &kind), QP_OK);
    ck_assert_str_eq(strrchr(kind, '.') ? strrchr(kind, '.') : kind,
                     strrchr(key, '.') ? strrchr(key, '.') : strchr(key, '/') + 1);
    (void)text_of(row, "protocol");
    if (passed) {
        ck_assert_str_eq(text_of(row, "verified"), "cpu");
        ck_assert(number_of(row, "q1_ns") <= number_of(row, "median_ns"));
        ck_assert(number_of(row, "median_ns") <= number_of(row, "q3_ns"));
        ck_assert(number_of(row, "samples") >= 2.0 && number_of(row, "noise") >= 0.0);
        ck_assert(number_of(row, "bytes_per_second") > 0.0 && number_of(row, "copy_share") > 0.0);
    } else {
        ck_assert_int_eq(qp_json_kind_of(qp_json_find(row, "verified")), QP_JSON_NULL);
        ck_assert_str_eq(text_of(row, "verdict"), "fail");
        ck_assert(is_absent(row, "median_ns") && is_absent(row, "bytes_per_second"));
        ck_assert_str_ne(text_of(row, "reason"), "");
    }
}

START_TEST(test_json_has_what_the_schema_says)
{
    char arguments[1024];
    qp_json *json = NULL;
    qp_json_node rows, steps, object;
    snprintf(arguments, sizeof arguments,
             "--samples 2 --prefill 4 --context 7 --seed 9 --fault mask-off-by-one --json '%s'", files_path("b.json"));
    ck_assert_int_eq(run(arguments), 1);
    ck_assert_ptr_nonnull(strstr(out, "FAIL"));
    ck_assert_msg(qp_json_read_file(files_path("b.json"), &json) == QP_OK, "%s", qp_last_error());
    const qp_json_node root = qp_json_root(json);
    ck_assert_str_eq(text_of(root, "schema"), "qwen3-parity-bench/2");
    ck_assert(number_of(root, "mark_overhead_ns") >= 0.0 && number_of(root, "seed") == 9.0);
    ck_assert_str_eq(text_of(root, "fault"), "mask-off-by-one");
    ck_assert_int_eq(qp_json_get_object(root, "environment", &object), QP_OK);
    ck_assert_int_eq(strncmp(text_of(object, "device"), "CPU, ", 5), 0);
    ck_assert_int_eq(qp_json_get_object(root, "ceilings", &object), QP_OK);
    ck_assert(number_of(qp_json_find(object, "copy"), "bytes_per_second") > 0.0);
    ck_assert(number_of(qp_json_find(object, "product"), "flops_per_second") > 0.0);
    ck_assert_int_eq(qp_json_get_array(root, "rows", &rows), QP_OK);
    ck_assert_int_eq(qp_json_count(rows), 40 * 3);
    int failed = 0;
    for (qp_json_node n = qp_json_first(rows); n.item; n = qp_json_next(n)) {
        const bool passed = strcmp(text_of(n, "operation"), "scores") != 0 || !strcmp(text_of(n, "phase"), "decode");
        check_row(n, passed); /* a decode step has no key behind it, so the fault changes nothing there */
        failed += !passed;
    }
    ck_assert_int_eq(failed, 3);
    ck_assert_int_eq(qp_json_get_array(root, "steps", &steps), QP_OK);
    ck_assert_int_eq(qp_json_count(steps), 2);
    const qp_json_node prefill = qp_json_first(steps), decode = qp_json_next(prefill);
    ck_assert(is_absent(prefill, "median_ns") && is_absent(prefill, "tokens_per_second"));
    ck_assert_str_eq(text_of(decode, "name"), "decode_step");
    ck_assert(number_of(decode, "context") == 7.0 && number_of(decode, "tokens") == 1.0);
    ck_assert(number_of(decode, "median_ns") > 0.0 && number_of(decode, "tokens_per_second") > 0.0);
    ck_assert(number_of(decode, "bytes") > 0.0 && number_of(decode, "next_token") >= 0.0);
    ck_assert(number_of(qp_json_find(decode, "wall"), "median_ns") > 0.0);
    ck_assert_int_eq(qp_json_get_object(root, "summary", &object), QP_OK);
    ck_assert(number_of(object, "failed") == 1.0 && number_of(object, "verified") == 39.0);
    qp_json_free(json);
}
END_TEST

static double median_of(qp_json_node object, const char *key)
{
    return number_of(qp_json_find(object, key), "median_ns");
}

START_TEST(test_json_says_how_fast_the_cpu_is)
{
    char arguments[1024];
    qp_json *json = NULL;
    qp_json_node steps, products;
    snprintf(arguments, sizeof arguments, "bench --samples 2 --phase decode --json '%s'", files_path("h.json"));
    ck_assert_msg(run_in("OMP_NUM_THREADS=2", arguments) == 0, "%s%s", out, err);
    ck_assert_msg(strstr(out, "reading ") && strstr(out, "decoding ") && strstr(out, "GMAC/s"), "%s", out);
    ck_assert_msg(qp_json_read_file(files_path("h.json"), &json) == QP_OK, "%s", qp_last_error());
    const qp_json_node root = qp_json_root(json), host = qp_json_find(root, "host"), read = qp_json_find(host, "read");
    const bool threads = number_of(host, "threads") > 1.0; /* or the build has no OpenMP */
    const double once = median_of(read, "all_threads");
    ck_assert_double_eq_tol(number_of(read, "bytes_per_second"), 1e9 * number_of(read, "bytes") / once, 1e7);
    ck_assert_int_eq(qp_json_get_array(root, "steps", &steps), QP_OK);
    const qp_json_node step = qp_json_first(steps);
    ck_assert_double_eq_tol(number_of(step, "readings") * once / number_of(step, "median_ns"), 1.0, 1e-3);
    ck_assert(number_of(step, "read_share") > 0.0 && is_absent(step, "one_thread") == !threads);
    if (threads)
        ck_assert_double_eq_tol(
            number_of(step, "speed_up") * number_of(step, "median_ns") / median_of(step, "one_thread"), 1.0, 1e-3);
    const bool blas = is_absent(qp_json_find(host, "openblas"), "no_time");
    ck_assert_int_eq(qp_json_get_array(host, "products", &products), QP_OK);
    ck_assert_int_eq(qp_json_count(products), 2 * 5);
    for (qp_json_node p = qp_json_first(products); p.item; p = qp_json_next(p)) {
        const double macs = number_of(p, "m") * number_of(p, "n") * number_of(p, "k");
        const qp_json_node ours = qp_json_first(qp_json_find(p, "contract")), loop = qp_json_find(p, "f32_loop");
        const double rate = number_of(ours, "macs_per_second");
        (void)text_of(ours, "path");
        ck_assert_double_eq_tol(rate * median_of(ours, "all_threads") / (1e9 * macs), 1.0, 1e-3);
        ck_assert_double_eq_tol(number_of(ours, "of_f32_loop"), rate / number_of(loop, "macs_per_second"), 1e-3);
        ck_assert(is_absent(ours, "of_openblas") == !blas && is_absent(ours, "speed_up") == !threads);
        if (!blas) ck_assert_str_ne(text_of(qp_json_find(qp_json_find(p, "openblas"), "all_threads"), "no_time"), "");
    }
    qp_json_free(json);
}
END_TEST

START_TEST(test_the_command_tells_by_its_exit_code)
{
    static const struct {
        const char *arguments;
        int code;
        const char *mentions; /* on stderr if the code is 2 or 3 */
    } cases[] = {
        { "--samples 1 --phase decode --context 3 --only '*norm'", 0, "PASS" },
        { "--only no/such/node --samples 1 --phase decode", 5, "nothing was compared" },
        { "--profile --phase decode", 0, "profiled" },
        { "--golden embedded --phase decode --samples 1 --only '*q_proj'", 0, "golden" },
        { "--shape qwen3-7b", 2, "qwen3-0.6b" },
        { "--shape qwen3-0.6b --layers 29", 2, "28 layers" },
        { "--shape qwen3-0.6b --model '" MODEL "'", 2, "--shape" },
        { "--layers 2", 2, "--shape" },
        { "--golden '" GOLDEN "'", 2, "--model" },
        { "--golden embedded --model '" MODEL "'", 2, "--model" },
        { "--phase both-of-them", 2, "both-of-them" },
        { "--prefill 0", 2, "--prefill" },
        { "--prefill 5000", 2, "5000" },
        { "--context -2", 2, "--context" },
        { "--samples 0", 2, "--samples" },
        { "--profile --json x.json", 2, "--json" },
        { "--golden embedded --context 5", 2, "after 23" },
        { "--model /no/such/folder", 3, "/no/such/folder" },
    };
    if (!has_card()) {
        ck_assert_int_eq(run("--backend cuda"), 3);
        ck_assert_msg(strstr(err, "CUDA") != NULL, "%s", err);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int code = run(cases[i].arguments);
        const bool refused = cases[i].code == 2 || cases[i].code == 3;
        ck_assert_msg(code == cases[i].code, "%s: %d; %s", cases[i].arguments, code, err);
        ck_assert_msg(strstr(refused ? err : out, cases[i].mentions) != NULL, "%s: no word of '%s' in: %s%s",
                      cases[i].arguments, cases[i].mentions, out, err);
    }
}
END_TEST

static Suite *bench_suite(void)
{
    Suite *suite = suite_create("bench");
    TCase *numbers = tcase_create("statistics");
    tcase_add_test(numbers, test_median_and_quartiles_of_known_numbers);
    tcase_add_test(numbers, test_samples_at_a_low_clock_do_not_count);
    suite_add_tcase(suite, numbers);
    TCase *orders = tcase_create("orders");
    tcase_set_timeout(orders, 120);
    tcase_add_test(orders, test_another_order_changes_fewer_elements_than_are_allowed);
    tcase_add_test(orders, test_an_order_explains_no_nan_no_stray_and_not_many);
    suite_add_tcase(suite, orders);
    TCase *times = tcase_create("timer");
    tcase_add_checked_fixture(times, open_timer, close_timer);
    tcase_set_timeout(times, 60);
    tcase_add_test(times, test_a_batch_at_a_low_clock_is_dropped_and_repeated);
    tcase_add_test(times, test_a_clock_that_stays_low_gives_no_time_and_an_end);
    tcase_add_test(times, test_cold_and_hot_time_the_launches);
    tcase_add_test(times, test_the_device_copies_and_knows_no_clock);
    tcase_add_test(times, test_ceilings_are_measured);
    suite_add_tcase(suite, times);
    TCase *weights = tcase_create("random_model");
    tcase_set_timeout(weights, 120);
    tcase_add_test(weights, test_random_weights_have_the_shape_and_the_deviation);
    tcase_add_test(weights, test_random_weights_depend_on_the_seed_and_not_on_threads);
    tcase_add_test(weights, test_unknown_shapes_and_layers_are_refused);
    suite_add_tcase(suite, weights);
    TCase *bench = tcase_create("bench");
    tcase_add_unchecked_fixture(bench, files_setup, files_teardown);
    tcase_add_checked_fixture(bench, open_model, close_model);
    tcase_set_timeout(bench, 120);
    tcase_add_test(bench, test_every_shape_is_verified_and_has_its_times);
    tcase_add_test(bench, test_a_golden_gives_the_tokens_and_the_truth);
    tcase_add_test(bench, test_a_planted_fault_has_no_time);
    tcase_add_loop_test(bench, test_a_kernel_that_is_wrong_only_while_it_is_timed_has_no_time, 0, 2);
    tcase_add_loop_test(bench, test_an_order_of_its_own_is_allowed_to_cublas_and_nothing_else, 0, 3);
    tcase_add_test(bench, test_only_chooses_rows_and_leaves_the_pass_without_time);
    tcase_add_test(bench, test_recorded_nodes_have_a_time_and_no_token);
    tcase_add_test(bench, test_only_records_the_chosen_nodes);
    tcase_add_test(bench, test_a_pass_that_is_wrong_only_while_it_is_timed_has_no_time);
    tcase_add_test(bench, test_profile_runs_and_times_nothing);
    tcase_add_test(bench, test_more_tokens_than_positions_are_refused);
    suite_add_tcase(suite, bench);
    TCase *host = tcase_create("host");
    tcase_add_checked_fixture(host, open_model, close_model);
    tcase_set_timeout(host, 120);
    tcase_add_test(host, test_slow_samples_are_fewer);
    tcase_add_test(host, test_the_weights_are_read_and_every_path_of_the_products_is_right);
    tcase_add_test(host, test_without_openblas_there_is_a_sentence);
    suite_add_tcase(suite, host);
    TCase *command = tcase_create("command");
    tcase_add_unchecked_fixture(command, files_setup, files_teardown);
    tcase_set_timeout(command, 120);
    tcase_add_test(command, test_json_has_what_the_schema_says);
    tcase_add_test(command, test_json_says_how_fast_the_cpu_is);
    tcase_add_test(command, test_the_command_tells_by_its_exit_code);
    suite_add_tcase(suite, command);
    return suite;
}

int main(void) { return qp_check_main(bench_suite()); }
