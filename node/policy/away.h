/*
 * away: which domains' primaries cannot be reached, as the site knows that delivers their mail,
 * told to all sites. Mergeable without a quorum, in the manner of greylist.h.
 *
 * An entry is of a domain (its generation): whether its primary is away, who said so and when.
 * The later word counts; at one moment "away", and then that of the higher site. Who says
 * "away" says it at once, also when it was another's word, and repeats it every
 * LIMIT_AWAY_AGAIN_MS while it is so; takes it back when it is not; and is forgotten
 * LIMIT_AWAY_MS after its last word: a site that is gone keeps nobody away. Of whom nobody
 * speaks, the primary is up: nobody has tried.
 *
 * Times are cluster time; one that is ahead of now is taken as now at a merge.
 *
 * Pure. Threads: one owner. Memory: a counted pool, some 60 bytes a domain that is away, at
 * most LIMIT_DOMAINS; one more is not taken, and counts as up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/changes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"

struct away {
    uint32_t entries; /* ceiling */
    struct pool pool;
    struct map map;
    struct changes changes;
    uint64_t round; /* of away_told() */
};

/* entries: 0: LIMIT_DOMAINS. seed: any. */
void away_init(struct away *a, uint32_t entries, uint64_t seed);
void away_fini(struct away *a);

bool away_has(const struct away *a, uint64_t generation, uint64_t now_ms);

/* All that this site sees away now; of what it had said of others it takes back. */
void away_told(struct away *a, uint16_t site, const uint64_t *generations, size_t count,
               uint64_t now_ms);
/* It has just answered this site: whoever said that it is away, it is not. */
void away_answered(struct away *a, uint16_t site, uint64_t generation, uint64_t now_ms);
/* Frees what nobody repeats. */
void away_sweep(struct away *a, uint64_t now_ms);
uint32_t away_count(const struct away *a); /* what was taken back and not swept included */

/* --- between sites --- */

struct away_entry {
    uint64_t generation; /* above 0 */
    uint64_t ms;
    uint16_t site; /* above 0 */
    bool is_away;
};

/* Bytes, big-endian: 0..7 generation, 8..15 ms, 16..17 site, 18 is_away. */
#define AWAY_ENTRY_BYTES 19

void away_pack(const struct away_entry *e, uint8_t out[static AWAY_ENTRY_BYTES]);
/* E_PROTO: nothing that away_pack() writes. */
MUST_CHECK enum err away_unpack(struct str bytes, struct away_entry *out);

enum away_merged { AWAY_NEWS, AWAY_NO_NEWS, AWAY_NO_ROOM };

MUST_CHECK enum away_merged away_merge(struct away *a, const struct away_entry *e,
                                       uint64_t now_ms);

/* The next change behind the cursor, oldest first, each entry once and as it is now; moves the
 * cursor. False: there is none. */
bool away_changes(const struct away *a, struct change_cursor *at, struct away_entry *out);
