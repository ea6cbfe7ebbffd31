/* Safetensors files: good ones, and every way to lie that the parser must see through. */
#include <check.h>
#include <inttypes.h>

#include "../model/checkpoint.h"
#include "check_files.h"
#include "check_main.h"
#include "check_random.h"

Suite *checkpoint_suite(void);

static void expect_failure(qp_status status, qp_status wanted, const char *part)
{
    ck_assert_msg(status == wanted, "%s where %s is wanted (%s)", qp_status_name(status), qp_status_name(wanted),
                  qp_last_error());
    ck_assert_msg(strstr(qp_last_error(), part) != NULL, "'%s' does not say '%s'", qp_last_error(), part);
    ck_assert_ptr_null(strchr(qp_last_error(), '\n'));
}

/* Writes a safetensors file: the header as given, its length before it, then data bytes that count up. */
static void write_tensors(const char *file, const char *header, size_t data_bytes)
{
    const size_t length = strlen(header), size = 8 + length + data_bytes;
    unsigned char *const bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (unsigned char)i;
    files_write(file, bytes, size);
    free(bytes);
}

static qp_checkpoint *open_good(void)
{
    qp_checkpoint *c;
    const qp_status status = qp_checkpoint_open(files_dir, &c);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    return c;
}

static void expect_refusal(qp_status wanted, const char *part)
{
    qp_checkpoint *c;
    expect_failure(qp_checkpoint_open(files_dir, &c), wanted, part);
    ck_assert_ptr_null(c);
}

/* ---- Good files ---- */

START_TEST(test_checkpoint_reads_what_is_there)
{
    static const int64_t shape[2] = { 2, 3 };
    qp_checkpoint *c;
    const qp_bf16 *data;
    files_clear();
    /* In any order, with metadata, a scalar, an empty tensor and padding behind the object. */
    write_tensors("model.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                  "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[8,8]},"
                  "\"count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}     ",
                  20);
    c = open_good();
    ck_assert_int_eq(qp_checkpoint_count(c), 3);
    ck_assert_str_eq(qp_checkpoint_at(c, 0)->name, "count");
    ck_assert_str_eq(qp_checkpoint_at(c, 1)->name, "none");
    ck_assert_str_eq(qp_checkpoint_at(c, 2)->name, "w");
    ck_assert_ptr_null(qp_checkpoint_at(c, 3));
    ck_assert_ptr_null(qp_checkpoint_at(c, -1));
    ck_assert_ptr_null(qp_checkpoint_find(c, "v"));
    ck_assert_int_eq(qp_checkpoint_find(c, "count")->rank, 0);
    ck_assert_int_eq(qp_checkpoint_find(c, "count")->bytes, 8);
    ck_assert_int_eq(qp_checkpoint_find(c, "none")->bytes, 0);
    const qp_checkpoint_tensor *const w = qp_checkpoint_find(c, "w");
    ck_assert_str_eq(w->dtype, "BF16");
    ck_assert_int_eq(w->rank, 2);
    ck_assert_int_eq(w->dims[0], 2);
    ck_assert_int_eq(w->dims[1], 3);
    ck_assert_int_eq(w->bytes, 12);
    ck_assert_int_eq(((const unsigned char *)w->data)[0], 8);
    ck_assert_int_eq(qp_checkpoint_bf16(c, "w", 2, shape, &data), QP_OK);
    ck_assert_ptr_eq(data, w->data);
    ck_assert_int_eq(data[0].bits, 0x0908);
    qp_checkpoint_close(c);
    qp_checkpoint_close(NULL);
}
END_TEST

START_TEST(test_checkpoint_file_of_no_tensors)
{
    files_clear();
    write_tensors("model.safetensors", "{}", 0);
    qp_checkpoint *const c = open_good();
    ck_assert_int_eq(qp_checkpoint_count(c), 0);
    ck_assert_ptr_null(qp_checkpoint_find(c, "w"));
    qp_checkpoint_close(c);
}
END_TEST

START_TEST(test_checkpoint_sha256)
{
    /* Bytes 0x00 .. 0x3F, and the empty message of FIPS 180-4's examples. */
    char hex[65];
    files_clear();
    write_tensors("model.safetensors",
                  "{\"a\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]},"
                  "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[64,64]}}",
                  64);
    qp_checkpoint *const c = open_good();
    ck_assert_int_eq(qp_checkpoint_sha256(qp_checkpoint_find(c, "a"), hex), QP_OK);
    ck_assert_str_eq(hex, "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108");
    ck_assert_int_eq(qp_checkpoint_sha256(qp_checkpoint_find(c, "e"), hex), QP_OK);
    ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    qp_checkpoint_close(c);
}
END_TEST

START_TEST(test_checkpoint_asks_for_dtype_and_shape)
{
    static const int64_t right[2] = { 2, 3 }, swapped[2] = { 3, 2 }, flat[1] = { 6 };
    const qp_bf16 *data;
    files_clear();
    write_tensors("model.safetensors",
                  "{\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
                  "\"h\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[12,24]}}",
                  24);
    qp_checkpoint *const c = open_good();
    expect_failure(qp_checkpoint_bf16(c, "v", 2, right, &data), QP_FORMAT, "v is missing from ");
    ck_assert_ptr_null(data);
    expect_failure(qp_checkpoint_bf16(c, "w", 2, swapped, &data), QP_FORMAT,
                   "is BF16 [2, 3], but BF16 [3, 2] is needed");
    expect_failure(qp_checkpoint_bf16(c, "w", 1, flat, &data), QP_FORMAT, "is BF16 [2, 3], but BF16 [6] is needed");
    expect_failure(qp_checkpoint_bf16(c, "w", 0, NULL, &data), QP_FORMAT, "but BF16 [] is needed");
    expect_failure(qp_checkpoint_bf16(c, "h", 2, right, &data), QP_FORMAT, "is F16 [2, 3], but BF16 [2, 3] is needed");
    expect_failure(qp_checkpoint_bf16(c, "w", 9, NULL, &data), QP_INVALID, "9 dimensions");
    qp_checkpoint_close(c);
}
END_TEST

START_TEST(test_checkpoint_misaligned_bf16_is_refused)
{
    static const int64_t shape[1] = { 1 };
    const qp_bf16 *data;
    files_clear();
    /* The header's length decides where the data begin: an odd one. */
    char header[] = "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}} ";
    if (strlen(header) % 2 == 0) header[strlen(header) - 1] = '\0';
    write_tensors("model.safetensors", header, 2);
    qp_checkpoint *const c = open_good();
    expect_failure(qp_checkpoint_bf16(c, "w", 1, shape, &data), QP_FORMAT, "w in ");
    expect_failure(qp_checkpoint_bf16(c, "w", 1, shape, &data), QP_FORMAT, "does not begin at an even byte");
    qp_checkpoint_close(c);
}
END_TEST

/* ---- Lies ---- */

static const struct {
    const char *header;
    size_t data_bytes;
    qp_status status;
    const char *part;
} lies[] = {
    { "[1]", 0, QP_FORMAT, "does not begin with {" },
    { " {}", 0, QP_FORMAT, "does not begin with {" },
    { "{\"w\":", 0, QP_FORMAT, "not valid JSON" },
    { "{} {}", 0, QP_FORMAT, "more after the end" },
    { "{\"w\":1}", 0, QP_FORMAT, "w in " },
    { "{\"w\":[]}", 0, QP_FORMAT, "an object is needed" },
    { "{\"w\":{}}", 0, QP_FORMAT, "w.dtype is missing" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1]}}", 2, QP_FORMAT, "w.data_offsets is missing" },
    { "{\"w\":{\"dtype\":\"BF16\",\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "w.shape is missing" },
    { "{\"w\":{\"dtype\":16,\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "w.dtype in " },
    { "{\"w\":{\"dtype\":\"BF17\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_UNSUPPORTED, "dtype \"BF17\"" },
    { "{\"w\":{\"dtype\":\"bf16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_UNSUPPORTED, "dtype \"bf16\"" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":1,\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "w.shape in " },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[-1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "negative dimension -1" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1.5],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "w.shape[0] in " },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[\"1\"],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "w.shape[0] in " },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[null],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "is null" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,2]}}", 2, QP_UNSUPPORTED,
      "more than 8 dimensions" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,2]}}", 2, QP_FORMAT,
      "more than 2^63 bytes" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[4503599627370496,2048],\"data_offsets\":[0,0]}}", 0, QP_FORMAT,
      "more than 2^63 bytes" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1e300],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "whole number" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, QP_FORMAT,
      "has 2 bytes, but its shape and dtype need 4" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, QP_FORMAT, "has 4 bytes, but its shape" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]}}", 6, QP_FORMAT,
      "bytes 0 to 8, but the file has 6 bytes of data" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[9007199254740990,9007199254740992]}}", 2, QP_FORMAT,
      "but the file has 2 bytes of data" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[-2,0]}}", 2, QP_FORMAT, "bytes -2 to 0" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,0]}}", 2, QP_FORMAT, "bytes 2 to 0" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0]}}", 2, QP_FORMAT, "are not two numbers" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2,4]}}", 2, QP_FORMAT, "are not two numbers" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[]}}", 2, QP_FORMAT, "are not two numbers" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,\"2\"]}}", 2, QP_FORMAT, "w.data_offsets[1]" },
    { "{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":{\"a\":0,\"b\":2}}}", 2, QP_FORMAT,
      "an array is needed" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[2,6]}}",
      6, QP_FORMAT, "a and b overlap" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}",
      4, QP_FORMAT, "overlap" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
      6, QP_FORMAT, "a and b overlap" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[4,6]}}",
      6, QP_FORMAT, "leaves the bytes 2 to 4 before b unused" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}", 4, QP_FORMAT, "leaves the bytes 0 to 2" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 4, QP_FORMAT,
      "has 4 bytes of data, but its tensors end at 2" },
    { "{}", 2, QP_FORMAT, "has 2 bytes of data, but its tensors end at 0" },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},"
      "\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
      4, QP_FORMAT, "a is in " },
    { "{\"\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "name is empty" },
    { "{\"a\\nb\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "not printable" },
    { "{\"a\\u0000b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "\\u0000" },
    { "{\"a\xFF\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, QP_FORMAT, "not UTF-8" },
};

START_TEST(test_checkpoint_lying_headers_are_refused)
{
    files_clear();
    write_tensors("model.safetensors", lies[_i].header, lies[_i].data_bytes);
    expect_refusal(lies[_i].status, lies[_i].part);
}
END_TEST

START_TEST(test_checkpoint_lying_header_lengths_are_refused)
{
    static const struct {
        uint64_t length;
        const char *part;
    } cases[] = {
        { 0, "says that its header has 0 bytes" },
        { 3, "says that its header has 3 bytes, but 2 follow" },
        { 1, "not valid JSON" },
        { UINT64_C(1) << 60, "says that its header has 1152921504606846976 bytes, but 2 follow" },
        { UINT64_C(1) << 63, "but 2 follow" },
        { UINT64_MAX, "but 2 follow" },
        { UINT64_MAX - 7, "but 2 follow" },
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        unsigned char bytes[10] = { 0, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
        for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(cases[c].length >> (8 * i));
        files_clear();
        files_write("model.safetensors", bytes, sizeof bytes);
        expect_refusal(QP_FORMAT, cases[c].part);
    }
}
END_TEST

START_TEST(test_checkpoint_header_over_the_limit_is_refused)
{
    static const unsigned char prefix[8] = { 0x01, 0xE1, 0xF5, 0x05 }; /* 100,000,001 */
    files_clear();
    files_write("model.safetensors", prefix, sizeof prefix);
    ck_assert_int_eq(truncate(files_path("model.safetensors"), 100000100), 0); /* sparse */
    expect_refusal(QP_FORMAT, "more than the format's limit of 100000000");
}
END_TEST

START_TEST(test_checkpoint_every_cut_is_refused)
{
    size_t size;
    files_clear();
    write_tensors("whole", "{\"w\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4);
    char *const bytes = files_read(files_path("whole"), &size);
    for (size_t cut = 0; cut < size; cut++) {
        qp_checkpoint *c;
        files_write("model.safetensors", bytes, cut);
        const qp_status status = qp_checkpoint_open(files_dir, &c);
        ck_assert_msg(status == QP_FORMAT, "cut to %zu bytes: %s", cut, qp_status_name(status));
    }
    free(bytes);
}
END_TEST

START_TEST(test_checkpoint_folders_that_are_none)
{
    qp_checkpoint *c;
    files_clear();
    expect_refusal(QP_IO, "holds neither model.safetensors nor model.safetensors.index.json");
    expect_failure(qp_checkpoint_open("/nowhere/at/all", &c), QP_IO, "/nowhere/at/all holds neither");
    files_make_folder("model.safetensors");
    expect_refusal(QP_IO, "model.safetensors is a folder");
    files_clear();
    files_make_folder("model.safetensors.index.json");
    expect_refusal(QP_IO, "model.safetensors.index.json is a folder");
}
END_TEST

/* ---- Shards ---- */

static void write_two_shards(void)
{
    files_clear();
    write_tensors("one.safetensors", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2);
    write_tensors("two.safetensors",
                  "{\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                  "\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
                  6);
}

START_TEST(test_checkpoint_shards)
{
    write_two_shards();
    files_write_text("model.safetensors.index.json",
                     "{\"metadata\": {\"total_size\": 8}, \"weight_map\": {\"c\": \"two.safetensors\","
                     " \"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
    qp_checkpoint *const c = open_good();
    ck_assert_int_eq(qp_checkpoint_count(c), 3);
    ck_assert_str_eq(qp_checkpoint_at(c, 0)->name, "a");
    ck_assert_str_eq(qp_checkpoint_find(c, "c")->dtype, "F32");
    ck_assert_int_eq(((const unsigned char *)qp_checkpoint_find(c, "c")->data)[0], 2);
    qp_checkpoint_close(c);
}
END_TEST

static const struct {
    const char *index;
    qp_status status;
    const char *part;
} bad_indexes[] = {
    { "{\"weight_map\": {\"a\": \"../one.safetensors\"}}", QP_FORMAT, "not a plain file name" },
    { "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", QP_FORMAT, "not a plain file name" },
    { "{\"weight_map\": {\"a\": \"..\"}}", QP_FORMAT, "not a plain file name" },
    { "{\"weight_map\": {\"a\": \"\"}}", QP_FORMAT, "not a plain file name" },
    { "{\"weight_map\": {\"a\": \"x\\ny\"}}", QP_FORMAT, "not a plain file name" },
    { "{\"weight_map\": {\"a\": 1}}", QP_FORMAT, "weight_map.a in " },
    { "{\"weight_map\": []}", QP_FORMAT, "weight_map in " },
    { "{\"weight_map\": {}}", QP_FORMAT, "names no tensor" },
    { "{}", QP_FORMAT, "weight_map is missing" },
    { "[", QP_FORMAT, "not valid JSON" },
    { "{\"weight_map\": {\"a\": \"three.safetensors\"}}", QP_IO, "three.safetensors cannot be opened" },
    { "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"one.safetensors\"}}", QP_FORMAT, "weight_map.b in " },
    { "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"one.safetensors\", \"c\": \"two.safetensors\"}}",
      QP_FORMAT, "says one.safetensors, but that shard does not hold it" },
    { "{\"weight_map\": {\"a\": \"one.safetensors\", \"d\": \"two.safetensors\"}}", QP_FORMAT,
      "says two.safetensors, but that shard does not hold it" },
    { "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"again.safetensors\"}}", QP_FORMAT, "a is in " },
};

START_TEST(test_checkpoint_bad_indexes_are_refused)
{
    write_two_shards();
    write_tensors("again.safetensors", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2);
    files_write_text("model.safetensors.index.json", bad_indexes[_i].index);
    expect_refusal(bad_indexes[_i].status, bad_indexes[_i].part);
}
END_TEST

/* ---- A whole Qwen3 ---- */

typedef struct named_shape {
    char name[64];
    int rank;
    int64_t dims[2];
} named_shape;

static const qp_config small = { .hidden_size = 4,
                                 .intermediate_size = 6,
                                 .num_hidden_layers = 2,
                                 .num_attention_heads = 4,
                                 .num_key_value_heads = 2,
                                 .head_dim = 8,
                                 .vocab_size = 10 };

/* The tensors of `small`, written out here and not taken from the code under test. */
static int list_tensors(named_shape list[64])
{
    int n = 0;
#define ADD(rank_, a, b, ...)                                                                                          \
    do {                                                                                                               \
        (void)snprintf(list[n].name, sizeof list[n].name, __VA_ARGS__);                                                \
        list[n].rank = rank_;                                                                                          \
        list[n].dims[0] = a;                                                                                           \
        list[n].dims[1] = b;                                                                                           \
        n++;                                                                                                           \
    } while (0)
    ADD(2, 10, 4, "%s", "model.embed_tokens.weight");
    ADD(2, 10, 4, "%s", "lm_head.weight");
    ADD(1, 4, 0, "%s", "model.norm.weight");
    for (int layer = 0; layer < 2; layer++) {
        ADD(1, 4, 0, "model.layers.%d.input_layernorm.weight", layer);
        ADD(1, 4, 0, "model.layers.%d.post_attention_layernorm.weight", layer);
        ADD(2, 32, 4, "model.layers.%d.self_attn.q_proj.weight", layer);
        ADD(2, 16, 4, "model.layers.%d.self_attn.k_proj.weight", layer);
        ADD(2, 16, 4, "model.layers.%d.self_attn.v_proj.weight", layer);
        ADD(2, 4, 32, "model.layers.%d.self_attn.o_proj.weight", layer);
        ADD(1, 8, 0, "model.layers.%d.self_attn.q_norm.weight", layer);
        ADD(1, 8, 0, "model.layers.%d.self_attn.k_norm.weight", layer);
        ADD(2, 6, 4, "model.layers.%d.mlp.gate_proj.weight", layer);
        ADD(2, 6, 4, "model.layers.%d.mlp.up_proj.weight", layer);
        ADD(2, 4, 6, "model.layers.%d.mlp.down_proj.weight", layer);
    }
#undef ADD
    return n;
}

enum { SMALL_TENSORS = 3 + 2 * 11 };

/* Writes the tensors, padded so that the data begin at a multiple of 8, as the safetensors library does. `odd` < 0:
 * all are right; otherwise the one with this index is as `how` says. */
typedef enum flaw { LEFT_OUT, OF_F16, TRANSPOSED_OR_LONGER } flaw;

static void write_model(const named_shape *list, int count, int odd, flaw how)
{
    static char header[16384];
    size_t length = 0;
    int64_t at = 0;
    length += (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < count; i++) {
        if (i == odd && how == LEFT_OUT) continue;
        int64_t dims[2] = { list[i].dims[0], list[i].dims[1] };
        if (i == odd && how == TRANSPOSED_OR_LONGER) {
            dims[0] = list[i].rank == 2 ? list[i].dims[1] : list[i].dims[0] + 1;
            dims[1] = list[i].dims[0];
        }
        const int64_t bytes = 2 * dims[0] * (list[i].rank == 2 ? dims[1] : 1);
        char shape[48];
        if (list[i].rank == 2)
            (void)snprintf(shape, sizeof shape, "%" PRId64 ",%" PRId64, dims[0], dims[1]);
        else
            (void)snprintf(shape, sizeof shape, "%" PRId64, dims[0]);
        length += (size_t)snprintf(header + length, sizeof header - length,
                                   ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                                   "\"data_offsets\":[%" PRId64 ",%" PRId64 "]}",
                                   list[i].name, i == odd && how == OF_F16 ? "F16" : "BF16", shape, at, at + bytes);
        at += bytes;
    }
    header[length++] = '}';
    while (length % 8 != 0) header[length++] = ' ';
    header[length] = '\0';
    write_tensors("model.safetensors", header, (size_t)at);
}

START_TEST(test_checkpoint_whole_model)
{
    named_shape list[64];
    const int count = list_tensors(list);
    ck_assert_int_eq(count, SMALL_TENSORS);
    files_clear();
    write_model(list, count, -1, LEFT_OUT);
    qp_checkpoint *c = open_good();
    const qp_status status = qp_checkpoint_require_qwen3(c, &small);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());

    qp_config other = small;
    other.num_hidden_layers = 1;
    expect_failure(qp_checkpoint_require_qwen3(c, &other), QP_FORMAT, "model.layers.1.input_layernorm.weight, but its");
    other.num_hidden_layers = 3;
    expect_failure(qp_checkpoint_require_qwen3(c, &other), QP_FORMAT,
                   "model.layers.2.input_layernorm.weight is missing from ");
    other = small;
    other.vocab_size = 11;
    expect_failure(qp_checkpoint_require_qwen3(c, &other), QP_FORMAT, "is BF16 [10, 4], but BF16 [11, 4] is needed");
    qp_checkpoint_close(c);
}
END_TEST

START_TEST(test_checkpoint_tied_model_needs_no_lm_head)
{
    named_shape list[64];
    const int count = list_tensors(list);
    qp_config tied = small;
    tied.tie_word_embeddings = true;
    files_clear();
    write_model(list, count, 1, LEFT_OUT);
    qp_checkpoint *c = open_good();
    ck_assert_int_eq(qp_checkpoint_require_qwen3(c, &tied), QP_OK);
    qp_checkpoint_close(c);
    /* Some folders hold it all the same. */
    write_model(list, count, -1, LEFT_OUT);
    c = open_good();
    ck_assert_int_eq(qp_checkpoint_require_qwen3(c, &tied), QP_OK);
    qp_checkpoint_close(c);
}
END_TEST

START_TEST(test_checkpoint_each_tensor_is_demanded)
{
    static const char *const parts[] = { "is missing from", "is F16 [", "is needed" };
    named_shape list[64];
    const int count = list_tensors(list);
    for (int how = LEFT_OUT; how <= TRANSPOSED_OR_LONGER; how++) {
        files_clear();
        write_model(list, count, _i, (flaw)how);
        qp_checkpoint *const c = open_good();
        const qp_status status = qp_checkpoint_require_qwen3(c, &small);
        expect_failure(status, QP_FORMAT, parts[how]);
        ck_assert_msg(strncmp(qp_last_error(), list[_i].name, strlen(list[_i].name)) == 0, "'%s' does not name %s",
                      qp_last_error(), list[_i].name);
        qp_checkpoint_close(c);
    }
}
END_TEST

START_TEST(test_checkpoint_of_the_embedded_model)
{
    static const char dir[] = QP_SOURCE_DIR "/golden/qwen3-tiny";
    qp_checkpoint *c;
    qp_config config;
    char hex[65];
    ck_assert_msg(qp_config_read(dir, &config) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_checkpoint_open(dir, &c) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_checkpoint_require_qwen3(c, &config) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_checkpoint_sha256(qp_checkpoint_find(c, "model.norm.weight"), hex), QP_OK);
    ck_assert_uint_eq(strlen(hex), 64);
    qp_checkpoint_close(c);
}
END_TEST

/* ---- Chance ---- */

START_TEST(test_checkpoint_damaged_files_never_crash)
{
    const uint64_t seed = check_seed(20260102);
    uint64_t state = seed;
    named_shape list[64];
    size_t size;
    int64_t runs = 0, opened = 0;
    files_clear();
    write_model(list, list_tensors(list), -1, LEFT_OUT);
    char *const good = files_read(files_path("model.safetensors"), &size);
    char *const bad = malloc(size);
    ck_assert_ptr_nonnull(bad);
    const size_t header_end = 8 + (size_t)((unsigned char)good[0] | (unsigned char)good[1] << 8);

    for (const double end = files_seconds() + 2.0; files_seconds() < end; runs++) {
        qp_checkpoint *c;
        memcpy(bad, good, size);
        const int changes = 1 + (int)(check_random(&state) % 4);
        for (int i = 0; i < changes; i++) {
            const size_t at = (size_t)(check_random(&state) % header_end);
            static const char likely[] = "0123456789-,.:\"{}[]eE \\u";
            bad[at] = check_random(&state) % 2 == 0 ? likely[check_random(&state) % (sizeof likely - 1)]
                                                    : (char)(check_random(&state) & 0xFF);
        }
        const size_t kept = check_random(&state) % 8 == 0 ? (size_t)(check_random(&state) % size) : size;
        files_write("model.safetensors", bad, kept);
        if (qp_checkpoint_open(files_dir, &c) != QP_OK) {
            ck_assert_msg(qp_last_error()[0] != '\0', "no sentence (QP_SEED=%" PRIu64 ", run %" PRId64 ")", seed, runs);
            continue;
        }
        opened++;
        for (int64_t i = 0; i < qp_checkpoint_count(c); i++) {
            char hex[65]; /* reads every byte that the file claims */
            ck_assert_int_eq(qp_checkpoint_sha256(qp_checkpoint_at(c, i), hex), QP_OK);
        }
        if (qp_checkpoint_require_qwen3(c, &small) != QP_OK) ck_assert(qp_last_error()[0] != '\0');
        qp_checkpoint_close(c);
    }
    free(bad);
    free(good);
    ck_assert_msg(runs > 20 && opened < runs, "%" PRId64 " of %" PRId64 " damaged files were opened", opened, runs);
}
END_TEST

Suite *checkpoint_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *good = tcase_create("good");
    tcase_add_unchecked_fixture(good, files_setup, files_teardown);
    tcase_add_test(good, test_checkpoint_reads_what_is_there);
    tcase_add_test(good, test_checkpoint_file_of_no_tensors);
    tcase_add_test(good, test_checkpoint_sha256);
    tcase_add_test(good, test_checkpoint_asks_for_dtype_and_shape);
    tcase_add_test(good, test_checkpoint_misaligned_bf16_is_refused);
    tcase_add_test(good, test_checkpoint_shards);
    suite_add_tcase(suite, good);

    TCase *lying = tcase_create("lying");
    tcase_add_unchecked_fixture(lying, files_setup, files_teardown);
    tcase_add_loop_test(lying, test_checkpoint_lying_headers_are_refused, 0, (int)(sizeof lies / sizeof lies[0]));
    tcase_add_test(lying, test_checkpoint_lying_header_lengths_are_refused);
    tcase_add_test(lying, test_checkpoint_header_over_the_limit_is_refused);
    tcase_add_test(lying, test_checkpoint_every_cut_is_refused);
    tcase_add_test(lying, test_checkpoint_folders_that_are_none);
    tcase_add_loop_test(lying, test_checkpoint_bad_indexes_are_refused, 0,
                        (int)(sizeof bad_indexes / sizeof bad_indexes[0]));
    suite_add_tcase(suite, lying);

    TCase *model = tcase_create("model");
    tcase_add_unchecked_fixture(model, files_setup, files_teardown);
    tcase_add_test(model, test_checkpoint_whole_model);
    tcase_add_test(model, test_checkpoint_tied_model_needs_no_lm_head);
    tcase_add_loop_test(model, test_checkpoint_each_tensor_is_demanded, 0, SMALL_TENSORS);
    tcase_add_test(model, test_checkpoint_of_the_embedded_model);
    suite_add_tcase(suite, model);

    TCase *chance = tcase_create("chance");
    tcase_add_unchecked_fixture(chance, files_setup, files_teardown);
    tcase_set_timeout(chance, 60);
    tcase_add_test(chance, test_checkpoint_damaged_files_never_crash);
    suite_add_tcase(suite, chance);
    return suite;
}

int main(void) { return qp_check_main(checkpoint_suite()); }
