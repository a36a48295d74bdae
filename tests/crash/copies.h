/*
 * copies: the peer's half of the model: ids of another site whose copies come, are decided,
 * settled, cleared; marks of final dots; what is known of sessions. States only go upwards
 * here, so a spool that holds exactly this model, before or after a batch, has lost none.
 *
 * Threads: none. Plain data without pointers, so that it can lie in shared memory.
 */
#pragma once

#include "base/prng.h"
#include "tests/support/spool_kit.h"

#define COPIES_SLOTS 40 /* ids of one session; then it is cleared and the next begins */
#define COPIES_OPS   10 /* at most, in one batch */

struct copies_slot {
    enum copy_state state; /* as its own record says */
    uint64_t bytes;
    bool has_mark;
    struct spool_mark mark;
};

struct copies {
    uint64_t session; /* less the first one */
    uint64_t next;    /* less 1: counters below it are drawn */
    uint64_t upto;
    bool resolved;
    uint64_t filled_by;
    struct copies_slot slots[COPIES_SLOTS]; /* by counter - 1 */
};

enum copies_kind {
    COPIES_PUT,
    COPIES_PUT_STAGED,
    COPIES_COMMIT,
    COPIES_UPTO,
    COPIES_RESOLVED,
    COPIES_ABORT,
    COPIES_SETTLE,
    COPIES_ABSENT,
    COPIES_RANGE,
    COPIES_MARK,
    COPIES_CLOSED,
    COPIES_CLEAR,
    COPIES_FILLED,
    COPIES_ECHO
};

struct copies_op {
    enum copies_kind kind;
    enum copy_state state;
    uint64_t session, counter, last, bytes;
    struct spool_mark mark;
};

struct copies_batch {
    struct copies_op ops[COPIES_OPS];
    size_t n;
};

/* Plans a batch on top of *c and moves *c to what must hold once it is durable. */
void copies_plan(struct copies *c, struct prng *r, struct copies_batch *out);

/* Runs it in the transaction; every answer must be OK. */
void copies_run(struct kit *k, struct spool_txn *t, const struct copies_batch *b);

/* NULL: the open spool holds exactly that. Else the first difference. */
const char *copies_differ(const struct copies *c, struct kit *k);

/* What of it lives. */
struct spool_totals copies_totals(const struct copies *c);
