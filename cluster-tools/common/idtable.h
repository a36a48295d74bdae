/*
 * idtable: counters by message id.
 *
 * The ids are those of the ledgers: any bytes, up to LIMIT_TOOL_ID_BYTES. What the counters
 * mean is the caller's business.
 *
 * Threads: one owner. Limits: LIMIT_TOOL_IDS ids, then E_FULL. Memory: about 80 bytes an id.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define IDTABLE_COUNTERS 8

struct idtable_entry {
    struct str id; /* owned by the table; lives as long as the table */
    uint32_t count[IDTABLE_COUNTERS];
};

struct idtable;

/* gives; NULL when there is no memory. */
struct idtable *idtable_new(void);
void idtable_free(struct idtable **t);

/* Finds the entry of `id`, or makes one with all counters 0. *out stays valid only until the
 * next idtable_get(), which may move the entries.
 * Errors: E_FULL (limit, no memory, or an id that is too long): leave the id out, and say so.
 */
MUST_CHECK enum err idtable_get(struct idtable *t, struct str id, struct idtable_entry **out);

size_t idtable_count(const struct idtable *t);

/* Walks over all entries, in no order: start with *at = 0; NULL at the end. */
const struct idtable_entry *idtable_next(const struct idtable *t, size_t *at);
