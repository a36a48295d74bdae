#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES ((size_t)65536)

struct pool_slab {
    uint64_t *taken; /* bit set: which items are out */
    char *items;
};

void pool_init(struct pool *p, size_t item_bytes, uint32_t ceiling)
{
    *p = (struct pool){.item_bytes = (item_bytes + 7) & ~(size_t)7, .ceiling = ceiling};
    ASSERT(item_bytes > 0 && ceiling < UINT32_MAX);
    p->slab_shift = 6; /* whole words of the bit set */
    while (p->item_bytes << (p->slab_shift + 1) <= SLAB_BYTES)
        p->slab_shift++;
}

void pool_fini(struct pool *p)
{
    for (uint32_t i = 0; i < p->slab_count; i++) {
        free(p->slabs[i]->items);
        free(p->slabs[i]->taken);
        free(p->slabs[i]);
    }
    free(p->slabs);
    *p = (struct pool){0};
}

static struct pool_slab *slab_new(const struct pool *p)
{
    struct pool_slab *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->items = malloc(p->item_bytes << p->slab_shift);
    s->taken = calloc((size_t)1 << (p->slab_shift - 6), sizeof *s->taken);
    if (s->items == NULL || s->taken == NULL) {
        free(s->items);
        free(s->taken);
        free(s);
        return NULL;
    }
    return s;
}

static bool grow(struct pool *p)
{
    if (p->slab_count == p->slab_room) {
        uint32_t room = p->slab_room > 0 ? p->slab_room * 2 : 8;
        struct pool_slab **more = realloc(p->slabs, room * sizeof *more);

        if (more == NULL)
            return false;
        p->slabs = more;
        p->slab_room = room;
    }
    p->slabs[p->slab_count] = slab_new(p);
    if (p->slabs[p->slab_count] == NULL)
        return false;
    p->slab_count++;
    return true;
}

static uint64_t *taken_word(const struct pool *p, uint32_t item, uint64_t *bit)
{
    uint32_t i = (item - 1) & ((UINT32_C(1) << p->slab_shift) - 1);

    *bit = UINT64_C(1) << (i & 63);
    return &p->slabs[(item - 1) >> p->slab_shift]->taken[i >> 6];
}

uint32_t pool_take(struct pool *p)
{
    uint32_t item = p->free_first;
    uint64_t bit, *word;

    if (p->count >= p->ceiling)
        return 0;
    if (item != 0) {
        memcpy(&p->free_first, pool_at(p, item), sizeof item);
    } else {
        if (p->made >> p->slab_shift >= p->slab_count && !grow(p))
            return 0;
        item = ++p->made;
    }
    word = taken_word(p, item, &bit);
    ASSERT((*word & bit) == 0);
    *word |= bit;
    p->count++;
    memset(pool_at(p, item), 0, p->item_bytes);
    return item;
}

void pool_give(struct pool *p, uint32_t item)
{
    uint64_t bit, *word;

    ASSERT(item > 0 && item <= p->made);
    word = taken_word(p, item, &bit);
    ASSERT((*word & bit) != 0);
    *word &= ~bit;
    memcpy(pool_at(p, item), &p->free_first, sizeof item);
    p->free_first = item;
    p->count--;
}

void *pool_at(const struct pool *p, uint32_t item)
{
    uint32_t i = item - 1;

    ASSERT(i < p->made);
    return p->slabs[i >> p->slab_shift]->items +
           (i & ((UINT32_C(1) << p->slab_shift) - 1)) * p->item_bytes;
}

bool pool_is_taken(const struct pool *p, uint32_t item)
{
    uint64_t bit;

    return item > 0 && item <= p->made && (*taken_word(p, item, &bit) & bit) != 0;
}
