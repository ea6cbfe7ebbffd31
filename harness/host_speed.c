#include "host_speed.h"

#include <dlfcn.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "../kernels/embedding/embedding.h"
#include "../kernels/linear/linear.h"
#include "../kernels/numerics/block_fma.h"
#include "../kernels/numerics/matrix_fma.h"
#include "../kernels/threads.h"
#include "../model/clock.h"
#include "../model/random_model.h"
#include "../model/trace.h"
#include "host_memory.h"

enum {
    MANY_ROWS = 64,    /* of x, beside 1 */
    LOOKED_AT = 64,    /* elements of a product that are computed again */
    CHUNK = 1 << 18,   /* bytes of the weights that a thread reads at a time */
    WORDS = 8,         /* a round of the sum over them: independent sums, for the machine to overlap */
    MOST_SAMPLES = 20, /* of a time */
};
static const double read_budget = 1.0, product_budget = 0.1; /* seconds a time */
static const struct timespec until_asleep = { 0, 50000000 }; /* OpenBLAS' threads spin for a while after their work */

int qp_host_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

void qp_host_use_threads(int threads)
{
#ifdef _OPENMP
    omp_set_num_threads(threads);
#else
    (void)threads;
#endif
}

qp_host_usage qp_host_usage_now(void)
{
    unsigned long long user, nice, system, idle, waiting, hard, soft, stolen;
    struct timespec own;
    FILE *file = fopen("/proc/stat", "r");
    const int found = file ? fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
                                    &waiting, &hard, &soft, &stolen)
                           : 0;
    if (file) (void)fclose(file);
    if (found != 8 || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) != 0) return (qp_host_usage){ 0 };
    const double ticks = (double)(user + nice + system + hard + soft + stolen);
    return (qp_host_usage){ .busy = ticks / (double)sysconf(_SC_CLK_TCK),
                            .own = (double)own.tv_sec + 1e-9 * (double)own.tv_nsec,
                            .now = qp_seconds_now() };
}

double qp_host_others(const qp_host_usage *since)
{
    const qp_host_usage now = qp_host_usage_now();
    const double all = (now.now - since->now) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    if (!(since->now > 0.0 && now.now > 0.0 && all > 0.0)) return -1.0;
    const double share = (now.busy - since->busy - (now.own - since->own)) / all;
    return fmin(fmax(share, 0.0), 1.0);
}

double qp_scaling_speed_up(const qp_scaling *scaling)
{
    const double all = scaling->all.seconds.median;
    return all > 0.0 ? scaling->one.seconds.median / all : 0.0;
}

int64_t qp_host_samples(int64_t asked, double seconds, double budget)
{
    const double fit = seconds > 0.0 ? budget / seconds : (double)asked;
    const int64_t samples = fit >= (double)asked ? asked : fit >= QP_TIMER_LEAST ? (int64_t)fit : QP_TIMER_LEAST;
    return seconds > budget ? 1 : samples < asked ? samples : asked;
}

double qp_host_product_rate(const qp_host_product *p, const qp_time *time)
{
    const double seconds = time->seconds.median;
    return seconds > 0.0 ? (double)p->m * (double)p->n * (double)p->k / seconds : 0.0;
}

/* ---- Something to time. ---- */

typedef struct work {
    qp_status (*run)(void *context);
    bool (*is_right)(void *context);
    void *context;
    void *result; /* is poisoned, so that the next run has to write it */
    size_t bytes;
} work;

typedef struct stopwatch {
    qp_timer *timer;
    int64_t samples;
    double budget; /* seconds */
} stopwatch;

static qp_status take_runs(void *context, int64_t count, double *values)
{
    const work *w = context;
    for (int64_t i = 0; i < count; i++) {
        const double start = qp_seconds_now();
        QP_TRY(w->run(w->context));
        values[i] = qp_seconds_now() - start;
    }
    return QP_OK;
}

/* With the threads of now. */
static qp_status time_work(const stopwatch *watch, work *w, qp_time *time)
{
    double first = 0.0;
    qp_samples samples;
    *time = (qp_time){ .why = "its result is wrong" };
    memset(w->result, QP_POISON, w->bytes);
    QP_TRY(take_runs(w, 1, &first)); /* wakes the threads, and brings the operands into the caches as far as they fit */
    if (!w->is_right(w->context)) return QP_OK;
    memset(w->result, QP_POISON, w->bytes);
    const int64_t wanted = qp_host_samples(watch->samples, first, watch->budget);
    const qp_status status = qp_timer_sample(watch->timer, wanted, 1, take_runs, w, &samples);
    if (status == QP_OK && w->is_right(w->context)) *time = qp_time_of(&samples, 1);
    free(samples.values);
    return status;
}

static qp_status time_scaling(const stopwatch *watch, work *w, qp_scaling *scaling)
{
    const int threads = qp_host_threads();
    scaling->one = (qp_time){ .why = "there is only one thread" };
    QP_TRY(time_work(watch, w, &scaling->all));
    if (threads == 1) return QP_OK;
    qp_host_use_threads(1);
    const qp_status status = time_work(watch, w, &scaling->one);
    qp_host_use_threads(threads);
    if (scaling->one.why) scaling->all = scaling->one; /* what is wrong with one thread has no time with more */
    return status;
}

/* ---- Reading the weights. ---- */

typedef struct chunk {
    const unsigned char *data;
    int64_t bytes;
} chunk;

typedef struct reader {
    chunk *chunks;
    int64_t count;
    uint64_t sum, want;
} reader;

/* A weight may lie at any even address. */
static uint64_t sum_of(const chunk *c)
{
    uint64_t sums[WORDS] = { 0 }, sum = 0;
    const int64_t round = (int64_t)sizeof sums, whole = c->bytes / round * round;
    for (int64_t i = 0; i < whole; i += round) {
        uint64_t words[WORDS];
        memcpy(words, c->data + i, sizeof words);
        for (int j = 0; j < WORDS; j++) sums[j] += words[j];
    }
    for (int j = 0; j < WORDS; j++) sum += sums[j];
    for (int64_t i = whole; i < c->bytes; i++) sum += c->data[i];
    return sum;
}

static qp_status read_weights(void *context)
{
    reader *r = context;
    uint64_t sum = 0;
    /* Each thread takes the next chunk, so that one that the system has stopped for a while does not keep the others waiting. */
#pragma omp parallel for schedule(dynamic) reduction(+ : sum)
    for (int64_t i = 0; i < r->count; i++) sum += sum_of(&r->chunks[i]);
    r->sum = sum;
    return QP_OK;
}

static bool is_sum_right(void *context)
{
    const reader *r = context;
    return r->sum == r->want;
}

/* Whether a decode step reads all of an operand of the node: of an embedding it takes one row. */
static bool reads_whole(const qp_plan *plan, const qp_plan_node *node, int in)
{
    return plan->tensors[node->in[in]].kind == QP_TENSOR_WEIGHT && node->operation != &qp_embedding_operation;
}

/* Adds the chunks of a weight, or with NULL only counts them. A weight is an operand of one node alone, but for the table of the
 * embedding where the vocabulary's weights are the same. */
static int64_t cut_weight(const qp_plan_tensor *weight, chunk *chunks)
{
    const int64_t bytes = qp_plan_tensor_elements(weight) * (int64_t)qp_dtype_bytes(weight->dtype);
    int64_t count = 0;
    for (int64_t done = 0; done < bytes; done += CHUNK, count++)
        if (chunks)
            chunks[count] =
                (chunk){ (const unsigned char *)weight->weight + done, bytes - done < CHUNK ? bytes - done : CHUNK };
    return count;
}

static qp_status open_reader(const qp_plan *plan, reader *r)
{
    *r = (reader){ 0 };
    for (int pass = 0; pass < 2; pass++) {
        int64_t count = 0;
        for (int n = 0; n < plan->node_count; n++) {
            const qp_plan_node *node = &plan->nodes[n];
            for (int i = 0; i < qp_operand_count(node->operation->in, QP_MAX_IN); i++)
                if (reads_whole(plan, node, i))
                    count += cut_weight(&plan->tensors[node->in[i]], pass ? r->chunks + count : NULL);
        }
        r->count = count;
        if (pass == 0) r->chunks = malloc((size_t)(count + 1) * sizeof *r->chunks);
        if (!r->chunks)
            return qp_fail(QP_NO_MEMORY, "no memory for a list of %lld pieces of weights", (long long)count);
    }
    for (int64_t i = 0; i < r->count; i++) r->want += sum_of(&r->chunks[i]);
    return QP_OK;
}

static qp_status measure_read(qp_timer *timer, const qp_plan *plan, int64_t samples, qp_host_speed *speed)
{
    reader r;
    QP_TRY(open_reader(plan, &r));
    for (int64_t i = 0; i < r.count; i++) speed->read_bytes += (uint64_t)r.chunks[i].bytes;
    const stopwatch watch = { timer, samples, read_budget };
    work w = { read_weights, is_sum_right, &r, &r.sum, sizeof r.sum };
    const qp_status status = time_scaling(&watch, &w, &speed->read);
    const double seconds = speed->read.all.seconds.median;
    speed->read_bytes_per_second = seconds > 0.0 ? (double)speed->read_bytes / seconds : 0.0;
    free(r.chunks);
    return status;
}

/* ---- OpenBLAS, if it is installed: a comparison is no reason to depend on it. ---- */

/* CBLAS's own numbers for row-major, as it is and transposed. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
typedef void (*sgemv_function)(int order, int transpose, int rows, int columns, float alpha, const float *a, int a_step,
                               const float *x, int x_step, float beta, float *y, int y_step);
typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float *a, int a_step, const float *b, int b_step, float beta, float *c,
                               int c_step);

typedef struct blas_library {
    void *library; /* NULL: there is none */
    sgemv_function sgemv;
    sgemm_function sgemm;
    void (*set_threads)(int threads);
    int threads; /* that it was told */
} blas_library;

/* `function` points to a pointer to a function, which POSIX lets be written so. */
static bool find_symbol(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* Returns why there is none, or NULL and in `text` what it says of itself. */
static const char *open_openblas(const char *name, blas_library *blas, char *text, size_t size)
{
    char *(*config)(void) = NULL;
    *blas = (blas_library){ .library = dlopen(name, RTLD_NOW | RTLD_LOCAL) };
    if (!blas->library) return "it cannot be loaded; Debian has it as libopenblas0-pthread";
    if (find_symbol(blas->library, "cblas_sgemv", &blas->sgemv) &&
        find_symbol(blas->library, "cblas_sgemm", &blas->sgemm) &&
        find_symbol(blas->library, "openblas_set_num_threads", &blas->set_threads)) {
        const bool tells = find_symbol(blas->library, "openblas_get_config", &config);
        (void)snprintf(text, size, "%s", tells ? config() : name);
        return NULL;
    }
    (void)dlclose(blas->library);
    *blas = (blas_library){ 0 };
    return "it lacks cblas_sgemv, cblas_sgemm or openblas_set_num_threads";
}

/* ---- Products. ---- */

/* What all contenders have; rows of x as many as the largest M. */
typedef struct operands {
    int64_t m, n, k;
    qp_host_memory x, narrow_y;           /* bf16 */
    qp_host_memory wide_x, wide_w, y, by; /* f32: y by the plain loop, `by` by OpenBLAS */
    qp_host_memory x_sizes, w_sizes;      /* f64: Euclidean norms of the rows */
    const qp_bf16 *weight;                /* the model's own */
    const qp_implementation *linear;
    blas_library *blas;
} operands;

static qp_status run_contract(void *context)
{
    const operands *o = context;
    const qp_call call = { .extent = { [QP_LINEAR_M] = o->m, [QP_LINEAR_N] = o->n, [QP_LINEAR_K] = o->k },
                           .in = { [QP_LINEAR_X] = o->x.data, [QP_LINEAR_WEIGHT] = o->weight },
                           .out = { o->narrow_y.data } };
    return o->linear->run(&call);
}

/* What is meant, as plainly as C says it. */
static qp_status run_plain(void *context)
{
    const operands *o = context;
    const float *x = o->wide_x.data, *weight = o->wide_w.data;
    float *y = o->y.data;
#pragma omp parallel for if (QP_WORTH_THREADS(o->m * o->n * o->k))
    for (int64_t n = 0; n < o->n; n++)
        for (int64_t m = 0; m < o->m; m++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < o->k; k++) sum += x[m * o->k + k] * weight[n * o->k + k];
            y[m * o->n + n] = sum;
        }
    return QP_OK;
}

static qp_status run_openblas(void *context)
{
    const operands *o = context;
    const int m = (int)o->m, n = (int)o->n, k = (int)o->k, threads = qp_host_threads();
    if (o->blas->threads != threads) {
        o->blas->set_threads(threads);
        o->blas->threads = threads;
    }
    if (m == 1)
        o->blas->sgemv(ROW_MAJOR, NO_TRANSPOSE, n, k, 1.0f, o->wide_w.data, k, o->wide_x.data, 1, 0.0f, o->by.data, 1);
    else
        o->blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, m, n, k, 1.0f, o->wide_x.data, k, o->wide_w.data, k, 0.0f,
                       o->by.data, n);
    return QP_OK;
}

/* The element that is looked at in place of the i-th: all over the product, its first and its last among them. */
static int64_t place_of(const operands *o, int i)
{
    const int64_t elements = o->m * o->n;
    return i == 0 ? 0 : i == 1 ? elements - 1 : (int64_t)(qp_hash_of(0, (uint64_t)i) % (uint64_t)elements);
}

static bool is_contract_right(void *context)
{
    const operands *o = context;
    const qp_bf16 *x = o->x.data, *y = o->narrow_y.data;
    for (int i = 0; i < LOOKED_AT; i++) {
        const int64_t at = place_of(o, i);
        const float want = qp_chain_fma(0.0f, x + at / o->n * o->k, o->weight + at % o->n * o->k, 1, o->k);
        if (y[at].bits != qp_bf16_from_f32(want).bits) return false;
    }
    return true;
}

/* An f32 sum of K products in any order is off from the exact one by at most this many times the sum of their magnitudes
 * (Higham, Accuracy and Stability, 2002, chapter 3), which is at most the product of the two rows' norms. */
static double f32_error(int64_t k)
{
    const double u = 0x1p-24 * (double)k;
    return u / (1.0 - u);
}

static bool is_plain_right(void *context)
{
    const operands *o = context;
    const float *x = o->wide_x.data, *weight = o->wide_w.data, *y = o->y.data;
    for (int i = 0; i < LOOKED_AT; i++) {
        const int64_t at = place_of(o, i), m = at / o->n, n = at % o->n;
        double sum = 0.0, size = 0.0;
        for (int64_t k = 0; k < o->k; k++) {
            const double product = (double)x[m * o->k + k] * (double)weight[n * o->k + k];
            sum += product;
            size += fabs(product);
        }
        if (!(fabs((double)y[at] - sum) <= f32_error(o->k) * size)) return false;
    }
    return true;
}

static bool is_openblas_right(void *context)
{
    const operands *o = context;
    const float *want = o->y.data, *got = o->by.data;
    const double *x_sizes = o->x_sizes.data, *w_sizes = o->w_sizes.data;
    int64_t wrong = 0;
#pragma omp parallel for reduction(+ : wrong)
    for (int64_t at = 0; at < o->m * o->n; at++) {
        const double size = x_sizes[at / o->n] * w_sizes[at % o->n];
        wrong += !(fabs((double)want[at] - (double)got[at]) <= 2.0 * f32_error(o->k) * size);
    }
    return wrong == 0;
}

static void widen(const qp_bf16 *from, int64_t rows, int64_t columns, float *to, double *sizes)
{
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0.0;
        for (int64_t i = r * columns; i < (r + 1) * columns; i++) {
            to[i] = qp_bf16_to_f32(from[i]);
            squares += (double)to[i] * (double)to[i];
        }
        sizes[r] = sqrt(squares);
    }
}

static qp_status prepare_operands(operands *o, const qp_host_product *p, const qp_bf16 *weight)
{
    const size_t x = (size_t)(MANY_ROWS * p->k), w = (size_t)(p->n * p->k), y = (size_t)(MANY_ROWS * p->n);
    o->n = p->n;
    o->k = p->k;
    o->weight = weight;
    QP_TRY(qp_host_reserve(&o->x, x * sizeof(qp_bf16)));
    QP_TRY(qp_host_reserve(&o->narrow_y, y * sizeof(qp_bf16)));
    QP_TRY(qp_host_reserve(&o->wide_x, x * sizeof(float)));
    QP_TRY(qp_host_reserve(&o->wide_w, w * sizeof(float)));
    QP_TRY(qp_host_reserve(&o->y, y * sizeof(float)));
    QP_TRY(qp_host_reserve(&o->by, y * sizeof(float)));
    QP_TRY(qp_host_reserve(&o->x_sizes, MANY_ROWS * sizeof(double)));
    QP_TRY(qp_host_reserve(&o->w_sizes, (size_t)p->n * sizeof(double)));
    qp_random_fill(2, -1.732f, 1.732f, o->x.data, (int64_t)x); /* a deviation of 1, as behind a norm */
    widen(o->x.data, MANY_ROWS, p->k, o->wide_x.data, o->x_sizes.data);
    widen(weight, p->n, p->k, o->wide_w.data, o->w_sizes.data);
    return QP_OK;
}

static void free_operands(operands *o)
{
    qp_host_memory *const all[] = {
        &o->x, &o->narrow_y, &o->wide_x, &o->wide_w, &o->y, &o->by, &o->x_sizes, &o->w_sizes
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) qp_host_free(all[i]);
}

static qp_status time_path(const stopwatch *watch, operands *o, const char *name, qp_host_product *p)
{
    struct qp_host_path *path = &p->path[p->path_count++];
    work w = { run_contract, is_contract_right, o, o->narrow_y.data, (size_t)(o->m * o->n) * sizeof(qp_bf16) };
    path->name = name;
    return time_scaling(watch, &w, &path->time);
}

/* The path in use, then the others. */
static qp_status time_paths(const stopwatch *watch, operands *o, bool all, qp_host_product *p)
{
    const char *const used = qp_vector_path_name();
    qp_status status = time_path(watch, o, used, p);
    for (const char *const *name = qp_vector_paths(); all && *name && status == QP_OK; name++)
        if (strcmp(*name, used) != 0 && p->path_count < QP_HOST_PATHS && qp_vector_path_use(*name))
            status = time_path(watch, o, *name, p);
    (void)qp_vector_path_use(used); /* it was in use, so it is there */
    return status;
}

static qp_status measure_product(const stopwatch *watch, operands *o, bool all_paths, const char *no_openblas,
                                 qp_host_product *p)
{
    const size_t bytes = (size_t)(p->m * p->n) * sizeof(float);
    work plain = { run_plain, is_plain_right, o, o->y.data, bytes };
    work openblas = { run_openblas, is_openblas_right, o, o->by.data, bytes };
    o->m = p->m;
    QP_TRY(time_paths(watch, o, all_paths, p));
    QP_TRY(time_scaling(watch, &plain, &p->plain)); /* before OpenBLAS, which is compared with it */
    if (p->plain.all.why) no_openblas = "the plain loop to compare it with is wrong";
    p->openblas.all.why = p->openblas.one.why = no_openblas;
    if (no_openblas) return QP_OK;
    QP_TRY(time_scaling(watch, &openblas, &p->openblas));
    (void)nanosleep(&until_asleep, NULL);
    return QP_OK;
}

/* Two products for each shape of a layer's weights; and the weights. */
static qp_status list_products(const qp_plan *plan, const char *only, qp_host_speed *speed, const qp_bf16 ***weights)
{
    const size_t most = 2 * (size_t)plan->node_count;
    speed->products = calloc(most, sizeof *speed->products);
    *weights = calloc(most, sizeof **weights);
    if (!speed->products || !*weights) return qp_fail(QP_NO_MEMORY, "no memory for a list of %zu products", most);
    for (int i = 0; i < plan->node_count; i++) {
        const qp_plan_node *node = &plan->nodes[i];
        const int64_t n = node->extent[QP_LINEAR_N], k = node->extent[QP_LINEAR_K];
        bool there =
            node->operation != &qp_linear_operation || node->layer < 0 || (only && fnmatch(only, node->name, 0) != 0);
        for (int j = 0; j < speed->product_count; j++)
            there = there || (speed->products[j].n == n && speed->products[j].k == k);
        for (int64_t m = 1; !there && m <= MANY_ROWS; m *= MANY_ROWS) {
            qp_host_product *p = &speed->products[speed->product_count];
            *p = (qp_host_product){ .m = m, .n = n, .k = k };
            memcpy(p->key, node->name, sizeof p->key);
            (*weights)[speed->product_count++] = plan->tensors[node->in[QP_LINEAR_WEIGHT]].weight;
        }
    }
    return QP_OK;
}

static void say(const qp_host_options *options, const char *what)
{
    if (options->say) options->say(options->context, what);
}

static bool same_shape(const qp_host_product *a, const qp_host_product *b) { return a->n == b->n && a->k == b->k; }

static qp_status measure_products(const stopwatch *watch, const qp_plan *plan, const qp_host_options *options,
                                  qp_host_speed *speed)
{
    blas_library blas;
    operands o = { .linear = qp_implementation_find("linear", QP_CPU, NULL), .blas = &blas };
    const qp_bf16 **weights = NULL;
    const qp_host_product *largest = NULL;
    speed->no_openblas = open_openblas(options->openblas ? options->openblas : QP_HOST_OPENBLAS, &blas, speed->openblas,
                                       sizeof speed->openblas);
    qp_status status = list_products(plan, options->only, speed, &weights);
    for (int i = 0; i < speed->product_count; i++) {
        const qp_host_product *p = &speed->products[i];
        if (!largest || p->n * p->k > largest->n * largest->k) largest = p;
    }
    for (int i = 0; i < speed->product_count && status == QP_OK; i++) {
        qp_host_product *p = &speed->products[i];
        char what[QP_NAME_MAX + 32];
        (void)snprintf(what, sizeof what, "%s, %d row%s", p->key, (int)p->m, p->m == 1 ? "" : "s");
        say(options, what);
        if (p->m == 1) status = prepare_operands(&o, p, weights[i]);
        if (status == QP_OK) status = measure_product(watch, &o, same_shape(p, largest), speed->no_openblas, p);
        for (int j = 0; j < p->path_count; j++) speed->failed += p->path[j].time.all.why != NULL;
    }
    if (blas.library) (void)dlclose(blas.library);
    free_operands(&o);
    free(weights);
    return status;
}

/* ---- All of it. ---- */

qp_status qp_host_measure(qp_timer *timer, const qp_model *model, const qp_host_options *options, qp_host_speed *speed)
{
    const qp_plan_options step = { .tokens = 1, .capacity = 1, .last_logits_only = true };
    const stopwatch watch = { timer, options->samples < MOST_SAMPLES ? options->samples : MOST_SAMPLES,
                              product_budget };
    qp_plan plan;
    *speed = (qp_host_speed){ .threads = qp_host_threads() };
    QP_TRY(qp_plan_open(model, step, &plan));
    qp_trace_push(QP_TRACE_BENCH, "host", -1, 0, 0);
    say(options, "reading the weights");
    qp_status status = measure_read(timer, &plan, watch.samples, speed);
    if (status == QP_OK) status = measure_products(&watch, &plan, options, speed);
    qp_trace_pop();
    qp_plan_close(&plan);
    if (status != QP_OK) qp_host_close(speed);
    return status;
}

void qp_host_close(qp_host_speed *speed)
{
    free(speed->products);
    memset(speed, 0, sizeof *speed);
}
