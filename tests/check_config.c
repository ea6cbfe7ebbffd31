/* config.json and generation_config.json: what is read, and which models are refused and how. */
#include <check.h>

#include "../model/config.h"
#include "check_files.h"
#include "check_main.h"

Suite *config_suite(void);

/* A small Qwen3 as transformers writes it, one member a line. */
static const struct {
    const char *key, *value;
} base[] = {
    { "model_type", "\"qwen3\"" },
    { "torch_dtype", "\"bfloat16\"" },
    { "hidden_act", "\"silu\"" },
    { "attention_bias", "false" },
    { "use_sliding_window", "false" },
    { "hidden_size", "256" },
    { "intermediate_size", "768" },
    { "num_hidden_layers", "4" },
    { "num_attention_heads", "4" },
    { "num_key_value_heads", "2" },
    { "head_dim", "128" },
    { "vocab_size", "2048" },
    { "max_position_embeddings", "4096" },
    { "rms_norm_eps", "1e-06" },
    { "rope_theta", "1000000" },
    { "rope_scaling", "null" },
    { "tie_word_embeddings", "true" },
    { "bos_token_id", "2043" },
    { "eos_token_id", "2045" },
};
enum { BASE = sizeof base / sizeof base[0] };

/* The base with `key` left out, and put in with `value` unless that is NULL. */
static const char *changed(const char *key, const char *value)
{
    static char text[4096];
    size_t length = 0;
    const char *separator = "{";
    for (int i = 0; i < BASE; i++) {
        if (key != NULL && strcmp(base[i].key, key) == 0) continue;
        length += (size_t)snprintf(text + length, sizeof text - length, "%s\"%s\": %s", separator, base[i].key,
                                   base[i].value);
        separator = ",\n";
    }
    if (key != NULL && value != NULL)
        length += (size_t)snprintf(text + length, sizeof text - length, ",\n\"%s\": %s", key, value);
    (void)snprintf(text + length, sizeof text - length, "}");
    return text;
}

static qp_config read_changed(const char *key, const char *value)
{
    qp_config config;
    const qp_status status = qp_config_from_json_text(changed(key, value), "config", &config);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    return config;
}

static void expect_failure(qp_status status, qp_status wanted, const char *part)
{
    ck_assert_msg(status == wanted, "%s where %s is wanted", qp_status_name(status), qp_status_name(wanted));
    ck_assert_msg(strstr(qp_last_error(), part) != NULL, "'%s' does not say '%s'", qp_last_error(), part);
}

START_TEST(test_config_reads_every_field)
{
    const qp_config c = read_changed(NULL, NULL);
    ck_assert_int_eq(c.hidden_size, 256);
    ck_assert_int_eq(c.intermediate_size, 768);
    ck_assert_int_eq(c.num_hidden_layers, 4);
    ck_assert_int_eq(c.num_attention_heads, 4);
    ck_assert_int_eq(c.num_key_value_heads, 2);
    ck_assert_int_eq(c.head_dim, 128);
    ck_assert_int_eq(c.vocab_size, 2048);
    ck_assert_int_eq(c.max_position_embeddings, 4096);
    ck_assert(c.rms_norm_eps == 1e-6f);
    ck_assert(c.rope_theta == 1e6);
    ck_assert(c.tie_word_embeddings);
    ck_assert_str_eq(c.dtype, "bfloat16");
    ck_assert_int_eq(c.bos_id, 2043);
    ck_assert_int_eq(c.eos_count, 1);
    ck_assert_int_eq(c.eos_ids[0], 2045);
    ck_assert(!c.do_sample && c.temperature == 1.0 && c.top_k == 0 && c.top_p == 1.0);
}
END_TEST

START_TEST(test_config_spellings)
{
    qp_config c = read_changed("head_dim", NULL); /* the default of transformers' Qwen3Config, whatever the sizes */
    ck_assert_int_eq(c.head_dim, 128);
    c = read_changed("head_dim", "null");
    ck_assert_int_eq(c.head_dim, 128);
    /* The newer place of theta wins over the older, which newer files may keep with its default. */
    c = read_changed("rope_parameters", "{\"rope_theta\": 5e6, \"rope_type\": \"default\"}");
    ck_assert(c.rope_theta == 5e6);
    c = read_changed("rope_scaling", "{\"type\": \"default\"}");
    ck_assert(c.rope_theta == 1e6);
    c = read_changed("dtype", "\"bfloat16\"");
    ck_assert_str_eq(c.dtype, "bfloat16");
    c = read_changed("torch_dtype", "\"torch.bfloat16\"");
    ck_assert_str_eq(c.dtype, "bfloat16");
    c = read_changed("torch_dtype", NULL);
    ck_assert_str_eq(c.dtype, "bfloat16");
    c = read_changed("tie_word_embeddings", NULL);
    ck_assert(!c.tie_word_embeddings);
    c = read_changed("bos_token_id", "null");
    ck_assert_int_eq(c.bos_id, -1);
    c = read_changed("eos_token_id", NULL);
    ck_assert_int_eq(c.eos_count, 0);
    c = read_changed("eos_token_id", "[1, 2, 3, 4, 5, 6, 7, 8]");
    ck_assert_int_eq(c.eos_count, 8);
    ck_assert_int_eq(c.eos_ids[7], 8);
    c = read_changed("layer_types", "[\"full_attention\", \"full_attention\"]");
    ck_assert_int_eq(c.num_hidden_layers, 4);
}
END_TEST

static const struct {
    const char *key, *value;
    qp_status status;
    const char *part;
} refusals[] = {
    { "model_type", "\"llama\"", QP_UNSUPPORTED, "model_type in config is \"llama\", but only \"qwen3\"" },
    { "model_type", "\"qwen3_moe\"", QP_UNSUPPORTED, "qwen3_moe" },
    { "model_type", NULL, QP_FORMAT, "model_type is missing from config" },
    { "attention_bias", "true", QP_UNSUPPORTED, "attention_bias in config is true" },
    { "attention_bias", "1", QP_FORMAT, "attention_bias in config is a number" },
    { "use_sliding_window", "true", QP_UNSUPPORTED, "use_sliding_window" },
    { "mlp_bias", "true", QP_UNSUPPORTED, "mlp_bias" },
    { "layer_types", "[\"full_attention\", \"sliding_attention\"]", QP_UNSUPPORTED, "sliding_attention" },
    { "layer_types", "[1]", QP_FORMAT, "layer_types[0] in config is a number" },
    { "quantization_config", "{\"bits\": 4}", QP_UNSUPPORTED, "quantized" },
    { "hidden_act", "\"gelu\"", QP_UNSUPPORTED, "hidden_act in config is \"gelu\"" },
    { "torch_dtype", "\"float16\"", QP_UNSUPPORTED, "dtype in config is \"float16\"" },
    { "dtype", "\"float32\"", QP_UNSUPPORTED, "dtype in config is \"float32\"" },
    { "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 4.0}", QP_UNSUPPORTED, "rope type \"yarn\"" },
    { "rope_scaling", "{\"type\": \"linear\"}", QP_UNSUPPORTED, "rope type \"linear\"" },
    { "rope_scaling", "\"yarn\"", QP_FORMAT, "rope_scaling in config is neither null nor an object" },
    { "rope_parameters", "{\"rope_type\": \"yarn\", \"rope_theta\": 1e6}", QP_UNSUPPORTED, "rope_parameters" },
    { "rope_parameters", "{\"partial_rotary_factor\": 0.5, \"rope_theta\": 1e6}", QP_UNSUPPORTED,
      "partial_rotary_factor" },
    { "rope_parameters", "[]", QP_FORMAT, "rope_parameters in config is neither" },
    { "rope_parameters", "{\"rope_theta\": \"big\"}", QP_FORMAT, "rope_parameters.rope_theta in config is a string" },
    { "rope_theta", NULL, QP_FORMAT, "rope_theta is missing from config" },
    { "rope_theta", "0", QP_FORMAT, "rope_theta in config is 0" },
    { "rope_theta", "-1e6", QP_FORMAT, "rope_theta in config is -1e+06" },
    { "rope_theta", "1e999", QP_FORMAT, "rope_theta in config is too large" },
    { "rope_theta", "\"nan\"", QP_FORMAT, "rope_theta in config is nan" },
    { "rms_norm_eps", "0", QP_FORMAT, "rms_norm_eps in config is 0" },
    { "rms_norm_eps", "\"inf\"", QP_FORMAT, "rms_norm_eps in config is inf" },
    { "rms_norm_eps", NULL, QP_FORMAT, "rms_norm_eps is missing" },
    { "num_key_value_heads", "3", QP_FORMAT, "num_attention_heads 4 in config is not a multiple" },
    { "num_key_value_heads", "0", QP_FORMAT, "num_key_value_heads in config is 0" },
    { "num_key_value_heads", NULL, QP_FORMAT, "num_key_value_heads is missing" },
    { "layer_types", "\"sliding_attention\"", QP_FORMAT, "layer_types in config is neither null nor a list" },
    { "head_dim", "127", QP_FORMAT, "head_dim 127 in config is odd" },
    { "head_dim", "0", QP_FORMAT, "head_dim in config is 0" },
    { "head_dim", "-128", QP_FORMAT, "head_dim in config is -128" },
    { "num_attention_heads", "1e15", QP_FORMAT, "num_attention_heads in config is 1000000000000000" },
    { "hidden_size", "256.5", QP_FORMAT, "hidden_size in config is 256.5, but a whole number" },
    { "hidden_size", "\"256\"", QP_FORMAT, "hidden_size in config is a string" },
    { "hidden_size", "16777217", QP_FORMAT, "hidden_size in config is 16777217" },
    { "hidden_size", "1e300", QP_FORMAT, "hidden_size in config is 1" },
    { "intermediate_size", "[]", QP_FORMAT, "intermediate_size in config is an array" },
    { "num_hidden_layers", "1025", QP_FORMAT, "num_hidden_layers in config is 1025, but must be between 1 and 1024" },
    { "num_hidden_layers", NULL, QP_FORMAT, "num_hidden_layers is missing from config" },
    { "vocab_size", "0", QP_FORMAT, "vocab_size in config is 0" },
    { "max_position_embeddings", "-1", QP_FORMAT, "max_position_embeddings in config is -1" },
    { "tie_word_embeddings", "\"yes\"", QP_FORMAT, "tie_word_embeddings in config is a string" },
    { "bos_token_id", "2048", QP_FORMAT, "bos_token_id in config is 2048, but the vocabulary has 2048" },
    { "eos_token_id", "-1", QP_FORMAT, "eos_token_id in config is -1" },
    { "eos_token_id", "[1, \"2\"]", QP_FORMAT, "eos_token_id[1] in config is a string" },
    { "eos_token_id", "[1, 2, 3, 4, 5, 6, 7, 8, 9]", QP_UNSUPPORTED, "more than 8" },
};

START_TEST(test_config_refuses_in_a_sentence)
{
    qp_config config;
    const qp_status status = qp_config_from_json_text(changed(refusals[_i].key, refusals[_i].value), "config", &config);
    static const qp_config zero;
    expect_failure(status, refusals[_i].status, refusals[_i].part);
    ck_assert_mem_eq(&config, &zero, sizeof zero);
}
END_TEST

START_TEST(test_config_text_that_is_no_object)
{
    qp_config config;
    expect_failure(qp_config_from_json_text("[]", "the golden's model_config", &config), QP_FORMAT,
                   "the value in the golden's model_config is an array, but an object is needed");
    expect_failure(qp_config_from_json_text("{", "config", &config), QP_FORMAT, "not valid JSON");
    expect_failure(qp_config_from_json_text("", "config", &config), QP_FORMAT, "not valid JSON");
}
END_TEST

/* ---- Folders ---- */

START_TEST(test_config_generation_config_wins)
{
    qp_config c;
    files_clear();
    files_write_text("config.json", changed(NULL, NULL));
    ck_assert_int_eq(qp_config_read(files_dir, &c), QP_OK);
    ck_assert_int_eq(c.eos_count, 1);
    ck_assert(!c.do_sample);

    files_write_text("generation_config.json",
                     "{\"bos_token_id\": 1, \"eos_token_id\": [2045, 2043], \"do_sample\": true, \"temperature\": 0.6,"
                     " \"top_k\": 20, \"top_p\": 0.95}");
    ck_assert_int_eq(qp_config_read(files_dir, &c), QP_OK);
    ck_assert_int_eq(c.bos_id, 1);
    ck_assert_int_eq(c.eos_count, 2);
    ck_assert_int_eq(c.eos_ids[0], 2045);
    ck_assert_int_eq(c.eos_ids[1], 2043);
    ck_assert(c.do_sample && c.temperature == 0.6 && c.top_k == 20 && c.top_p == 0.95);

    files_write_text("generation_config.json", "{}");
    ck_assert_int_eq(qp_config_read(files_dir, &c), QP_OK);
    ck_assert_int_eq(c.bos_id, 2043);
    ck_assert_int_eq(c.eos_ids[0], 2045);
    ck_assert(!c.do_sample && c.temperature == 1.0 && c.top_k == 0 && c.top_p == 1.0);
}
END_TEST

static const struct {
    const char *text, *part;
} bad_generation[] = {
    { "{\"temperature\": -1}", "temperature in" },
    { "{\"temperature\": \"nan\"}", "temperature in" },
    { "{\"top_k\": -1}", "top_k in" },
    { "{\"top_p\": 0}", "top_p in" },
    { "{\"top_p\": 1.5}", "top_p in" },
    { "{\"do_sample\": 1}", "do_sample in" },
    { "{\"eos_token_id\": [5000]}", "eos_token_id in" },
    { "[]", "an object is needed" },
    { "{", "not valid JSON" },
    { "", "generation_config.json is empty" },
};

START_TEST(test_config_bad_generation_config)
{
    qp_config config;
    files_clear();
    files_write_text("config.json", changed(NULL, NULL));
    files_write_text("generation_config.json", bad_generation[_i].text);
    expect_failure(qp_config_read(files_dir, &config), QP_FORMAT, bad_generation[_i].part);
    ck_assert_int_eq(config.hidden_size, 0);
}
END_TEST

START_TEST(test_config_files_that_are_none)
{
    qp_config config;
    files_clear();
    expect_failure(qp_config_read(files_dir, &config), QP_IO, "config.json cannot be opened: No such file");
    expect_failure(qp_config_read("/nowhere/at/all", &config), QP_IO, "/nowhere/at/all/config.json cannot be opened");
    files_make_folder("config.json");
    expect_failure(qp_config_read(files_dir, &config), QP_IO, "config.json is a folder");
    files_clear();
    files_write_text("config.json", "");
    expect_failure(qp_config_read(files_dir, &config), QP_FORMAT, "config.json is empty");
}
END_TEST

START_TEST(test_config_of_the_embedded_model)
{
    qp_config c;
    const qp_status status = qp_config_read(QP_SOURCE_DIR "/golden/qwen3-tiny", &c);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(c.head_dim, 128);
    ck_assert_int_gt(c.num_attention_heads, c.num_key_value_heads);
    ck_assert_int_ne(c.num_attention_heads * c.head_dim, c.hidden_size);
    ck_assert(c.tie_word_embeddings);
    ck_assert(c.rms_norm_eps == 1e-6f && c.rope_theta == 1e6);
    ck_assert_int_ge(c.eos_count, 1);
}
END_TEST

/* ---- Differences ---- */

START_TEST(test_config_difference_names_the_field)
{
    static const struct {
        const char *key, *value;
    } changes[] = {
        { "hidden_size", "512" },       { "intermediate_size", "512" },        { "num_hidden_layers", "5" },
        { "num_attention_heads", "8" }, { "num_key_value_heads", "1" },        { "head_dim", "64" },
        { "vocab_size", "4096" },       { "max_position_embeddings", "8192" }, { "rms_norm_eps", "1e-5" },
        { "rope_theta", "1e4" },        { "tie_word_embeddings", "false" },
    };
    const qp_config a = read_changed(NULL, NULL);
    qp_config b = a;
    ck_assert_ptr_null(qp_config_difference(&a, &b));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        b = read_changed(changes[i].key, changes[i].value);
        ck_assert_ptr_nonnull(qp_config_difference(&a, &b));
        ck_assert_str_eq(qp_config_difference(&a, &b), changes[i].key);
        ck_assert_str_eq(qp_config_difference(&b, &a), changes[i].key);
    }
    b = read_changed("eos_token_id", "1");
    ck_assert_ptr_null(qp_config_difference(&a, &b));
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *text = tcase_create("text");
    tcase_add_test(text, test_config_reads_every_field);
    tcase_add_test(text, test_config_spellings);
    tcase_add_loop_test(text, test_config_refuses_in_a_sentence, 0, (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(text, test_config_text_that_is_no_object);
    tcase_add_test(text, test_config_difference_names_the_field);
    suite_add_tcase(suite, text);

    TCase *folder = tcase_create("folder");
    tcase_add_unchecked_fixture(folder, files_setup, files_teardown);
    tcase_add_test(folder, test_config_generation_config_wins);
    tcase_add_loop_test(folder, test_config_bad_generation_config, 0,
                        (int)(sizeof bad_generation / sizeof bad_generation[0]));
    tcase_add_test(folder, test_config_files_that_are_none);
    tcase_add_test(folder, test_config_of_the_embedded_model);
    suite_add_tcase(suite, folder);
    return suite;
}

int main(void) { return qp_check_main(config_suite()); }
