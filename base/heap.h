/*
 * heap: a binary heap whose links lie in the items themselves, items known by pool handles, for
 * pure code. Nothing is allocated and nothing grows; every operation is O(log n), removal from
 * the middle included.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct heap_node {
    uint32_t left, right, parent; /* 0: none */
};

struct heap_ops {
    struct heap_node *(*node)(const void *ctx, uint32_t item);
    bool (*is_before)(const void *ctx, uint32_t a, uint32_t b); /* a strict order */
};

struct heap {
    const struct heap_ops *ops;
    const void *ctx; /* borrowed for the life of the heap */
    uint32_t root, count;
};

void heap_init(struct heap *h, const struct heap_ops *ops, const void *ctx);

/* The first item, or 0. */
static inline uint32_t heap_first(const struct heap *h)
{
    return h->root;
}

void heap_push(struct heap *h, uint32_t item);   /* not in a heap by this node */
void heap_remove(struct heap *h, uint32_t item); /* in this heap */

/* ASSERTs shape and order; visits every item: for tests. */
void heap_check(const struct heap *h);
