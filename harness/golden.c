#include "golden.h"

#include <errno.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the reader hands stored little-endian elements on as they are: add a byte swap for this machine"
#endif

/* Ends the sentence about a file that cannot be used. */
#define CAPTURE_ANEW "capture it anew with golden/capture.py"

/* Above these a file lies or was made for something else, and reading on would only cost memory. */
enum { MAX_TOKENS = 1 << 24, MAX_TEXT_BYTES = 1 << 26, MAX_CHUNK_BYTES = 1 << 30 };

static const char schema[] = "qwen3-parity-golden/1";
static const char weights_dataset[] = "weights_sha256";

typedef struct string_list {
    char **items; /* owned, and each item, too */
    int count, capacity;
} string_list;

/* What a phase owns; qp_golden_phase only borrows from here. */
typedef struct phase {
    qp_golden_phase view;
    char *name, *path; /* owned */
    int64_t *ids;      /* owned */
    string_list boundaries;
} phase;

typedef struct prompt {
    char *name, *text; /* owned */
} prompt;

struct qp_golden {
    hid_t file;
    char *path, *weights;      /* owned */
    string_list names, values; /* of the file's attributes, in the same order */
    prompt *prompts;
    int prompt_count, prompt_capacity;
    phase *phases;
    int phase_count, phase_capacity;
};

/* ---- memory ---- */

static qp_status no_memory(const qp_golden *golden)
{
    return qp_fail(QP_NO_MEMORY, "not enough memory to read golden '%s'", golden->path);
}

/* Makes room for one more item of `bytes` bytes. */
static bool grow(void *array, int count, int *capacity, size_t bytes)
{
    if (count < *capacity) return true;
    const int wanted = *capacity ? *capacity * 2 : 16;
    if (*capacity > INT32_MAX / 2 || (size_t)wanted > SIZE_MAX / bytes) return false;
    void *old, *larger;
    memcpy(&old, array, sizeof old);
    larger = realloc(old, (size_t)wanted * bytes);
    if (!larger) return false;
    memcpy(array, &larger, sizeof larger);
    *capacity = wanted;
    return true;
}

static bool append(string_list *list, const char *text)
{
    if (!grow(&list->items, list->count, &list->capacity, sizeof *list->items)) return false;
    char *copy = strdup(text);
    if (!copy) return false;
    list->items[list->count++] = copy;
    return true;
}

static void free_list(string_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

static int order_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Text of a file in a sentence: control characters would break its line. */
typedef struct quoted {
    char text[96];
} quoted;

static quoted quote(const char *text)
{
    quoted q;
    size_t length = 0;
    for (; *text && length + 4 < sizeof q.text; text++)
        q.text[length++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
    if (*text) {
        memcpy(q.text + length, "...", 3);
        length += 3;
    }
    q.text[length] = '\0';
    return q;
}

/* ---- what HDF5 says ---- */

static herr_t innermost_error(unsigned depth, const H5E_error2_t *error, void *data)
{
    quoted *text = data;
    if (depth == 0 && error->desc) *text = quote(error->desc);
    return 0;
}

static quoted hdf5_error(void)
{
    quoted text = quote("no reason given");
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost_error, &text);
    (void)H5Eclear2(H5E_DEFAULT);
    return text;
}

/* `what` names the thing, e.g. "attribute 'past' of 'aistonia/prefill'". */
static qp_status unreadable(const qp_golden *golden, const char *what)
{
    return qp_fail(QP_FORMAT, "golden '%s': HDF5 cannot read %s (%s); the file is damaged, so " CAPTURE_ANEW,
                   golden->path, what, hdf5_error().text);
}

static void type_name(hid_t type, char *text, size_t size)
{
    const char *order = H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "";
    const unsigned bits = (unsigned)(H5Tget_size(type) * 8);
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        (void)snprintf(text, size, "%s%u%s", H5Tget_sign(type) == H5T_SGN_NONE ? "unsigned integer " : "integer ", bits,
                       order);
        break;
    case H5T_FLOAT: (void)snprintf(text, size, "float %u%s", bits, order); break;
    case H5T_STRING: (void)snprintf(text, size, "text"); break;
    case H5T_ENUM: (void)snprintf(text, size, "an enumeration"); break;
    case H5T_COMPOUND: (void)snprintf(text, size, "a compound"); break;
    case H5T_REFERENCE: (void)snprintf(text, size, "a reference"); break;
    default: (void)snprintf(text, size, "a type of class %d", (int)H5Tget_class(type)); break;
    }
}

typedef struct shape_text {
    char text[160];
} shape_text;

/* "[2, 3]"; "[]" for a scalar. */
static shape_text say_shape(int rank, const hsize_t *dims)
{
    shape_text s;
    size_t length = 0;
    s.text[length++] = '[';
    for (int i = 0; i < rank && length + 32 < sizeof s.text; i++)
        length += (size_t)snprintf(s.text + length, sizeof s.text - length, i ? ", %llu" : "%llu",
                                   (unsigned long long)dims[i]);
    (void)snprintf(s.text + length, sizeof s.text - length, "]");
    return s;
}

/* ---- attributes and text datasets: both hold values of a type in a space ---- */

typedef struct source {
    const qp_golden *golden;
    hid_t id; /* an attribute or a dataset */
    bool attribute;
    const char *what; /* for sentences */
} source;

static herr_t source_read(const source *from, hid_t type, void *destination)
{
    return from->attribute ? H5Aread(from->id, type, destination)
                           : H5Dread(from->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, destination);
}

static hid_t source_type(const source *from) { return from->attribute ? H5Aget_type(from->id) : H5Dget_type(from->id); }

static hid_t source_space(const source *from)
{
    return from->attribute ? H5Aget_space(from->id) : H5Dget_space(from->id);
}

/* Reads one text of variable or fixed length, UTF-8 or ASCII. *text is the caller's to free. */
static qp_status read_string(const source *from, hid_t type, char **text)
{
    qp_status status = QP_OK;
    hid_t memory = H5I_INVALID_HID;
    char *stored = NULL; /* HDF5 allocates the variable form */
    const htri_t variable = H5Tis_variable_str(type);

    *text = NULL;
    if (variable < 0) return unreadable(from->golden, from->what);
    if (variable > 0) {
        memory = H5Tcopy(H5T_C_S1);
        if (memory < 0 || H5Tset_size(memory, H5T_VARIABLE) < 0 || H5Tset_cset(memory, H5Tget_cset(type)) < 0 ||
            source_read(from, memory, &stored) < 0) {
            status = unreadable(from->golden, from->what);
            goto done;
        }
        *text = strdup(stored ? stored : ""); /* HDF5 stores the empty text as a null pointer */
        if (!*text) status = no_memory(from->golden);
    } else {
        const size_t bytes = H5Tget_size(type);
        if (bytes == 0 || bytes > MAX_TEXT_BYTES) {
            status = qp_fail(QP_FORMAT, "golden '%s': %s is a text of %zu bytes, at most %d are read; " CAPTURE_ANEW,
                             from->golden->path, from->what, bytes, (int)MAX_TEXT_BYTES);
            goto done;
        }
        *text = calloc(bytes + 1, 1);
        if (!*text) {
            status = no_memory(from->golden);
            goto done;
        }
        if (source_read(from, type, *text) < 0) {
            status = unreadable(from->golden, from->what);
            goto done;
        }
        if (H5Tget_strpad(type) == H5T_STR_SPACEPAD) {
            size_t length = strlen(*text);
            while (length > 0 && (*text)[length - 1] == ' ') (*text)[--length] = '\0';
        }
    }
done:
    if (stored) (void)H5free_memory(stored);
    if (memory >= 0) (void)H5Tclose(memory);
    if (status != QP_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

/* Reads a scalar as text: a text itself, a whole number in decimal, a yes or no as "true" or "false", a float
 * with the 17 digits that give it back. With `only_text` anything but a text is refused. */
static qp_status read_scalar(const source *from, bool only_text, char **text)
{
    qp_status status = QP_OK;
    char number[64] = "", found[64];
    hid_t type = source_type(from), space = source_space(from);

    *text = NULL;
    if (type < 0 || space < 0) {
        status = unreadable(from->golden, from->what);
        goto done;
    }
    type_name(type, found, sizeof found);
    if (H5Sget_simple_extent_type(space) != H5S_SCALAR) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s is an array of %s where one %s is wanted; " CAPTURE_ANEW,
                         from->golden->path, from->what, found, only_text ? "text" : "text or number");
        goto done;
    }
    const H5T_class_t class = H5Tget_class(type);
    if (class == H5T_STRING) {
        status = read_string(from, type, text);
        goto done;
    }
    if (!only_text && class == H5T_INTEGER && H5Tget_size(type) <= sizeof(int64_t)) {
        if (H5Tget_sign(type) == H5T_SGN_NONE) {
            uint64_t value = 0;
            if (source_read(from, H5T_NATIVE_UINT64, &value) < 0) status = unreadable(from->golden, from->what);
            (void)snprintf(number, sizeof number, "%" PRIu64, value);
        } else {
            int64_t value = 0;
            if (source_read(from, H5T_NATIVE_INT64, &value) < 0) status = unreadable(from->golden, from->what);
            (void)snprintf(number, sizeof number, "%" PRId64, value);
        }
    } else if (!only_text && class == H5T_ENUM && H5Tget_size(type) == 1) { /* how h5py stores a bool */
        unsigned char value = 0;
        if (source_read(from, type, &value) < 0) status = unreadable(from->golden, from->what);
        (void)snprintf(number, sizeof number, "%s", value ? "true" : "false");
    } else if (!only_text && class == H5T_FLOAT && H5Tget_size(type) <= sizeof(double)) {
        double value = 0.0;
        if (source_read(from, H5T_NATIVE_DOUBLE, &value) < 0) status = unreadable(from->golden, from->what);
        (void)snprintf(number, sizeof number, "%.17g", value);
    } else {
        status = qp_fail(QP_FORMAT, "golden '%s': %s is %s where %s is wanted; " CAPTURE_ANEW, from->golden->path,
                         from->what, found, only_text ? "text" : "text or a number");
    }
    if (status != QP_OK) goto done;
    *text = strdup(number);
    if (!*text) status = no_memory(from->golden);
done:
    if (space >= 0) (void)H5Sclose(space);
    if (type >= 0) (void)H5Tclose(type);
    return status;
}

/* `where` names the object that carries the attribute: "'aistonia/prefill'". */
static qp_status open_attribute(const qp_golden *golden, hid_t object, const char *where, const char *name, hid_t *id,
                                char *what, size_t what_size)
{
    *id = H5I_INVALID_HID;
    (void)snprintf(what, what_size, "attribute '%s' of %s", quote(name).text, where);
    const htri_t exists = H5Aexists(object, name);
    if (exists < 0) return unreadable(golden, what);
    if (exists == 0) return qp_fail(QP_FORMAT, "golden '%s' lacks %s; " CAPTURE_ANEW, golden->path, what);
    *id = H5Aopen(object, name, H5P_DEFAULT);
    return *id < 0 ? unreadable(golden, what) : QP_OK;
}

static qp_status attribute_text(const qp_golden *golden, hid_t object, const char *where, const char *name,
                                bool only_text, char **text)
{
    char what[512];
    hid_t id;
    *text = NULL;
    QP_TRY(open_attribute(golden, object, where, name, &id, what, sizeof what));
    const source from = { golden, id, true, what };
    const qp_status status = read_scalar(&from, only_text, text);
    (void)H5Aclose(id);
    return status;
}

/* Reads whole numbers of 32 or 64 bits: one if `list` is false, otherwise a list of at least one.
 * *values is the caller's to free. */
static qp_status attribute_integers(const qp_golden *golden, hid_t object, const char *where, const char *name,
                                    bool list, int64_t **values, int64_t *count)
{
    char what[512], found[64];
    qp_status status = QP_OK;
    hid_t id, type = H5I_INVALID_HID, space = H5I_INVALID_HID;

    *values = NULL;
    *count = 0;
    QP_TRY(open_attribute(golden, object, where, name, &id, what, sizeof what));
    type = H5Aget_type(id);
    space = H5Aget_space(id);
    const int rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    const hssize_t points = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (type < 0 || rank < 0 || points < 0) {
        status = unreadable(golden, what);
        goto done;
    }
    type_name(type, found, sizeof found);
    const size_t bytes = H5Tget_size(type);
    if (H5Tget_class(type) != H5T_INTEGER || H5Tget_sign(type) != H5T_SGN_2 || (bytes != 4 && bytes != 8)) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s is %s where integer 32 or 64 is wanted; " CAPTURE_ANEW,
                         golden->path, what, found);
        goto done;
    }
    if (rank != (list ? 1 : 0) || points < 1 || points > MAX_TOKENS) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s has rank %d and %lld values where %s is wanted; " CAPTURE_ANEW,
                         golden->path, what, rank, (long long)points, list ? "a list of 1 to 16777216" : "one number");
        goto done;
    }
    *values = malloc((size_t)points * sizeof **values);
    if (!*values) {
        status = no_memory(golden);
        goto done;
    }
    /* The one conversion that is asked for: it widens whole numbers and loses nothing. */
    if (H5Aread(id, H5T_NATIVE_INT64, *values) < 0) {
        status = unreadable(golden, what);
        goto done;
    }
    for (int64_t i = 0; i < points; i++) {
        if ((*values)[i] >= 0) continue;
        status = qp_fail(QP_FORMAT, "golden '%s': %s holds %" PRId64 ", which is below 0; " CAPTURE_ANEW, golden->path,
                         what, (*values)[i]);
        goto done;
    }
    *count = points;
done:
    if (space >= 0) (void)H5Sclose(space);
    if (type >= 0) (void)H5Tclose(type);
    (void)H5Aclose(id);
    if (status != QP_OK) {
        free(*values);
        *values = NULL;
    }
    return status;
}

/* ---- links ---- */

typedef struct link_walk {
    const qp_golden *golden;
    const char *where;
    string_list names;
    qp_status status;
} link_walk;

static herr_t take_link(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
    link_walk *walk = data;
    (void)group;
    if (info->type != H5L_TYPE_HARD) {
        walk->status = qp_fail(QP_FORMAT,
                               "golden '%s': '%s' in %s is a link to elsewhere, and only what lies in the file itself "
                               "is read; " CAPTURE_ANEW,
                               walk->golden->path, quote(name).text, walk->where);
        return -1;
    }
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c >= ' ' && *c != 0x7f) continue;
        walk->status = qp_fail(QP_FORMAT,
                               "golden '%s': the name '%s' in %s holds a control character, and names go to the "
                               "terminal; " CAPTURE_ANEW,
                               walk->golden->path, quote(name).text, walk->where);
        return -1;
    }
    if (!append(&walk->names, name)) {
        walk->status = no_memory(walk->golden);
        return -1;
    }
    return 0;
}

/* Names of all members of a group: in the order of creation if `by_creation` and the group keeps it, otherwise
 * by name. Any link but a hard one is refused, and so is a name with a control character. */
static qp_status list_links(const qp_golden *golden, hid_t group, const char *where, bool by_creation,
                            string_list *names)
{
    link_walk walk = { golden, where, { NULL, 0, 0 }, QP_OK };
    unsigned order = 0;
    const hid_t properties = H5Gget_create_plist(group);
    if (properties >= 0) {
        if (H5Pget_link_creation_order(properties, &order) < 0) order = 0;
        (void)H5Pclose(properties);
    }
    const bool tracked = by_creation && (order & H5P_CRT_ORDER_TRACKED);
    const herr_t walked =
        H5Literate(group, tracked ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME, H5_ITER_INC, NULL, take_link, &walk);
    if (walk.status == QP_OK && walked < 0) {
        char what[512];
        (void)snprintf(what, sizeof what, "the members of %s", where);
        walk.status = unreadable(golden, what);
    }
    if (walk.status != QP_OK) {
        free_list(&walk.names);
        return walk.status;
    }
    /* By bytes, whatever order HDF5 takes names in: lists are searched with strcmp. */
    if (!tracked && walk.names.count > 1)
        qsort(walk.names.items, (size_t)walk.names.count, sizeof *walk.names.items, order_text);
    *names = walk.names;
    return QP_OK;
}

/* Opens a member that list_links named. *kind is H5I_GROUP or H5I_DATASET. */
static qp_status open_member(const qp_golden *golden, hid_t group, const char *name, const char *where, hid_t *id,
                             H5I_type_t *kind)
{
    *id = H5Oopen(group, name, H5P_DEFAULT);
    if (*id < 0) {
        char what[512];
        (void)snprintf(what, sizeof what, "'%s' in %s", quote(name).text, where);
        return unreadable(golden, what);
    }
    *kind = H5Iget_type(*id);
    return QP_OK;
}

/* ---- opening ---- */

typedef struct name_walk {
    string_list *names;
    bool *full;
} name_walk;

static herr_t take_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data)
{
    const name_walk *walk = data;
    (void)object;
    (void)info;
    if (append(walk->names, name)) return 0;
    *walk->full = true;
    return -1;
}

static qp_status read_attributes(qp_golden *golden)
{
    char *text = NULL;
    qp_status status = QP_OK;
    const hid_t root = H5Gopen2(golden->file, "/", H5P_DEFAULT);
    if (root < 0) return unreadable(golden, "its root group");

    bool full = false;
    name_walk walk = { &golden->names, &full };
    if (H5Aiterate2(root, H5_INDEX_NAME, H5_ITER_INC, NULL, take_attribute, &walk) < 0) {
        status = full ? no_memory(golden) : unreadable(golden, "the attributes of the file");
        goto done;
    }
    if (golden->names.count > 1)
        qsort(golden->names.items, (size_t)golden->names.count, sizeof *golden->names.items, order_text);
    for (int i = 0; i < golden->names.count; i++) {
        status = attribute_text(golden, root, "the file", golden->names.items[i], false, &text);
        if (status != QP_OK) goto done;
        if (!append(&golden->values, text)) {
            status = no_memory(golden);
            goto done;
        }
        free(text);
        text = NULL;
    }
done:
    free(text);
    (void)H5Gclose(root);
    return status;
}

static qp_status check_schema(const qp_golden *golden)
{
    const char *found = qp_golden_attribute(golden, "schema");
    if (!found)
        return qp_fail(QP_FORMAT,
                       "'%s' is an HDF5 file without the attribute schema = %s, so no golden of this "
                       "program; give a file that golden/capture.py wrote",
                       golden->path, schema);
    if (strcmp(found, schema) != 0)
        return qp_fail(QP_FORMAT, "golden '%s' has schema '%s' where '%s' is wanted; " CAPTURE_ANEW, golden->path,
                       quote(found).text, schema);
    const char *complete = qp_golden_attribute(golden, "complete");
    if (!complete || (strcmp(complete, "1") != 0 && strcmp(complete, "true") != 0))
        return qp_fail(QP_FORMAT,
                       "golden '%s' is not complete (attribute complete is %s): its capture was "
                       "interrupted, so " CAPTURE_ANEW,
                       golden->path, complete ? quote(complete).text : "missing");
    return QP_OK;
}

/* "prefill" is -1, "decode.003" is 3, anything else -2. */
static int64_t phase_number(const char *name)
{
    static const char decode[] = "decode.";
    char canonical[32];
    if (strcmp(name, "prefill") == 0) return -1;
    if (strncmp(name, decode, sizeof decode - 1) != 0) return -2;
    const char *digits = name + sizeof decode - 1;
    const size_t length = strlen(digits);
    if (length < 3 || length > 9 || strspn(digits, "0123456789") != length) return -2;
    const long number = strtol(digits, NULL, 10);
    (void)snprintf(canonical, sizeof canonical, "%03ld", number); /* one spelling a number: "0003" is none */
    return strcmp(canonical, digits) == 0 ? number : -2;
}

static int order_phase(const void *a, const void *b)
{
    const int64_t x = phase_number(*(const char *const *)a), y = phase_number(*(const char *const *)b);
    return (x > y) - (x < y);
}

static qp_status read_phase(qp_golden *golden, hid_t group, const char *prompt_name, const char *name,
                            int64_t past_wanted)
{
    char where[200];
    qp_status status = QP_OK;
    H5I_type_t kind = H5I_BADID;
    hid_t id = H5I_INVALID_HID;
    int64_t *past = NULL, count = 0;

    if (!grow(&golden->phases, golden->phase_count, &golden->phase_capacity, sizeof *golden->phases))
        return no_memory(golden);
    phase *p = &golden->phases[golden->phase_count++];
    memset(p, 0, sizeof *p);
    (void)snprintf(where, sizeof where, "'%s/%s'", quote(prompt_name).text, name);

    status = open_member(golden, group, name, where, &id, &kind);
    if (status != QP_OK) goto done;
    if (kind != H5I_GROUP) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s is no group; " CAPTURE_ANEW, golden->path, where);
        goto done;
    }
    status = attribute_integers(golden, id, where, "input_ids", true, &p->ids, &p->view.tokens);
    if (status != QP_OK) goto done;
    status = attribute_integers(golden, id, where, "past", false, &past, &count);
    if (status != QP_OK) goto done;
    if (*past != past_wanted) {
        status = qp_fail(QP_FORMAT,
                         "golden '%s': past of %s is %" PRId64 " where the phases before it fed %" PRId64
                         " tokens; " CAPTURE_ANEW,
                         golden->path, where, *past, past_wanted);
        goto done;
    }
    status = list_links(golden, id, where, false, &p->boundaries);
    if (status != QP_OK) goto done;

    const size_t path_bytes = strlen(prompt_name) + 1 + strlen(name) + 1;
    p->name = strdup(name);
    p->path = malloc(path_bytes);
    if (!p->name || !p->path) {
        status = no_memory(golden);
        goto done;
    }
    (void)snprintf(p->path, path_bytes, "%s/%s", prompt_name, name);
    p->view.past = *past;
    p->view.name = p->name;
    p->view.path = p->path;
    p->view.ids = p->ids;
    p->view.boundary_count = p->boundaries.count;
    p->view.boundaries = (const char *const *)p->boundaries.items;
done:
    free(past);
    if (id >= 0) (void)H5Oclose(id);
    return status;
}

static qp_status read_prompt(qp_golden *golden, hid_t group, const char *name)
{
    char where[200];
    string_list names = { NULL, 0, 0 };
    qp_status status = QP_OK;
    int64_t past = 0, *steps = NULL, step_count = 0;

    if (!grow(&golden->prompts, golden->prompt_count, &golden->prompt_capacity, sizeof *golden->prompts))
        return no_memory(golden);
    prompt *p = &golden->prompts[golden->prompt_count++];
    p->text = NULL;
    p->name = strdup(name);
    if (!p->name) return no_memory(golden);
    (void)snprintf(where, sizeof where, "'%s'", quote(name).text);

    QP_TRY(attribute_text(golden, group, where, "prompt", true, &p->text));
    QP_TRY(list_links(golden, group, where, false, &names));
    for (int i = 0; i < names.count; i++) {
        if (phase_number(names.items[i]) >= -1) continue;
        status = qp_fail(QP_FORMAT,
                         "golden '%s': %s holds '%s', and only prefill, decode.000, decode.001, ... belong "
                         "there; " CAPTURE_ANEW,
                         golden->path, where, quote(names.items[i]).text);
        goto done;
    }
    if (names.count > 1) qsort(names.items, (size_t)names.count, sizeof *names.items, order_phase);
    for (int i = 0; i < names.count; i++) {
        if (phase_number(names.items[i]) != i - 1) {
            status = qp_fail(QP_FORMAT, "golden '%s': %s lacks the phase before '%s'; " CAPTURE_ANEW, golden->path,
                             where, names.items[i]);
            goto done;
        }
        status = read_phase(golden, group, name, names.items[i], past);
        if (status != QP_OK) goto done;
        past += golden->phases[golden->phase_count - 1].view.tokens;
    }
    if (names.count == 0) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s holds no phase; " CAPTURE_ANEW, golden->path, where);
        goto done;
    }
    if (H5Aexists(group, "decode_steps") > 0) {
        status = attribute_integers(golden, group, where, "decode_steps", false, &steps, &step_count);
        if (status == QP_OK && *steps != names.count - 1)
            status = qp_fail(QP_FORMAT,
                             "golden '%s': %s has %d decode steps, and its attribute says %" PRId64 "; " CAPTURE_ANEW,
                             golden->path, where, names.count - 1, *steps);
    }
done:
    free(steps);
    free_list(&names);
    return status;
}

static qp_status check_storage(const qp_golden *golden, hid_t dataset, const char *what);

static qp_status read_weights(qp_golden *golden, hid_t dataset)
{
    const char what[] = "dataset 'weights_sha256'";
    const source from = { golden, dataset, false, what };
    QP_TRY(check_storage(golden, dataset, what));
    return read_scalar(&from, true, &golden->weights);
}

static qp_status read_root(qp_golden *golden)
{
    string_list names = { NULL, 0, 0 };
    qp_status status = QP_OK;
    hid_t id = H5I_INVALID_HID;
    const hid_t root = H5Gopen2(golden->file, "/", H5P_DEFAULT);
    if (root < 0) return unreadable(golden, "its root group");

    status = list_links(golden, root, "the file", true, &names);
    for (int i = 0; status == QP_OK && i < names.count; i++) {
        const char *name = names.items[i];
        H5I_type_t kind = H5I_BADID;
        status = open_member(golden, root, name, "the file", &id, &kind);
        if (status != QP_OK) break;
        if (kind == H5I_GROUP)
            status = read_prompt(golden, id, name);
        else if (kind == H5I_DATASET && strcmp(name, weights_dataset) == 0)
            status = read_weights(golden, id);
        else
            status = qp_fail(QP_FORMAT,
                             "golden '%s': the file holds '%s', and only groups, one a prompt, and the "
                             "dataset %s belong there; " CAPTURE_ANEW,
                             golden->path, quote(name).text, weights_dataset);
        (void)H5Oclose(id);
    }
    if (status == QP_OK && !golden->weights)
        status = qp_fail(QP_FORMAT,
                         "golden '%s' lacks the dataset %s, so it cannot be told which weights it belongs "
                         "to; " CAPTURE_ANEW,
                         golden->path, weights_dataset);
    if (status == QP_OK && golden->phase_count == 0)
        status = qp_fail(QP_FORMAT, "golden '%s' holds no prompt; " CAPTURE_ANEW, golden->path);
    free_list(&names);
    (void)H5Gclose(root);
    return status;
}

static qp_status open_file(qp_golden *golden)
{
    struct stat about;
    if (stat(golden->path, &about) != 0)
        return qp_fail(QP_IO, "golden '%s' cannot be opened: %s; check the path given with --golden", golden->path,
                       strerror(errno));
    if (S_ISDIR(about.st_mode))
        return qp_fail(QP_IO, "golden '%s' is a folder; give the .h5 file in it with --golden", golden->path);
    if (!S_ISREG(about.st_mode))
        return qp_fail(QP_IO, "golden '%s' is no regular file; give an .h5 file with --golden", golden->path);
    /* HDF5 does not tell a file that may not be read from one of another form. */
    FILE *stream = fopen(golden->path, "rb");
    if (!stream)
        return qp_fail(QP_IO, "golden '%s' cannot be read: %s; check its permissions", golden->path, strerror(errno));
    (void)fclose(stream);
    if (H5Fis_hdf5(golden->path) <= 0)
        return qp_fail(QP_FORMAT, "'%s' is no HDF5 file; give a golden that golden/capture.py wrote", golden->path);

    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
    /* A file system without locks is no obstacle to reading. */
    if (access >= 0) (void)H5Pset_file_locking(access, 1, 1);
#endif
    golden->file = H5Fopen(golden->path, H5F_ACC_RDONLY, access >= 0 ? access : H5P_DEFAULT);
    if (access >= 0) (void)H5Pclose(access);
    if (golden->file < 0)
        return qp_fail(QP_FORMAT,
                       "golden '%s' cannot be opened as HDF5 (%s); it is damaged or cut short, so " CAPTURE_ANEW,
                       golden->path, hdf5_error().text);
    return QP_OK;
}

qp_status qp_golden_open(const char *path, qp_golden **golden)
{
    *golden = NULL;
    /* HDF5 prints its errors by itself unless told otherwise. */
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    qp_golden *opened = calloc(1, sizeof *opened);
    if (!opened) return qp_fail(QP_NO_MEMORY, "not enough memory to open golden '%s'", path);
    opened->file = H5I_INVALID_HID;
    opened->path = strdup(path);
    qp_status status = opened->path ? QP_OK : qp_fail(QP_NO_MEMORY, "not enough memory to open golden '%s'", path);
    if (status == QP_OK) status = open_file(opened);
    if (status == QP_OK) status = read_attributes(opened);
    if (status == QP_OK) status = check_schema(opened);
    if (status == QP_OK) status = read_root(opened);
    if (status != QP_OK) {
        qp_golden_close(opened);
        return status;
    }
    /* Only now, when the arrays of phases and prompts no longer move and the prompts' texts stand. */
    int at = -1;
    for (int i = 0; i < opened->phase_count; i++) {
        qp_golden_phase *view = &opened->phases[i].view;
        at += strcmp(view->name, "prefill") == 0; /* every prompt has one, and it comes first */
        view->prompt = opened->prompts[at].name;
        view->text = opened->prompts[at].text;
    }
    *golden = opened;
    return QP_OK;
}

void qp_golden_close(qp_golden *golden)
{
    if (!golden) return;
    for (int i = 0; i < golden->phase_count; i++) {
        free(golden->phases[i].name);
        free(golden->phases[i].path);
        free(golden->phases[i].ids);
        free_list(&golden->phases[i].boundaries);
    }
    for (int i = 0; i < golden->prompt_count; i++) {
        free(golden->prompts[i].name);
        free(golden->prompts[i].text);
    }
    free(golden->phases);
    free(golden->prompts);
    free_list(&golden->names);
    free_list(&golden->values);
    if (golden->file >= 0) (void)H5Fclose(golden->file);
    free(golden->weights);
    free(golden->path);
    free(golden);
}

/* ---- looking up ---- */

static int find_text(const char *const *items, int count, const char *text)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const int order = strcmp(items[middle], text);
        if (order == 0) return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *qp_golden_attribute(const qp_golden *golden, const char *name)
{
    const int index = find_text((const char *const *)golden->names.items, golden->names.count, name);
    return index < 0 ? NULL : golden->values.items[index];
}

int qp_golden_attribute_count(const qp_golden *golden) { return golden->names.count; }

qp_status qp_golden_describe(const qp_golden *golden, const char *path, qp_golden_facts *facts)
{
    *facts = (qp_golden_facts){ .path = golden ? path : NULL };
    const int count = golden ? qp_golden_attribute_count(golden) : 0;
    if (count == 0) return QP_OK;
    facts->attributes = calloc((size_t)count, sizeof *facts->attributes);
    if (!facts->attributes) return qp_fail(QP_NO_MEMORY, "no memory for the attributes of %s", path);
    for (; facts->attribute_count < count; facts->attribute_count++) {
        struct qp_golden_attribute *attribute = &facts->attributes[facts->attribute_count];
        attribute->name = qp_golden_attribute_name(golden, facts->attribute_count);
        attribute->value = qp_golden_attribute(golden, attribute->name);
    }
    return QP_OK;
}

const char *qp_golden_fact(const qp_golden_facts *facts, const char *name)
{
    for (int i = 0; i < facts->attribute_count; i++)
        if (!strcmp(facts->attributes[i].name, name)) return facts->attributes[i].value;
    return NULL;
}

const char *qp_golden_attribute_name(const qp_golden *golden, int index)
{
    return index < 0 || index >= golden->names.count ? NULL : golden->names.items[index];
}

const char *qp_golden_weights_sha256(const qp_golden *golden) { return golden->weights; }

int qp_golden_phase_count(const qp_golden *golden) { return golden->phase_count; }

const qp_golden_phase *qp_golden_phase_at(const qp_golden *golden, int index)
{
    return index < 0 || index >= golden->phase_count ? NULL : &golden->phases[index].view;
}

bool qp_golden_has(const qp_golden_phase *view, const char *boundary)
{
    return find_text(view->boundaries, view->boundary_count, boundary) >= 0;
}

/* ---- reading ---- */

/* Refuses a dataset whose elements lie in other files, or behind a filter beyond those that the capture uses: HDF5
 * would load a plugin for it. */
static qp_status check_storage(const qp_golden *golden, hid_t dataset, const char *what)
{
    qp_status status = QP_OK;
    const hid_t type = H5Dget_type(dataset);
    const hid_t properties = H5Dget_create_plist(dataset);
    if (properties < 0 || type < 0) {
        status = unreadable(golden, what);
        goto done;
    }
    const H5D_layout_t layout = H5Pget_layout(properties);
    if (layout == H5D_VIRTUAL || (layout == H5D_CONTIGUOUS && H5Pget_external_count(properties) != 0)) {
        status =
            qp_fail(QP_FORMAT, "golden '%s': %s keeps its elements in another file; " CAPTURE_ANEW, golden->path, what);
        goto done;
    }
    if (layout == H5D_CHUNKED) {
        hsize_t chunk[H5S_MAX_RANK];
        uint64_t bytes = H5Tget_size(type);
        const int rank = H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
        for (int i = 0; i < rank; i++) /* once at the limit it stays there */
            bytes = chunk[i] > MAX_CHUNK_BYTES / (bytes + 1) ? MAX_CHUNK_BYTES : bytes * chunk[i];
        if (rank < 0 || bytes >= MAX_CHUNK_BYTES) {
            status = qp_fail(QP_FORMAT, "golden '%s': %s is cut into chunks of 1 GiB or more; " CAPTURE_ANEW,
                             golden->path, what);
            goto done;
        }
    }
    const int filters = H5Pget_nfilters(properties);
    for (int i = 0; i < filters; i++) {
        unsigned flags = 0, config = 0;
        size_t values = 0;
        char name[64] = "";
        const H5Z_filter_t filter =
            H5Pget_filter2(properties, (unsigned)i, &flags, &values, NULL, sizeof name, name, &config);
        if (filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_FLETCHER32) continue;
        status = qp_fail(QP_FORMAT,
                         "golden '%s': %s is stored through the filter %d (%s), and only shuffle, gzip and "
                         "fletcher32 are read; " CAPTURE_ANEW,
                         golden->path, what, (int)filter, quote(name).text);
        goto done;
    }
done:
    if (properties >= 0) (void)H5Pclose(properties);
    if (type >= 0) (void)H5Tclose(type);
    return status;
}

static qp_status check_type(const qp_golden *golden, hid_t dataset, const char *what, qp_dtype dtype, hid_t wanted)
{
    char found[64], *named = NULL;
    qp_status status = QP_OK;
    const hid_t type = H5Dget_type(dataset);
    if (type < 0) return unreadable(golden, what);
    type_name(type, found, sizeof found);
    const htri_t equal = H5Tequal(type, wanted);
    (void)H5Tclose(type);
    const char *stored = dtype == QP_BF16 ? "unsigned integer 16" : dtype == QP_F32 ? "float 32" : "integer 64";
    if (equal <= 0)
        return qp_fail(QP_FORMAT,
                       "golden '%s': %s is stored as %s where %s for %s is wanted, little-endian; " CAPTURE_ANEW,
                       golden->path, what, found, stored, qp_dtype_name(dtype));
    QP_TRY(attribute_text(golden, dataset, what, "dtype", true, &named));
    if (strcmp(named, qp_dtype_name(dtype)) != 0)
        status = qp_fail(QP_FORMAT, "golden '%s': %s has dtype '%s' where '%s' is wanted; " CAPTURE_ANEW, golden->path,
                         what, quote(named).text, qp_dtype_name(dtype));
    free(named);
    return status;
}

static qp_status check_shape(const qp_golden *golden, hid_t dataset, const char *what, int rank, const hsize_t *wanted)
{
    hsize_t dims[H5S_MAX_RANK] = { 0 };
    const hid_t space = H5Dget_space(dataset);
    if (space < 0) return unreadable(golden, what);
    const H5S_class_t class = H5Sget_simple_extent_type(space);
    const int found = H5Sget_simple_extent_dims(space, dims, NULL);
    (void)H5Sclose(space);
    if (found < 0 || class < 0) return unreadable(golden, what);
    if (class == H5S_NULL)
        return qp_fail(QP_FORMAT, "golden '%s': %s is empty where shape %s is wanted; " CAPTURE_ANEW, golden->path,
                       what, say_shape(rank, wanted).text);
    bool same = found == rank;
    for (int i = 0; same && i < rank; i++) same = dims[i] == wanted[i];
    if (same) return QP_OK;
    return qp_fail(QP_FORMAT,
                   "golden '%s': %s has shape %s where %s is wanted; check that the golden belongs to this "
                   "model",
                   golden->path, what, say_shape(found, dims).text, say_shape(rank, wanted).text);
}

qp_status qp_golden_read(const qp_golden *golden, const qp_golden_phase *view, const char *boundary, qp_dtype dtype,
                         int rank, const int64_t *dims, void *destination)
{
    char what[200], where[200];
    hsize_t wanted[QP_MAX_RANK];
    qp_status status = QP_OK;
    hid_t group = H5I_INVALID_HID, dataset = H5I_INVALID_HID, type;
    H5I_type_t kind = H5I_BADID;

    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* per thread in a thread-safe build of HDF5 */
    (void)snprintf(where, sizeof where, "'%s'", quote(view->path).text);
    (void)snprintf(what, sizeof what, "'%s/%s'", quote(view->path).text, quote(boundary).text);
    switch (dtype) {
    case QP_BF16: type = H5T_STD_U16LE; break;
    case QP_F32: type = H5T_IEEE_F32LE; break;
    case QP_I64: type = H5T_STD_I64LE; break;
    default:
        return qp_fail(QP_INVALID, "%s was asked for as %s, and a golden holds bf16, f32 and i64", what,
                       qp_dtype_name(dtype));
    }
    if (rank < 0 || rank > QP_MAX_RANK)
        return qp_fail(QP_INVALID, "%s was asked for with rank %d, and ranks go to %d", what, rank, (int)QP_MAX_RANK);
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1) return qp_fail(QP_INVALID, "%s was asked for with an extent of %" PRId64, what, dims[i]);
        wanted[i] = (hsize_t)dims[i];
    }
    if (!qp_golden_has(view, boundary))
        return qp_fail(QP_FORMAT, "golden '%s' holds no %s; capture it with --boundaries all", golden->path, what);

    group = H5Gopen2(golden->file, view->path, H5P_DEFAULT);
    if (group < 0) return unreadable(golden, where);
    status = open_member(golden, group, boundary, where, &dataset, &kind);
    if (status != QP_OK) goto done;
    if (kind != H5I_DATASET) {
        status = qp_fail(QP_FORMAT, "golden '%s': %s is no dataset; " CAPTURE_ANEW, golden->path, what);
        goto done;
    }
    status = check_type(golden, dataset, what, dtype, type);
    if (status == QP_OK) status = check_shape(golden, dataset, what, rank, wanted);
    if (status == QP_OK) status = check_storage(golden, dataset, what);
    /* The stored type is the type in memory, so HDF5 copies and has nothing to convert. */
    if (status == QP_OK && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, destination) < 0)
        status = unreadable(golden, what);
done:
    if (dataset >= 0) (void)H5Oclose(dataset);
    (void)H5Gclose(group);
    return status;
}
