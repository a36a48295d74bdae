/*
 * consensus: who puts what into the control log, and when an entry may be applied. Here for a
 * log with one member: this node leads, and what is on its own disk is decided.
 *
 * Pure: no disk, no clock, no heap. The shell (node/control_thread) steps it with events and
 * carries out the update in this order:
 *
 *   store_term    write term and vote, synced
 *   entries       append them, synced; then step PERSISTED (or STORE_FULL)
 *   apply         apply these indices, in order; then step APPLIED
 *   answers       tell who proposed
 *   clock         encode COMMAND_CLOCK and step PROPOSE with CS_CLOCK_REQ
 *
 *   proposal:   QUEUED in entries -> PERSISTED -> in apply -> APPLIED -> answered CS_APPLIED
 *                 \-> STORE_FULL: answered CS_FULL, nothing of it in the log
 *                 \-> STOP: answered CS_UNKNOWN: it may or may not be in the log
 *
 * A Raft engine comes under the same interface: RECEIVE events and `messages` in the update
 * come in addition, entries may then replace a suffix (entries[0].index at most last + 1),
 * indices are decided by a majority, and CS_NOT_LEADER carries a hint. The shell's duties stay.
 *
 * Limits: LIMIT_CONTROL_BATCH entries in one PROPOSE and in one apply; LIMIT_PROPOSALS in
 *         flight, more are answered CS_FULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

#define CS_CLOCK_REQ UINT64_MAX /* request id of clock entries; never answered */

struct cs_config {
    uint16_t site;
    uint64_t last_index;  /* of the log */
    uint64_t term;        /* as stored; 0: none yet */
    uint64_t applied;     /* of the state machine, at most last_index */
    uint64_t boot_now_ms; /* time is counted from here: downtime never is */
};

struct cs_entry {
    uint64_t index, term;
    struct str bytes; /* borrowed from the PROPOSE event */
};

struct cs_proposal {
    uint64_t req_id;
    struct str bytes; /* 1 .. LIMIT_COMMAND_BYTES */
};

enum cs_event_type {
    CS_EV_START,      /* once, first: a new term; replays what is decided and not applied     */
    CS_EV_PROPOSE,    /* proposals, count                                                     */
    CS_EV_PERSISTED,  /* index: the log is on disk up to here                                 */
    CS_EV_STORE_FULL, /* index: the append from here on found no room and wrote nothing       */
    CS_EV_APPLIED,    /* index: the state machine has applied up to here                      */
    CS_EV_TICK,       /* time passes; due at cs_deadline_ms()                                 */
    CS_EV_STOP        /* nothing more follows but PERSISTED and APPLIED                       */
};

struct cs_event {
    enum cs_event_type type;
    uint64_t boot_now_ms; /* every event; never goes back */
    uint64_t index;
    const struct cs_proposal *proposals;
    size_t count; /* 1 .. LIMIT_CONTROL_BATCH */
};

enum cs_outcome {
    CS_APPLIED,    /* index: applied; the shell has its result                     */
    CS_NOT_LEADER, /* leader: the site to ask, 0: not known                        */
    CS_FULL,       /* not in the log; later, perhaps                               */
    CS_UNKNOWN     /* may be in the log or not: ask the state, do not just repeat  */
};

struct cs_answer {
    uint64_t req_id;
    enum cs_outcome outcome;
    uint64_t index;
    uint16_t leader;
};

/* What is to be done after one step. Zero counts and zero indices: nothing. */
struct cs_update {
    bool store_term;
    uint64_t term;
    uint16_t vote;
    size_t entry_count; /* follow each other */
    uint64_t apply_from, apply_to;
    size_t answer_count;
    uint32_t clock_elapsed_ms;
    struct cs_entry entries[LIMIT_CONTROL_BATCH];
    struct cs_answer answers[LIMIT_PROPOSALS];
};

/* Plain data; embed it, do not look inside. */
struct consensus {
    uint16_t site;
    bool started, stopped;
    uint64_t term;
    uint64_t last;      /* last index given out                  */
    uint64_t persisted; /* on disk, which here means decided     */
    uint64_t applying;  /* handed out for applying, up to here   */
    uint64_t applied;
    uint64_t clock_mark_ms;   /* elapsed time is counted from here         */
    uint64_t clock_due_ms;    /* next clock entry                          */
    uint64_t clock_index;     /* of the clock entry in flight, 0: none     */
    bool clock_proposed;      /* asked for, not yet proposed by the shell  */
    uint64_t now_ms;          /* of the last event                         */
    uint64_t req_index_first; /* index of ring[req_head]                   */
    uint32_t req_head, req_count;
    uint64_t ring[LIMIT_PROPOSALS]; /* request ids of req_index_first..last */
};

void cs_init(struct consensus *c, const struct cs_config *cfg);

/* *out is overwritten. Steps are not nested: carry out an update before the next step. */
void cs_step(struct consensus *c, const struct cs_event *ev, struct cs_update *out);

/* When the next TICK is due, boot ms. */
uint64_t cs_deadline_ms(const struct consensus *c);

bool cs_leads(const struct consensus *c);
uint64_t cs_applied(const struct consensus *c);
