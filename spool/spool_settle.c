/* The end of a message's life, and of what is remembered of it. */
#include "base/fault.h"
#include "base/log.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

static enum err write_trace(struct spool_txn *t, const struct envelope *e)
{
    struct spool_key key = spool_key_mid(e->id);
    struct spool_key aging = spool_key_aging((uint32_t)(e->settled_ms / DAY_MS), e->id);
    size_t n = envelope_encoded_size(e);
    char *value;

    ASSERT(n > 0);
    value = spool_reserve(t, TABLE_TRACE, &key, n);
    if (value == NULL)
        return t->first_err;
    envelope_encode(e, value + CHECKSUM_BYTES);
    spool_value_seal(TABLE_TRACE, str_of_key(&key), value, n);
    return spool_store(t, TABLE_AGING, &aging, STR_NONE);
}

/* As it is kept. E_PROTO: no record can hold it. */
static enum err last_of(const struct envelope *e, uint64_t now_ms, int64_t wall_ms,
                        struct envelope *last)
{
    *last = *e;
    last->settled_ms = now_ms;
    last->settled_wall_ms = wall_ms;
    return envelope_encoded_size(last) != 0 ? OK : E_PROTO;
}

/* Whether the message can be settled, and where its body lies. */
static enum err may_settle(struct spool_txn *t, const struct envelope *e, struct msg_head *h)
{
    enum err err = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, e->id, h, NULL));

    if (err == E_NOTFOUND) {
        err = spool_stick(t, spool_settled_find(t->spool, t->mdb, e->id));
        return err == OK ? E_EXISTS : err;
    }
    if (err == OK && (h->number != e->body_number || h->bytes != e->body_bytes ||
                      h->digest != e->body_digest)) {
        LOG(EV_ID_CONFLICT, L_MID(e->id), L_U64("bytes", h->bytes),
            L_U64("new", e->body_bytes));
        return E_CONFLICT;
    }
    return err;
}

/* Nothing stays of the copy but its id. An error is one of the environment, and sticks: nothing
 * stays half done. */
static enum err bury(struct spool_txn *t, struct mid id, const struct msg_head *h)
{
    struct spool_key key = spool_key_mid(id);
    enum err err = FAULT(TOMBSTONE_DROPPED) ? OK : spool_settled_add(t, id);

    if (err == E_EXISTS)
        err = OK; /* live and settled at once is damage; settling mends it */
    if (err == OK)
        err = spool_remove(t, TABLE_MSG, &key);
    if (err == OK)
        err = spool_remove(t, TABLE_MARK, &key);
    if (err == OK || err == E_NOTFOUND)
        err = spool_body_remove(t, h->number, h->bytes);
    if (err == OK) {
        t->messages_out++;
        t->bytes_out += h->bytes;
    }
    return err;
}

enum err spool_settle(struct spool_txn *t, struct envelope *e, uint64_t now_ms, int64_t wall_ms)
{
    struct envelope last;
    struct msg_head h;
    enum err err = t->first_err;

    if (err == OK)
        err = last_of(e, now_ms, wall_ms, &last);
    if (err == OK)
        err = may_settle(t, e, &h);
    if (err == OK)
        err = bury(t, e->id, &h);
    if (err == OK)
        err = write_trace(t, &last);
    if (err == OK)
        *e = last;
    return err;
}

enum err spool_settle_id(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    struct spool_state st;
    struct msg_head h;
    enum err err = spool_state(t, id, &st);

    if (err != OK)
        return err;
    if (st.state == COPY_SETTLED)
        return E_EXISTS;
    if (st.state != COPY_UNDECIDED && st.state != COPY_COMMITTED && !st.damaged)
        return E_NOTFOUND;
    if (st.damaged) {
        err = spool_remove(t, TABLE_MSG, &key);
        if (err == OK)
            err = spool_remove(t, TABLE_MARK, &key);
        if (err == OK || err == E_NOTFOUND)
            err = FAULT(TOMBSTONE_DROPPED) ? OK : spool_settled_add(t, id);
        t->messages_out++;
        return err == E_EXISTS ? OK : err;
    }
    err = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, NULL));
    return err == OK ? bury(t, id, &h) : err;
}

enum err spool_settle_absent(struct spool_txn *t, struct envelope *e, uint64_t now_ms,
                             int64_t wall_ms)
{
    struct spool_key key = spool_key_mid(e->id);
    struct envelope last;
    struct spool_state st;
    enum err err = spool_state(t, e->id, &st);

    if (err == OK && (st.state == COPY_UNDECIDED || st.state == COPY_COMMITTED))
        err = E_CONFLICT;
    if (err == OK)
        err = last_of(e, now_ms, wall_ms, &last);
    if (err != OK)
        return err;
    err = FAULT(TOMBSTONE_DROPPED) ? OK : spool_settled_add(t, e->id);
    if (err == OK && st.damaged) {
        err = spool_remove(t, TABLE_MSG, &key);
        t->messages_out++;
    }
    if (err == OK)
        err = spool_remove(t, TABLE_MARK, &key);
    if (err == OK || err == E_NOTFOUND)
        err = spool_remove(t, TABLE_ABORTED, &key);
    if (err == OK || err == E_NOTFOUND)
        err = write_trace(t, &last);
    if (err == OK)
        *e = last;
    return err;
}

enum err spool_settle_trace(struct spool_txn *t, struct envelope *e, uint64_t now_ms,
                            int64_t wall_ms)
{
    struct spool_key key = spool_key_mid(e->id);
    struct envelope last;
    struct str old;
    enum err err = t->first_err;

    if (err == OK)
        err = last_of(e, now_ms, wall_ms, &last);
    if (err == OK)
        err = spool_stick(t, spool_settled_find(t->spool, t->mdb, e->id));
    if (err != OK)
        return err;
    err = spool_stick(t, spool_fetch(t->spool, t->mdb, TABLE_TRACE, &key, &old));
    if (err != E_NOTFOUND)
        return err == OK ? E_EXISTS : err;
    err = write_trace(t, &last);
    if (err == OK)
        *e = last;
    return err;
}

/* --- Traces grow old --- */

/* The first aging key at or behind *key; E_NOTFOUND: none. Verified: *good. */
static enum err next_aging(struct spool_txn *t, struct spool_key *key, bool *good)
{
    MDB_val k = val_of_key(key), v;
    MDB_cursor *cursor;
    struct str data;
    int rc = mdb_cursor_open(t->mdb, t->spool->dbi[TABLE_AGING], &cursor);

    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (rc == 0 && k.mv_size <= KEY_BYTES_MAX) {
            *good = spool_value_open(TABLE_AGING, str_of_val(&k), str_of_val(&v), &data) &&
                    k.mv_size == AGING_KEY_BYTES;
            key->n = (uint8_t)k.mv_size;
            memcpy(key->b, k.mv_data, k.mv_size);
        }
        mdb_cursor_close(cursor);
    }
    if (rc == 0 || rc == MDB_NOTFOUND)
        return rc == 0 ? OK : E_NOTFOUND;
    spool_note(t, "aging", rc);
    return t->first_err;
}

/* The next key in byte order of this length. */
static void key_step(struct spool_key *k)
{
    for (int i = k->n - 1; i >= 0; i--)
        if (++k->b[i] != 0)
            return;
}

static bool traces_too_many(struct spool_txn *t)
{
    uint64_t most = atomic_load(&t->spool->capacity_bytes) / 100 * LIMIT_TRACE_PERCENT;
    MDB_stat st;

    if (mdb_stat(t->mdb, t->spool->dbi[TABLE_TRACE], &st) != 0)
        return false;
    return (st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) * PAGE_BYTES > most;
}

static enum err drop_trace(struct spool_txn *t, const struct spool_key *aging, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    enum err e = spool_remove(t, TABLE_TRACE, &key);

    if (e == OK || e == E_NOTFOUND)
        e = spool_remove(t, TABLE_AGING, aging);
    t->bytes += CHECKSUM_BYTES + AGING_KEY_BYTES;
    return e;
}

enum err spool_prune(struct spool_txn *t, uint64_t now_ms, size_t max, size_t *dropped)
{
    uint64_t today = now_ms / DAY_MS;
    struct spool_key key = {.n = AGING_KEY_BYTES};
    size_t done = 0, looked = 0, early = 0;
    enum err e = t->first_err;

    for (; e == OK && done < max && looked < max; looked++) {
        bool good = false, old;
        struct mid id;
        uint32_t day;

        e = next_aging(t, &key, &good);
        if (e != OK)
            break;
        if (!good) { /* kept: it is the only sign of the damage; passed over */
            spool_log_corrupt(TABLE_AGING, str_of_key(&key), "checksum");
            key_step(&key);
            continue;
        }
        ASSERT(spool_key_to_aging(str_of_key(&key), &day, &id));
        old = (uint64_t)day + LIMIT_TRACE_DAYS < today;
        if (!old && !traces_too_many(t))
            break;
        early += !old;
        e = drop_trace(t, &key, id);
        done += e == OK;
    }
    if (early > 0)
        LOG(EV_TRACE_SHORTENED, L_U64("dropped", early));
    if (dropped != NULL)
        *dropped = done;
    return e == E_NOTFOUND ? OK : e;
}
