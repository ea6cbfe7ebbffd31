/* The reader of golden files: what it reads, and that it refuses everything else with a sentence. The files are made
 * here; this is the one place outside harness/golden.c that uses HDF5. */
#include <check.h>
#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../harness/golden.h"
#include "../harness/golden_model.h"
#include "../harness/verify.h"
#include "check_main.h"

Suite *golden_suite(void);

/* ---- a small golden ---- */

static char folder[64], file_path[96], other_path[96];

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/qp-check-golden-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(file_path, sizeof file_path, "%s/golden.h5", folder);
    (void)snprintf(other_path, sizeof other_path, "%s/other", folder);
}

static void teardown(void)
{
    (void)unlink(file_path);
    (void)unlink(other_path);
    (void)rmdir(folder);
}

static hid_t text_type(const char *text, bool variable, H5T_cset_t cset)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    ck_assert(H5Tset_size(type, variable ? H5T_VARIABLE : strlen(text) + 1) >= 0);
    ck_assert(H5Tset_cset(type, cset) >= 0);
    return type;
}

static void put_text_as(hid_t object, const char *name, const char *text, bool variable, H5T_cset_t cset)
{
    const hid_t type = text_type(text, variable, cset), space = H5Screate(H5S_SCALAR);
    if (H5Aexists(object, name) > 0) ck_assert(H5Adelete(object, name) >= 0);
    const hid_t id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(id >= 0);
    ck_assert(H5Awrite(id, type, variable ? (const void *)&text : (const void *)text) >= 0);
    (void)H5Aclose(id);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
}

static void put_text(hid_t object, const char *name, const char *text)
{
    put_text_as(object, name, text, true, H5T_CSET_UTF8); /* as h5py does */
}

/* rank -1: a null space, 0: a scalar. */
static hid_t space_of(int rank, const hsize_t *dims)
{
    return rank < 0 ? H5Screate(H5S_NULL) : rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dims, NULL);
}

static void put_numbers(hid_t object, const char *name, hid_t type, int rank, hsize_t count, hid_t memory,
                        const void *values)
{
    const hid_t space = space_of(rank, &count);
    if (H5Aexists(object, name) > 0) ck_assert(H5Adelete(object, name) >= 0);
    const hid_t id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(id >= 0);
    if (rank >= 0) ck_assert(H5Awrite(id, memory, values) >= 0);
    (void)H5Aclose(id);
    (void)H5Sclose(space);
}

static void put_number(hid_t object, const char *name, int64_t value)
{
    put_numbers(object, name, H5T_STD_I64LE, 0, 1, H5T_NATIVE_INT64, &value);
}

static void put_ids(hid_t object, const int32_t *ids, hsize_t count)
{
    put_numbers(object, "input_ids", H5T_STD_I32LE, 1, count, H5T_NATIVE_INT32, ids);
}

typedef struct stored {
    const char *name;
    hid_t type;
    int rank;
    hsize_t dims[4];
    const char *dtype; /* NULL: no attribute */
} stored;

static hid_t compressed(int rank, const hsize_t *dims)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    ck_assert(H5Pset_chunk(properties, rank, dims) >= 0);
    ck_assert(H5Pset_shuffle(properties) >= 0);
    ck_assert(H5Pset_deflate(properties, 4) >= 0);
    return properties;
}

static void put_dataset_with(hid_t group, const stored *s, hid_t properties, const void *data)
{
    const hid_t space = space_of(s->rank, s->dims);
    if (H5Lexists(group, s->name, H5P_DEFAULT) > 0) ck_assert(H5Ldelete(group, s->name, H5P_DEFAULT) >= 0);
    const hid_t id = H5Dcreate2(group, s->name, s->type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ck_assert(id >= 0);
    if (data) ck_assert(H5Dwrite(id, s->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    if (s->dtype) put_text(id, "dtype", s->dtype);
    (void)H5Dclose(id);
    (void)H5Sclose(space);
}

static void put_dataset(hid_t group, const stored *s, const void *data)
{
    const hid_t properties = s->rank > 0 ? compressed(s->rank, s->dims) : H5P_DEFAULT;
    put_dataset_with(group, s, properties, data);
    if (s->rank > 0) (void)H5Pclose(properties);
}

enum { TOKENS = 3, CHANNELS = 8 };
static const uint16_t norm_values[TOKENS][CHANNELS] = {
    { 0x3f80, 0x8000, 0x0000, 0x7f80, 0xff80, 0x7fff, 0x0001, 0x7f7f },
    { 1, 2, 3, 4, 5, 6, 7, 8 },
    { 9, 8, 7, 6, 5, 4, 3, 2 },
};
static const float cos_values[TOKENS][2] = { { 1.0f, -0.0f }, { 0.1f, 3.4e38f }, { 1e-45f, 0.5f } };
static const int64_t next_values[TOKENS] = { 5, INT64_MAX, -1 };

static void put_phase(hid_t prompt, const char *name, const int32_t *ids, hsize_t tokens, int64_t past)
{
    const hid_t phase = H5Gcreate2(prompt, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(phase >= 0);
    put_ids(phase, ids, tokens);
    put_number(phase, "past", past);
    const stored norm = { "model.norm", H5T_STD_U16LE, 2, { tokens, CHANNELS, 0, 0 }, "bf16" };
    const stored rotary = { "model.rotary_emb.cos", H5T_IEEE_F32LE, 2, { tokens, 2, 0, 0 }, "f32" };
    const stored next = { "next_token", H5T_STD_I64LE, 1, { tokens, 0, 0, 0 }, "i64" };
    put_dataset(phase, &norm, norm_values);
    put_dataset(phase, &rotary, cos_values);
    put_dataset(phase, &next, next_values);
    (void)H5Gclose(phase);
}

/* Two prompts, created in the order that is not the alphabet's; the first with two decode steps. */
static hid_t write_golden(bool tracked, bool latest)
{
    static const int32_t ids[TOKENS] = { 10, 11, 12 };
    const hid_t creation = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    if (tracked) ck_assert(H5Pset_link_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0);
    if (latest) ck_assert(H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0);
    const hid_t file = H5Fcreate(file_path, H5F_ACC_TRUNC, creation, access);
    ck_assert(file >= 0);
    put_text(file, "schema", "qwen3-parity-golden/1");
    put_number(file, "complete", 1);
    put_text(file, "model_name", "a small one");
    put_text_as(file, "device_name", "NVIDIA H200", false, H5T_CSET_ASCII);
    put_text_as(file, "torch_version", "2.11.0+cu130", true, H5T_CSET_ASCII);
    put_text_as(file, "city", "Pr\xc3\xa4g", false, H5T_CSET_UTF8);
    put_text(file, "empty", "");
    put_number(file, "seed", -42);
    const double temperature = 0.1;
    put_numbers(file, "temperature", H5T_IEEE_F64LE, 0, 1, H5T_NATIVE_DOUBLE, &temperature);

    const char weights[] = "{\"model.safetensors\": \"00ff\"}", *text = weights;
    const hid_t type = text_type(weights, true, H5T_CSET_UTF8), space = H5Screate(H5S_SCALAR);
    const hid_t dataset = H5Dcreate2(file, "weights_sha256", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &text) >= 0);
    (void)H5Dclose(dataset);
    (void)H5Sclose(space);
    (void)H5Tclose(type);

    const hid_t first = H5Gcreate2(file, "zebra", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_text(first, "prompt", "The capital of Aistonia is Flubarg.");
    put_phase(first, "decode.001", &ids[1], 1, TOKENS + 1);
    put_phase(first, "decode.000", &ids[0], 1, TOKENS);
    put_phase(first, "prefill", ids, TOKENS, 0);
    (void)H5Gclose(first);
    const hid_t second = H5Gcreate2(file, "ant", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_text_as(second, "prompt", "one", false, H5T_CSET_ASCII);
    put_phase(second, "prefill", ids, 1, 0);
    (void)H5Gclose(second);
    (void)H5Pclose(creation);
    (void)H5Pclose(access);
    return file;
}

static void write_plain(void) { ck_assert(H5Fclose(write_golden(true, false)) >= 0); }

static void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, count, stream), count);
    ck_assert_int_eq(fclose(stream), 0);
}

static unsigned char *read_bytes(const char *path, size_t *count)
{
    struct stat about;
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_int_eq(stat(path, &about), 0);
    *count = (size_t)about.st_size;
    unsigned char *bytes = malloc(*count + 1); /* a log may be empty */
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *count, stream), *count);
    (void)fclose(stream);
    return bytes;
}

static void expect_refused(qp_status found, qp_status wanted, const char *sentence)
{
    ck_assert_msg(found == wanted, "%s where %s is wanted: %s", qp_status_name(found), qp_status_name(wanted),
                  qp_last_error());
    ck_assert_msg(strstr(qp_last_error(), sentence) != NULL, "'%s' does not hold '%s'", qp_last_error(), sentence);
    ck_assert_msg(!strchr(qp_last_error(), '\n'), "the sentence has a line break: %s", qp_last_error());
}

/* ---- what it reads ---- */

START_TEST(test_golden_lists_what_the_file_holds)
{
    ck_assert(H5Fclose(write_golden(true, _i == 1)) >= 0);
    qp_golden *golden;
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s", qp_last_error());

    ck_assert_int_eq(qp_golden_attribute_count(golden), 9);
    ck_assert_str_eq(qp_golden_attribute_name(golden, 0), "city");
    ck_assert_str_eq(qp_golden_attribute_name(golden, 8), "torch_version");
    ck_assert_ptr_null(qp_golden_attribute_name(golden, 9));
    ck_assert_ptr_null(qp_golden_attribute_name(golden, -1));
    ck_assert_str_eq(qp_golden_attribute(golden, "city"), "Pr\xc3\xa4g");
    ck_assert_str_eq(qp_golden_attribute(golden, "device_name"), "NVIDIA H200");
    ck_assert_str_eq(qp_golden_attribute(golden, "torch_version"), "2.11.0+cu130");
    ck_assert_str_eq(qp_golden_attribute(golden, "complete"), "1");
    ck_assert_str_eq(qp_golden_attribute(golden, "seed"), "-42");
    ck_assert_str_eq(qp_golden_attribute(golden, "temperature"), "0.10000000000000001");
    ck_assert_str_eq(qp_golden_attribute(golden, "empty"), "");
    ck_assert_ptr_null(qp_golden_attribute(golden, "no such"));
    ck_assert_str_eq(qp_golden_weights_sha256(golden), "{\"model.safetensors\": \"00ff\"}");

    static const char *const paths[] = { "zebra/prefill", "zebra/decode.000", "zebra/decode.001", "ant/prefill" };
    ck_assert_int_eq(qp_golden_phase_count(golden), 4);
    ck_assert_ptr_null(qp_golden_phase_at(golden, 4));
    ck_assert_ptr_null(qp_golden_phase_at(golden, -1));
    for (int i = 0; i < 4; i++) ck_assert_str_eq(qp_golden_phase_at(golden, i)->path, paths[i]);
    const qp_golden_phase *phase = qp_golden_phase_at(golden, 2);
    ck_assert_str_eq(phase->prompt, "zebra");
    ck_assert_str_eq(phase->text, "The capital of Aistonia is Flubarg.");
    ck_assert_str_eq(phase->name, "decode.001");
    ck_assert_int_eq(phase->past, 4);
    ck_assert_int_eq(phase->tokens, 1);
    ck_assert_int_eq(phase->ids[0], 11);
    ck_assert_int_eq(qp_golden_phase_at(golden, 0)->ids[2], 12);
    ck_assert_str_eq(qp_golden_phase_at(golden, 3)->text, "one");
    ck_assert_int_eq(phase->boundary_count, 3);
    ck_assert_str_eq(phase->boundaries[0], "model.norm");
    ck_assert_str_eq(phase->boundaries[2], "next_token");
    ck_assert(qp_golden_has(phase, "model.norm") && qp_golden_has(phase, "next_token"));
    ck_assert(!qp_golden_has(phase, "model.nor") && !qp_golden_has(phase, "model.norm2") && !qp_golden_has(phase, ""));
    qp_golden_close(golden);
}
END_TEST

START_TEST(test_golden_without_creation_order_lists_by_name)
{
    ck_assert(H5Fclose(write_golden(false, false)) >= 0);
    qp_golden *golden;
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s", qp_last_error());
    ck_assert_str_eq(qp_golden_phase_at(golden, 0)->path, "ant/prefill");
    ck_assert_str_eq(qp_golden_phase_at(golden, 3)->path, "zebra/decode.001");
    ck_assert_str_eq(qp_golden_phase_at(golden, 0)->text, "one");
    qp_golden_close(golden);
}
END_TEST

START_TEST(test_golden_reads_every_bit)
{
    write_plain();
    qp_golden *golden;
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s", qp_last_error());
    const qp_golden_phase *phase = qp_golden_phase_at(golden, 0);
    uint16_t norm[TOKENS][CHANNELS];
    float rotary[TOKENS][2];
    int64_t next[TOKENS];
    const int64_t norm_dims[] = { TOKENS, CHANNELS }, rotary_dims[] = { TOKENS, 2 }, next_dims[] = { TOKENS };
    ck_assert_int_eq(qp_golden_read(golden, phase, "model.norm", QP_BF16, 2, norm_dims, norm), QP_OK);
    ck_assert_int_eq(qp_golden_read(golden, phase, "model.rotary_emb.cos", QP_F32, 2, rotary_dims, rotary), QP_OK);
    ck_assert_int_eq(qp_golden_read(golden, phase, "next_token", QP_I64, 1, next_dims, next), QP_OK);
    ck_assert_mem_eq(norm, norm_values, sizeof norm);
    ck_assert_mem_eq(rotary, cos_values, sizeof rotary);
    ck_assert_mem_eq(next, next_values, sizeof next);
    qp_golden_close(golden);
    qp_golden_close(NULL);
}
END_TEST

/* Other forms that mean the same: ids of 64 bits, a bool for complete as h5py writes it, a scalar tensor,
 * uncompressed data. */
START_TEST(test_golden_accepts_equivalent_forms)
{
    const hid_t file = write_golden(true, false);
    const hid_t truth = H5Tenum_create(H5T_NATIVE_INT8);
    const int8_t no = 0, yes = 1;
    ck_assert(H5Tenum_insert(truth, "FALSE", &no) >= 0 && H5Tenum_insert(truth, "TRUE", &yes) >= 0);
    put_numbers(file, "complete", truth, 0, 1, truth, &yes);
    put_numbers(file, "deterministic", truth, 0, 1, truth, &no);
    (void)H5Tclose(truth);
    const hid_t phase = H5Gopen2(file, "ant/prefill", H5P_DEFAULT);
    const int64_t wide[] = { INT64_C(5000000000) };
    put_numbers(phase, "input_ids", H5T_STD_I64LE, 1, 1, H5T_NATIVE_INT64, wide);
    const int32_t none = 0;
    put_numbers(phase, "past", H5T_STD_I32LE, 0, 1, H5T_NATIVE_INT32, &none);
    const stored scalar = { "scalar", H5T_IEEE_F32LE, 0, { 0, 0, 0, 0 }, "f32" };
    const float value = 2.5f;
    put_dataset(phase, &scalar, &value);
    (void)H5Gclose(phase);
    (void)H5Fclose(file);

    qp_golden *golden;
    float read = 0.0f;
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s", qp_last_error());
    ck_assert_str_eq(qp_golden_attribute(golden, "complete"), "true");
    ck_assert_str_eq(qp_golden_attribute(golden, "deterministic"), "false");
    const qp_golden_phase *view = qp_golden_phase_at(golden, 3);
    ck_assert_int_eq(view->ids[0], INT64_C(5000000000));
    ck_assert_msg(qp_golden_read(golden, view, "scalar", QP_F32, 0, NULL, &read) == QP_OK, "%s", qp_last_error());
    ck_assert(read == 2.5f);
    qp_golden_close(golden);
}
END_TEST

/* The golden that this repository ships: each decode step feeds the token that PyTorch chose before it. */
START_TEST(test_golden_of_the_repository_is_consistent)
{
    qp_golden *golden;
    ck_assert_msg(qp_golden_open(QP_SOURCE_DIR "/golden/qwen3-tiny.h5", &golden) == QP_OK, "%s", qp_last_error());
    ck_assert_str_eq(qp_golden_attribute(golden, "attn_implementation"), "eager");
    const int64_t one[] = { 1 };
    int64_t before = -1;
    int decoded = 0;
    ck_assert_int_gt(qp_golden_phase_count(golden), 0);
    for (int i = 0; i < qp_golden_phase_count(golden); i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i);
        if (phase->past > 0) {
            ck_assert_int_eq(phase->tokens, 1);
            ck_assert_int_eq(phase->ids[0], before);
            decoded++;
        }
        ck_assert_msg(qp_golden_read(golden, phase, "next_token", QP_I64, 1, one, &before) == QP_OK, "%s",
                      qp_last_error());
    }
    ck_assert_int_gt(decoded, 0);
    qp_golden_close(golden);
}
END_TEST

/* ---- what is no golden at all ---- */

START_TEST(test_golden_missing_file_is_io)
{
    qp_golden *golden = (qp_golden *)folder;
    expect_refused(qp_golden_open(file_path, &golden), QP_IO, "No such file");
    ck_assert_ptr_null(golden);
}
END_TEST

START_TEST(test_golden_folder_is_io)
{
    qp_golden *golden;
    expect_refused(qp_golden_open(folder, &golden), QP_IO, "is a folder");
    expect_refused(qp_golden_open("/dev/null", &golden), QP_IO, "no regular file");
}
END_TEST

START_TEST(test_golden_unreadable_file_is_io)
{
    if (geteuid() == 0) return; /* root reads everything */
    write_plain();
    ck_assert_int_eq(chmod(file_path, 0), 0);
    qp_golden *golden;
    expect_refused(qp_golden_open(file_path, &golden), QP_IO, "Permission denied");
}
END_TEST

START_TEST(test_golden_text_and_empty_files_are_refused)
{
    qp_golden *golden;
    write_bytes(file_path, "hello, I am a golden\n", 21);
    expect_refused(qp_golden_open(file_path, &golden), QP_FORMAT, "no HDF5 file");
    write_bytes(file_path, "", 0);
    expect_refused(qp_golden_open(file_path, &golden), QP_FORMAT, "no HDF5 file");
    /* What git leaves where large files live elsewhere. */
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
    write_bytes(file_path, pointer, sizeof pointer - 1);
    expect_refused(qp_golden_open(file_path, &golden), QP_FORMAT, "no HDF5 file");
}
END_TEST

START_TEST(test_golden_truncated_file_is_refused)
{
    size_t count;
    write_plain();
    unsigned char *bytes = read_bytes(file_path, &count);
    qp_golden *golden;
    for (size_t keep = count - 1; keep > 0; keep = keep * 7 / 8) {
        write_bytes(file_path, bytes, keep);
        const qp_status status = qp_golden_open(file_path, &golden);
        ck_assert_msg(status == QP_FORMAT, "%zu of %zu bytes: %s", keep, count, qp_status_name(status));
        ck_assert_ptr_null(golden);
        ck_assert(strstr(qp_last_error(), "cut short") || strstr(qp_last_error(), "no HDF5 file"));
    }
    free(bytes);
}
END_TEST

START_TEST(test_golden_other_hdf5_file_is_refused)
{
    const hid_t file = H5Fcreate(file_path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Fclose(file);
    qp_golden *golden;
    expect_refused(qp_golden_open(file_path, &golden), QP_FORMAT, "without the attribute schema");
}
END_TEST

/* ---- a golden with one thing wrong: refused at open ---- */

static hid_t prefill_of(hid_t file) { return H5Gopen2(file, "zebra/prefill", H5P_DEFAULT); }

static void no_schema(hid_t f) { (void)H5Adelete(f, "schema"); }
static void other_schema(hid_t f) { put_text(f, "schema", "qwen3-parity-golden/2"); }
static void schema_is_number(hid_t f) { put_number(f, "schema", 1); }
static void not_complete(hid_t f) { put_number(f, "complete", 0); }
static void no_complete(hid_t f) { (void)H5Adelete(f, "complete"); }
static void list_attribute(hid_t f)
{
    const int32_t values[] = { 1, 2 };
    put_numbers(f, "split_k", H5T_STD_I32LE, 1, 2, H5T_NATIVE_INT32, values);
}
static void null_attribute(hid_t f) { put_numbers(f, "split_k", H5T_STD_I32LE, -1, 0, H5T_NATIVE_INT32, NULL); }
static void compound_attribute(hid_t f)
{
    const double value = 1.0;
    const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof value);
    (void)H5Tinsert(type, "r", 0, H5T_NATIVE_DOUBLE);
    put_numbers(f, "split_k", type, 0, 1, type, &value);
    (void)H5Tclose(type);
}
static void no_weights(hid_t f) { (void)H5Ldelete(f, "weights_sha256", H5P_DEFAULT); }
static void weights_are_numbers(hid_t f)
{
    const stored s = { "weights_sha256", H5T_STD_I32LE, 1, { 1, 0, 0, 0 }, NULL };
    const int32_t value = 1;
    put_dataset(f, &s, &value);
}
static void other_dataset(hid_t f)
{
    const stored s = { "extra", H5T_STD_I32LE, 1, { 1, 0, 0, 0 }, NULL };
    const int32_t value = 1;
    put_dataset(f, &s, &value);
}
static void no_prompts(hid_t f)
{
    (void)H5Ldelete(f, "zebra", H5P_DEFAULT);
    (void)H5Ldelete(f, "ant", H5P_DEFAULT);
}
static void empty_prompt(hid_t f)
{
    const hid_t group = H5Gcreate2(f, "hollow", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_text(group, "prompt", "nothing");
    (void)H5Gclose(group);
}
static void no_prompt_text(hid_t f) { (void)H5Adelete_by_name(f, "zebra", "prompt", H5P_DEFAULT); }
static void prompt_is_number(hid_t f)
{
    const hid_t group = H5Gopen2(f, "zebra", H5P_DEFAULT);
    put_number(group, "prompt", 3);
    (void)H5Gclose(group);
}
static void soft_prompt(hid_t f) { (void)H5Lcreate_soft("/zebra", f, "alias", H5P_DEFAULT, H5P_DEFAULT); }
static void external_prompt(hid_t f)
{
    (void)H5Lcreate_external("/etc/passwd", "/", f, "alias", H5P_DEFAULT, H5P_DEFAULT);
}
static void soft_boundary(hid_t f)
{
    const hid_t group = prefill_of(f);
    (void)H5Lcreate_soft("model.norm", group, "alias", H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Gclose(group);
}
static void control_character(hid_t f)
{
    (void)H5Gclose(H5Gcreate2(f, "zebra/prefill/\033[2J", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void other_phase(hid_t f)
{
    (void)H5Gclose(H5Gcreate2(f, "zebra/warmup", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void misspelt_phase(hid_t f)
{
    (void)H5Lmove(f, "zebra/decode.001", f, "zebra/decode.0001", H5P_DEFAULT, H5P_DEFAULT);
}
static void phase_is_dataset(hid_t f)
{
    const stored s = { "zebra/decode.002", H5T_STD_I32LE, 1, { 1, 0, 0, 0 }, NULL };
    const int32_t value = 1;
    put_dataset(f, &s, &value);
}
static void gap_in_decode(hid_t f)
{
    (void)H5Lmove(f, "zebra/decode.001", f, "zebra/decode.002", H5P_DEFAULT, H5P_DEFAULT);
}
static void no_prefill(hid_t f) { (void)H5Ldelete(f, "zebra/prefill", H5P_DEFAULT); }

static void with_phase(hid_t f, const char *path, void (*change)(hid_t))
{
    const hid_t group = H5Gopen2(f, path, H5P_DEFAULT);
    ck_assert(group >= 0);
    change(group);
    (void)H5Gclose(group);
}
static void past_1(hid_t g) { put_number(g, "past", 1); }
static void past_minus_1(hid_t g) { put_number(g, "past", -1); }
static void past_text(hid_t g) { put_text(g, "past", "0"); }
static void past_list(hid_t g)
{
    const int64_t value = 0;
    put_numbers(g, "past", H5T_STD_I64LE, 1, 1, H5T_NATIVE_INT64, &value);
}
static void past_unsigned(hid_t g)
{
    const uint64_t value = 0;
    put_numbers(g, "past", H5T_STD_U64LE, 0, 1, H5T_NATIVE_UINT64, &value);
}
static void past_gone(hid_t g) { (void)H5Adelete(g, "past"); }
static void ids_gone(hid_t g) { (void)H5Adelete(g, "input_ids"); }
static void ids_scalar(hid_t g)
{
    const int32_t value = 0;
    put_numbers(g, "input_ids", H5T_STD_I32LE, 0, 1, H5T_NATIVE_INT32, &value);
}
static void ids_null(hid_t g) { put_numbers(g, "input_ids", H5T_STD_I32LE, -1, 0, H5T_NATIVE_INT32, NULL); }
static void ids_short(hid_t g)
{
    const int16_t values[] = { 1, 2, 3 };
    put_numbers(g, "input_ids", H5T_STD_I16LE, 1, 3, H5T_NATIVE_INT16, values);
}
static void ids_float(hid_t g)
{
    const float values[] = { 1, 2, 3 };
    put_numbers(g, "input_ids", H5T_IEEE_F32LE, 1, 3, H5T_NATIVE_FLOAT, values);
}
static void ids_negative(hid_t g)
{
    const int32_t values[] = { 1, -2, 3 };
    put_ids(g, values, 3);
}
static void prefill_past_1(hid_t f) { with_phase(f, "zebra/prefill", past_1); }
static void prefill_past_minus_1(hid_t f) { with_phase(f, "zebra/prefill", past_minus_1); }
static void prefill_past_text(hid_t f) { with_phase(f, "zebra/prefill", past_text); }
static void prefill_past_list(hid_t f) { with_phase(f, "zebra/prefill", past_list); }
static void prefill_past_unsigned(hid_t f) { with_phase(f, "zebra/prefill", past_unsigned); }
static void prefill_past_gone(hid_t f) { with_phase(f, "zebra/prefill", past_gone); }
static void decode_past_1(hid_t f) { with_phase(f, "zebra/decode.001", past_1); }
static void prefill_ids_gone(hid_t f) { with_phase(f, "zebra/prefill", ids_gone); }
static void prefill_ids_scalar(hid_t f) { with_phase(f, "zebra/prefill", ids_scalar); }
static void prefill_ids_null(hid_t f) { with_phase(f, "zebra/prefill", ids_null); }
static void prefill_ids_short(hid_t f) { with_phase(f, "zebra/prefill", ids_short); }
static void prefill_ids_float(hid_t f) { with_phase(f, "zebra/prefill", ids_float); }
static void steps_of_zebra(hid_t g) { put_number(g, "decode_steps", 5); }
static void wrong_steps(hid_t f) { with_phase(f, "zebra", steps_of_zebra); }
static void prefill_ids_negative(hid_t f) { with_phase(f, "zebra/prefill", ids_negative); }

static const struct refusal {
    const char *name;
    void (*damage)(hid_t file);
    const char *sentence;
} refusals[] = {
    { "no schema", no_schema, "without the attribute schema" },
    { "other schema", other_schema, "schema 'qwen3-parity-golden/2' where 'qwen3-parity-golden/1' is wanted" },
    { "schema is a number", schema_is_number, "schema '1'" },
    { "not complete", not_complete, "not complete (attribute complete is 0)" },
    { "no complete", no_complete, "not complete (attribute complete is missing)" },
    { "a list as attribute", list_attribute, "attribute 'split_k' of the file is an array of integer 32" },
    { "a null attribute", null_attribute, "attribute 'split_k' of the file is an array" },
    { "a compound attribute", compound_attribute, "attribute 'split_k' of the file is a compound" },
    { "no weights", no_weights, "lacks the dataset weights_sha256" },
    { "weights are numbers", weights_are_numbers, "dataset 'weights_sha256' is an array of integer 32" },
    { "another dataset", other_dataset, "the file holds 'extra'" },
    { "no prompts", no_prompts, "holds no prompt" },
    { "an empty prompt", empty_prompt, "'hollow' holds no phase" },
    { "no prompt text", no_prompt_text, "lacks attribute 'prompt' of 'zebra'" },
    { "prompt is a number", prompt_is_number, "attribute 'prompt' of 'zebra' is integer 64 where text is wanted" },
    { "a soft link", soft_prompt, "'alias' in the file is a link to elsewhere" },
    { "an external link", external_prompt, "'alias' in the file is a link to elsewhere" },
    { "a soft link as boundary", soft_boundary, "'alias' in 'zebra/prefill' is a link to elsewhere" },
    { "a control character", control_character, "the name '?[2J' in 'zebra/prefill' holds a control character" },
    { "another phase", other_phase, "'zebra' holds 'warmup'" },
    { "a phase misspelt", misspelt_phase, "'zebra' holds 'decode.0001'" },
    { "a phase that is a dataset", phase_is_dataset, "'zebra/decode.002' is no group" },
    { "a gap in decode", gap_in_decode, "'zebra' lacks the phase before 'decode.002'" },
    { "decode steps missing", wrong_steps, "decode steps, and its attribute says 5" },
    { "no prefill", no_prefill, "'zebra' lacks the phase before 'decode.000'" },
    { "prefill with past 1", prefill_past_1, "past of 'zebra/prefill' is 1 where the phases before it fed 0 tokens" },
    { "prefill with past -1", prefill_past_minus_1, "attribute 'past' of 'zebra/prefill' holds -1" },
    { "past is a text", prefill_past_text, "attribute 'past' of 'zebra/prefill' is text where integer" },
    { "past is a list", prefill_past_list, "attribute 'past' of 'zebra/prefill' has rank 1 and 1 values" },
    { "past is unsigned", prefill_past_unsigned, "attribute 'past' of 'zebra/prefill' is unsigned integer 64" },
    { "no past", prefill_past_gone, "lacks attribute 'past' of 'zebra/prefill'" },
    { "decode with past 1", decode_past_1, "past of 'zebra/decode.001' is 1 where the phases before it fed 4 tokens" },
    { "no ids", prefill_ids_gone, "lacks attribute 'input_ids' of 'zebra/prefill'" },
    { "ids are one number", prefill_ids_scalar, "attribute 'input_ids' of 'zebra/prefill' has rank 0 and 1 values" },
    { "no ids in the list", prefill_ids_null, "attribute 'input_ids' of 'zebra/prefill' has rank 0 and 0 values" },
    { "ids of 16 bits", prefill_ids_short, "attribute 'input_ids' of 'zebra/prefill' is integer 16" },
    { "ids are floats", prefill_ids_float, "attribute 'input_ids' of 'zebra/prefill' is float 32" },
    { "a negative id", prefill_ids_negative, "attribute 'input_ids' of 'zebra/prefill' holds -2, which is below 0" },
};
enum { REFUSALS = (int)(sizeof refusals / sizeof *refusals) };

START_TEST(test_golden_with_one_thing_wrong_is_refused)
{
    const struct refusal *r = &refusals[_i];
    const hid_t file = write_golden(true, false);
    r->damage(file);
    ck_assert(H5Fclose(file) >= 0);
    qp_golden *golden;
    const qp_status status = qp_golden_open(file_path, &golden);
    ck_assert_msg(status == QP_FORMAT, "%s: %s", r->name, qp_status_name(status));
    ck_assert_ptr_null(golden);
    expect_refused(status, QP_FORMAT, r->sentence);
    ck_assert_msg(strstr(qp_last_error(), file_path) != NULL, "%s: the sentence lacks the path", r->name);
}
END_TEST

/* ---- a dataset with one thing wrong: refused at read ---- */

static void put_norm(hid_t f, hid_t type, int rank, hsize_t a, hsize_t b, const char *dtype)
{
    const stored s = { "zebra/prefill/model.norm", type, rank, { a, b, 1, 1 }, dtype };
    static const unsigned char data[4096];
    put_dataset(f, &s, rank < 0 ? NULL : data);
}
static void norm_gone(hid_t f) { (void)H5Ldelete(f, "zebra/prefill/model.norm", H5P_DEFAULT); }
static void norm_group(hid_t f)
{
    norm_gone(f);
    (void)H5Gclose(H5Gcreate2(f, "zebra/prefill/model.norm", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void norm_named_type(hid_t f)
{
    norm_gone(f);
    const hid_t type = H5Tcopy(H5T_STD_U16LE);
    (void)H5Tcommit2(f, "zebra/prefill/model.norm", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Tclose(type);
}
static void norm_signed(hid_t f) { put_norm(f, H5T_STD_I16LE, 2, TOKENS, CHANNELS, "bf16"); }
static void norm_wide(hid_t f) { put_norm(f, H5T_STD_U32LE, 2, TOKENS, CHANNELS, "bf16"); }
static void norm_big_endian(hid_t f) { put_norm(f, H5T_STD_U16BE, 2, TOKENS, CHANNELS, "bf16"); }
static void norm_float(hid_t f) { put_norm(f, H5T_IEEE_F32LE, 2, TOKENS, CHANNELS, "bf16"); }
static void norm_without_dtype(hid_t f) { put_norm(f, H5T_STD_U16LE, 2, TOKENS, CHANNELS, NULL); }
static void norm_other_dtype(hid_t f) { put_norm(f, H5T_STD_U16LE, 2, TOKENS, CHANNELS, "f16"); }
static void norm_flat(hid_t f) { put_norm(f, H5T_STD_U16LE, 1, (hsize_t)TOKENS * CHANNELS, 0, "bf16"); }
static void norm_transposed(hid_t f) { put_norm(f, H5T_STD_U16LE, 2, CHANNELS, TOKENS, "bf16"); }
static void norm_scalar(hid_t f) { put_norm(f, H5T_STD_U16LE, 0, 0, 0, "bf16"); }
static void norm_null(hid_t f) { put_norm(f, H5T_STD_U16LE, -1, 0, 0, "bf16"); }
static void norm_absurd(hid_t f)
{
    const stored s = {
        "zebra/prefill/model.norm", H5T_STD_U16LE, 2, { UINT64_C(1) << 40, UINT64_C(1) << 20, 0, 0 }, "bf16"
    };
    const hsize_t chunk[] = { 1024, 1024 };
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_chunk(properties, 2, chunk);
    put_dataset_with(f, &s, properties, NULL);
    (void)H5Pclose(properties);
}
static void norm_huge_chunk(hid_t f)
{
    /* The elements are few, but HDF5 would take 2 GiB to read one. */
    const stored s = { "zebra/prefill/model.norm", H5T_STD_U16LE, 2, { TOKENS, CHANNELS, 0, 0 }, "bf16" };
    const hsize_t chunk[] = { 1 << 15, 1 << 15 }, most[] = { H5S_UNLIMITED, H5S_UNLIMITED };
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, s.dims, most);
    norm_gone(f);
    ck_assert(H5Pset_chunk(properties, 2, chunk) >= 0);
    const hid_t id = H5Dcreate2(f, s.name, s.type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ck_assert(id >= 0);
    put_text(id, "dtype", "bf16");
    (void)H5Dclose(id);
    (void)H5Sclose(space);
    (void)H5Pclose(properties);
}
static void norm_external(hid_t f)
{
    const stored s = { "zebra/prefill/model.norm", H5T_STD_U16LE, 2, { TOKENS, CHANNELS, 0, 0 }, "bf16" };
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    ck_assert(H5Pset_external(properties, "/etc/passwd", 0, 48) >= 0);
    put_dataset_with(f, &s, properties, NULL);
    (void)H5Pclose(properties);
}
static void norm_virtual(hid_t f)
{
    const stored s = { "zebra/prefill/model.norm", H5T_STD_U16LE, 2, { TOKENS, CHANNELS, 0, 0 }, "bf16" };
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, s.dims, NULL);
    ck_assert(H5Pset_virtual(properties, space, "/tmp/elsewhere.h5", "x", space) >= 0);
    put_dataset_with(f, &s, properties, NULL);
    (void)H5Sclose(space);
    (void)H5Pclose(properties);
}
static void norm_filter(hid_t f)
{
    const stored s = { "zebra/prefill/model.norm", H5T_STD_U16LE, 2, { TOKENS, CHANNELS, 0, 0 }, "bf16" };
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    ck_assert(H5Pset_chunk(properties, 2, s.dims) >= 0);
    /* 32001 is blosc's number: not there, and optional, so that the writer goes on without it. */
    ck_assert(H5Pset_filter(properties, 32001, H5Z_FLAG_OPTIONAL, 0, NULL) >= 0);
    put_dataset_with(f, &s, properties, norm_values);
    (void)H5Pclose(properties);
}

static const struct refusal read_refusals[] = {
    { "gone", norm_gone, "holds no 'zebra/prefill/model.norm'" },
    { "a group", norm_group, "'zebra/prefill/model.norm' is no dataset" },
    { "a named type", norm_named_type, "'zebra/prefill/model.norm' is no dataset" },
    { "signed", norm_signed, "is stored as integer 16 where unsigned integer 16 for bf16 is wanted" },
    { "wide", norm_wide, "is stored as unsigned integer 32 where unsigned integer 16 for bf16 is wanted" },
    { "big-endian", norm_big_endian, "is stored as unsigned integer 16 big-endian" },
    { "float", norm_float, "is stored as float 32" },
    { "no dtype", norm_without_dtype, "lacks attribute 'dtype' of 'zebra/prefill/model.norm'" },
    { "other dtype", norm_other_dtype, "has dtype 'f16' where 'bf16' is wanted" },
    { "flat", norm_flat, "has shape [24] where [3, 8] is wanted" },
    { "transposed", norm_transposed, "has shape [8, 3] where [3, 8] is wanted" },
    { "scalar", norm_scalar, "has shape [] where [3, 8] is wanted" },
    { "null", norm_null, "is empty where shape [3, 8] is wanted" },
    { "absurd", norm_absurd, "has shape [1099511627776, 1048576] where [3, 8] is wanted" },
    { "huge chunk", norm_huge_chunk, "cut into chunks of 1 GiB or more" },
    { "external", norm_external, "keeps its elements in another file" },
    { "virtual", norm_virtual, "keeps its elements in another file" },
    { "filter", norm_filter, "is stored through the filter 32001" },
};
enum { READ_REFUSALS = (int)(sizeof read_refusals / sizeof *read_refusals) };

START_TEST(test_golden_dataset_with_one_thing_wrong_is_refused)
{
    const struct refusal *r = &read_refusals[_i];
    const hid_t file = write_golden(true, false);
    r->damage(file);
    ck_assert(H5Fclose(file) >= 0);
    qp_golden *golden;
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s: %s", r->name, qp_last_error());
    uint16_t norm[TOKENS][CHANNELS];
    const int64_t dims[] = { TOKENS, CHANNELS };
    const qp_golden_phase *phase = qp_golden_phase_at(golden, 0);
    const qp_status status = qp_golden_read(golden, phase, "model.norm", QP_BF16, 2, dims, norm);
    ck_assert_msg(status == QP_FORMAT, "%s: %s", r->name, qp_status_name(status));
    expect_refused(status, QP_FORMAT, r->sentence);
    /* The rest can still be read. */
    int64_t next[TOKENS];
    ck_assert_int_eq(qp_golden_read(golden, phase, "next_token", QP_I64, 1, dims, next), QP_OK);
    qp_golden_close(golden);
}
END_TEST

START_TEST(test_golden_read_asked_wrongly_is_invalid)
{
    write_plain();
    qp_golden *golden;
    ck_assert_int_eq(qp_golden_open(file_path, &golden), QP_OK);
    const qp_golden_phase *phase = qp_golden_phase_at(golden, 0);
    uint16_t norm[TOKENS][CHANNELS];
    const int64_t dims[QP_MAX_RANK + 1] = { TOKENS, CHANNELS, 1, 1, 1 }, none[] = { TOKENS, 0 };
    expect_refused(qp_golden_read(golden, phase, "model.norm", QP_F64, 2, dims, norm), QP_INVALID, "as f64");
    expect_refused(qp_golden_read(golden, phase, "model.norm", QP_BF16, QP_MAX_RANK + 1, dims, norm), QP_INVALID,
                   "rank 5");
    expect_refused(qp_golden_read(golden, phase, "model.norm", QP_BF16, 2, none, norm), QP_INVALID, "extent of 0");
    expect_refused(qp_golden_read(golden, phase, "model.norm", QP_F32, 2, dims, norm), QP_FORMAT, "float 32 for f32");
    expect_refused(qp_golden_read(golden, phase, "../prefill/model.norm", QP_BF16, 2, dims, norm), QP_FORMAT,
                   "holds no");
    qp_golden_close(golden);
}
END_TEST

/* ---- damage without a plan ----
 * HDF5 1.10.8 itself reads out of bounds on about one damaged file in a hundred (seen: H5HG_read with a length that
 * lies, H5C_protect with a size of 2^54 bytes) and hangs on some, so each file is read in a process of its own. Under
 * the address sanitizer its report tells whose fault a crash was, and one of ours fails the test; without it crashes
 * are counted and printed. */

enum { SURVIVED = 0, BROKE_PROMISE = 3, SECONDS = 2, LEAST_ROUNDS = 20 };

/* Runs in the child. Opens and reads everything; false if the reader broke a promise of its header. */
static bool read_all(const char *path)
{
    qp_golden *golden = (qp_golden *)folder;
    unsigned char data[TOKENS * CHANNELS * 8];
    if (qp_golden_open(path, &golden) != QP_OK) return !golden && qp_last_error()[0];
    bool kept = qp_golden_weights_sha256(golden) && qp_golden_phase_count(golden) > 0;
    for (int i = 0; i < qp_golden_attribute_count(golden); i++)
        kept = kept && qp_golden_attribute(golden, qp_golden_attribute_name(golden, i));
    for (int i = 0; i < qp_golden_phase_count(golden); i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i);
        const int64_t dims[] = { phase->tokens < TOKENS ? phase->tokens : TOKENS, CHANNELS }, rotary[] = { dims[0], 2 };
        kept = kept && phase->prompt && phase->text && phase->tokens >= 1 && phase->past >= 0;
        for (int k = 1; k < phase->boundary_count; k++)
            kept = kept && strcmp(phase->boundaries[k - 1], phase->boundaries[k]) < 0;
        qp_status status = qp_golden_read(golden, phase, "model.norm", QP_BF16, 2, dims, data);
        kept = kept && (status == QP_OK || status == QP_FORMAT);
        status = qp_golden_read(golden, phase, "model.rotary_emb.cos", QP_F32, 2, rotary, data);
        kept = kept && (status == QP_OK || status == QP_FORMAT);
        status = qp_golden_read(golden, phase, "next_token", QP_I64, 1, dims, data);
        kept = kept && (status == QP_OK || status == QP_FORMAT);
    }
    qp_golden_close(golden);
    return kept;
}

/* A size that lies should fail at once and not fill the machine's memory first. */
#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#endif
#ifdef ADDRESS_SANITIZER
/* It maps terabytes for itself, so it has a limit of its own. It looks for this function by name. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "max_allocation_size_mb=1024:allocator_may_return_null=1"; }
static void limit_memory(void) {}
#else
static void limit_memory(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0) return;
    limit.rlim_cur = (rlim_t)2 << 30;
    (void)setrlimit(RLIMIT_AS, &limit);
}
#endif

static int read_in_child(const char *path, const char *log_path)
{
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        FILE *log = freopen(log_path, "w", stderr);
        limit_memory();
        /* HDF5 also walks in circles on some files. Check's own handler would end the whole test. */
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(2);
        /* _exit: what HDF5 leaves behind on its own error paths is no leak of ours. The tests above look for those. */
        _exit(log && read_all(path) ? SURVIVED : BROKE_PROMISE);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) ck_assert_int_eq(errno, EINTR);
    return status;
}

/* Whether the sanitizer's report in `log` puts the fault into our code: of the frames in HDF5 and in the reader, one
 * in the reader comes first, or there is none in HDF5. (Innermost are the sanitizer's own stand-ins for malloc,
 * free and memcpy.) */
static bool fault_is_ours(const char *log)
{
    if (strstr(log, "runtime error:")) return true; /* HDF5 is not built with the undefined-behaviour sanitizer */
    if (!strstr(log, "ERROR: AddressSanitizer")) return false;
    const char *theirs = strstr(log, "libhdf5"), *ours = strstr(log, "golden.c:");
    return !theirs || (ours && ours < theirs);
}

static uint32_t fuzz_state;

static uint32_t fuzz_bits(void) /* xorshift */
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 17;
    fuzz_state ^= fuzz_state << 5;
    return fuzz_state;
}

/* Replaces or flips a bit of one to four bytes. The seed alone decides. */
static void damage_bytes(unsigned char *bytes, size_t count, uint32_t seed)
{
    fuzz_state = seed * UINT32_C(2654435761) | 1;
    for (unsigned flips = 1 + fuzz_bits() % 4; flips > 0; flips--) {
        unsigned char *at = &bytes[fuzz_bits() % count];
        *at = (unsigned char)(fuzz_bits() % 2 ? fuzz_bits() : *at ^ 1u << fuzz_bits() % 8);
    }
}

/* QP_FUZZ=SEED replays one round, QP_FUZZ_SECONDS=N runs longer. */
START_TEST(test_golden_survives_damaged_bytes)
{
    size_t count, log_bytes;
    char log_path[128];
    const char *replay = getenv("QP_FUZZ"), *longer = getenv("QP_FUZZ_SECONDS");
    ck_assert(H5Fclose(write_golden(true, _i == 1)) >= 0);
    unsigned char *whole = read_bytes(file_path, &count), *damaged = malloc(count);
    ck_assert_ptr_nonnull(damaged);
    (void)snprintf(log_path, sizeof log_path, "%s.log", other_path);

    const time_t end = time(NULL) + (longer ? strtol(longer, NULL, 10) : SECONDS);
    uint32_t seed = replay ? (uint32_t)strtoul(replay, NULL, 0) : 1;
    int rounds = 0, crashes = 0;
    uint32_t first_crash = 0;
    while (replay ? rounds == 0 : time(NULL) < end || rounds < LEAST_ROUNDS) {
        memcpy(damaged, whole, count);
        damage_bytes(damaged, count, seed);
        write_bytes(other_path, damaged, count);
        const int status = read_in_child(other_path, log_path);
        ck_assert_msg(!WIFEXITED(status) || WEXITSTATUS(status) != BROKE_PROMISE,
                      "the reader broke a promise of golden.h; replay with QP_FUZZ=%u", seed);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != SURVIVED) {
            unsigned char *bytes = read_bytes(log_path, &log_bytes);
            char *log = calloc(log_bytes + 1, 1);
            ck_assert_ptr_nonnull(log);
            memcpy(log, bytes, log_bytes);
            ck_assert_msg(!fault_is_ours(log), "the reader crashed, replay with QP_FUZZ=%u:\n%s", seed, log);
            free(log);
            free(bytes);
            if (crashes++ == 0) first_crash = seed;
        }
        seed++;
        rounds++;
    }
    if (crashes)
        printf("golden: HDF5 crashed or hung on %d of %d damaged files, the first with QP_FUZZ=%u\n", crashes, rounds,
               first_crash);
    (void)unlink(log_path);
    free(damaged);
    free(whole);
}
END_TEST

/* ---- the embedded golden, with one thing taken away, against its model ---- */

#define MODEL QP_SOURCE_DIR "/golden/qwen3-tiny"

static void lose_prompt(hid_t f) { ck_assert_int_ge(H5Ldelete(f, "tokens_33", H5P_DEFAULT), 0); }

static void lose_boundary(hid_t f)
{
    ck_assert_int_ge(H5Ldelete(f, "one_token/prefill/model.layers.1.self_attn.k_rope", H5P_DEFAULT), 0);
}

static void lose_hashes(hid_t f)
{
    static const char none[] = "{}";
    const hid_t space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1);
    ck_assert_int_ge(H5Tset_size(type, sizeof none - 1), 0);
    ck_assert_int_ge(H5Ldelete(f, "weights_sha256", H5P_DEFAULT), 0);
    const hid_t set = H5Dcreate2(f, "weights_sha256", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert_int_ge(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, none), 0);
    ck_assert_int_ge(H5Dclose(set), 0);
    ck_assert_int_ge(H5Tclose(type), 0);
    ck_assert_int_ge(H5Sclose(space), 0);
}

static void other_attention(hid_t f) { put_text(f, "attn_implementation", "sdpa"); }

static const struct {
    void (*damage)(hid_t file);
    const char *sentence;
} losses[] = {
    { lose_prompt, "lacks the prompt 'tokens_33'" },
    { lose_boundary, "model.layers.1.self_attn.k_rope is missing" },
    { lose_hashes, "names no weight" },
    { other_attention, "'sdpa'" },
};

START_TEST(test_golden_of_the_model_with_something_lost_is_refused)
{
    char command[512];
    qp_model model;
    qp_golden *golden = NULL;
    qp_report report;
    (void)snprintf(command, sizeof command, "cp '" MODEL ".h5' '%s'", file_path);
    ck_assert_int_eq(system(command), 0);
    const hid_t file = H5Fopen(file_path, H5F_ACC_RDWR, H5P_DEFAULT);
    ck_assert_int_ge(file, 0);
    losses[_i].damage(file);
    ck_assert_int_ge(H5Fclose(file), 0);

    ck_assert_int_eq(qp_model_open(MODEL, &model), QP_OK);
    ck_assert_msg(qp_golden_open(file_path, &golden) == QP_OK, "%s", qp_last_error());
    const qp_verify_options options = { .golden_path = file_path, .only = "one_token/*" };
    qp_runtime runtime;
    ck_assert_int_eq(qp_runtime_open(&model, QP_CPU, &runtime), QP_OK);
    qp_status status = qp_golden_require_model(golden, &model);
    if (status == QP_OK) status = qp_verify(&runtime, golden, &options, &report);
    ck_assert(status == QP_FORMAT || status == QP_UNSUPPORTED);
    ck_assert_msg(strstr(qp_last_error(), losses[_i].sentence) != NULL, "%s", qp_last_error());
    qp_golden_close(golden);
    qp_runtime_close(&runtime);
    qp_model_close(&model);
}
END_TEST

Suite *golden_suite(void)
{
    Suite *suite = suite_create("golden");
    TCase *reading = tcase_create("reading");
    tcase_add_checked_fixture(reading, setup, teardown);
    tcase_add_loop_test(reading, test_golden_lists_what_the_file_holds, 0, 2);
    tcase_add_test(reading, test_golden_without_creation_order_lists_by_name);
    tcase_add_test(reading, test_golden_reads_every_bit);
    tcase_add_test(reading, test_golden_accepts_equivalent_forms);
    tcase_add_test(reading, test_golden_of_the_repository_is_consistent);
    suite_add_tcase(suite, reading);

    TCase *refusing = tcase_create("refusing");
    tcase_add_checked_fixture(refusing, setup, teardown);
    tcase_add_test(refusing, test_golden_missing_file_is_io);
    tcase_add_test(refusing, test_golden_folder_is_io);
    tcase_add_test(refusing, test_golden_unreadable_file_is_io);
    tcase_add_test(refusing, test_golden_text_and_empty_files_are_refused);
    tcase_add_test(refusing, test_golden_truncated_file_is_refused);
    tcase_add_test(refusing, test_golden_other_hdf5_file_is_refused);
    tcase_add_loop_test(refusing, test_golden_with_one_thing_wrong_is_refused, 0, REFUSALS);
    tcase_add_loop_test(refusing, test_golden_dataset_with_one_thing_wrong_is_refused, 0, READ_REFUSALS);
    tcase_add_test(refusing, test_golden_read_asked_wrongly_is_invalid);
    tcase_add_loop_test(refusing, test_golden_of_the_model_with_something_lost_is_refused, 0,
                        (int)(sizeof losses / sizeof *losses));
    suite_add_tcase(suite, refusing);

    TCase *damage = tcase_create("damage");
    tcase_add_checked_fixture(damage, setup, teardown);
    tcase_set_timeout(damage, 60);
    tcase_add_loop_test(damage, test_golden_survives_damaged_bytes, 0, 2);
    suite_add_tcase(suite, damage);
    return suite;
}

int main(void) { return qp_check_main(golden_suite()); }
