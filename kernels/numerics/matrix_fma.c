#include "matrix_fma.h"

#include <stdlib.h>
#include <string.h>

#include "../threads.h"
#include "strict_fp.h"
#include "vector_path.h"

/* ---- The paths. ---- */

static const qp_vector_path *const all_paths[] = {
#ifdef QP_WITH_X86_VECTORS
    &qp_vector_avx512, &qp_vector_avx2,
#endif
    &qp_vector_portable
};
enum { PATHS = sizeof all_paths / sizeof *all_paths };

static const qp_vector_path *chosen;

static const qp_vector_path *path_in_use(void)
{
    for (int i = 0; !chosen; i++) /* the last one runs everywhere */
        if (all_paths[i]->runs_here()) chosen = all_paths[i];
    return chosen;
}

const char *const *qp_vector_paths(void)
{
    static const char *names[PATHS + 1];
    int count = 0;
    for (int i = 0; i < PATHS; i++)
        if (all_paths[i]->runs_here()) names[count++] = all_paths[i]->name;
    return names;
}

const char *qp_vector_path_name(void) { return path_in_use()->name; }

bool qp_vector_path_use(const char *name)
{
    for (int i = 0; i < PATHS; i++)
        if (!strcmp(all_paths[i]->name, name) && all_paths[i]->runs_here()) {
            chosen = all_paths[i];
            return true;
        }
    return false;
}

/* ---- Blocks. ---- */

typedef struct block {
    int64_t start;    /* in K */
    int size;         /* at most QP_BLOCK_K: the rest is zeros */
    bool begins_part; /* of a split K */
} block;

/* Rows of A that are kept rearranged at a time; blocks of B that are rearranged at a time, which fit the first cache. */
enum { ROWS = 64, BLOCKS = 32 };

typedef struct product {
    const qp_matrix_fma_args *args;
    const qp_vector_path *path;
    const block *blocks;
    int64_t block_count;
    const qp_block_a *a; /* [rows][block_count] */
} product;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t row_start(const qp_rows *rows, int64_t m)
{
    return m / rows->inner * rows->outer_step + m % rows->inner * rows->inner_step;
}

/* The blocks that the order has, at most K / 8 + 2 and the parts. */
static int64_t list_blocks(const qp_matrix_fma_args *args, block *blocks)
{
    const int width = args->order.narrow ? QP_BLOCK_K / 2 : QP_BLOCK_K; /* T2 */
    const int64_t part = args->part ? args->part : args->k, head = min64(args->order.run, args->k);
    int64_t count = 0;
    for (int64_t start = 0; start < args->k;) {
        const int64_t end = start < head ? head : min64(args->k, start - start % part + part); /* T1, or a part */
        const int64_t size = min64(width, end - start);
        blocks[count++] = (block){ start, (int)size, start % part == 0 };
        start += size;
    }
    return count;
}

/* `count` blocks of the tile whose first column is n. Columns past the end repeat the last one: no other values, no
 * surprises. */
static void rearrange_b(const qp_matrix_fma_args *args, const qp_vector_path *path, const block *blocks, int64_t count,
                        int64_t n, uint32_t *pairs, bool *common)
{
    const int lanes = path->lanes;
    const bool whole_tile = n + lanes <= args->n;
    for (int64_t done = 0, whole = 0; done < count; done += whole ? whole : 1) {
        const block *now = blocks + done;
        const qp_bf16 *at = args->b + n * args->b_row + now->start * args->b_step;
        uint32_t *words = pairs + done * QP_PAIRS * lanes, largest = 0;
        for (whole = 0; whole_tile && done + whole < count && now[whole].size == QP_BLOCK_K; whole++) continue;
        if (whole && args->b_step == 1) {
            path->pack_columns(at, args->b_row, whole, words, common + done);
        } else if (whole) {
            path->pack_rows(at, args->b_step, whole, words, common + done);
        } else {
            memset(words, 0, sizeof *words * QP_PAIRS * (size_t)lanes);
            for (int k = 0; k < now->size; k++)
                for (int i = 0; i < lanes; i++) {
                    const uint32_t bits = at[min64(i, args->n - 1 - n) * args->b_row + k * args->b_step].bits;
                    words[k / 2 * lanes + i] |= bits << (k % 2 ? 16 : 0);
                    largest = (bits & 0x7fffu) > largest ? bits & 0x7fffu : largest;
                }
            common[done] = largest < QP_VECTOR_COMMON_END;
        }
    }
}

/* The rows [first, first + rows) of one tile, whose first column is n. p->args are of one product, p->a is its own. */
static void tile_of_blocks(const product *p, int64_t first, int64_t rows, int64_t n)
{
    const qp_matrix_fma_args *args = p->args;
    const int lanes = p->path->lanes;
    const int64_t part = args->part ? args->part : args->k;
    _Alignas(64) uint32_t pairs[BLOCKS * QP_PAIRS * QP_MAX_TILE];
    bool common[BLOCKS];
    float accumulator[ROWS][QP_MAX_TILE], total[ROWS][QP_MAX_TILE];

    for (int64_t b = 0; b < p->block_count;) {
        const block *now = &p->blocks[b];
        int64_t count = 1;
        while (count < BLOCKS && b + count < p->block_count && !now[count].begins_part) count++;
        rearrange_b(args, p->path, now, count, n, pairs, common);
        const bool ends_part = b + count == p->block_count || now[count].begins_part;
        for (int64_t m = 0; m < rows; m++) {
            if (now->begins_part) memset(accumulator[m], 0, sizeof accumulator[m]);
            p->path->chain(accumulator[m], p->a + m * p->block_count + b, pairs, common, count);
            for (int i = 0; ends_part && i < lanes; i++)
                total[m][i] = now->start < part ? accumulator[m][i] : total[m][i] + accumulator[m][i];
        }
        b += count;
    }
    for (int64_t m = 0; m < rows; m++) {
        qp_bf16 *y = args->y + row_start(&args->y_rows, first + m) + n;
        for (int64_t i = 0; i < min64(lanes, args->n - n); i++) y[i] = qp_bf16_from_f32(total[m][i]);
    }
}

/* The product number `index` of the batch, by itself. */
static qp_matrix_fma_args product_at(const qp_matrix_fma_args *args, int64_t index)
{
    qp_matrix_fma_args one = *args;
    one.a += index * args->a_batch;
    one.b += index * args->b_batch;
    one.y += index * args->y_batch;
    return one;
}

static qp_status products_of_blocks(const qp_matrix_fma_args *args, const qp_vector_path *path)
{
    const int64_t parts = args->part ? args->k / args->part + 1 : 1, kept_rows = min64(ROWS, args->m);
    block *blocks = malloc((size_t)(args->k / (QP_BLOCK_K / 2) + 2 + parts) * sizeof *blocks);
    const int64_t block_count = blocks ? list_blocks(args, blocks) : 0, row_blocks = kept_rows * block_count;
    qp_block_a *a = blocks ? malloc((size_t)(args->batch * row_blocks) * sizeof *a) : NULL;
    if (!a) {
        free(blocks);
        return qp_fail(QP_NO_MEMORY, "no memory to rearrange %lld rows of %lld elements for a matrix product",
                       (long long)(args->batch * kept_rows), (long long)args->k);
    }

    const int64_t tiles = (args->n + path->lanes - 1) / path->lanes;
    for (int64_t first = 0; first < args->m; first += ROWS) {
        const int64_t rows = min64(ROWS, args->m - first);
#pragma omp parallel for if (QP_WORTH_THREADS(args->batch * rows * args->k))
        for (int64_t i = 0; i < args->batch * rows; i++) {
            const qp_matrix_fma_args one = product_at(args, i / rows);
            const qp_bf16 *row = one.a + row_start(&one.a_rows, first + i % rows);
            for (int64_t b = 0; b < block_count; b++)
                qp_block_a_set(&a[i / rows * row_blocks + i % rows * block_count + b], row + blocks[b].start,
                               blocks[b].size);
        }
#pragma omp parallel for schedule(dynamic, 4) if (QP_WORTH_THREADS(args->batch * rows * args->n * args->k))
        for (int64_t i = 0; i < args->batch * tiles; i++) {
            const qp_matrix_fma_args one = product_at(args, i / tiles);
            const product p = { &one, path, blocks, block_count, a + i / tiles * row_blocks };
            tile_of_blocks(&p, first, rows, i % tiles * path->lanes);
        }
    }
    free(a);
    free(blocks);
    return QP_OK;
}

/* ---- Lanes. ---- */

enum { LANE_ROWS = 8 }; /* that share the columns of B once they are widened */

/* The rows [first, first + rows) of one tile, whose first column is n; args are of one product. */
static void tile_of_lanes(const qp_matrix_fma_args *args, const qp_vector_path *path, int64_t first, int64_t rows,
                          int64_t n)
{
    const int lanes = path->lanes;
    const size_t row_sums = (size_t)args->order.lanes * (size_t)lanes;
    _Alignas(64) uint32_t pairs[QP_PAIRS * QP_MAX_TILE];
    float sums[LANE_ROWS][QP_MAX_LANES * QP_MAX_TILE], a[QP_BLOCK_K], b[QP_BLOCK_K * QP_MAX_TILE];
    for (int64_t m = 0; m < rows; m++) memset(sums[m], 0, row_sums * sizeof *sums[m]);
    for (int64_t k = 0; k < args->k; k += QP_BLOCK_K) {
        const int64_t end = min64(k + QP_BLOCK_K, args->k);
        const block piece = { k, (int)(end - k), false };
        bool common;
        rearrange_b(args, path, &piece, 1, n, pairs, &common);
        for (int j = 0; j < QP_PAIRS; j++)
            for (int i = 0; i < lanes; i++) {
                b[2 * j * lanes + i] = qp_f32_from_bits(pairs[j * lanes + i] << 16);
                b[(2 * j + 1) * lanes + i] = qp_f32_from_bits(pairs[j * lanes + i] & 0xffff0000u);
            }
        for (int64_t m = 0; m < rows; m++) {
            const qp_bf16 *row = args->a + row_start(&args->a_rows, first + m) + k;
            for (int64_t j = 0; j < end - k; j++) a[j] = qp_bf16_to_f32(row[j]);
            path->lane_sums(sums[m], a, b, k, end, args->order); /* L1, L2 */
        }
    }
    for (int64_t m = 0; m < rows; m++) {
        qp_bf16 *y = args->y + row_start(&args->y_rows, first + m) + n;
        qp_fold_lanes(sums[m], lanes, args->order); /* L3 */
        for (int64_t i = 0; i < min64(lanes, args->n - n); i++) y[i] = qp_bf16_from_f32(sums[m][i]);
    }
}

static void products_of_lanes(const qp_matrix_fma_args *args, const qp_vector_path *path)
{
    const int64_t tiles = (args->n + path->lanes - 1) / path->lanes;
    for (int64_t first = 0; first < args->m; first += LANE_ROWS) {
        const int64_t rows = min64(LANE_ROWS, args->m - first);
        /* Slower than blocks, so that threads are worth it sooner. */
#pragma omp parallel for schedule(dynamic, 4) if (QP_WORTH_THREADS(4 * args->batch * rows * args->n * args->k))
        for (int64_t i = 0; i < args->batch * tiles; i++) {
            const qp_matrix_fma_args one = product_at(args, i / tiles);
            tile_of_lanes(&one, path, first, rows, i % tiles * path->lanes);
        }
    }
}

qp_status qp_matrix_fma(const qp_matrix_fma_args *args)
{
    const qp_vector_path *path = path_in_use();
    if (!args->order.lanes) return products_of_blocks(args, path);
    products_of_lanes(args, path);
    return QP_OK;
}
