/*
 * gossip: how sets that all sites fill become equal: who was seen, who is known. Each site
 * tells its peers each change of a set above what they have acknowledged, in the order of its
 * own serial numbers; whoever hears an entry merges it, and a merge that changes nothing is
 * told to nobody, so that nothing goes round. Merging is the sets' business (commutative,
 * associative, idempotent): what is lost, doubled or late does no harm, so nothing here is
 * durable.
 *
 *   link up --GREET--> the peer: who I am, and how far I have heard you
 *   GREET that names our process: changes behind that; else all, from the first
 *   CHANGES of a set (above serial `from`, up to `upto`) --> GREET, which acknowledges them
 *
 * Serial numbers are of one process: `nonce` names it. A peer that knows another process of us,
 * or none, gets everything; a link that was down for a while goes on where it was.
 *
 * Bytes (big-endian), the `facts` of a FACTS frame (proto/frame.h):
 *   GREET    1, nonce u64, of u64 (the nonce of who hears it, as known; 0: not known),
 *            asks u8 (1: greet me, too), sets u8, then for each u64: heard up to here
 *   CHANGES  2, nonce u64, set u8, from u64, upto u64, then entries: n u16, n bytes
 * A newer node may have more sets: a peer is told of those that its GREET knows, and what it
 * tells of others is passed over.
 *
 * Pure. Threads: one owner; ops are called from within and must not call back. Times: `now` is
 * CLOCK_BOOTTIME in ms. Memory: some 3 KiB and a frame. Limits: LIMIT_GOSSIP_*.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/changes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define GOSSIP_PEERS 2

struct gossip_set {
    void *ctx;
    /* The next change behind the cursor, as it is now, into buf; moves the cursor. 0: none. */
    size_t (*next)(void *ctx, struct change_cursor *at, char buf[LIMIT_GOSSIP_ENTRY_BYTES]);
    /* An entry of a peer, borrowed. False: it makes no sense. */
    bool (*merge)(void *ctx, struct str entry);
};

struct gossip_options {
    uint64_t nonce; /* of this process; never 0, never used twice */
    uint32_t set_count;
    struct gossip_set sets[LIMIT_GOSSIP_SETS];
    void *ctx;
    void (*send)(void *ctx, uint16_t site, struct str facts); /* may be lost; borrows */
};

struct gossip_peer {
    uint16_t site; /* 0: none */
    bool is_up, knows_us;
    uint32_t set_count; /* that it and we have */
    uint64_t nonce;     /* of its process, as heard last; 0: never */
    uint64_t greet_ms;
    struct {
        uint64_t heard, acked, progress_ms;
        struct change_cursor at;
        uint32_t acked_hint, flying;
        struct change_cursor upto[LIMIT_GOSSIP_FLYING]; /* of frames that fly, in their order */
    } sets[LIMIT_GOSSIP_SETS];
};

struct gossip {
    struct gossip_options o;
    struct gossip_peer peers[GOSSIP_PEERS];
    uint64_t bad; /* facts that made no sense */
    char frame[LIMIT_GOSSIP_FRAME_BYTES];
};

void gossip_init(struct gossip *g, const struct gossip_options *o);
/* The link to a site came up, or went down. */
void gossip_link(struct gossip *g, uint16_t site, bool is_up, uint64_t now);
void gossip_heard(struct gossip *g, uint16_t site, struct str facts, uint64_t now);
/* Sends what there is to send: after changes, and every LIMIT_GOSSIP_GREET_MS. */
void gossip_tick(struct gossip *g, uint64_t now);
/* Nothing flies, all is acknowledged by all peers that are up. */
bool gossip_is_quiet(const struct gossip *g);
