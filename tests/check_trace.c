/* model/trace, as a tool sees it: tests/nvtx_injection.c writes down what it is told. */
#include <inttypes.h>
#include <stdbool.h>

#include "../model/generate.h"
#include "../model/trace.h"
#include "check_program.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define PROMPT "The capital of Aistonia is Flubarg. What is the capital of Aistonia?"

enum { NEW_TOKENS = 3 };

/* ---- The log. ---- */

typedef struct line {
    char what[16]; /* "push", "pop", "string", ... */
    char domain[64];
    int depth;        /* push, pop */
    int64_t category; /* push, category */
    char kind[16];    /* push: "registered" or "text" */
    char fields[128]; /* push, schema */
    char name[256];
} line;

static line *lines;
static int line_count;

static void parse(char *text, line *l)
{
    int ok = 0;
    memset(l, 0, sizeof *l);
    ck_assert_int_eq(sscanf(text, "%15s %63s", l->what, l->domain), 2);
    if (!strcmp(l->what, "push"))
        ok = sscanf(text, "%*s %*s %d %" SCNd64 " %15s %127s %255s", &l->depth, &l->category, l->kind, l->fields,
                    l->name) == 5;
    else if (!strcmp(l->what, "pop"))
        ok = sscanf(text, "%*s %*s %d", &l->depth) == 1;
    else if (!strcmp(l->what, "category"))
        ok = sscanf(text, "%*s %*s %" SCNd64 " %255s", &l->category, l->name) == 2;
    else if (!strcmp(l->what, "schema"))
        ok = sscanf(text, "%*s %*s %127s %255s", l->fields, l->name) == 2;
    else if (!strcmp(l->what, "string"))
        ok = sscanf(text, "%*s %*s %255s", l->name) == 1;
    else
        ok = !strcmp(l->what, "domain");
    ck_assert_msg(ok, "the tool wrote: %s", text);
}

static void read_log(void)
{
    char *const text = files_read(files_path("log"), NULL);
    int room = 0;
    for (const char *c = text; *c; c++) room += *c == '\n';
    lines = malloc((size_t)(room + 1) * sizeof *lines);
    ck_assert_ptr_nonnull(lines);
    line_count = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        *end = '\0';
        parse(at, &lines[line_count++]);
    }
    free(text);
}

static bool is(const line *l, const char *what) { return strcmp(l->what, what) == 0; }

static int count(const char *what, const char *name)
{
    int n = 0;
    for (int i = 0; i < line_count; i++) n += is(&lines[i], what) && !strcmp(lines[i].name, name);
    return n;
}

/* ---- The program, with the tool or without. ---- */

/* `environment`: assignments as a shell reads them. */
static void generate(const char *environment)
{
    char cleared[1200], arguments[1024];
    files_clear();
    snprintf(cleared, sizeof cleared, "unset NVTX_INJECTION64_PATH QP_NVTX_LOG QP_NVTX_PLAIN; %s", environment);
    snprintf(arguments, sizeof arguments, "generate --model '%s' --prompt '%s' --max-tokens %d", MODEL, PROMPT,
             NEW_TOKENS);
    const int code = run_in(cleared, arguments);
    ck_assert_msg(code == 0, "%s: %d: %s", arguments, code, err);
}

static void generate_with_tool(const char *also)
{
    char environment[1024];
    snprintf(environment, sizeof environment, "NVTX_INJECTION64_PATH='%s' QP_NVTX_LOG='%s/log' %s", QP_NVTX_INJECTION,
             files_dir, also);
    generate(environment);
    read_log();
}

/* ---- What a tool is told. ---- */

START_TEST(test_everything_is_registered_once)
{
    static const char *const categories[] = { "model", "kernel", "verify", "io", "bench" };
    int domains = 0, schemas = 0;
    generate_with_tool("");
    for (int i = 0; i < line_count; i++) {
        const line *l = &lines[i];
        ck_assert_str_eq(l->domain, "qwen3-parity");
        if (is(l, "string")) ck_assert_msg(count("string", l->name) == 1, "%s is registered again", l->name);
        if (is(l, "push")) {
            ck_assert_msg(!strcmp(l->kind, "registered"), "%s is pushed as text", l->name);
            ck_assert_int_eq(count("string", l->name), 1);
        }
        domains += is(l, "domain");
        schemas += is(l, "schema");
        if (is(l, "schema")) ck_assert_str_eq(l->fields, "layer:int64,position:int64,bytes:uint64");
    }
    ck_assert_int_eq(domains, 1);
    ck_assert_int_eq(schemas, 1);
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        ck_assert_int_eq(count("category", categories[i]), 1);
    free(lines);
}
END_TEST

START_TEST(test_ranges_are_balanced)
{
    int depth = 0;
    generate_with_tool("");
    for (int i = 0; i < line_count; i++) {
        if (is(&lines[i], "push")) ck_assert_int_eq(lines[i].depth, depth++);
        if (is(&lines[i], "pop")) ck_assert_int_eq(lines[i].depth, --depth);
        ck_assert_int_ge(depth, 0);
    }
    ck_assert_int_eq(depth, 0);
    free(lines);
}
END_TEST

/* The number that the tool knows this category by. */
static int64_t category(const char *name)
{
    for (int i = 0; i < line_count; i++)
        if (is(&lines[i], "category") && !strcmp(lines[i].name, name)) return lines[i].category;
    ck_abort_msg("there is no category %s", name);
    return 0;
}

/* From lines[at] on, the next range of a pass or of a node: other ranges may lie between. */
static int next_of_model(int at)
{
    const int64_t model_category = category("model"), kernel = category("kernel");
    while (at < line_count &&
           !(is(&lines[at], "push") && (lines[at].category == model_category || lines[at].category == kernel)))
        at++;
    return at;
}

static uint64_t bytes_of(const qp_plan_node *node)
{
    qp_call call = { .params = node->params };
    memcpy(call.extent, node->extent, sizeof call.extent);
    return qp_operation_cost(node->operation, &call).bytes;
}

/* One pass from lines[at] on; returns the line behind it. */
static int check_pass(int at, const char *name, const qp_plan *plan)
{
    int64_t layer = 0, position = 0;
    at = next_of_model(at);
    ck_assert_msg(at < line_count, "the %s at position %" PRId64 " has no range", name, plan->past);
    const line *const pass = &lines[at];
    ck_assert_str_eq(pass->name, name);
    ck_assert_int_eq(pass->category, category("model"));
    ck_assert_int_eq(sscanf(pass->fields, "layer=%" SCNd64 ",position=%" SCNd64, &layer, &position), 2);
    ck_assert_int_eq(layer, -1);
    ck_assert_int_eq(position, plan->past);
    for (int n = 0; n < plan->node_count; n++) {
        const qp_plan_node *node = &plan->nodes[n];
        char fields[128];
        snprintf(fields, sizeof fields, "layer=%d,position=%" PRId64 ",bytes=%" PRIu64, node->layer, plan->past,
                 bytes_of(node));
        at = next_of_model(at + 1);
        ck_assert_msg(at < line_count, "%s has no range", node->name);
        ck_assert_str_eq(lines[at].name, node->name);
        ck_assert_int_eq(lines[at].category, category("kernel"));
        ck_assert_int_eq(lines[at].depth, pass->depth + 1);
        ck_assert_str_eq(lines[at].fields, fields);
    }
    /* The pass ends behind its last node. */
    while (++at < line_count && !(is(&lines[at], "pop") && lines[at].depth == pass->depth))
        ck_assert(is(&lines[at], "pop") || lines[at].category != category("kernel"));
    ck_assert_int_lt(at, line_count);
    return at + 1;
}

START_TEST(test_every_node_of_every_pass_is_one_range_in_the_order_of_the_plan)
{
    qp_model model;
    qp_tokenizer *tokenizer = NULL;
    qp_plan prompt, decode;
    int64_t *ids = NULL, tokens = 0;
    ck_assert_msg(qp_model_open(MODEL, &model) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_tokenizer_open(MODEL, &tokenizer) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_tokenizer_encode(tokenizer, PROMPT, (int64_t)strlen(PROMPT), &ids, &tokens), QP_OK);
    const int64_t capacity = tokens + NEW_TOKENS;
    const qp_plan_options of_prompt = { .tokens = tokens, .capacity = capacity, .last_logits_only = true };
    const qp_plan_options of_decode = { .tokens = 1, .capacity = capacity, .last_logits_only = true };
    ck_assert_msg(qp_plan_open(&model, of_prompt, &prompt) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_plan_open(&model, of_decode, &decode) == QP_OK, "%s", qp_last_error());

    generate_with_tool("");
    int at = check_pass(0, "prefill", &prompt);
    for (int step = 1; step < NEW_TOKENS; step++) { /* the prompt's pass gives the first new token */
        ck_assert_int_eq(qp_plan_set_past(&decode, tokens + step - 1), QP_OK);
        at = check_pass(at, "decode", &decode);
    }
    ck_assert_int_eq(next_of_model(at), line_count);

    free(lines);
    qp_plan_close(&decode);
    qp_plan_close(&prompt);
    free(ids);
    qp_tokenizer_close(tokenizer);
    qp_model_close(&model);
}
END_TEST

START_TEST(test_a_tool_without_schemas_is_given_the_bytes)
{
    int nodes = 0;
    generate_with_tool("QP_NVTX_PLAIN=1");
    for (int i = 0; i < line_count; i++) {
        uint64_t bytes = 0;
        ck_assert(!is(&lines[i], "schema"));
        if (!is(&lines[i], "push") || lines[i].category != category("kernel")) continue;
        ck_assert_int_eq(sscanf(lines[i].fields, "uint64=%" SCNu64, &bytes), 1);
        ck_assert_uint_gt(bytes, 0);
        nodes++;
    }
    ck_assert_int_gt(nodes, 0);
    free(lines);
}
END_TEST

START_TEST(test_a_tool_changes_no_output)
{
    char plain_out[sizeof out], plain_err[sizeof err];
    generate("");
    ck_assert_ptr_nonnull(strstr(out, "Flub"));
    memcpy(plain_out, out, sizeof out);
    memcpy(plain_err, err, sizeof err);
    generate_with_tool("");
    free(lines);
    ck_assert_str_eq(out, plain_out);
    ck_assert_str_eq(err, plain_err);
    generate("NVTX_INJECTION64_PATH=/no/such/tool.so");
    ck_assert_str_eq(out, plain_out);
    ck_assert_str_eq(err, plain_err);
    generate("NVTX_INJECTION64_PATH='" QP_NVTX_INJECTION "'"); /* it has no file to write to, and so refuses */
    ck_assert_str_eq(out, plain_out);
    ck_assert_str_eq(err, plain_err);
}
END_TEST

/* ---- In this process. NVTX looks for a tool once, so these need the processes of their own that Check gives. ---- */

START_TEST(test_without_a_tool_nothing_happens)
{
    ck_assert_int_eq(unsetenv("NVTX_INJECTION64_PATH"), 0);
    ck_assert(!qp_trace_is_on());
    qp_trace_push(QP_TRACE_BENCH, "range", -1, 0, 0);
    qp_trace_pop();
    qp_trace_pop(); /* one too many harms nobody */
}
END_TEST

START_TEST(test_names_are_told_apart_by_their_text)
{
    enum { NAMES = 5000 };
    char log[600], name[64];
    files_clear();
    snprintf(log, sizeof log, "%s", files_path("log"));
    ck_assert_int_eq(setenv("NVTX_INJECTION64_PATH", QP_NVTX_INJECTION, 1), 0);
    ck_assert_int_eq(setenv("QP_NVTX_LOG", log, 1), 0);
    ck_assert_int_eq(unsetenv("QP_NVTX_PLAIN"), 0);
    ck_assert(qp_trace_is_on());
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < NAMES; i++) { /* always the same address */
            snprintf(name, sizeof name, "name.%d", i);
            qp_trace_push(QP_TRACE_IO, name, i, round, UINT64_MAX);
            qp_trace_pop();
        }
    read_log();
    int strings = 0, pushes = 0;
    for (int i = 0; i < line_count; i++) {
        char fields[128];
        strings += is(&lines[i], "string");
        if (!is(&lines[i], "push")) continue;
        snprintf(name, sizeof name, "name.%d", pushes % NAMES);
        snprintf(fields, sizeof fields, "layer=%d,position=%d,bytes=%" PRIu64, pushes % NAMES, pushes / NAMES,
                 UINT64_MAX);
        ck_assert_str_eq(lines[i].name, name);
        ck_assert_str_eq(lines[i].fields, fields);
        ck_assert_str_eq(lines[i].kind, "registered");
        pushes++;
    }
    ck_assert_int_eq(strings, NAMES);
    ck_assert_int_eq(pushes, 2 * NAMES);
    free(lines);
}
END_TEST

static Suite *trace_suite(void)
{
    Suite *suite = suite_create("trace");
    TCase *told = tcase_create("told");
    tcase_add_unchecked_fixture(told, files_setup, files_teardown);
    tcase_set_timeout(told, 120);
    tcase_add_test(told, test_everything_is_registered_once);
    tcase_add_test(told, test_ranges_are_balanced);
    tcase_add_test(told, test_every_node_of_every_pass_is_one_range_in_the_order_of_the_plan);
    tcase_add_test(told, test_a_tool_without_schemas_is_given_the_bytes);
    tcase_add_test(told, test_a_tool_changes_no_output);
    suite_add_tcase(suite, told);
    TCase *in_process = tcase_create("in_process");
    tcase_add_unchecked_fixture(in_process, files_setup, files_teardown);
    tcase_set_timeout(in_process, 60);
    tcase_add_test(in_process, test_without_a_tool_nothing_happens);
    tcase_add_test(in_process, test_names_are_told_apart_by_their_text);
    suite_add_tcase(suite, in_process);
    return suite;
}

int main(void) { return qp_check_main(trace_suite()); }
