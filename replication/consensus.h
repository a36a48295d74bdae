/*
 * consensus: who puts what into the control log, who leads, and when an entry may be applied.
 * An adapter around libraft's raft_step(): all that this cluster says about how the engine is
 * used stands here; no type of the engine leaves consensus.c.
 *
 * Pure: no disk, no socket, no clock; chance comes from `seed`. The engine and this adapter
 * have memory of their own (raft_malloc), bounded by the log's terms and member changes. The
 * shell (node/control_core, or the simulator) steps it with events and carries out each update
 * in this order, before the next step:
 *
 *   store_term    write term and vote, synced
 *   messages      send; may be lost. An APPEND with `count` and no entries: entries prev_index
 *                 + 1 .. prev_index + count from the log, or from `entries` below; in as many
 *                 frames as it likes, but a MEMBERS entry is always the first of its frame
 *   entries       append them, synced; they replace what the log held from there on. Then step
 *                 PERSISTED (or STORE_FULL). Writes may be under way while other events are
 *                 stepped; they are reported in the order they were asked for
 *   install       commit the snapshot whose arrival was stepped as RECEIVE: state first, then
 *                 the log is reset to it; then step SNAPSHOT_PERSISTED
 *   compact       store this snapshot record, drop the log up to compact_upto
 *   apply         apply these indices, in order (what is no COMMAND changes nothing); then step
 *                 APPLIED
 *   answers       tell who proposed
 *   clock         encode COMMAND_CLOCK and step PROPOSE with CS_CLOCK_REQ
 *   failed        the engine found what cannot be (log and peers contradict each other):
 * nothing above was asked for; the node must stop
 *
 *   proposal:   QUEUED in entries -> PERSISTED -> decided -> in apply -> APPLIED: CS_APPLIED
 *                 |-> not leader: CS_NOT_LEADER, nothing of it in the log
 *                 |-> STORE_FULL, one voter: CS_FULL, nothing of it in the log
 *                 \-> leadership lost, STOP: CS_UNKNOWN: it may or may not be in the log
 *
 * Members change one at a time, in an entry of their own, while all before it is decided; while
 * one is under way cs_takes_proposals() is false. A member begins as SPARE, is fed the log, and
 * becomes VOTER when it has it.
 *
 * A log with one voter decides what is on its own disk.
 *
 * Limits: LIMIT_CONTROL_BATCH entries in one PROPOSE, one received APPEND and one apply;
 *         LIMIT_PROPOSALS in flight, more are answered CS_FULL; CS_MEMBERS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "proto/raftwire.h"

#define CS_CLOCK_REQ         UINT64_MAX /* request id of clock entries; never answered */
#define CS_MEMBERS           8
#define CS_MESSAGES          64 /* in one update */
#define CS_WRITES            64 /* of entries, asked for and not yet reported */
#define CS_ELECTION_MS       1500
#define CS_HEARTBEAT_MS      150
#define CS_NEAR_ELECTION_MS  1000 /* sites that are near each other, under 50 ms */
#define CS_NEAR_HEARTBEAT_MS 100

enum cs_role { CS_STANDBY = 0, CS_VOTER = 1, CS_SPARE = 2 }; /* stored */

struct cs_member {
    uint64_t id; /* incarnation */
    uint16_t site;
    enum cs_role role;
};

struct cs_members {
    uint32_t count;
    struct cs_member list[CS_MEMBERS];
};

/* The bytes of a MEMBERS entry: the engine's own layout. NULL str: does not fit. */
struct str cs_members_encode(const struct cs_members *m, uint8_t buf[RAFTWIRE_MEMBERS_BYTES]);
/* False: not in the one form that encode makes. */
bool cs_members_decode(struct str bytes, struct cs_members *out);
/* NULL: not one of them. */
const struct cs_member *cs_member_find(const struct cs_members *m, uint64_t id);

struct cs_config {
    uint64_t id; /* incarnation, above 0 */
    uint16_t site;
    uint64_t seed;
    uint32_t election_ms, heartbeat_ms; /* 0: CS_ELECTION_MS, CS_HEARTBEAT_MS */
    uint32_t install_ms;                /* a snapshot is sent again after; 0: 30,000 */
    uint64_t applied;                   /* of the state machine */
    uint64_t boot_now_ms;               /* time is counted from here: downtime never is */
};

/* The log as it is on disk. Borrowed. */
struct cs_log {
    uint64_t term, vote;                  /* 0: none yet */
    struct raftwire_snapshot snapshot;    /* index 0: none; then the log begins at 1 */
    uint64_t first;                       /* at most snapshot.index + 1 */
    const struct raftwire_entry *entries; /* first ..; bytes of MEMBERS entries only */
    size_t count;
};

struct cs_proposal {
    uint64_t req_id;
    struct str bytes; /* 1 .. LIMIT_COMMAND_BYTES */
};

enum cs_event_type {
    CS_EV_START,      /* log; once, first                                                     */
    CS_EV_RECEIVE,    /* message; `peer` is who the transport says it is                      */
    CS_EV_PROPOSE,    /* proposals, count                                                     */
    CS_EV_PERSISTED,  /* index: of the last entry of the oldest write under way, done now     */
    CS_EV_STORE_FULL, /* log, as it is now: the oldest write under way, and all behind it,
                         found no room and wrote nothing                                      */
    CS_EV_SNAPSHOT_PERSISTED, /* index: what the state machine has applied now                */
    CS_EV_COMPACT,  /* index, and the term of that entry: applied; the log may be shortened,
                       `trailing` entries stay */
    CS_EV_APPLIED,  /* index: the state machine has applied up to here                      */
    CS_EV_TICK,     /* time passes; due at cs_deadline_ms()                                 */
    CS_EV_MEMBER,   /* change, member: wanted; does nothing when not leading or busy        */
    CS_EV_TRANSFER, /* member.id: hand leadership to it; 0: to whom the engine likes        */
    CS_EV_STOP      /* nothing more follows but PERSISTED and APPLIED                       */
};

enum cs_change { CS_ADD, CS_PROMOTE, CS_REMOVE };

struct cs_event {
    enum cs_event_type type;
    uint64_t boot_now_ms; /* every event; never goes back */
    uint64_t index, term;
    uint32_t trailing;
    const struct cs_log *log;
    const struct raftwire_message *message;
    const struct cs_proposal *proposals;
    size_t count; /* 1 .. LIMIT_CONTROL_BATCH */
    enum cs_change change;
    struct cs_member member;
};

enum cs_outcome {
    CS_APPLIED,    /* index: applied; the shell has its result                     */
    CS_NOT_LEADER, /* leader: the member to ask, 0: not known                      */
    CS_FULL,       /* not in the log; later, perhaps                               */
    CS_UNKNOWN     /* may be in the log or not: ask the state, do not just repeat  */
};

struct cs_answer {
    uint64_t req_id;
    enum cs_outcome outcome;
    uint64_t index;
    uint64_t leader;
};

struct cs_entry {
    uint64_t index, term;
    enum raftwire_entry_kind kind;
    uint64_t req_id;  /* of the proposal; 0: of none of ours */
    struct str bytes; /* live until the next step */
};

/* What is to be done after one step. Zero counts and zero indices: nothing. */
struct cs_update {
    const char *failed;  /* static text */
    const char *refused; /* RECEIVE: the message makes no sense; static text; nothing changed */
    bool store_term;
    uint64_t term, vote;
    size_t message_count;
    size_t entry_count;               /* follow each other */
    struct raftwire_snapshot install; /* index 0: none */
    struct raftwire_snapshot compact; /* index 0: none */
    uint64_t compact_upto;
    uint64_t apply_from, apply_to;
    size_t answer_count;
    uint32_t clock_elapsed_ms;
    bool led_changed; /* cs_leads() or cs_leader() is another than before this step */
    struct raftwire_message messages[CS_MESSAGES];
    struct cs_entry entries[LIMIT_CONTROL_BATCH];
    struct cs_answer answers[LIMIT_PROPOSALS + LIMIT_CONTROL_BATCH];
};

struct consensus;

/* The program must not run with another engine than the one it was made for: false, too old. */
bool cs_engine_fits(void);

/* NULL: out of memory. */
struct consensus *cs_new(const struct cs_config *cfg);
void cs_free(struct consensus **c);

/* *out is overwritten. Steps are not nested: carry out an update before the next step. What
 * `out` points to lives until the next step. */
void cs_step(struct consensus *c, const struct cs_event *ev, struct cs_update *out);

/* When the next TICK is due, boot ms. */
uint64_t cs_deadline_ms(const struct consensus *c);

bool cs_leads(const struct consensus *c);
/* It leads, and no change of members and no transfer is under way. */
bool cs_takes_proposals(const struct consensus *c);
uint64_t cs_leader(const struct consensus *c); /* its id; 0: not known */
uint64_t cs_term(const struct consensus *c);
/* While it leads: index of the first entry of its own term. What was decided before is applied
 * when that one is. With one voter: the last entry found at start. */
uint64_t cs_term_start(const struct consensus *c);
uint64_t cs_applied(const struct consensus *c);
uint64_t cs_commit(const struct consensus *c); /* decided, as far as known here */
uint64_t cs_last(const struct consensus *c);
/* Members as of the newest entry, decided or not. */
const struct cs_members *cs_members(const struct consensus *c);
/* While it leads: what the member is known to have; 0: not known. */
uint64_t cs_match(const struct consensus *c, uint64_t id);
/* A change of members is wanted or under way. */
bool cs_is_changing(const struct consensus *c);
/* Where the log can be shortened to by COMPACT; index 0: no snapshot yet. */
const struct raftwire_snapshot *cs_snapshot(const struct consensus *c);
