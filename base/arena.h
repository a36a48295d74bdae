/*
 * arena: memory of one transaction, given back all at once. Grows in chunks up to a ceiling
 * fixed at init; at the ceiling arena_take() answers NULL and the caller sheds load.
 * Threads: one owner at a time.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used, ceiling;       /* bytes */
};

void arena_init(struct arena *a, size_t ceiling_bytes);
void arena_reset(struct arena *a); /* frees all; the arena can be used again */

/* 16-byte aligned, zeroed. NULL at the ceiling or out of memory. Lives until reset. */
void *arena_take(struct arena *a, size_t bytes);

/* A copy of s in the arena. .p is NULL when s was not empty and there was no room. */
struct str arena_str(struct arena *a, struct str s);
