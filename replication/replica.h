/*
 * replica: the data plane of one node as a machine: copies, commit knowledge, dots, outcomes,
 * links to the peers, catch-up, and whether this node may take mail. DESIGN: docs/wire.md has
 * every rule. Pure: the shell (node/replica_thread, or the simulator) does what `ops` asks and
 * reports what happened. No clock: `now` is CLOCK_BOOTTIME in ms and never goes back.
 *
 * What is durable is decided by the store, in the order of its commits (replication/copies.h);
 * this machine knows what was asked, what was answered, and what each peer has.
 *
 * Threads: one owner; ops are called from within the functions below and must not call back.
 * Memory: an entry of at most 64 bytes per live message, queues up to the limits.
 * Limits: LIMIT_STREAM_WINDOW_BYTES, LIMIT_STREAM_QUEUE_BYTES, LIMIT_FEED_WINDOW_BYTES,
 *         LIMIT_ACK_PROGRESS_MS, LIMIT_ACCEPT_MS, LIMIT_FOREIGN_DOT_MS, LIMIT_ECHO_MS ...
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "proto/copyrec.h"

#define REPLICA_PEERS 2

struct replica;

/* One thing for the store. Made by the machine, owned by the shell until replica_stored(). */
struct copy_op {
    struct copy_record record; /* borrows from `keep` */
    uint16_t from;             /* site of the peer that sent it; own site: ours */
    uint64_t incarnation;      /* of that peer */
    struct blob *keep;         /* bytes the record borrows from; may be NULL */
    struct copy_answer answer; /* set by the shell before replica_stored() */
    enum copy_state state;     /* set by the store: of record.id afterwards (PUT, ABORT, COMMIT,
                                  OUTCOME,     ENDED) */
    struct str domain;         /* set by the store (in store_keep): of record.id, when known */
    struct blob *store_keep;
    uint64_t cookie[3]; /* the machine's own */
    void *shell;        /* the shell's own */
};

enum replica_news_kind {
    REPLICA_ACCEPTED, /* id: durable on two nodes: answer 250 */
    REPLICA_REFUSED,  /* id: aborted on two nodes: answer 451  */
    REPLICA_CLOSE, /* id: undecidable for the client: close its connection without a reply   */
    REPLICA_CONSENT,     /* id tag slot_epoch: the dot may go; possible_duplicate     */
    REPLICA_NO_CONSENT,  /* id tag slot_epoch why: it may not now; retry_ms, 0: not under this
                            epoch */
    REPLICA_DELIVERABLE, /* id: committed here, not before known as such; the holder may begin
                          */
    REPLICA_CHANGED,     /* id: a peer's outcome was merged, still live: read it again     */
    REPLICA_GONE,   /* id: settled or aborted here by a peer's word                           */
    REPLICA_GATE,   /* open: this node may, or must not, take mail                            */
    REPLICA_FILLED, /* this node is a witness from now on (durable)                           */
    REPLICA_STOP,   /* why: rolled back, foreign cluster, other format: the node must end     */
    REPLICA_ALARM,  /* id why: a copy conflicts or is damaged                                 */
    REPLICA_BAD_FRAME, /* site why: dropped and counted */
    REPLICA_LINK,  /* site open: a link came up or went down                                 */
    REPLICA_REACH, /* reach of site: see reach                                              */
    REPLICA_FACTS  /* facts of site, that replica_facts() sent there                        */
};

struct frame_reach;

/* A mark as it is stored: whose dot of a message is, or was, under way. */
struct copy_mark {
    uint64_t slot_epoch, session;
    uint16_t site;
    bool over, doubt; /* as in replication/copies.h */
};

struct replica_news {
    enum replica_news_kind kind;
    struct mid id;
    uint64_t tag, slot_epoch;
    bool possible_duplicate, open;
    enum copy_code why;
    uint64_t retry_ms;
    uint16_t site;
    const char *text; /* static */
    const struct frame_reach *reach;
    uint32_t reach_count;
    struct str facts; /* borrowed */
};

struct replica_ops {
    void *ctx;
    /* Best effort, never blocks; `bytes` is borrowed. `is_bulk`: copies, which all else should
     * not wait for; between the two there is no order. */
    void (*send)(void *ctx, uint16_t site, bool is_bulk, struct str bytes);
    /* To the store, in this order; answered by replica_stored() after the commit, in the order
     * of the commits. */
    void (*store)(void *ctx, struct copy_op *op);
    void (*tell)(void *ctx, const struct replica_news *news);
    /* A live copy here, for a peer that lacks it. E_NOTFOUND: no longer live. E_CORRUPT: ours
     * is damaged: ask a peer. The envelope's bytes are put into *envelope (the shell's until
     * the next call); *body_bytes, *body_digest describe its body. */
    enum err (*read_envelope)(void *ctx, struct mid id, struct str *envelope,
                              uint64_t *body_bytes);
    enum err (*read_body)(void *ctx, struct mid id, uint64_t offset, void *buf, size_t size,
                          size_t *got);
    /* The last envelope of a settled message, while it is kept. E_NOTFOUND: it is settled, and
     * its fates are lost: aged out, never known, unreadable; peers that have it live are told
     * so (ENDED). E_CONFLICT: a copy is here still. */
    enum err (*read_trace)(void *ctx, struct mid id, struct str *envelope);
    /* The mark of a final dot that stands here. E_NOTFOUND: none. E_CORRUPT: one that cannot be
     * read. */
    enum err (*read_mark)(void *ctx, struct mid id, struct copy_mark *out);
    /* True: this node's control state has applied the end of that session. */
    bool (*sealed)(void *ctx, uint16_t site, uint64_t epoch);
    /* True: the slot epoch was released by its holder, so all its dots are closed. */
    bool (*released)(void *ctx, struct str domain, uint64_t slot_epoch);
};

struct replica_options {
    uint16_t site;
    uint64_t incarnation;
    uint8_t cluster[16];
    uint64_t session;     /* epoch of this process's first session */
    uint64_t first_epoch; /* the first session epoch that this incarnation can have had */
    bool filled;          /* as stored */
    uint64_t seed;        /* nonces */
    unsigned copies;      /* a 250 needs: 2 */
    struct replica_ops ops;
};

/* NULL: out of memory. */
struct replica *replica_new(const struct replica_options *o);
void replica_free(struct replica **r);

/* --- What the store holds, told once before replica_start() --- */
MUST_CHECK enum err replica_load_copy(struct replica *r, struct mid id, enum copy_state state);
MUST_CHECK enum err replica_load_settled(struct replica *r, uint16_t site, uint64_t epoch,
                                         uint64_t from, uint64_t to);
/* Something is stored of this message and cannot be read: it is mended by a peer's copy, and is
 * no sign of an older spool. */
MUST_CHECK enum err replica_load_damaged(struct replica *r, struct mid id);
void replica_load_clear(struct replica *r, uint16_t site,
                        uint64_t epoch); /* all below it are settled */
MUST_CHECK enum err replica_load_dot(struct replica *r, struct mid id, uint16_t site,
                                     uint64_t session, uint64_t slot_epoch);
/* This live copy has fates that a peer may not know: they are told again. */
void replica_load_news(struct replica *r, struct mid id);
/* Commit knowledge of a session, as stored: what a peer said of its own. */
MUST_CHECK enum err replica_load_upto(struct replica *r, uint16_t site, uint64_t epoch,
                                      uint64_t counter);
/* Undecided copies of this site's earlier sessions are committed now (by store ops). */
void replica_start(struct replica *r, uint64_t now);

/* --- What happens --- */
/* The members besides this node, as the control state has them; incarnation 0: no member. */
void replica_member(struct replica *r, uint16_t site, uint64_t incarnation, uint64_t now);
/* The control state moved on: sessions may be sealed, slots given. */
void replica_control(struct replica *r, uint64_t now);
void replica_frame(struct replica *r, uint16_t site, uint64_t incarnation, struct str bytes,
                   uint64_t now);
void replica_stored(struct replica *r, struct copy_op *op, uint64_t now); /* takes the op */
/* This process has opened another session (the one before was ended): ids come from it. */
void replica_session(struct replica *r, uint64_t epoch, uint64_t now);
/* Several events at once: between cork and uncork nothing is sent; calls nest. */
/* An operator's word: this node may go on alone. While it has no other member, one copy is
 * enough: the gate is open, a 250 and a dot need the own store only, outcomes count as told,
 * undecided copies of sessions that are over are committed, and the node is a witness. A member
 * that comes ends all that. */
void replica_solo(struct replica *r, bool on, uint64_t now);
void replica_cork(struct replica *r);
void replica_uncork(struct replica *r, uint64_t now);
void replica_tick(struct replica *r, uint64_t now);
uint64_t replica_deadline(const struct replica *r); /* when the next tick is due */

/* --- Mail from clients: the id was drawn, the own PUT is on its way through the store as
 * UNDECIDED. replica_put() may come before or after replica_put_stored(); exactly one of
 * ACCEPTED, REFUSED, CLOSE follows. The blobs are held until sent. `body` NULL: the body went
 * before in pieces of `body_number`. --- */
MUST_CHECK enum err replica_put(struct replica *r, struct mid id, struct blob *envelope,
                                struct blob *body, uint64_t body_number, uint64_t now);
/* What the own store said. Not OK: nothing is here; it is aborted, and REFUSED or CLOSE follows
 * all the same: a peer may have stored it, and then only its durable ABORT lets anybody say
 * 451 (a client must not be answered by the failed put alone). */
void replica_put_stored(struct replica *r, struct mid id, enum err e, uint64_t now);
/* A piece of a large body, as it arrives from the client. */
void replica_body(struct replica *r, uint64_t body_number, uint64_t offset, struct blob *piece,
                  uint64_t now);
/* Bytes of bodies that the faster peer has not acknowledged: above
 * LIMIT_STREAM_WINDOW_BYTES / 2 the shell reads no more from large senders. */
uint64_t replica_backlog(const struct replica *r);
bool replica_is_open(const struct replica *r);

/* --- Delivery --- */
/* Asks for consent: own durable mark and one peer's yes. One answer follows: CONSENT or
 * NO_CONSENT. Again with the same id and epoch: asked anew. */
void replica_dot(struct replica *r, struct mid id, struct str domain, uint64_t slot_epoch,
                 uint64_t tag, uint64_t now);
/* That dot was not sent, or was refused: takes the marks away, here and there. */
void replica_closed(struct replica *r, struct mid id, uint64_t slot_epoch, uint64_t now);
/* The own store has the outcome; is_final: it is settled here. Tells the peers. */
void replica_outcome(struct replica *r, struct mid id, struct blob *envelope, bool is_final,
                     uint64_t now);
/* True: a peer has every outcome of replica_outcome() durable. A slot is given away only then
 * (lease_quiet()): whoever holds it next asks one peer alone. */
bool replica_outcomes_told(const struct replica *r);
/* The own copy is damaged: asks the peers for theirs. */
void replica_damaged(struct replica *r, struct mid id, uint64_t now);
/* What this node sees of primaries: gossiped with the next notes. */
void replica_reach(struct replica *r, const struct frame_reach *reach, uint32_t count);
/* What the door knows, for the site (replication/gossip.h): 1 to LIMIT_GOSSIP_FRAME_BYTES,
 * borrowed. May be lost; nothing without a link. It comes behind the REPLICA_LINK of its link.
 */
void replica_facts(struct replica *r, uint16_t site, struct str facts);

/* --- Looking at it --- */
struct replica_peer_status {
    uint16_t site;
    uint64_t incarnation;
    bool is_member, link_up, filled, open;
    uint64_t last_ack_age_ms, echo_ms; /* last durable ack; smoothed delay of echoes */
    uint64_t queued_bytes, lacks;      /* messages that it lacks, as far as known */
};
struct replica_status {
    bool open, filled, solo;
    uint64_t live, committed, undecided, single; /* single: committed, no other copy known */
    uint64_t dots, accepts;                      /* waiting */
    struct replica_peer_status peers[REPLICA_PEERS];
};
void replica_status(const struct replica *r, struct replica_status *out, uint64_t now);
/* How many other nodes are known to have a committed copy. E_NOTFOUND: not live here. */
MUST_CHECK enum err replica_copies_of(const struct replica *r, struct mid id, unsigned *others);
void replica_check(const struct replica *r); /* ASSERTs its invariants; slow: for tests */
