/*
 * block: bodies on their way between socket and spool, in chained blocks from a counted pool.
 * A body is a block_list; it has one owner and moves between threads with it.
 * Limits: one pool per node, ceiling at init; at the ceiling the shell stops reading sockets.
 * Threads: the pool's count is atomic; a list belongs to one thread at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define BLOCK_DATA_BYTES 16368

struct block {
    struct block *next;
    uint32_t used;
    char data[BLOCK_DATA_BYTES];
};

struct block_pool {
    atomic_size_t held; /* bytes in all blocks given out */
    size_t ceiling;
};

struct block_list {
    struct block *first, *last;
    uint64_t bytes;
};

void block_pool_init(struct block_pool *p, size_t ceiling_bytes);

/* Copies s to the end of the list. False: the pool is at its ceiling; nothing was added. */
bool block_append(struct block_pool *p, struct block_list *l, struct str s);

/* Frees all blocks; the list is empty afterwards. */
void block_list_free(struct block_pool *p, struct block_list *l);
