/* model/sampling. */
#include <math.h>

#include "../model/sampling.h"
#include "check_main.h"

enum { VOCABULARY = 8 };

static const float logits_of_the_test[VOCABULARY] = { 0.0f, 2.0f, -1.0f, 1.0f, 2.0f, -INFINITY, NAN, -3.0f };

static void fill(qp_bf16 logits[VOCABULARY])
{
    for (int i = 0; i < VOCABULARY; i++) logits[i] = qp_bf16_from_f32(logits_of_the_test[i]);
}

static void draw_many(qp_sampling sampling, int draws, int counts[VOCABULARY])
{
    qp_bf16 logits[VOCABULARY];
    qp_sampler sampler;
    fill(logits);
    for (int i = 0; i < VOCABULARY; i++) counts[i] = 0;
    ck_assert_int_eq(qp_sampler_open(sampling, VOCABULARY, &sampler), QP_OK);
    for (int i = 0; i < draws; i++) counts[qp_sampler_next(&sampler, logits)]++;
    qp_sampler_close(&sampler);
}

START_TEST(test_frequencies_follow_the_softmax)
{
    enum { DRAWS = 200000 };
    const double temperatures[] = { 0.7, 1.0, 2.0 };
    for (int t = 0; t < 3; t++) {
        int counts[VOCABULARY];
        double weights[VOCABULARY], sum = 0.0;
        draw_many((qp_sampling){ .temperature = temperatures[t], .top_p = 1.0, .seed = 3 }, DRAWS, counts);
        for (int i = 0; i < VOCABULARY; i++) {
            const double logit = (double)logits_of_the_test[i];
            sum += weights[i] = isfinite(logit) ? exp(logit / temperatures[t]) : 0.0;
        }
        for (int i = 0; i < VOCABULARY; i++) {
            const double p = weights[i] / sum, deviation = sqrt(p * (1.0 - p) / DRAWS);
            ck_assert_double_le(fabs((double)counts[i] / DRAWS - p), 5.0 * deviation);
        }
        ck_assert_int_eq(counts[5], 0); /* -inf */
        ck_assert_int_eq(counts[6], 0); /* NaN */
    }
}
END_TEST

START_TEST(test_top_k_keeps_the_ties_of_its_last)
{
    int counts[VOCABULARY];
    draw_many((qp_sampling){ .temperature = 1.0, .top_k = 1, .top_p = 1.0 }, 1000, counts);
    ck_assert_int_gt(counts[1], 0);
    ck_assert_int_gt(counts[4], 0);
    ck_assert_int_eq(counts[1] + counts[4], 1000);
}
END_TEST

START_TEST(test_top_p_keeps_the_fewest_that_reach_it)
{
    int counts[VOCABULARY];
    draw_many((qp_sampling){ .temperature = 1.0, .top_p = 1e-6 }, 1000, counts);
    ck_assert_int_eq(counts[1], 1000); /* of equals the lowest id comes first */
    draw_many((qp_sampling){ .temperature = 1.0, .top_p = 0.75 }, 1000, counts);
    /* 1 and 4 have 0.40 each, so both are needed for 0.75, and are enough. */
    ck_assert_int_eq(counts[1] + counts[4], 1000);
    ck_assert_int_gt(counts[4], 0);
}
END_TEST

START_TEST(test_the_smallest_temperature_is_greedy)
{
    int counts[VOCABULARY];
    const double smallest[] = { 1e-30, 1e-307, 5e-324 };
    for (int i = 0; i < 3; i++) {
        draw_many((qp_sampling){ .temperature = smallest[i], .top_p = 1.0 }, 200, counts);
        ck_assert_int_eq(counts[1] + counts[4], 200); /* the two largest are equal */
    }
}
END_TEST

START_TEST(test_a_seed_gives_the_same_tokens_and_another_others)
{
    qp_bf16 logits[VOCABULARY];
    qp_sampler a, b, c;
    int different = 0;
    fill(logits);
    ck_assert_int_eq(qp_sampler_open((qp_sampling){ 1.0, 0, 1.0, 42 }, VOCABULARY, &a), QP_OK);
    ck_assert_int_eq(qp_sampler_open((qp_sampling){ 1.0, 0, 1.0, 42 }, VOCABULARY, &b), QP_OK);
    ck_assert_int_eq(qp_sampler_open((qp_sampling){ 1.0, 0, 1.0, 43 }, VOCABULARY, &c), QP_OK);
    for (int i = 0; i < 100; i++) {
        const int64_t token = qp_sampler_next(&a, logits);
        ck_assert_int_eq(token, qp_sampler_next(&b, logits));
        different += token != qp_sampler_next(&c, logits);
    }
    ck_assert_int_gt(different, 10);
    qp_sampler_close(&a);
    qp_sampler_close(&b);
    qp_sampler_close(&c);
}
END_TEST

START_TEST(test_a_row_without_a_finite_logit_gives_token_0)
{
    const qp_bf16 nothing[VOCABULARY] = { { 0x7fc0 }, { 0xff80 }, { 0xff80 }, { 0xff80 },
                                          { 0x7fc0 }, { 0xff80 }, { 0xff80 }, { 0xff80 } };
    qp_sampler sampler;
    ck_assert_int_eq(qp_sampler_open((qp_sampling){ 1.0, 0, 1.0, 0 }, VOCABULARY, &sampler), QP_OK);
    ck_assert_int_eq(qp_sampler_next(&sampler, nothing), 0);
    qp_sampler_close(&sampler);
}
END_TEST

START_TEST(test_values_out_of_range_are_refused)
{
    const qp_sampling wrong[] = { { -1.0, 0, 1.0, 0 }, { NAN, 0, 1.0, 0 }, { INFINITY, 0, 1.0, 0 },
                                  { 1.0, -1, 1.0, 0 }, { 1.0, 0, 0.0, 0 }, { 1.0, 0, 1.0001, 0 },
                                  { 1.0, 0, NAN, 0 } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        qp_sampler sampler;
        ck_assert_int_eq(qp_sampler_open(wrong[i], VOCABULARY, &sampler), QP_INVALID);
        qp_sampler_close(&sampler);
    }
}
END_TEST

static Suite *sampling_suite(void)
{
    Suite *suite = suite_create("sampling");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_frequencies_follow_the_softmax);
    tcase_add_test(core, test_top_k_keeps_the_ties_of_its_last);
    tcase_add_test(core, test_top_p_keeps_the_fewest_that_reach_it);
    tcase_add_test(core, test_the_smallest_temperature_is_greedy);
    tcase_add_test(core, test_a_seed_gives_the_same_tokens_and_another_others);
    tcase_add_test(core, test_a_row_without_a_finite_logit_gives_token_0);
    tcase_add_test(core, test_values_out_of_range_are_refused);
    suite_add_tcase(suite, core);
    return suite;
}

int main(void) { return qp_check_main(sampling_suite()); }
