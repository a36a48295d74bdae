/*
 * writer: the thread that makes all changes of the spool. Natural group commit: it takes all
 * that waits, at most LIMIT_BATCH_BYTES, commits once, answers, and starts again. Upkeep
 * (traces past their age, room, old readers) runs between commits.
 *
 * A request is one heap struct, made by the asker and posted with writer_post(); the same
 * struct comes back to `answer_to` with `err` set once the commit that holds it is durable.
 * Nobody may touch it in between. The asker frees it with writer_request_free().
 *
 * E_FULL of a commit hits puts and stages only, of peers too (COPY_NO_ROOM): what ends messages
 * is tried again by itself in a commit of its own. E_IO fences the node: `fence` is called
 * once, everything then and later is answered E_IO. Limits: LIMIT_WRITER_BOX requests waiting.
 */
#pragma once

#include "base/arena.h"
#include "base/block.h"
#include "base/mailbox.h"
#include "node/copy_store.h"
#include "proto/envelope.h"
#include "proto/record.h"
#include "spool/spool.h"

enum writer_op {
    WRITER_PUT,   /* env, body, or env over the staged body_number, and state. env NULL: E_FULL.
                     Not OK: the id is marked in the same or the next commit: as aborted, or, of a
                     node that is alone, as settled */
    WRITER_STAGE, /* body_number, offset, body */
    WRITER_UNSTAGE, /* body_number */
    WRITER_DOT,     /* id, slot_epoch */
    WRITER_CLOSED,  /* id */
    WRITER_UPDATE,  /* env; and with `closed` the mark of its id goes */
    WRITER_SETTLE,  /* env */
    WRITER_COPY,    /* copy: one record of the data plane; its answer is in it. err: OK, or why
                       nothing of it is durable (then the answer is FAILED or NO_ROOM) */
    WRITER_BARRIER, /* nothing: answered when all that was posted before it is durable */
    WRITER_LINK,    /* site: its link is new: what it began to send is dropped */
};

struct writer_request {
    struct mail mail; /* first; mail.kind is answer_kind on the way back */
    enum writer_op op;
    struct mailbox *answer_to;
    int answer_kind;
    enum err err;

    struct mid id;
    struct envelope *env;   /* in `arena` or elsewhere alive until the answer */
    struct arena arena;     /* of the request; reset by writer_request_free() */
    struct block_list body; /* freed by the writer thread when it is stored */
    enum copy_state state;  /* PUT: COPY_NONE, of a node that is alone: COMMITTED at once */
    struct copy_op *copy;   /* the asker's */
    uint16_t site;
    bool staged, closed;
    uint64_t body_number, offset, slot_epoch;

    void *ctx; /* the asker's */
    uint64_t tag;
};

struct writer;

struct writer_options {
    struct spool *spool;
    struct block_pool *blocks;
    struct copy_store *copies;         /* NULL: a node that is alone; then the writer's alone */
    uint64_t (*cluster_ms)(void *ctx); /* any thread */
    void (*fence)(void *ctx, enum err why);
    void *ctx;
};

MUST_CHECK enum err writer_start(struct writer **out, const struct writer_options *o);
struct mailbox *writer_box(struct writer *w); /* for node/watch */
/* Commits and answers all that waits, then ends the thread. */
void writer_join(struct writer *w);
void writer_free(struct writer **w); /* after all answers were taken and freed */

/* NULL: out of memory. */
struct writer_request *writer_request_new(enum writer_op op, struct mailbox *answer_to,
                                          int answer_kind, void *ctx);
void writer_request_free(struct writer *w, struct writer_request **r);

/* Takes the request. E_FULL: too much waits; it stays the caller's. */
MUST_CHECK enum err writer_post(struct writer *w, struct writer_request *r);
/* For what ends messages: always taken (bounded by the messages under way). */
void writer_post_always(struct writer *w, struct writer_request *r);
