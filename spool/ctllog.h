/*
 * ctllog: the control log of a node on disk: entries (index, term, bytes), the term and vote
 * record, and the identity of the store. An LMDB environment of its own, so that a slow commit
 * of the mail spool never delays it. The store below the Raft engine (replication/consensus.h).
 *
 * Indices start at 1 and have no gaps. Entries up to `base` were dropped (they are applied and
 * live on in the state machine); base index and base term are kept. The snapshot record says
 * from where on the engine needs the log, and who the members were there; the state machine is
 * the snapshot. The base is at most its index.
 *
 * A snapshot from a peer goes into two stores, one after the other, so what is to be done is
 * written down first: ctllog_install_begin(); commit the state; ctllog_install_end(). After a
 * crash in between, ctllog_installing() says so: with the state at `applied` or above the end
 * is called again, else ctllog_install_drop().
 *
 * Threads:    one owner at a time, no locking.
 * Durability: every call that changes something returns after its fsync. After E_IO the log is
 *             poisoned: all further calls answer E_IO and the node must stop.
 * Limits:     an entry is 1 .. LIMIT_COMMAND_BYTES; LIMIT_CONTROL_BATCH entries in one append.
 * Errors:     E_FULL: map or disk; nothing was written, the log is usable. E_CORRUPT: a record
 *             does not match its checksum, or the format is newer than this program.
 * Bytes:      docs/disk-format-control.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "proto/raftwire.h"

/* Who a store belongs to. Drawn once when the log is created; the control state carries the
 * same, so that stores from two nodes, or a restored half, are not mixed. */
struct store_id {
    uint8_t cluster[16];
    uint16_t site;
    uint64_t incarnation;
};

struct log_entry {
    uint64_t index, term;
    enum raftwire_entry_kind kind;
    struct str bytes;
};

struct ctllog_options {
    const char *dir; /* created when missing, if `create` */
    uint64_t map_bytes;
    const struct store_id *create; /* NULL: an empty or missing store is E_NOTFOUND. Else it is
                                      created under this identity. Never pass it where the
                                      node has had a store before: an empty log under an old
                                      identity would use session epochs twice. */
    struct str members; /* with `create`: bytes of the MEMBERS entry that becomes entry 1, in
                           term 1. Empty: the log is empty, its members will send it. */
};

struct ctllog;

/* *out is NULL on error. E_NOTFOUND, E_CORRUPT, E_IO, E_FULL. */
MUST_CHECK enum err ctllog_open(struct ctllog **out, const struct ctllog_options *o);
void ctllog_close(struct ctllog **l);

const struct store_id *ctllog_id(const struct ctllog *l);

/* From memory. Empty log: first == last + 1. The term of the last entry, or of the base. */
uint64_t ctllog_first(const struct ctllog *l);
uint64_t ctllog_last(const struct ctllog *l);
uint64_t ctllog_last_term(const struct ctllog *l);
uint64_t ctllog_base_term(const struct ctllog *l); /* of entry first - 1; 0: none */

/* Writes the entries, which follow each other, in one transaction. entries[0].index is at most
 * last + 1 and above the base; what the log held from there on is replaced. Borrows. */
MUST_CHECK enum err ctllog_append(struct ctllog *l, const struct log_entry *entries,
                                  size_t count);

/* *out points into `a`. E_NOTFOUND: outside first..last. E_FULL: the arena is. */
MUST_CHECK enum err ctllog_read(struct ctllog *l, uint64_t index, struct arena *a,
                                struct log_entry *out);

/* Removes entries `from`..last (Raft: they conflict with the leader's). */
MUST_CHECK enum err ctllog_truncate_suffix(struct ctllog *l, uint64_t from);

/* Removes entries first..upto, which must be applied; upto at most last. In pieces, each its
 * own transaction, oldest first: a crash in between leaves a valid, longer log. */
MUST_CHECK enum err ctllog_drop_prefix(struct ctllog *l, uint64_t upto);

/* Term and the member voted for in it (0: none). A smaller term than the stored one is a bug.
 */
MUST_CHECK enum err ctllog_put_term(struct ctllog *l, uint64_t term, uint64_t vote);
uint64_t ctllog_term(const struct ctllog *l);
uint64_t ctllog_vote(const struct ctllog *l);

/* All entries for the engine's start: term and kind, bytes of MEMBERS entries only. In `a`.
 * E_FULL: the arena is. */
MUST_CHECK enum err ctllog_load(struct ctllog *l, struct arena *a,
                                const struct raftwire_entry **entries, size_t *count);

/* Index 0: none yet. Lives until the next call that changes it. */
const struct raftwire_snapshot *ctllog_snapshot(const struct ctllog *l);
/* The state machine was at this index when the snapshot came; 0: none came. It may be above the
 * end of the log until the leader has sent the rest. */
uint64_t ctllog_snapshot_applied(const struct ctllog *l);
/* The log can be shortened up to here now; s->index is in the log. */
MUST_CHECK enum err ctllog_put_snapshot(struct ctllog *l, const struct raftwire_snapshot *s);

MUST_CHECK enum err ctllog_install_begin(struct ctllog *l, const struct raftwire_snapshot *s,
                                         uint64_t applied);
/* The log is empty from here on, its base is the snapshot that was begun. In one transaction.
 */
MUST_CHECK enum err ctllog_install_end(struct ctllog *l);
MUST_CHECK enum err ctllog_install_drop(struct ctllog *l);
/* True: one was begun and not ended. */
bool ctllog_installing(const struct ctllog *l, uint64_t *applied);

/* Reads and verifies every record. *bad: how many did not match (each is logged). */
MUST_CHECK enum err ctllog_verify(struct ctllog *l, uint64_t *bad);
