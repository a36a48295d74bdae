/* Between rcptset.c (what is known and how it is merged) and rcptset_order.c (in which orders
 * the entries stand, and their bytes) only. */
#pragma once

#include "node/policy/rcptset.h"

struct rcptset_item {
    struct change_link link; /* first */
    struct rcptset_entry e;
    uint32_t domain;              /* handle */
    uint32_t child, next, before; /* in the heap of its class; before: parent, or the one
                                     whose next this is */
};

/* A domain has one heap for each class, the least rank on top. */
struct rcptset_domain {
    uint64_t generation;
    uint32_t top[RCPTSET_STATUSES], count[RCPTSET_STATUSES];
};

static inline struct rcptset_item *rcptset_at(const struct rcptset *s, uint32_t handle)
{
    return pool_at(&s->pool, handle);
}

static inline struct rcptset_domain *rcptset_domain_at(const struct rcptset *s, uint32_t handle)
{
    return pool_at(&s->domain_pool, handle);
}

/* Which heap of its domain an entry is in. UNKNOWN: a wish that nobody answered. VALID: taken,
 * and not refused since. INVALID: all others. Whether that is over is another matter. */
enum rcptset_status rcptset_class(const struct rcptset_entry *e);

/* When it is to be asked for; of INVALID ones, how old they are. */
uint64_t rcptset_rank(const struct rcptset_entry *e);

uint32_t rcptset_domain_find(const struct rcptset *s, uint64_t generation); /* 0: none */

/* Into its domain, which is made when it is the first, and out of it, which goes with its last.
 * False: no room for a domain. */
MUST_CHECK bool rcptset_join(struct rcptset *s, uint32_t handle);
void rcptset_leave(struct rcptset *s, uint32_t handle);
/* The same within the domain, which stays. */
void rcptset_join_class(struct rcptset *s, uint32_t handle);
void rcptset_leave_class(struct rcptset *s, uint32_t handle);
