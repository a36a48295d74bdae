/*
 * command: one entry of the control log, plain C <-> bytes. Commands change the control store
 * (spool/control.h) and nothing else; they carry durations and epochs, never wall-clock times.
 *
 * Bytes are protobuf (proto/command.proto), in one form only: what would not come out of
 * command_encode() again, byte for byte, is refused, and so are unknown kinds and fields. A
 * node that does not know a command must stop and not skip it, or the copies drift apart.
 * Threads: any. Limits: LIMIT_COMMAND_BYTES encoded; the Control block of base/limits.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mid.h"
#include "base/str.h"
#include "proto/access.h"
#include "proto/domain.h"
#include "proto/roster.h"

/* Stored; the values are field numbers of the message in command.proto. */
enum command_kind {
    COMMAND_SESSION_OPEN = 1,
    COMMAND_CLOCK = 2,
    COMMAND_DOMAIN_PUT = 3,
    COMMAND_DOMAIN_REMOVE = 4,
    COMMAND_DOMAIN_DROP = 5,
    COMMAND_SETTING_PUT = 6,
    COMMAND_PLAN_PUT = 7,
    COMMAND_OPERATE = 8,
    COMMAND_OPERATE_DONE = 9,
    COMMAND_MEMBER_ADD = 10,
    COMMAND_MEMBER_REMOVE = 11,
    COMMAND_MEMBER_KEY = 12,
    COMMAND_MEMBER_FILLED = 13,
    COMMAND_SESSION_RENEW = 14,
    COMMAND_SESSION_END = 15,
    COMMAND_SLOT_WANTED = 16,
    COMMAND_SLOT_RELEASE = 17,
    COMMAND_PLACE = 18,
    COMMAND_DRAIN = 19,
    COMMAND_ACCESS = 20,
    COMMAND_ROSTER = 21
};

#define COMMAND_KIND_MAX COMMAND_ROSTER

/* A node begins its work. Its session epoch is the log index of this entry. The site's old
 * session ends in the same entry; the slots and placements that it had come to the new one
 * under this epoch. Free slots are spread over all sessions that may hold. Refused when there
 * are members and this is none; and, with a nonce, when the same one opened the newest session
 * already (a proposal that came twice), or another session than `after` is the newest (one that
 * came late, and would end a session that is alive). */
struct session_open {
    uint16_t site;        /* 1 .. 65535 */
    uint64_t incarnation; /* of the node's store, above 0; another one after a wipe */
    uint32_t duration_ms; /* LIMIT_SESSION_MIN_MS .. LIMIT_SESSION_MAX_MS */
    uint64_t nonce;       /* drawn by the process; 0: none, never taken as doubled or late */
    uint64_t after; /* epoch of the incarnation's session before; 0: none, a store's first */
};

/* Only of the newest session, and not of one that ended: E_CONFLICT. */
struct session_renew {
    uint16_t site;
    uint64_t epoch; /* of the session, above 0 */
    uint64_t seq;   /* the proposer's own number: tells him which proposal came through */
};

/* Ends a session. Its slots are split over the surviving sessions that may hold, in this entry;
 * its placements end. E_CONFLICT: another session, or another renewal came in between. */
struct session_end {
    uint16_t site;
    uint64_t epoch;
    uint64_t renewal_index; /* of the last renewal that the taker knows (compare-and-set). 0:
                               the node's own word, at its stop: it has closed all its dots */
};

#define MEMBER_KEY_BYTES 32

/* A node joins: its incarnation is the log index of this entry, but for the first member of
 * all. A member of the same site is replaced: its session ends, its record stays, leaving,
 * until MEMBER_REMOVE names it. */
struct member_add {
    uint16_t site;
    uint64_t incarnation;          /* of the first member (above 0); of all others 0 */
    uint8_t key[MEMBER_KEY_BYTES]; /* public key (CURVE); not all zero */
    struct str control, data;      /* "host:port", "[address]:port": LIMIT_ADDRESS_BYTES */
};

/* Forgets a member, leaving or not. Never the last one. Its session ends. */
struct member_remove {
    uint16_t site;
    uint64_t incarnation;
};

/* Another public key. keep_old: the one before stays good until the next MEMBER_KEY, so that no
 * link breaks while the node changes over; without, it is revoked at once. */
struct member_key {
    uint16_t site;
    uint64_t incarnation;
    uint8_t key[MEMBER_KEY_BYTES];
    bool keep_old;
};

/* The node is a witness from now on and may hold. */
struct member_filled {
    uint16_t site;
    uint64_t incarnation;
};

/* The log asks the holders of these slots to give them to `site` (MOVE_WANTED). 0: such wishes
 * are taken back. */
#define COMMAND_SLOTS 256
struct slot_wanted {
    uint8_t slots[COMMAND_SLOTS / 8]; /* bit i % 8 of byte i / 8: slot i. No bit: E_PROTO,
                                         unless `balance` */
    uint16_t site;
    bool balance; /* by the leader, for a site that came back: it has its share now. An
                     operator's wish ends all balancing until the next site comes. */
};

/* The holder gives slots away: no dot of these epochs is open any more. All or none. */
struct slot_ref {
    uint8_t slot;
    uint64_t epoch; /* of the holder's assignment: compare-and-set */
};
struct slot_release {
    const struct slot_ref *slots; /* ascending; 1 .. COMMAND_SLOTS */
    uint32_t count;
    uint16_t to; /* may be the holder: a new epoch. 0: over all others that may hold */
};

/* The holder of a domain gives it to one site, whatever holds its slot; no dot is open. */
struct place {
    struct str domain;
    uint16_t site;  /* 0: back to the slot's holder */
    uint64_t epoch; /* under which it is held (control_holder()): compare-and-set */
};

/* A draining node may not hold; it gives away what it has. */
struct drain {
    uint16_t site;
    bool on;
};

/* Changes the block and allow lists; a time runs from this entry on, by the cluster clock. */
struct access {
    struct str entries; /* proto/access.h: access_check() */
    uint32_t uid;       /* of the operator on the node that took the request */
};

/* Changes the list of recipients of a domain. The last entry does not go while the domain takes
 * listed ones only: E_CONFLICT. */
struct roster {
    struct str domain;
    uint64_t generation; /* of the domain; another one: refused. 0: any */
    struct str entries;  /* proto/roster.h: roster_check() */
    uint32_t uid;        /* of the operator on the node that took the request */
};

/* The cluster clock moves on by what the leader measured (CLOCK_BOOTTIME). */
struct clock_tick {
    uint32_t elapsed_ms; /* 1 .. 2 * LIMIT_CLOCK_TICK_MS */
};

enum domain_put_mode {
    DOMAIN_ADD = 1,    /* the name must be free                                      */
    DOMAIN_CHANGE = 2, /* it must exist, open or closing, and stays what it is       */
    DOMAIN_REOPEN = 3  /* it must exist; closing ends. Same tenant, same generation. */
};

struct domain_put {
    enum domain_put_mode mode;
    uint64_t if_changed; /* not 0: refused unless domain.changed is this (read, then write) */
    struct domain domain;
};

struct domain_remove {
    struct str name;
};

/* The last message of a closing domain is gone: forget the record. */
struct domain_drop {
    struct str name;
    uint64_t generation; /* of the closing record; another one: refused */
};

struct setting {
    struct str name;  /* a-z, 0-9, '.', '_', '-'; 1 .. LIMIT_SETTING_NAME_BYTES */
    struct str value; /* at most LIMIT_SETTING_VALUE_BYTES, no NUL; empty: the setting goes */
};

struct plan {
    struct str name;          /* as a setting's name; LIMIT_PLAN_NAME_BYTES */
    uint32_t hold_s;          /* LIMIT_HOLD_MIN_S .. LIMIT_HOLD_MAX_S */
    uint32_t max_connections; /* 1 .. LIMIT_DOMAIN_CONNS */
};

enum operate_op {
    OPERATE_HOLD = 1,    /* not tried until released                                */
    OPERATE_RELEASE = 2, /* ends a hold                                             */
    OPERATE_RETRY = 3,   /* tried at once, retry clocks forgotten                   */
    OPERATE_DELETE = 4,  /* pending recipients become purged; no notification       */
    OPERATE_BOUNCE = 5   /* pending recipients become bounced; the sender is told   */
};

enum operate_select {
    OPERATE_IDS = 1,    /* the messages in `ids`                                    */
    OPERATE_DOMAIN = 2, /* all of `domain`, of any generation unless one is given   */
    OPERATE_ALL = 3
};

/* What an operator asked for. It stays in the store, pending, until OPERATE_DONE names it. */
struct operate {
    enum operate_op op;
    enum operate_select select;
    const struct mid *ids; /* id_count of them, at most LIMIT_OPERATION_IDS */
    uint32_t id_count;
    struct str domain;
    uint64_t generation; /* OPERATE_DOMAIN: only mail of this one; 0: of any              */
    uint64_t cutoff_ms;  /* cluster time: messages received later are not meant; above 0  */
    uint32_t uid;        /* of the operator on the node that took the request             */
};

struct operate_done {
    uint64_t index; /* of the OPERATE entry */
};

struct command {
    enum command_kind kind;
    union {
        struct session_open session_open;
        struct clock_tick clock;
        struct domain_put domain_put;
        struct domain_remove domain_remove;
        struct domain_drop domain_drop;
        struct setting setting_put;
        struct plan plan_put;
        struct operate operate;
        struct operate_done operate_done;
        struct member_add member_add;
        struct member_remove member_remove;
        struct member_key member_key;
        struct member_filled member_filled;
        struct session_renew session_renew;
        struct session_end session_end;
        struct slot_wanted slot_wanted;
        struct slot_release slot_release;
        struct place place;
        struct drain drain;
        struct access access;
        struct roster roster;
    };
};

/* NULL: a "host:port" that MEMBER_ADD takes; else why not, static. */
const char *member_address_check(struct str address);

/* NULL: well formed, whatever the store may say to it; else why not, static text for people. */
const char *command_check(const struct command *c);

/* Writes the bytes into buf; *out borrows it. E_PROTO: command_check() says why. E_FULL: does
 * not fit into buf or LIMIT_COMMAND_BYTES. */
MUST_CHECK enum err command_encode(const struct command *c, uint8_t *buf, size_t size,
                                   struct str *out);

/* Strings and ids of *out point into `a`. E_PROTO: anything odd. E_FULL: the arena is. */
MUST_CHECK enum err command_decode(struct str bytes, struct arena *a, struct command *out);

/* The record of a domain as spool/control stores it: the message of a command with generation,
 * changed and closing. Same rules, same errors. */
MUST_CHECK enum err domain_encode(const struct domain *d, uint8_t *buf, size_t size,
                                  struct str *out);
MUST_CHECK enum err domain_decode(struct str bytes, struct arena *a, struct domain *out);

/* "hold", "release", "retry", "delete", "bounce". */
const char *operate_op_text(enum operate_op op);
bool operate_op_parse(struct str text, enum operate_op *out);

/* "domain_put" and so on, for logs. */
const char *command_kind_text(enum command_kind k);
