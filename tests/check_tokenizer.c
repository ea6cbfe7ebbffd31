/* The tokenizer and its parts: merging against a second, slow implementation, splitting against what the `tokenizers`
 * library gives, normalizing, bad files, bad text, long text. */
#include <check.h>
#include <inttypes.h>

#include "../model/bpe.h"
#include "../model/json.h"
#include "../model/nfc.h"
#include "../model/split_pattern.h"
#include "../model/tokenizer.h"
#include "../model/utf8.h"
#include "check_files.h"
#include "check_main.h"
#include "check_random.h"

Suite *tokenizer_suite(void);

#define QWEN_PATTERN                                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define FFFD QP_UTF8_REPLACEMENT

static void expect_failure(qp_status status, qp_status wanted, const char *part)
{
    ck_assert_msg(status == wanted, "%s where %s is wanted (%s)", qp_status_name(status), qp_status_name(wanted),
                  qp_last_error());
    ck_assert_msg(strstr(qp_last_error(), part) != NULL, "'%s' does not say '%s'", qp_last_error(), part);
    ck_assert_ptr_null(strchr(qp_last_error(), '\n'));
}

/* ---- A small tokenizer.json, written here ----
 * Ids: 0..255 the bytes, 256 "he", 257 "ll", 258 "hell", 259 " w", 260 "o" after "hell"; then added tokens. */

/* The byte alphabet again, as a list of exceptions: independent of the code under test. */
static size_t alphabet_character(int byte, char text[3])
{
    int point = byte;
    if (byte <= 0x20)
        point = 0x100 + byte;
    else if (byte >= 0x7F && byte <= 0xA0)
        point = 0x121 + (byte - 0x7F);
    else if (byte == 0xAD)
        point = 0x143;
    if (point < 0x80) {
        text[0] = (char)point;
        text[1] = '\0';
        return 1;
    }
    text[0] = (char)(0xC0 | point >> 6);
    text[1] = (char)(0x80 | (point & 0x3F));
    text[2] = '\0';
    return 2;
}

/* The file with each `find` replaced by `put`; NULL for none. Good until the next call. */
static const char *small_file(const char *find, const char *put)
{
    static char text[16384], changed[20000];
    size_t n = 0;
#define ADD(...) n += (size_t)snprintf(text + n, sizeof text - n, __VA_ARGS__)
    ADD("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    ADD("{\"id\":300,\"content\":\"<|a|>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":true},");
    ADD("{\"id\":301,\"content\":\"<|a|>b\",\"normalized\":false,\"special\":true},");
    ADD("{\"id\":302,\"content\":\"<think>\",\"normalized\":false,\"special\":false},");
    ADD("{\"id\":303,\"content\":\"\\u00e9t\\u00e9\",\"normalized\":false,\"special\":false}],");
    ADD("\"normalizer\":{\"type\":\"NFC\"},");
    ADD("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"");
    for (const char *c = QWEN_PATTERN; *c != '\0'; c++) ADD(*c == '\\' ? "\\\\" : "%c", *c);
    ADD("\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"trim_offsets\":false,\"use_regex\":false}]},");
    ADD("\"post_processor\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,"
        "\"use_regex\":false},");
    ADD("\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},");
    ADD("\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":\"\","
        "\"end_of_word_suffix\":\"\",\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
    for (int b = 0; b < 256; b++) {
        char key[3];
        alphabet_character(b, key);
        ADD("\"%s%s\":%d,", b == '"' || b == '\\' ? "\\" : "", key, b);
    }
    ADD("\"he\":256,\"ll\":257,\"hell\":258,\"\xC4\xA0w\":259,\"hello\":260},");
    ADD("\"merges\":[[\"h\",\"e\"],[\"l\",\"l\"],[\"he\",\"ll\"],[\"\xC4\xA0\",\"w\"],[\"hell\",\"o\"]]}}");
#undef ADD
    if (find == NULL) return text;
    const char *const at = strstr(text, find);
    ck_assert_msg(at != NULL, "the file does not hold '%s'", find);
    (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, put != NULL ? put : "",
                   at + strlen(find));
    return changed;
}

static qp_tokenizer *open_small(const char *find, const char *put)
{
    qp_tokenizer *t;
    files_write_text("tokenizer.json", small_file(find, put));
    const qp_status status = qp_tokenizer_open(files_dir, &t);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    return t;
}

static void expect_ids(const qp_tokenizer *t, const char *text, size_t bytes, const int64_t *wanted,
                       int64_t wanted_count)
{
    const char *const shown = text != NULL ? text : "";
    int64_t *ids, count;
    const qp_status status = qp_tokenizer_encode(t, text, (int64_t)bytes, &ids, &count);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    ck_assert_ptr_nonnull(ids);
    for (int64_t i = 0; i < count && i < wanted_count; i++)
        ck_assert_msg(ids[i] == wanted[i], "'%s': id %" PRId64 " is %" PRId64 " where %" PRId64 " is wanted", shown, i,
                      ids[i], wanted[i]);
    ck_assert_msg(count == wanted_count, "'%s': %" PRId64 " ids where %" PRId64 " are wanted", shown, count,
                  wanted_count);
    free(ids);
}

/* The text that the ids of a text decode to. Malloc'ed. */
static char *there_and_back(const qp_tokenizer *t, const char *text, size_t bytes, int64_t *got_bytes)
{
    int64_t *ids, count;
    char *got;
    ck_assert_msg(qp_tokenizer_encode(t, text, (int64_t)bytes, &ids, &count) == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_tokenizer_decode(t, ids, count, false, &got, got_bytes), QP_OK);
    free(ids);
    return got;
}

#define EXPECT_IDS(t, text, ...)                                                                                       \
    do {                                                                                                               \
        static const int64_t expected[] = { __VA_ARGS__ };                                                             \
        const int64_t expected_count = (int64_t)(sizeof expected / sizeof *expected);                                  \
        expect_ids(t, text, sizeof(text) - 1, expected, expected_count);                                               \
    } while (0)

/* ---- Encoding ---- */

START_TEST(test_tokenizer_merges_by_rank)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    EXPECT_IDS(t, "hello", 260);
    EXPECT_IDS(t, "helo", 256, 'l', 'o');
    EXPECT_IDS(t, "hellllo", 258, 257, 'o');
    EXPECT_IDS(t, "lll", 257, 'l');
    EXPECT_IDS(t, "hello world", 260, 259, 'o', 'r', 'l', 'd');
    EXPECT_IDS(t, "12 3", '1', '2', ' ', '3');
    expect_ids(t, NULL, 0, NULL, 0);
    qp_tokenizer_close(t);
    qp_tokenizer_close(NULL);
}
END_TEST

START_TEST(test_tokenizer_reads_merges_of_older_files)
{
    static const char newer[] = "[[\"h\",\"e\"],[\"l\",\"l\"],[\"he\",\"ll\"],[\"\xC4\xA0\",\"w\"],[\"hell\",\"o\"]]";
    static const char older[] = "[\"h e\",\"l l\",\"he ll\",\"\xC4\xA0 w\",\"hell o\"]";
    qp_tokenizer *const t = open_small(newer, older);
    EXPECT_IDS(t, "hello world", 260, 259, 'o', 'r', 'l', 'd');
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_finds_added_tokens)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    EXPECT_IDS(t, "<|a|>", 300);
    EXPECT_IDS(t, "<|a|>b", 301); /* the longest */
    EXPECT_IDS(t, "<|a|>c<think>", 300, 'c', 302);
    EXPECT_IDS(t, "<<|a|><|a", '<', 300, '<', '|', 'a');
    EXPECT_IDS(t, "he<|a|>llo", 256, 300, 257, 'o'); /* no merge across */
    EXPECT_IDS(t, "\xC3\xA9t\xC3\xA9", 303);
    /* Added tokens are sought before normalization: decomposed, the same word is ordinary text. */
    EXPECT_IDS(t, "e\xCC\x81te\xCC\x81", 0xC3, 0xA9, 't', 0xC3, 0xA9);
    ck_assert_int_eq(qp_tokenizer_token_id(t, "<|a|>"), 300);
    ck_assert_int_eq(qp_tokenizer_token_id(t, "<think>"), 302);
    ck_assert_int_eq(qp_tokenizer_token_id(t, "hell"), 258);
    ck_assert_int_eq(qp_tokenizer_token_id(t, "\xC4\xA0w"), 259);
    ck_assert_int_eq(qp_tokenizer_token_id(t, " w"), -1);
    ck_assert_int_eq(qp_tokenizer_token_id(t, ""), -1);
    ck_assert_int_eq(qp_tokenizer_vocab_size(t), 304);
    ck_assert(qp_tokenizer_is_special(t, 300));
    ck_assert(!qp_tokenizer_is_special(t, 302));
    ck_assert(!qp_tokenizer_is_special(t, 5));
    ck_assert(!qp_tokenizer_is_special(t, -1));
    ck_assert(!qp_tokenizer_is_special(t, 304));
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_added_token_of_the_vocabulary)
{
    qp_tokenizer *const t = open_small("{\"id\":302,\"content\":\"<think>\"", "{\"id\":257,\"content\":\"ll\"");
    EXPECT_IDS(t, "hello", 256, 257, 'o');
    ck_assert_int_eq(qp_tokenizer_vocab_size(t), 304);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_zero_bytes_are_characters)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    EXPECT_IDS(t, "a\0b", 'a', 0, 'b');
    EXPECT_IDS(t, "\0", 0);
    EXPECT_IDS(t, "\0<|a|>\0", 0, 300, 0);
    int64_t bytes;
    char *const text = there_and_back(t, "\0x\0", 3, &bytes);
    ck_assert_int_eq(bytes, 3);
    ck_assert_mem_eq(text, "\0x\0", 3);
    free(text);
    qp_tokenizer_close(t);
}
END_TEST

/* What Python's bytes.decode("utf-8", "replace") gives. */
static const struct {
    const char *text, *wanted;
} not_utf8[] = {
    { "\x80", FFFD },
    { "\xFF\xFE", FFFD FFFD },
    { "a\xC3", "a" FFFD },
    { "\xC3(", FFFD "(" },
    { "\xC0\xAF", FFFD FFFD }, /* longer form than needed */
    { "\xE0\x80\xAF", FFFD FFFD FFFD },
    { "\xE2\x82", FFFD }, /* cut: one for both bytes */
    { "\xE2\x82z", FFFD "z" },
    { "\xE2(\xA1", FFFD "(" FFFD },
    { "\xED\xA0\x80", FFFD FFFD FFFD }, /* a surrogate */
    { "\xED\x9F\xBF", "\xED\x9F\xBF" },
    { "\xF0\x9F\x99\x82", "\xF0\x9F\x99\x82" },
    { "\xF0\x9F\x99", FFFD },
    { "\xF0\x9F\x99\xF0\x9F\x99\x82", FFFD "\xF0\x9F\x99\x82" },
    { "\xF0\x80\x80\x80", FFFD FFFD FFFD FFFD },
    { "\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF" },
    { "\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD }, /* over U+10FFFF */
    { "\xF5\x80", FFFD FFFD },
    { "x\xF0\x9F\xE2\x82\xC3y", "x" FFFD FFFD FFFD "y" },
};

START_TEST(test_tokenizer_replaces_what_is_no_utf8)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    int64_t bytes;
    char *const text = there_and_back(t, not_utf8[_i].text, strlen(not_utf8[_i].text), &bytes);
    ck_assert_str_eq(text, not_utf8[_i].wanted);
    ck_assert_int_eq(bytes, (int64_t)strlen(not_utf8[_i].wanted));
    free(text);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_bad_lengths_are_refused)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    int64_t *ids, count;
    expect_failure(qp_tokenizer_encode(t, "a", -1, &ids, &count), QP_INVALID, "-1 bytes");
    expect_failure(qp_tokenizer_encode(t, "a", (INT64_C(64) << 20) + 1, &ids, &count), QP_INVALID, "cannot be encoded");
    ck_assert_ptr_null(ids);
    qp_tokenizer_close(t);
}
END_TEST

/* ---- Decoding ---- */

START_TEST(test_tokenizer_decodes_and_skips)
{
    static const int64_t ids[] = { 300, 260, 259, 302, 0xC3, 0xA9, 301, 303 };
    qp_tokenizer *const t = open_small(NULL, NULL);
    char *text;
    int64_t bytes;
    ck_assert_int_eq(qp_tokenizer_decode(t, ids, 8, false, &text, &bytes), QP_OK);
    ck_assert_str_eq(text, "<|a|>hello w<think>\xC3\xA9<|a|>b\xC3\xA9t\xC3\xA9");
    free(text);
    ck_assert_int_eq(qp_tokenizer_decode(t, ids, 8, true, &text, &bytes), QP_OK);
    ck_assert_str_eq(text, "hello w<think>\xC3\xA9\xC3\xA9t\xC3\xA9");
    free(text);
    ck_assert_int_eq(qp_tokenizer_decode(t, NULL, 0, true, &text, &bytes), QP_OK);
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(bytes, 0);
    free(text);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_unknown_ids_are_refused)
{
    static const int64_t bad[] = { -1, 261, 299, 304, INT64_MAX, INT64_MIN };
    qp_tokenizer *const t = open_small(NULL, NULL);
    qp_decoder *d;
    const char *part;
    int64_t bytes;
    ck_assert_int_eq(qp_decoder_open(t, false, &d), QP_OK);
    ck_assert_int_eq(qp_decoder_push(d, 0xC3, &part, &bytes), QP_OK);
    ck_assert_int_eq(bytes, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text;
        expect_failure(qp_tokenizer_decode(t, &bad[i], 1, false, &text, &bytes), QP_INVALID, "stands for no token");
        ck_assert_ptr_null(text);
        expect_failure(qp_decoder_push(d, bad[i], &part, &bytes), QP_INVALID, "stands for no token");
    }
    /* The decoder still holds its half character. */
    ck_assert_int_eq(qp_decoder_push(d, 0xA9, &part, &bytes), QP_OK);
    ck_assert_str_eq(part, "\xC3\xA9");
    qp_decoder_close(d);
    qp_decoder_close(NULL);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_streaming_holds_back_cut_characters)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    qp_decoder *d;
    const char *part;
    int64_t bytes;
    static const struct {
        int64_t id;
        const char *wanted;
    } steps[] = {
        { 'a', "a" },          { 0xF0, "" },      { 0x9F, "" },   { 0x99, "" }, { 0x82, "\xF0\x9F\x99\x82" },
        { 0xE2, "" },          { 'b', FFFD "b" }, { 0x80, FFFD }, { 0xC3, "" }, { 0xC3, FFFD },
        { 300, FFFD "<|a|>" }, { 0xE2, "" },      { 0x82, "" },
    };
    ck_assert_int_eq(qp_decoder_open(t, false, &d), QP_OK);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        ck_assert_int_eq(qp_decoder_push(d, steps[i].id, &part, &bytes), QP_OK);
        ck_assert_str_eq(part, steps[i].wanted);
        ck_assert_int_eq(bytes, (int64_t)strlen(steps[i].wanted));
    }
    ck_assert_int_eq(qp_decoder_finish(d, &part, &bytes), QP_OK);
    ck_assert_str_eq(part, FFFD);
    ck_assert_int_eq(qp_decoder_finish(d, &part, &bytes), QP_OK);
    ck_assert_str_eq(part, "");
    ck_assert_int_eq(qp_decoder_push(d, 'z', &part, &bytes), QP_OK);
    ck_assert_str_eq(part, "z");
    qp_decoder_close(d);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_streaming_equals_decoding)
{
    enum { LENGTH = 40 };
    const uint64_t seed = check_seed(20260103);
    uint64_t state = seed;
    qp_tokenizer *const t = open_small(NULL, NULL);
    for (int run = 0; run < 3000; run++) {
        const bool skip = run % 2 == 0;
        int64_t ids[LENGTH], bytes, at = 0;
        char *whole;
        qp_decoder *d;
        size_t bad;
        for (int i = 0; i < LENGTH; i++) {
            /* Mostly bytes of longer characters, so that many fit and many do not. */
            static const unsigned char likely[] = { 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0,
                                                    0x9F, 0x99, 0x82, 0x80, 0xED, 'a' };
            const uint64_t chance = check_random(&state);
            ids[i] = chance % 16 == 0 ? 300 + (int64_t)(chance >> 8) % 4 : likely[(chance >> 8) % sizeof likely];
        }
        ck_assert_int_eq(qp_tokenizer_decode(t, ids, LENGTH, skip, &whole, &bytes), QP_OK);
        ck_assert(qp_utf8_valid(whole, (size_t)bytes, &bad));
        ck_assert_int_eq(qp_decoder_open(t, skip, &d), QP_OK);
        for (int i = 0; i <= LENGTH; i++) {
            const char *part;
            int64_t part_bytes;
            const qp_status status =
                i < LENGTH ? qp_decoder_push(d, ids[i], &part, &part_bytes) : qp_decoder_finish(d, &part, &part_bytes);
            ck_assert_int_eq(status, QP_OK);
            ck_assert(qp_utf8_valid(part, (size_t)part_bytes, &bad));
            ck_assert_msg(at + part_bytes <= bytes && memcmp(whole + at, part, (size_t)part_bytes) == 0,
                          "run %d with QP_SEED=%" PRIu64 " differs at byte %" PRId64, run, seed, at);
            at += part_bytes;
        }
        ck_assert_int_eq(at, bytes);
        qp_decoder_close(d);
        free(whole);
    }
    qp_tokenizer_close(t);
}
END_TEST

/* ---- Merging ---- */

/* The obvious way: look for the best pair again after each merge. */
static int64_t merge_slowly(const int32_t left_of[64], const int32_t right_of[64], int64_t *ids, int64_t count)
{
    for (;;) {
        int best = -1;
        int64_t place = -1;
        for (int64_t i = 0; i + 1 < count; i++) {
            for (int rank = 0; rank < 64 && (best < 0 || rank < best); rank++) {
                if (left_of[rank] != ids[i] || right_of[rank] != ids[i + 1]) continue;
                best = rank;
                place = i;
            }
        }
        if (best < 0) return count;
        ids[place] = 256 + best;
        memmove(ids + place + 1, ids + place + 2, (size_t)(count - place - 2) * sizeof *ids);
        count--;
    }
}

START_TEST(test_bpe_equals_the_obvious_way)
{
    const uint64_t seed = check_seed(20260104);
    uint64_t state = seed;
    int32_t byte_ids[256];
    for (int b = 0; b < 256; b++) byte_ids[b] = b;
    for (int table = 0; table < 60; table++) {
        /* Merge r makes the token 256 + r of two earlier tokens over the alphabet a, b, c. */
        int32_t left_of[64], right_of[64];
        qp_bpe *bpe;
        ck_assert_int_eq(qp_bpe_open(64, byte_ids, &bpe), QP_OK);
        for (int r = 0; r < 64; r++) {
            bool again = true;
            while (again) {
                const uint64_t chance = check_random(&state);
                const int range = r + 3;
                const int a = (int)(chance % (uint64_t)range), b = (int)((chance >> 32) % (uint64_t)range);
                left_of[r] = a < 3 ? 'a' + a : 256 + a - 3;
                right_of[r] = b < 3 ? 'a' + b : 256 + b - 3;
                again = false;
                for (int i = 0; i < r; i++) again = again || (left_of[i] == left_of[r] && right_of[i] == right_of[r]);
            }
        }
        for (uint32_t r = 0; r < 64; r++)
            ck_assert_int_eq(qp_bpe_add(bpe, left_of[r], right_of[r], r, (int32_t)(256 + r)), QP_OK);
        for (int run = 0; run < 60; run++) {
            char word[200];
            int64_t wanted[200];
            const size_t length = 1 + (size_t)(check_random(&state) % sizeof word);
            for (size_t i = 0; i < length; i++) word[i] = (char)('a' + check_random(&state) % 3);
            for (size_t i = 0; i < length; i++) wanted[i] = word[i];
            const int64_t count = merge_slowly(left_of, right_of, wanted, (int64_t)length);
            qp_bpe_output output = { 0 };
            ck_assert_int_eq(qp_bpe_encode(bpe, word, length, &output), QP_OK);
            ck_assert_msg((int64_t)output.count == count &&
                              memcmp(output.ids, wanted, (size_t)count * sizeof *wanted) == 0,
                          "table %d, run %d with QP_SEED=%" PRIu64 ": '%.*s'", table, run, seed, (int)length, word);
            qp_bpe_output_free(&output);
        }
        qp_bpe_close(bpe);
    }
    qp_bpe_close(NULL);
}
END_TEST

START_TEST(test_bpe_keeps_its_promises)
{
    int32_t byte_ids[256] = { 0 };
    qp_bpe *bpe;
    qp_bpe_output output = { 0 };
    for (int b = 0; b < 256; b++) byte_ids[b] = b;
    ck_assert_int_eq(qp_bpe_open(1, byte_ids, &bpe), QP_OK);
    ck_assert_int_eq(qp_bpe_add(bpe, 'a', 'b', 0, 300), QP_OK);
    ck_assert_int_eq(qp_bpe_add(bpe, 'a', 'b', 1, 301), QP_OK); /* the same pair: the last counts */
    expect_failure(qp_bpe_add(bpe, 'a', 'c', 2, 302), QP_INVALID, "more merges");
    ck_assert_int_eq(qp_bpe_encode(bpe, "", 0, &output), QP_OK);
    ck_assert_uint_eq(output.count, 0);
    ck_assert_int_eq(qp_bpe_encode(bpe, "abab", 4, &output), QP_OK);
    ck_assert_int_eq(qp_bpe_put(&output, 7), QP_OK);
    ck_assert_uint_eq(output.count, 3);
    ck_assert_int_eq(output.ids[0], 301);
    ck_assert_int_eq(output.ids[1], 301);
    ck_assert_int_eq(output.ids[2], 7);
    qp_bpe_output_free(&output);
    qp_bpe_close(bpe);
}
END_TEST

/* ---- Splitting ---- */

/* What pre_tokenizers.Split(Regex(...), "isolated") of the library gives for Qwen's pattern, pieces joined by a bar. */
static const struct {
    const char *text, *pieces;
} splits[] = {
    { "I'LL'd we\xC5\xBF'\xC5\xBF", "I|'LL|'d| we\xC5\xBF|'\xC5\xBF" }, /* long s is an s in any case */
    { "'\xC5\xBFx", "'\xC5\xBF|x" },
    { "a  b   ", "a| | b|   " },
    { "1234 5", "1|2|3|4| |5" },
    { "x\xE1\xA0\x8Ey \xE1\xA0\x8E ", "x|\xE1\xA0\x8Ey| \xE1\xA0\x8E| " }, /* U+180E is no space */
    { "hi!\n\n  \r\n\t z", "hi|!\n\n|  \r\n|\t| z" },
    { "  \xE3\x80\x80"
      "a",
      "  |\xE3\x80\x80"
      "a" },
    { "don't ?!\n", "don|'t| ?!\n" },
    { "\xCC\x81"
      "e\xCC\x81",
      "\xCC\x81"
      "e|\xCC\x81" },
    { "\xC2\xB2\xE2\x85\xA7\xD9\xA0", "\xC2\xB2|\xE2\x85\xA7|\xD9\xA0" },
    { "\xE2\x80\x8B\xE2\x80\x8Dx", "\xE2\x80\x8B\xE2\x80\x8D|x" },
    { "\xC2\x85"
      "a\xC2\xA0"
      "b",
      "\xC2\x85"
      "a|\xC2\xA0"
      "b" },
    { "\xF0\x9F\x99\x82\xF0\x9F\x99\x82 a", "\xF0\x9F\x99\x82\xF0\x9F\x99\x82| a" },
    { "_a-b", "_a|-b" },
};

/* The pieces of a text, joined by bars. */
static void join_pieces(const char *regex, const char *text, char *joined, size_t size)
{
    qp_split_pattern *pattern;
    qp_split_search *search;
    const size_t bytes = strlen(text);
    size_t n = 0;
    joined[0] = '\0';
    const qp_status status = qp_split_pattern_open(regex, "test", &pattern);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    ck_assert_int_eq(qp_split_search_open(pattern, bytes, &search), QP_OK);
    for (size_t at = 0, begin, end; at < bytes; at = end) {
        ck_assert_msg(qp_split_next(search, text, bytes, at, &begin, &end) == QP_OK, "%s", qp_last_error());
        const size_t bounds[3] = { at, begin, end };
        for (int i = 0; i < 2; i++)
            if (bounds[i + 1] > bounds[i])
                n += (size_t)snprintf(joined + n, size - n, "%s%.*s", n > 0 ? "|" : "",
                                      (int)(bounds[i + 1] - bounds[i]), text + bounds[i]);
    }
    qp_split_search_close(search);
    qp_split_pattern_close(pattern);
}

START_TEST(test_split_as_the_library_does)
{
    char joined[256];
    join_pieces(QWEN_PATTERN, splits[_i].text, joined, sizeof joined);
    ck_assert_str_eq(joined, splits[_i].pieces);
}
END_TEST

START_TEST(test_split_leaves_nothing_out)
{
    char joined[64];
    join_pieces("b+", "abbca", joined, sizeof joined); /* what lies between matches is a piece too */
    ck_assert_str_eq(joined, "a|bb|ca");
    join_pieces("\\p{Lu}\\p{Ll}{2,3}|\\S|\\s", "AbcdeF g", joined, sizeof joined);
    ck_assert_str_eq(joined, "Abcd|e|F| |g");
    join_pieces("[\\-\\]\\[a^]+", "-]x[^a", joined, sizeof joined);
    ck_assert_str_eq(joined, "-]|x|[^a");
}
END_TEST

static const struct {
    const char *regex;
    qp_status status;
    const char *part;
} bad_patterns[] = {
    { "(", QP_FORMAT, "is not valid" },
    { "[a", QP_FORMAT, "is not valid" },
    { "a**b{2,1}", QP_FORMAT, "is not valid" },
    { "\\d+", QP_UNSUPPORTED, "an escape other than" },
    { "\\w", QP_UNSUPPORTED, "an escape other than" },
    { "\\b", QP_UNSUPPORTED, "an escape other than" },
    { "\\h", QP_UNSUPPORTED, "an escape other than" }, /* a hex digit in one, a space in the other */
    { "(a)\\1", QP_UNSUPPORTED, "an escape other than" },
    { "\\", QP_UNSUPPORTED, "an escape other than" },
    { "[\\S]", QP_UNSUPPORTED, "\\S in brackets" },
    { "\\p{Han}", QP_UNSUPPORTED, "general category" },
    { "\\pL", QP_UNSUPPORTED, "general category" },
    { "\\p{^L}", QP_UNSUPPORTED, "general category" },
    { "\\p{", QP_UNSUPPORTED, "general category" },
    { "[[:alpha:]]", QP_UNSUPPORTED, "brackets in brackets" },
    { "[a&&b]", QP_UNSUPPORTED, "brackets in brackets" },
    { "[]a]", QP_UNSUPPORTED, "a ] at the beginning" },
    { "[^]a]", QP_UNSUPPORTED, "a ] at the beginning" },
    { "(?m:a)", QP_UNSUPPORTED, "a group other than" },
    { "(?<n>a)", QP_UNSUPPORTED, "a group other than" },
    { "(?<=a)b", QP_UNSUPPORTED, "a group other than" },
    { "(*ACCEPT)", QP_UNSUPPORTED, "a group other than" },
    { ".", QP_UNSUPPORTED, "one of . ^ $" },
    { "^a", QP_UNSUPPORTED, "one of . ^ $" },
    { "a$", QP_UNSUPPORTED, "one of . ^ $" },
    { "a{,3}", QP_UNSUPPORTED, "begins no count" },
    { "a{1,3}+", QP_UNSUPPORTED, "a count other than" },
    { "a{3", QP_UNSUPPORTED, "a count other than" },
};

START_TEST(test_split_refuses_what_may_differ)
{
    qp_split_pattern *pattern;
    expect_failure(qp_split_pattern_open(bad_patterns[_i].regex, "test", &pattern), bad_patterns[_i].status,
                   bad_patterns[_i].part);
    ck_assert_ptr_null(pattern);
}
END_TEST

START_TEST(test_split_limits_and_empty_matches_are_said)
{
    static const char as[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
    static const struct {
        const char *regex, *part;
    } cases[] = {
        { "x*", "matches no character at byte 0" },
        { "(?=a)", "matches no character at byte 0" },
        { "(?:a+)+b", "fails at byte 0" }, /* takes exponential time without a limit */
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        qp_split_pattern *pattern;
        qp_split_search *search;
        size_t begin, end;
        ck_assert_int_eq(qp_split_pattern_open(cases[c].regex, "test", &pattern), QP_OK);
        ck_assert_int_eq(qp_split_search_open(pattern, sizeof as - 1, &search), QP_OK);
        /* "aaa!ab": so that PCRE2 cannot see beforehand that no b will come. */
        char text[sizeof as + 1];
        (void)snprintf(text, sizeof text, "%sb", as);
        expect_failure(qp_split_next(search, text, strlen(text), 0, &begin, &end), QP_UNSUPPORTED, cases[c].part);
        qp_split_search_close(search);
        qp_split_pattern_close(pattern);
    }
    qp_split_search_close(NULL);
    qp_split_pattern_close(NULL);
}
END_TEST

/* ---- Normalizing ---- */

static const struct {
    const char *text, *wanted; /* NULL: unchanged */
} normals[] = {
    { "", NULL },
    { "plain \xC3\xA9\xC3\xBC\xCB\xBF", NULL },
    { "e\xCC\x81", "\xC3\xA9" },
    { "A\xCC\x8A", "\xC3\x85" },
    { "\xE2\x84\xAB", "\xC3\x85" },                             /* Angstrom sign */
    { "\xE2\x84\xA6", "\xCE\xA9" },                             /* Ohm sign */
    { "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81" }, /* Hangul */
    { "q\xCC\xA3\xCC\x87", "q\xCC\xA3\xCC\x87" },
    { "q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87" },   /* canonical order */
    { "\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC" }, /* excluded from composition */
    { "\xEF\xAC\x81", "\xEF\xAC\x81" },             /* compatibility forms stay */
};

START_TEST(test_nfc_known_forms)
{
    char *normal;
    size_t bytes;
    const char *const text = normals[_i].text;
    ck_assert_int_eq(qp_nfc(text, strlen(text), &normal, &bytes), QP_OK);
    if (normals[_i].wanted == NULL) {
        ck_assert_ptr_null(normal);
    } else {
        ck_assert_uint_eq(bytes, strlen(normals[_i].wanted));
        ck_assert_mem_eq(normal, normals[_i].wanted, bytes);
    }
    free(normal);
}
END_TEST

START_TEST(test_nfc_keeps_zero_bytes)
{
    char *normal;
    size_t bytes;
    ck_assert_int_eq(qp_nfc("\0e\xCC\x81\0", 5, &normal, &bytes), QP_OK);
    ck_assert_uint_eq(bytes, 4);
    ck_assert_mem_eq(normal, "\0\xC3\xA9\0", 4);
    free(normal);
}
END_TEST

START_TEST(test_nfc_long_runs_are_sorted_like_short_ones)
{
    /* Marks of two classes in turn: all of class 202 (U+0327) come before all of class 230 (U+0301). */
    enum { PAIRS = 100 };
    char text[1 + PAIRS * 4], *normal;
    size_t bytes;
    text[0] = 'x';
    for (int i = 0; i < PAIRS; i++) memcpy(text + 1 + i * 4, "\xCC\x81\xCC\xA7", 4);
    ck_assert_int_eq(qp_nfc(text, sizeof text, &normal, &bytes), QP_OK);
    ck_assert_uint_eq(bytes, sizeof text);
    for (int i = 0; i < PAIRS * 2; i++) ck_assert_mem_eq(normal + 1 + i * 2, i < PAIRS ? "\xCC\xA7" : "\xCC\x81", 2);
    free(normal);
}
END_TEST

/* ---- Long text ---- */

static const struct {
    const char *name, *unit;
    size_t bytes;
} long_texts[] = {
    { "one word", "hello", 1000000 },
    { "one word that never merges", "z", 1000000 },
    { "spaces", " ", 4000000 },
    { "line breaks", " \n", 1000000 },
    { "marks in the wrong order", "\xCC\x81\xCC\xA7", 1000000 },
    { "signs", "<", 1000000 },
    { "zero bytes", "", 1000000 },
    { "no UTF-8", "\xF0\x9F", 1000000 },
};

START_TEST(test_tokenizer_long_text_takes_no_quadratic_time)
{
    qp_tokenizer *const t = open_small(NULL, NULL);
    const size_t bytes = long_texts[_i].bytes, unit = strlen(long_texts[_i].unit);
    char *const text = calloc(bytes, 1);
    int64_t *ids, count;
    ck_assert_ptr_nonnull(text);
    for (size_t at = 0; unit > 0 && at < bytes; at++) text[at] = long_texts[_i].unit[at % unit];
    const double start = files_seconds();
    ck_assert_msg(qp_tokenizer_encode(t, text, (int64_t)bytes, &ids, &count) == QP_OK, "%s", qp_last_error());
    const double seconds = files_seconds() - start;
    ck_assert_int_gt(count, 0);
    /* Quadratic time would be minutes and more. */
    ck_assert_msg(seconds < 20.0, "%s: %.1f s", long_texts[_i].name, seconds);
    free(ids);
    free(text);
    qp_tokenizer_close(t);
}
END_TEST

/* ---- Bad files ---- */

static const struct {
    const char *find, *put;
    qp_status status;
    const char *part;
} refusals[] = {
    { "\"type\":\"BPE\"", "\"type\":\"WordPiece\"", QP_UNSUPPORTED, "the model of " },
    { "\"type\":\"NFC\"", "\"type\":\"NFKC\"", QP_UNSUPPORTED, "the normalizer of " },
    { "\"type\":\"Sequence\"", "\"type\":\"Whitespace\"", QP_UNSUPPORTED, "the pre_tokenizer of " },
    { "{\"type\":\"Split\"", "{\"type\":\"Digits\"},{\"type\":\"Split\"", QP_UNSUPPORTED, "the pre_tokenizer of " },
    { "\"Isolated\"", "\"Removed\"", QP_UNSUPPORTED, "behavior" },
    { "\"invert\":false", "\"invert\":true", QP_UNSUPPORTED, "invert" },
    { "{\"Regex\":", "{\"String\":", QP_FORMAT, "Regex is missing" },
    { "\"ByteLevel\",\"add_prefix_space\":false", "\"ByteLevel\",\"add_prefix_space\":true", QP_UNSUPPORTED,
      "add_prefix_space" },
    { "\"use_regex\":false", "\"use_regex\":true", QP_UNSUPPORTED, "use_regex" },
    { "\"post_processor\":{\"type\":\"ByteLevel\"", "\"post_processor\":{\"type\":\"TemplateProcessing\"",
      QP_UNSUPPORTED, "the post_processor of " },
    { "\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"WordPiece\"", QP_UNSUPPORTED, "the decoder of " },
    { "\"truncation\":null", "\"truncation\":{\"max_length\":5}", QP_UNSUPPORTED, "sets truncation" },
    { "\"padding\":null", "\"padding\":{}", QP_UNSUPPORTED, "sets padding" },
    { "\"dropout\":null", "\"dropout\":0.1", QP_UNSUPPORTED, "dropout of 0.1" },
    { "\"continuing_subword_prefix\":\"\"", "\"continuing_subword_prefix\":\"##\"", QP_UNSUPPORTED,
      "continuing_subword_prefix" },
    { "\"end_of_word_suffix\":\"\"", "\"end_of_word_suffix\":\"</w>\"", QP_UNSUPPORTED, "end_of_word_suffix" },
    { "\"ignore_merges\":false", "\"ignore_merges\":true", QP_UNSUPPORTED, "ignore_merges" },
    { "\"lstrip\":false", "\"lstrip\":true", QP_UNSUPPORTED, "the added token \"<|a|>\" in " },
    { "\"rstrip\":false", "\"rstrip\":true", QP_UNSUPPORTED, "has rstrip set" },
    { "\"single_word\":false", "\"single_word\":true", QP_UNSUPPORTED, "has single_word set" },
    { "\"normalized\":false", "\"normalized\":true", QP_UNSUPPORTED, "has normalized set" },
    { "\"content\":\"<|a|>\"", "\"content\":\"\"", QP_FORMAT, "adds a token without text" },
    { "\"content\":\"<|a|>b\"", "\"content\":\"<|a|>\"", QP_FORMAT, "lists \"<|a|>\" or its id 301 twice" },
    { "\"id\":301", "\"id\":300", QP_FORMAT, "or its id 300 twice" },
    { "\"id\":301", "\"id\":65", QP_FORMAT, "or its id 65 twice" },
    { "\"content\":\"<|a|>b\"", "\"content\":\"hell\"", QP_FORMAT, "lists \"hell\" or its id 301 twice" },
    { "\"id\":301", "\"id\":-1", QP_FORMAT, "the id -1" },
    { "\"id\":301", "\"id\":16777217", QP_FORMAT, "the id 16777217" },
    { "\"id\":301", "\"id\":1e18", QP_FORMAT, "whole number" },
    { "\"id\":301,", "", QP_FORMAT, "whole number is needed" },
    { "\"he\":256", "\"he\":65", QP_FORMAT, "lists \"he\" or its id 65 twice" },
    { "\"he\":256", "\"ll\":256", QP_FORMAT, "lists \"ll\"" },
    { "\"he\":256", "\"he\":\"256\"", QP_FORMAT, "model.vocab.he in " },
    { "\"he\":256", "\"he\":null", QP_FORMAT, "model.vocab.he in " },
    { "\"A\":65,", "", QP_UNSUPPORTED, "no token for the byte 0x41" },
    { "[\"l\",\"l\"]", "[\"l\",\"xyz\"]", QP_FORMAT, "model.merges[1] in " },
    { "[\"l\",\"l\"]", "[\"l\",\"o\"]", QP_FORMAT, "that its vocabulary does not hold" },
    { "[\"l\",\"l\"]", "[\"l\"]", QP_FORMAT, "string is needed" },
    { "[\"l\",\"l\"]", "[\"l\",\"l\",\"l\"]", QP_FORMAT, "model.merges[1] in " },
    { "[\"l\",\"l\"]", "[\"l\",1]", QP_FORMAT, "model.merges[1][1] in " },
    { "[\"l\",\"l\"]", "\"ll\"", QP_FORMAT, "is not a pair of tokens" },
    { "[\"l\",\"l\"]", "\"l l l\"", QP_FORMAT, "is not a pair of tokens" },
    { "[\"l\",\"l\"]", "[\"\",\"\"]", QP_FORMAT, "that its vocabulary does not hold" },
    { "[\"l\",\"l\"]", "7", QP_FORMAT, "model.merges[1] in " },
    { "\"merges\":[", "\"mergers\":[", QP_FORMAT, "model.merges is missing" },
    { "\"vocab\":{", "\"vocabulary\":{", QP_FORMAT, "model.vocab is missing" },
    { "\"model\":{", "\"modell\":{", QP_FORMAT, "model is missing" },
    { "\"added_tokens\":[", "\"tokens_added\":[", QP_FORMAT, "added_tokens is missing" },
    { "\\\\s+(?!", "\\\\s+(?<!", QP_UNSUPPORTED, "a group other than" },
    { "{\"version\"", "[\"version\"", QP_FORMAT, "not valid JSON" },
};

START_TEST(test_tokenizer_refuses_in_a_sentence)
{
    qp_tokenizer *t;
    files_write_text("tokenizer.json", small_file(refusals[_i].find, refusals[_i].put));
    expect_failure(qp_tokenizer_open(files_dir, &t), refusals[_i].status, refusals[_i].part);
    ck_assert_ptr_null(t);
    ck_assert_ptr_nonnull(strstr(qp_last_error(), "tokenizer.json"));
}
END_TEST

START_TEST(test_tokenizer_without_normalizer)
{
    qp_tokenizer *const t = open_small("{\"type\":\"NFC\"}", "null");
    EXPECT_IDS(t, "e\xCC\x81", 'e', 0xCC, 0x81);
    qp_tokenizer_close(t);
}
END_TEST

START_TEST(test_tokenizer_files_that_are_none)
{
    qp_tokenizer *t;
    files_clear();
    expect_failure(qp_tokenizer_open(files_dir, &t), QP_IO, "tokenizer.json cannot be opened: No such file");
    files_make_folder("tokenizer.json");
    expect_failure(qp_tokenizer_open(files_dir, &t), QP_IO, "tokenizer.json is a folder");
    files_clear();
    files_write_text("tokenizer.json", "");
    expect_failure(qp_tokenizer_open(files_dir, &t), QP_FORMAT, "tokenizer.json is empty");
    files_write_text("tokenizer.json", "[]");
    expect_failure(qp_tokenizer_open(files_dir, &t), QP_FORMAT, "an object is needed");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(test_tokenizer_damaged_files_never_crash)
{
    static const char text[] = "hello w\xC3\xA9rld <|a|> 123 \xF0\x9F\x99\x82 e\xCC\x81\n";
    const uint64_t seed = check_seed(20260105);
    uint64_t state = seed;
    int64_t runs = 0, opened = 0;
    char *const good = strdup(small_file(NULL, NULL));
    ck_assert_ptr_nonnull(good);
    const size_t size = strlen(good);
    char *const bad = malloc(size);
    ck_assert_ptr_nonnull(bad);
    for (const double end = files_seconds() + 2.0; files_seconds() < end; runs++) {
        qp_tokenizer *t;
        memcpy(bad, good, size);
        const int changes = 1 + (int)(check_random(&state) % 4);
        for (int i = 0; i < changes; i++) {
            static const char likely[] = "0123456789-,.:\"{}[]()?+*\\ aslnp";
            const size_t at = (size_t)(check_random(&state) % size);
            bad[at] = check_random(&state) % 2 == 0 ? likely[check_random(&state) % (sizeof likely - 1)]
                                                    : (char)(check_random(&state) & 0xFF);
        }
        const size_t kept = check_random(&state) % 8 == 0 ? (size_t)(check_random(&state) % size) : size;
        files_write("tokenizer.json", bad, kept);
        if (qp_tokenizer_open(files_dir, &t) != QP_OK) {
            ck_assert_msg(qp_last_error()[0] != '\0', "no sentence (QP_SEED=%" PRIu64 ", run %" PRId64 ")", seed, runs);
            continue;
        }
        opened++;
        int64_t *ids, count, bytes;
        char *back;
        if (qp_tokenizer_encode(t, text, (int64_t)sizeof text, &ids, &count) == QP_OK) {
            /* What was encoded can be decoded, whatever the file says. */
            ck_assert_int_eq(qp_tokenizer_decode(t, ids, count, false, &back, &bytes), QP_OK);
            free(back);
            free(ids);
        } else {
            ck_assert(qp_last_error()[0] != '\0');
        }
        qp_tokenizer_close(t);
    }
    free(bad);
    free(good);
    ck_assert_msg(runs > 20 && opened < runs, "%" PRId64 " of %" PRId64 " damaged files were opened", opened, runs);
}
END_TEST

/* ---- The embedded model ---- */

START_TEST(test_tokenizer_of_the_embedded_model)
{
    qp_tokenizer *t;
    const qp_status status = qp_tokenizer_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &t);
    ck_assert_msg(status == QP_OK, "%s", qp_last_error());
    static const char *const special[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        const int64_t id = qp_tokenizer_token_id(t, special[i]);
        ck_assert_int_ge(id, 0);
        ck_assert(qp_tokenizer_is_special(t, id));
        expect_ids(t, special[i], strlen(special[i]), &id, 1);
    }
    int64_t bytes;
    static const char text[] = "The capital of Aistonia is Flubarg.";
    char *const back = there_and_back(t, text, sizeof text - 1, &bytes);
    ck_assert_str_eq(back, text);
    free(back);
    qp_tokenizer_close(t);
}
END_TEST

/* ---- What the library gave (golden/tokenizer_vectors.py) ---- */

/* The text of a case, as "text" or "bytes_hex"; NULL if the case is for decoding alone. Malloc'ed. */
static char *vector_text(qp_json_node vector, size_t *bytes)
{
    const char *text, *hex;
    ck_assert_int_eq(qp_json_get_string_or(vector, "text", NULL, &text), QP_OK);
    ck_assert_int_eq(qp_json_get_string_or(vector, "bytes_hex", NULL, &hex), QP_OK);
    if (text == NULL && hex == NULL) return NULL;
    *bytes = text != NULL ? strlen(text) : strlen(hex) / 2;
    char *const copy = malloc(*bytes + 1);
    ck_assert_ptr_nonnull(copy);
    for (size_t i = 0; i < *bytes; i++) {
        const char digits[3] = { text != NULL ? '0' : hex[i * 2], text != NULL ? '0' : hex[i * 2 + 1], '\0' };
        copy[i] = text != NULL ? text[i] : (char)strtoul(digits, NULL, 16);
    }
    copy[*bytes] = '\0';
    return copy;
}

START_TEST(test_tokenizer_vectors_of_the_library)
{
    int64_t encoded = 0, decoded = 0;
    qp_json *json;
    qp_tokenizer *t;
    ck_assert_msg(qp_tokenizer_open(QP_SOURCE_DIR "/golden/qwen3-tiny", &t) == QP_OK, "%s", qp_last_error());
    ck_assert_msg(qp_json_read_file(QP_SOURCE_DIR "/golden/tokenizer_vectors.json", &json) == QP_OK, "%s",
                  qp_last_error());
    for (qp_json_node v = qp_json_first(qp_json_root(json)); v.item != NULL; v = qp_json_next(v)) {
        char where[32], *back;
        const char *wanted;
        qp_json_node list;
        int64_t ids[1024], count = 0, bytes;
        ck_assert_msg(qp_json_get_array(v, "ids", &list) == QP_OK, "%s", qp_last_error());
        ck_assert_msg(qp_json_get_string(v, "decoded", &wanted) == QP_OK, "%s", qp_last_error());
        for (qp_json_node n = qp_json_first(list); n.item != NULL; n = qp_json_next(n)) {
            ck_assert_int_lt(count, 1024);
            ck_assert_int_eq(qp_json_as_int64(n, &ids[count++]), QP_OK);
        }
        size_t text_bytes = 0;
        char *const text = vector_text(v, &text_bytes);
        if (text != NULL) {
            int64_t *got, got_count;
            ck_assert_msg(qp_tokenizer_encode(t, text, (int64_t)text_bytes, &got, &got_count) == QP_OK, "%s",
                          qp_last_error());
            ck_assert_msg(got_count == count && memcmp(got, ids, (size_t)count * sizeof *ids) == 0,
                          "%s: '%s' has other ids than in the library", qp_json_where(v, where, sizeof where), text);
            free(got);
            free(text);
            encoded++;
        }
        ck_assert_int_eq(qp_tokenizer_decode(t, ids, count, false, &back, &bytes), QP_OK);
        ck_assert_msg((size_t)bytes == strlen(wanted) && memcmp(back, wanted, (size_t)bytes) == 0,
                      "%s decodes to '%s' where the library gives '%s'", qp_json_where(v, where, sizeof where), back,
                      wanted);
        free(back);
        decoded++;
    }
    qp_json_free(json);
    qp_tokenizer_close(t);
    ck_assert_msg(encoded >= 200 && decoded > encoded, "only %" PRId64 " texts and %" PRId64 " lists of ids were tried",
                  encoded, decoded);
}
END_TEST

Suite *tokenizer_suite(void)
{
    Suite *suite = suite_create("tokenizer");
#define COUNT(table) (int)(sizeof table / sizeof table[0])
    TCase *encode = tcase_create("encode");
    tcase_add_unchecked_fixture(encode, files_setup, files_teardown);
    tcase_add_test(encode, test_tokenizer_merges_by_rank);
    tcase_add_test(encode, test_tokenizer_reads_merges_of_older_files);
    tcase_add_test(encode, test_tokenizer_finds_added_tokens);
    tcase_add_test(encode, test_tokenizer_added_token_of_the_vocabulary);
    tcase_add_test(encode, test_tokenizer_zero_bytes_are_characters);
    tcase_add_loop_test(encode, test_tokenizer_replaces_what_is_no_utf8, 0, COUNT(not_utf8));
    tcase_add_test(encode, test_tokenizer_bad_lengths_are_refused);
    tcase_add_test(encode, test_tokenizer_without_normalizer);
    suite_add_tcase(suite, encode);

    TCase *decode = tcase_create("decode");
    tcase_add_unchecked_fixture(decode, files_setup, files_teardown);
    tcase_set_timeout(decode, 60);
    tcase_add_test(decode, test_tokenizer_decodes_and_skips);
    tcase_add_test(decode, test_tokenizer_unknown_ids_are_refused);
    tcase_add_test(decode, test_tokenizer_streaming_holds_back_cut_characters);
    tcase_add_test(decode, test_tokenizer_streaming_equals_decoding);
    suite_add_tcase(suite, decode);

    TCase *parts = tcase_create("parts");
    tcase_set_timeout(parts, 60);
    tcase_add_test(parts, test_bpe_equals_the_obvious_way);
    tcase_add_test(parts, test_bpe_keeps_its_promises);
    tcase_add_loop_test(parts, test_split_as_the_library_does, 0, COUNT(splits));
    tcase_add_test(parts, test_split_leaves_nothing_out);
    tcase_add_loop_test(parts, test_split_refuses_what_may_differ, 0, COUNT(bad_patterns));
    tcase_add_test(parts, test_split_limits_and_empty_matches_are_said);
    tcase_add_loop_test(parts, test_nfc_known_forms, 0, COUNT(normals));
    tcase_add_test(parts, test_nfc_keeps_zero_bytes);
    tcase_add_test(parts, test_nfc_long_runs_are_sorted_like_short_ones);
    suite_add_tcase(suite, parts);

    TCase *lengths = tcase_create("long text");
    tcase_add_unchecked_fixture(lengths, files_setup, files_teardown);
    tcase_set_timeout(lengths, 120);
    tcase_add_loop_test(lengths, test_tokenizer_long_text_takes_no_quadratic_time, 0, COUNT(long_texts));
    suite_add_tcase(suite, lengths);

    TCase *bad = tcase_create("bad files");
    tcase_add_unchecked_fixture(bad, files_setup, files_teardown);
    tcase_set_timeout(bad, 60);
    tcase_add_loop_test(bad, test_tokenizer_refuses_in_a_sentence, 0, COUNT(refusals));
    tcase_add_test(bad, test_tokenizer_files_that_are_none);
    tcase_add_test(bad, test_tokenizer_damaged_files_never_crash);
    suite_add_tcase(suite, bad);

    TCase *embedded = tcase_create("embedded");
    tcase_set_timeout(embedded, 60);
    tcase_add_test(embedded, test_tokenizer_of_the_embedded_model);
    tcase_add_test(embedded, test_tokenizer_vectors_of_the_library);
    suite_add_tcase(suite, embedded);
#undef COUNT
    return suite;
}

int main(void) { return qp_check_main(tokenizer_suite()); }
