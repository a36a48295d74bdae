/*
 * control_core: the control plane of one node without threads and sockets: owns the control
 * log, the control state, the consensus and the cluster clock. node/control_thread runs it
 * beside ZeroMQ, the simulator runs three in one process.
 *
 *   propose: here it leads:   log (one fsync a batch) -> decided -> state -> answer
 *            another leads:   FORWARD -> it says where in the log -> applied *here* -> answer
 *            nobody leads:    waits, CORE_LEADERLESS_MS
 *
 * A proposal is answered when this node has applied it: reads from then on see it. A FORWARD is
 * repeated every second under the same number, and the leader knows what it has taken.
 * A member that is behind the leader's log gets the control state, in pieces. One that was away
 * while others were replaced, or changed their keys, hears of it from any member it still
 * knows.
 *
 * The members of the log are made to be those of the state (MEMBER_ADD and so on): the leader
 * changes them one at a time, a new one is fed first.
 *
 * Threads:    one owner; ops are called from within the functions below and must not call back.
 * Durability: as spool/ctllog.h and spool/control.h say; each function returns after its
 * fsyncs. Failure:    E_IO or E_CORRUPT calls ops.fence once; what is in flight is answered
 * E_IO, and so is everything proposed later. A full disk or map: E_FULL, and tried again.
 * Limits:     LIMIT_CONTROL_REQUESTS proposals waiting or in flight, LIMIT_CONTROL_FOREIGN of
 *             other members not yet in the log, LIMIT_BAD_FRAMES a minute from one member.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "proto/command.h"
#include "replication/clusterclock.h"
#include "replication/consensus.h"
#include "spool/control.h"

#define CORE_LEADERLESS_MS 10000
#define CORE_PEERS         8
#define CORE_LONELY_MS                                                                         \
    3000                  /* without a leader: all who are known are greeted, again and again */
#define CORE_SOLO_MS 5000 /* two elections, and a link that is made anew */

/* A setting that control_core_solo() makes: as long as this node has no other member, one copy
 * is enough. Whoever looks after copies takes it back when there is one again. */
#define CONTROL_SOLO_SETTING "cluster.solo"

struct control_core;

/* What changed since: bits. */
enum control_changed {
    CONTROL_CHANGED_DOMAINS = 1, /* domain.changed says which: above the index seen last  */
    CONTROL_CHANGED_PLANS = 2,
    CONTROL_CHANGED_SETTINGS = 4,
    CONTROL_CHANGED_OPERATIONS = 8, /* new OPERATE: walk control_operation_next() from the
                                       last index seen; act; propose OPERATE_DONE            */
    CONTROL_CHANGED_SLOTS = 16,     /* slots, placements, sessions                           */
    CONTROL_CHANGED_MEMBERS = 32,   /* keys, addresses, who is one                           */
    CONTROL_CHANGED_LEAD = 64,      /* who leads the log                                     */
    CONTROL_CHANGED_LEASE = 128,    /* the own session, or slots that are to be given away   */
    CONTROL_CHANGED_ACCESS = 256,   /* block and allow lists                                 */
    CONTROL_CHANGED_ALL = 511
};

/* What became of a proposal. */
struct control_outcome {
    uint64_t index; /* of the entry; 0: it is not in the log, or that is not known */
    enum err err;   /* OK; a refusal of the state machine (struct command_result); E_FULL: a
                       limit, the disk or the map: not in the log when index is 0; E_NOTOWNER:
                       nobody leads, not in the log; E_TIMEOUT: outcome unknown, ask the state;
                       E_IO: failed or stopping, outcome unknown */
    const char *refused; /* the state machine's reason, static, or NULL */
};

struct control_core_ops {
    void *ctx;
    /* Best effort, never blocks; `bytes` is borrowed. */
    void (*send)(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes);
    /* Exactly once for each OK of control_core_propose(). */
    void (*answer)(void *ctx, uint64_t req_id, const struct control_outcome *o);
    void (*changed)(void *ctx, unsigned bits);
    void (*fence)(void *ctx, enum err why);
    /* The member sends what no node of ours would, again and again. NULL: nothing is done. */
    void (*cut)(void *ctx, uint16_t site);
    /* CLOCK_BOOTTIME in ms, now: leases count from when an entry was applied, not from when the
     * turn began. NULL: the `now` of the turn. */
    uint64_t (*now)(void *ctx);
    /* What became of control_core_solo(). OK; E_CONFLICT: a majority of the voters is there, or
     * it is under way; E_EXISTS: it is the only voter; E_NOTFOUND: it is no member; E_FULL: no
     * room; E_IO: failed or stopping. why: for people, static; NULL when OK. */
    void (*solo)(void *ctx, enum err e, const char *why);
};

struct control_core_options {
    const char *dir;          /* holds log/ and state/ */
    uint64_t log_map_bytes;   /* 0: 1 GiB */
    uint64_t state_map_bytes; /* 0: 4 GiB */
    uint16_t site;            /* must be that of the store: else E_CONFLICT */
    bool create;              /* makes missing stores, of a cluster of this one node */
    bool near_sites;          /* round trips under 50 ms: shorter timers */
    uint32_t session_ms;      /* 0: 10,000; near sites 6,000 */
    uint32_t log_most;        /* entries until the log is shortened to half of that; 0: the
                                 limits */
    uint64_t seed;            /* chance; another one in each process */
    uint64_t boot_now_ms;     /* CLOCK_BOOTTIME */
    struct control_core_ops ops;
};

/* Opens or makes the stores, applies what is decided. *out is NULL on error: E_NOTFOUND (no
 * store, create not set), E_CONFLICT, E_CORRUPT, E_IO, E_FULL. The failure has been logged. */
MUST_CHECK enum err control_core_open(struct control_core **out,
                                      const struct control_core_options *o);
/* What still waits is answered E_IO. */
void control_core_close(struct control_core **c);

/* The stores of a member, made where there are none; for the first one (`members`: STR_NONE of
 * `first` is NULL) and for one that joins. E_EXISTS: there are some. */
struct control_core_make {
    const char *dir;
    struct store_id id;
    const struct command *first; /* MEMBER_ADD of this node: the first member of a cluster.
                                    NULL: it joins one, and gets everything from there */
};
MUST_CHECK enum err control_core_make(const struct control_core_make *m);

/* --- Inputs. now: boot ms, never goes back --- */

/* A message of an authenticated member. What it proposes goes with the next flush or tick; that
 * is due at once. */
void control_core_receive(struct control_core *c, uint16_t site, uint64_t incarnation,
                          struct str bytes, uint64_t now);

/* `bytes` (of command_encode()) must live until the answer. E_FULL: too much waits. What was
 * proposed in one turn goes into one batch at control_core_flush(). */
MUST_CHECK enum err control_core_propose(struct control_core *c, uint64_t req_id,
                                         struct str bytes, uint64_t now);
void control_core_flush(struct control_core *c, uint64_t now);

/* Time passes; due at control_core_deadline(). */
void control_core_tick(struct control_core *c, uint64_t now);
uint64_t control_core_deadline(const struct control_core *c);

/* Hands leadership to a member (incarnation; 0: any). Nothing happens when it does not lead or
 * has nobody to hand it to. */
void control_core_transfer(struct control_core *c, uint64_t to, uint64_t now);

/* All other voters but a minority are lost for good, by an operator's word: this node becomes
 * the only voter and the only member. It listens for CORE_SOLO_MS first and refuses when a
 * majority is there; then, in one write behind its log, under a term of its own: members of the
 * log, this node alone; MEMBER_REMOVE of all others; CONTROL_SOLO_SETTING. A crash leaves all
 * of it or nothing. ops.solo tells how it ended, once; what was proposed meanwhile is answered
 * E_TIMEOUT.
 * Price: what the others decided and this node had not got is gone. When a majority of them
 * comes back after all, they are another cluster with the same id: their keys are shut out
 * here, and they must be wiped and join anew. */
void control_core_solo(struct control_core *c, uint64_t now);

/* Who may be spoken to although the state here does not name it: it is greeted when this node
 * hears of no leader. */
void control_core_meet(struct control_core *c, uint16_t site, uint64_t incarnation);

/* Answers all that waits: what is not decided E_IO. Nothing is proposed or sent any more. */
void control_core_stop(struct control_core *c, uint64_t now);

/* --- Leases (replication/lease.h): in a cluster, once the state names members. A node alone
 * opens its session itself and holds everything --- */

bool control_core_has_members(const struct control_core *c);
uint64_t control_core_session(const struct control_core *c); /* epoch of the live one; 0 */
uint64_t
control_core_valid_until(const struct control_core *c); /* boot ms; 0: it does not count */
bool control_core_is_leaving(const struct control_core *c, uint32_t slot);
/* No dot of that epoch is open, and none will be. Of effect at control_core_flush(). */
void control_core_quiet(struct control_core *c, uint32_t slot, uint64_t epoch, uint64_t now);
void control_core_drain(struct control_core *c, bool on, uint64_t now);
/* The node is to stop: gives everything away; then all is quiet; then its session is over. */
void control_core_leave(struct control_core *c, uint64_t now);
void control_core_quiet_all(struct control_core *c, uint64_t now);
bool control_core_is_over(const struct control_core *c);

/* --- What it knows --- */

struct control *control_core_state(struct control_core *c); /* lives until close */
const struct store_id *control_core_id(const struct control_core *c);
const struct clusterclock *control_core_clock(const struct control_core *c);
bool control_core_leads(const struct control_core *c);
/* Durable: the term it is in, and whom it gave its vote there (incarnation; 0: nobody). */
uint64_t control_core_vote(const struct control_core *c, uint64_t *term);
/* It is the only voter: nobody is needed to decide. */
bool control_core_is_lone(const struct control_core *c);
/* Index of the first entry of the own term, while it leads; 0: it does not. */
uint64_t control_core_term_start(const struct control_core *c);

/* The members as one of them has told this node, which is behind the log: the leader may be one
 * that the state here does not name yet. Worth more than the state's as long as `index` is
 * above what is applied; 0: nothing was told. A change is CONTROL_CHANGED_MEMBERS. */
struct control_core_news {
    uint64_t index;
    uint32_t count;
    struct {
        uint16_t site;
        uint64_t incarnation;
        uint8_t key[MEMBER_KEY_BYTES], old_key[MEMBER_KEY_BYTES];
        bool has_old_key;
        char address[LIMIT_ADDRESS_BYTES + 1]; /* of the control plane */
    } peers[LIMIT_MEMBER_RECORDS];
};
const struct control_core_news *control_core_news(const struct control_core *c);

struct control_core_peer {
    uint16_t site;
    uint64_t incarnation;
    enum cs_role role;
    uint64_t match;      /* while this node leads: what it has of the log; 0: not known */
    uint64_t contact_ms; /* boot time of the last frame from it; 0: none yet */
};

struct control_core_status {
    uint64_t leader; /* incarnation, 0: not known */
    uint16_t leader_site;
    uint64_t term, commit, applied, last, first;
    bool changing; /* the members of the log are being changed */
    uint32_t member_count;
    struct control_core_peer members[CS_MEMBERS];
    uint64_t bad_frames;
};
void control_core_status(const struct control_core *c, struct control_core_status *out);
