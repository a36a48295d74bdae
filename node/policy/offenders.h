/*
 * offenders: whom harvest.h calls offenders, as every thread may look it up before a banner:
 * a table of a fixed size that one thread fills and all read, without a lock.
 *
 *   the owner: offenders_note() whenever a count has risen, offenders_sweep() once a second
 *   any:       offenders_has()
 *
 * It is a hint, not the truth: when the table is full, somebody falls out of it, and is found
 * at the next recipient that is not there. Who stands in it is one. Keys as in harvest.h, under
 * the secret of the cluster: nobody can aim at a place.
 *
 * Pure. Threads: one owner, any readers. Memory: 64 KiB, fixed; zeroed, it is empty.
 */
#pragma once

#include <stdatomic.h>

#include "node/policy/harvest.h"

struct offenders {
    atomic_uint_fast64_t secret[2];
    atomic_uint_fast64_t shown[LIMIT_OFFENDERS]; /* key, its last bit: a whole network's; 0 */
    uint64_t keys[LIMIT_OFFENDERS];              /* the owner's: of `shown`, whole */
};

/* Keys are of this secret from now on; the table is empty. */
void offenders_secret(struct offenders *o, const uint64_t secret[2]);
/* The count of this key has risen. */
void offenders_note(struct offenders *o, const struct harvest *h, uint64_t key,
                    uint64_t now_ms);
/* Whoever has calmed down goes. */
void offenders_sweep(struct offenders *o, const struct harvest *h, uint64_t now_ms);

bool offenders_has(const struct offenders *o, const struct ip_addr *client);
