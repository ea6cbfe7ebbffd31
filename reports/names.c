#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "../model/text_hash.h"

static qp_status no_memory(void) { return qp_fail(QP_NO_MEMORY, "no memory for the names in a report"); }

/* The slot that holds the text, or the empty one where it belongs. */
static int *slot_of(const qp_names *names, const char *text)
{
    const size_t slots = 2 * (size_t)names->room;
    size_t at = (size_t)qp_text_hash(text) % slots;
    while (names->slot[at] >= 0 && strcmp(names->text[names->slot[at]], text) != 0) at = (at + 1) % slots;
    return &names->slot[at];
}

static qp_status make_room(qp_names *names)
{
    const int room = names->room ? 2 * names->room : 64;
    char **text = realloc(names->text, (size_t)room * sizeof *text);
    if (!text) return no_memory();
    names->text = text;
    int *slot = realloc(names->slot, 2 * (size_t)room * sizeof *slot);
    if (!slot) return no_memory();
    names->slot = slot;
    names->room = room;
    for (int i = 0; i < 2 * room; i++) slot[i] = -1;
    for (int i = 0; i < names->count; i++) *slot_of(names, names->text[i]) = i;
    return QP_OK;
}

qp_status qp_names_add(qp_names *names, const char *text, int *number)
{
    if (names->count == names->room) QP_TRY(make_room(names));
    int *slot = slot_of(names, text);
    if (*slot < 0) {
        const size_t bytes = strlen(text) + 1;
        char *copy = malloc(bytes);
        if (!copy) return no_memory();
        memcpy(copy, text, bytes);
        names->text[names->count] = copy;
        *slot = names->count++;
    }
    *number = *slot;
    return QP_OK;
}

void qp_names_close(qp_names *names)
{
    for (int i = 0; i < names->count; i++) free(names->text[i]);
    free(names->text);
    free(names->slot);
    memset(names, 0, sizeof *names);
}
