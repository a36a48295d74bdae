/*
 * control: the state machine of the control log, in an LMDB environment of its own: domains,
 * plans, settings, members, their sessions, slots, placements, the cluster clock, operators'
 * pending commands, and the index of the last applied entry, which moves in the same
 * transaction.
 *
 * Leases (docs/architecture.md): a slot, or a domain by its placement, is held by one site
 * under an epoch, the log index of the assignment, never used twice. It changes hands in an
 * entry that compares and sets: given by the holder (SLOT_RELEASE, PLACE, SESSION_END by its
 * own word), or taken with the whole session (SESSION_END by a taker, SESSION_OPEN, MEMBER_ADD
 * of another incarnation, MEMBER_REMOVE). Taken slots are split over the sessions that may
 * hold, the least loaded first; over draining ones when there are no others; they are free when
 * there is none.
 *
 * Apply is deterministic: no clock, no chance, nothing but the state and the command. Nodes
 * that applied the same entries hold the same records. A refusal is a result, not an error: the
 * entry counts as applied on every node and changed nothing.
 *
 * Threads:    [apply] one thread, the owner of the control log. [any] any thread; each call is
 *             one short read transaction that ends before it returns.
 * Durability: control_apply() returns after its fsync. After E_IO the store is poisoned: apply
 *             answers E_IO for ever and the node must stop.
 * Limits:     LIMIT_DOMAINS, LIMIT_PLANS, LIMIT_SETTINGS, LIMIT_SITES, LIMIT_OPERATIONS,
 *             LIMIT_CLUSTER_MEMBERS, LIMIT_MEMBER_RECORDS; a placement needs its domain.
 * Errors:     E_FULL: map or disk (apply: nothing changed, try again later), or the arena
 *             (read). E_CORRUPT: a record does not match its checksum; it is logged with its
 *             table. Out of apply it means that the node must stop.
 * Bytes:      docs/disk-format-control.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "proto/command.h"
#include "spool/ctllog.h"

#define CONTROL_SLOTS 256

struct control;

struct control_options {
    const char *dir;
    uint64_t map_bytes;
    const struct store_id *id; /* of the log. Another one in the store: E_CONFLICT */
    bool create;               /* an empty or missing store is made; else E_NOTFOUND */
};

/* *out is NULL on error. */
MUST_CHECK enum err control_open(struct control **out, const struct control_options *o);
void control_close(struct control **c);

/* What became of a command. */
struct command_result {
    enum err err;        /* OK, or why refused: E_EXISTS, E_NOTFOUND, E_CONFLICT (changed
                            meanwhile, or closing), E_FULL (a limit above), E_PROTO */
    const char *refused; /* NULL when OK; else static text for people */
};

struct control_input {
    uint64_t index;
    const struct command *command; /* NULL: an entry of the log that is none (a barrier, a
                                      change of the Raft members): only the index moves */
};

/* [apply] Applies the entries, which follow each other and the applied index, in one
 * transaction; results[i] belongs to inputs[i]. Entries at or below the applied index are
 * passed over (replay), with result OK. On any error nothing was applied. */
MUST_CHECK enum err control_apply_batch(struct control *c, const struct control_input *inputs,
                                        size_t count, struct command_result *results);
MUST_CHECK enum err control_apply(struct control *c, uint64_t index, const struct command *cmd,
                                  struct command_result *result);

/* [any] E_NOTFOUND: no such record. Strings of *out point into `a`. A closing domain is found:
 * look at .closing before taking mail. */
MUST_CHECK enum err control_domain_get(struct control *c, struct str name, struct arena *a,
                                       struct domain *out);
/* [any] The first one behind `after` in byte order (empty: of all). E_NOTFOUND: the end. */
MUST_CHECK enum err control_domain_next(struct control *c, struct str after, struct arena *a,
                                        struct domain *out);
MUST_CHECK enum err control_plan_get(struct control *c, struct str name, struct arena *a,
                                     struct plan *out);
MUST_CHECK enum err control_plan_next(struct control *c, struct str after, struct arena *a,
                                      struct plan *out);
MUST_CHECK enum err control_setting_get(struct control *c, struct str name, struct arena *a,
                                        struct setting *out);
MUST_CHECK enum err control_setting_next(struct control *c, struct str after, struct arena *a,
                                         struct setting *out);

/* [any] What holds for a domain after plan and defaults: hold time and connections. A plan that
 * is named always exists. */
struct domain_terms {
    uint32_t hold_s;          /* LIMIT_HOLD_MIN_S .. LIMIT_HOLD_MAX_S */
    uint32_t max_connections; /* 1 .. LIMIT_DOMAIN_CONNS */
};
MUST_CHECK enum err control_domain_terms(struct control *c, const struct domain *d,
                                         struct domain_terms *out);

/* --- Members, sessions, slots --- */

/* One incarnation of a site. Without any member record the cluster is this node alone, and all
 * sessions may hold. */
struct member {
    uint16_t site;
    uint64_t incarnation; /* also its number in the Raft log */
    bool leaving;         /* replaced by a newer incarnation; forgotten by MEMBER_REMOVE */
    bool filled;          /* a witness: it has been filled from both others */
    bool draining;        /* an operator's wish: it gives away what it holds */
    bool wants_share;     /* came (back) and was not yet given its share of slots */
    uint64_t added;       /* log index of MEMBER_ADD */
    uint8_t key[MEMBER_KEY_BYTES];
    bool has_old_key; /* old_key is good too, for as long as the key is changed over */
    uint8_t old_key[MEMBER_KEY_BYTES];
    char control[LIMIT_ADDRESS_BYTES + 1], data[LIMIT_ADDRESS_BYTES + 1]; /* with NUL */
};

struct session {
    uint16_t site;
    uint64_t epoch; /* log index of its opening */
    uint64_t incarnation;
    uint32_t duration_ms;
    uint64_t nonce;         /* as its opening said */
    uint64_t renewal_index; /* log index of the opening or of the last renewal */
    uint64_t renewal_seq;   /* what the last renewal said; 0: none came yet */
    bool ended;             /* taken over, replaced, removed, or by its own word */
    bool may_hold; /* live, and its member is filled and not draining: derived, not stored */
};

struct slot {
    uint16_t site;   /* holder */
    uint64_t epoch;  /* log index of the assignment */
    uint16_t wanted; /* the site that is to get it; 0: none */
};

/* [any] The present member of a site, never a leaving one. */
MUST_CHECK enum err control_member_get(struct control *c, uint16_t site, struct member *out);
/* [any] The first one, leaving or not, behind (site, incarnation); from (0, 0) on all. */
MUST_CHECK enum err control_member_next(struct control *c, uint16_t site, uint64_t incarnation,
                                        struct member *out);

struct control_members {
    uint64_t applied; /* index of this view */
    struct member members[LIMIT_MEMBER_RECORDS];
    uint32_t count;
};
/* [any] All of them at one moment, for the allow-list of keys and the links to the peers. */
MUST_CHECK enum err control_members(struct control *c, struct control_members *out);

/* [any] The newest session of a site, ended or not. */
MUST_CHECK enum err control_session(struct control *c, uint16_t site, struct session *out);
/* [any] All newest sessions; *count of them, by site. */
MUST_CHECK enum err control_sessions(struct control *c, struct session out[LIMIT_SITES],
                                     uint32_t *count);
/* [any] True: the end of that session is applied here, so a newer one is, or it was ended.
 * False also for one that has not been opened yet, and on an error (logged): nothing is refused
 * or resolved on a guess. */
bool control_session_sealed(struct control *c, uint16_t site, uint64_t epoch);

/* [any] Who delivers a domain: its placement, else its slot. The epoch is the one for the
 * question before each dot; for one domain it only ever grows. E_NOTFOUND: nobody, now. */
MUST_CHECK enum err control_holder(struct control *c, struct str domain, uint16_t *site,
                                   uint64_t *epoch);
/* [any] True: its holder gave the domain away under this epoch by its own word, so every dot of
 * that epoch is closed. False also when it is too long ago to be remembered, and on an error.
 */
bool control_released(struct control *c, struct str domain, uint64_t epoch);

/* [any] slot below CONTROL_SLOTS. E_NOTFOUND: free, nobody delivers. */
MUST_CHECK enum err control_slot(struct control *c, uint32_t slot, struct slot *out);
/* [any] All; free ones have site 0. */
MUST_CHECK enum err control_slots(struct control *c, struct slot out[CONTROL_SLOTS]);
/* The slot of a domain: the low 8 bits of XXH3-64 of its name as stored (lower case). Part of
 * the contract between nodes. */
uint32_t control_slot_of(struct str domain_name);

/* [any] A placement, or the memory of one that ended (site 0). */
struct placement {
    struct str domain;
    uint16_t site;
    uint64_t epoch; /* log index of the placing, or of the end */
};
MUST_CHECK enum err control_placement_next(struct control *c, struct str after, struct arena *a,
                                           struct placement *out);

/* [any] What leases are decided by, at one moment. */
struct control_cluster {
    uint64_t applied;
    struct member members[LIMIT_MEMBER_RECORDS];
    uint32_t member_count;
    struct session sessions[LIMIT_SITES];
    uint32_t session_count;
    struct slot slots[CONTROL_SLOTS];
};
MUST_CHECK enum err control_cluster(struct control *c, struct control_cluster *out);

/* [any] Cluster time as of the applied index, milliseconds; starts at CONTROL_CLOCK_START_MS.
 */
#define CONTROL_CLOCK_START_MS 1000
MUST_CHECK enum err control_cluster_ms(struct control *c, uint64_t *out);

/* [any] Index of the last applied entry; from memory. */
uint64_t control_applied(const struct control *c);

/* [any] The first pending OPERATE with a log index above `after`; E_NOTFOUND: none. */
struct operation {
    uint64_t index;
    struct operate operate;
};
MUST_CHECK enum err control_operation_next(struct control *c, uint64_t after, struct arena *a,
                                           struct operation *out);

/* --- Block and allow lists --- */

struct access_record {
    struct access_prefix prefix;
    enum access_action action;     /* ACCESS_BLOCK or ACCESS_ALLOW */
    uint64_t expires_ms, added_ms; /* cluster time; expires 0: never. One whose time is over
                                      counts for nothing, and stays until an ACCESS_LAPSE */
    uint32_t uid;
    uint8_t reason_bytes;
    char reason[LIMIT_ACCESS_REASON_BYTES + 1];
};

/* [any] The entry of exactly this prefix. */
MUST_CHECK enum err control_access_get(struct control *c, const struct access_prefix *p,
                                       struct access_record *out);
/* [any] Up to `most` entries behind `after` (NULL: from the first on), in order of address and
 * bits. *count below `most`: the end. */
MUST_CHECK enum err control_access_page(struct control *c, const struct access_prefix *after,
                                        struct access_record *out, size_t most, size_t *count);

/* --- Lists of recipients --- */

struct roster_record {
    char local[LIMIT_SMTP_LOCAL_PART_BYTES + 1]; /* with NUL; "@": the catch-all */
    uint64_t added_ms;                           /* cluster time */
    uint32_t uid;
};

/* [any] Up to `most` entries of a domain behind `after` (empty: from the first on), in order.
 * *count below `most`: the end. */
MUST_CHECK enum err control_roster_page(struct control *c, uint64_t generation,
                                        struct str after, struct roster_record *out,
                                        size_t most, size_t *count);
/* [any] The first of what is wanted that the list has, at one moment. */
MUST_CHECK enum err control_roster_find(struct control *c, uint64_t generation,
                                        const struct roster_wanted *wanted,
                                        enum roster_match *out);
/* [any] How many are listed. */
MUST_CHECK enum err control_roster_count(struct control *c, uint64_t generation, uint32_t *out);

struct control_counts {
    uint64_t domains, plans, settings, operations, placements, access, recipients;
};
/* [any] */
MUST_CHECK enum err control_counts(struct control *c, struct control_counts *out);

/* [any] One digest over all records but the store's identity: equal on nodes with equal state.
 * A long read transaction: for tests and offline checks. */
MUST_CHECK enum err control_digest(struct control *c, uint64_t *out);

/* [any] Reads and verifies every record, the same way. *bad: how many failed (each logged). */
MUST_CHECK enum err control_verify(struct control *c, uint64_t *bad);
