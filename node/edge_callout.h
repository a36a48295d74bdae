/*
 * edge_callout: between the set of recipients (node/policy/rcptset.h) and the questions to
 * primaries (cluster_callout()): which wishes go, what answers become, and which RCPTs wait.
 *
 * Wishes: edge_callout_look() is called for each domain that learns, in turns. It posts what
 * rcptset_due() names: strangers somebody wished to know, and those known for so long that they
 * are to be asked for afresh; of a domain as many at a time as fit into a session.
 *
 * Answers: what is valid or invalid is learned. Whatever was asked counts as asked, so that no
 * site asks again for LIMIT_RCPTSET_REASK_MS, or, of a stranger of whom the answer said
 * nothing, for LIMIT_RCPTSET_WISH_MS. Not asked (not ours to ask, no budget, primary away): the
 * domain rests LIMIT_CALLOUT_LATER_MS; takes-all: LIMIT_CALLOUT_TAKES_ALL_MS.
 *
 * Waits: an RCPT for a stranger waits up to LIMIT_CALLOUT_WAIT_MS. Its wish is noted in the
 * set, which tells the other sites, and posted here: whoever holds the domain asks. A fact that
 * comes ends the wait, from wherever (edge_callout_news()). When nothing came in time no RCPT
 * of the domain waits for LIMIT_CALLOUT_LATER_MS: so a primary that is away, slow or asked too
 * much costs one wait a minute, not one each.
 *
 * No I/O, no heap, no clock: posting and ending are the caller's. Threads: one owner. Limits:
 * LIMIT_CALLOUT_OUT, ..._WAITS, ..._WAITS_EACH; rests are noted in LIMIT_CALLOUT_RESTS places
 * by generation; one that is pushed out costs a vain wish.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/delivery/callout.h"
#include "node/delivery/sched.h"
#include "node/policy/rcptset.h"

struct edge_callout_domain {
    struct str name; /* as stored */
    uint64_t generation;
    char separator;
};

struct edge_callout_options {
    struct rcptset *set; /* borrowed */
    void *ctx;
    /* Asks the cluster thread; edge_callout_answer() follows. False: there is no room. */
    bool (*post)(void *ctx, const struct edge_callout_domain *d, struct str local,
                 bool hurries);
    /* The wait is over. UNKNOWN: asked, no answer. May begin another one. */
    void (*over)(void *ctx, void *waiter, enum rcptset_status status);
};

struct edge_callout {
    struct edge_callout_options opt;
    struct edge_callout_out {
        uint64_t generation; /* 0: free */
        char separator;
        uint64_t wanted_ms;
        uint8_t local_bytes;
        char local[LIMIT_SMTP_LOCAL_PART_BYTES];
    } out[LIMIT_CALLOUT_OUT];
    struct edge_callout_wait {
        void *waiter; /* NULL: free */
        uint64_t generation, end_ms;
        char separator;
        uint8_t local_bytes;
        char local[LIMIT_SMTP_LOCAL_PART_BYTES];
    } waits[LIMIT_CALLOUT_WAITS];
    struct edge_callout_rest {
        uint64_t generation, wish_ms, wait_ms; /* boot: until then no wish, no wait */
    } rests[LIMIT_CALLOUT_RESTS];
    uint32_t out_count, wait_count;
};

void edge_callout_init(struct edge_callout *e, const struct edge_callout_options *o);

void edge_callout_look(struct edge_callout *e, const struct edge_callout_domain *d,
                       struct sched_now now);

/* An RCPT of it may wait: the domain does not rest, and few wait for it. */
bool edge_callout_may_wait(const struct edge_callout *e, uint64_t generation,
                           struct sched_now now);
/* True: over() follows. False: it may not, there is no room, or the primary was just asked for
 * it in vain. */
bool edge_callout_begin(struct edge_callout *e, const struct edge_callout_domain *d,
                        struct str local, void *waiter, struct sched_now now);

/* The cluster thread has answered what was posted. What the set learned by it. */
enum rcptset_merged edge_callout_answer(struct edge_callout *e, uint64_t generation,
                                        struct str local, enum callout_verdict verdict,
                                        struct sched_now now);
/* Something is known anew of a recipient of the domain: by a peer, or a delivery. */
void edge_callout_news(struct edge_callout *e, uint64_t generation, struct sched_now now);
/* Ends waits whose time is over; at least ten times a second while wait_count is above 0. */
void edge_callout_tick(struct edge_callout *e, struct sched_now now);
/* Ends all waits: the node stops. */
void edge_callout_end(struct edge_callout *e);
