/* Every CUDA implementation of the registry on every case of its operation, and on more shapes, against the contract on the
 * CPU; memory is poisoned and has canaries. Exit code 77 (skipped) without a usable device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/compare.h"
#include "../harness/own_order.h"
#include "../model/device.h"
#include "check_inputs.h"
#include "check_main.h"

enum { SKIPPED = 77 };

static qp_device *device;
static uint64_t random_state;

#define ATTENTION_SCALE .scale = 0.08838834764f
/* cuBLAS's orders for one query and a number of keys that is not a multiple of 8, from few keys to many. */
#define ATTENTION_LANES .order = { .lanes = 16, .run = 8 }, .context_order = { .lanes = 32, .run = 4 }
#define ATTENTION_IN_TURN                                                                                              \
    .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN }, .context_order = { .lanes = 32, .run = 1 }
/* And for as many queries as keys, an odd number. */
#define ATTENTION_NARROW .order = { .narrow = true }, .context_order = { .run = 1, .narrow = true }

/* Sizes beyond the operations' own cases: where tiles end, where PyTorch's orders change, and rows that no vector fits. */
static const struct extra_case {
    const char *operation;
    qp_case c;
} extra_cases[] = {
    { "linear", { .name = "decode_0.6b_down", .extent = { 1, 1024, 3072 } } },
    { "linear", { .name = "m_8", .extent = { 8, 272, 512 } } },
    { "linear", { .name = "m_9", .extent = { 9, 130, 272 }, .fill = QP_FILL_WIDE } },
    { "linear", { .name = "m_65", .extent = { 65, 96, 160 } } },
    { "linear", { .name = "m_130_split", .extent = { 130, 64, 1024 }, .params = { .part = 256 } } },
    { "linear", { .name = "k_18_aligned_to_4", .extent = { 2, 20, 18 } } },
    /* Where a kernel's own variables decide whether its shared memory is enough, or more than is given unasked. */
    { "linear_residual", { .name = "x_leaves_little_room", .extent = { 8, 2128, 12288 }, .params = { .part = 6144 } } },
    { "gqa_attention", { .name = "around_48_KiB", .extent = { 1, 576, 4, 2, 128 }, .params = { .scale = 0.125f } } },
    { "gqa_attention",
      { .name = "just_below_48_KiB", .extent = { 1, 640, 4, 2, 128 }, .params = { .scale = 0.125f } } },
    { "scores",
      { .name = "decode_odd_keys",
        .extent = { 1, 77, 4, 2, 128 },
        .params = { .scale = 0.125f, .order = { .lanes = 16, .run = 8 } } } },
    { "scores", { .name = "chunk", .extent = { 9, 200, 6, 3, 128 }, .params = { .scale = 0.125f } } },
    { "scores", { .name = "prefill_33", .extent = { 33, 33, 5, 1, 128 }, .params = { .scale = 0.125f } } },
    { "scores", { .name = "many_queries", .extent = { 70, 70, 16, 8, 128 }, .params = { .scale = 0.125f } } },
    { "scores",
      { .name = "d_64", .extent = { 3, 40, 4, 2, 64 }, .params = { .scale = 0.125f }, .fill = QP_FILL_WIDE } },
    { "context",
      { .name = "decode_odd_keys", .extent = { 1, 77, 4, 2, 128 }, .params = { .order = { .lanes = 32, .run = 4 } } } },
    { "context",
      { .name = "few_lanes", .extent = { 1, 257, 4, 2, 128 }, .params = { .order = { .lanes = 8, .run = 33 } } } },
    { "context", { .name = "residue_first", .extent = { 20, 100, 6, 3, 128 }, .params = { .order = { .run = 36 } } } },
    { "context",
      { .name = "residue_whole_blocks", .extent = { 20, 112, 6, 3, 128 }, .params = { .order = { .run = 48 } } } },
    { "context", { .name = "prefill_33", .extent = { 33, 33, 5, 1, 128 } } },
    { "context", { .name = "many_queries", .extent = { 70, 70, 16, 8, 128 }, .fill = QP_FILL_WIDE } },
    { "context", { .name = "d_64", .extent = { 3, 40, 4, 2, 64 } } },
    { "scores",
      { .name = "in_turn",
        .extent = { 1, 301, 4, 2, 128 },
        .params = { .scale = 0.125f, .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN } } } },
    { "context",
      { .name = "in_turn",
        .extent = { 1, 301, 4, 2, 128 },
        .params = { .order = { .lanes = 16, .run = 1, .fold = QP_FOLD_IN_TURN } } } },
    { "scores",
      { .name = "narrow",
        .extent = { 9, 257, 6, 3, 128 },
        .params = { .scale = 0.125f, .order = { .narrow = true } } } },
    { "context",
      { .name = "narrow",
        .extent = { 9, 257, 6, 3, 128 },
        .params = { .order = { .run = 1, .narrow = true } },
        .fill = QP_FILL_WIDE } },
    { "gqa_attention",
      { .name = "keys_1",
        .extent = { 1, 1, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .order = { .lanes = 16, .run = 8 } } } },
    { "gqa_attention",
      { .name = "keys_7", .extent = { 1, 7, 16, 8, 128 }, .params = { ATTENTION_SCALE, ATTENTION_LANES } } },
    { "gqa_attention", { .name = "keys_8", .extent = { 1, 8, 4, 2, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_33", .extent = { 1, 33, 32, 8, 128 }, .params = { ATTENTION_SCALE, ATTENTION_LANES } } },
    { "gqa_attention", { .name = "keys_128", .extent = { 1, 128, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_129", .extent = { 1, 129, 16, 8, 128 }, .params = { ATTENTION_SCALE, ATTENTION_LANES } } },
    { "gqa_attention",
      { .name = "keys_129_edges",
        .extent = { 1, 129, 4, 2, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_LANES },
        .fill = QP_FILL_EDGES } },
    { "gqa_attention",
      { .name = "keys_513",
        .extent = { 1, 513, 5, 1, 128 },
        .params = { ATTENTION_SCALE, .order = { .lanes = 8, .run = 1 },
                    .context_order = { .lanes = 32, .run = 17 } } } },
    { "gqa_attention", { .name = "keys_1000", .extent = { 1, 1000, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_1030", .extent = { 1, 1030, 16, 8, 128 }, .params = { ATTENTION_SCALE, ATTENTION_IN_TURN } } },
    { "gqa_attention", { .name = "keys_2048", .extent = { 1, 2048, 32, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_2049", .extent = { 1, 2049, 16, 8, 128 }, .params = { ATTENTION_SCALE, ATTENTION_IN_TURN } } },
    { "gqa_attention", { .name = "keys_4096", .extent = { 1, 4096, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_4097_8_heads",
        .extent = { 1, 4097, 8, 1, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_IN_TURN } } },
    { "gqa_attention",
      { .name = "keys_9300", .extent = { 1, 9300, 4, 2, 128 }, .params = { ATTENTION_SCALE, ATTENTION_IN_TURN } } },
    { "gqa_attention", { .name = "keys_9304", .extent = { 1, 9304, 4, 2, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "keys_12257", .extent = { 1, 12257, 4, 2, 128 }, .params = { ATTENTION_SCALE, ATTENTION_IN_TURN } } },
    { "gqa_attention", { .name = "keys_33000", .extent = { 1, 33000, 32, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention", { .name = "tokens_3", .extent = { 3, 50, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_3_residue",
        .extent = { 3, 2047, 5, 1, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_NARROW } } },
    { "gqa_attention",
      { .name = "tokens_3_long",
        .extent = { 3, 9303, 4, 2, 128 },
        .params = { ATTENTION_SCALE, .context_order = { .run = 31 } } } },
    { "gqa_attention",
      { .name = "tokens_3_residue_of_scores",
        .extent = { 3, 77, 4, 2, 128 },
        .params = { ATTENTION_SCALE, .order = { .run = 5 }, .context_order = { .run = 77 } } } },
    { "gqa_attention", { .name = "tokens_8", .extent = { 8, 1000, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_8_lanes", .extent = { 8, 333, 4, 2, 128 }, .params = { ATTENTION_SCALE, ATTENTION_LANES } } },
    { "gqa_attention", { .name = "tokens_64", .extent = { 64, 64, 16, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_65",
        .extent = { 65, 65, 5, 1, 128 },
        .params = { ATTENTION_SCALE, .context_order = { .run = 1 } } } },
    { "gqa_attention",
      { .name = "tokens_100_lanes",
        .extent = { 100, 101, 4, 2, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_LANES } } },
    { "gqa_attention",
      { .name = "tokens_130_after_70",
        .extent = { 130, 200, 4, 2, 128 },
        .params = { ATTENTION_SCALE, .context_order = { .run = 44 } } } },
    { "gqa_attention",
      { .name = "tokens_257", .extent = { 257, 257, 4, 2, 128 }, .params = { ATTENTION_SCALE, ATTENTION_NARROW } } },
    { "gqa_attention", { .name = "tokens_600", .extent = { 600, 600, 32, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_70_of_2500", .extent = { 70, 2500, 4, 2, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_300_of_3001",
        .extent = { 300, 3001, 2, 1, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_NARROW } } },
    { "gqa_attention",
      { .name = "tokens_520_of_64_heads", .extent = { 520, 520, 64, 8, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "tokens_40_of_9301", .extent = { 40, 9301, 2, 1, 128 }, .params = { ATTENTION_SCALE } } },
    { "gqa_attention",
      { .name = "d_64", .extent = { 3, 40, 4, 2, 64 }, .params = { ATTENTION_SCALE }, .fill = QP_FILL_WIDE } },
    { "gqa_attention", { .name = "d_33_odd", .extent = { 5, 9, 4, 2, 33 }, .params = { ATTENTION_SCALE } } },
    { "cascade_attention",
      { .name = "64_sequences_share_283",
        .extent = { 64, 400, 3, 360, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 283 } } },
    { "cascade_attention",
      { .name = "64_sequences_share_272",
        .extent = { 64, 900, 2, 344, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 272 } } },
    { "cascade_attention",
      { .name = "33_sequences_of_1003_lanes",
        .extent = { 33, 1500, 4, 1003, 16, 8, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_LANES, .shared = 930 } } },
    { "cascade_attention",
      { .name = "5_sequences_of_8264_group_4",
        .extent = { 5, 9000, 4, 8264, 32, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 8190 } } },
    { "cascade_attention",
      { .name = "5_sequences_of_8263_lanes",
        .extent = { 5, 9000, 4, 8263, 16, 8, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_IN_TURN, .shared = 8190 } } },
    { "cascade_attention",
      { .name = "20_sequences_residue",
        .extent = { 20, 4000, 5, 3000, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .context_order = { .run = 37 }, .shared = 2601 } } },
    { "cascade_attention",
      { .name = "20_sequences_residue_of_own",
        .extent = { 20, 4000, 5, 2000, 40, 8, 128 },
        .params = { ATTENTION_SCALE, .order = { .run = 16 }, .context_order = { .run = 1990 }, .shared = 1901 } } },
    { "cascade_attention",
      { .name = "9_sequences_of_9221",
        .extent = { 9, 9300, 3, 9221, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 9220 } } },
    { "cascade_attention",
      { .name = "9_sequences_of_9232",
        .extent = { 9, 9300, 3, 9232, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 9111 } } },
    { "cascade_attention",
      { .name = "9_sequences_of_9223_lanes",
        .extent = { 9, 9300, 3, 9223, 16, 8, 128 },
        .params = { ATTENTION_SCALE, ATTENTION_LANES, .shared = 9111 } } },
    { "cascade_attention",
      { .name = "9_sequences_of_2101_32_lanes",
        .extent = { 9, 9300, 3, 2101, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .order = { .lanes = 32, .run = 4 }, .context_order = { .lanes = 32, .run = 4 },
                    .shared = 1999 } } },
    { "cascade_attention",
      { .name = "9_sequences_residue_of_4",
        .extent = { 9, 9300, 3, 2600, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .context_order = { .run = 40 }, .shared = 2500 } } },
    { "cascade_attention",
      { .name = "3_sequences_of_58200",
        .extent = { 3, 58400, 2, 58200, 2, 1, 128 },
        .params = { ATTENTION_SCALE, .shared = 58100 } } },
    { "cascade_attention",
      { .name = "3_sequences_of_12300_whole",
        .extent = { 3, 12300, 1, 12300, 8, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 12300 } } },
    { "cascade_attention",
      { .name = "100_sequences_edges",
        .extent = { 100, 700, 3, 456, 8, 4, 128 },
        .params = { ATTENTION_SCALE, .shared = 400 },
        .fill = QP_FILL_EDGES } },
    { "cascade_attention",
      { .name = "7_sequences_long_own",
        .extent = { 7, 9000, 5, 4448, 16, 8, 128 },
        .params = { ATTENTION_SCALE, .shared = 3001 } } },
    { "cascade_attention",
      { .name = "7_sequences_of_12_heads",
        .extent = { 7, 3000, 3, 2600, 12, 1, 128 },
        .params = { ATTENTION_SCALE, .shared = 2501 } } },
    { "cascade_attention",
      { .name = "d_33_odd", .extent = { 3, 30, 3, 21, 4, 2, 33 }, .params = { ATTENTION_SCALE, .shared = 10 } } },
    { "rms_norm", { .name = "one_row_wide", .extent = { 1, 4096 }, .params = { .eps = 1e-6f } } },
    { "rms_norm", { .name = "3_rows_2560", .extent = { 3, 2560 }, .params = { .eps = 1e-6f } } },
    { "rms_norm", { .name = "9_rows_5120", .extent = { 9, 5120 }, .params = { .eps = 1e-6f } } },
    { "rms_norm", { .name = "rows_1000", .extent = { 1000, 128 }, .params = { .eps = 1e-6f } } },
    { "rms_norm", { .name = "short_rows", .extent = { 40, 64 }, .params = { .eps = 1e-6f } } },
    { "softmax", { .name = "keys_1", .extent = { 5, 1 } } },
    { "softmax", { .name = "keys_33", .extent = { 7, 33 } } },
    { "softmax", { .name = "keys_2048", .extent = { 3, 2048 } } },
    { "softmax", { .name = "keys_2049", .extent = { 3, 2049 } } },
    { "softmax", { .name = "keys_9217", .extent = { 5, 9217 } } },
    { "softmax", { .name = "keys_10000", .extent = { 3, 10000 } } },
    { "softmax", { .name = "keys_20001", .extent = { 5, 20001 } } },
    { "embedding", { .name = "odd_hidden", .extent = { 5, 50, 33 } } },
    { "argmax", { .name = "vocabulary", .extent = { 2, 151936, 1 }, .fill = QP_FILL_EDGES } },
    { "residual_add", { .name = "odd", .extent = { 100003 }, .fill = QP_FILL_WIDE } },
    { "multiply", { .name = "odd", .extent = { 100003 }, .fill = QP_FILL_WIDE } },
    { "silu", { .name = "odd", .extent = { 100003 }, .fill = QP_FILL_WIDE } },
    { "rope", { .name = "one_head_odd", .extent = { 3, 1, 6 } } },
};

static void *host_memory(size_t bytes, int byte)
{
    void *memory = malloc(bytes);
    ck_assert_ptr_nonnull(memory);
    memset(memory, byte, bytes);
    return memory;
}

static void assert_same(const qp_operation *operation, const qp_case *c, const qp_implementation *cuda,
                        const qp_operand *out, const void *want, const void *got, int64_t n)
{
    const qp_comparison found = qp_compare(out->dtype, want, got, n);
    printf("%-18s %-9s %-22s %-8s %8lld elements, %lld differ, at most %g ulp\n", operation->name, cuda->name, c->name,
           out->name, (long long)n, (long long)found.mismatches, found.max_ulp);
    /* cuBLAS sums in the order that it chooses itself, which is the contract's for most shapes and not for all. */
    const bool own_order = !strcmp(cuda->name, "cublas");
    const bool same = own_order ? qp_own_order_explains(want, got, n, qp_products_in_a_sum(operation, c->extent))
                                : found.elements == n && found.mismatches == 0;
    ck_assert_msg(same,
                  "%s=%s/%s: %lld of %lld elements of %s differ from the CPU's, at most %g ulp (%lld: %g, not %g)",
                  operation->name, cuda->name, c->name, (long long)found.mismatches, (long long)n, out->name,
                  found.max_ulp, (long long)found.worst[0].index, found.worst[0].got,
                  found.worst[0].want);
}

static void check_case(const qp_operation *operation, const qp_implementation *cuda, const qp_case *c)
{
    const int in = qp_operand_count(operation->in, QP_MAX_IN), out = qp_operand_count(operation->out, QP_MAX_OUT);
    qp_call cpu_call = { .params = c->params }, cuda_call;
    void *inputs[QP_MAX_IN] = { NULL }, *wanted[QP_MAX_OUT] = { NULL };
    memcpy(cpu_call.extent, c->extent, sizeof c->extent);
    cuda_call = cpu_call;
    for (int i = 0; i < in; i++) {
        const size_t bytes = qp_operand_bytes(&operation->in[i], &cpu_call);
        void *there = NULL;
        inputs[i] = host_memory(bytes, 0);
        check_fill_input(operation, i, &cpu_call, c->fill, &random_state, inputs[i]);
        ck_assert_int_eq(qp_device_allocate(device, bytes, "an input", &there), QP_OK);
        ck_assert_int_eq(qp_device_write(device, there, inputs[i], bytes), QP_OK);
        cpu_call.in[i] = inputs[i];
        cuda_call.in[i] = there;
    }
    for (int i = 0; i < out; i++) {
        const size_t bytes = qp_operand_bytes(&operation->out[i], &cpu_call);
        wanted[i] = host_memory(bytes, 0xff);
        cpu_call.out[i] = wanted[i];
        ck_assert_int_eq(qp_device_allocate(device, bytes, "an output", &cuda_call.out[i]), QP_OK);
    }
    ck_assert_msg(qp_operation_check(operation, &cpu_call) == QP_OK, "%s/%s: %s", operation->name, c->name,
                  qp_last_error());
    ck_assert_int_eq(qp_implementation_find(operation->name, QP_CPU, NULL)->run(&cpu_call), QP_OK);
    ck_assert_msg(qp_device_run(device, cuda, &cuda_call) == QP_OK && qp_device_check_canaries(device) == QP_OK,
                  "%s=%s/%s: %s", operation->name, cuda->name, c->name, qp_last_error());

    for (int i = 0; i < out; i++) {
        const size_t bytes = qp_operand_bytes(&operation->out[i], &cpu_call);
        void *got = host_memory(bytes, 0);
        ck_assert_int_eq(qp_device_read(device, got, cuda_call.out[i], bytes), QP_OK);
        assert_same(operation, c, cuda, &operation->out[i], wanted[i], got,
                    qp_operand_elements(&operation->out[i], &cpu_call));
        free(got);
        free(wanted[i]);
        qp_device_free(device, cuda_call.out[i]);
    }
    for (int i = 0; i < in; i++) {
        const size_t bytes = qp_operand_bytes(&operation->in[i], &cpu_call);
        void *now = host_memory(bytes, 0);
        ck_assert_int_eq(qp_device_read(device, now, cuda_call.in[i], bytes), QP_OK);
        ck_assert_msg(!memcmp(now, inputs[i], bytes), "%s=%s/%s changed its input %s", operation->name, cuda->name,
                      c->name, operation->in[i].name);
        free(now);
        free(inputs[i]);
        qp_device_free(device, (void *)(uintptr_t)cuda_call.in[i]);
    }
}

START_TEST(test_cuda_implementation_equals_the_contract)
{
    const qp_implementation *cuda = &qp_implementations[_i];
    if (cuda->backend != QP_CUDA) return;
    const qp_operation *operation = qp_operation_find(cuda->operation);
    random_state = check_seed(11);
    for (const qp_case *c = operation->cases; c->name; c++) check_case(operation, cuda, c);
    for (size_t i = 0; i < sizeof extra_cases / sizeof *extra_cases; i++)
        if (!strcmp(extra_cases[i].operation, operation->name)) check_case(operation, cuda, &extra_cases[i].c);
}
END_TEST

int main(void)
{
    if (qp_device_open(QP_CUDA, &device) != QP_OK) {
        printf("skipped: %s\n", qp_last_error());
        return SKIPPED;
    }
    int count = 0;
    while (qp_implementations[count].name) count++;
    Suite *suite = suite_create("operations on a card");
    TCase *cases = tcase_create("contract");
    tcase_set_timeout(cases, 300);
    tcase_add_loop_test(cases, test_cuda_implementation_equals_the_contract, 0, count);
    suite_add_tcase(suite, cases);
    /* CUDA does not survive a fork. */
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    const int ran = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    qp_device_close(device);
    if (ran == 0) return 2;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
