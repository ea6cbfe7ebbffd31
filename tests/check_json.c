/* JSON: what is refused and how it is said, and that what is written reads back the same. */
#include <check.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>

#include "../model/json.h"
#include "check_files.h"
#include "check_main.h"
#include "check_random.h"

Suite *json_suite(void);

static qp_json *parse(const char *text)
{
    qp_json *json;
    const qp_status status = qp_json_parse(text, (int64_t)strlen(text), "memory", &json);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    return json;
}

static void expect_failure(qp_status status, qp_status wanted, const char *part)
{
    ck_assert_msg(status == wanted, "%s where %s is wanted", qp_status_name(status), qp_status_name(wanted));
    ck_assert_msg(strstr(qp_last_error(), part) != NULL, "'%s' does not say '%s'", qp_last_error(), part);
    ck_assert_ptr_null(strchr(qp_last_error(), '\n'));
}

/* ---- Reading ---- */

START_TEST(test_json_reads_every_kind)
{
    qp_json *const json = parse(" {\"i\": -7, \"d\": 1e-6, \"t\": true, \"f\": false, \"s\": \"\\u00e9\\n\","
                                " \"n\": null, \"a\": [1, 2, 3], \"o\": {\"i\": 9007199254740992}}\r\n");
    const qp_json_node root = qp_json_root(json);
    int64_t i;
    double d;
    bool b;
    const char *s;
    qp_json_node node;
    ck_assert_int_eq(qp_json_get_int64(root, "i", &i), QP_OK);
    ck_assert_int_eq(i, -7);
    ck_assert_int_eq(qp_json_get_double(root, "d", &d), QP_OK);
    ck_assert_double_eq(d, 1e-6);
    ck_assert_int_eq(qp_json_get_double(root, "i", &d), QP_OK);
    ck_assert_double_eq(d, -7.0);
    ck_assert_int_eq(qp_json_get_bool(root, "t", &b), QP_OK);
    ck_assert(b);
    ck_assert_int_eq(qp_json_get_bool(root, "f", &b), QP_OK);
    ck_assert(!b);
    ck_assert_int_eq(qp_json_get_string(root, "s", &s), QP_OK);
    ck_assert_str_eq(s, "\xC3\xA9\n");
    ck_assert_int_eq(qp_json_kind_of(qp_json_find(root, "n")), QP_JSON_NULL);
    ck_assert_int_eq(qp_json_kind_of(qp_json_find(root, "absent")), QP_JSON_ABSENT);
    ck_assert_int_eq(qp_json_get_array(root, "a", &node), QP_OK);
    ck_assert_int_eq(qp_json_count(node), 3);
    int64_t sum = 0;
    for (qp_json_node n = qp_json_first(node); n.item != NULL; n = qp_json_next(n)) {
        ck_assert_int_eq(qp_json_as_int64(n, &i), QP_OK);
        ck_assert_ptr_null(qp_json_key(n));
        sum = sum * 10 + i;
    }
    ck_assert_int_eq(sum, 123);
    ck_assert_int_eq(qp_json_get_object(root, "o", &node), QP_OK);
    ck_assert_str_eq(qp_json_key(node), "o");
    ck_assert_int_eq(qp_json_get_int64(node, "i", &i), QP_OK);
    ck_assert_int_eq(i, INT64_C(9007199254740992));
    ck_assert_int_eq(qp_json_count(root), 8);
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_optional_members)
{
    qp_json *const json = parse("{\"null\": null, \"i\": 3, \"s\": \"x\"}");
    const qp_json_node root = qp_json_root(json);
    int64_t i;
    double d;
    bool b;
    const char *s;
    ck_assert_int_eq(qp_json_get_int64_or(root, "absent", 5, &i), QP_OK);
    ck_assert_int_eq(i, 5);
    ck_assert_int_eq(qp_json_get_int64_or(root, "null", 6, &i), QP_OK);
    ck_assert_int_eq(i, 6);
    ck_assert_int_eq(qp_json_get_int64_or(root, "i", 6, &i), QP_OK);
    ck_assert_int_eq(i, 3);
    ck_assert_int_eq(qp_json_get_double_or(root, "null", 0.5, &d), QP_OK);
    ck_assert_double_eq(d, 0.5);
    ck_assert_int_eq(qp_json_get_bool_or(root, "absent", true, &b), QP_OK);
    ck_assert(b);
    ck_assert_int_eq(qp_json_get_string_or(root, "absent", "y", &s), QP_OK);
    ck_assert_str_eq(s, "y");
    expect_failure(qp_json_get_int64_or(root, "s", 5, &i), QP_FORMAT, "s in memory is a string");
    expect_failure(qp_json_get_bool_or(root, "i", true, &b), QP_FORMAT, "i in memory is a number");
    expect_failure(qp_json_get_string_or(root, "i", "", &s), QP_FORMAT, "a string is needed");
    expect_failure(qp_json_get_double_or(root, "s", 0, &d), QP_FORMAT, "a number is needed");
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_getters_name_the_file_and_the_key)
{
    qp_json *const json = parse("{\"outer\": {\"list\": [0, {\"deep\": \"text\"}]}, \"line\\nbreak\": 1}");
    const qp_json_node root = qp_json_root(json), outer = qp_json_find(root, "outer");
    const qp_json_node second = qp_json_next(qp_json_first(qp_json_find(outer, "list")));
    int64_t i = 42;
    bool b;
    const char *s;
    qp_json_node node;
    char where[64];
    expect_failure(qp_json_get_int64(second, "deep", &i), QP_FORMAT,
                   "outer.list[1].deep in memory is a string, but a whole number is needed");
    expect_failure(qp_json_get_int64(second, "absent", &i), QP_FORMAT, "outer.list[1].absent is missing from memory");
    expect_failure(qp_json_get_bool(root, "outer", &b), QP_FORMAT, "outer in memory is an object");
    expect_failure(qp_json_get_array(root, "outer", &node), QP_FORMAT, "an array is needed");
    expect_failure(qp_json_get_object(outer, "list", &node), QP_FORMAT, "outer.list in memory is an array");
    expect_failure(qp_json_get_string(root, "absent", &s), QP_FORMAT, "absent is missing from memory");
    expect_failure(qp_json_get_int64(qp_json_find(outer, "list"), "x", &i), QP_FORMAT, "an object is needed");
    expect_failure(qp_json_as_string(qp_json_find(root, "line\nbreak"), &s), QP_FORMAT, "line?break in memory");
    expect_failure(qp_json_as_int64(qp_json_find(root, "absent"), &i), QP_FORMAT, "missing");
    ck_assert_int_eq(i, 42);
    ck_assert_str_eq(qp_json_where(second, where, sizeof where), "outer.list[1]");
    ck_assert_str_eq(qp_json_where(second, where, 8), "outer.l"); /* cut, not overrun */
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_integers_are_exact_or_refused)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "1e3", true, 1000 },
        { "9007199254740992", true, INT64_C(9007199254740992) },
        { "-9007199254740992", true, -INT64_C(9007199254740992) },
        { "9007199254740994", false, 0 },
        { "1.5", false, 0 },
        { "1e300", false, 0 },
        { "1e999", false, 0 },
        { "true", false, 0 },
        { "null", false, 0 },
        { "[1]", false, 0 },
        { "\"9223372036854775807\"", true, INT64_MAX },
        { "\"-9223372036854775808\"", true, INT64_MIN },
        { "\"9223372036854775808\"", false, 0 },
        { "\"9007199254740993\"", true, INT64_C(9007199254740993) },
        { "\"12\"", false, 0 }, /* the writer would have made it a number */
        { "\" 9007199254740993\"", false, 0 },
        { "\"+9007199254740993\"", false, 0 },
        { "\"9007199254740993x\"", false, 0 },
        { "\"\"", false, 0 },
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        qp_json *const json = parse(cases[c].text);
        int64_t value = 0;
        const qp_status status = qp_json_as_int64(qp_json_root(json), &value);
        ck_assert_msg(status == (cases[c].good ? QP_OK : QP_FORMAT), "%s gives %s", cases[c].text,
                      qp_status_name(status));
        ck_assert_msg(value == cases[c].value, "%s gives %" PRId64, cases[c].text, value);
        qp_json_free(json);
    }
}
END_TEST

START_TEST(test_json_double_too_large_is_refused)
{
    qp_json *const json = parse("[1e999, \"nan\", \"inf\", \"-inf\", \"infinity\"]");
    qp_json_node node = qp_json_first(qp_json_root(json));
    double value = 0;
    expect_failure(qp_json_as_double(node, &value), QP_FORMAT, "[0] in memory is too large");
    ck_assert_int_eq(qp_json_as_double(node = qp_json_next(node), &value), QP_OK);
    ck_assert(isnan(value));
    ck_assert_int_eq(qp_json_as_double(node = qp_json_next(node), &value), QP_OK);
    ck_assert(isinf(value) && value > 0);
    ck_assert_int_eq(qp_json_as_double(node = qp_json_next(node), &value), QP_OK);
    ck_assert(isinf(value) && value < 0);
    expect_failure(qp_json_as_double(qp_json_next(node), &value), QP_FORMAT, "a number is needed");
    qp_json_free(json);
}
END_TEST

static const struct {
    const char *text;
    int64_t bytes; /* 0: all */
    const char *part;
} bad_texts[] = {
    { "{\"a\": 1", 0, "memory, line 1" },
    { "{\"a\": 1,\n \"b\" 2}", 0, "memory, line 2, column 6: this is not valid JSON" },
    { "", 0, "not valid JSON" },
    { "   ", 0, "not valid JSON" },
    { "{a: 1}", 0, "not valid JSON" },
    { "[1, 2", 0, "not valid JSON" },
    { "nul", 0, "not valid JSON" },
    { "\"open", 0, "not valid JSON" },
    { "\"\\x\"", 0, "not valid JSON" },
    { "\"\\ud800\"", 0, "not valid JSON" },
    { "{} {}", 0, "column 4: there is more after the end" },
    { "[1] x", 0, "there is more after the end" },
    { "[1]\0", 4, "column 4: a zero byte" },
    { "[\"a\0b\"]", 7, "a zero byte" },
    { "[\"a\\u0000b\"]", 0, "column 4: the character \\u0000" },
    { "[\"\xFF\"]", 0, "column 3: this is not UTF-8" },
    { "[\"\xC3\"]", 0, "not UTF-8" },
    { "[\"\xED\xA0\x80\"]", 0, "not UTF-8" },
};

START_TEST(test_json_bad_text_is_refused_with_its_place)
{
    qp_json *json;
    const char *const text = bad_texts[_i].text;
    const int64_t bytes = bad_texts[_i].bytes != 0 ? bad_texts[_i].bytes : (int64_t)strlen(text);
    /* A copy of exact size, so that a sanitizer sees a byte read too many. */
    char *const copy = malloc((size_t)bytes + (bytes == 0));
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, (size_t)bytes);
    expect_failure(qp_json_parse(copy, bytes, "memory", &json), QP_FORMAT, bad_texts[_i].part);
    ck_assert_ptr_null(json);
    free(copy);
}
END_TEST

START_TEST(test_json_escaped_backslash_before_u0000_is_no_zero)
{
    qp_json *const json = parse("\"\\\\u0000\"");
    const char *text;
    ck_assert_int_eq(qp_json_as_string(qp_json_root(json), &text), QP_OK);
    ck_assert_str_eq(text, "\\u0000");
    qp_json_free(json);
}
END_TEST

START_TEST(test_json_deep_nesting_is_refused)
{
    enum { DEPTH = 300000 };
    char *const text = malloc(DEPTH + 1);
    qp_json *json;
    ck_assert_ptr_nonnull(text);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    expect_failure(qp_json_parse(text, DEPTH, "memory", &json), QP_FORMAT, "not valid JSON");
    for (int i = 0; i < DEPTH / 5; i++) memcpy(text + i * 5, "{\"a\":", 5);
    expect_failure(qp_json_parse(text, DEPTH, "memory", &json), QP_FORMAT, "not valid JSON");
    free(text);
}
END_TEST

START_TEST(test_json_files)
{
    qp_json *json;
    files_write_text("good.json", "{\"a\": 1}");
    files_write_text("empty.json", "");
    files_write_text("bad.json", "{\n\n!}");
    files_make_folder("folder.json");
    ck_assert_int_eq(qp_json_read_file(files_path("good.json"), &json), QP_OK);
    ck_assert_str_eq(qp_json_origin(json), files_path("good.json"));
    qp_json_free(json);
    expect_failure(qp_json_read_file(files_path("absent.json"), &json), QP_IO, "absent.json cannot be opened: No such");
    ck_assert_ptr_null(json);
    expect_failure(qp_json_read_file(files_path("folder.json"), &json), QP_IO, "folder.json is a folder");
    expect_failure(qp_json_read_file("/dev/null", &json), QP_IO, "/dev/null is a device");
    expect_failure(qp_json_read_file(files_path("empty.json"), &json), QP_FORMAT, "empty.json is empty");
    expect_failure(qp_json_read_file(files_path("bad.json"), &json), QP_FORMAT, "bad.json, line 3, ");
    files_write_text("huge.json", "{}");
    ck_assert_int_eq(truncate(files_path("huge.json"), (off_t)257 << 20), 0);
    expect_failure(qp_json_read_file(files_path("huge.json"), &json), QP_FORMAT, "more than");
    qp_json_free(NULL);
}
END_TEST

/* ---- Writing ---- */

START_TEST(test_json_writes_in_order_and_exactly)
{
    qp_json_writer *const w = qp_json_writer_open();
    char *text;
    qp_json_open_object(w, NULL);
    qp_json_put_string(w, "z", "a\"\\\n\x01/");
    qp_json_put_int64(w, "small", -12);
    qp_json_put_int64(w, "edge", INT64_C(9007199254740992));
    qp_json_put_int64(w, "beyond", INT64_C(9007199254740993));
    qp_json_put_int64(w, "lowest", INT64_MIN);
    qp_json_put_uint64(w, "highest", UINT64_MAX);
    qp_json_put_double(w, "sum", 0.1 + 0.2);
    qp_json_put_double(w, "tenth", 0.1);
    qp_json_put_double(w, "zero", -0.0);
    qp_json_put_double(w, "nan", (double)NAN);
    qp_json_put_double(w, "inf", (double)INFINITY);
    qp_json_put_double(w, "minus", -(double)INFINITY);
    qp_json_open_array(w, "list");
    qp_json_put_bool(w, NULL, true);
    qp_json_put_null(w, NULL);
    qp_json_put_string(w, NULL, NULL);
    qp_json_open_object(w, NULL);
    qp_json_close(w);
    qp_json_close(w);
    qp_json_put_string(w, "broken\xFF", "\xFFz\xC3");
    qp_json_close(w);
    ck_assert_int_eq(qp_json_write_text(w, &text), QP_OK);
    qp_json_writer_close(w);

    char squeezed[1024];
    size_t length = 0;
    for (const char *c = text; *c != '\0'; c++)
        if (*c != '\t' && *c != '\n' && *c != ' ') squeezed[length++] = *c;
    squeezed[length] = '\0';
    ck_assert_str_eq(squeezed,
                     "{\"z\":\"a\\\"\\\\\\n\\u0001/\",\"small\":-12,\"edge\":9007199254740992,"
                     "\"beyond\":\"9007199254740993\",\"lowest\":\"-9223372036854775808\","
                     "\"highest\":\"18446744073709551615\",\"sum\":0.30000000000000004,\"tenth\":0.1,\"zero\":-0,"
                     "\"nan\":\"nan\",\"inf\":\"inf\",\"minus\":\"-inf\",\"list\":[true,null,null,{}],"
                     "\"broken\xEF\xBF\xBD\":\"\xEF\xBF\xBDz\xEF\xBF\xBD\"}");
    ck_assert_int_eq(text[strlen(text) - 1], '\n');

    qp_json *const json = parse(text);
    int64_t value;
    ck_assert_int_eq(qp_json_get_int64(qp_json_root(json), "lowest", &value), QP_OK);
    ck_assert_int_eq(value, INT64_MIN);
    ck_assert_int_eq(qp_json_get_int64(qp_json_root(json), "edge", &value), QP_OK);
    ck_assert_int_eq(value, INT64_C(9007199254740992));
    qp_json_free(json);
    free(text);
}
END_TEST

START_TEST(test_json_doubles_read_back_the_same)
{
    enum { COUNT = 5000 };
    static const double special[] = { 0.0, -0.0, DBL_MIN, DBL_MAX, -DBL_MAX, DBL_TRUE_MIN, DBL_EPSILON, 1.0 / 3.0 };
    uint64_t state = check_seed(20260101);
    double values[COUNT];
    qp_json_writer *const w = qp_json_writer_open();
    char *text;
    qp_json_open_array(w, NULL);
    for (int i = 0; i < COUNT; i++) {
        uint64_t bits = check_random(&state);
        memcpy(&values[i], &bits, sizeof bits);
        if (!isfinite(values[i])) values[i] = (double)i + 0.1;
        if (i < (int)(sizeof special / sizeof special[0])) values[i] = special[i];
        qp_json_put_double(w, NULL, values[i]);
    }
    qp_json_close(w);
    ck_assert_int_eq(qp_json_write_text(w, &text), QP_OK);
    qp_json *const json = parse(text);
    qp_json_node node = qp_json_first(qp_json_root(json));
    for (int i = 0; i < COUNT; i++, node = qp_json_next(node)) {
        double read;
        ck_assert_int_eq(qp_json_as_double(node, &read), QP_OK);
        ck_assert_msg(memcmp(&read, &values[i], sizeof read) == 0, "%a came back as %a", values[i], read);
    }
    qp_json_free(json);
    free(text);
    qp_json_writer_close(w);
}
END_TEST

static void misuse_no_key(qp_json_writer *w)
{
    qp_json_open_object(w, NULL);
    qp_json_put_int64(w, NULL, 1);
    qp_json_close(w);
}

static void misuse_key_in_array(qp_json_writer *w)
{
    qp_json_open_array(w, NULL);
    qp_json_put_int64(w, "key", 1);
    qp_json_close(w);
}

static void misuse_second_root(qp_json_writer *w)
{
    qp_json_put_int64(w, NULL, 1);
    qp_json_put_int64(w, NULL, 2);
}

static void misuse_root_key(qp_json_writer *w) { qp_json_open_object(w, "key"); }

static void misuse_still_open(qp_json_writer *w) { qp_json_open_array(w, NULL); }

static void misuse_closed_twice(qp_json_writer *w)
{
    qp_json_open_array(w, NULL);
    qp_json_close(w);
    qp_json_close(w);
}

static void misuse_nothing(qp_json_writer *w) { (void)w; }

static void misuse_too_deep(qp_json_writer *w)
{
    for (int i = 0; i < 100; i++) qp_json_open_array(w, NULL);
    for (int i = 0; i < 100; i++) qp_json_close(w);
}

static const struct {
    void (*write)(qp_json_writer *w);
    const char *part;
} misuses[] = {
    { misuse_no_key, "without a key" },     { misuse_key_in_array, "array with a key" },
    { misuse_second_root, "second value" }, { misuse_root_key, "outermost" },
    { misuse_still_open, "still open" },    { misuse_closed_twice, "closed that was not open" },
    { misuse_nothing, "not complete" },     { misuse_too_deep, "too deeply" },
};

START_TEST(test_json_writer_keeps_the_first_mistake)
{
    qp_json_writer *const w = qp_json_writer_open();
    char *text;
    misuses[_i].write(w);
    expect_failure(qp_json_write_text(w, &text), QP_INVALID, misuses[_i].part);
    ck_assert_ptr_null(text);
    qp_json_writer_close(w);
}
END_TEST

START_TEST(test_json_writer_without_memory_fails_in_the_end)
{
    char *text;
    qp_json_open_object(NULL, NULL);
    qp_json_put_int64(NULL, "a", 1);
    qp_json_close(NULL);
    expect_failure(qp_json_write_text(NULL, &text), QP_NO_MEMORY, "memory");
    qp_json_writer_close(NULL);
}
END_TEST

START_TEST(test_json_full_disk_is_io)
{
    FILE *const full = fopen("/dev/full", "w");
    if (full == NULL) return; /* not every system has one */
    qp_json_writer *const w = qp_json_writer_open();
    qp_json_open_object(w, NULL);
    qp_json_close(w);
    expect_failure(qp_json_write_file(w, full, "/dev/full"), QP_IO, "/dev/full cannot be written");
    qp_json_writer_close(w);
    (void)fclose(full);
}
END_TEST

Suite *json_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *reading = tcase_create("reading");
    tcase_add_unchecked_fixture(reading, files_setup, files_teardown);
    tcase_set_timeout(reading, 60);
    tcase_add_test(reading, test_json_reads_every_kind);
    tcase_add_test(reading, test_json_optional_members);
    tcase_add_test(reading, test_json_getters_name_the_file_and_the_key);
    tcase_add_test(reading, test_json_integers_are_exact_or_refused);
    tcase_add_test(reading, test_json_double_too_large_is_refused);
    tcase_add_loop_test(reading, test_json_bad_text_is_refused_with_its_place, 0,
                        (int)(sizeof bad_texts / sizeof bad_texts[0]));
    tcase_add_test(reading, test_json_escaped_backslash_before_u0000_is_no_zero);
    tcase_add_test(reading, test_json_deep_nesting_is_refused);
    tcase_add_test(reading, test_json_files);
    suite_add_tcase(suite, reading);

    TCase *writing = tcase_create("writing");
    tcase_set_timeout(writing, 60);
    tcase_add_test(writing, test_json_writes_in_order_and_exactly);
    tcase_add_test(writing, test_json_doubles_read_back_the_same);
    tcase_add_loop_test(writing, test_json_writer_keeps_the_first_mistake, 0,
                        (int)(sizeof misuses / sizeof misuses[0]));
    tcase_add_test(writing, test_json_writer_without_memory_fails_in_the_end);
    tcase_add_test(writing, test_json_full_disk_is_io);
    suite_add_tcase(suite, writing);
    return suite;
}

int main(void) { return qp_check_main(json_suite()); }
