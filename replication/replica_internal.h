/*
 * replica_internal: the structures that the files of the data plane share. replica.h is the
 * manual; docs/wire.md has the rules. Memory: pools (base/pool) with the ceilings below, blobs.
 *
 *   replica.c         start and end, members, the clock, what a turn ends with
 *   replica_link.c    links: HELLO, streams out and in, acks, notes, bad frames
 *   replica_op.c      records that came in, and what the store answered
 *   replica_index.c   live messages and sessions: states, who has what, who is owed what
 *   replica_accept.c  mail of clients until it is decided; commit knowledge of own sessions
 *   replica_dot.c     questions before the final dot
 *   replica_have.c    summaries and deltas of what is held; clear sessions; rolled back or not
 *   replica_feed.c    what a peer lacks; repair of damaged copies; FILLED
 *   replica_settle.c  outcomes; undecided copies of sealed sessions
 *   replica_view.c    what the console sees; the check of all invariants
 *
 * A link:
 *   DOWN --HELLO that names our nonce--> UP --peer's new nonce, stuck, overflow--> DOWN
 *   (leaving UP draws a new nonce; both streams start at 1 with each UP)
 *   UP: aborts of own sessions, commit knowledge, summary, HAVE_END; then deltas.
 *   The peer's HAVE_END: what it lacks is owed to it; all that acknowledged: FILLED.
 *
 * A message from a client:
 *   WAIT --own commit and a peer's ack: ACCEPTED--> FLUSH --UPTO or COMMIT is out--> gone
 *   WAIT --no progress; both refuse--> ABORT_OWN --own ABORT durable--> ABORT
 *   ABORT --a peer's durable ABORT: REFUSED; 5 s: CLOSE--> gone
 *   WAIT, ABORT_OWN --own session sealed: CLOSE--> DEAD --the store has answered--> gone
 * The own ABORT is durable before the peers hear of it: so an undecided copy that the origin
 * finds after a restart, or behind its own seal, was never aborted anywhere, and is committed.
 *
 * A dot:
 *   ASKING --own mark and a peer's yes: CONSENT--> OPEN --outcome--> gone
 *   OPEN --closed: not sent, or refused--> CLOSING
 *   ASKING --refused, 5 s: NO_CONSENT--> CLOSING --marks taken away--> gone
 *
 * What a peer is owed, per live message: nothing, a mark, or the copy (single copies first).
 */
#pragma once

#include "base/arena.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/prng.h"
#include "replication/gate.h"
#include "replication/otree.h"
#include "replication/replica.h"
#include "replication/rset.h"
#include "replication/stream.h"

#define NEVER     UINT64_MAX
#define EPOCH_END (UINT64_C(1) << 48)
#define SIDES     (REPLICA_PEERS + 1)
#define OLD_LINKS 8
/* Body numbers that the machine draws itself; the shell's are below. */
#define OWN_BODY (UINT64_C(1) << 63)

enum owed_list { OWED_NONE, OWED_MARKS, OWED_SINGLE, OWED_COPIES, OWED_LISTS };

/* One message that is undecided, aborted or committed here. */
struct entry {
    struct otree_node n; /* key: its id */
    uint64_t since_ms;   /* owed since; 0: long ago */
    struct {
        uint32_t next, prev;
    } link[REPLICA_PEERS]; /* in the peer's list */
    uint8_t state;         /* enum copy_state */
    uint8_t has[REPLICA_PEERS];
    uint8_t list[REPLICA_PEERS]; /* enum owed_list */
    /* a bit per peer: */
    uint8_t seen;   /* named by the summary that is coming in */
    uint8_t flying; /* something of it is on its way there */
    uint8_t fill;   /* it lacked this at its summary */
    uint8_t news;   /* fates that it may not know */
    uint8_t again;  /* it lost the body's pieces: send all */
    uint8_t tell;   /* it lost its memory: the mark that stands here, if any, is told */
    uint8_t ended;  /* it says that this is over, and cannot tell how */
    bool is_single;
    bool is_damaged;
};
static_assert(sizeof(struct entry) <= 64, "four million of them");

struct owed {
    uint32_t first, last, count;
};

struct session {
    struct otree_node n; /* key: site, epoch, 0 */
    uint32_t undecided, aborted, committed;
    bool sealed;
    uint64_t upto; /* commit knowledge: own: durable here; a peer's: as it said */
    uint64_t told; /* own: pushed to the store and the peers */
    /* asking what was aborted in it */
    bool asked;
    uint8_t asked_peer;
    uint64_t ask_ms; /* not before */
};

enum accept_phase { ACC_WAIT, ACC_ABORT_OWN, ACC_ABORT, ACC_FLUSH, ACC_DEAD };
enum put_state { PUT_IDLE, PUT_SENT, PUT_AGAIN, PUT_ACKED, PUT_REFUSED };

struct accept {
    struct otree_node n; /* key: id */
    enum accept_phase phase;
    struct blob *envelope, *body;
    uint64_t body_number;
    uint64_t start_ms, abort_ms;
    uint32_t copies; /* the limit of `need` reached by these */
    uint8_t put[REPLICA_PEERS];
    bool has_put, was_pushed, is_stored, was_stored, is_told, op_pending;
};

enum dot_phase { DOT_ASKING, DOT_OPEN, DOT_CLOSING };
enum ask_state { ASK_IDLE, ASK_SENT, ASK_YES, ASK_NO, ASK_LATER };

struct dot_side {
    uint8_t state; /* enum ask_state */
    uint64_t again_ms;
    uint64_t over; /* slot epoch of a mark that ours may take the place of; 0: none */
    struct copy_answer answer;
};

struct dot {
    struct otree_node n; /* key: id */
    enum dot_phase phase;
    struct blob *domain;
    uint64_t slot_epoch, tag, start_ms;
    uint32_t serial;             /* of this asking; older answers do not count */
    struct dot_side side[SIDES]; /* peers, and last the own store */
};
#define OWN_SIDE REPLICA_PEERS

/* Another holder's open dot that stands in our way. */
struct foreign {
    struct otree_node n; /* key: id */
    uint16_t site;
    uint64_t session, slot_epoch, since_ms, used_ms;
};

struct want {
    struct otree_node n; /* key: id */
    uint64_t ask_ms;
    uint8_t ended; /* a bit per peer, as in struct entry */
};

/* A summary of what is held, on its way to a peer. */
enum have_pass { HAVE_SETTLED, HAVE_COMMITTED, HAVE_UNDECIDED, HAVE_ABORTED, HAVE_DONE };

/* A large body that is being fed. */
struct feed_body {
    bool is_open;
    struct mid id;
    uint64_t number, offset, total;
};

struct peer {
    uint16_t site;
    uint8_t index;
    uint64_t incarnation; /* 0: no member */
    /* link */
    bool up;
    uint32_t serial; /* of the link: answers to records of older ones do not count */
    uint64_t nonce, peer_nonce, old[OLD_LINKS];
    uint32_t old_count;
    uint64_t hello_ms; /* next one */
    struct stream_out *out[FRAME_STREAMS];
    struct stream_in *in[FRAME_STREAMS];
    bool overflow; /* a queue is full: the link starts anew with the end of this turn */
    uint32_t bad;
    uint64_t bad_ms, cut_ms;
    /* what it says of itself */
    uint64_t session; /* of its process */
    bool filled, open;
    uint64_t note_ms; /* when it last said so; 0: not on this link */
    uint64_t next_note_ms, live, single;
    /* acks */
    uint64_t echo_asked_ms, last_ack_ms, mark_ack_ms, echo_ms, progress_ms;
    bool echo_out;
    uint64_t body_bytes;
    /* summaries */
    enum have_pass pass;
    struct mid cursor;
    bool have_acked; /* it has all of ours */
    bool got_have;   /* we have all of its */
    bool filled_sent;
    uint64_t filled_ms; /* not again before */
    uint64_t fill_left;
    uint32_t fill_serial;        /* dots up to this one may be unknown to it */
    struct rset ahead[2];        /* what it has and we have not: undecided, committed */
    struct rset stale;           /* live there, settled here */
    struct rset stale_late;      /* the same, but its own word may be on its way */
    uint64_t stale_ms;           /* when the late ones are due */
    struct rset unheard;         /* settled ids that its store could not take ... */
    uint64_t unheard_ms;         /* ... and then they are told again */
    struct rset aborts;          /* ours that it has not acknowledged: it hears commit
                                    knowledge below them only, or it would commit them */
    bool upto_due;               /* one of them is acknowledged: it may hear more */
    uint64_t clear[LIMIT_SITES]; /* its word, by the slots of replica.clear */
    bool filled_us;
    /* owed */
    struct owed owed[OWED_LISTS];
    struct feed_body body;
};

/* All sessions of a site below these epochs are sealed, resolved and settled: */
struct site_clear {
    uint16_t site;
    uint64_t durable; /* at all three, and stored here */
    uint64_t told;    /* here: our word to the peers */
    bool is_pending;
};

struct replica {
    struct arena home;
    struct replica_options o;
    struct replica_ops ops;
    uint64_t now;
    struct prng prng;
    bool is_started, filled, stopped;
    bool may_be_solo; /* an operator's word */
    unsigned corks;
    uint64_t session; /* ids are drawn from it now */
    struct peer peers[REPLICA_PEERS];
    struct gate gate;
    bool told_open;
    struct otree entries, sessions, accepts, dots, foreigns, wants;
    struct rset settled, decided;
    struct rset damaged;   /* known at the start, and not readable */
    struct rset untold;    /* outcomes of ours that no peer has acknowledged */
    struct rset ending;    /* over, and no member can tell how: not yet at the store */
    struct pool store_ops; /* struct copy_op: on their way */
    uint64_t again_ms;     /* own ops that found no room go to the store again; NEVER: none */
    struct mid changed[LIMIT_REPLICA_CHANGES]; /* ids for the next delta */
    uint32_t changed_count;
    uint64_t changed_ms;
    uint64_t live, committed, undecided, aborted, single;
    /* own commit knowledge */
    bool flush_due, upto_pending;
    uint64_t accept_ms, dot_ms; /* when to look at them; at the latest */
    uint32_t dot_serial;
    uint64_t seal_ms; /* next look at undecided copies of sealed sessions */
    uint64_t body_number;
    uint64_t clear_ms;
    struct site_clear clear[LIMIT_SITES];
    uint32_t clear_count;
    struct frame_reach reach[LIMIT_FRAME_REACH];
    uint32_t reach_count;
    struct copy_range ranges[LIMIT_FRAME_RANGES];
    uint8_t frame[LIMIT_FRAME_BYTES];
    struct arena arena; /* of the frame that is being taken */
};

/* The bits per peer of an entry. */
static inline bool bit_get(uint8_t bits, const struct peer *p)
{
    return (bits >> p->index & 1) != 0;
}

static inline void bit_set(uint8_t *bits, const struct peer *p, bool on)
{
    uint8_t bit = (uint8_t)(1U << p->index);

    *bits = (uint8_t)(on ? *bits | bit : *bits & ~bit);
}

/* Its store could not: nothing is wrong with what it was told. */
static inline bool could_not(enum copy_code code)
{
    return code == COPY_FAILED || code == COPY_NO_ROOM || code == COPY_DAMAGED;
}

/* --- replica.c --- */
bool replica_is_solo(const struct replica *r); /* one copy is enough */
void replica_tell(struct replica *r, const struct replica_news *n);
void replica_stop(struct replica *r, enum copy_code why, const char *text);
void replica_turn(struct replica *r, uint64_t now); /* the end of every call */
bool replica_is_sealed(struct replica *r, uint16_t site, uint64_t epoch);
struct peer *replica_peer(struct replica *r, uint16_t site); /* NULL: no member */
struct peer *replica_other(struct replica *r, const struct peer *p);
struct site_clear *replica_clear_of(struct replica *r, uint16_t site); /* NULL: too many */
bool replica_is_settled(struct replica *r, struct mid id);
void replica_settled_add(struct replica *r, struct rset_span span);

/* --- replica_link.c --- */
bool link_init(struct replica *r, struct peer *p); /* false: out of memory */
void link_fini(struct replica *r, struct peer *p);
/* Another incarnation, another site, or no member any more. */
void link_member(struct replica *r, struct peer *p, uint16_t site, uint64_t incarnation);
void link_down(struct replica *r, struct peer *p);
void link_tick(struct replica *r, struct peer *p);
void link_pump(struct replica *r, struct peer *p);
uint64_t link_deadline(const struct replica *r, const struct peer *p);
/* To the peer, if its link is up. False: it is not, or its queue is full (then it starts anew).
 */
bool link_push(struct replica *r, struct peer *p, const struct stream_item *i, bool feed);
bool link_push_mark(struct replica *r, struct peer *p, const struct copy_record *record);
void link_push_marks(struct replica *r, const struct copy_record *record); /* to both */
void link_note_soon(struct replica *r);

/* --- replica_op.c --- */
void op_init(struct replica *r);
void op_fini(struct replica *r);
bool op_room(const struct replica *r, uint32_t records);
/* An op of our own. `keep` is held. */
void op_own(struct replica *r, const struct copy_record *record, struct blob *keep,
            uint64_t cookie);
void op_take(struct replica *r, struct peer *p, const struct frame *f, uint32_t from,
             uint32_t count);
/* Our own ops that found no room. */
void op_tick(struct replica *r);
/* The peer has acknowledged one of our records. */
void op_acked(struct replica *r, struct peer *p, const struct stream_item *i,
              const struct copy_answer *a, uint64_t took_ms);
void op_lost(struct replica *r, struct peer *p, const struct stream_item *i);

/* --- replica_index.c --- */
uint32_t entry_find(const struct replica *r, struct mid id); /* 0: not here */
struct entry *entry_at(const struct replica *r, uint32_t h);
struct session *session_find(const struct replica *r, uint16_t site, uint64_t epoch);
struct session *session_get(struct replica *r, uint16_t site, uint64_t epoch);
/* What the store says of an id now. `from`: the peer whose word it was, or NULL. */
void entry_state(struct replica *r, struct mid id, enum copy_state state, struct peer *from);
/* What a peer has. Never downwards; entry_forget() is. */
void entry_has(struct replica *r, uint32_t h, struct peer *p, enum copy_state state);
void entry_touch(struct replica *r, uint32_t h); /* what is owed, anew */
void entry_later(struct replica *r, uint32_t h); /* owed from now on */
void entry_now(struct replica *r, uint32_t h);   /* owed before all others */
void entry_drop(struct replica *r, uint32_t h);
/* Nothing but the mark of a dot is owed to the peer, if there is one. */
bool entry_owes_dot(struct replica *r, const struct entry *e, const struct peer *p);
/* The undecided entries of a session from..to become committed. */
void entry_commit_range(struct replica *r, uint16_t site, uint64_t epoch, uint64_t from,
                        uint64_t to, struct peer *by);
void entry_changed(struct replica *r, struct mid id); /* for the next delta */
/* The first entry at or above an id, but none above `to` of the same session. 0: none. */
uint32_t entry_within(const struct replica *r, struct rset_span span);
/* Nothing is known any more of what that peer has. */
void entry_forget_peer(struct replica *r, struct peer *p);
void owed_clear(struct replica *r, struct peer *p);

/* --- replica_accept.c --- */
void accept_tick(struct replica *r);
void accept_link_up(struct replica *r, struct peer *p);
void accept_forget_peer(struct replica *r, const struct peer *p);
void accept_put_acked(struct replica *r, struct peer *p, struct mid id,
                      const struct copy_answer *a);
void accept_put_lost(struct replica *r, struct peer *p, struct mid id);
void accept_abort_stored(struct replica *r, struct mid id, const struct copy_op *op);
void accept_abort_acked(struct replica *r, struct peer *p, struct mid id,
                        const struct copy_answer *a);
void accept_upto_stored(struct replica *r, const struct copy_op *op);
void accept_flush(struct replica *r);
void accept_push_abort(struct replica *r, struct peer *p, struct mid id);
/* Our commit knowledge of a session of ours, as far as this peer may hear it. */
void accept_push_upto(struct replica *r, struct peer *p, const struct session *s);
/* True: the origin waits for this peer's copy, all of which must be sent again. */
bool accept_wants(const struct replica *r, const struct peer *p, struct mid id);
bool accept_is_open(const struct replica *r, struct mid id); /* it waits for an answer */
void accept_fini(struct replica *r);

/* --- replica_dot.c --- */
void dot_tick(struct replica *r);
void dot_link_up(struct replica *r, struct peer *p);
void dot_link_down(struct replica *r, struct peer *p);
void dot_answered(struct replica *r, uint32_t side, const struct copy_record *record,
                  uint64_t cookie, const struct copy_answer *a);
void dot_closed_acked(struct replica *r, uint32_t side, const struct copy_record *record,
                      uint64_t cookie);
/* True: a dot of ours that was asked for up to then may still be under way. */
bool dot_is_open(const struct replica *r, uint32_t serial);
void dot_unfinished(struct replica *r, struct mid id);
void dot_done(struct replica *r, struct mid id); /* its outcome is here */
void dot_gone(struct replica *r, struct mid id, enum copy_code why, uint64_t retry_ms);
void dot_fini(struct replica *r);

/* --- replica_have.c --- */
void have_link_up(struct replica *r, struct peer *p);
void have_step(struct replica *r, struct peer *p); /* more of the summary, if there is room */
/* The peer's answer to one of our HAVEs. */
void have_acked(struct replica *r, struct peer *p, const struct copy_record *record,
                enum copy_code code);
uint64_t have_deadline(const struct peer *p);
void have_flush(struct replica *r); /* the delta, when it is due */
void have_flush_now(struct replica *r);
/* True: its settled ranges hold something that the store should add. */
bool have_take(struct replica *r, struct peer *p, const struct copy_record *record);
void have_stored(struct replica *r, struct peer *p, const struct copy_op *op);
void have_clear_of_peer(struct replica *r, struct peer *p, const struct copy_record *record);
void have_end(struct replica *r, struct peer *p);
void have_upto_of_ours(struct replica *r, const struct copy_record *record);
void have_clear_tick(struct replica *r);
void have_clear_stored(struct replica *r, const struct copy_record *record, bool ok);

/* --- replica_feed.c --- */
void feed_step(struct replica *r, struct peer *p);
void feed_link_down(struct replica *r, struct peer *p);
void feed_put_acked(struct replica *r, struct peer *p, const struct copy_record *record,
                    const struct copy_answer *a);
void feed_mark_acked(struct replica *r, struct peer *p, const struct copy_record *record,
                     const struct copy_answer *a);
/* Fates that the peer does not know, before anything else. */
void feed_news_now(struct replica *r, struct peer *p, uint32_t h);
void feed_wanted(struct replica *r, struct peer *p, struct mid id);
void feed_damaged(struct replica *r, struct mid id);
void feed_repaired(struct replica *r, struct mid id);
void feed_tick(struct replica *r);
void feed_filled(struct replica *r, struct peer *p); /* its FILLED is stored */
void feed_filled_own(struct replica *r, bool ok);
uint64_t feed_deadline(const struct replica *r, const struct peer *p);

/* --- replica_settle.c --- */
/* A peer has that outcome durable. */
void settle_told(struct replica *r, struct mid id);
void settle_link_up(struct replica *r, struct peer *p);
/* Settled here, live there: its outcome is owed, now or when its own word had time to come. */
void settle_owe(struct replica *r, struct peer *p, struct rset_span span, bool now);
/* It is over, says p, and cannot tell how. */
void settle_ended(struct replica *r, struct peer *p, struct mid id);
/* Something is known of a peer that may have been waited for: ends it if nobody can tell more.
 */
void settle_judge(struct replica *r, uint32_t entry);
/* Of what is wanted; of entries by the caller. */
void settle_forget_peer(struct replica *r, const struct peer *p);
void settle_ended_stored(struct replica *r, const struct copy_op *op);
uint64_t settle_ending_deadline(const struct replica *r);
void settle_hurry(struct replica *r, struct peer *p); /* the late ones are due now */
void settle_step(struct replica *r, struct peer *p);
uint64_t settle_deadline(const struct replica *r, const struct peer *p);
void settle_tick(struct replica *r);
void settle_commit_own(struct replica *r); /* undecided ones of our own past */
void settle_link_down(struct replica *r, struct peer *p);
void settle_answer_resolve(struct replica *r, struct peer *p, const struct copy_record *record);
void settle_resolve_acked(struct replica *r, struct peer *p, const struct copy_record *record,
                          const struct copy_answer *a);
void settle_resolved(struct replica *r, const struct copy_op *op, struct peer *by);
