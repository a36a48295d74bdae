/*
 * pool: counted items of one size for pure code: no item before the ceiling is checked, no item
 * moved once given out. An item is known by a handle (32 bits, above 0), so that structures
 * full of links stay half the size. Memory comes in slabs and stays with the pool until fini.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

struct pool_slab;

struct pool {
    struct pool_slab **slabs;
    size_t item_bytes;
    uint32_t slab_shift; /* items in a slab, as a power of two */
    uint32_t slab_count, slab_room;
    uint32_t made;       /* highest handle ever given out */
    uint32_t free_first; /* 0: none */
    uint32_t count, ceiling;
};

/* Items are aligned to 8 bytes; ceiling in items. */
void pool_init(struct pool *p, size_t item_bytes, uint32_t ceiling);
void pool_fini(struct pool *p); /* items still out are gone */

/* A zeroed item. 0: at the ceiling, or out of memory. */
uint32_t pool_take(struct pool *p);
void pool_give(struct pool *p, uint32_t item); /* taken before, not yet given back */

/* The item's memory, for as long as it is out. */
void *pool_at(const struct pool *p, uint32_t item);

/* For walking over all items: handles 1 .. p->made. */
bool pool_is_taken(const struct pool *p, uint32_t item);
