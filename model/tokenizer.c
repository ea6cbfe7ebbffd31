#include "tokenizer.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "json.h"
#include "nfc.h"
#include "split_pattern.h"
#include "utf8.h"

enum { MAX_ID = 1 << 24 };
/* U+FFFD for each byte and normalization make a text at most nine times as long: still below 2^31. */
#define MAX_TEXT_BYTES (INT64_C(64) << 20)

typedef struct token {
    char *key;      /* owned: as the file writes it; NULL: no token has this id */
    char *bytes;    /* owned: what it stands for */
    int32_t length; /* of bytes */
    bool added, special;
} token;

struct qp_tokenizer {
    char *path;    /* owned: for messages */
    token *tokens; /* owned: [token_count], by id */
    int32_t token_count;
    int32_t *slots; /* owned: hash table of ids by key, -1 is free */
    size_t slot_mask;
    qp_bpe *bpe;              /* owned */
    int32_t *added;           /* owned: ids of added tokens by first byte, then longest first */
    int32_t added_first[257]; /* added tokens that begin with byte b: added[added_first[b] .. added_first[b + 1]) */
    bool nfc;
    qp_split_pattern *pattern; /* owned */
};

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "not enough memory for the tokenizer"); }

/* ---- The byte alphabet: each byte as a printable character, as GPT-2's vocabulary began it ---- */

enum { ALPHABET_END = 256 + 68 };

static void make_alphabet(int32_t point_of[256], int16_t byte_of[ALPHABET_END])
{
    int32_t next = 256;
    for (int i = 0; i < ALPHABET_END; i++) byte_of[i] = -1;
    for (int b = 0; b < 256; b++) {
        const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
        point_of[b] = printable ? b : next++;
        byte_of[point_of[b]] = (int16_t)b;
    }
}

/* The bytes that a vocabulary entry stands for; never more than the key itself has. An entry with a character outside
 * the alphabet stands for its own text, as in the library's decoder. Returns the length. */
static size_t bytes_of_key(const char *key, const int16_t byte_of[ALPHABET_END], char *to)
{
    const size_t size = strlen(key);
    size_t count = 0;
    for (size_t at = 0, length = 0; at < size; at += length) {
        const int32_t point = qp_utf8_next(key + at, size - at, &length);
        if (point < 0 || point >= ALPHABET_END || byte_of[point] < 0) {
            memcpy(to, key, size);
            return size;
        }
        to[count++] = (char)byte_of[point];
    }
    return count;
}

/* ---- Finding tokens by name ---- */

static uint64_t hash_text(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return hash ^ hash >> 32;
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t find_slot(const qp_tokenizer *tokenizer, const char *key, size_t length)
{
    size_t slot = (size_t)hash_text(key, length) & tokenizer->slot_mask;
    for (;; slot = (slot + 1) & tokenizer->slot_mask) {
        const int32_t id = tokenizer->slots[slot];
        if (id < 0) return slot;
        const char *const held = tokenizer->tokens[id].key;
        if (strncmp(held, key, length) == 0 && held[length] == '\0') return slot;
    }
}

static int32_t find_token(const qp_tokenizer *tokenizer, const char *key, size_t length)
{
    return tokenizer->slots[find_slot(tokenizer, key, length)];
}

/* ---- Reading tokenizer.json ---- */

/* A token's name in a message: the file may hold anything. */
static const char *shown(const char *key, char text[72])
{
    (void)snprintf(text, 72, "\"%.64s\"", key);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    return text;
}

static qp_status read_id(const qp_tokenizer *tokenizer, qp_json_node node, int32_t *id)
{
    int64_t value;
    QP_TRY(qp_json_as_int64(node, &value));
    if (value < 0 || value > MAX_ID)
        return qp_fail(QP_FORMAT, "%s gives a token the id %" PRId64 ", but ids lie between 0 and %d", tokenizer->path,
                       value, MAX_ID);
    *id = (int32_t)value;
    return QP_OK;
}

/* Makes the list of tokens as long as the highest id asks, and the hash table. */
static qp_status make_room(qp_tokenizer *tokenizer, qp_json_node vocab, qp_json_node added)
{
    int32_t highest = -1, id = 0;
    int64_t count = 0;
    for (qp_json_node n = qp_json_first(vocab); n.item != NULL; n = qp_json_next(n), count++) {
        QP_TRY(read_id(tokenizer, n, &id));
        if (id > highest) highest = id;
    }
    for (qp_json_node n = qp_json_first(added); n.item != NULL; n = qp_json_next(n), count++) {
        QP_TRY(read_id(tokenizer, qp_json_find(n, "id"), &id));
        if (id > highest) highest = id;
    }
    size_t slots = 16; /* a power of two, and at most half full */
    while (slots < (size_t)count * 2) slots *= 2;
    tokenizer->tokens = calloc((size_t)highest + 1, sizeof *tokenizer->tokens);
    tokenizer->slots = malloc(slots * sizeof *tokenizer->slots);
    if (tokenizer->tokens == NULL || tokenizer->slots == NULL) return no_memory();
    tokenizer->token_count = highest + 1;
    for (size_t i = 0; i < slots; i++) tokenizer->slots[i] = -1;
    tokenizer->slot_mask = slots - 1;
    return QP_OK;
}

/* Puts a token under its id and its key, both of which must be free. */
static qp_status add_token(qp_tokenizer *tokenizer, int32_t id, const char *key, const char *bytes, size_t length)
{
    char text[72];
    token *const made = &tokenizer->tokens[id];
    const size_t slot = find_slot(tokenizer, key, strlen(key));
    if (made->key != NULL || tokenizer->slots[slot] >= 0)
        return qp_fail(QP_FORMAT, "%s lists %s or its id %" PRId32 " twice", tokenizer->path, shown(key, text), id);
    made->key = strdup(key);
    made->bytes = malloc(length + 1);
    if (made->key == NULL || made->bytes == NULL) return no_memory();
    memcpy(made->bytes, bytes, length);
    made->length = (int32_t)length;
    tokenizer->slots[slot] = id;
    return QP_OK;
}

static qp_status read_vocab(qp_tokenizer *tokenizer, qp_json_node vocab, int32_t byte_ids[256])
{
    int32_t point_of[256];
    int16_t byte_of[ALPHABET_END];
    qp_status status = QP_OK;
    char *bytes = NULL;
    size_t room = 0;
    make_alphabet(point_of, byte_of);

    for (qp_json_node n = qp_json_first(vocab); n.item != NULL && status == QP_OK; n = qp_json_next(n)) {
        const char *const key = qp_json_key(n);
        const size_t size = strlen(key);
        int32_t id = 0;
        if ((status = read_id(tokenizer, n, &id)) != QP_OK) break;
        if (size >= room) {
            room = size * 2 + 64;
            char *const grown = realloc(bytes, room);
            if (grown == NULL) {
                status = no_memory();
                break;
            }
            bytes = grown;
        }
        status = add_token(tokenizer, id, key, bytes, bytes_of_key(key, byte_of, bytes));
    }
    free(bytes);
    if (status != QP_OK) return status;

    for (int b = 0; b < 256; b++) {
        /* The alphabet ends below U+0800: one or two bytes. */
        const int32_t point = point_of[b];
        const char one[1] = { (char)point }, two[2] = { (char)(0xC0 | point >> 6), (char)(0x80 | (point & 0x3F)) };
        const char *const key = point < 0x80 ? one : two;
        const size_t length = point < 0x80 ? sizeof one : sizeof two;
        byte_ids[b] = find_token(tokenizer, key, length);
        if (byte_ids[b] < 0)
            return qp_fail(QP_UNSUPPORTED, "the vocabulary of %s has no token for the byte 0x%02X", tokenizer->path,
                           (unsigned)b);
    }
    return QP_OK;
}

/* The two halves of a merge: ["a", "b"], or "a b" in older files. */
static qp_status read_halves(const qp_tokenizer *tokenizer, qp_json_node node, const char **left, size_t *left_length,
                             const char **right)
{
    if (qp_json_kind_of(node) == QP_JSON_ARRAY) {
        const qp_json_node first = qp_json_first(node), second = qp_json_next(first);
        QP_TRY(qp_json_as_string(first, left));
        QP_TRY(qp_json_as_string(second, right));
        *left_length = strlen(*left);
        if (qp_json_next(second).item == NULL) return QP_OK;
    } else {
        QP_TRY(qp_json_as_string(node, left));
        const char *const space = strchr(*left, ' ');
        if (space != NULL && strchr(space + 1, ' ') == NULL) {
            *left_length = (size_t)(space - *left);
            *right = space + 1;
            return QP_OK;
        }
    }
    char where[128];
    return qp_fail(QP_FORMAT, "%s in %s is not a pair of tokens", qp_json_where(node, where, sizeof where),
                   tokenizer->path);
}

static qp_status read_merges(qp_tokenizer *tokenizer, qp_json_node list, const int32_t byte_ids[256])
{
    qp_status status = QP_OK;
    char *joined = NULL;
    size_t room = 0;
    uint32_t rank = 0;
    QP_TRY(qp_bpe_open(qp_json_count(list), byte_ids, &tokenizer->bpe));

    for (qp_json_node n = qp_json_first(list); n.item != NULL; n = qp_json_next(n), rank++) {
        const char *left = "", *right = "";
        size_t left_length = 0;
        if ((status = read_halves(tokenizer, n, &left, &left_length, &right)) != QP_OK) goto done;
        const size_t right_length = strlen(right), length = left_length + right_length;
        if (length > room) {
            char *const grown = realloc(joined, length * 2);
            if (grown == NULL) {
                status = no_memory();
                goto done;
            }
            joined = grown;
            room = length * 2;
        }
        if (length > 0) {
            memcpy(joined, left, left_length);
            memcpy(joined + left_length, right, right_length);
        }
        const int32_t left_id = find_token(tokenizer, left, left_length);
        const int32_t right_id = find_token(tokenizer, right, right_length);
        const int32_t id = length > 0 ? find_token(tokenizer, joined, length) : -1;
        if (left_id < 0 || right_id < 0 || id < 0) {
            char where[128];
            status = qp_fail(QP_FORMAT, "%s in %s merges tokens, or to a token, that its vocabulary does not hold",
                             qp_json_where(n, where, sizeof where), tokenizer->path);
            goto done;
        }
        if ((status = qp_bpe_add(tokenizer->bpe, left_id, right_id, rank, id)) != QP_OK) goto done;
    }

done:
    free(joined);
    return status;
}

static qp_status read_added_token(qp_tokenizer *tokenizer, qp_json_node node, int32_t *id)
{
    static const char *const must_be_off[] = { "single_word", "lstrip", "rstrip", "normalized" };
    const char *content;
    char text[72];
    bool special;
    QP_TRY(read_id(tokenizer, qp_json_find(node, "id"), id));
    QP_TRY(qp_json_get_string(node, "content", &content));
    QP_TRY(qp_json_get_bool_or(node, "special", false, &special));
    for (size_t i = 0; i < sizeof must_be_off / sizeof must_be_off[0]; i++) {
        bool on;
        QP_TRY(qp_json_get_bool_or(node, must_be_off[i], false, &on));
        if (on)
            return qp_fail(QP_UNSUPPORTED, "the added token %s in %s has %s set, which is not supported",
                           shown(content, text), tokenizer->path, must_be_off[i]);
    }
    const size_t length = strlen(content);
    if (length == 0) return qp_fail(QP_FORMAT, "%s adds a token without text", tokenizer->path);
    token *const made = &tokenizer->tokens[*id];
    if (made->key != NULL && !made->added && strcmp(made->key, content) == 0) {
        /* In the vocabulary as well. It now stands for its own text. */
        char *const bytes = strdup(content);
        if (bytes == NULL) return no_memory();
        free(made->bytes);
        made->bytes = bytes;
        made->length = (int32_t)length;
    } else {
        QP_TRY(add_token(tokenizer, *id, content, content, length));
    }
    made->added = true;
    made->special = special;
    return QP_OK;
}

static qp_status read_added(qp_tokenizer *tokenizer, qp_json_node list)
{
    const int64_t count = qp_json_count(list);
    int32_t total = 0;
    tokenizer->added = malloc(((size_t)count + 1) * sizeof *tokenizer->added);
    if (tokenizer->added == NULL) return no_memory();
    for (qp_json_node n = qp_json_first(list); n.item != NULL; n = qp_json_next(n)) {
        int32_t id = 0;
        QP_TRY(read_added_token(tokenizer, n, &id));
        /* Kept sorted by insertion: there are few. */
        const token *const made = &tokenizer->tokens[id];
        int32_t at = total++;
        for (; at > 0; at--) {
            const token *const other = &tokenizer->tokens[tokenizer->added[at - 1]];
            const unsigned char mine = (unsigned char)made->bytes[0], theirs = (unsigned char)other->bytes[0];
            if (theirs < mine || (theirs == mine && other->length >= made->length)) break;
            tokenizer->added[at] = tokenizer->added[at - 1];
        }
        tokenizer->added[at] = id;
    }
    int32_t next = 0;
    for (int b = 0; b < 256; b++) {
        tokenizer->added_first[b] = next;
        while (next < total && (unsigned char)tokenizer->tokens[tokenizer->added[next]].bytes[0] == b) next++;
    }
    tokenizer->added_first[256] = next;
    return QP_OK;
}

/* Whether node has "type": type. */
static bool is_type(qp_json_node node, const char *type)
{
    const char *found;
    const qp_json_node member = qp_json_find(node, "type");
    return qp_json_kind_of(member) == QP_JSON_STRING && qp_json_as_string(member, &found) == QP_OK &&
           strcmp(found, type) == 0;
}

/* The part must be of `type`, or null if `or_null`. */
static qp_status require_type(const qp_tokenizer *tokenizer, qp_json_node root, const char *key, const char *type,
                              bool or_null)
{
    const qp_json_node node = qp_json_find(root, key);
    if ((or_null && qp_json_kind_of(node) <= QP_JSON_NULL) || is_type(node, type)) return QP_OK;
    return qp_fail(QP_UNSUPPORTED, "the %s of %s is not of type %s, and no other is supported", key, tokenizer->path,
                   type);
}

static qp_status check_model(const qp_tokenizer *tokenizer, qp_json_node model)
{
    static const char *const must_be_empty[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    double dropout;
    bool whole;
    for (size_t i = 0; i < sizeof must_be_empty / sizeof must_be_empty[0]; i++) {
        const char *text;
        QP_TRY(qp_json_get_string_or(model, must_be_empty[i], "", &text));
        if (text[0] != '\0')
            return qp_fail(QP_UNSUPPORTED, "the model of %s has a %s, which is not supported", tokenizer->path,
                           must_be_empty[i]);
    }
    QP_TRY(qp_json_get_double_or(model, "dropout", 0.0, &dropout));
    if (dropout != 0.0)
        return qp_fail(QP_UNSUPPORTED, "the model of %s has a dropout of %g, which is not supported", tokenizer->path,
                       dropout);
    QP_TRY(qp_json_get_bool_or(model, "ignore_merges", false, &whole));
    if (whole)
        return qp_fail(QP_UNSUPPORTED, "the model of %s has ignore_merges set, which is not supported",
                       tokenizer->path);
    return QP_OK;
}

/* ---- Reading the rest ---- */

/* Sequence of Split {Regex, Isolated} and ByteLevel {no prefix space, no pattern of its own}. */
static qp_status read_pre_tokenizer(qp_tokenizer *tokenizer, qp_json_node root)
{
    const qp_json_node sequence = qp_json_find(root, "pre_tokenizer");
    const qp_json_node split = qp_json_first(qp_json_find(sequence, "pretokenizers"));
    const qp_json_node bytes = qp_json_next(split);
    if (!is_type(sequence, "Sequence") || !is_type(split, "Split") || !is_type(bytes, "ByteLevel") ||
        qp_json_next(bytes).item != NULL)
        return qp_fail(QP_UNSUPPORTED,
                       "the pre_tokenizer of %s is not a Sequence of Split and ByteLevel, and no other"
                       " is supported",
                       tokenizer->path);
    const char *behavior, *pattern;
    bool invert, prefix, own;
    qp_json_node choice;
    QP_TRY(qp_json_get_string(split, "behavior", &behavior));
    QP_TRY(qp_json_get_bool_or(split, "invert", false, &invert));
    QP_TRY(qp_json_get_object(split, "pattern", &choice));
    QP_TRY(qp_json_get_string(choice, "Regex", &pattern));
    QP_TRY(qp_json_get_bool_or(bytes, "add_prefix_space", true, &prefix));
    QP_TRY(qp_json_get_bool_or(bytes, "use_regex", true, &own));
    if (strcmp(behavior, "Isolated") != 0 || invert)
        return qp_fail(QP_UNSUPPORTED,
                       "the Split of %s has another behavior than Isolated, or invert, which is not"
                       " supported",
                       tokenizer->path);
    if (prefix || own)
        return qp_fail(QP_UNSUPPORTED, "the ByteLevel of %s has add_prefix_space or use_regex, which is not supported",
                       tokenizer->path);
    return qp_split_pattern_open(pattern, tokenizer->path, &tokenizer->pattern);
}

static qp_status read_tokenizer(qp_tokenizer *tokenizer, qp_json_node root)
{
    static const char *const must_be_null[] = { "truncation", "padding" };
    qp_json_node model, vocab, merges, added;
    int32_t byte_ids[256];
    for (size_t i = 0; i < sizeof must_be_null / sizeof must_be_null[0]; i++)
        if (qp_json_kind_of(qp_json_find(root, must_be_null[i])) > QP_JSON_NULL)
            return qp_fail(QP_UNSUPPORTED, "%s sets %s, which is not supported", tokenizer->path, must_be_null[i]);
    QP_TRY(qp_json_get_object(root, "model", &model));
    QP_TRY(require_type(tokenizer, root, "model", "BPE", false));
    QP_TRY(require_type(tokenizer, root, "normalizer", "NFC", true));
    QP_TRY(require_type(tokenizer, root, "post_processor", "ByteLevel", true)); /* changes offsets only */
    QP_TRY(require_type(tokenizer, root, "decoder", "ByteLevel", false));
    tokenizer->nfc = is_type(qp_json_find(root, "normalizer"), "NFC");
    QP_TRY(check_model(tokenizer, model));
    QP_TRY(qp_json_get_object(model, "vocab", &vocab));
    QP_TRY(qp_json_get_array(model, "merges", &merges));
    QP_TRY(qp_json_get_array(root, "added_tokens", &added));

    QP_TRY(read_pre_tokenizer(tokenizer, root));
    QP_TRY(make_room(tokenizer, vocab, added));
    QP_TRY(read_vocab(tokenizer, vocab, byte_ids));
    QP_TRY(read_merges(tokenizer, merges, byte_ids));
    return read_added(tokenizer, added);
}

qp_status qp_tokenizer_open(const char *dir, qp_tokenizer **tokenizer)
{
    qp_status status = QP_OK;
    qp_json *json = NULL;
    *tokenizer = NULL;
    const size_t size = strlen(dir) + sizeof "/tokenizer.json";
    qp_tokenizer *const made = calloc(1, sizeof *made);
    if (made == NULL || (made->path = malloc(size)) == NULL) {
        status = no_memory();
        goto done;
    }
    (void)snprintf(made->path, size, "%s/tokenizer.json", dir);
    if ((status = qp_json_read_file(made->path, &json)) != QP_OK) goto done;
    status = read_tokenizer(made, qp_json_root(json));

done:
    qp_json_free(json);
    if (status == QP_OK)
        *tokenizer = made;
    else
        qp_tokenizer_close(made);
    return status;
}

void qp_tokenizer_close(qp_tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
    for (int32_t i = 0; i < tokenizer->token_count; i++) {
        free(tokenizer->tokens[i].key);
        free(tokenizer->tokens[i].bytes);
    }
    qp_split_pattern_close(tokenizer->pattern);
    qp_bpe_close(tokenizer->bpe);
    free(tokenizer->added);
    free(tokenizer->slots);
    free(tokenizer->tokens);
    free(tokenizer->path);
    free(tokenizer);
}

int64_t qp_tokenizer_vocab_size(const qp_tokenizer *tokenizer) { return tokenizer->token_count; }

int64_t qp_tokenizer_token_id(const qp_tokenizer *tokenizer, const char *key)
{
    return find_token(tokenizer, key, strlen(key));
}

/* NULL if the id stands for no token. */
static const token *token_at(const qp_tokenizer *tokenizer, int64_t id)
{
    const bool known = id >= 0 && id < tokenizer->token_count && tokenizer->tokens[id].key != NULL;
    return known ? &tokenizer->tokens[id] : NULL;
}

bool qp_tokenizer_is_special(const qp_tokenizer *tokenizer, int64_t id)
{
    const token *const found = token_at(tokenizer, id);
    return found != NULL && found->special;
}

/* ---- Growing buffers ---- */

typedef struct text_buffer {
    char *data; /* owned */
    size_t length, room;
} text_buffer;

/* Room for `more` bytes and a zero behind them. */
static bool reserve(text_buffer *buffer, size_t more)
{
    if (more > SIZE_MAX / 4 - buffer->length) return false;
    if (buffer->length + more < buffer->room) return true;
    const size_t room = (buffer->length + more) * 2 + 64;
    char *const grown = realloc(buffer->data, room);
    if (grown == NULL) return false;
    buffer->data = grown;
    buffer->room = room;
    return true;
}

/* Appends the text with U+FFFD for what is no UTF-8. Without `at_end`, a character that the text cuts off is left:
 * *left is then the number of its bytes. False without memory. */
static bool append_repaired(text_buffer *buffer, const char *text, size_t bytes, bool at_end, size_t *left)
{
    *left = 0;
    for (size_t at = 0, length = 0; at < bytes; at += length) {
        const int32_t point = qp_utf8_next(text + at, bytes - at, &length);
        if (point == -2 && !at_end) {
            *left = length;
            return true;
        }
        const size_t step = point >= 0 ? length : (size_t)QP_UTF8_REPLACEMENT_BYTES;
        if (!reserve(buffer, step)) return false;
        memcpy(buffer->data + buffer->length, point >= 0 ? text + at : QP_UTF8_REPLACEMENT, step);
        buffer->length += step;
    }
    return true;
}

/* ---- Encoding ---- */

/* What one call of qp_tokenizer_encode works with. */
typedef struct encoder {
    const qp_tokenizer *tokenizer;
    qp_split_search *search; /* owned */
    qp_bpe_output output;    /* owned */
} encoder;

/* Text without added tokens, in normal form if the tokenizer has one. */
static qp_status encode_words(encoder *e, const char *text, size_t bytes)
{
    for (size_t at = 0, begin, end; at < bytes; at = end) {
        QP_TRY(qp_split_next(e->search, text, bytes, at, &begin, &end));
        QP_TRY(qp_bpe_encode(e->tokenizer->bpe, text + at, begin - at, &e->output));
        QP_TRY(qp_bpe_encode(e->tokenizer->bpe, text + begin, end - begin, &e->output));
    }
    return QP_OK;
}

/* Text without added tokens, as it was written. */
static qp_status encode_text(encoder *e, const char *text, size_t bytes)
{
    char *normal = NULL;
    size_t normal_bytes = bytes;
    if (e->tokenizer->nfc) QP_TRY(qp_nfc(text, bytes, &normal, &normal_bytes));
    const qp_status status = encode_words(e, normal != NULL ? normal : text, normal_bytes);
    free(normal);
    return status;
}

/* The added token that begins here, the longest of several, or -1. */
static int32_t added_at(const qp_tokenizer *tokenizer, const char *text, size_t bytes)
{
    const unsigned char first = (unsigned char)text[0];
    for (int32_t i = tokenizer->added_first[first]; i < tokenizer->added_first[first + 1]; i++) {
        const token *const candidate_token = &tokenizer->tokens[tokenizer->added[i]];
        const size_t length = (size_t)candidate_token->length;
        if (length <= bytes && memcmp(text, candidate_token->bytes, length) == 0) return tokenizer->added[i];
    }
    return -1;
}

static qp_status encode_all(encoder *e, const char *text, size_t bytes)
{
    size_t start = 0;
    for (size_t at = 0; at < bytes;) {
        const int32_t id = added_at(e->tokenizer, text + at, bytes - at);
        if (id < 0) {
            at++;
            continue;
        }
        QP_TRY(encode_text(e, text + start, at - start));
        QP_TRY(qp_bpe_put(&e->output, id));
        at += (size_t)e->tokenizer->tokens[id].length;
        start = at;
    }
    return encode_text(e, text + start, bytes - start);
}

qp_status qp_tokenizer_encode(const qp_tokenizer *tokenizer, const char *text, int64_t bytes, int64_t **ids,
                              int64_t *count)
{
    qp_status status = QP_OK;
    text_buffer repaired = { 0 };
    size_t size = (size_t)bytes, bad;
    *ids = NULL;
    *count = 0;
    if (bytes < 0 || bytes > MAX_TEXT_BYTES)
        return qp_fail(QP_INVALID, "a text of %" PRId64 " bytes cannot be encoded, at most %" PRId64 " can", bytes,
                       MAX_TEXT_BYTES);
    if (bytes == 0) text = "";

    encoder e = { .tokenizer = tokenizer };
    if (!qp_utf8_valid(text, size, &bad)) {
        if (!append_repaired(&repaired, text, size, true, &bad)) {
            status = no_memory();
            goto done;
        }
        text = repaired.data;
        size = repaired.length;
    }
    e.output.room = size / 4 + 16;
    e.output.ids = malloc(e.output.room * sizeof *e.output.ids); /* also for no ids at all */
    if (e.output.ids == NULL) {
        status = no_memory();
        goto done;
    }
    if ((status = qp_split_search_open(tokenizer->pattern, size, &e.search)) != QP_OK) goto done;
    if ((status = encode_all(&e, text, size)) != QP_OK) goto done;
    *ids = e.output.ids;
    *count = (int64_t)e.output.count;
    e.output.ids = NULL;

done:
    qp_split_search_close(e.search);
    qp_bpe_output_free(&e.output);
    free(repaired.data);
    return status;
}

/* ---- Decoding ---- */

struct qp_decoder {
    const qp_tokenizer *tokenizer; /* borrowed */
    bool skip_special;
    text_buffer input;  /* bytes held back, then the token's */
    text_buffer output; /* what the last call gave */
};

qp_status qp_decoder_open(const qp_tokenizer *tokenizer, bool skip_special, qp_decoder **decoder)
{
    qp_decoder *const made = calloc(1, sizeof *made);
    *decoder = made;
    if (made == NULL) return no_memory();
    made->tokenizer = tokenizer;
    made->skip_special = skip_special;
    return QP_OK;
}

void qp_decoder_close(qp_decoder *decoder)
{
    if (decoder == NULL) return;
    free(decoder->input.data);
    free(decoder->output.data);
    free(decoder);
}

/* Moves what is complete, or at the end everything, from the input to the output. */
static qp_status decode_input(qp_decoder *decoder, bool at_end)
{
    text_buffer *const in = &decoder->input, *const out = &decoder->output;
    size_t left;
    if (!append_repaired(out, in->data, in->length, at_end, &left) || !reserve(out, 0)) return no_memory();
    out->data[out->length] = '\0';
    if (left > 0) memmove(in->data, in->data + in->length - left, left);
    in->length = left;
    return QP_OK;
}

/* Appends the bytes of a token to the input. */
static qp_status take_token(qp_decoder *decoder, int64_t id)
{
    const token *const found = token_at(decoder->tokenizer, id);
    if (found == NULL)
        return qp_fail(QP_INVALID, "the id %" PRId64 " stands for no token of %s", id, decoder->tokenizer->path);
    if (found->special && decoder->skip_special) return QP_OK;
    const size_t length = (size_t)found->length;
    if (!reserve(&decoder->input, length)) return no_memory();
    memcpy(decoder->input.data + decoder->input.length, found->bytes, length);
    decoder->input.length += length;
    return QP_OK;
}

qp_status qp_decoder_push(qp_decoder *decoder, int64_t id, const char **text, int64_t *bytes)
{
    *text = "";
    *bytes = 0;
    QP_TRY(take_token(decoder, id));
    decoder->output.length = 0;
    QP_TRY(decode_input(decoder, false));
    *text = decoder->output.data;
    *bytes = (int64_t)decoder->output.length;
    return QP_OK;
}

qp_status qp_decoder_finish(qp_decoder *decoder, const char **text, int64_t *bytes)
{
    *text = "";
    *bytes = 0;
    decoder->output.length = 0;
    QP_TRY(decode_input(decoder, true));
    *text = decoder->output.data;
    *bytes = (int64_t)decoder->output.length;
    return QP_OK;
}

qp_status qp_tokenizer_decode(const qp_tokenizer *tokenizer, const int64_t *ids, int64_t count, bool skip_special,
                              char **text, int64_t *bytes)
{
    qp_status status = QP_OK;
    qp_decoder decoder = { .tokenizer = tokenizer, .skip_special = skip_special };
    *text = NULL;
    *bytes = 0;
    for (int64_t i = 0; i < count && status == QP_OK; i++) status = take_token(&decoder, ids[i]);
    if (status == QP_OK) status = decode_input(&decoder, true);
    free(decoder.input.data);
    if (status != QP_OK) {
        free(decoder.output.data);
        return status;
    }
    *text = decoder.output.data;
    *bytes = (int64_t)decoder.output.length;
    return QP_OK;
}
