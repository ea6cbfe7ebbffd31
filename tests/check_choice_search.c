/* The search for cuBLAS's choices finds the split and the order of an implementation that hides them, and does not claim
 * one that it does not know. On a card, cuBLAS is asked, and has to say what the golden of such a card says. */
#include <stdlib.h>
#include <string.h>

#include "../harness/golden_model.h"
#include "../kernels/context/context.h"
#include "../kernels/linear/linear.h"
#include "../kernels/scores/scores.h"
#include "../model/choice_search.h"
#include "check_main.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_device *device;
static qp_params hidden; /* what the implementations below know and nobody tells */

static void set_up(void) { ck_assert_int_eq(qp_device_open(QP_CPU, &device), QP_OK); }
static void tear_down(void) { qp_device_close(device); }

static qp_call with_hidden(const qp_call *call)
{
    qp_call with = *call;
    with.params.part = hidden.part;
    with.params.order = hidden.order;
    return with;
}

static qp_status hiding_linear(const qp_call *call)
{
    const qp_call with = with_hidden(call);
    return qp_linear_cpu(&with);
}

static qp_status hiding_scores(const qp_call *call)
{
    const qp_call with = with_hidden(call);
    return qp_scores_cpu(&with);
}

static qp_status hiding_context(const qp_call *call)
{
    const qp_call with = with_hidden(call);
    return qp_context_cpu(&with);
}

static const qp_implementation linear = { "linear", "hiding", QP_CPU, hiding_linear, qp_no_workspace };
static const qp_implementation scores = { "scores", "hiding", QP_CPU, hiding_scores, qp_no_workspace };
static const qp_implementation context = { "context", "hiding", QP_CPU, hiding_context, qp_no_workspace };

START_TEST(test_a_hidden_split_is_found)
{
    static const struct {
        int64_t m, n, k, part;
    } cases[] = { { 1, 256, 512, 0 },    { 1, 256, 512, 256 },   { 3, 256, 3072, 1536 }, { 1, 256, 4096, 1408 },
                  { 1, 64, 6144, 2048 }, { 1, 64, 6144, 1536 },  { 1, 64, 9728, 1984 },  { 8, 64, 9728, 3264 },
                  { 1, 64, 96, 48 },     { 1, 64, 12288, 1536 }, { 1, 64, 12288, 12288 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qp_split split;
        hidden = (qp_params){ .part = cases[i].part };
        ck_assert_int_eq(qp_find_split(device, &linear, cases[i].m, cases[i].n, cases[i].k, &split), QP_OK);
        ck_assert(split.m == cases[i].m && split.n == cases[i].n && split.k == cases[i].k);
        ck_assert_msg(!split.unknown, "case %zu", i);
        ck_assert_int_eq(split.part, cases[i].part < cases[i].k ? cases[i].part : 0);
    }
}
END_TEST

START_TEST(test_an_odd_split_is_not_claimed)
{
    static const int64_t parts[] = { 16, 1040, 1520, 1552, 2032, 3056 }; /* near those that are tried */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        qp_split split;
        hidden = (qp_params){ .part = parts[i] };
        ck_assert_int_eq(qp_find_split(device, &linear, 1, 128, 3072, &split), QP_OK);
        ck_assert_msg(split.unknown && split.part == 0, "%d: %d", (int)parts[i], (int)split.part);
    }
}
END_TEST

/* Orders that sum so few alike have many names; then it is enough that the sums are the same. */
static bool sums_alike(qp_sum_order a, qp_sum_order b, int64_t n)
{
    qp_bf16 *x = malloc((size_t)n * sizeof *x), *ones = malloc((size_t)n * sizeof *ones);
    bool alike = true;
    for (int64_t k = 0; k < n; k++) ones[k] = x[k] = qp_bf16_from_f32(1.0f);
    for (int64_t i = 0; i < n && alike; i++) {
        for (int64_t j = i + 1; j < n && alike; j++) {
            x[i] = qp_bf16_from_f32(0x1p64f);
            x[j] = qp_bf16_from_f32(-0x1p64f);
            alike = qp_ordered_fma(x, ones, 1, n, a) == qp_ordered_fma(x, ones, 1, n, b);
            x[j] = ones[j];
        }
        x[i] = ones[i];
    }
    free(x);
    free(ones);
    return alike;
}

static const qp_sum_order orders[] = { { 0 },
                                       { .lanes = 16, .run = 8 },
                                       { .lanes = 32, .run = 4 },
                                       { .lanes = 32, .run = 1 },
                                       { .lanes = 32, .run = 2 },
                                       { .lanes = 8, .run = 1 },
                                       { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN },
                                       { .lanes = 2, .run = 8 },
                                       { .narrow = true } };
enum { ORDERS = sizeof orders / sizeof *orders };

/* Every number of keys alone, and all in a row, where each is first thought to be like the one before. */
START_TEST(test_hidden_orders_are_found)
{
    const qp_sum_order hiding = orders[_i];
    static const int64_t extents[][5] = {
        { 1, 1, 4, 2, 128 }, { 1, 9, 8, 8, 64 }, { 1, 63, 4, 2, 64 }, { 3, 33, 4, 2, 64 }
    };
    hidden = (qp_params){ .order = hiding };
    for (size_t e = 0; e < sizeof extents / sizeof *extents; e++)
        for (int in_scores = 0; in_scores < 2; in_scores++) {
            enum { COUNT = 3 };
            const int64_t *extent = extents[e];
            qp_order found[COUNT];
            ck_assert_int_eq(
                qp_find_orders(device, in_scores ? &scores : &context, extent, extent[1] + COUNT - 1, found), QP_OK);
            for (int i = 0; i < COUNT; i++) {
                const int64_t keys = extent[1] + i;
                ck_assert(found[i].tokens == extent[0] && found[i].keys == keys);
                ck_assert(found[i].product == (in_scores ? &qp_scores_operation : &qp_context_operation));
                ck_assert_msg(!found[i].unknown, "extents %zu, %d keys", e, (int)keys);
                ck_assert_msg(sums_alike(found[i].order, hiding, in_scores ? extent[4] : keys), "extents %zu, %d keys",
                              e, (int)keys);
            }
        }
}
END_TEST

/* What a tile leaves over first, and one run a lane: their names depend on the number of keys. */
START_TEST(test_orders_of_a_number_of_keys_are_found)
{
    static const struct {
        int64_t tokens, keys;
        qp_sum_order order;
    } cases[] = { { 33, 33, { .run = 1 } },
                  { 39, 71, { .run = 7 } },
                  { 1, 97, { .lanes = 32, .run = 4 } },
                  { 1, 113, { .lanes = 2, .run = 57 } },
                  { 1, 37, { .lanes = 8, .run = 5 } },
                  { 2, 141, { .run = 13, .narrow = true } } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t extent[] = { cases[i].tokens, cases[i].keys, 4, 2, 64 };
        qp_order found;
        hidden = (qp_params){ .order = cases[i].order };
        ck_assert_int_eq(qp_find_orders(device, &context, extent, cases[i].keys, &found), QP_OK);
        ck_assert_msg(!found.unknown && sums_alike(found.order, cases[i].order, cases[i].keys), "case %zu", i);
    }
}
END_TEST

START_TEST(test_an_odd_order_is_not_claimed)
{
    static const qp_sum_order odd[] = {
        { .lanes = 16, .run = 3 }, { .lanes = 4, .run = 12 }, { .run = 3 }, { .run = 5, .narrow = true }
    };
    static const int64_t extent[] = { 1, 63, 4, 2, 128 };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        qp_order found;
        hidden = (qp_params){ .order = odd[i] };
        ck_assert_int_eq(qp_find_orders(device, &scores, extent, 63, &found), QP_OK);
        ck_assert_msg(found.unknown, "%d lanes in runs of %d for order %zu", found.order.lanes, found.order.run, i);
        ck_assert_int_eq(qp_find_orders(device, &context, extent, 63, &found), QP_OK);
        ck_assert_msg(found.unknown, "%d lanes in runs of %d for order %zu", found.order.lanes, found.order.run, i);
    }
}
END_TEST

/* What the search adds for a plan on this machine. */
static qp_cublas_choices choices_for(qp_backend backend, qp_fusions fusions, const char *choice, bool *usable)
{
    qp_selection selection = { .backend = backend };
    qp_cublas_choices choices = { 0 };
    qp_model model;
    qp_runtime runtime;
    if (choice) ck_assert_int_eq(qp_selection_choose(&selection, choice), QP_OK);
    ck_assert_msg(qp_model_open(MODEL, &model) == QP_OK, "%s", qp_last_error());
    const qp_status status = qp_runtime_open(&model, backend, &runtime);
    *usable = status == QP_OK;
    ck_assert_msg(*usable || (backend == QP_CUDA && status == QP_DEVICE), "%s", qp_last_error());
    if (*usable) {
        const qp_plan_options prompt = { .tokens = 23, .capacity = 31, .fusions = fusions };
        const qp_plan_options decode = { .tokens = 1, .capacity = 31, .fusions = fusions };
        ck_assert_msg(qp_find_choices(&runtime, &selection, prompt, 0, 0, &choices) == QP_OK, "%s", qp_last_error());
        ck_assert_msg(qp_find_choices(&runtime, &selection, decode, 23, 30, &choices) == QP_OK, "%s", qp_last_error());
        qp_runtime_close(&runtime);
    }
    qp_model_close(&model);
    return choices;
}

START_TEST(test_nobody_is_asked_where_nothing_depends_on_it)
{
    bool usable = false;
    qp_cublas_choices none = choices_for(QP_CPU, QP_FUSE_ALL, NULL, &usable);
    ck_assert(usable && none.split_count == 0 && none.order_count == 0);
    none = choices_for(QP_CUDA, 0, NULL, &usable);
    ck_assert(none.split_count == 0 && none.order_count == 0);
    qp_cublas_choices some = choices_for(QP_CUDA, 0, usable ? "scores=contract" : NULL, &usable);
    ck_assert((some.split_count > 0 && some.order_count > 0) == usable);
    qp_cublas_choices_close(&some);
}
END_TEST

/* The embedded golden is of an H200: a prompt of 23 tokens and eight steps. */
START_TEST(test_a_card_says_what_its_golden_says)
{
    bool usable = false;
    qp_device *card = NULL;
    qp_golden *golden = NULL;
    qp_cublas_choices wanted;
    qp_cublas_choices found = choices_for(QP_CUDA, QP_FUSE_ALL, NULL, &usable);
    if (!usable) return;
    ck_assert_int_eq(qp_device_open(QP_CUDA, &card), QP_OK);
    const bool is_h200 = !strcmp(qp_device_describe(card).name, "NVIDIA H200");
    qp_device_close(card);
    ck_assert_msg(qp_golden_open(GOLDEN, &golden) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_golden_choices(golden, &wanted), QP_OK);
    ck_assert_int_gt(found.split_count, 4);
    ck_assert_int_eq(found.order_count, 2 * (1 + 8));
    for (int i = 0; i < found.split_count; i++) ck_assert(!found.splits[i].unknown);
    for (int i = 0; i < found.order_count; i++) ck_assert(!found.orders[i].unknown);
    int compared = 0;
    for (int i = 0; i < found.order_count && is_h200; i++)
        for (int j = 0; j < wanted.order_count; j++) {
            const qp_order *a = &found.orders[i], *b = &wanted.orders[j];
            if (a->product != b->product || a->tokens != b->tokens || a->keys != b->keys) continue;
            ck_assert_msg(sums_alike(a->order, b->order, a->product == &qp_scores_operation ? 128 : a->keys),
                          "%d tokens, %d keys", (int)a->tokens, (int)a->keys);
            compared++;
        }
    ck_assert_int_eq(compared, is_h200 ? found.order_count : 0);
    for (int i = 0; i < found.split_count && is_h200; i++)
        for (int j = 0; j < wanted.split_count; j++) {
            const qp_split *a = &found.splits[i], *b = &wanted.splits[j];
            if (a->m == b->m && a->n == b->n && a->k == b->k) ck_assert_int_eq(a->part, b->part);
        }
    qp_cublas_choices_close(&found);
    qp_cublas_choices_close(&wanted);
    qp_golden_close(golden);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choice search");
    TCase *search = tcase_create("choice search");
    tcase_add_checked_fixture(search, set_up, tear_down);
    tcase_set_timeout(search, 300);
    tcase_add_test(search, test_a_hidden_split_is_found);
    tcase_add_test(search, test_an_odd_split_is_not_claimed);
    tcase_add_loop_test(search, test_hidden_orders_are_found, 0, ORDERS);
    tcase_add_test(search, test_orders_of_a_number_of_keys_are_found);
    tcase_add_test(search, test_an_odd_order_is_not_claimed);
    tcase_add_test(search, test_nobody_is_asked_where_nothing_depends_on_it);
    tcase_add_test(search, test_a_card_says_what_its_golden_says);
    suite_add_tcase(suite, search);
    return qp_check_main(suite);
}
