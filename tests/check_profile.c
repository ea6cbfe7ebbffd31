/* The CPU's special functions against what an H200 gave, golden/profiles/sm_90.h5 (harness/profile.h has its schema): every
 * argument of a period, and checksums of samples of all arguments. An environment variable QP_CHUNKS asks for more samples;
 * 4096 are all 2^32 arguments of each function. */
#include <check.h>
#include <hdf5.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../harness/profile.h"
#include "../kernels/numerics/special_unit.h"
#include "check_main.h"

enum { CHUNKS = 16 };

static void *read_dataset(const char *name, hid_t memory, size_t bytes)
{
    void *data = malloc(bytes);
    const hid_t file = H5Fopen(QP_SOURCE_DIR "/golden/profiles/sm_90.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(dataset);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq((size_t)H5Sget_simple_extent_npoints(space) * H5Tget_size(memory), bytes);
    ck_assert_int_ge(H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), 0);
    (void)H5Sclose(space);
    (void)H5Dclose(dataset);
    (void)H5Fclose(file);
    return data;
}

/* Counts the arguments for which `ours` is not the nearest f32 and so many ulp. */
static void count(uint32_t ours, double exact, int ulp, int64_t *wrong, int64_t *not_nearest)
{
    *wrong += (int64_t)ours != (int64_t)qp_f32_bits((float)exact) + ulp;
    *not_nearest += ulp != 0;
}

START_TEST(test_unit_is_the_cards_in_every_argument)
{
    int8_t *rsqrt = read_dataset("rsqrt", H5T_NATIVE_INT8, 2 * (size_t)QP_PERIOD);
    int8_t *ex2 = read_dataset("ex2", H5T_NATIVE_INT8, QP_PERIOD);
    int64_t wrong = 0, not_nearest = 0;
    for (uint32_t i = 0; i < QP_PERIOD; i++) {
        const double x = 1.0 + (double)i * 0x1p-23;
        count(qp_unit_rsqrt(0, i), 1.0 / sqrt(x), rsqrt[i], &wrong, &not_nearest);
        count(qp_unit_rsqrt(1, i), 1.0 / sqrt(2.0 * x), rsqrt[QP_PERIOD + i], &wrong, &not_nearest);
        count(qp_unit_ex2(i) + (1u << 23), exp2(x), ex2[i], &wrong, &not_nearest);
    }
    ck_assert_int_eq(wrong, 0);
    ck_assert_int_gt(not_nearest, QP_PERIOD / 10); /* it is no correctly rounded function */
    free(rsqrt);
    free(ex2);
}
END_TEST

START_TEST(test_functions_have_the_cards_checksums)
{
    const char *wish = getenv("QP_CHUNKS");
    const int chunks = wish ? atoi(wish) : CHUNKS;
    ck_assert(chunks >= 1 && chunks <= QP_SPECIAL_CHUNKS);
    uint64_t *card = read_dataset("checksums", H5T_NATIVE_UINT64, sizeof *card * QP_SPECIALS * QP_SPECIAL_CHUNKS);
    for (int i = 0; i < chunks; i++) {
        const int64_t chunk = ((int64_t)i * QP_SPECIAL_CHUNKS + QP_SPECIAL_CHUNKS / 3) / chunks;
        uint64_t cpu = 0;
        const qp_call call = { .extent = { _i, chunk, 1 }, .out = { &cpu } };
        ck_assert_int_eq(qp_special_checksums_cpu(&call), QP_OK);
        ck_assert_msg(cpu == card[_i * QP_SPECIAL_CHUNKS + chunk], "%s differs in chunk %lld",
                      qp_special_name((qp_special)_i), (long long)chunk);
    }
    free(card);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("profile");
    TCase *cases = tcase_create("sm_90");
    tcase_set_timeout(cases, 600);
    tcase_add_test(cases, test_unit_is_the_cards_in_every_argument);
    tcase_add_loop_test(cases, test_functions_have_the_cards_checksums, 0, QP_SPECIALS);
    suite_add_tcase(suite, cases);
    return qp_check_main(suite);
}
