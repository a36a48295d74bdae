/*
 * copy_store: executes one record of the data plane in a transaction of the spool. Here a
 * record takes effect: what came before it in the writer's order counts, nothing else. The
 * verdicts are those of replication/copies.h.
 *
 * Bodies of peers (BODY before PUT) are staged under body numbers of our own. Which is which is
 * remembered in memory alone: after a crash, or when a batch was not committed, the PUT answers
 * COPY_MISSING and the peer sends all again. Nothing else is remembered here, so a transaction
 * that is dropped needs no undoing.
 *
 * Threads: the writer's. Durability: as the spool's: nothing before spool_commit() is OK.
 * Limits: LIMIT_STAGED_BODIES, LIMIT_STAGED_MS, LIMIT_SPOOL_PEER_PERCENT, LIMIT_RESOLVE_IDS.
 * Also used by the simulator as it is: no clock, no thread, no log but alarms.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "replication/replica.h"
#include "spool/spool.h"

/* What the control state of this node says at this moment. */
struct copy_view {
    void *ctx;
    bool (*sealed)(void *ctx, uint16_t site, uint64_t epoch);
    /* The newest epoch of the slot, or placement, of a domain, and its holder. False: none. */
    bool (*slot)(void *ctx, struct str domain, uint16_t *site, uint64_t *epoch);
    /* The holder closed all dots of that slot epoch when it released it. */
    bool (*released)(void *ctx, struct str domain, uint64_t slot_epoch);
    uint64_t (*cluster_ms)(void *ctx);
    int64_t (*wall_ms)(void *ctx);
};

/* A peer's body that is being staged, or was put. */
struct copy_body {
    uint64_t own; /* our number; 0: free */
    uint64_t incarnation, number;
    uint64_t done; /* bytes */
    uint64_t used_ms;
    struct mid id; /* of the PUT that named it; zero: none so far */
    uint16_t site;
};

struct copy_store {
    uint16_t site; /* own */
    struct copy_view view;
    /* The module's own; begins as zero. */
    struct copy_body bodies[LIMIT_STAGED_BODIES];
    uint32_t used; /* bodies[used] and behind are free */
    uint64_t now_ms;
};

/* Executes op->record, which is well formed (copyrec_check()); sets op->answer, op->state,
 * op->domain and op->store_keep (released by whoever ends the op). Never fails otherwise: what
 * concerns the environment sticks to the transaction, and the answer is COPY_FAILED.
 * Idempotent.
 *
 *   kind      from a peer                           from this node (op->from is its own site)
 *   ECHO      a commit that reaches the disk        the same
 *   HAVE      settled: ranges are added where       the same
 *             nothing lives; aborted: as ABORT of
 *             each id; else nothing
 *   HAVE_END, WANT: nothing; WANT answers MISSING when no sound copy is here
 *   CLEAR     nothing: the machine waits for all    all three have said so: stored. CONFLICT:
 *             three                                 a message of them is live here
 *   FILLED    that site has told it; detail: bits   this node is a witness from now on
 *             of the sites that have
 *   RESOLVE   OK: all aborts that this node knows   -
 *             of are what it has told
 *   RESOLVED  all of the session that is not        the same
 *             aborted here is committed
 *   ENDED     -                                     a copy goes, and nobody can tell its fates
 *
 * PUT of an id whose copy here is damaged takes its place (detail 1: it did), and one with
 * fates that are not known here is merged. OUTCOME in phase DONE with all recipients final
 * settles. */
void copy_store_apply(struct copy_store *cs, struct spool_txn *t, struct copy_op *op);

/* What a peer began to send goes when its link is new, and after LIMIT_STAGED_MS. now_ms:
 * CLOCK_BOOTTIME; call it about once a minute. True: something was changed. */
bool copy_store_link_new(struct copy_store *cs, struct spool_txn *t, uint16_t site);
bool copy_store_age(struct copy_store *cs, struct spool_txn *t, uint64_t now_ms);
