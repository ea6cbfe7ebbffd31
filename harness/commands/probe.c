#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/context/context.h"
#include "../../kernels/linear/linear.h"
#include "../../kernels/numerics/block_fma.h"
#include "../../kernels/scores/scores.h"
#include "../environment.h"
#include "../probe.h"
#include "../profile.h"
#include "commands.h"

static const char *backend = "cpu", *profile_path;
static struct {
    int64_t m, n, k; /* linear */
    int64_t heads, kv_heads, queries, keys, head_dim;
} shape = { .m = 1, .n = 1024, .k = 3072, .heads = 16, .kv_heads = 8, .queries = 1, .keys = 33, .head_dim = 128 };

static const qp_option options[] = {
    { "backend", "cpu|cuda", "where the products run (default: cpu)", QP_OPTION_TEXT, &backend },
    { "m", "N", "linear: rows of the input (default: 1)", QP_OPTION_INTEGER, &shape.m },
    { "n", "N", "linear: rows of the weight (default: 1024)", QP_OPTION_INTEGER, &shape.n },
    { "k", "N", "linear: products in a sum (default: 3072)", QP_OPTION_INTEGER, &shape.k },
    { "heads", "N", "scores, context: query heads (default: 16)", QP_OPTION_INTEGER, &shape.heads },
    { "kv-heads", "N", "scores, context: key and value heads (default: 8)", QP_OPTION_INTEGER, &shape.kv_heads },
    { "queries", "N", "scores, context: tokens that ask (default: 1)", QP_OPTION_INTEGER, &shape.queries },
    { "keys", "N", "scores, context: tokens that are asked, context's products in a sum (default: 33)",
      QP_OPTION_INTEGER, &shape.keys },
    { "head-dim", "N", "scores, context: channels of a head, scores' products in a sum (default: 128)",
      QP_OPTION_INTEGER, &shape.head_dim },
    { "profile", "FILE", "writes the card's numeric profile, a new HDF5 file (harness/profile.h); with --backend cuda",
      QP_OPTION_TEXT, &profile_path },
    { .name = NULL },
};

static qp_status check_usage(void)
{
    enum { MOST = 1 << 20 };
    for (const qp_option *o = options; o->name; o++) {
        if (o->kind != QP_OPTION_INTEGER) continue;
        const int64_t size = *(const int64_t *)o->target;
        if (size < 1 || size > MOST) return qp_fail(QP_USAGE, "--%s must be between 1 and %d", o->name, MOST);
    }
    if (shape.heads % shape.kv_heads) return qp_fail(QP_USAGE, "--heads must be a multiple of --kv-heads");
    if (shape.queries > shape.keys) return qp_fail(QP_USAGE, "--queries must not be more than --keys");
    if (strcmp(backend, "cpu") != 0 && strcmp(backend, "cuda") != 0)
        return qp_fail(QP_USAGE, "there is no backend '%s'; there are cpu and cuda", backend);
    if (profile_path && !strcmp(backend, "cpu"))
        return qp_fail(QP_USAGE, "a numeric profile is one of a card; --profile needs --backend cuda");
    return QP_OK;
}

enum { MAX_ROWS = 64, MAX_WORDS = 2048, MAX_LINES = 1024 };

typedef struct probe_row {
    const qp_implementation *implementation;
    qp_params params;
    bool is_told, failed; /* told: it sums as params say, and the probe has to find that */
    qp_probe_unit unit;   /* all zero: not asked for */
    char shape[64], order[MAX_WORDS], note[MAX_WORDS], unit_words[MAX_LINES];
} probe_row;

static probe_row rows[MAX_ROWS];
static int row_count;

/* Orders that the CPU is told one after the other, to see that the probe finds them. */
static const qp_sum_order told_orders[] = { { .run = 6 },
                                            { .narrow = true },
                                            { .run = 12, .narrow = true },
                                            { 32, 4, QP_FOLD_HALVES, false },
                                            { 16, 8, QP_FOLD_HALVES, false },
                                            { 16, 1, QP_FOLD_IN_TURN, false } };

static void add_row(const qp_implementation *implementation, int64_t part, qp_sum_order order)
{
    if (row_count == MAX_ROWS) return;
    probe_row *row = &rows[row_count++];
    *row = (probe_row){ .implementation = implementation,
                        .params = { .scale = 1.0f, .part = part, .order = order },
                        .is_told = !strcmp(implementation->name, "contract") };
    if (!strcmp(implementation->operation, "linear"))
        (void)snprintf(row->shape, sizeof row->shape, "%lldx%lldx%lld", (long long)shape.m, (long long)shape.n,
                       (long long)shape.k);
    else
        (void)snprintf(row->shape, sizeof row->shape, "%lld/%lld heads of %lld, %lld/%lld tokens",
                       (long long)shape.heads, (long long)shape.kv_heads, (long long)shape.head_dim,
                       (long long)shape.queries, (long long)shape.keys);
}

static void add_rows(qp_backend chosen)
{
    const qp_sum_order tensor_core = { 0 };
    const int64_t blocks = shape.k / QP_BLOCK_K;
    const int64_t parts[] = { (blocks + 1) / 2 * QP_BLOCK_K, blocks * 2 / 5 * QP_BLOCK_K }; /* halves; unequal parts */
    for (const qp_implementation *i = qp_implementations; i->name; i++) {
        const bool linear = !strcmp(i->operation, "linear");
        const bool attention = !strcmp(i->operation, "scores") || !strcmp(i->operation, "context");
        if (i->backend != chosen || (!linear && !attention)) continue;
        add_row(i, 0, tensor_core);
        if (chosen != QP_CPU) continue;
        for (size_t p = 0; linear && p < sizeof parts / sizeof *parts; p++)
            if (parts[p] > 0) add_row(i, parts[p], tensor_core);
        for (size_t o = 0; attention && o < sizeof told_orders / sizeof *told_orders; o++)
            add_row(i, 0, told_orders[o]);
    }
}

/* ---- An implementation as a subject ---- */

typedef struct probe_run {
    qp_device *device;
    const qp_implementation *implementation;
    const qp_operation *operation;
    qp_call call;
    void *in[2], *out;        /* on the device */
    qp_bf16 *host[2], *there; /* operands and result on the host */
    size_t bytes[2], out_bytes;
    int64_t terms, batch, copies; /* of each question's result, in all rows and query heads */
} probe_run;

/* A question is one row of the weight, one key, or one channel of the values; the other operand is the same in all rows
 * and heads, and so is the result. Where it stands for one of these copies; -1: that copy is masked. */
static int64_t result_at(const probe_run *run, int64_t asked, int64_t copy)
{
    if (run->operation == &qp_linear_operation) return copy * shape.n + asked;
    const bool scores = run->operation == &qp_scores_operation;
    const int64_t token = copy % shape.queries, key = asked / shape.kv_heads;
    const int64_t kv_head = scores ? asked % shape.kv_heads : asked / shape.head_dim;
    const int64_t head = kv_head * (shape.heads / shape.kv_heads) + copy / shape.queries;
    if (!scores) return (token * shape.heads + head) * shape.head_dim + asked % shape.head_dim;
    return key <= shape.keys - shape.queries + token ? (head * shape.queries + token) * shape.keys + key : -1;
}

/* NaN, which tells nothing, if the copies differ. */
static qp_bf16 common_result(const probe_run *run, int64_t asked)
{
    qp_bf16 found = qp_bf16_from_f32(NAN);
    bool any = false;
    for (int64_t copy = 0; copy < run->copies; copy++) {
        const int64_t at = result_at(run, asked, copy);
        if (at < 0) continue;
        if (any && run->there[at].bits != found.bits) return qp_bf16_from_f32(NAN);
        found = run->there[at];
        any = true;
    }
    return found;
}

static qp_status run_questions(void *context, const qp_bf16 *x, const qp_bf16 *w, int64_t count, qp_bf16 *result)
{
    probe_run *run = context;
    const int64_t terms = run->terms, x_rows = (int64_t)(run->bytes[0] / sizeof *x) / terms;
    for (int64_t row = 0; row < x_rows; row++) memcpy(run->host[0] + row * terms, x, (size_t)terms * sizeof *x);
    memset(run->host[1], 0, run->bytes[1]);
    if (run->operation != &qp_context_operation) {
        memcpy(run->host[1], w, (size_t)(count * terms) * sizeof *w);
    } else { /* a channel of a head is a column */
        for (int64_t q = 0; q < count; q++)
            for (int64_t key = 0; key < terms; key++) run->host[1][key * run->batch + q] = w[q * terms + key];
    }
    for (int i = 0; i < 2; i++) QP_TRY(qp_device_write(run->device, run->in[i], run->host[i], run->bytes[i]));
    QP_TRY(qp_device_fill(run->device, run->out, QP_POISON, run->out_bytes));
    QP_TRY(qp_device_run(run->device, run->implementation, &run->call));
    QP_TRY(qp_device_read(run->device, run->there, run->out, run->out_bytes));
    for (int64_t q = 0; q < count; q++) result[q] = common_result(run, q);
    return QP_OK;
}

static qp_status reserve(probe_run *run)
{
    for (int i = 0; i < 2; i++) {
        run->bytes[i] = qp_operand_bytes(&run->operation->in[i], &run->call);
        run->host[i] = malloc(run->bytes[i]);
        QP_TRY(qp_device_allocate(run->device, run->bytes[i], "an operand of a probe", &run->in[i]));
        run->call.in[i] = run->in[i];
    }
    run->out_bytes = qp_operand_bytes(&run->operation->out[0], &run->call);
    run->there = malloc(run->out_bytes);
    QP_TRY(qp_device_allocate(run->device, run->out_bytes, "the result of a probe", &run->out));
    run->call.out[0] = run->out;
    if (!run->host[0] || !run->host[1] || !run->there)
        return qp_fail(QP_NO_MEMORY, "no memory for the operands of a probe");
    return qp_operation_check(run->operation, &run->call);
}

/* Close it also after a failure. */
static qp_status open_run(qp_device *device, const probe_row *row, probe_run *run)
{
    *run = (probe_run){ .device = device,
                        .implementation = row->implementation,
                        .operation = qp_operation_find(row->implementation->operation),
                        .call.params = row->params };
    if (run->operation == &qp_linear_operation) {
        memcpy(run->call.extent, (const int64_t[]){ shape.m, shape.n, shape.k }, 3 * sizeof(int64_t));
        run->terms = shape.k;
        run->batch = shape.n;
        run->copies = shape.m;
        return reserve(run);
    }
    const int64_t extent[] = { shape.queries, shape.keys, shape.heads, shape.kv_heads, shape.head_dim };
    const bool scores = run->operation == &qp_scores_operation; /* both products count their extents in this order */
    memcpy(run->call.extent, extent, sizeof extent);
    run->terms = scores ? shape.head_dim : shape.keys;
    run->batch = shape.kv_heads * (scores ? shape.keys : shape.head_dim);
    run->copies = shape.heads / shape.kv_heads * shape.queries;
    return reserve(run);
}

static void close_run(probe_run *run)
{
    for (int i = 0; i < 2; i++) {
        qp_device_free(run->device, run->in[i]);
        free(run->host[i]);
    }
    qp_device_free(run->device, run->out);
    free(run->there);
}

/* ---- What it is found to do ---- */

/* Whether the unit is the one of block_fma.h, as far as this many products can tell. */
static bool is_the_twins(const qp_probe_unit *unit)
{
    if (unit->width == 0) return true;
    const bool width = unit->width == QP_BLOCK_K || (unit->width_is_least && unit->width < QP_BLOCK_K);
    const bool accumulator = unit->accumulator_bits == 0 || unit->accumulator_bits == QP_KEPT_BITS;
    const bool sum = unit->sum == QP_PROBE_UNTOLD || unit->sum == QP_PROBE_TO_ZERO;
    return width && accumulator && sum && unit->product_bits == QP_KEPT_BITS && unit->cut == QP_PROBE_TO_ZERO &&
           !unit->normalised && unit->subnormal_factors && unit->subnormal_sums;
}

/* Compares with what the implementation was told. Orders that give the same sums here are one order. */
static void compare_with_told(const qp_probe_counts *counts, bool found, probe_row *row)
{
    qp_probe_order told;
    char words[MAX_WORDS / 2] = "an order without words";
    const bool has_words = qp_probe_order_of(counts->n, &row->params, &told);
    if (has_words) qp_probe_order_in_words(&told, words, sizeof words);
    row->failed = !found || !has_words || !qp_probe_fits(&told, counts);
    if (!row->failed && !strcmp(words, row->order))
        (void)snprintf(row->note, sizeof row->note, "as told");
    else
        (void)snprintf(row->note, sizeof row->note, row->failed ? "FAILED: told %s" : "as told: here the same as %s",
                       words);
}

static qp_status describe(const qp_probe_subject *subject, const qp_probe_counts *counts, probe_row *row)
{
    qp_probe_tree tree;
    qp_probe_order order;
    const bool is_tree = qp_probe_make_tree(counts, &tree);
    const bool found = is_tree && qp_probe_find_order(counts, &tree, &order);
    if (found)
        qp_probe_order_in_words(&order, row->order, sizeof row->order);
    else if (is_tree)
        qp_probe_tree_in_words(&tree, row->order, sizeof row->order);
    else
        (void)snprintf(row->order, sizeof row->order, "no one order: rows or heads differ, or the sums are no tree");
    if (row->is_told) compare_with_told(counts, found, row);
    const qp_sum_order *asked = &row->params.order;
    if (!is_tree || row->params.part || asked->lanes || asked->run || asked->narrow) return QP_OK; /* one unit each */
    QP_TRY(qp_probe_find_unit(subject, &tree, found ? &order : NULL, &row->unit));
    qp_probe_unit_in_words(&row->unit, "  ", row->unit_words, sizeof row->unit_words);
    if (row->implementation->backend != QP_CPU || is_the_twins(&row->unit)) return QP_OK;
    row->failed = true;
    (void)snprintf(row->note, sizeof row->note, "FAILED: the unit is not that of block_fma.h");
    return QP_OK;
}

static qp_status probe(qp_device *device, probe_row *row)
{
    probe_run opened;
    qp_probe_counts *counts = NULL;
    qp_status status = open_run(device, row, &opened);
    const qp_probe_subject subject = { opened.terms, opened.batch, run_questions, &opened };
    if (status == QP_OK) status = qp_probe_count(&subject, &counts);
    if (status == QP_OK) status = describe(&subject, counts, row);
    if (status == QP_OK) status = qp_device_check_canaries(device);
    qp_probe_counts_free(counts);
    close_run(&opened);
    return status;
}

/* Each unit that was found, below the names of those that have it. */
static void print_units(void)
{
    for (int i = 0; i < row_count; i++) {
        bool shown = !*rows[i].unit_words;
        for (int j = 0; j < i; j++) shown |= !strcmp(rows[j].unit_words, rows[i].unit_words);
        if (shown) continue;
        const char *before = "unit of";
        for (int j = i; j < row_count; j++) {
            if (strcmp(rows[j].unit_words, rows[i].unit_words) != 0) continue;
            printf("%s %s=%s", before, rows[j].implementation->operation, rows[j].implementation->name);
            before = ",";
        }
        printf("\n%s\n", rows[i].unit_words);
    }
}

static int print_rows(void)
{
    int widest_shape = 0, widest_order = 0, failed = 0;
    for (int i = 0; i < row_count; i++) {
        const int of_shape = (int)strlen(rows[i].shape), of_order = (int)strlen(rows[i].order);
        if (of_shape > widest_shape) widest_shape = of_shape;
        if (of_order > widest_order && of_order < 80) widest_order = of_order;
        failed += rows[i].failed;
    }
    printf("%-16s  %-*s  %s\n", "product", widest_shape, "shape", "order");
    for (int i = 0; i < row_count; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s=%s", rows[i].implementation->operation, rows[i].implementation->name);
        printf("%-16s  %-*s  ", name, widest_shape, rows[i].shape);
        if (*rows[i].note)
            printf("%-*s  %s\n", widest_order, rows[i].order, rows[i].note);
        else
            printf("%s\n", rows[i].order);
    }
    if (failed) printf("\nFAIL  %d of %d rows are not as told\n", failed, row_count);
    return failed;
}

/* ---- The card's special functions. ---- */

enum { CHUNKS = 64 }; /* of each function that are computed on the CPU, too: a sample, since all would take long */

static void print_special(const qp_profile *profile)
{
    const int64_t of_period[QP_SPECIALS] = {
        [QP_RSQRT] = profile->differ[0] + profile->differ[1], [QP_EX2] = profile->differ[2]
    };
    printf("\nspecial functions, compared with the CPU's\n");
    for (int f = 0; f < QP_SPECIALS; f++) {
        printf("  %-14s  %d of %d samples of %d arguments differ", qp_special_name((qp_special)f),
               profile->chunks_differ[f], profile->chunks_compared, QP_SPECIAL_CHUNK);
        if (f == QP_RSQRT || f == QP_EX2)
            printf(", %lld of the %d arguments of a period", (long long)of_period[f],
                   f == QP_RSQRT ? 2 * QP_PERIOD : QP_PERIOD);
        printf("\n");
    }
}

/* The unit of our own kernel: mma.sync, whatever cuBLAS takes. */
static const qp_probe_unit *unit_of_card(void)
{
    for (int i = 0; i < row_count; i++)
        if (rows[i].is_told && !strcmp(rows[i].implementation->operation, "linear")) return &rows[i].unit;
    return &rows[0].unit;
}

static qp_status look_at_special_functions(qp_device *device)
{
    qp_profile profile;
    qp_progress_line(NULL, 0, 1, "special functions");
    qp_status status = qp_profile_measure(device, CHUNKS, &profile);
    qp_progress_line(NULL, 1, 1, "");
    if (status == QP_OK) print_special(&profile);
    if (status == QP_OK && profile_path) {
        status = qp_profile_write(&profile, unit_of_card(), profile_path);
        if (status == QP_OK) printf("wrote %s\n", profile_path);
    }
    qp_profile_close(&profile);
    return status;
}

static qp_status run(int *exit_code)
{
    QP_TRY(check_usage());
    const qp_backend chosen = !strcmp(backend, "cuda") ? QP_CUDA : QP_CPU;
    qp_device *device = NULL;
    QP_TRY(qp_device_open(chosen, &device));
    const qp_device_facts facts = qp_device_describe(device);
    add_rows(chosen);
    qp_status status = QP_OK;
    for (int i = 0; i < row_count && status == QP_OK; i++) {
        qp_progress_line(NULL, i, row_count, rows[i].implementation->operation);
        status = probe(device, &rows[i]);
    }
    qp_progress_line(NULL, 1, 1, "");
    if (status == QP_OK) {
        printf("%s, backend %s\n\n", qp_device_in_words(&facts).text, backend);
        print_units();
        *exit_code = print_rows() ? QP_EXIT_VERDICT : QP_EXIT_OK;
    }
    if (status == QP_OK && chosen == QP_CUDA) status = look_at_special_functions(device);
    qp_device_close(device);
    return status;
}

const qp_command qp_command_probe = {
    "probe", "how bf16 products are summed on this machine: the unit's arithmetic and the order of summation",
    "Tells from designed inputs alone, without a model to compare with, how many products are summed at once, what is\n"
    "kept of them and how sums are rounded; and finds the order in which linear, scores and context are summed for a\n"
    "shape. An order without words is printed as the tree of its places: '0-15 > 16-31' sums the places 0 to 15 at\n"
    "once, then with 16 to 31; '(0-1) (2-3)' adds two sums. Of more than 256 products it shows 256 places.\n"
    "What is 'contract' sums as it is told, so there the probe tests itself: exit code 1 if it does not find that. On\n"
    "the CPU it is told several orders. On a card the special functions are compared with the CPU's, too.",
    options, run
};
