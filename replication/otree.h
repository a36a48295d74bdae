/*
 * otree: items of one size in the order of message ids, for pure code: a treap whose links lie
 * in the items, items known by pool handles. Finds an id, the next one above, the next one
 * below, each in O(log n); a cursor is simply an id, and stays good while items come and go.
 * Threads: one owner. Memory: a counted pool; nothing else grows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mid.h"
#include "base/pool.h"

/* The first member of an item. */
struct otree_node {
    struct mid key;
    uint32_t left, right; /* 0: none */
};

struct otree {
    struct pool pool;
    uint32_t root;
};

/* ceiling in items. */
void otree_init(struct otree *t, size_t item_bytes, uint32_t ceiling);
void otree_fini(struct otree *t);

static inline void *otree_at(const struct otree *t, uint32_t item)
{
    return pool_at(&t->pool, item);
}

static inline uint32_t otree_count(const struct otree *t)
{
    return t->pool.count;
}

/* A zeroed item under a key that is not there yet. 0: at the ceiling, or out of memory. */
uint32_t otree_add(struct otree *t, struct mid key);
void otree_remove(struct otree *t, uint32_t item);
uint32_t otree_find(const struct otree *t, struct mid key);  /* 0: not there */
uint32_t otree_ceil(const struct otree *t, struct mid key);  /* first at or above; 0: none */
uint32_t otree_floor(const struct otree *t, struct mid key); /* last at or below; 0: none */
/* The one after an item that is there; 0: none. */
uint32_t otree_after(const struct otree *t, uint32_t item);

/* ASSERTs order and heap shape; visits every item: for tests. */
void otree_check(const struct otree *t);
