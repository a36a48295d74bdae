/*
 * control: the state machine of the control log, in an LMDB environment of its own: domains,
 * plans, settings, node sessions, slots, the cluster clock, operators' pending commands, and
 * the index of the last applied entry, which moves in the same transaction.
 *
 * Apply is deterministic: no clock, no chance, nothing but the state and the command. Nodes
 * that applied the same entries hold the same records. A refusal is a result, not an error: the
 * entry counts as applied on every node and changed nothing.
 *
 * Threads:    [apply] one thread, the owner of the control log. [any] any thread; each call is
 *             one short read transaction that ends before it returns.
 * Durability: control_apply() returns after its fsync. After E_IO the store is poisoned: apply
 *             answers E_IO for ever and the node must stop.
 * Limits:     LIMIT_DOMAINS, LIMIT_PLANS, LIMIT_SETTINGS, LIMIT_SITES, LIMIT_OPERATIONS.
 * Errors:     E_FULL: map or disk (apply: nothing changed, try again later), or the arena
 * (read). E_CORRUPT: a record does not match its checksum; it is logged with its table. Out of
 * apply it means that the node must stop. Bytes:      docs/disk-format-control.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
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
    const struct command *command;
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

struct session {
    uint16_t site;
    uint64_t epoch; /* log index of its opening */
    uint64_t incarnation;
    uint32_t duration_ms;
};
/* [any] The newest session of a site. */
MUST_CHECK enum err control_session(struct control *c, uint16_t site, struct session *out);

struct slot {
    uint16_t site;  /* holder */
    uint64_t epoch; /* log index of the assignment */
};
/* [any] slot below CONTROL_SLOTS. E_NOTFOUND: free, nobody delivers. */
MUST_CHECK enum err control_slot(struct control *c, uint32_t slot, struct slot *out);
/* The slot of a domain: the low 8 bits of XXH3-64 of its name as stored (lower case). Part of
 * the contract between nodes. */
uint32_t control_slot_of(struct str domain_name);

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

struct control_counts {
    uint64_t domains, plans, settings, operations;
};
/* [any] */
MUST_CHECK enum err control_counts(struct control *c, struct control_counts *out);

/* [any] One digest over all records but the store's identity: equal on nodes with equal state.
 * A long read transaction: for tests and offline checks. */
MUST_CHECK enum err control_digest(struct control *c, uint64_t *out);

/* [any] Reads and verifies every record, the same way. *bad: how many failed (each logged). */
MUST_CHECK enum err control_verify(struct control *c, uint64_t *bad);
