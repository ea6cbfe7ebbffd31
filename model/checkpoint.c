#include "checkpoint.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kernels/operation.h"
#include "json.h"
#include "machine_memory.h"
#include "mapped_file.h"

enum { MAX_SHARDS = 4096, MAX_NAME = 512, PREFIX_BYTES = 8 };
#define MAX_HEADER_BYTES INT64_C(100000000)

typedef struct shard {
    char *name; /* owned: file name in the folder */
    qp_mapped_file file;
} shard;

/* A tensor while it is being loaded. */
typedef struct entry {
    qp_checkpoint_tensor tensor; /* tensor.name is owned, through `name` */
    char *name;
    int64_t begin, end; /* in the data section of its shard */
    int shard;
} entry;

struct qp_checkpoint {
    char *dir;     /* owned */
    shard *shards; /* owned */
    int shard_count;
    entry *entries; /* owned, sorted by name once open */
    int64_t entry_count, entry_room;
    void *memory; /* owned: the data of tensors that come from no file, or NULL */
};

/* Types of whole bytes. The format has smaller ones too, which no tensor of a Qwen3 in bf16 uses. */
static const struct known_dtype {
    const char *name;
    int64_t bytes;
} known_dtypes[] = {
    { "BOOL", 1 }, { "U8", 1 },  { "I8", 1 },  { "F8_E4M3", 1 }, { "F8_E5M2", 1 }, { "F8_E8M0", 1 },
    { "I16", 2 },  { "U16", 2 }, { "F16", 2 }, { "BF16", 2 },    { "I32", 4 },     { "U32", 4 },
    { "F32", 4 },  { "I64", 8 }, { "U64", 8 }, { "F64", 8 },     { "C64", 8 },
};

static const struct known_dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof known_dtypes / sizeof known_dtypes[0]; i++)
        if (strcmp(known_dtypes[i].name, name) == 0) return &known_dtypes[i];
    return NULL;
}

static qp_status no_memory(const qp_checkpoint *checkpoint)
{
    return qp_fail(QP_NO_MEMORY, "not enough memory to list the tensors of %s", checkpoint->dir);
}

static char *join(const char *dir, const char *name)
{
    const size_t size = strlen(dir) + strlen(name) + 2;
    char *const path = malloc(size);
    if (path != NULL) (void)snprintf(path, size, "%s/%s", dir, name);
    return path;
}

/* ---- One file ---- */

/* Names go into messages and lists; one that breaks lines is no name. */
static bool printable(const char *name)
{
    const size_t length = strlen(name);
    if (length == 0 || length > MAX_NAME) return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) return false;
    return true;
}

/* Reads dtype, shape and data_offsets of one tensor, and checks them against each other and the data section. */
static qp_status read_entry(qp_json_node node, const char *path, int64_t data_bytes, entry *made)
{
    const char *const name = made->name;
    const char *dtype_name;
    qp_json_node shape, offsets;
    QP_TRY(qp_json_get_string(node, "dtype", &dtype_name));
    QP_TRY(qp_json_get_array(node, "shape", &shape));
    QP_TRY(qp_json_get_array(node, "data_offsets", &offsets));

    const struct known_dtype *const dtype = find_dtype(dtype_name);
    if (dtype == NULL)
        return qp_fail(QP_UNSUPPORTED, "%s in %s has dtype \"%.32s\", which is not supported", name, path, dtype_name);
    made->tensor.name = name;
    made->tensor.dtype = dtype->name;

    int64_t bytes = dtype->bytes;
    for (qp_json_node n = qp_json_first(shape); n.item != NULL; n = qp_json_next(n)) {
        int64_t dim;
        QP_TRY(qp_json_as_int64(n, &dim));
        if (dim < 0) return qp_fail(QP_FORMAT, "%s in %s has the negative dimension %" PRId64, name, path, dim);
        if (made->tensor.rank == QP_CHECKPOINT_MAX_RANK)
            return qp_fail(QP_UNSUPPORTED, "%s in %s has more than %d dimensions", name, path, QP_CHECKPOINT_MAX_RANK);
        if (__builtin_mul_overflow(bytes, dim, &bytes))
            return qp_fail(QP_FORMAT, "%s in %s has a shape of more than 2^63 bytes", name, path);
        made->tensor.dims[made->tensor.rank++] = dim;
    }

    const qp_json_node first = qp_json_first(offsets), second = qp_json_next(first);
    if (second.item == NULL || qp_json_next(second).item != NULL)
        return qp_fail(QP_FORMAT, "data_offsets of %s in %s are not two numbers", name, path);
    QP_TRY(qp_json_as_int64(first, &made->begin));
    QP_TRY(qp_json_as_int64(second, &made->end));
    if (made->begin < 0 || made->begin > made->end || made->end > data_bytes)
        return qp_fail(QP_FORMAT,
                       "%s in %s is said to lie at bytes %" PRId64 " to %" PRId64 ", but the file has %" PRId64
                       " bytes of data",
                       name, path, made->begin, made->end, data_bytes);
    if (made->end - made->begin != bytes)
        return qp_fail(QP_FORMAT, "%s in %s has %" PRId64 " bytes, but its shape and dtype need %" PRId64, name, path,
                       made->end - made->begin, bytes);
    made->tensor.bytes = bytes;
    return QP_OK;
}

static int by_place(const void *left, const void *right)
{
    const entry *const a = left, *const b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

/* Appends an entry with a copy of `name`; NULL without memory. */
static entry *add_entry(qp_checkpoint *checkpoint, const char *name)
{
    if (checkpoint->entry_count == checkpoint->entry_room) {
        const int64_t room = checkpoint->entry_room == 0 ? 256 : checkpoint->entry_room * 2;
        entry *const grown = realloc(checkpoint->entries, (size_t)room * sizeof *grown);
        if (grown == NULL) return NULL;
        checkpoint->entries = grown;
        checkpoint->entry_room = room;
    }
    char *const copy = strdup(name);
    if (copy == NULL) return NULL;
    entry *const made = &checkpoint->entries[checkpoint->entry_count++];
    *made = (entry){ .name = copy };
    return made;
}

/* The header's place in the file: a little-endian 64-bit length, then that many bytes of JSON. */
static qp_status find_header(const qp_mapped_file *file, const char *path, int64_t *header_bytes)
{
    const unsigned char *const prefix = file->data;
    uint64_t length = 0;
    if (file->bytes < PREFIX_BYTES)
        return qp_fail(QP_FORMAT, "%s has only %" PRId64 " bytes and is no safetensors file", path, file->bytes);
    for (int i = PREFIX_BYTES - 1; i >= 0; i--) length = length << 8 | prefix[i];
    if (length == 0 || length > (uint64_t)(file->bytes - PREFIX_BYTES))
        return qp_fail(QP_FORMAT,
                       "%s says that its header has %" PRIu64 " bytes, but %" PRId64
                       " follow: it is cut short or no safetensors file",
                       path, length, file->bytes - PREFIX_BYTES);
    if (length > (uint64_t)MAX_HEADER_BYTES)
        return qp_fail(QP_FORMAT,
                       "%s says that its header has %" PRIu64 " bytes, more than the format's limit of %" PRId64, path,
                       length, MAX_HEADER_BYTES);
    if (prefix[PREFIX_BYTES] != '{')
        return qp_fail(QP_FORMAT, "the header of %s does not begin with {: it is no safetensors file", path);
    *header_bytes = (int64_t)length;
    return QP_OK;
}

/* Maps shard `index` and appends its tensors. */
static qp_status load_shard(qp_checkpoint *checkpoint, int index)
{
    qp_status status = QP_OK;
    shard *const from = &checkpoint->shards[index];
    const int64_t start = checkpoint->entry_count;
    qp_json *header = NULL;
    int64_t header_bytes = 0;
    char *const path = join(checkpoint->dir, from->name);
    if (path == NULL) return no_memory(checkpoint);

    if ((status = qp_mapped_file_open(path, &from->file)) != QP_OK) goto done;
    if ((status = find_header(&from->file, path, &header_bytes)) != QP_OK) goto done;
    const char *const text = (const char *)from->file.data + PREFIX_BYTES;
    const char *const data = text + header_bytes;
    const int64_t data_bytes = from->file.bytes - PREFIX_BYTES - header_bytes;
    if ((status = qp_json_parse(text, header_bytes, path, &header)) != QP_OK) goto done;

    for (qp_json_node n = qp_json_first(qp_json_root(header)); n.item != NULL; n = qp_json_next(n)) {
        const char *const name = qp_json_key(n);
        if (strcmp(name, "__metadata__") == 0) continue;
        if (!printable(name)) {
            status = qp_fail(QP_FORMAT, "%s holds a tensor whose name is empty, longer than %d bytes or not printable",
                             path, MAX_NAME);
            goto done;
        }
        entry *const made = add_entry(checkpoint, name);
        if (made == NULL) {
            status = no_memory(checkpoint);
            goto done;
        }
        made->shard = index;
        if ((status = read_entry(n, path, data_bytes, made)) != QP_OK) goto done;
        made->tensor.data = data + made->begin;
    }

    entry *const entries = checkpoint->entries + start;
    const int64_t count = checkpoint->entry_count - start;
    int64_t covered = 0;
    if (count > 0) qsort(entries, (size_t)count, sizeof *entries, by_place);
    for (int64_t i = 0; i < count; i++) {
        if (entries[i].begin < covered)
            status = qp_fail(QP_FORMAT, "%s and %s overlap in %s", entries[i - 1].name, entries[i].name, path);
        else if (entries[i].begin > covered)
            status = qp_fail(QP_FORMAT,
                             "%s leaves the bytes %" PRId64 " to %" PRId64 " before %s unused, which the"
                             " format forbids",
                             path, covered, entries[i].begin, entries[i].name);
        if (status != QP_OK) goto done;
        covered = entries[i].end;
    }
    if (covered != data_bytes)
        status = qp_fail(QP_FORMAT, "%s has %" PRId64 " bytes of data, but its tensors end at %" PRId64, path,
                         data_bytes, covered);

done:
    qp_json_free(header);
    free(path);
    return status;
}

/* ---- The folder ---- */

static int by_name(const void *left, const void *right)
{
    const entry *const a = left, *const b = right;
    return strcmp(a->name, b->name);
}

static const entry *find_entry(const qp_checkpoint *checkpoint, const char *name)
{
    int64_t low = 0, high = checkpoint->entry_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(checkpoint->entries[middle].name, name);
        if (order == 0) return &checkpoint->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static qp_status add_shard(qp_checkpoint *checkpoint, const char *name)
{
    if (checkpoint->shard_count == MAX_SHARDS)
        return qp_fail(QP_UNSUPPORTED, "%s has more than %d shards", checkpoint->dir, MAX_SHARDS);
    shard *const grown = realloc(checkpoint->shards, ((size_t)checkpoint->shard_count + 1) * sizeof *grown);
    if (grown == NULL) return no_memory(checkpoint);
    checkpoint->shards = grown;
    grown[checkpoint->shard_count] = (shard){ .name = strdup(name) };
    if (grown[checkpoint->shard_count].name == NULL) return no_memory(checkpoint);
    checkpoint->shard_count++;
    return QP_OK;
}

/* An index comes from the net like the weights: it must not name files elsewhere. */
static bool plain_file_name(const char *name)
{
    return printable(name) && strchr(name, '/') == NULL && strchr(name, '\\') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int find_shard(const qp_checkpoint *checkpoint, const char *name)
{
    /* Names come grouped, so that the last one is the likeliest. */
    for (int i = checkpoint->shard_count - 1; i >= 0; i--)
        if (strcmp(checkpoint->shards[i].name, name) == 0) return i;
    return -1;
}

/* Lists the shards that the index names. */
static qp_status list_shards(qp_checkpoint *checkpoint, const qp_json *index)
{
    qp_json_node map;
    QP_TRY(qp_json_get_object(qp_json_root(index), "weight_map", &map));
    for (qp_json_node n = qp_json_first(map); n.item != NULL; n = qp_json_next(n)) {
        const char *file;
        QP_TRY(qp_json_as_string(n, &file));
        if (!plain_file_name(file))
            return qp_fail(QP_FORMAT, "%s names a shard that is not a plain file name in the folder",
                           qp_json_origin(index));
        if (find_shard(checkpoint, file) < 0) QP_TRY(add_shard(checkpoint, file));
    }
    if (checkpoint->shard_count == 0)
        return qp_fail(QP_FORMAT, "weight_map in %s names no tensor", qp_json_origin(index));
    return QP_OK;
}

/* Whether each tensor lies where the index says. */
static qp_status check_index(const qp_checkpoint *checkpoint, const qp_json *index)
{
    qp_json_node map;
    QP_TRY(qp_json_get_object(qp_json_root(index), "weight_map", &map));
    for (qp_json_node n = qp_json_first(map); n.item != NULL; n = qp_json_next(n)) {
        const char *file;
        char where[256];
        QP_TRY(qp_json_as_string(n, &file));
        const entry *const found = find_entry(checkpoint, qp_json_key(n));
        if (found == NULL || found->shard != find_shard(checkpoint, file))
            return qp_fail(QP_FORMAT, "%s in %s says %s, but that shard does not hold it",
                           qp_json_where(n, where, sizeof where), qp_json_origin(index), file);
    }
    return QP_OK;
}

qp_status qp_checkpoint_open(const char *dir, qp_checkpoint **checkpoint)
{
    qp_status status = QP_OK;
    qp_json *index = NULL;
    *checkpoint = NULL;
    qp_checkpoint *const made = calloc(1, sizeof *made);
    char *const single = join(dir, "model.safetensors");
    char *const index_path = join(dir, "model.safetensors.index.json");
    if (made != NULL) made->dir = strdup(dir);
    if (made == NULL || made->dir == NULL || single == NULL || index_path == NULL) {
        status = qp_fail(QP_NO_MEMORY, "not enough memory to open %s", dir);
        goto done;
    }

    if (access(single, F_OK) == 0) {
        status = add_shard(made, "model.safetensors");
    } else if (access(index_path, F_OK) == 0) {
        status = qp_json_read_file(index_path, &index);
        if (status == QP_OK) status = list_shards(made, index);
    } else {
        status = qp_fail(QP_IO, "%s holds neither model.safetensors nor model.safetensors.index.json", dir);
    }
    for (int i = 0; status == QP_OK && i < made->shard_count; i++) status = load_shard(made, i);
    if (status != QP_OK) goto done;

    if (made->entry_count > 0) qsort(made->entries, (size_t)made->entry_count, sizeof *made->entries, by_name);
    for (int64_t i = 1; i < made->entry_count; i++) {
        const entry *const a = &made->entries[i - 1], *const b = &made->entries[i];
        if (strcmp(a->name, b->name) != 0) continue;
        status = qp_fail(QP_FORMAT, "%s is in %s twice, in %s and in %s", b->name, dir, made->shards[a->shard].name,
                         made->shards[b->shard].name);
        goto done;
    }
    if (index != NULL) status = check_index(made, index);

done:
    qp_json_free(index);
    free(index_path);
    free(single);
    if (status == QP_OK)
        *checkpoint = made;
    else
        qp_checkpoint_close(made);
    return status;
}

void qp_checkpoint_close(qp_checkpoint *checkpoint)
{
    if (checkpoint == NULL) return;
    for (int64_t i = 0; i < checkpoint->entry_count; i++) free(checkpoint->entries[i].name);
    for (int i = 0; i < checkpoint->shard_count; i++) {
        qp_mapped_file_close(&checkpoint->shards[i].file);
        free(checkpoint->shards[i].name);
    }
    free(checkpoint->entries);
    free(checkpoint->shards);
    free(checkpoint->memory);
    free(checkpoint->dir);
    free(checkpoint);
}

/* ---- Tensors ---- */

int64_t qp_checkpoint_count(const qp_checkpoint *checkpoint) { return checkpoint->entry_count; }

const qp_checkpoint_tensor *qp_checkpoint_at(const qp_checkpoint *checkpoint, int64_t index)
{
    return index >= 0 && index < checkpoint->entry_count ? &checkpoint->entries[index].tensor : NULL;
}

const qp_checkpoint_tensor *qp_checkpoint_find(const qp_checkpoint *checkpoint, const char *name)
{
    const entry *const found = find_entry(checkpoint, name);
    return found != NULL ? &found->tensor : NULL;
}

/* "[6, 128]" */
static const char *shape_text(int rank, const int64_t *dims, char *text, size_t size)
{
    size_t length = 0;
    (void)snprintf(text, size, "[");
    for (int i = 0; i < rank; i++) {
        length = strlen(text);
        (void)snprintf(text + length, size - length, "%s%" PRId64, i > 0 ? ", " : "", dims[i]);
    }
    length = strlen(text);
    (void)snprintf(text + length, size - length, "]");
    return text;
}

qp_status qp_checkpoint_bf16(const qp_checkpoint *checkpoint, const char *name, int rank, const int64_t *dims,
                             const qp_bf16 **data)
{
    char found_shape[224], wanted_shape[224];
    *data = NULL;
    if (rank < 0 || rank > QP_CHECKPOINT_MAX_RANK)
        return qp_fail(QP_INVALID, "%s was asked for with %d dimensions", name, rank);
    const qp_checkpoint_tensor *const tensor = qp_checkpoint_find(checkpoint, name);
    if (tensor == NULL) return qp_fail(QP_FORMAT, "%s is missing from %s", name, checkpoint->dir);
    bool same = strcmp(tensor->dtype, "BF16") == 0 && tensor->rank == rank;
    for (int i = 0; same && i < rank; i++) same = tensor->dims[i] == dims[i];
    if (!same)
        return qp_fail(QP_FORMAT, "%s in %s is %s %s, but BF16 %s is needed", name, checkpoint->dir, tensor->dtype,
                       shape_text(tensor->rank, tensor->dims, found_shape, sizeof found_shape),
                       shape_text(rank, dims, wanted_shape, sizeof wanted_shape));
    if ((uintptr_t)tensor->data % sizeof(qp_bf16) != 0)
        return qp_fail(QP_FORMAT,
                       "%s in %s does not begin at an even byte of its file: save the weights again with"
                       " the safetensors library",
                       name, checkpoint->dir);
    *data = tensor->data;
    return QP_OK;
}

/* Told of each tensor of a model. */
typedef qp_status (*visit_tensor)(void *context, const char *name, int rank, const int64_t *dims);

/* Tells of every tensor of a dense Qwen3. */
static qp_status visit_qwen3(const qp_config *config, visit_tensor visit, void *context)
{
    const int64_t hidden = config->hidden_size, inner = config->intermediate_size, head = config->head_dim;
    const int64_t query = config->num_attention_heads * head, key = config->num_key_value_heads * head;
    const struct {
        const char *name;
        int rank;
        int64_t dims[2];
    } per_layer[] = {
        { "input_layernorm", 1, { hidden } },         { "self_attn.q_proj", 2, { query, hidden } },
        { "self_attn.k_proj", 2, { key, hidden } },   { "self_attn.v_proj", 2, { key, hidden } },
        { "self_attn.q_norm", 1, { head } },          { "self_attn.k_norm", 1, { head } },
        { "self_attn.o_proj", 2, { hidden, query } }, { "post_attention_layernorm", 1, { hidden } },
        { "mlp.gate_proj", 2, { inner, hidden } },    { "mlp.up_proj", 2, { inner, hidden } },
        { "mlp.down_proj", 2, { hidden, inner } },
    };
    const int64_t table[2] = { config->vocab_size, hidden };
    char name[128];

    QP_TRY(visit(context, "model.embed_tokens.weight", 2, table));
    for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
        for (size_t i = 0; i < sizeof per_layer / sizeof per_layer[0]; i++) {
            (void)snprintf(name, sizeof name, "model.layers.%" PRId64 ".%s.weight", layer, per_layer[i].name);
            QP_TRY(visit(context, name, per_layer[i].rank, per_layer[i].dims));
        }
    }
    QP_TRY(visit(context, "model.norm.weight", 1, &hidden));
    if (!config->tie_word_embeddings) QP_TRY(visit(context, "lm_head.weight", 2, table));
    return QP_OK;
}

typedef struct requirement {
    const qp_checkpoint *checkpoint;
} requirement;

static qp_status require_tensor(void *context, const char *name, int rank, const int64_t *dims)
{
    const qp_bf16 *data;
    return qp_checkpoint_bf16(((const requirement *)context)->checkpoint, name, rank, dims, &data);
}

qp_status qp_checkpoint_require_qwen3(const qp_checkpoint *checkpoint, const qp_config *config)
{
    requirement required = { checkpoint };
    char name[128];
    QP_TRY(visit_qwen3(config, require_tensor, &required));

    /* Weights of a deeper model would run, and give nonsense. */
    (void)snprintf(name, sizeof name, "model.layers.%" PRId64 ".input_layernorm.weight", config->num_hidden_layers);
    if (qp_checkpoint_find(checkpoint, name) != NULL)
        return qp_fail(QP_FORMAT, "%s holds %s, but its config.json says that there are %" PRId64 " layers",
                       checkpoint->dir, name, config->num_hidden_layers);
    return QP_OK;
}

/* ---- In memory ---- */

static qp_status add_tensor(void *context, const char *name, int rank, const int64_t *dims)
{
    qp_checkpoint *const checkpoint = context;
    entry *const made = add_entry(checkpoint, name);
    if (made == NULL) return no_memory(checkpoint);
    made->tensor =
        (qp_checkpoint_tensor){ .name = made->name, .dtype = "BF16", .rank = rank, .bytes = sizeof(qp_bf16) };
    for (int i = 0; i < rank; i++) {
        made->tensor.dims[i] = dims[i];
        made->tensor.bytes *= dims[i];
    }
    return QP_OK;
}

static qp_status place_tensors(qp_checkpoint *checkpoint)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < checkpoint->entry_count; i++) {
        checkpoint->entries[i].begin = bytes;
        bytes += (checkpoint->entries[i].tensor.bytes + QP_ALIGNMENT - 1) / QP_ALIGNMENT * QP_ALIGNMENT;
        checkpoint->entries[i].end = bytes;
    }
    if (!qp_machine_allocate((uint64_t)bytes, QP_ALIGNMENT, &checkpoint->memory))
        return qp_fail(QP_NO_MEMORY, "the weights of %s need %.1f GB of memory, which this machine does not have",
                       checkpoint->dir, (double)bytes / 1e9);
    for (int64_t i = 0; i < checkpoint->entry_count; i++)
        checkpoint->entries[i].tensor.data = (char *)checkpoint->memory + checkpoint->entries[i].begin;
    return QP_OK;
}

qp_status qp_checkpoint_allocate(const char *origin, const qp_config *config, qp_checkpoint **checkpoint)
{
    *checkpoint = NULL;
    qp_checkpoint *const made = calloc(1, sizeof *made);
    if (made != NULL) made->dir = strdup(origin);
    if (made == NULL || made->dir == NULL) {
        qp_checkpoint_close(made);
        return qp_fail(QP_NO_MEMORY, "not enough memory to make %s", origin);
    }
    qp_status status = visit_qwen3(config, add_tensor, made);
    if (status == QP_OK) status = place_tensors(made);
    if (status != QP_OK) {
        qp_checkpoint_close(made);
        return status;
    }
    qsort(made->entries, (size_t)made->entry_count, sizeof *made->entries, by_name);
    *checkpoint = made;
    return QP_OK;
}

qp_status qp_checkpoint_sha256(const qp_checkpoint_tensor *tensor, char hex[QP_SHA256_TEXT])
{
    return qp_sha256(tensor->data, (size_t)tensor->bytes, hex);
}
