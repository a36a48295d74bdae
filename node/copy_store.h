/*
 * copy_store: executes one record of the data plane in a transaction of the spool. Here a
 * record takes effect: what came before it in the writer's order counts, nothing else. The
 * verdicts are those of replication/copies.h.
 *
 * Threads: the writer's. Durability: as the spool's: nothing before spool_commit() is OK.
 * Also used by the simulator as it is: no clock, no thread, no log but alarms.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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

struct copy_store {
    uint16_t site; /* own */
    struct copy_view view;
};

/* Executes op->record; sets op->answer, op->state, op->domain. Never fails otherwise: what
 * concerns the environment sticks to the transaction. Idempotent. */
void copy_store_apply(const struct copy_store *cs, struct spool_txn *t, struct copy_op *op);
