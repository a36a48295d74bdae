/*
 * reach: which site reaches which primary. Three sites watch one address in turns, what one of
 * them sees all know, and a domain goes to a sibling when that one reaches its primary and the
 * holder does not (placement, DESIGN: leases). Pure; times are CLOCK_BOOTTIME in ms, turns are
 * taken by cluster time.
 *
 * An address is watched while somebody wants it: this node (reach_want()) or a sibling, whose
 * notes say `down`. A node wants those for which its mail waits while they are down, and those
 * of each domain that is placed: at the site of the placement, and at the slot's holder, or
 * nobody would see that it can return. While watched, the fleet makes one probe of it in each
 * interval: 1 s in the first 10 minutes, 2.5 s after, so that each of three sites looks at
 * least every 7.5 s and a primary that only one of them reaches is found, and its domain moved,
 * within 10 s at any age of the outage. These are beside the holder's own probes, which follow
 * its retry clock (node/delivery/sched.h): who holds a domain sees its return by itself.
 *
 *   turn = (cluster_ms / interval + hash of the address) mod number of sites: the place among
 *          the sites, in ascending order
 *
 * Clocks that differ by a part of an interval make two probes of one turn, or none; no more.
 * Notes say `up` for what this site has seen up in the last 10 s; `down` for what it wants
 * itself, and for 10 s for what it had called up. So nobody's interest keeps another's alive.
 *
 * When a holder gives a domain away: not one address of its route is up from here, each was
 * tried; a sibling that may hold says up of one, in the last 20 s; and this site has failed at
 * that one twice in a row, the last time after it heard so. A domain that came here by a
 * placement is not given before it was held for 5 s; it returns to the slot's holder when that
 * one has seen its primary up for a minute on end and it was here for 5 minutes; when it fails
 * here, at once to whom it does not fail.
 *
 * Threads: one owner. Memory: some 200 bytes an address. Limits: LIMIT_REACH_ADDRS: more are
 * not watched; LIMIT_CLUSTER_MEMBERS sites; LIMIT_FRAME_REACH entries in a note.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/frame.h"

#define REACH_FAST_MS       1000   /* between two probes of the fleet ...            */
#define REACH_FAST_FOR_MS   600000 /* ... for so long after the address went down    */
#define REACH_SLOW_MS       2500   /* and then                                       */
#define REACH_WANT_MS       30000  /* an interest that is not repeated ends          */
#define REACH_TELL_MS       10000  /* what was seen up is told for so long ...       */
#define REACH_FRESH_MS      20000  /* ... and counts for so long after it was told   */
#define REACH_TAKEN_BACK_MS 10000  /* `down` is told for so long after an `up`       */
#define REACH_HOLD_MIN_MS   5000   /* a placement is not given on before             */
#define REACH_HOLD_MS       300000 /* and does not return before                     */
#define REACH_STEADY_MS     60000  /* the slot's holder must see the primary up, before */

struct reach;

struct reach_addr {
    uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

/* seed: of the index; outsiders choose addresses. NULL: out of memory. */
struct reach *reach_new(uint16_t site, uint64_t seed);
void reach_free(struct reach **r);

/* The sites that take turns: this one, and those whose link is up; at most
 * LIMIT_CLUSTER_MEMBERS. What a site that is left out had said is forgotten. */
void reach_sites(struct reach *r, const uint16_t *sites, uint32_t count);

/* --- what happens --- */

/* This node wants to know of it (above). Repeat it within REACH_WANT_MS.
 * E_FULL: too many addresses, it is not watched. */
MUST_CHECK enum err reach_want(struct reach *r, const struct reach_addr *a, uint64_t now);
/* No longer, or it is up. */
void reach_unwant(struct reach *r, const struct reach_addr *a);
/* A probe or a connection of this site got ready, or failed for a reason that is the primary's
 * or the way's, not ours. Of an address that is not watched: nothing is kept of it. */
void reach_saw(struct reach *r, const struct reach_addr *a, bool up, uint64_t now);
/* A sibling's note. */
void reach_heard(struct reach *r, uint16_t site, const struct frame_reach *list, uint32_t count,
                 uint64_t now);
/* Forgets addresses that nobody wants. Once a second or so. */
void reach_tick(struct reach *r, uint64_t now);

/* --- what to do --- */

/* False: none is due. Else an address to probe now; answer with reach_saw(). */
bool reach_next_probe(struct reach *r, uint64_t now, uint64_t cluster_ms,
                      struct reach_addr *out);
/* In cluster time: when the next probe is due; UINT64_MAX: nothing is watched. */
uint64_t reach_wakeup_ms(const struct reach *r);

/* False: none. Else an address that somebody has just seen up: what waits for it is tried at
 * once, from here. Each once per recovery. */
bool reach_next_up(struct reach *r, struct reach_addr *out);

/* What to tell the siblings; news first, then the rest in turns. Returns how many. */
uint32_t reach_note(struct reach *r, uint64_t now, struct frame_reach *out, uint32_t size);
/* There is news: a note is worth sending now. */
bool reach_has_news(const struct reach *r);

enum reach_verdict {
    REACH_STAY,
    REACH_GIVE,  /* PLACE at *to       */
    REACH_RETURN /* PLACE at 0: the placement ends */
};

struct reach_domain {
    const struct reach_addr *addrs; /* of its route, all of them */
    uint32_t count;
    uint16_t home;            /* holder of its slot */
    uint64_t held_since_ms;   /* it came to this site by a placement; else 0 */
    const uint16_t *may_hold; /* sites, own and others */
    uint32_t may_hold_count;
};

/* For a domain that this site holds. */
enum reach_verdict reach_judge(const struct reach *r, const struct reach_domain *d,
                               uint64_t now, uint16_t *to);

/* What one site has last said of an address. False: nothing that counts. */
bool reach_view(const struct reach *r, uint16_t site, const struct reach_addr *a, uint64_t now,
                bool *up);
uint32_t reach_count(const struct reach *r); /* addresses watched */
