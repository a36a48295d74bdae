/*
 * rset: a set of message ids as intervals of counters per (site, session), for pure code. What
 * is settled forever grows only by its gaps: neighbours merge.
 * Threads: one owner. Memory: 32 bytes an interval, up to a ceiling.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replication/otree.h"

struct rset {
    struct otree spans;
    uint64_t ids;
};

/* The counters from..to, both included, of one session. */
struct rset_span {
    uint16_t site;
    uint64_t epoch;
    uint64_t from, to;
};

void rset_init(struct rset *s, uint32_t ceiling); /* in intervals */
void rset_fini(struct rset *s);
void rset_clear(struct rset *s);

/* False: at the ceiling or out of memory; a part may have been added or removed. */
bool rset_add(struct rset *s, struct rset_span span);
bool rset_remove(struct rset *s, struct rset_span span);
bool rset_add_id(struct rset *s, struct mid id);
bool rset_remove_id(struct rset *s, struct mid id);

bool rset_has(const struct rset *s, struct mid id);
bool rset_covers(const struct rset *s, struct rset_span span);
/* The first ids at or above `from`: *out begins there, or later. False: none. */
bool rset_next(const struct rset *s, struct mid from, struct rset_span *out);
/* The same within `within`: what of it is in the set, first piece. */
bool rset_cut(const struct rset *s, struct rset_span within, struct rset_span *out);
/* Removes all of that site below that session. */
void rset_drop_below(struct rset *s, uint16_t site, uint64_t epoch);

static inline bool rset_is_empty(const struct rset *s)
{
    return otree_count(&s->spans) == 0;
}

/* The id that follows in order: the next counter, or the next session's first. */
struct mid rset_after(struct rset_span span);

void rset_check(const struct rset *s); /* ASSERTs its invariants: for tests */
