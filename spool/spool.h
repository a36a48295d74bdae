/*
 * spool: the durable queue of one node, in one LMDB environment (dir/data).
 *
 * A message is a body (opaque bytes, kept in chunks under a body number) and an envelope. Both
 * hang on the message id. A message lives from spool_put() to spool_settle(); after that its
 * id stays in the settled set for good (a late copy never comes back), and its last envelope
 * can be traced for LIMIT_TRACE_DAYS. docs/disk-format.md describes every byte.
 *
 * Threads:    [writer] one thread, the writer; [reader] any thread, with a reader handle of
 *             its own; [any] any thread.
 * Durability: nothing is durable before spool_commit() returns OK. Never tell a client or a
 *             peer "stored" earlier. After E_IO the spool is poisoned and every later begin
 *             fails: the node must stop acknowledging and exit (a failed fsync is not retried).
 * Checksums:  every value carries an XXH3-64 over its table, its key and its data. A mismatch
 *             is E_CORRUPT: logged as spool_corrupt, counted, the record is kept and never
 *             handed out.
 * Copies:     each message has a state here (enum copy_state), which only goes upwards; what is
 *             known of its session counts in. Mail of a node that is alone is COMMITTED from
 * the start. The verdicts are not taken here (replication/copies.h): these are the records they
 * are made of. Limits:     LIMIT_CHUNK_BYTES, LIMIT_BATCH_BYTES, LIMIT_ENVELOPE_BYTES,
 * LIMIT_BODY_BYTES, LIMIT_TRACE_DAYS, LIMIT_TRACE_PERCENT, LIMIT_SPOOL_READERS and the marks
 *             LIMIT_SPOOL_FULL_PERCENT, LIMIT_SPOOL_ROOM_PERCENT, LIMIT_SPOOL_PEER_PERCENT.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mid.h"
#include "proto/copyrec.h"
#include "proto/envelope.h"

struct spool;        /* one open environment                 */
struct spool_txn;    /* one group commit; sticky error inside */
struct spool_reader; /* the read side of one thread           */
struct spool_scrub;  /* a slow walk over everything           */

struct spool_options {
    const char *dir;       /* an existing directory; the spool makes `data` and `lock` in it */
    uint64_t map_bytes;    /* address space, a multiple of 4,096; 1 TiB costs nothing        */
    uint64_t quota_bytes;  /* what mail may use; 0: as much as map and disk give             */
    unsigned unsafe_flags; /* LMDB flags for tests that prove the power-cut test; only a
                              program that defines spool_test_build may set them, else ASSERT */
};

struct spool_totals {
    uint64_t messages; /* live            */
    uint64_t bytes;    /* of their bodies */
};

/* What spool_open() found. */
struct spool_recovered {
    struct spool_totals totals;
    uint64_t open_dots;     /* messages whose last dot has no known outcome       */
    uint64_t orphan_bodies; /* staged, never named by a record; removed           */
    uint64_t orphan_chunks;
    uint64_t corrupt_records; /* not removed; while there are any, no orphan is     */
};

/* --- Life ----------------------------------------------------------------------------------
 * Opens the spool in o->dir, making it when there is none; removes orphans, counts totals and
 * logs ev=recovered. *out is owned by the caller, NULL on an error.
 * Errors: E_AGAIN (another process has it open), E_PROTO (made by another version), E_CORRUPT
 * (not a spool, or its format record is damaged), E_FULL (no space, or no address space for
 * the map), E_IO. Each is logged. */
MUST_CHECK enum err spool_open(struct spool **out, const struct spool_options *o);
void spool_close(struct spool **s); /* no txn, reader or scrub may be left */
void spool_recovered(const struct spool *s, struct spool_recovered *out);

/* --- Writing: one group commit ---------------------------------------------------- [writer]
 *
 * Two kinds of answers. E_EXISTS, E_CONFLICT, E_NOTFOUND, E_PROTO, E_CORRUPT and E_FULL from
 * one call below concern that one message: nothing was changed for it, the batch goes on.
 * E_IO, and E_FULL from spool_commit(), concern the environment: they stick to the transaction,
 * every later call in it gives the same answer, and nothing of the batch becomes durable.
 * (A call may also return E_FULL that sticks, when the map ends: commit then says so again.) */

/* One transaction at a time. Never NULL; a failed begin sticks to it. */
struct spool_txn *spool_begin(struct spool *s);

/* Ends the transaction, with fsync; *t is NULL afterwards.
 * E_FULL: map or disk is full; nothing of the batch was written, the spool stays usable.
 * E_IO: anything else; the spool is poisoned. E_IO does not say that nothing was written: a
 * batch whose commit failed may be found whole after a restart. */
MUST_CHECK enum err spool_commit(struct spool_txn **t);
void spool_abort(struct spool_txn **t); /* drops the batch; *t is NULL afterwards */

/* Bytes the batch holds so far; the writer ends it at LIMIT_BATCH_BYTES. */
uint64_t spool_txn_bytes(const struct spool_txn *t);

/* A number for the chunks of one body; never given twice by an open spool. [any] */
uint64_t spool_next_body(struct spool *s);

/* Stores a COMMITTED message: e->body_bytes must be body->bytes, e->body_digest its XXH3-64;
 * sets e->body_number. Borrows both. E_EXISTS: the same id with the same body is live already.
 * E_CONFLICT: known id, other body; logged as id_conflict. E_NOTFOUND: the id is settled or
 * aborted, it is gone for good. E_FULL: no room (see spool_room()). E_PROTO: the envelope
 * breaks a limit. E_CORRUPT: the live record, or the settled interval next to the id, is
 * damaged. */
MUST_CHECK enum err spool_put(struct spool_txn *t, struct envelope *e,
                              const struct block_list *body);

/* Chunks of a large body, in commits before its record. The bytes go to `offset` of the body
 * `body_number` (from spool_next_body()); pieces come in order without a hole, of any length;
 * multiples of SPOOL_CHUNK_DATA_BYTES save a rewrite. Until a record names them they are
 * orphans, removed at the next open.
 * E_FULL: no room. E_NOTFOUND: what stands before `offset` is not there. */
#define SPOOL_CHUNK_DATA_BYTES (LIMIT_CHUNK_BYTES - 8)
MUST_CHECK enum err spool_stage(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                                const struct block_list *piece);
/* The record over a staged body; errors as spool_put(), and E_NOTFOUND also when the staged
 * chunks are not exactly e->body_bytes (then stage anew). Sets e->body_number. */
MUST_CHECK enum err spool_put_staged(struct spool_txn *t, struct envelope *e,
                                     uint64_t body_number);
/* Removes staged chunks that no record names. E_NOTFOUND: there are none. */
MUST_CHECK enum err spool_unstage(struct spool_txn *t, uint64_t body_number);

/* The id was drawn but its message was refused: it goes straight into the settled set.
 * E_EXISTS: it is there already. E_CONFLICT: the message is live; not touched. */
MUST_CHECK enum err spool_abort_id(struct spool_txn *t, struct mid id);

/* Replaces the envelope of a live message. E_NOTFOUND: not live. E_CONFLICT: other body than
 * the stored one. E_CORRUPT: the stored record is damaged. E_PROTO: breaks a limit. */
MUST_CHECK enum err spool_update(struct spool_txn *t, const struct envelope *e);

/* The durable mark before a final dot, of a node that is alone; replaces one of an older slot
 * epoch. E_NOTFOUND: not live. E_CONFLICT: a mark of a newer epoch is there. */
MUST_CHECK enum err spool_dot(struct spool_txn *t, struct mid id, uint64_t slot_epoch);
/* The dot was not sent, or was refused, or its outcome is recorded. E_NOTFOUND: no mark. */
MUST_CHECK enum err spool_closed(struct spool_txn *t, struct mid id);

/* Ends the life of a message: record, body and mark go, the id joins the settled set, the
 * envelope is kept for spool_trace(). Sets e->settled_ms = now_ms (cluster time) and
 * e->settled_wall_ms = wall_ms. Goes on working when the spool is full.
 * E_EXISTS: settled before. E_NOTFOUND: never here. E_CONFLICT: other body than the stored
 * one. E_CORRUPT: the stored record, or the settled interval next to it, is damaged. */
MUST_CHECK enum err spool_settle(struct spool_txn *t, struct envelope *e, uint64_t now_ms,
                                 int64_t wall_ms);

/* --- Copies: what the verdicts of replication/copies.h are made of ---------------- [writer]
 * Errors of the environment stick, as above. */

/* What is stored of an id. */
struct spool_state {
    enum copy_state state;  /* what is known of its session counted in                       */
    bool upto_covers;       /* commit knowledge reaches the id, or its session is resolved   */
    bool damaged;           /* a copy is here that cannot be read; `state` is then COPY_NONE */
    uint64_t bytes, digest; /* of the live body */
};
/* OK, of an unknown id too. E_CORRUPT: a damaged record keeps from telling. */
MUST_CHECK enum err spool_state(struct spool_txn *t, struct mid id, struct spool_state *out);

/* A live message as the transaction sees it. Errors as spool_get(). */
MUST_CHECK enum err spool_look(struct spool_txn *t, struct mid id, struct arena *a,
                               struct envelope *out);
/* Reads a live copy with its body. E_CORRUPT: it is damaged. E_NOTFOUND: not live. */
MUST_CHECK enum err spool_verify(struct spool_txn *t, struct mid id);

/* A copy to be put. One of the three says where its body is. */
struct spool_copy {
    enum copy_state state; /* COPY_UNDECIDED or COPY_COMMITTED */
    bool from_peer;        /* LIMIT_SPOOL_PEER_PERCENT holds, not LIMIT_SPOOL_FULL_PERCENT */
    const struct block_list *blocks; /* or, when NULL: */
    uint64_t staged;                 /* number of a staged body; or, when 0: */
    struct str bytes;
};
/* As spool_put() and spool_put_staged(). COMMITTED takes the place of an abort. */
MUST_CHECK enum err spool_put_copy(struct spool_txn *t, struct envelope *e,
                                   const struct spool_copy *c);
/* The same in the place of a damaged copy with this id. E_NOTFOUND: there is none. Its state
 * stays when it can be read and is higher. Chunks that nobody can tell to be its own any more
 * are removed at the next open. */
MUST_CHECK enum err spool_replace(struct spool_txn *t, struct envelope *e,
                                  const struct spool_copy *c);
/* A number as of spool_next_body(), and a piece of a peer's body under it. */
uint64_t spool_txn_next_body(struct spool_txn *t);
MUST_CHECK enum err spool_stage_copy(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                                     struct str piece);
/* E_CORRUPT: what is staged is not a body of that size and digest. */
MUST_CHECK enum err spool_staged_verify(struct spool_txn *t, uint64_t body_number,
                                        uint64_t bytes, uint64_t digest);

/* E_EXISTS: committed before. E_NOTFOUND: no copy is here. E_CORRUPT: damaged. */
MUST_CHECK enum err spool_commit_id(struct spool_txn *t, struct mid id);
/* Everything of the session up to `counter` that is not aborted here is committed, now and when
 * it comes later. E_EXISTS: known. E_NOTFOUND: the session is clear. */
MUST_CHECK enum err spool_commit_upto(struct spool_txn *t, uint16_t site, uint64_t epoch,
                                      uint64_t counter);
/* All aborts of the session are known here: what is not aborted is committed. Errors as above.
 */
MUST_CHECK enum err spool_resolved(struct spool_txn *t, uint16_t site, uint64_t epoch);
/* Removes an undecided copy, and remembers the abort until its session is clear.
 * E_EXISTS: aborted before. E_NOTFOUND: settled. E_CONFLICT: committed. E_CORRUPT. */
MUST_CHECK enum err spool_abort_copy(struct spool_txn *t, struct mid id);

/* Whose final dot of a message is, or was, under way. */
struct spool_mark {
    uint64_t slot_epoch;
    uint16_t site;    /* of the holder */
    uint64_t session; /* its session epoch; below 2^48 */
    bool over;        /* that dot is over: nobody waits for it, */
    bool doubt;       /* but an earlier one, whose end nobody learnt, may have arrived */
};
/* Stores it in the place of any other, also for an id without a copy here; spool_closed() takes
 * it away. E_NOTFOUND: settled. */
MUST_CHECK enum err spool_mark(struct spool_txn *t, struct mid id, const struct spool_mark *m);
/* E_NOTFOUND: none. E_CORRUPT: there is one that cannot be read; it counts as open. */
MUST_CHECK enum err spool_mark_get(struct spool_txn *t, struct mid id, struct spool_mark *out);

/* Settles an id that has no copy here, or one that cannot be read: spool_settle() without the
 * body. E_EXISTS: settled before. E_CONFLICT: a copy is here. E_PROTO. E_CORRUPT. */
MUST_CHECK enum err spool_settle_absent(struct spool_txn *t, struct envelope *e,
                                        uint64_t now_ms, int64_t wall_ms);
/* The last envelope of an id that was known to be settled, and no more; kept for spool_trace().
 * E_EXISTS: one is there. E_NOTFOUND: not settled. E_PROTO. E_CORRUPT. */
MUST_CHECK enum err spool_settle_trace(struct spool_txn *t, struct envelope *e, uint64_t now_ms,
                                       int64_t wall_ms);
/* Settles a copy whose fates nobody can tell: nothing is kept of it but that it is over.
 * E_EXISTS: settled before. E_NOTFOUND: no copy is here. */
MUST_CHECK enum err spool_settle_id(struct spool_txn *t, struct mid id);
/* Adds from .. to (both included) to the settled set, but for what is live here; aborts and
 * marks of what is added go. E_EXISTS: nothing was new. E_CORRUPT: a damaged interval is in the
 * way; what lies before it may have been added. */
MUST_CHECK enum err spool_settle_range(struct spool_txn *t, uint16_t site, uint64_t epoch,
                                       uint64_t from, uint64_t to);
/* All sessions of the site below `epoch` are settled on all nodes: their ids answer as settled,
 * what is stored of them shrinks to this number. E_EXISTS: known. E_CONFLICT: a message of them
 * is live here; nothing was changed. */
MUST_CHECK enum err spool_clear_below(struct spool_txn *t, uint16_t site, uint64_t epoch);

/* --- This node as a member of its cluster --- */
struct spool_member {
    uint64_t incarnation;
    uint64_t first_epoch; /* the first session epoch that this incarnation can have had */
    uint64_t filled_by;   /* bit n: site n has told that it gave all it had */
    bool filled;          /* a witness: all others have */
};
/* A new incarnation, filled by nobody yet (`filled`: it is the first of its cluster). The same
 * one again changes nothing: E_EXISTS. */
MUST_CHECK enum err spool_member_begin(struct spool_txn *t, uint64_t incarnation,
                                       uint64_t first_epoch, bool filled);
/* A site below 64 has told FILLED. *by: who has, with this one. */
MUST_CHECK enum err spool_filled_by(struct spool_txn *t, uint16_t site, uint64_t *by);
MUST_CHECK enum err spool_filled_set(struct spool_txn *t); /* E_EXISTS: it was */
/* False too when that cannot be read: then nothing is witnessed. */
bool spool_is_filled(struct spool_txn *t);
/* E_NOTFOUND: no spool_member_begin() so far. E_CORRUPT. [reader] */
MUST_CHECK enum err spool_member(struct spool_reader *r, struct spool_member *out);
/* A change for its own sake: without one a commit does not reach the disk. */
MUST_CHECK enum err spool_echo(struct spool_txn *t);

/* Drops traces of mail settled more than LIMIT_TRACE_DAYS ago (cluster time), at most `max`;
 * also the oldest ones while all traces take more than LIMIT_TRACE_PERCENT of the capacity.
 * *dropped (may be NULL) says how many; when it is `max` there may be more. */
MUST_CHECK enum err spool_prune(struct spool_txn *t, uint64_t now_ms, size_t max,
                                size_t *dropped);

/* --- Room ----------------------------------------------------------------------------------
 * FULL: used pages are above LIMIT_SPOOL_FULL_PERCENT of the capacity, which is the least of
 * map, quota, and file plus free space of the file system; or above LIMIT_SPOOL_ROOM_PERCENT
 * when something was refused. ROOM again below LIMIT_SPOOL_ROOM_PERCENT.
 * While FULL, puts and stages answer E_FULL; updates, marks, settles and deletes go on in the
 * reserve; so do copies of peers, up to LIMIT_SPOOL_PEER_PERCENT. As of the last commit or
 * spool_refresh_room(). [any] */
enum spool_room { SPOOL_ROOM, SPOOL_FULL };
enum spool_room spool_room(const struct spool *s);
uint64_t spool_used_bytes(const struct spool *s);     /* [any] */
uint64_t spool_capacity_bytes(const struct spool *s); /* [any] */
/* Looks again when nothing was committed for a while (an empty disk does not announce itself).
 * Outside a transaction. [writer] */
void spool_refresh_room(struct spool *s);

struct spool_totals spool_totals(const struct spool *s); /* as of the last commit [any] */

/* --- Reading ------------------------------------------------------------------------ [reader]
 * One handle per thread. Every call opens a snapshot, copies and ends it, so handles may be
 * kept for ever. E_IO: the environment failed. */

/* E_FULL: LIMIT_SPOOL_READERS are open. */
MUST_CHECK enum err spool_reader_open(struct spool *s, struct spool_reader **out);
void spool_reader_close(struct spool_reader **r);

/* A live message. E_NOTFOUND, E_CORRUPT, E_FULL (no room in the arena). */
MUST_CHECK enum err spool_get(struct spool_reader *r, struct mid id, struct arena *a,
                              struct envelope *out);

/* Copies body bytes from `offset`, at most `size` and at most SPOOL_READ_BYTES, into buf. *got
 * is 0 at the end of the body and only there. Every chunk is verified before it is handed out.
 * E_NOTFOUND: settled meanwhile. E_CORRUPT: a chunk is damaged or missing; buf holds nothing
 * to be used. */
#define SPOOL_READ_BYTES 65536
MUST_CHECK enum err spool_read_body(struct spool_reader *r, const struct envelope *e,
                                    uint64_t offset, void *buf, size_t size, size_t *got);

/* Reads the whole body against e->body_digest. Errors as spool_read_body(). */
MUST_CHECK enum err spool_verify_body(struct spool_reader *r, const struct envelope *e);

/* The live messages in the order of their ids, in batches: start with a zeroed cursor, repeat
 * until c->end. Each call looks at most at `max` records in one snapshot and calls fn for each
 * good one; the envelope is fn's for that call only. fn must be short (the snapshot is open)
 * and must not use this reader; false ends the batch behind this record. Damaged records are
 * alarmed, counted in c->corrupt and passed over. A damaged mark counts as an open dot. */
struct spool_cursor {
    struct mid next; /* the first id that was not looked at */
    bool end;
    bool committed_only; /* set by the caller: undecided copies are passed over */
    bool settled;        /* set by the caller: not the live ones, but those settled up to
                            LIMIT_TRACE_DAYS ago; dot_open is false */
    uint64_t corrupt;
};
MUST_CHECK enum err spool_scan(struct spool_reader *r, struct spool_cursor *c, size_t max,
                               bool (*fn)(void *user, const struct envelope *e, bool dot_open),
                               void *user);

/* A message, live (*live true) or settled up to LIMIT_TRACE_DAYS ago. E_NOTFOUND: neither;
 * spool_settled_contains() then tells a settled id from an unknown one. */
MUST_CHECK enum err spool_trace(struct spool_reader *r, struct mid id, struct arena *a,
                                struct envelope *out, bool *live);

/* OK: the id is in the settled set. E_NOTFOUND: it is not. E_CORRUPT: cannot be told. */
MUST_CHECK enum err spool_settled_contains(struct spool_reader *r, struct mid id);

/* What is stored of an id; as spool_state(). */
MUST_CHECK enum err spool_state_of(struct spool_reader *r, struct mid id,
                                   struct spool_state *out);
/* As spool_mark_get(). */
MUST_CHECK enum err spool_mark_of(struct spool_reader *r, struct mid id,
                                  struct spool_mark *out);

/* Everything but envelopes and bodies, for a start: in batches, as spool_scan(). fn must be
 * short and must not use this reader. Damaged records are alarmed, counted and passed over: a
 * peer that is told of all that is good sends the rest. A damaged mark is told as site 0. */
enum spool_fact_kind {
    SPOOL_FACT_CLEAR,   /* site epoch                            */
    SPOOL_FACT_SESSION, /* site epoch upto resolved              */
    SPOOL_FACT_SETTLED, /* site epoch from to                    */
    SPOOL_FACT_ABORTED, /* id state (ABORTED)                    */
    SPOOL_FACT_COPY,    /* id state (UNDECIDED or COMMITTED)     */
    SPOOL_FACT_MARK,    /* id mark                               */
    SPOOL_FACT_DAMAGED  /* id: a copy or an abort that cannot be read */
};
struct spool_fact {
    enum spool_fact_kind kind;
    struct mid id;
    enum copy_state state;
    uint16_t site;
    uint64_t epoch, from, to, upto;
    bool resolved;
    struct spool_mark mark;
};
struct spool_facts { /* start with a zeroed one */
    uint32_t table;
    uint32_t next_bytes;
    char next[32];
    bool end;
    uint64_t corrupt;
};
MUST_CHECK enum err spool_facts(struct spool_reader *r, struct spool_facts *c, size_t max,
                                void (*fn)(void *user, const struct spool_fact *f), void *user);

/* --- Upkeep --------------------------------------------------------------------------------
 * The scrub reads everything once a round and verifies it: records, bodies with their digest,
 * marks, settled set, traces. It owns a reader; one thread. */
MUST_CHECK enum err spool_scrub_open(struct spool *s, struct spool_scrub **out);
void spool_scrub_close(struct spool_scrub **sc);
/* Reads about max_bytes (at least one record or chunk) and returns. *round_done: all was seen
 * once since the last time it was true. Damage is alarmed and counted in *corrupt (may be
 * NULL), it is not an error. E_IO. */
MUST_CHECK enum err spool_scrub_step(struct spool_scrub *sc, uint64_t max_bytes,
                                     bool *round_done, uint64_t *corrupt);

/* The watchdog on old snapshots, which keep freed pages from being used again (call every few
 * seconds). Frees the slots of dead processes. Logs spool_stale_reader above
 * LIMIT_SPOOL_READER_MS. [any] */
struct spool_reader_age {
    uint64_t oldest_ms; /* age of the oldest open snapshot of this process; 0: none open */
    uint64_t lag_txns;  /* commits since the oldest open snapshot of any process         */
};
void spool_readers_check(struct spool *s, struct spool_reader_age *out);
