/*
 * blob: immutable bytes with a count of owners: what is queued for two peers and a store at the
 * same time is copied once. Made filled by one thread, then shared.
 * Threads: hold and release from any.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "base/str.h"

struct blob {
    atomic_uint owners;
    size_t n;
    char b[];
};

struct blob *blob_new(size_t n); /* one owner; NULL: out of memory */
struct blob *blob_hold(struct blob *b);
void blob_release(struct blob **b); /* *b is NULL afterwards; NULL is fine */

static inline struct str blob_str(const struct blob *b)
{
    return b == NULL ? STR_NONE : (struct str){b->b, b->n};
}
