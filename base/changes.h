/*
 * changes: the items of a pool in the order of their last change, for a set that tells others,
 * or the disk, what is new in it. Each change gets the next serial number. Who reads on from a
 * cursor finds every item that has changed since, once, as it is now; what changes meanwhile
 * comes again at the end. What was removed is told to nobody.
 *
 * A struct change_link is the first member of each item of the pool.
 * Threads: one owner. No heap, no errors. Time: constant, but for a cursor whose item has
 * changed or is gone: its place is looked for from the newest end.
 */
#pragma once

#include <stdint.h>

#include "base/pool.h"

struct change_link {
    uint64_t serial;       /* of its last change */
    uint32_t older, newer; /* handles; 0: none */
};

/* All 0: empty. */
struct changes {
    uint64_t serial; /* of the newest change; never goes back */
    uint32_t oldest, newest;
};

/* A place in the order; all 0 at its beginning. The serial alone is enough. */
struct change_cursor {
    uint64_t serial;
    uint32_t hint; /* the item it was of: a wrong one costs time only */
};

void changes_add(struct changes *c, const struct pool *p, uint32_t item); /* a new item */
void changes_touch(struct changes *c, const struct pool *p, uint32_t item);
void changes_remove(struct changes *c, const struct pool *p, uint32_t item);

/* The next item behind the cursor, which moves there. 0: there is none. */
uint32_t changes_next(const struct changes *c, const struct pool *p, struct change_cursor *at);
