/* One group commit. Two kinds of answers are kept apart: what concerns one message is returned,
 * what concerns the environment sticks to the transaction (spool.h). */
#include <errno.h>

#include "base/log.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

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

enum err spool_seek(struct spool_txn *t, enum spool_table table, struct spool_key *key)
{
    MDB_val k = val_of_key(key), v;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->mdb, t->spool->dbi[table], &cursor);

    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (rc == 0) {
            key->n = (uint8_t)(k.mv_size < KEY_BYTES_MAX ? k.mv_size : KEY_BYTES_MAX);
            memcpy(key->b, k.mv_data, key->n);
        }
        mdb_cursor_close(cursor);
    }
    if (rc == 0 || rc == MDB_NOTFOUND)
        return rc == 0 ? OK : E_NOTFOUND;
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

uint64_t spool_txn_next_body(struct spool_txn *t)
{
    return spool_next_body(t->spool);
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

enum err spool_store_msg(struct spool_txn *t, const struct envelope *e, enum copy_state state,
                         size_t record_bytes)
{
    struct spool_key key = spool_key_mid(e->id);
    struct msg_head h = {e->body_number, e->body_bytes, e->body_digest, state};
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

/* Whether a message may be put: OK, or the answer to the put. *aborted: in the place of an
 * abort. */
static enum err may_put(struct spool_txn *t, const struct envelope *e,
                        const struct spool_copy *c, bool *aborted)
{
    struct msg_head h;
    enum err err;

    *aborted = false;
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
    err = spool_stick(t, spool_aborted_find(t->spool, t->mdb, e->id));
    *aborted = err == OK;
    if (err != E_NOTFOUND && (err != OK || !c->from_peer || c->state != COPY_COMMITTED))
        return err == OK ? E_NOTFOUND : err;
    return OK;
}

static enum err put_record(struct spool_txn *t, struct envelope *e, uint64_t body_number,
                           enum copy_state state)
{
    enum err err;
    size_t record_bytes;

    e->body_number = body_number;
    record_bytes = envelope_encoded_size(e); /* the number is a part of it */
    ASSERT(record_bytes > 0);
    err = spool_store_msg(t, e, state, record_bytes);
    if (err != OK)
        return err;
    t->messages_in++;
    t->bytes_in += e->body_bytes;
    return OK;
}

/* The body, and its number in e. */
static enum err put_body(struct spool_txn *t, struct envelope *e, const struct spool_copy *c,
                         uint64_t *number)
{
    struct body_source from = {c->blocks, c->bytes};
    uint64_t need = PAGE_BYTES;

    *number = c->staged;
    if (c->staged == 0) {
        need = pages_bytes(e->body_bytes);
        *number = spool_next_body(t->spool);
    }
    ASSERT(c->staged != 0 || e->body_bytes == body_source_bytes(&from));
    if (!spool_room_for(t, need, c->from_peer))
        return E_FULL;
    return c->staged != 0 ? spool_body_complete(t, c->staged, e->body_bytes)
                          : spool_body_write(t, *number, 0, &from);
}

enum err spool_put_copy(struct spool_txn *t, struct envelope *e, const struct spool_copy *c)
{
    struct spool_key key = spool_key_mid(e->id);
    uint64_t number = 0;
    bool aborted;
    enum err err = may_put(t, e, c, &aborted);

    ASSERT(c->state == COPY_UNDECIDED || c->state == COPY_COMMITTED);
    if (err == OK)
        err = put_body(t, e, c, &number);
    if (err == OK && aborted)
        err = spool_remove(t, TABLE_ABORTED, &key);
    return err == OK ? put_record(t, e, number, c->state) : err;
}

enum err spool_put(struct spool_txn *t, struct envelope *e, const struct block_list *body)
{
    return spool_put_copy(t, e, &(struct spool_copy){.state = COPY_COMMITTED, .blocks = body});
}

enum err spool_put_staged(struct spool_txn *t, struct envelope *e, uint64_t body_number)
{
    ASSERT(body_number != 0);
    return spool_put_copy(t, e,
                          &(struct spool_copy){.state = COPY_COMMITTED, .staged = body_number});
}

/* What can still be read of a damaged copy. E_CORRUPT: nothing, *h is zero. */
static enum err read_damaged(struct spool_txn *t, struct mid id, struct msg_head *h)
{
    struct spool_key key = spool_key_mid(id), found = key;
    enum err err = t->first_err;

    *h = (struct msg_head){0};
    if (err == OK)
        err = spool_seek(t, TABLE_MSG, &found);
    if (err == OK && !str_eq(str_of_key(&found), str_of_key(&key)))
        err = E_NOTFOUND;
    if (err == OK)
        err = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, h, NULL));
    if (err != OK)
        *h = (struct msg_head){0};
    return err;
}

/* The body of a copy in the place of another. Under its old number, if it can be: who reads the
 * message just now knows it by that. */
static enum err replace_body(struct spool_txn *t, struct envelope *e,
                             const struct spool_copy *c, const struct msg_head *old,
                             uint64_t *number)
{
    struct body_source from = {c->blocks, c->bytes};
    enum err err;

    if (c->staged == 0 && old->number != 0 && old->bytes == e->body_bytes) {
        *number = old->number;
        return spool_room_for(t, pages_bytes(e->body_bytes), c->from_peer)
                   ? spool_body_write(t, old->number, 0, &from)
                   : E_FULL;
    }
    err = put_body(t, e, c, number);
    return err == OK && old->number != 0 ? spool_body_remove(t, old->number, old->bytes) : err;
}

enum err spool_replace(struct spool_txn *t, struct envelope *e, const struct spool_copy *c)
{
    struct msg_head old;
    uint64_t number = 0;
    enum err err = read_damaged(t, e->id, &old);

    if (err != OK && err != E_CORRUPT)
        return err;
    if (envelope_encoded_size(e) == 0)
        return E_PROTO;
    err = replace_body(t, e, c, &old, &number);
    if (err == OK)
        err = put_record(t, e, number, old.state > c->state ? old.state : c->state);
    if (err != OK)
        return err;
    t->messages_out++;
    t->bytes_out += old.bytes;
    return OK;
}

enum err spool_staged_verify(struct spool_txn *t, uint64_t body_number, uint64_t bytes,
                             uint64_t digest)
{
    struct msg_head h = {.number = body_number, .bytes = bytes, .digest = digest};

    if (t->first_err != OK)
        return t->first_err;
    return spool_stick(t, spool_body_verify(t->spool, t->mdb, &h));
}

static enum err stage(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                      const struct body_source *from, bool from_peer)
{
    uint64_t bytes = body_source_bytes(from);

    if (t->first_err != OK)
        return t->first_err;
    if (offset > LIMIT_BODY_BYTES || bytes > LIMIT_BODY_BYTES - offset)
        return E_PROTO;
    if (!spool_room_for(t, pages_bytes(bytes), from_peer))
        return E_FULL;
    return spool_body_write(t, body_number, offset, from);
}

enum err spool_stage(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                     const struct block_list *piece)
{
    return stage(t, body_number, offset, &(struct body_source){.blocks = piece}, false);
}

enum err spool_stage_copy(struct spool_txn *t, uint64_t body_number, uint64_t offset,
                          struct str piece)
{
    return stage(t, body_number, offset, &(struct body_source){.bytes = piece}, true);
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
    return err == OK ? spool_store_msg(t, e, h.state, record_bytes) : err;
}

enum err spool_dot(struct spool_txn *t, struct mid id, uint64_t slot_epoch)
{
    struct spool_mark old, mark = {.slot_epoch = slot_epoch, .site = mid_site(id)};
    struct msg_head h;
    enum err e;

    if (t->first_err != OK)
        return t->first_err;
    e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, NULL));
    if (e != OK)
        return e;
    e = spool_mark_get(t, id, &old);
    if (e != OK && e != E_NOTFOUND)
        return e;
    if (e == OK && old.slot_epoch > slot_epoch)
        return E_CONFLICT;
    return spool_mark(t, id, &mark);
}

enum err spool_closed(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);

    if (t->first_err != OK)
        return t->first_err;
    t->bytes += SMALL_RECORD_BYTES;
    return spool_remove(t, TABLE_MARK, &key);
}
