#include "cluster-tools/common/idtable.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "cluster-tools/common/checksum.h"

#define FIRST_SLOTS 1024 /* a power of two */

struct idtable {
    struct idtable_entry *slots; /* open addressing; id.p == NULL: free */
    size_t slot_count;           /* a power of two */
    size_t used;
};

struct idtable *idtable_new(void)
{
    struct idtable *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->slot_count = FIRST_SLOTS;
    t->slots = calloc(FIRST_SLOTS, sizeof *t->slots);
    if (t->slots == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

void idtable_free(struct idtable **t)
{
    if (*t == NULL)
        return;
    for (size_t i = 0; i < (*t)->slot_count; i++)
        free((void *)(uintptr_t)(*t)->slots[i].id.p);
    free((*t)->slots);
    free(*t);
    *t = NULL;
}

/* The slot that holds `id`, or the free one where it belongs. */
static size_t slot_of(const struct idtable_entry *slots, size_t slot_count, struct str id)
{
    uint64_t sum = checksum_add(CHECKSUM_INIT, id);
    size_t i = (size_t)(sum ^ sum >> 29) & (slot_count - 1);

    while (slots[i].id.p != NULL && !str_eq(slots[i].id, id))
        i = (i + 1) & (slot_count - 1);
    return i;
}

static enum err grow(struct idtable *t)
{
    size_t slot_count = t->slot_count * 2;
    struct idtable_entry *slots = calloc(slot_count, sizeof *slots);

    if (slots == NULL)
        return E_FULL;
    for (size_t i = 0; i < t->slot_count; i++)
        if (t->slots[i].id.p != NULL)
            slots[slot_of(slots, slot_count, t->slots[i].id)] = t->slots[i];
    free(t->slots);
    t->slots = slots;
    t->slot_count = slot_count;
    return OK;
}

enum err idtable_get(struct idtable *t, struct str id, struct idtable_entry **out)
{
    size_t i = slot_of(t->slots, t->slot_count, id);
    char *copy;

    if (t->slots[i].id.p != NULL) {
        *out = &t->slots[i];
        return OK;
    }
    if (id.n > LIMIT_TOOL_ID_BYTES || t->used >= LIMIT_TOOL_IDS)
        return E_FULL;
    if ((t->used + 1) * 2 > t->slot_count) {
        if (grow(t) != OK)
            return E_FULL;
        i = slot_of(t->slots, t->slot_count, id);
    }
    copy = malloc(id.n + 1);
    if (copy == NULL)
        return E_FULL;
    if (id.n > 0)
        memcpy(copy, id.p, id.n);
    t->slots[i] = (struct idtable_entry){.id = {copy, id.n}};
    t->used++;
    *out = &t->slots[i];
    return OK;
}

size_t idtable_count(const struct idtable *t)
{
    return t->used;
}

const struct idtable_entry *idtable_next(const struct idtable *t, size_t *at)
{
    while (*at < t->slot_count) {
        const struct idtable_entry *e = &t->slots[(*at)++];

        if (e->id.p != NULL)
            return e;
    }
    return NULL;
}
