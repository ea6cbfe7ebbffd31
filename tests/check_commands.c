/* The program as a user runs it: exit codes, one sentence for each error, and no half work on bad input. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/device.h"
#include "check_program.h"

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"
#define GOLDEN QP_SOURCE_DIR "/golden/qwen3-tiny.h5"

static int run(const char *arguments) { return run_in("", arguments); }

/* One line on stderr: "qwen3-parity: sentence." */
static void assert_one_sentence(const char *arguments)
{
    const size_t length = strlen(err);
    ck_assert_msg(!strncmp(err, "qwen3-parity: ", 14), "%s: %s", arguments, err);
    ck_assert_msg(length > 20 && err[length - 1] == '\n' && err[length - 2] == '.' && err[length - 3] != '.', "%s: %s",
                  arguments, err);
    ck_assert_msg(strchr(err, '\n') == err + length - 1, "%s: more than one line: %s", arguments, err);
}

static void assert_refused(const char *arguments, int code, const char *mentions)
{
    const int got = run(arguments);
    ck_assert_msg(got == code, "%s: exit code %d, not %d; %s", arguments, got, code, err);
    assert_one_sentence(arguments);
    ck_assert_msg(strstr(err, mentions) != NULL, "%s: no word of '%s' in: %s", arguments, mentions, err);
}

/* ---- Help and usage ---- */

START_TEST(test_help_names_every_command_and_its_options)
{
    static const char *const commands[] = { "verify",  "generate", "coherence", "bench", "report",
                                            "compare", "probe",    "list",      "info" };
    ck_assert_int_eq(run("--help"), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char arguments[64];
        ck_assert_int_eq(run("--help"), 0);
        ck_assert_ptr_nonnull(strstr(out, commands[i]));
        snprintf(arguments, sizeof arguments, "%s --help", commands[i]);
        ck_assert_int_eq(run(arguments), 0);
        ck_assert_ptr_nonnull(strstr(out, "--help"));
        ck_assert_ptr_nonnull(strstr(out, commands[i]));
    }
    ck_assert_int_eq(run("--version"), 0);
    ck_assert_ptr_nonnull(strstr(out, "qwen3-parity "));
}
END_TEST

START_TEST(test_usage_errors_are_exit_code_2)
{
    static const struct {
        const char *arguments, *mentions;
    } cases[] = {
        { "nonsense", "nonsense" },
        { "verify --nonsense", "--nonsense" },
        { "verify stray", "stray" },
        { "verify --only", "--only" },
        { "verify --rows=yes", "--rows" },
        { "verify --backend tpu", "tpu" },
        { "verify --plan other", "other" },
        { "verify --fuse nonsense", "rmsnorm_qkv, gqa_attention" },
        { "verify --fuse o_residual,nonsense", "'nonsense'" },
        { "verify --fuse o_residual --fuse ''", "down_residual" },
        { "verify --plan reference --fuse o_residual", "--fuse" },
        { "generate --prompt x --fuse nonsense", "lm_head_argmax" },
        { "coherence --plan other", "other" },
        { "bench --fuse nonsense", "lm_head_argmax" },
        { "verify --impl linear", "linear" },
        { "verify --impl linear=nonsense", "contract" },
        { "verify --fault nonsense", "nonsense" },
        { "verify --model '" MODEL "'", "--golden" },
        { "verify --fault residual-before-cast", "linear_residual" }, /* not in the reference plan */
        { "verify --plan fused --fault weight-before-cast", "rms_norm" },
        { "generate --prompt x --plan fused --temperature 1 --fault argmax-in-f32", "lm_head_argmax" },
        { "coherence --plan fused --fault argmax-in-f32", "lm_head_argmax" },
        { "bench --fuse o_residual --fault silu-in-f32", "rmsnorm_gate_up_silu" },
        { "generate", "--prompt" },
        { "generate --prompt ''", "--prompt" },
        { "generate --prompt x --max-tokens 0", "--max-tokens" },
        { "generate --prompt x --max-tokens many", "many" },
        { "generate --prompt x --temperature -2", "--temperature" },
        { "generate --prompt x --top-p 1.5", "--top-p" },
        { "generate --prompt x --system y", "--chat" },
        { "bench --shape 0.6b", "qwen3-0.6b" },
        { "bench --layers 1", "--shape" },
        { "bench --context -1", "--context" },
        { "bench --golden x.h5", "--model" },
        { "report", "FILE.json" },
        { "report a.json b.json c.json", "c.json" },
        { "compare a.json", "NEW.json" },
        { "compare a.json b.json --max-slow-down 0.5", "--max-slow-down" },
        { "verify --run a", "--gate" },
        { "verify --gate a.json --only '*'", "--only" },
        { "verify --gate a.json --plan fused", "--plan" },
        { "verify --gate a.json --json b.json", "--report" },
        { "verify --report ''", "empty" },
        { "bench --profile --html a.html", "--html" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_refused(cases[i].arguments, 2, cases[i].mentions);
    ck_assert_int_eq(run(""), 2);
}
END_TEST

/* ---- What cannot be used ---- */

START_TEST(test_unusable_files_and_devices_are_exit_code_3)
{
    static const struct {
        const char *arguments, *mentions;
    } cases[] = {
        { "generate --prompt x --model /no/such/folder", "/no/such/folder" },
        { "generate --prompt x --model /dev/null", "/dev/null" },
        { "verify --model '" MODEL "' --golden /no/such/file.h5", "/no/such/file.h5" },
        { "verify --model '" MODEL "' --golden '" MODEL "'", "qwen3-tiny" },
        { "verify --model '" MODEL "' --golden '" MODEL "/config.json'", "config.json" },
        { "coherence --prompts /no/such/prompts.json", "/no/such/prompts.json" },
        { "coherence --prompts '" MODEL "/config.json'", "schema" },
        { "info --model /no/such/folder", "/no/such/folder" },
        { "list --golden /no/such/file.h5", "/no/such/file.h5" },
        { "verify --json /no/such/folder/report.json --only 'one_token/*next_token'", "/no/such/folder" },
        { "verify --report /dev/null/folder", "/dev/null/folder" },
        { "verify --gate /no/such/gate.json", "/no/such/gate.json" },
        { "verify --gate '" MODEL "/config.json'", "config.json" },
        { "report /no/such/report.json", "/no/such/report.json" },
        { "report '" MODEL "/config.json'", "schema" },
        { "compare '" MODEL "/config.json' /no/such/report.json", "config.json" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_refused(cases[i].arguments, 3, cases[i].mentions);
}
END_TEST

/* With a card it works, and without one it is refused in one sentence. */
START_TEST(test_the_cuda_backend_needs_a_card)
{
    if (has_card()) {
        ck_assert_int_eq(run("verify --backend cuda"), 0);
        return;
    }
    assert_refused("verify --backend cuda", 3, "CUDA");
    assert_refused("generate --prompt x --backend cuda", 3, "CUDA");
    assert_refused("bench --backend cuda --phase decode", 3, "CUDA");
}
END_TEST

/* Copies the embedded model into the test's folder, after which the tests change one thing. */
static void copy_model(void)
{
    char command[2048];
    files_clear();
    snprintf(command, sizeof command, "cp '" MODEL "'/*.json '" MODEL "/model.safetensors' '%s'", files_dir);
    ck_assert_int_eq(system(command), 0);
}

static void replace_in(const char *name, const char *from, const char *to)
{
    char *const text = files_read(files_path(name), NULL), *const at = strstr(text, from);
    ck_assert_msg(at != NULL, "%s holds no '%s'", name, from);
    FILE *const file = fopen(files_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    fclose(file);
    free(text);
}

static void assert_model_refused(const char *mentions)
{
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "generate --prompt x --model '%s'", files_dir);
    assert_refused(arguments, 3, mentions);
    snprintf(arguments, sizeof arguments, "verify --model '%s' --golden '" GOLDEN "'", files_dir);
    assert_refused(arguments, 3, mentions);
}

START_TEST(test_broken_models_are_refused)
{
    copy_model();
    replace_in("config.json", "{", "{,");
    assert_model_refused("config.json");

    copy_model();
    replace_in("config.json", "\"model_type\": \"qwen3\"", "\"model_type\": \"llama\"");
    assert_model_refused("llama");

    copy_model();
    ck_assert_int_eq(unlink(files_path("model.safetensors")), 0);
    assert_model_refused("model.safetensors");

    copy_model();
    ck_assert_int_eq(truncate(files_path("model.safetensors"), 100000), 0);
    assert_model_refused("model.safetensors");

    copy_model();
    replace_in("config.json", "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5");
    assert_model_refused("model.layers.4.");

    copy_model();
    replace_in("config.json", "\"hidden_size\": 256", "\"hidden_size\": 384");
    assert_model_refused("256");
}
END_TEST

START_TEST(test_a_golden_of_another_model_is_refused)
{
    char arguments[2048];
    copy_model();
    FILE *file = fopen(files_path("model.safetensors"), "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, -1000, SEEK_END), 0); /* one bit of one weight */
    const int byte = fgetc(file);
    ck_assert_int_eq(fseek(file, -1000, SEEK_END), 0);
    fputc(byte ^ 1, file);
    fclose(file);
    snprintf(arguments, sizeof arguments, "verify --model '%s' --golden '" GOLDEN "'", files_dir);
    assert_refused(arguments, 3, "another model");

    copy_model();
    replace_in("config.json", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 1e-05");
    assert_refused(arguments, 3, "rms_norm_eps");
}
END_TEST

START_TEST(test_a_truncated_golden_is_refused)
{
    char arguments[2048], command[2048];
    static const long sizes[] = { 0, 7, 100, 4096, 1000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        files_clear();
        snprintf(command, sizeof command, "cp '" GOLDEN "' '%s/golden.h5'", files_dir);
        ck_assert_int_eq(system(command), 0);
        ck_assert_int_eq(truncate(files_path("golden.h5"), sizes[i]), 0);
        snprintf(arguments, sizeof arguments, "verify --model '" MODEL "' --golden '%s/golden.h5'", files_dir);
        assert_refused(arguments, 3, "golden.h5");
    }
}
END_TEST

START_TEST(test_a_huge_prompt_is_refused)
{
    /* More tokens than the model has positions. */
    ck_assert_int_eq(run("generate --prompt \"$(head -c 100000 /dev/zero | tr '\\0' '7')\""), 3);
    assert_one_sentence("a huge prompt");
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(test_any_bytes_can_be_a_prompt)
{
    ck_assert_int_eq(run("generate --max-tokens 2 --prompt \"$(printf '\\377\\376 \\360\\237\\230')\""), 0);
    ck_assert_int_eq(run("generate --max-tokens 2 --prompt ' '"), 0);
}
END_TEST

/* ---- What it is for ---- */

START_TEST(test_generate_answers)
{
    ck_assert_int_eq(run("generate --prompt 'The capital of Aistonia is Flubarg. What is the capital of Aistonia?'"),
                     0);
    ck_assert_str_eq(out, " Flubarg.\n");
    ck_assert_str_eq(err, "");
    ck_assert_int_eq(
        run("generate --chat --prompt 'The capital of Aistonia is Flubarg. What is the capital of Aistonia?'"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Flubarg"));
}
END_TEST

START_TEST(test_coherence_passes_and_a_fault_fails_it)
{
    ck_assert_int_eq(run("coherence"), 0);
    ck_assert_ptr_nonnull(strstr(out, "PASS"));
    ck_assert_ptr_null(strstr(out, "FAIL"));
    ck_assert_int_eq(run("coherence --fault rope-theta-1e4"), 1);
    ck_assert_ptr_nonnull(strstr(out, "FAIL"));
}
END_TEST

START_TEST(test_verify_tells_by_its_exit_code)
{
    ck_assert_int_eq(run("verify --only 'aistonia/prefill/*'"), 0);
    ck_assert_ptr_nonnull(strstr(out, "PASS"));
    ck_assert_int_eq(run("verify --only 'aistonia/prefill/*' --fault weight-before-cast"), 1);
    ck_assert_ptr_nonnull(strstr(out, "FAIL"));
    ck_assert_ptr_nonnull(strstr(out, "q_norm"));
    ck_assert_int_eq(run("verify --only 'no/such/key'"), 5);
}
END_TEST

/* Saved reports: shown again as they were, and compared. */
START_TEST(test_saved_reports_are_shown_and_compared)
{
    char arguments[2048], good[600], bad[600], times[600];
    (void)snprintf(good, sizeof good, "%s", files_path("good.json"));
    (void)snprintf(bad, sizeof bad, "%s", files_path("bad.json"));
    (void)snprintf(times, sizeof times, "%s", files_path("times.json"));
    (void)snprintf(arguments, sizeof arguments, "verify --only 'aistonia/prefill/*' --json '%s'", good);
    ck_assert_int_eq(run(arguments), 0);
    char *printed = strdup(out);
    ck_assert_ptr_nonnull(printed);
    (void)snprintf(arguments, sizeof arguments, "report '%s'", good);
    ck_assert_int_eq(run(arguments), 0);
    ck_assert_str_eq(out, printed);
    free(printed);
    (void)snprintf(arguments, sizeof arguments,
                   "verify --only 'aistonia/prefill/*' --fault weight-before-cast --json '%s'", bad);
    ck_assert_int_eq(run(arguments), 1);
    (void)snprintf(arguments, sizeof arguments, "report '%s'", bad);
    ck_assert_int_eq(run(arguments), 1);

    (void)snprintf(arguments, sizeof arguments, "compare '%s' '%s'", good, good);
    ck_assert_int_eq(run(arguments), 0);
    (void)snprintf(arguments, sizeof arguments, "compare '%s' '%s' --markdown '%s'", good, bad, files_path("c.md"));
    ck_assert_int_eq(run(arguments), 1);
    /* The first in the plan's order is the kernel with the fault. */
    ck_assert_ptr_nonnull(strstr(out, "\n\nfailing now  aistonia/prefill/model.layers.0.input_layernorm  local\n"));
    char *markdown = files_read(files_path("c.md"), NULL);
    ck_assert_ptr_nonnull(strstr(markdown, "WORSE"));
    free(markdown);
    (void)snprintf(arguments, sizeof arguments, "compare '%s' '%s'", bad, good);
    ck_assert_int_eq(run(arguments), 0);
    ck_assert_ptr_nonnull(strstr(out, "cured"));
    (void)snprintf(arguments, sizeof arguments, "compare --strict '%s' '%s'", bad, good);
    assert_refused(arguments, 3, "--strict");

    (void)snprintf(arguments, sizeof arguments,
                   "bench --phase decode --context 4 --samples 1 --json '%s' --only '*q_norm'", times);
    ck_assert_int_eq(run(arguments), 0);
    (void)snprintf(arguments, sizeof arguments, "compare '%s' '%s'", times, times);
    ck_assert_int_eq(run(arguments), 0);
    (void)snprintf(arguments, sizeof arguments, "compare '%s' '%s'", good, times);
    assert_refused(arguments, 2, "two of a kind");
    (void)snprintf(arguments, sizeof arguments, "report '%s' '%s'", times, good);
    assert_refused(arguments, 2, "then one of bench");
}
END_TEST

/* Each of the four takes the plan, and names it where it reports. */
START_TEST(test_fused_plans_do_the_same_work)
{
    ck_assert_int_eq(run("verify --plan fused --only 'aistonia/prefill/*'"), 0);
    ck_assert_ptr_nonnull(strstr(out, "plan fused, only "));
    ck_assert_ptr_nonnull(strstr(out, "inside fused nodes: 54 tensors of the golden\n"));
    ck_assert_ptr_nonnull(strstr(out, ", 54 inside fused nodes;"));
    ck_assert_int_eq(run("verify --fuse o_residual --fuse gqa_attention,down_residual --only 'aistonia/prefill/*'"), 0);
    ck_assert_ptr_nonnull(strstr(out, "plan fused: gqa_attention, o_residual, down_residual"));
    ck_assert_int_eq(run("verify --plan fused --fuse o_residual --only 'aistonia/prefill/*'"), 0); /* only that */
    ck_assert_ptr_nonnull(strstr(out, "plan fused: o_residual"));
    ck_assert_int_eq(run("verify --plan fused --only '*q_norm'"), 5);
    ck_assert_int_eq(run("verify --plan fused --only 'aistonia/prefill/*' --fault residual-before-cast"), 1);
    ck_assert_ptr_nonnull(strstr(out, "FAIL  aistonia/prefill/model.layers.0.residual_attn"));
    ck_assert_int_eq(run("generate --plan fused --prompt 'The capital of Aistonia is Flubarg. What is the capital of "
                         "Aistonia?'"),
                     0);
    ck_assert_str_eq(out, " Flubarg.\n");
    ck_assert_int_eq(run("generate --fuse lm_head_argmax --temperature 0.5 --max-tokens 2 --prompt x"), 0);
    ck_assert_int_eq(run("coherence --plan fused"), 0);
    ck_assert_ptr_nonnull(strstr(out, "PASS"));
    ck_assert_int_eq(run("bench --fuse rmsnorm_qkv,o_residual --phase decode --samples 3 --only '*.?_residual'"), 0);
    ck_assert_ptr_nonnull(strstr(out, "plan fused: rmsnorm_qkv, o_residual"));
    ck_assert_ptr_nonnull(strstr(out, "model.layers.0.o_residual"));
}
END_TEST

START_TEST(test_list_and_info_tell_what_there_is)
{
    ck_assert_int_eq(run("list"), 0);
    ck_assert_ptr_nonnull(strstr(out, "rms_norm=contract"));
    ck_assert_ptr_nonnull(strstr(out, "weight-before-cast"));
    ck_assert_ptr_nonnull(strstr(out, "down_residual: in place of mlp.down_proj, the layer's output\n"));
    ck_assert_int_eq(run("list --golden embedded"), 0);
    ck_assert_ptr_nonnull(strstr(out, "aistonia/decode.003/model.layers.2.self_attn.q_norm\n"));
    ck_assert_int_eq(run("info"), 0);
    ck_assert_ptr_nonnull(strstr(out, "torch_version"));
}
END_TEST

static Suite *commands_suite(void)
{
    Suite *suite = suite_create("commands");
    TCase *usage = tcase_create("usage");
    tcase_add_unchecked_fixture(usage, files_setup, files_teardown);
    tcase_set_timeout(usage, 120);
    tcase_add_test(usage, test_help_names_every_command_and_its_options);
    tcase_add_test(usage, test_usage_errors_are_exit_code_2);
    suite_add_tcase(suite, usage);
    TCase *unusable = tcase_create("unusable");
    tcase_add_unchecked_fixture(unusable, files_setup, files_teardown);
    tcase_set_timeout(unusable, 120);
    tcase_add_test(unusable, test_unusable_files_and_devices_are_exit_code_3);
    tcase_add_test(unusable, test_the_cuda_backend_needs_a_card);
    tcase_add_test(unusable, test_broken_models_are_refused);
    tcase_add_test(unusable, test_a_golden_of_another_model_is_refused);
    tcase_add_test(unusable, test_a_truncated_golden_is_refused);
    tcase_add_test(unusable, test_a_huge_prompt_is_refused);
    tcase_add_test(unusable, test_any_bytes_can_be_a_prompt);
    suite_add_tcase(suite, unusable);
    TCase *work = tcase_create("work");
    tcase_add_unchecked_fixture(work, files_setup, files_teardown);
    tcase_set_timeout(work, 300);
    tcase_add_test(work, test_generate_answers);
    tcase_add_test(work, test_coherence_passes_and_a_fault_fails_it);
    tcase_add_test(work, test_verify_tells_by_its_exit_code);
    tcase_add_test(work, test_saved_reports_are_shown_and_compared);
    tcase_add_test(work, test_fused_plans_do_the_same_work);
    tcase_add_test(work, test_list_and_info_tell_what_there_is);
    suite_add_tcase(suite, work);
    return suite;
}

int main(void) { return qp_check_main(commands_suite()); }
