/* The device: what the rest of the program takes for granted about memory, copies, time and errors. Run on the CPU, and on
 * a CUDA device where there is one. */
#include <stdint.h>
#include <string.h>

#include "../model/device.h"
#include "check_main.h"

static const qp_backend backends[] = { QP_CPU, QP_CUDA };

/* NULL where this machine has no such device; then the sentence says so. */
static qp_device *open_device(qp_backend backend)
{
    qp_device *device = (qp_device *)1;
    const qp_status status = qp_device_open(backend, &device);
    if (status == QP_OK) return device;
    ck_assert_int_eq(backend, QP_CUDA);
    ck_assert_int_eq(status, QP_DEVICE);
    ck_assert_ptr_null(device);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "CUDA"));
    return NULL;
}

START_TEST(test_memory_is_aligned_poisoned_and_keeps_what_is_written)
{
    enum { BYTES = 1000 };
    qp_device *device = open_device(backends[_i]);
    if (!device) return;
    unsigned char seen[BYTES], text[BYTES];
    void *memory = NULL;
    ck_assert_int_eq(qp_device_allocate(device, BYTES, "a test", &memory), QP_OK);
    ck_assert_uint_eq((uintptr_t)memory % 512, 0);
    ck_assert_int_eq(qp_device_read(device, seen, memory, BYTES), QP_OK);
    for (int i = 0; i < BYTES; i++) ck_assert_uint_eq(seen[i], 0xff);

    for (int i = 0; i < BYTES; i++) text[i] = (unsigned char)(7 * i);
    ck_assert_int_eq(qp_device_write(device, memory, text, BYTES), QP_OK);
    ck_assert_int_eq(qp_device_read(device, seen, memory, BYTES), QP_OK);
    ck_assert_mem_eq(seen, text, BYTES);
    ck_assert_int_eq(qp_device_fill(device, memory, 3, 10), QP_OK);
    ck_assert_int_eq(qp_device_read(device, seen, memory, 11), QP_OK);
    ck_assert(seen[0] == 3 && seen[9] == 3 && seen[10] == text[10]);
    ck_assert_int_eq(qp_device_check_canaries(device), QP_OK);
    qp_device_free(device, memory);
    qp_device_free(device, NULL);
    qp_device_close(device);
}
END_TEST

START_TEST(test_vectors_are_chosen_by_the_environment)
{
    qp_device *device = NULL;
    ck_assert_int_eq(setenv("QP_VECTORS", "portable", 1), 0);
    ck_assert_int_eq(qp_device_open(QP_CPU, &device), QP_OK);
    ck_assert_str_eq(qp_device_describe(device).name, "CPU, portable");
    qp_device_close(device);
    ck_assert_int_eq(setenv("QP_VECTORS", "mmx", 1), 0);
    ck_assert_int_eq(qp_device_open(QP_CPU, &device), QP_USAGE);
    ck_assert_ptr_null(device);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "'mmx'; this machine has"));
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "portable"));
    ck_assert_int_eq(unsetenv("QP_VECTORS"), 0);
}
END_TEST

START_TEST(test_canaries_tell_of_writes_behind_and_before)
{
    qp_device *device = open_device(QP_CUDA);
    if (!device) return;
    for (int side = 0; side < 2; side++) {
        void *memory = NULL;
        ck_assert_int_eq(qp_device_allocate(device, 100, "a tensor", &memory), QP_OK);
        ck_assert_int_eq(qp_device_fill(device, side ? (char *)memory + 100 : (char *)memory - 1, 0, 1), QP_OK);
        ck_assert_int_eq(qp_device_check_canaries(device), QP_DEVICE);
        ck_assert_ptr_nonnull(strstr(qp_last_error(), side ? "behind" : "before"));
        ck_assert_ptr_nonnull(strstr(qp_last_error(), "a tensor"));
        qp_device_free(device, memory);
    }
    qp_device_close(device);
}
END_TEST

START_TEST(test_too_much_memory_is_refused_and_the_device_works_on)
{
    qp_device *device = open_device(backends[_i]);
    if (!device) return;
    void *memory = NULL;
    ck_assert_int_eq(qp_device_allocate(device, UINT64_C(1) << 46, "the KV cache", &memory), QP_NO_MEMORY);
    ck_assert_ptr_null(memory);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "the KV cache needs"));
    ck_assert_int_eq(qp_device_allocate(device, 16, "a test", &memory), QP_OK);
    qp_device_free(device, memory);
    qp_device_close(device);
}
END_TEST

START_TEST(test_marks_measure_time)
{
    qp_device *device = open_device(backends[_i]);
    if (!device) return;
    double seconds = -1.0;
    ck_assert_int_eq(qp_device_mark(device, 0), QP_OK);
    ck_assert_int_eq(qp_device_mark(device, 100), QP_OK);
    ck_assert_int_eq(qp_device_wait(device), QP_OK);
    ck_assert_int_eq(qp_device_elapsed(device, 0, 100, &seconds), QP_OK);
    ck_assert(seconds >= 0.0 && seconds < 10.0);
    ck_assert_int_eq(qp_device_elapsed(device, 0, 1 << 20, &seconds), QP_INVALID);
    ck_assert_int_eq(qp_device_elapsed(device, -1, 0, &seconds), QP_INVALID);
    qp_device_close(device);
}
END_TEST

START_TEST(test_an_implementation_of_another_backend_is_refused)
{
    const qp_implementation foreign = { "linear", "contract", QP_CUDA, NULL, qp_no_workspace };
    const qp_call call = { .extent = { 1 } };
    qp_device *device = open_device(QP_CPU);
    ck_assert_int_eq(qp_device_run(device, &foreign, &call), QP_INVALID);
    qp_device_close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *device = tcase_create("device");
    tcase_add_loop_test(device, test_memory_is_aligned_poisoned_and_keeps_what_is_written, 0, 2);
    tcase_add_test(device, test_vectors_are_chosen_by_the_environment);
    tcase_add_test(device, test_canaries_tell_of_writes_behind_and_before);
    tcase_add_loop_test(device, test_too_much_memory_is_refused_and_the_device_works_on, 0, 2);
    tcase_add_loop_test(device, test_marks_measure_time, 0, 2);
    tcase_add_test(device, test_an_implementation_of_another_backend_is_refused);
    suite_add_tcase(suite, device);
    return qp_check_main(suite);
}
