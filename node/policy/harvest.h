/*
 * harvest: who names recipients that are not there, counted over all sites, to find out which
 * are. Mergeable without a quorum, in the manner of greylist.h.
 *
 * Three counts: of the client (IPv4: the address; IPv6: its /64), of its network (/24, /48) and
 * of the recipient's domain, in windows of LIMIT_HARVEST_WINDOW_MS of cluster time; the present
 * one and the one before count, so that whoever stops is calm after two at most. An entry is of
 * (key, window) and holds, for each site, how many tries were bad and how many messages good:
 * numbers that only that site raises, merged by max, so that doubled, lost and late changes do
 * no harm. The key is SipHash-2-4 under a secret of the cluster.
 *
 *     OK
 *     SUSPICIOUS  LIMIT_HARVEST_SUSPECT bad tries of the client, ..._NETWORK times that of its
 *                 network, or ..._DOMAIN of the domain: recipient.h says less, nobody is asked
 *     OFFENDER    the same with LIMIT_HARVEST_OFFENDER, never by the domain: "421 4.7.0"
 *
 * A client or network with more good messages than bad tries is neither: a large provider
 * has both. Good are messages that were taken for a recipient that is known, not RCPTs alone,
 * which cost nothing; they are counted only of whom something bad is known.
 *
 * Retries. A mail server comes again with mail that was put off, for days: a client's tries for
 * one and the same recipient count once at each site, until it has not come for
 * LIMIT_HARVEST_NAME_MS to twice that (two Bloom filters that take turns, also when one has
 * LIMIT_HARVEST_NAMES; then one name in ten is taken for one that was there, in favour of the
 * client).
 *
 * Room. At the ceiling a new entry takes the place of the least one among LIMIT_HARVEST_LOOK in
 * turn that is over or has fewer than LIMIT_HARVEST_SUSPECT bad tries; when there is none, it
 * is not noted. So a flood of new addresses, which IPv6 gives away, pushes out other addresses
 * of one or two tries, and no suspect. Their networks, and the domain, add them up.
 *
 * Clocks: windows are numbers of cluster time; one more ahead than the next is refused.
 *
 * Pure. Threads: one owner. Memory: a counted pool, at most 20 MiB at LIMIT_HARVEST_ENTRIES,
 * and 2 MiB of its own: not for the stack.
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
#include "node/policy/ip.h"

struct harvest {
    uint32_t entries; /* ceiling */
    struct pool pool;
    struct map map;
    struct changes changes;
    uint32_t swept, looked; /* where the sweep, and the search for room, go on */

    /* private: who was counted for what, in this period and the one before */
    uint64_t period, names[2][LIMIT_HARVEST_NAME_BITS / 64];
    uint32_t named; /* in the present one */
    bool turn;      /* which is the present one */
};

void harvest_init(struct harvest *h, uint32_t entries); /* 0: LIMIT_HARVEST_ENTRIES */
void harvest_fini(struct harvest *h);

/* Values above 0. */
struct harvest_keys {
    uint64_t client, network, domain;
};

/* secret: of the cluster, 128 bits. The domain in any case. */
struct harvest_keys harvest_keys(const uint64_t secret[2], const struct ip_addr *client,
                                 struct str domain);

/* What a client named: for harvest_bad(). Both in any case. */
uint64_t harvest_name(const uint64_t secret[2], const struct ip_addr *client, struct str domain,
                      struct str local);

enum harvest_state { HARVEST_OK, HARVEST_SUSPICIOUS, HARVEST_OFFENDER };

enum harvest_state harvest_state(const struct harvest *h, const struct harvest_keys *k,
                                 uint64_t now_ms);
/* Of one key: OK, or what a client would be for it with `times` the tries (above). */
enum harvest_state harvest_key_state(const struct harvest *h, uint64_t key, uint64_t times,
                                     uint64_t now_ms);
const char *harvest_reply(void); /* "421 4.7.0 ...", without CRLF; static */

/* site: 1 .. LIMIT_CLUSTER_MEMBERS, our own. A recipient that is not there, or not known to be
 * (false: it was counted before, and is not again); a message that was taken for one that is
 * known. */
bool harvest_bad(struct harvest *h, uint16_t site, const struct harvest_keys *k, uint64_t name,
                 uint64_t now_ms);
void harvest_good(struct harvest *h, uint16_t site, const struct harvest_keys *k,
                  uint64_t now_ms);

/* --- between sites --- */

struct harvest_entry {
    uint64_t key; /* above 0 */
    uint32_t window;
    uint32_t bad[LIMIT_CLUSTER_MEMBERS], good[LIMIT_CLUSTER_MEMBERS]; /* by site - 1 */
};

/* Bytes, big-endian: 0..7 key, 8..11 window, then bad and good of each site, 4 bytes each. */
#define HARVEST_ENTRY_BYTES (12 + 8 * LIMIT_CLUSTER_MEMBERS)

void harvest_pack(const struct harvest_entry *e, uint8_t out[static HARVEST_ENTRY_BYTES]);
/* E_PROTO: another number of bytes, key 0. */
MUST_CHECK enum err harvest_unpack(struct str bytes, struct harvest_entry *out);

enum harvest_merged { HARVEST_NEWS, HARVEST_NO_NEWS, HARVEST_NO_ROOM };

MUST_CHECK enum harvest_merged harvest_merge(struct harvest *h, const struct harvest_entry *e,
                                             uint64_t now_ms);

/* The next change behind the cursor, oldest first, each entry once and as it is now; moves the
 * cursor. False: there is none. */
bool harvest_changes(const struct harvest *h, struct change_cursor *at,
                     struct harvest_entry *out);

/* Looks at the next `look` entries in turn and frees those whose window is over; how many. */
size_t harvest_sweep(struct harvest *h, uint64_t now_ms, size_t look);

uint32_t
harvest_count(const struct harvest *h); /* those that are over and not swept included */
