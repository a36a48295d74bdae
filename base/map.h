/*
 * map: an index from keys to pool handles for pure code: open addressing, 8 bytes a slot, at
 * most three quarters full. It keeps hashes and handles only; the keys stay with the items, and
 * the caller says whether an item has a key. Hashes are keyed (SipHash-2-4), because outsiders
 * choose many of the keys.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    uint32_t room; /* slots: a power of two, or 0 */
    uint32_t count, ceiling;
    uint64_t key[2];
};

/* ceiling in entries; seed: any value, best one nobody can guess. */
void map_init(struct map *m, uint32_t ceiling, uint64_t seed);
void map_fini(struct map *m);

uint64_t map_hash(const struct map *m, const void *bytes, size_t count);

/* Whether `value` is the one looked for; ctx and key as passed to map_find(). */
typedef bool map_eq_fn(const void *ctx, uint32_t value, const void *key);

/* The value (above 0) that is_equal accepts, or 0. */
uint32_t map_find(const struct map *m, uint64_t hash, map_eq_fn *is_equal, const void *ctx,
                  const void *key);

/* Adds a value (above 0) that is not there yet. E_FULL: at the ceiling or out of memory;
 * nothing was added. */
MUST_CHECK enum err map_put(struct map *m, uint64_t hash, uint32_t value);

/* Removes exactly this value, which is there under this hash. */
void map_remove(struct map *m, uint64_t hash, uint32_t value);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of the bytes under a 128-bit key. */
uint64_t siphash(const uint64_t key[2], const void *bytes, size_t count);
