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

/* Where a step's numbers are, in one piece of memory. */
enum { NEXT, INPUT, POSITION, PREDICTED, WORDS = PREDICTED + 8 };

static qp_next_step next_step_in(int64_t *words)
{
    return (qp_next_step){ &words[NEXT], &words[INPUT], &words[POSITION], &words[PREDICTED] };
}

START_TEST(test_a_step_hands_its_token_on)
{
    qp_device *device = open_device(backends[_i]);
    if (!device) return;
    int64_t words[WORDS] = { [NEXT] = 77, [INPUT] = 5, [POSITION] = 3 }, now[2] = { 0 };
    void *memory = NULL;
    ck_assert_int_eq(qp_device_allocate(device, sizeof words, "a step", &memory), QP_OK);
    ck_assert_int_eq(qp_device_write(device, memory, words, sizeof words), QP_OK);
    const qp_next_step step = next_step_in(memory);
    ck_assert_int_eq(qp_device_advance(device, &step), QP_OK);
    ck_assert_int_eq(qp_device_mark(device, 1), QP_OK);
    ck_assert_int_eq(qp_device_advance(device, &step), QP_OK);
    ck_assert_int_eq(qp_device_read_at(device, 1, &now[0], &step.predicted[3], sizeof now[0]), QP_OK);
    ck_assert_int_eq(now[0], 77);
    ck_assert_int_eq(qp_device_read_at(device, 1 << 20, &now[0], memory, sizeof now[0]), QP_INVALID);
    ck_assert_int_eq(qp_device_read(device, words, memory, sizeof words), QP_OK);
    ck_assert(words[NEXT] == 77 && words[INPUT] == 77 && words[POSITION] == 5);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(words[PREDICTED + i], i == 3 || i == 4 ? 77 : 0);
    ck_assert_int_eq(qp_device_check_canaries(device), QP_OK);
    qp_device_free(device, memory);
    qp_device_close(device);
}
END_TEST

typedef struct work {
    qp_device *device;
    qp_next_step step;
    int calls;
    bool fails;
} work;

static qp_status enqueue(void *context)
{
    work *w = context;
    w->calls++;
    if (w->fails && w->calls == 2) return qp_fail(QP_INVALID, "told to fail");
    return qp_device_advance(w->device, &w->step);
}

START_TEST(test_the_cpu_refuses_to_record)
{
    qp_device *device = open_device(QP_CPU);
    work w = { .device = device };
    qp_recording *recording = (qp_recording *)1;
    ck_assert_int_eq(qp_device_record(device, NULL, enqueue, &w, &recording), QP_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "the CPU records no launches"));
    ck_assert_ptr_null(recording);
    ck_assert_int_eq(w.calls, 0);
    qp_device_close_recording(device, recording);
    qp_device_close(device);
}
END_TEST

/* Recording does the work once, as it is; each replay does it once more, also behind a recording that failed. */
START_TEST(test_a_recording_is_replayed)
{
    qp_device *device = open_device(QP_CUDA);
    if (!device) return;
    int64_t words[WORDS] = { [NEXT] = 9 };
    void *memory = NULL;
    ck_assert_int_eq(qp_device_allocate(device, sizeof words, "a step", &memory), QP_OK);
    ck_assert_int_eq(qp_device_write(device, memory, words, sizeof words), QP_OK);
    work w = { .device = device, .step = next_step_in(memory), .fails = true };
    qp_recording *recording = NULL;
    ck_assert_int_eq(qp_device_record(device, NULL, enqueue, &w, &recording), QP_INVALID);
    ck_assert_ptr_null(recording);
    w.fails = false;
    ck_assert_msg(qp_device_record(device, NULL, enqueue, &w, &recording) == QP_OK, "%s", qp_last_error());
    for (int i = 0; i < 3; i++) ck_assert_int_eq(qp_device_replay(device, recording), QP_OK);
    ck_assert_msg(qp_device_read(device, words, memory, sizeof words) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(words[POSITION], 5);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(words[PREDICTED + i], i < 5 ? 9 : 0);
    qp_device_close_recording(device, recording);
    ck_assert_int_eq(qp_device_check_canaries(device), QP_OK);
    qp_device_free(device, memory);
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
    tcase_add_loop_test(device, test_a_step_hands_its_token_on, 0, 2);
    tcase_add_test(device, test_the_cpu_refuses_to_record);
    tcase_add_test(device, test_a_recording_is_replayed);
    tcase_add_test(device, test_an_implementation_of_another_backend_is_refused);
    suite_add_tcase(suite, device);
    return qp_check_main(suite);
}
