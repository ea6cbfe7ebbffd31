/* kernels/numerics/matrix_fma, each path that this machine can run, against the definitions in block_fma.h and sum_order.h. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/matrix_fma.h"
#include "../kernels/numerics/vector_path.h"
#include "check_block_inputs.h"
#include "check_main.h"

/* Those that this machine can run: what it cannot is no test. */
static const qp_vector_path *paths[3];
static int path_count;

static void find_paths(void)
{
    static const qp_vector_path *const all[] = {
        &qp_vector_portable,
#ifdef QP_WITH_X86_VECTORS
        &qp_vector_avx2,
        &qp_vector_avx512,
#endif
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->runs_here()) paths[path_count++] = all[i];
}

static uint64_t random_state;

static int below(int n) { return (int)(check_random(&random_state) % (uint64_t)n); }

/* ---- The paths: f32 accumulators, bit for bit. ---- */

enum { COUNT = 5, STEP = 5 * QP_MAX_TILE };

/* Chains of COUNT blocks through a path, B read as columns or as rows; all lanes against the definition. */
static void check_chain(const qp_vector_path *path, int kind, bool columns, const qp_bf16 *row, const qp_bf16 *b,
                        const float *start)
{
    _Alignas(64) uint32_t pairs[COUNT * QP_PAIRS * QP_MAX_TILE];
    qp_block_a a[COUNT];
    bool common[COUNT];
    float got[QP_MAX_TILE];
    const int64_t lane_step = columns ? STEP : 1, k_step = columns ? 1 : STEP;
    for (int i = 0; i < COUNT; i++) {
        qp_block_a_set(&a[i], row + i * QP_BLOCK_K, QP_BLOCK_K);
    }
    (columns ? path->pack_columns : path->pack_rows)(b, STEP, COUNT, pairs, common);
    memcpy(got, start, sizeof got);
    path->chain(got, a, pairs, common, COUNT);
    for (int lane = 0; lane < path->lanes; lane++) {
        const float want = qp_chain_fma(start[lane], row, b + lane * lane_step, k_step, COUNT * QP_BLOCK_K);
        ck_assert_msg(qp_f32_bits(want) == qp_f32_bits(got[lane]), "%s, %s, %s, lane %d: want %a, got %a", path->name,
                      block_kind_names[kind], columns ? "columns" : "rows", lane, (double)want, (double)got[lane]);
    }
}

START_TEST(test_chain_of_a_path_equals_the_definition)
{
    const qp_vector_path *path = paths[_i / BLOCK_KINDS];
    const int kind = _i % BLOCK_KINDS;
    random_state = check_seed(500 + (uint64_t)_i);
    static qp_bf16 row[COUNT * QP_BLOCK_K], b[STEP * STEP];
    float start[QP_MAX_TILE];
    for (int round = 0; round < 60; round++) {
        int kinds[COUNT]; /* what is unusual in one block must not change its neighbours */
        for (int i = 0; i < COUNT; i++) kinds[i] = round % 2 ? below(BLOCK_KINDS) : kind;
        for (int k = 0; k < COUNT * QP_BLOCK_K; k++) {
            row[k] = block_input(kinds[k / QP_BLOCK_K], &random_state);
            for (int lane = 0; lane < QP_MAX_TILE; lane++)
                b[lane * STEP + k] = block_input(kinds[k / QP_BLOCK_K], &random_state);
        }
        if (round % 3 == 0) /* cancellation, and blocks that are zero */
            for (int k = QP_BLOCK_K; k < 2 * QP_BLOCK_K; k++) {
                row[k].bits = row[k - QP_BLOCK_K].bits ^ 0x8000u;
                row[k + QP_BLOCK_K].bits &= 0x8000u;
                for (int lane = 0; lane < QP_MAX_TILE; lane++) b[lane * STEP + k] = b[lane * STEP + k - QP_BLOCK_K];
            }
        for (int lane = 0; lane < QP_MAX_TILE; lane++)
            start[lane] = round % 4 == 0   ? 0.0f
                          : round % 4 == 1 ? qp_f32_from_bits((uint32_t)check_random(&random_state))
                                           : qp_bf16_to_f32(block_input(kind, &random_state)) * 1.0009765625f;
        check_chain(path, kind, true, row, b, start);
        for (int i = 0; i < STEP * COUNT * QP_BLOCK_K; i++)
            b[i] = block_input(kinds[i / STEP / QP_BLOCK_K], &random_state);
        check_chain(path, kind, false, row, b, start);
    }
}
END_TEST

/* 17 terms of one sign, as large as their exponent allows: their sum does not fit 32 bits. Then what is just inside and just
 * outside of what a path does itself: factors of 2^27, and, of exponents that add up to about -99, the least E. */
START_TEST(test_edges_of_what_a_path_does_itself)
{
    const qp_vector_path *path = paths[_i];
    static const uint16_t edges[] = { 0x3fff, 0xbfff, 0x4cff, 0x4d00, 0xcd00, 0x2680,
                                      0x0e00, 0x0d80, 0x0d00, 0x0080, 0x0001 };
    enum { EDGES = sizeof edges / sizeof *edges };
    static qp_bf16 row[COUNT * QP_BLOCK_K], b[STEP * STEP];
    float start[QP_MAX_TILE];
    for (int x = 0; x < EDGES; x++)
        for (int y = 0; y < EDGES; y++) {
            for (int k = 0; k < COUNT * QP_BLOCK_K; k++) row[k].bits = edges[x];
            for (int i = 0; i < STEP * STEP; i++) b[i].bits = edges[y];
            for (int lane = 0; lane < QP_MAX_TILE; lane++) {
                const float product = qp_bf16_to_f32(row[0]) * qp_bf16_to_f32(b[0]);
                start[lane] = lane % 3 == 0 ? 0.0f : product * (lane % 3 == 1 ? 0.5f : -1.0f);
            }
            check_chain(path, BLOCK_EDGES, true, row, b, start);
            check_chain(path, BLOCK_EDGES, false, row, b, start);
        }

    /* Zero or subnormal times what may be just below 2^27, beside products that all have about the least E: what counts for
     * E, and what does not. */
    static const uint16_t small[] = { 0x0000, 0x8000, 0x0001, 0x007f }, large[] = { 0x4c80, 0x4cff, 0x4d00, 0x4d80 };
    random_state = check_seed(700);
    for (int round = 0; round < 3000; round++) {
        const int of_row = 127 - 45 - below(8), of_b = 127 - 45 - below(8), which = below(4);
        for (int k = 0; k < COUNT * QP_BLOCK_K; k++) {
            const bool pair = k % 8 == 0;
            row[k].bits = (uint16_t)(pair ? small[below(4)] : below(2) << 15 | of_row << 7 | below(128));
            for (int lane = 0; lane < QP_MAX_TILE; lane++)
                b[lane * STEP + k].bits = (uint16_t)(pair ? large[which] : below(2) << 15 | of_b << 7 | below(128));
        }
        for (int lane = 0; lane < QP_MAX_TILE; lane++) start[lane] = lane % 2 ? ldexpf(-1.3f, -110 + below(20)) : 0.0f;
        check_chain(path, BLOCK_EDGES, true, row, b, start);
    }
}
END_TEST

/* ---- Whole products. ---- */

static qp_sum_order random_order(int which, int k)
{
    switch (which) {
    case 1: return (qp_sum_order){ .run = below(k) };
    case 2: return (qp_sum_order){ .run = below(k), .narrow = true };
    case 3:
        return (qp_sum_order){ .lanes = 1 << below(6),
                               .run = 1 + below(9),
                               .fold = below(2) ? QP_FOLD_HALVES : QP_FOLD_IN_TURN };
    default: return (qp_sum_order){ 0 };
    }
}

START_TEST(test_product_equals_the_definition)
{
    const qp_vector_path *path = paths[_i];
    ck_assert(qp_vector_path_use(path->name));
    ck_assert_str_eq(qp_vector_path_name(), path->name);
    random_state = check_seed(900 + (uint64_t)_i);
    for (int round = 0; round < 400; round++) {
        const int kind = round % BLOCK_KINDS, which = round / 2 % 5;
        const int k = 1 + below(round % 8 ? 200 : 1300); /* also more than is rearranged at a time */
        const int inner = 1 + below(3), m = inner * (round % 7 ? 1 + below(3) : 40), n = 1 + below(75);
        const int batch = 1 + below(2);
        const bool rows = round % 2;
        qp_bf16 *a = malloc((size_t)(batch * m * k) * sizeof *a), *b = malloc((size_t)(batch * n * k) * sizeof *b);
        qp_bf16 *y = malloc((size_t)(batch * m * n) * sizeof *y), *column = malloc((size_t)k * sizeof *column);
        ck_assert(a && b && y && column);
        for (int i = 0; i < batch * m * k; i++) a[i] = block_input(kind, &random_state);
        for (int i = 0; i < batch * n * k; i++) b[i] = block_input(kind, &random_state);
        /* A lies as queries do, [m / inner][inner][k]; Y as scores, [inner][m / inner][n]. */
        const qp_matrix_fma_args args = {
            .m = m,
            .n = n,
            .k = k,
            .batch = batch,
            .a_batch = m * k,
            .b_batch = n * k,
            .y_batch = m * n,
            .a = a,
            .a_rows = { inner, inner * k, k },
            .b = b,
            .b_row = rows ? 1 : k,
            .b_step = rows ? n : 1,
            .y = y,
            .y_rows = { inner, n, m / inner * n },
            .part = which == 4 ? 16 * (1 + below(round % 8 ? 6 : 50)) : 0,
            .order = random_order(which, k),
        };
        ck_assert_int_eq(qp_matrix_fma(&args), QP_OK);
        for (int i = 0; i < batch * m; i++)
            for (int j = 0; j < n; j++) {
                const qp_bf16 *of_b = b + i / m * n * k;
                for (int e = 0; e < k; e++) column[e] = of_b[j * args.b_row + e * args.b_step];
                const float sum = args.part ? qp_split_chain_fma(a + i * k, column, k, args.part)
                                            : qp_ordered_fma(a + i * k, column, 1, k, args.order);
                const int row = i / m * m + i % m % inner * (m / inner) + i % m / inner;
                const qp_bf16 want = qp_bf16_from_f32(sum), got = y[row * n + j];
                ck_assert_msg(want.bits == got.bits, "%s, round %d, %s, order %d: y[%d, %d] is %04x, should be %04x",
                              path->name, round, block_kind_names[kind], which, i, j, got.bits, want.bits);
            }
        free(a);
        free(b);
        free(y);
        free(column);
    }
}
END_TEST

START_TEST(test_paths_by_name)
{
    const char *const *names = qp_vector_paths();
    int count = 0;
    while (names[count]) count++;
    ck_assert_int_ge(count, 1);
    ck_assert_str_eq(names[count - 1], "portable");
    for (int i = 0; i < count; i++) {
        ck_assert(qp_vector_path_use(names[i]));
        ck_assert_str_eq(qp_vector_path_name(), names[i]);
    }
    ck_assert(!qp_vector_path_use("mmx"));
    ck_assert_str_eq(qp_vector_path_name(), "portable");
}
END_TEST

int main(void)
{
    find_paths();
    Suite *suite = suite_create("matrix_fma");
    TCase *cases = tcase_create("paths");
    tcase_set_timeout(cases, 300);
    tcase_add_loop_test(cases, test_chain_of_a_path_equals_the_definition, 0, path_count * BLOCK_KINDS);
    tcase_add_loop_test(cases, test_edges_of_what_a_path_does_itself, 0, path_count);
    tcase_add_loop_test(cases, test_product_equals_the_definition, 0, path_count);
    tcase_add_test(cases, test_paths_by_name);
    suite_add_tcase(suite, cases);
    return qp_check_main(suite);
}
