/*
 * replica_thread: the thread that owns the data plane of a member: replication/replica, and the
 * ZeroMQ sockets under it. A node that is alone has none.
 *
 *   smtp thread --intake--> here: draws the id, makes Received, to the writer and to both peers
 *                             own commit + one durable ack --> back to the smtp thread: 250
 *   cluster thread --dot--> here: own mark + one peer's yes --> to the smtp thread of the
 *                             connection, or back to the cluster thread
 *   cluster thread --outcome, closed--> here --> the peers
 *   here --deliverable, changed, gone--> cluster thread
 *   control thread --notice--> here: members, sessions that ended, slots
 *
 * The engine begins when this node has its first session; until then nothing is taken and
 * nothing is answered to peers. A node without other members takes nothing: one copy is never
 * fallen back to in silence. By an operator's word (REPLICA_SOLO_SETTING) it needs one only,
 * and says so.
 *
 * Start: new -> (control thread, writer with replica_thread_store()) -> run.
 * Stop:  smtp threads joined -> join -> writer joined -> end -> control thread
 *        stopped -> free.
 * Threads: start and stop by main; the rest from any, unless said otherwise.
 * Limits: LIMIT_REPLICA_BOX requests waiting: then E_FULL. What ends things is always taken.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/blob.h"
#include "base/block.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "node/control_core.h"
#include "node/identity.h"
#include "node/smtp/received.h"
#include "proto/envelope.h"
#include "proto/frame.h"
#include "replication/replica.h"

struct node;
struct replica_thread;

/* A setting of the control store. Any value: as long as this node has no other member, one copy
 * is enough. Set behind the removal of the others (control_core_solo()); taken back here when
 * there is one again. */
#define REPLICA_SOLO_SETTING CONTROL_SOLO_SETTING

struct replica_thread_options {
    const char *bind;                /* data plane: "host:port" */
    const struct identity *identity; /* copied */
    struct mailbox *news;            /* of the cluster thread; struct replica_event, kind: */
    int news_kind;
    /* The node must end; called in the replica thread, logged before. E_CONFLICT: the mail here
     * is not what it was (rolled back, another cluster): a start alone does not help, it must
     * join anew. E_FULL: the spool holds more than a node may. Else as of the spool. */
    void (*fence)(void *ctx, enum err why);
    /* Called in the replica thread; NULL: nobody wants to know. What a peer told by its
     * replica_thread_facts(), borrowed; a link came up or went down. */
    void (*facts)(void *ctx, uint16_t site, struct str facts);
    void (*link)(void *ctx, uint16_t site, bool is_up);
    void *ctx; /* of the three */
};

/* Binds, makes the mailbox and the copy store. It runs from replica_thread_run(): the control
 * thread needs the box for its notices before. E_IO: logged. */
MUST_CHECK enum err replica_thread_new(struct replica_thread **out, struct node *n,
                                       const struct replica_thread_options *o);
struct mailbox *replica_thread_box(struct replica_thread *t);
int replica_thread_notice_kind(void); /* for control_thread_options.notices */
/* For writer_options.copies; lives until free. */
struct copy_store *replica_thread_store(struct replica_thread *t);
/* Spool, control thread and writer are there. */
MUST_CHECK enum err replica_thread_run(struct replica_thread *t);
/* Intakes and dots that wait here. */
uint64_t replica_thread_pending(const struct replica_thread *t);
/* Ends the thread; waiting intakes come back as CLOSE, dots as no. The writer still runs. */
void replica_thread_join(struct replica_thread *t);
void replica_thread_end(struct replica_thread *t);   /* the writer has answered all */
void replica_thread_free(struct replica_thread **t); /* the control thread has stopped */

/* --- mail in --- */

enum intake_verdict {
    INTAKE_ACCEPTED, /* durable here and at a peer: 250 */
    INTAKE_REFUSED,  /* aborted, durable, or never begun: 451 */
    INTAKE_CLOSE     /* not decided for the client: its connection ends without a reply */
};

/* A message after its dot. One heap object: made by the smtp thread, owned here until it comes
 * back to answer_to. Its id is drawn here: ids of a session go to the engine in their order. */
struct intake {
    struct mail mail; /* first; mail.kind = answer_kind on the way back */
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;

    struct arena arena;       /* all that env and received point to */
    struct envelope env;      /* without what envelope_stamp() sets. Back: whole when ACCEPTED,
                                 else the id at most */
    uint64_t hold_ms;         /* deadline = received + hold */
    struct received received; /* without id and wall_ms */
    struct block_list body; /* all of it, or with `staged` what is not yet on disk (the tail) */
    bool staged;            /* body_number holds staged_bytes: at the writer, and here by
                               replica_thread_body() */
    uint64_t body_number, staged_bytes;

    enum intake_verdict verdict;
    bool no_room; /* REFUSED: the own disk is full */
};

struct envelope_times {
    uint64_t now_ms; /* of the cluster clock */
    int64_t wall_ms;
    uint64_t hold_ms;
};
/* What an envelope has from the moment its id is drawn: id, times, Received. False: no room in
 * the arena. */
MUST_CHECK bool envelope_stamp(struct envelope *e, struct received *r, struct arena *a,
                               struct mid id, const struct envelope_times *times);

/* NULL: out of memory. */
struct intake *intake_new(struct mailbox *answer_to, int answer_kind, void *ctx);
void intake_free(struct node *n, struct intake **i);
/* Takes it. E_FULL, E_AGAIN (the gate is closed, the node stops): it stays the caller's and
 * nothing was begun. */
MUST_CHECK enum err replica_thread_accept(struct replica_thread *t, struct intake *i);
/* A piece of a large body on its way to disk; copies it. In order, before the intake. The
 * number is of spool_next_body(). */
void replica_thread_body(struct replica_thread *t, uint64_t body_number, uint64_t offset,
                         const struct block_list *piece);
/* Without locks. */
bool replica_thread_is_open(const struct replica_thread *t); /* may take mail (INV-6) */
/* As replica_backlog(), with what waits here: above LIMIT_STREAM_WINDOW_BYTES / 2 nothing more
 * is read of large bodies. */
uint64_t replica_thread_backlog(const struct replica_thread *t);

/* --- mail out: for the cluster thread --- */

/* May the final dot go? One heap object, comes back to answer_to with the answer, always. Of
 * two that wait for one message the first comes back with a no. */
struct dot_ask {
    struct mail mail; /* first */
    struct mailbox *answer_to;
    int answer_kind;
    struct mid id;
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t slot_epoch;
    uint64_t tag; /* connection; with id and slot_epoch unique among those that wait */

    bool yes, possible_duplicate; /* the answer */
    uint64_t retry_ms;            /* no: again after; 0: not under this epoch */
    uint64_t asked_ms; /* boot, when it came to be asked: no dot is sent so long after it as
                          REPLICA_CONSENT_MS says, however late the answer was read */
};
/* What peers wait for an open dot is longer than this and the reply to the dot together. */
#define REPLICA_CONSENT_MS 45000
static_assert(REPLICA_CONSENT_MS + LIMIT_REMOTE_DOT_MS + 10000 < LIMIT_FOREIGN_DOT_MS,
              "a dot and its reply are over before another holder passes over its mark");

void replica_thread_dot(struct replica_thread *t, struct dot_ask *a);
/* The dot was not sent, or was refused: takes the marks away. An ask that waits for this
 * message comes back with a no. */
void replica_thread_closed(struct replica_thread *t, struct mid id, uint64_t slot_epoch);
/* The own store has the outcome, durable. Takes `envelope`. */
void replica_thread_outcome(struct replica_thread *t, struct mid id, struct blob *envelope,
                            bool is_final);
/* All outcomes of replica_thread_outcome() that were posted so far are durable at a peer. */
bool replica_thread_outcomes_told(const struct replica_thread *t);
/* The own copy is damaged: the peers' is asked for. */
void replica_thread_damaged(struct replica_thread *t, struct mid id);
/* What this node sees of primaries, for the next notes. count: at most LIMIT_FRAME_REACH. */
void replica_thread_reach(struct replica_thread *t, const struct frame_reach *reach,
                          uint32_t count);

/* What the door knows, for a peer (replication/gossip.h). May be lost; borrows. */
void replica_thread_facts(struct replica_thread *t, uint16_t site, struct str facts);

/* News for the cluster thread, a heap object; free() it. */
struct replica_event {
    struct mail mail;            /* first */
    enum replica_news_kind kind; /* DELIVERABLE, CHANGED, GONE, REACH, LINK */
    struct mid id;
    uint16_t site;
    bool open; /* LINK */
    uint32_t reach_count;
    struct frame_reach reach[]; /* REACH */
};

/* The own CURVE key (MEMBER_KEY_BYTES each): all links are made anew with it. To be called when
 * the state names the new key (MEMBER_KEY with keep_old). */
void replica_thread_rekey(struct replica_thread *t, const uint8_t *public_key,
                          const uint8_t *secret_key);

/* How many other nodes are known to have a copy of each of these. One heap object, comes back
 * to answer_to. */
#define REPLICA_COPIES_ASK 64
struct copies_ask {
    struct mail mail; /* first */
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;
    uint32_t count;
    struct {
        struct mid id;
        bool is_known; /* the answer; false: not live here */
        unsigned others;
    } of[REPLICA_COPIES_ASK];
};
void replica_thread_copies(struct replica_thread *t, struct copies_ask *a);

/* --- looking at it: as of at most 250 ms ago --- */
struct replica_thread_view {
    bool begun; /* it has a session */
    uint64_t session;
    bool solo; /* one copy is enough, by an operator's word */
    struct replica_status status;
    uint64_t bad_frames, refused_keys, conflicts, damaged;
};
void replica_thread_view(struct replica_thread *t, struct replica_thread_view *out);
