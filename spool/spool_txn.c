/* One group commit. Two kinds of answers are kept apart: what concerns one message is returned,
 * what concerns the environment sticks to the transaction (spool.h). */
#include <errno.h>

#include "base/log.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

#define SMALL_RECORD_BYTES 128 /* what a mark or an interval counts in a batch */

void spool_note(struct spool_txn *t, const char *op, int rc)
{
    enum err e = spool_err_from_lmdb(rc);

    if (e == OK || t->first_err != OK)
        return;
    t->first_err = e == E_FULL ? E_FULL : E_IO;
    spool_log_failure(op, t->first_err, rc);
}

enum err spool_stick(struct spool_txn *t, enum err e)
{
    if (e == E_IO && t->first_err == OK)
        t->first_err = E_IO;
    return e;
}

char *spool_reserve(struct spool_txn *t, enum spool_table table, const struct spool_key *key,
                    size_t data_bytes)
{
    MDB_val k = val_of_key(key), v = {.mv_size = CHECKSUM_BYTES + data_bytes};

    spool_note(t, spool_table_name(table),
               mdb_put(t->mdb, t->spool->dbi[table], &k, &v, MDB_RESERVE));
    t->bytes += v.mv_size + key->n;
    return t->first_err == OK ? v.mv_data : NULL;
}

enum err spool_store(struct spool_txn *t, enum spool_table table, const struct spool_key *key,
                     struct str data)
{
    char *value = spool_reserve(t, table, key, data.n);

    if (value == NULL)
        return t->first_err;
    if (data.n > 0)
        memcpy(value + CHECKSUM_BYTES, data.p, data.n);
    spool_value_seal(table, str_of_key(key), value, data.n);
    return OK;
}

enum err spool_remove(struct spool_txn *t, enum spool_table table, const struct spool_key *key)
{
    MDB_val k = val_of_key(key);
    int rc = mdb_del(t->mdb, t->spool->dbi[table], &k, NULL);

    if (rc == MDB_NOTFOUND)
        return E_NOTFOUND;
    spool_note(t, spool_table_name(table), rc);
    return t->first_err;
}

struct spool_txn *spool_begin(struct spool *s)
{
    struct spool_txn *t = &s->txn;
    int rc;

    ASSERT(!t->open);
    *t = (struct spool_txn){.spool = s, .open = true};
    if (atomic_load(&s->poisoned)) {
        t->first_err = E_IO;
        return t;
    }
    rc = mdb_txn_begin(s->env, NULL, 0, &t->mdb);
    if (rc != 0) {
        t->mdb = NULL;
        spool_note(t, "begin", rc);
        t->first_err = E_IO; /* a begin needs no space: nothing but trouble fails it */
    }
    return t;
}

static void close_txn(struct spool_txn **tp)
{
    if ((*tp)->mdb != NULL)
        mdb_txn_abort((*tp)->mdb);
    (*tp)->mdb = NULL;
    (*tp)->open = false;
    *tp = NULL;
}

void spool_abort(struct spool_txn **tp)
{
    struct spool_txn *t = *tp;

    if (t->first_err == E_IO)
        atomic_store(&t->spool->poisoned, true);
    close_txn(tp);
}

uint64_t spool_txn_bytes(const struct spool_txn *t)
{
    return t->bytes;
}

/* LMDB reports a write that came back short as EIO, so a full disk looks like a dying one. And
 * a failed write of a meta page leaves the environment unusable (MDB_PANIC at the next begin),
 * whatever the reason was. */
static enum err judge_commit(struct spool_txn *t, int rc)
{
    enum err e = spool_err_from_lmdb(rc);
    MDB_txn *probe;
    int again;

    if (rc == EIO && spool_disk_full(t->spool, t->bytes))
        e = E_FULL;
    if (e != E_FULL)
        return E_IO;
    again = mdb_txn_begin(t->spool->env, NULL, 0, &probe);
    if (again != 0) {
        spool_log_failure("begin_after_full", E_IO, again);
        return E_IO;
    }
    mdb_txn_abort(probe);
    return E_FULL;
}

static void apply_totals(const struct spool_txn *t)
{
    atomic_fetch_add(&t->spool->messages, t->messages_in);
    atomic_fetch_sub(&t->spool->messages, t->messages_out);
    atomic_fetch_add(&t->spool->bytes, t->bytes_in);
    atomic_fetch_sub(&t->spool->bytes, t->bytes_out);
}

enum err spool_commit(struct spool_txn **tp)
{
    struct spool_txn *t = *tp;
    struct spool *s = t->spool;
    enum err e = t->first_err;
    uint64_t used = 0;
    int rc;

    if (e == OK) {
        used = spool_used_pages(s, t->mdb) * PAGE_BYTES;
        rc = mdb_txn_commit(t->mdb);
        t->mdb = NULL; /* LMDB frees it, whatever it answers */
        if (rc != 0) {
            e = judge_commit(t, rc);
            spool_log_failure("commit", e, rc);
        }
    }
    if (e == OK)
        apply_totals(t);
    if (e == E_IO)
        atomic_store(&s->poisoned, true);
    close_txn(tp);
    if (e == OK)
        spool_room_update(s, used);
    else if (e == E_FULL)
        spool_refresh_room(s);
    return e;
}

uint64_t spool_next_body(struct spool *s)
{
    return atomic_fetch_add(&s->next_body, 1);
}

/* The live message, when it is the one the envelope means. E_NOTFOUND: not live. */
static enum err find_same(struct spool_txn *t, const struct envelope *e, struct msg_head *h)
{
    enum err err = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, e->id, h, NULL));

    if (err != OK)
        return err;
    if (h->bytes == e->body_bytes && h->digest == e->body_digest)
        return OK;
    LOG(EV_ID_CONFLICT, L_MID(e->id), L_U64("bytes", h->bytes), L_U64("new", e->body_bytes));
    return E_CONFLICT;
}

static enum err store_msg(struct spool_txn *t, const struct envelope *e, size_t record_bytes)
{
    struct spool_key key = spool_key_mid(e->id);
    struct msg_head h = {e->body_number, e->body_bytes, e->body_digest};
    char *value = spool_reserve(t, TABLE_MSG, &key, MSG_HEAD_BYTES + record_bytes);
    size_t n;

    if (value == NULL)
        return t->first_err;
    msg_head_write(&h, value + CHECKSUM_BYTES);
    n = envelope_encode(e, value + CHECKSUM_BYTES + MSG_HEAD_BYTES);
    ASSERT(n == record_bytes);
    spool_value_seal(TABLE_MSG, str_of_key(&key), value, MSG_HEAD_BYTES + n);
    return OK;
}

/* Whether a message may be put: OK, or the answer to the put. */
static enum err may_put(struct spool_txn *t, const struct envelope *e, uint64_t new_bytes)
{
    struct msg_head h;
    enum err err;

    if (t->first_err != OK)
        return t->first_err;
    if (envelope_encoded_size(e) == 0)
        return E_PROTO;
    err = find_same(t, e, &h);
    if (err != E_NOTFOUND)
        return err == OK ? E_EXISTS : err;
    err = spool_stick(t, spool_settled_find(t->spool, t->mdb, e->id));
    if (err != E_NOTFOUND)
        return err == OK ? E_NOTFOUND : err;
    return spool_room_for(t, new_bytes) ? OK : E_FULL;
}

static enum err put_record(struct spool_txn *t, struct envelope *e, uint64_t body_number)
{
    enum err err;
    size_t record_bytes;

    e->body_number = body_number;
    record_bytes = envelope_encoded_size(e); /* the number is a part of it */
    ASSERT(record_bytes > 0);
    err = store_msg(t, e, record_bytes);
    if (err != OK)
        return err;
    t->messages_in++;
    t->bytes_in += e->body_bytes;
    return OK;
}

/* Whole pages, as the body takes them, and one for the record. */
static uint64_t pages_bytes(uint64_t body_bytes)
{
    return (chunk_count(body_bytes) + UINT64_C(1)) * PAGE_BYTES;
}

enum err spool_put(struct spool_txn *t, struct envelope *e, const struct block_list *body)
{
    enum err err = may_put(t, e, pages_bytes(e->body_bytes));
    uint64_t number;

    ASSERT(e->body_bytes == body->bytes);
    if (err != OK)
        return err;
    number = spool_next_body(t->spool);
    err = spool_body_write(t, number, 0, body);
    return err == OK ? put_record(t, e, number) : err;
}

enum err spool_put_staged(struct spool_txn *t, struct envelope *e, uint64_t body_number)
{
    enum err err = may_put(t, e, PAGE_BYTES);

    if (err == OK)
        err = spool_body_complete(t, body_number, e->body_bytes);
    return err == OK ? put_record(t, e, body_number) : err;
}

enum err spool_stage(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                     const struct block_list *piece)
{
    if (t->first_err != OK)
        return t->first_err;
    if (offset > LIMIT_BODY_BYTES || piece->bytes > LIMIT_BODY_BYTES - offset)
        return E_PROTO;
    if (!spool_room_for(t, pages_bytes(piece->bytes)))
        return E_FULL;
    return spool_body_write(t, body_number, offset, piece);
}

enum err spool_unstage(struct spool_txn *t, uint64_t body_number)
{
    size_t removed;
    enum err e = t->first_err;

    if (e == OK)
        e = spool_body_sweep(t, body_number, SIZE_MAX, &removed);
    t->bytes += SMALL_RECORD_BYTES;
    return e == OK && removed == 0 ? E_NOTFOUND : e;
}

enum err spool_abort_id(struct spool_txn *t, struct mid id)
{
    struct msg_head h;
    enum err e;

    if (t->first_err != OK)
        return t->first_err;
    e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, NULL));
    if (e == OK || e == E_CORRUPT) /* a damaged record is a live message too */
        return E_CONFLICT;
    return e == E_NOTFOUND ? spool_settled_add(t, id) : e;
}

enum err spool_update(struct spool_txn *t, const struct envelope *e)
{
    size_t record_bytes = envelope_encoded_size(e);
    struct msg_head h;
    enum err err;

    if (t->first_err != OK)
        return t->first_err;
    if (record_bytes == 0)
        return E_PROTO;
    err = find_same(t, e, &h);
    if (err == OK && h.number != e->body_number)
        err = E_CONFLICT;
    return err == OK ? store_msg(t, e, record_bytes) : err;
}

enum err spool_dot(struct spool_txn *t, struct mid id, uint64_t slot_epoch)
{
    struct spool_key key = spool_key_mid(id);
    char data[MARK_DATA_BYTES];
    struct msg_head h;
    struct str old;
    enum err e;

    if (t->first_err != OK)
        return t->first_err;
    e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, NULL));
    if (e != OK)
        return e;
    e = spool_stick(t, spool_fetch(t->spool, t->mdb, TABLE_MARK, &key, &old));
    if (e != OK && e != E_NOTFOUND)
        return e;
    if (e == OK && (old.n != MARK_DATA_BYTES || get_be(old.p, MARK_DATA_BYTES) > slot_epoch))
        return E_CONFLICT;
    put_be(data, MARK_DATA_BYTES, slot_epoch);
    return spool_store(t, TABLE_MARK, &key, (struct str){data, sizeof data});
}

enum err spool_closed(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);

    if (t->first_err != OK)
        return t->first_err;
    t->bytes += SMALL_RECORD_BYTES;
    return spool_remove(t, TABLE_MARK, &key);
}
