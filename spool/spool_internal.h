/* spool_internal: what the files of the message store share. Private to spool/. */
#pragma once

#include <lmdb.h>
#include <stdatomic.h>

#include "spool/spool.h"
#include "spool/spool_format.h"

#define PAGE_BYTES UINT64_C(4096)

struct spool_txn {
    struct spool *spool;
    MDB_txn *mdb;
    bool open;
    enum err first_err; /* of the environment; sticky */
    uint64_t bytes;
    uint64_t messages_in, messages_out; /* applied to the totals when the commit is durable */
    uint64_t bytes_in, bytes_out;
};

/* A reader's place in the watchdog's table. */
struct reader_slot {
    atomic_bool taken;
    atomic_uint_fast64_t since_ms; /* the open snapshot's begin; 0: none open */
};

struct spool {
    MDB_env *env;
    MDB_dbi dbi[TABLE_COUNT];
    int lock_fd, data_fd;
    uint64_t map_bytes, quota_bytes;
    atomic_bool poisoned;
    atomic_uint_fast64_t next_body;
    atomic_uint_fast64_t messages, bytes;
    atomic_uint_fast64_t used_bytes, capacity_bytes;
    atomic_int room;
    MDB_txn *look; /* the writer's own read transaction, reset when idle */
    struct spool_recovered recovered;
    struct spool_txn txn; /* the only one */
    struct reader_slot readers[LIMIT_SPOOL_READERS];
};

/* --- spool_env.c: the environment and everything that reads an LMDB code --- */
MUST_CHECK enum err spool_env_open(struct spool *s, const struct spool_options *o);
/* Read-only, for the offline check: no lock file, no change. */
MUST_CHECK enum err spool_env_open_readonly(struct spool *s, const char *dir);
void spool_env_close(struct spool *s);
enum err spool_err_from_lmdb(int rc);
/* Logs what LMDB (or the kernel behind it) said; `op` is where. */
void spool_log_failure(const char *op, enum err e, int rc);
void spool_log_corrupt(enum spool_table table, struct str key, const char *what);

static inline MDB_val val_of_key(const struct spool_key *k)
{
    return (MDB_val){.mv_size = k->n, .mv_data = (void *)(uintptr_t)k->b};
}
static inline struct str str_of_key(const struct spool_key *k)
{
    return (struct str){(const char *)k->b, k->n};
}
static inline struct str str_of_val(const MDB_val *v)
{
    return (struct str){v->mv_data, v->mv_size};
}

/* One verified value. OK: *data lives until the transaction changes or ends. E_NOTFOUND.
 * E_CORRUPT: alarmed. E_IO: logged. */
MUST_CHECK enum err spool_fetch(struct spool *s, MDB_txn *txn, enum spool_table table,
                                const struct spool_key *key, struct str *data);
/* The head of a live message, verified; *record (may be NULL) as in msg_head_read(). */
MUST_CHECK enum err spool_fetch_msg(struct spool *s, MDB_txn *txn, struct mid id,
                                    struct msg_head *h, struct str *record);
/* A decoded record that agrees with its key and head. E_CORRUPT: alarmed. E_FULL: arena. */
MUST_CHECK enum err spool_decode_msg(struct mid id, const struct msg_head *h, struct str record,
                                     struct arena *a, struct envelope *out);
MUST_CHECK enum err spool_decode_trace(struct mid id, struct str record, struct arena *a,
                                       struct envelope *out);

/* --- spool_room.c --- */
uint64_t spool_used_pages(struct spool *s, MDB_txn *txn);
void spool_room_update(struct spool *s, uint64_t used_bytes);
/* True when `bytes` more may be written now; `from_peer`: below the mark for peers' copies. */
bool spool_room_for(const struct spool_txn *t, uint64_t bytes, bool from_peer);
/* The file system has no room for a batch of this size. */
bool spool_disk_full(const struct spool *s, uint64_t batch_bytes);

/* --- spool_txn.c: changes inside a transaction; errors of the environment stick --- */
void spool_note(struct spool_txn *t, const char *op, int rc);
enum err spool_stick(struct spool_txn *t, enum err e); /* keeps E_IO; returns e */
/* Room for data_bytes under the key: fill it, then spool_value_seal(). NULL: stuck. */
char *spool_reserve(struct spool_txn *t, enum spool_table table, const struct spool_key *key,
                    size_t data_bytes);
/* A small value in one go. */
enum err spool_store(struct spool_txn *t, enum spool_table table, const struct spool_key *key,
                     struct str data);
/* OK, E_NOTFOUND, or what sticks. */
enum err spool_remove(struct spool_txn *t, enum spool_table table, const struct spool_key *key);

/* Whole pages, as the body takes them, and one for the record. */
static inline uint64_t pages_bytes(uint64_t body_bytes)
{
    return (chunk_count(body_bytes) + UINT64_C(1)) * PAGE_BYTES;
}
#define SMALL_RECORD_BYTES 128 /* what a mark or an interval counts in a batch */
/* Writes the record of a message anew; record_bytes as of envelope_encoded_size(). */
MUST_CHECK enum err spool_store_msg(struct spool_txn *t, const struct envelope *e,
                                    enum copy_state state, size_t record_bytes);
/* The first key of the table at or behind *key; E_NOTFOUND: none. */
MUST_CHECK enum err spool_seek(struct spool_txn *t, enum spool_table table,
                               struct spool_key *key);

/* --- spool_body.c: chunks --- */
/* Where bytes to be written are: in blocks, or, when that is NULL, in one piece. */
struct body_source {
    const struct block_list *blocks;
    struct str bytes;
};
static inline uint64_t body_source_bytes(const struct body_source *b)
{
    return b->blocks != NULL ? b->blocks->bytes : b->bytes.n;
}
MUST_CHECK enum err spool_body_write(struct spool_txn *t, uint64_t number, uint64_t offset,
                                     const struct body_source *from);
/* OK: every chunk verifies and the whole has that digest. E_CORRUPT. */
MUST_CHECK enum err spool_body_verify(struct spool *s, MDB_txn *txn, const struct msg_head *h);
/* Are the chunks of `number` exactly those of a body of this size? OK or E_NOTFOUND. */
MUST_CHECK enum err spool_body_complete(struct spool_txn *t, uint64_t number, uint64_t bytes);
/* Removes the chunks of a known body by key; missing ones are passed over. */
MUST_CHECK enum err spool_body_remove(struct spool_txn *t, uint64_t number, uint64_t bytes);
/* Removes at most `max` chunks of whatever is there; *removed says how many. */
MUST_CHECK enum err spool_body_sweep(struct spool_txn *t, uint64_t number, size_t max,
                                     size_t *removed);

/* --- spool_settled.c: intervals of counters per (site, session), and what is clear --- */
/* OK: contained, or of a clear session. E_NOTFOUND. E_CORRUPT. E_IO. */
MUST_CHECK enum err spool_settled_find(struct spool *s, MDB_txn *txn, struct mid id);
/* E_EXISTS: contained before. E_CORRUPT: nothing changed. */
MUST_CHECK enum err spool_settled_add(struct spool_txn *t, struct mid id);
/* The same for first .. counter `last`. */
MUST_CHECK enum err spool_settled_add_range(struct spool_txn *t, struct mid first,
                                            uint64_t last);
/* Sessions of the site below *epoch are clear; 0: none. E_CORRUPT. */
MUST_CHECK enum err spool_clear_fetch(struct spool *s, MDB_txn *txn, uint16_t site,
                                      uint64_t *epoch);

/* --- spool_copies.c: states --- */
/* What is known of the session of an id; nothing: all zero. A damaged record tells nothing: it
 * is alarmed, and written anew with the next knowledge. */
struct session_facts {
    uint64_t upto;
    bool resolved;
};
MUST_CHECK enum err spool_session_fetch(struct spool *s, MDB_txn *txn, struct mid id,
                                        struct session_facts *out);
bool spool_session_read(struct str data, struct session_facts *out);
static inline bool session_covers(const struct session_facts *f, struct mid id)
{
    return f->resolved || mid_counter(id) <= f->upto;
}
/* OK: an abort is stored. E_NOTFOUND. E_CORRUPT. */
MUST_CHECK enum err spool_aborted_find(struct spool *s, MDB_txn *txn, struct mid id);
MUST_CHECK enum err spool_state_fetch(struct spool *s, MDB_txn *txn, struct mid id,
                                      struct spool_state *out);
bool spool_mark_read(struct str data, struct spool_mark *out);

/* --- spool_member.c --- */
bool spool_member_read(struct str data, struct spool_member *out);

/* --- spool_recover.c --- */
MUST_CHECK enum err spool_recover(struct spool *s);

/* --- spool_reader.c --- */
struct spool_reader {
    struct spool *spool;
    MDB_txn *txn; /* reset when idle */
    struct reader_slot *slot;
    struct arena scratch;
};
MUST_CHECK enum err spool_snapshot(struct spool_reader *r);
void spool_snapshot_end(struct spool_reader *r);
