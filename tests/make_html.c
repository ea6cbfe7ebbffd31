/* Pages for check_html.py, all through the real writer: runs of the embedded model, and reports made by hand. Writes
 * them into the folder that is named, and holds the page to its limits of size and time. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../harness/bench.h"
#include "../harness/verify.h"
#include "../model/fusion.h"
#include "../reports/reports.h"
#include "check_random.h"

/* What the project promises of a page. */
enum { MANY_ROWS = 5000, MOST_BYTES = 3000000 };
#if defined(__SANITIZE_ADDRESS__)
#define MOST_SECONDS 10.0
#else
#define MOST_SECONDS 1.0
#endif
#define MOST_GROWTH 2.05 /* of what is not the same in each page, with twice the rows */

static const char *folder;

static void require(bool holds, const char *what)
{
    if (holds) return;
    (void)fprintf(stderr, "make_html: %s; %s\n", what, qp_last_error());
    exit(EXIT_FAILURE);
}

static void require_ok(qp_status status) { require(status == QP_OK, qp_status_name(status)); }

/* Of this process alone: the limit must hold on a busy machine, too. */
static double cpu_seconds(void)
{
    struct timespec now;
    require(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0, "there is no clock");
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Writes a page, and returns its bytes. */
static long write_page(const char *name, const qp_report *report, const qp_bench_report *bench)
{
    char path[1024];
    struct stat found;
    (void)snprintf(path, sizeof path, "%s/%s.html", folder, name);
    const double start = cpu_seconds();
    require_ok(qp_write_html(report, bench, path));
    const double seconds = cpu_seconds() - start;
    require(stat(path, &found) == 0, "the page is not there");
    printf("%-12s %5d rows %9ld bytes %6.3f s\n", name, report ? report->row_count : 0, (long)found.st_size, seconds);
    require(seconds <= MOST_SECONDS, "a page took too long to write");
    return (long)found.st_size;
}

static void refuse_a_folder_that_is_not_there(const qp_report *report)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/no/such/page.html", folder);
    require(qp_write_html(report, NULL, path) == QP_IO, "a page was written to nowhere");
}

/* ---- Runs of the embedded model. ---- */

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static qp_model model;
static qp_runtime runtime;
static qp_golden *golden;

/* Pictures of these pages are published: whose system it was tells nobody anything. */
static void name_no_system(qp_environment *environment)
{
    (void)snprintf(environment->os, sizeof environment->os, "Linux x86_64");
}

static void verify(const char *fault, qp_fusions fusions, qp_report *report)
{
    qp_verify_options options = { .model_path = "golden/qwen3-tiny",
                                  .golden_path = "golden/qwen3-tiny.h5",
                                  .selection = { .backend = QP_CPU },
                                  .fusions = fusions };
    if (fault) require_ok(qp_selection_plant(&options.selection, fault));
    require_ok(qp_verify(&runtime, golden, &options, report));
    name_no_system(&report->environment);
}

static void write_runs(void)
{
    qp_report report;
    qp_bench_report bench;
    const qp_bench_options options = { .model = "golden/qwen3-tiny",
                                       .selection = { .backend = QP_CPU },
                                       .prefill = true,
                                       .decode = true,
                                       .prefill_tokens = 32,
                                       .context = 128,
                                       .samples = 5 };
    require_ok(qp_model_open(MODEL, &model));
    require_ok(qp_runtime_open(&model, QP_CPU, &runtime));
    require_ok(qp_golden_open(GOLDEN, &golden));
    require_ok(qp_bench(&runtime, NULL, &options, &bench));
    name_no_system(&bench.environment);
    (void)write_page("bench", NULL, &bench);
    verify(NULL, 0, &report);
    (void)write_page("pass", &report, &bench);
    qp_report_close(&report);
    qp_bench_close(&bench);
    verify("weight-before-cast", 0, &report);
    (void)write_page("failing", &report, NULL);
    qp_report_close(&report);
    verify(NULL, QP_FUSE_ALL, &report);
    (void)write_page("fused", &report, NULL);
    qp_report_close(&report);
    qp_golden_close(golden);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
}

/* ---- Reports made by hand. ---- */

static const struct {
    const char *name, *operation;
} in_layer[] = { { ".input_layernorm", "rms_norm" },
                 { ".self_attn.q_proj", "linear" },
                 { ".self_attn.k_proj", "linear" },
                 { ".self_attn.v_proj", "linear" },
                 { ".self_attn.q_norm", "rms_norm" },
                 { ".self_attn.k_norm", "rms_norm" },
                 { ".self_attn.q_rope", "rope" },
                 { ".self_attn.k_rope", "rope" },
                 { ".self_attn.scores", "scores" },
                 { ".self_attn.probs", "softmax" },
                 { ".self_attn.context", "context" },
                 { ".self_attn.o_proj", "linear" },
                 { ".residual_attn", "residual_add" },
                 { ".post_attention_layernorm", "rms_norm" },
                 { ".mlp.gate_proj", "linear" },
                 { ".mlp.up_proj", "linear" },
                 { ".mlp.act", "silu" },
                 { ".mlp.product", "multiply" },
                 { ".mlp.down_proj", "linear" },
                 { "", "residual_add" } };
enum { LAYERS = 28, IN_LAYER = sizeof in_layer / sizeof *in_layer, A_PASS = LAYERS * IN_LAYER };

static qp_row rows[MANY_ROWS];
static char keys[MANY_ROWS][160];
static uint64_t random_state;

static qp_report report_of(int count)
{
    qp_report report = { .environment = qp_environment_read(),
                         .model = "Qwen3-0.6B",
                         .golden = { .path = "qwen3-0.6b.h5" },
                         .backend = "cuda",
                         .plan = "reference",
                         .device = { .name = "NVIDIA H200" },
                         .complete = true,
                         .row_count = count,
                         .rows = rows,
                         .seconds = 12.3 };
    qp_report_summarise(&report);
    return report;
}

/* A row as the verifier makes it: of a whole model, pass after pass, local before carried. */
static void make_row(int index)
{
    const int tensor = index / 2, pass = tensor / A_PASS, layer = tensor % A_PASS / IN_LAYER, own = tensor % IN_LAYER;
    qp_row *row = &rows[index];
    char path[64];
    if (pass == 0)
        (void)snprintf(path, sizeof path, "aistonia/prefill");
    else
        (void)snprintf(path, sizeof path, "aistonia/decode.%03d", pass - 1);
    (void)snprintf(keys[index], sizeof keys[index], "%s/model.layers.%d%s", path, layer, in_layer[own].name);
    *row = (qp_row){ .key = keys[index],
                     .boundary = keys[index] + strlen(path) + 1,
                     .layer = layer,
                     .operation = in_layer[own].operation,
                     .implementation = "cublas",
                     .mode = index % 2 ? QP_CARRIED : QP_LOCAL,
                     .dtype = QP_BF16,
                     .rank = 2,
                     .dim = { pass ? 1 : 512, 1024 },
                     .axis = { "token", "channel" },
                     .ours_oracle = { 0.0123, 0.00123, 0 },
                     .golden_oracle = { 0.0122, 0.00121, 0 } };
    row->comparison.elements = row->comparison.nonzero = row->dim[0] * row->dim[1];
    row->comparison.histogram[5] = row->comparison.elements;
    qp_judge(row);
}

/* Makes a row fail in every way that takes room in the page. */
static void make_row_fail(int index)
{
    qp_row *row = &rows[index];
    qp_comparison *c = &row->comparison;
    c->histogram[5] = 0;
    for (int i = 0; i < QP_ULP_CLASSES; i++) {
        const int64_t count = c->elements / 50 + (int64_t)(check_random(&random_state) % 10);
        c->histogram[i] += i == 5 ? 0 : count;
        c->mismatches += i == 5 ? 0 : count;
    }
    c->histogram[5] = c->elements - c->mismatches;
    c->class_mismatches = c->histogram[QP_ULP_CLASSES - 1];
    c->signed_zeros = 3;
    c->max_abs = row->ours_golden.max_abs = 0.123;
    c->max_ulp = 12345;
    c->p99_ulp = 123;
    c->worst_count = QP_WORST;
    for (int i = 0; i < QP_WORST; i++) {
        const uint64_t bits = check_random(&random_state);
        c->worst[i] = (qp_worst){ (int64_t)(bits % (uint64_t)c->elements), 1.2345, -1.2345, 0x3f9e, 0xbf9e };
        row->worst_oracle[i] = ldexp((double)(bits >> 11), -53);
    }
    row->ours_golden.rms = 0.00321;
    if (row->mode == QP_CARRIED) {
        row->has_origin = true;
        row->came_in.rms = 0.0456;
        row->came_in_mismatches = c->mismatches;
        row->added.rms = 0.00321;
        row->added_mismatches = c->mismatches / 2;
    }
    qp_judge(row);
}

/* Makes a row differ a little, with no worst element to show for it: a report that was read may lack them. */
static void make_row_differ(int index)
{
    qp_row *row = &rows[index];
    qp_comparison *c = &row->comparison;
    c->mismatches = c->histogram[6] = 1000;
    c->histogram[5] = c->elements - c->mismatches;
    c->max_ulp = 1;
    row->ours_golden = (qp_error){ 0.001, 0.0001, 0 };
    qp_judge(row);
}

static void make_row_untrusted(int index)
{
    rows[index].comparison.nonzero = 0;
    qp_judge(&rows[index]);
}

static void write_large(void)
{
    random_state = check_seed(1);
    for (int i = 0; i < MANY_ROWS; i++) make_row(i);
    const qp_report none = report_of(0);
    qp_report exact = report_of(MANY_ROWS);
    const long fixed = write_page("empty", &none, NULL);
    refuse_a_folder_that_is_not_there(&none);
    (void)write_page("large-exact", &exact, NULL);
    for (int i = 0; i < MANY_ROWS; i++) make_row_fail(i);
    const qp_report half = report_of(MANY_ROWS / 2), whole = report_of(MANY_ROWS);
    const long half_bytes = write_page("half", &half, NULL), bytes = write_page("large", &whole, NULL);
    require(bytes <= MOST_BYTES, "the page with 5,000 failing rows is too large");
    require((double)(bytes - fixed) <= MOST_GROWTH * (double)(half_bytes - fixed),
            "the page grows faster than its rows");
}

/* Everything that can be said of a run besides its rows, and every verdict. */
static void write_unusual(void)
{
    static const struct qp_not_compared not_compared[] = { { "p/prefill/model.extra",
                                                             "no node of the plan writes it" } };
    static const struct qp_inside_fused inside[] = { { "model.layers.*.self_attn.scores",
                                                       "model.layers.*.gqa_attention", 1200 } };
    static const char *const problems[] = { "line 7: the waiver of '*.q_norm' matches no row that needs it" };
    for (int i = 0; i < 40; i++) make_row(i);
    rows[1].verdict = QP_VERDICT_WAIVED;
    rows[1].excuse = "issue 12: the card's own order";
    rows[3].gate = QP_GATE_BOUNDED;
    rows[3].excuse = "another order of the sum";
    make_row_untrusted(4);
    rows[6].violation = "the implementation wrote behind its output";
    qp_judge(&rows[6]);
    qp_row *nothing = &rows[8]; /* no pair is finite: the errors are stored as 0 */
    nothing->ours_golden = nothing->ours_oracle = nothing->golden_oracle =
        (qp_error){ .nonfinite = nothing->comparison.elements };
    nothing->comparison.nonfinite = nothing->comparison.elements;
    qp_judge(nothing);
    rows[10].ours_oracle.nonfinite = rows[10].golden_oracle.nonfinite = 3;
    make_row_fail(9);
    rows[9].came_in = (qp_error){ .nonfinite = rows[9].comparison.elements };
    rows[9].ours_golden.rms = rows[9].ours_oracle.rms = (double)NAN;
    rows[9].ours_golden.max_abs = (double)INFINITY;
    rows[9].worst_oracle[0] = (double)-INFINITY;
    make_row_fail(11);
    rows[11].dtype = QP_F32;
    rows[11].comparison.worst[0] = (qp_worst){ 1025, 1.0, -0.0, 0x3f800000, 0x80000000 };
    rows[11].worst_oracle[0] = 0.75;
    make_row_fail(13);
    rows[13].dtype = QP_I64;
    rows[13].comparison.worst[0] = (qp_worst){ 0, 5.0, -1.0, 5, UINT64_MAX };
    qp_report report = report_of(40);
    report.complete = false;
    report.only = "*layers.0*";
    report.left_out = 1234;
    report.not_compared_count = report.inside_fused_count = report.problem_count = 1;
    report.not_compared = not_compared;
    report.inside_fused = inside;
    report.gate = "gate.json";
    report.problems = problems;
    qp_report_summarise(&report);
    (void)write_page("unusual", &report, NULL);
}

/* What is known and what may differ is nowhere to start; what is untrusted is. */
static void write_waived(void)
{
    for (int i = 0; i < 20; i++) make_row(i);
    for (int i = 0; i < 2; i++) {
        make_row_fail(i);
        rows[i].verdict = QP_VERDICT_WAIVED;
        rows[i].excuse = "issue 12: the card's own order";
    }
    make_row_differ(3);
    qp_judge_bounded(&rows[3], 4.0, 2.0);
    rows[3].excuse = "another order of the sum";
    const qp_report waived = report_of(20);
    require(waived.summary.verdict == QP_VERDICT_PASS && waived.summary.bounded == 1, "the waived rows do not pass");
    (void)write_page("waived", &waived, NULL);
    make_row_untrusted(5);
    const qp_report untrusted = report_of(20);
    (void)write_page("untrusted", &untrusted, NULL);
}

/* A chart of one point, and none at all. */
static void write_small(void)
{
    for (int i = 0; i < 2; i++) make_row(i);
    const qp_report single = report_of(2);
    (void)write_page("single", &single, NULL);
    for (int i = 0; i < 2; i++) rows[i].dtype = QP_I64;
    const qp_report integers = report_of(2);
    (void)write_page("integers", &integers, NULL);
}

/* ---- Text that would be something else if it could. check_html.py knows it by its first word. ---- */

#define HOSTILE                                                                                                        \
    "hostile</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`--></title></style><!-- &lt; "           \
    "${alert(3)}\n\t\x01\x7f\xff\xc3(\xe2\x80\xae"                                                                     \
    "desrever\\"

static void write_hostile(void)
{
    static const struct qp_not_compared not_compared[] = { { HOSTILE, HOSTILE } };
    static struct qp_inside_fused inside[] = { { "", "", 1 } };
    static const char *const problems[] = { HOSTILE };
    for (int i = 0; i < 4; i++) {
        make_row(i);
        (void)snprintf(keys[i], sizeof keys[i], "%s/prefill/x%d", HOSTILE, i / 2);
        make_row_fail(i);
        rows[i].boundary = strrchr(keys[i], '/') + 1;
        rows[i].layer = -1;
        rows[i].operation = rows[i].implementation = rows[i].excuse = rows[i].axis[0] = HOSTILE;
        (void)snprintf(rows[i].order, sizeof rows[i].order, "%.*s", QP_ORDER_TEXT - 1, HOSTILE);
        (void)snprintf(rows[i].reason, sizeof rows[i].reason, "%.*s", (int)sizeof rows[i].reason - 1, HOSTILE);
    }
    (void)snprintf(inside[0].boundary, sizeof inside[0].boundary, "%.*s", QP_NAME_MAX - 1, HOSTILE);
    (void)snprintf(inside[0].node, sizeof inside[0].node, "%.*s", QP_NAME_MAX - 1, HOSTILE);
    qp_report report = report_of(4);
    report.model = report.golden.path = report.fault = report.only = report.gate = report.backend = HOSTILE;
    (void)snprintf(report.device.name, sizeof report.device.name, "%.*s", (int)sizeof report.device.name - 1, HOSTILE);
    (void)snprintf(report.environment.cpu, sizeof report.environment.cpu, "%.*s", 250, HOSTILE);
    report.not_compared_count = report.inside_fused_count = report.problem_count = 1;
    report.not_compared = not_compared;
    report.inside_fused = inside;
    report.problems = problems;

    static const qp_operation operation = { .name = HOSTILE };
    qp_bench_row row = { .phase = HOSTILE, .layer = -1, .count = 2, .operation = &operation, .cost = { 1000, 1000 } };
    (void)snprintf(row.key, sizeof row.key, "%.*s", QP_NAME_MAX - 1, HOSTILE);
    (void)snprintf(row.reason, sizeof row.reason, "%.*s", 199, HOSTILE);
    row.implementation.name = HOSTILE;
    for (int i = 0; i < QP_PROTOCOLS; i++) row.time[i].why = HOSTILE;
    qp_bench_node node = { .phase = HOSTILE, .seconds = 1e-6 };
    (void)snprintf(node.key, sizeof node.key, "%.*s", QP_NAME_MAX - 1, HOSTILE);
    const qp_bench_report bench = {
        .environment = report.environment,
        .model = HOSTILE,
        .backend = "cpu",
        .ceilings = { .copy = { .why = HOSTILE }, .product = { .why = HOSTILE }, .product_implementation = HOSTILE },
        .row_count = 1,
        .rows = &row,
        .node_count = 1,
        .nodes = &node,
        .not_verified = 1
    };
    (void)write_page("hostile", &report, &bench);
}

/* ---- A card's times, made by hand. ---- */

static qp_time time_of(double seconds)
{
    return (qp_time){ .seconds = { .samples = 50, .median = seconds, .q1 = 0.98 * seconds, .q3 = 1.03 * seconds } };
}

static void write_card(void)
{
    static qp_bench_row bench_rows[2 * IN_LAYER];
    static qp_bench_node nodes[2 * A_PASS];
    qp_bench_report bench = { .environment = qp_environment_read(),
                              .model = "qwen3-0.6b, 28 layers, seed 0",
                              .backend = "cuda",
                              .plan = "reference",
                              .device = { .name = "NVIDIA H200" },
                              .samples = 50,
                              .flush_bytes = 240000000,
                              .mark_overhead = 1.9e-6,
                              .clock = 1.98e9,
                              .dropped = 12,
                              .ceilings = { .copy_bytes_per_second = 4.32e12,
                                            .product_size = 8192,
                                            .product_implementation = "cublas",
                                            .product_flops_per_second = 7.1e14 },
                              .rows = bench_rows,
                              .nodes = nodes,
                              .step_count = 3,
                              .complete = true,
                              .verified = 2 * IN_LAYER - 1,
                              .not_verified = 1 };
    random_state = check_seed(2);
    for (int pass = 0; pass < 2; pass++) {
        for (int own = 0; own < IN_LAYER; own++) {
            qp_bench_row *row = &bench_rows[bench.row_count++];
            const bool product = !strcmp(in_layer[own].operation, "linear");
            const uint64_t tokens = pass ? 1 : 512;
            const double seconds = (product ? 6e-6 : 3e-6) * (pass ? 1.0 : 6.0) * (1.0 + own / 20.0);
            *row = (qp_bench_row){ .phase = pass ? "decode" : "prefill",
                                   .count = LAYERS,
                                   .operation = qp_operation_find(in_layer[own].operation),
                                   .implementation = { .name = "cublas" },
                                   .cost = { product ? 6000000 : 20000, tokens * (product ? 6000000 : 5000) },
                                   .verified = "golden",
                                   .time = { time_of(1.4 * seconds), time_of(0.8 * seconds), time_of(seconds) },
                                   .share = 0.05 };
            (void)snprintf(row->key, sizeof row->key, "model.layers.0%s", in_layer[own].name);
        }
        for (int i = 0; i < A_PASS; i++) {
            qp_bench_node *node = &nodes[bench.node_count++];
            *node = (qp_bench_node){ .phase = pass ? "decode" : "prefill",
                                     .seconds = 2e-6 + 6e-6 * (double)(check_random(&random_state) % 100) / 100.0 };
            (void)snprintf(node->key, sizeof node->key, "model.layers.%d%s", i / IN_LAYER, in_layer[i % IN_LAYER].name);
        }
    }
    bench_rows[3].verified = NULL;
    (void)snprintf(bench_rows[3].reason, sizeof bench_rows[3].reason, "the golden does not hold its output");
    for (int i = 0; i < QP_PROTOCOLS; i++) bench_rows[3].time[i] = (qp_time){ .why = "not verified" };
    bench_rows[5].time[QP_PROTOCOL_HOT] = (qp_time){ .why = "the clock was low in every sample" };
    (void)snprintf(bench_rows[6].reason, sizeof bench_rows[6].reason, "it is another one now");
    bench_rows[6].time[QP_PROTOCOL_COLD] = bench_rows[6].time[QP_PROTOCOL_IN_MODEL] = (qp_time){ .why = "no clock" };
    static const char *const steps[] = { "prefill", "decode_step", "decode_graph" };
    for (int i = 0; i < 3; i++)
        bench.steps[i] = (qp_bench_step){ .name = steps[i],
                                          .tokens = i ? 1 : 512,
                                          .context = i ? 128 : 0,
                                          .cost = { 1200000000, 1200000000 },
                                          .verified = "golden",
                                          .next_token = 42,
                                          .time = time_of(i == 2 ? 0.6e-3 : 2.9e-3),
                                          .wall = { 50, 3.1e-3, 3.0e-3, 3.2e-3 } };
    (void)write_page("card", NULL, &bench);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: make_html FOLDER\n");
        return 2;
    }
    folder = argv[1];
    (void)write_page("nothing", NULL, NULL);
    write_large();
    write_unusual();
    write_waived();
    write_small();
    write_hostile();
    write_card();
    write_runs();
    return EXIT_SUCCESS;
}
