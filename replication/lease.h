/*
 * lease: who may deliver which domain, as one node sees it: keeps the own session alive, takes
 * over the slots of sessions that ended, gives slots away when asked. Pure; time is
 * CLOCK_BOOTTIME in ms. The lease clock is an optimisation: what fences is the question before
 * each dot (docs/wire.md).
 *
 *   holder: valid from its reading of the clock before it proposed the renewal, for D * 0.99 -
 *           250 ms, and only once it has seen that renewal applied
 *   taker:  only the leader; D * 1.01 after it applied the last renewal of a session, and a new
 *           leader counts anew from the first entry of its own term
 *
 * What it wants proposed it returns as commands (proto/command.h); apply is a compare-and-set,
 * so a proposal that comes late changes nothing.
 * Threads: one owner (the control thread). Limits: LIMIT_SITES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/command.h"

#define LEASE_SLOTS    256
#define LEASE_COMMANDS 8 /* in one answer */

struct lease_member {
    uint16_t site;
    uint64_t incarnation;
    uint64_t session;       /* epoch; 0: none yet */
    bool session_ended;     /* by take-over or by its own word */
    uint64_t renewal_index; /* log index of the last opening or renewal */
    uint32_t duration_ms;
    bool may_hold; /* filled, not draining */
};

/* The control state after an apply, as far as leases need it. Borrowed. */
struct lease_state {
    uint64_t applied;
    const struct lease_member *members;
    uint32_t member_count;
    const struct slot_state {
        uint16_t site;
        uint64_t epoch;
        uint16_t wanted_by;
    } * slots; /* LEASE_SLOTS */
};

struct lease; /* lease_new(), lease_free() */

struct lease_options {
    uint16_t site;
    uint64_t incarnation;
    uint32_t duration_ms; /* D: 10,000, near sites 6,000 */
    uint32_t renew_ms;    /* 3,000, near sites 2,000     */
};

/* NULL: out of memory. */
struct lease *lease_new(const struct lease_options *o);
void lease_free(struct lease **l);

/* After each apply and at each tick. `leads` with `term_start_index`: index of the first entry
 * of the own term; it counts from when that is applied. *out: commands to propose now. */
struct lease_want {
    struct command commands[LEASE_COMMANDS];
    uint32_t count;
};
void lease_step(struct lease *l, const struct lease_state *s, bool leads,
                uint64_t term_start_index, uint64_t now, struct lease_want *out);
/* A command of ours was not taken (not leader, unknown): it may be wanted again. */
void lease_failed(struct lease *l, enum command_kind kind, uint64_t now);
uint64_t lease_deadline(const struct lease *l);

/* The own session counts until then, 0: it does not. Slots are valid as long as it is. */
uint64_t lease_valid_until(const struct lease *l);
/* The shell has finished, or closed, all dots of a slot that is to be released. */
void lease_quiet(struct lease *l, uint32_t slot, uint64_t epoch);
/* Slots that are to be given away: the shell begins nothing new in them. */
bool lease_is_leaving(const struct lease *l, uint32_t slot);
void lease_drain(struct lease *l,
                 bool on); /* give everything away: stop, or an operator's wish */
