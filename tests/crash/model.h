/*
 * model: what the spool must hold, in plain arrays. It plans random batches, runs them against
 * a real spool, and compares a spool with itself: every message with its exact body, mark,
 * number of attempts and fate, and nothing else. Copies of a peer's mail have a model of their
 * own, which is a part of this one.
 *
 * Threads: none. Plain data without pointers, so that it can lie in shared memory.
 */
#pragma once

#include "base/prng.h"
#include "tests/crash/copies.h"
#include "tests/support/spool_kit.h"

#define MODEL_SLOTS 256 /* ids under watch; older ones are all dead */
#define MODEL_LIVE  40  /* about so many live at once */
#define BATCH_OPS   24

enum model_state {
    MODEL_FREE = 0,
    MODEL_DRAWN, /* the id is out, the spool has never heard of it */
    MODEL_LIVE_MSG,
    MODEL_SETTLED,
    MODEL_ABORTED
};

struct model_msg {
    enum model_state state;
    uint64_t counter, bytes, digest, number;
    uint64_t batch; /* that touched it last */
    uint32_t attempts;
    bool dot;
};

struct model_staged { /* a large body under way, over several batches */
    bool active;
    uint64_t counter, bytes, digest, number, done;
};

struct model {
    struct model_msg msgs[MODEL_SLOTS]; /* by counter % MODEL_SLOTS */
    uint64_t next;                      /* counter */
    uint64_t batch;
    uint64_t dot_epoch;
    struct model_staged staged;
    struct copies copies;
};

enum op_kind {
    OP_PUT,
    OP_STAGE,
    OP_PUT_STAGED,
    OP_UNSTAGE,
    OP_ABORT,
    OP_UPDATE,
    OP_DOT,
    OP_CLOSED,
    OP_SETTLE
};

struct op {
    enum op_kind kind;
    uint64_t counter;
    uint64_t number, offset, bytes; /* OP_STAGE */
    uint64_t dot_epoch;
};

struct batch {
    struct op ops[BATCH_OPS];
    size_t n;
    struct copies_batch copies;
};

struct mid model_id(uint64_t counter);

/* Plans a batch on top of *m and moves *m to what must hold once it is durable. Body numbers
 * are filled in by model_run(). */
void model_plan(struct model *m, struct prng *r, struct kit *k, struct batch *out);

/* Runs the batch up to, and without, its commit; every answer must be OK. */
struct spool_txn *model_run(struct model *m, struct kit *k, const struct batch *b);

/* After a crash: what was staged is gone. */
void model_crashed(struct model *m);

/* NULL: the open spool of `k` holds exactly the model. Else the first difference. */
const char *model_differs(const struct model *m, struct kit *k);
