/*
 * lease: who may deliver which domain, as one node sees it: keeps the own session alive, takes
 * over the slots of sessions that ended, gives slots away when asked, sees that a site that
 * came back gets its share. Pure; time is CLOCK_BOOTTIME in ms. The lease clock is an
 * optimisation: what fences is the question before each dot (docs/wire.md).
 *
 *   holder: valid from its reading of the clock before it proposed the renewal, for D * 0.99 -
 *           250 ms, and only once it has seen that renewal applied (its number says which)
 *   taker:  only the leader; D * 1.01 after it applied the last renewal of a session; a new
 *           leader counts anew from the first entry of its own term, and so does a leader that
 *           was stopped for D / 4
 *
 *   own session:
 *            SESSION_OPEN applied           every renew_ms
 *   (none) ----------------------> live --------------------+
 *      ^                            |  ^   SESSION_RENEW    |
 *      |   ended, or replaced       |  +--------------------+
 *      +----------------------------+
 *   An ended one is opened anew by itself, under another nonce, but after lease_stop().
 *
 *   own slot:
 *            wanted, drain, stop              lease_quiet()            SLOT_RELEASE applied
 *   held ------------------------> leaving -----------------> offered --------------------->
 * gone ^      the wish is gone         |                          | the wish is gone: given to
 *     +-------------------------------+                          | oneself, a new epoch
 *     +----------------------------------------------------------+
 *   Once offered, an epoch is never used again: its dots count as closed as soon as the entry
 * is applied.
 *
 * What it wants proposed it returns as commands (proto/command.h); apply is a compare-and-set,
 * so a proposal that comes late, or twice, changes nothing.
 * Threads: one owner (the control thread). Limits: LIMIT_MEMBER_RECORDS members. Memory: one
 * block of some 30 KiB, from lease_new() to lease_free().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/command.h"

#define LEASE_SLOTS    256
#define LEASE_COMMANDS 8 /* in one answer */

#define LEASE_GUARD_MS 250  /* taken off the holder's time */
#define LEASE_RETRY_MS 1000 /* without an answer: proposed again */
#define LEASE_AGAIN_MS 250  /* after lease_failed() */

struct lease_member { /* present members only, no leaving ones */
    uint16_t site;
    uint64_t incarnation;
    uint64_t session;       /* epoch; 0: none of this incarnation yet */
    bool session_ended;     /* by take-over or by its own word */
    uint64_t renewal_index; /* log index of the last opening or renewal */
    uint32_t duration_ms;
    bool may_hold;          /* filled, not draining (whether its session is live set aside) */
    uint64_t session_nonce; /* as its opening said */
    uint64_t renewal_seq;   /* as its last renewal said */
    bool wants_share;       /* came (back) and has not been given slots since */
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
    uint64_t nonce;       /* drawn at random by the process, above 0: tells its own opening from
                             that of an earlier process of the same store */
};

/* NULL: out of memory. */
struct lease *lease_new(const struct lease_options *o);
void lease_free(struct lease **l);

/* After each apply and at each tick, with `now` read after the apply and before the commands
 * are proposed. `leads` with `term_start_index`: index of the first entry of the own term; it
 * counts from when that is applied. *out: commands to propose now; what they point to lives
 * until the next step. */
struct lease_want {
    struct command commands[LEASE_COMMANDS];
    uint32_t count;
};
void lease_step(struct lease *l, const struct lease_state *s, bool leads,
                uint64_t term_start_index, uint64_t now, struct lease_want *out);
/* A command of ours was not taken (not leader, unknown, refused): it may be wanted again. */
void lease_failed(struct lease *l, enum command_kind kind, uint64_t now);
/* When the next step is due, if nothing is applied before. */
uint64_t lease_deadline(const struct lease *l);

/* Epoch of the own live session; 0: none. */
uint64_t lease_session(const struct lease *l);
/* The own session counts until then, 0: it does not. Slots are valid as long as it is. */
uint64_t lease_valid_until(const struct lease *l);
/* The shell has finished, or closed, all dots of a slot that is to be released. Another epoch
 * than the present one, or a slot that is not leaving: of no effect. */
void lease_quiet(struct lease *l, uint32_t slot, uint64_t epoch);
/* Slots that are to be given away: the shell begins nothing new in them. */
bool lease_is_leaving(const struct lease *l, uint32_t slot);
void lease_drain(struct lease *l,
                 bool on); /* give everything away: stop, or an operator's wish */

/* The node stops: it gives away what it can, and once lease_quiet_all() was said its session
 * ends by its own word, with all that is left, placements too. For good. */
void lease_stop(struct lease *l);
/* After lease_stop(): no dot is open anywhere and none will be, no message is undecided. */
void lease_quiet_all(struct lease *l);
/* After lease_stop(): the end of the own session is applied, or it has none. */
bool lease_is_over(const struct lease *l);
