/* What is stored of ids beside their mail: state, commit knowledge, aborts, marks of final
 * dots, what is settled elsewhere. Verdicts are taken above; here states only go upwards. */
#include <stdlib.h>

#include "base/fault.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

/* --- What is known of a session --- */

bool spool_session_read(struct str data, struct session_facts *out)
{
    uint64_t flags;

    *out = (struct session_facts){0};
    if (data.n != SESSION_BYTES)
        return false;
    flags = get_be(data.p + 8, 1);
    if ((flags & ~(uint64_t)SESSION_RESOLVED) != 0)
        return false;
    *out = (struct session_facts){get_be(data.p, 8), (flags & SESSION_RESOLVED) != 0};
    return true;
}

enum err spool_session_fetch(struct spool *s, MDB_txn *txn, struct mid id,
                             struct session_facts *out)
{
    struct spool_key key = spool_key_session(id);
    struct str data;
    enum err e = spool_fetch(s, txn, TABLE_SESSION, &key, &data);

    *out = (struct session_facts){0};
    if (e == OK && !spool_session_read(data, out))
        spool_log_corrupt(TABLE_SESSION, str_of_key(&key), "length");
    return e == E_IO ? E_IO : OK;
}

/* Stores what was added to the knowledge of a session. */
static enum err learn(struct spool_txn *t, struct mid id, uint64_t upto, bool resolved)
{
    struct spool_key key = spool_key_session(id);
    struct session_facts f;
    char data[SESSION_BYTES];
    uint64_t clear;
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, spool_clear_fetch(t->spool, t->mdb, mid_site(id), &clear));
    if (e == OK && mid_epoch(id) < clear)
        return E_NOTFOUND;
    if (e == OK)
        e = spool_stick(t, spool_session_fetch(t->spool, t->mdb, id, &f));
    if (e != OK)
        return e;
    if (upto <= f.upto && (f.resolved || !resolved))
        return E_EXISTS;
    put_be(data, 8, upto > f.upto ? upto : f.upto);
    put_be(data + 8, 1, f.resolved || resolved ? SESSION_RESOLVED : 0);
    return spool_store(t, TABLE_SESSION, &key, (struct str){data, sizeof data});
}

enum err spool_commit_upto(struct spool_txn *t, uint16_t site, uint64_t epoch, uint64_t counter)
{
    return learn(t, mid_make(site, epoch, 0), counter, false);
}

enum err spool_resolved(struct spool_txn *t, uint16_t site, uint64_t epoch)
{
    return learn(t, mid_make(site, epoch, 0), 0, true);
}

/* --- The state of one id --- */

enum err spool_aborted_find(struct spool *s, MDB_txn *txn, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    struct str data;
    enum err e = spool_fetch(s, txn, TABLE_ABORTED, &key, &data);

    if (e != OK || data.n == 0)
        return e;
    spool_log_corrupt(TABLE_ABORTED, str_of_key(&key), "length");
    return E_CORRUPT;
}

enum err spool_state_fetch(struct spool *s, MDB_txn *txn, struct mid id,
                           struct spool_state *out)
{
    struct session_facts f;
    struct msg_head h;
    enum err e = spool_session_fetch(s, txn, id, &f);

    *out = (struct spool_state){.upto_covers = e == OK && session_covers(&f, id)};
    if (e != OK)
        return e;
    e = spool_fetch_msg(s, txn, id, &h, NULL);
    if (e == OK) {
        out->state = out->upto_covers ? COPY_COMMITTED : h.state;
        out->bytes = h.bytes;
        out->digest = h.digest;
        return OK;
    }
    out->damaged = e == E_CORRUPT;
    if (e != E_NOTFOUND)
        return out->damaged ? OK : e;
    e = spool_settled_find(s, txn, id);
    if (e == OK)
        out->state = COPY_SETTLED;
    if (e != E_NOTFOUND)
        return e;
    e = spool_aborted_find(s, txn, id);
    if (e == OK)
        out->state = COPY_ABORTED;
    return e == E_NOTFOUND ? OK : e;
}

enum err spool_state(struct spool_txn *t, struct mid id, struct spool_state *out)
{
    *out = (struct spool_state){0};
    if (t->first_err != OK)
        return t->first_err;
    return spool_stick(t, spool_state_fetch(t->spool, t->mdb, id, out));
}

enum err spool_look(struct spool_txn *t, struct mid id, struct arena *a, struct envelope *out)
{
    struct msg_head h;
    struct str record;
    enum err e = t->first_err;

    *out = (struct envelope){0};
    if (e == OK)
        e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, &record));
    return e == OK ? spool_decode_msg(id, &h, record, a, out) : e;
}

enum err spool_verify(struct spool_txn *t, struct mid id)
{
    struct arena scratch;
    struct envelope envelope;
    struct msg_head h = {0};
    struct str record;
    enum err e = t->first_err;

    arena_init(&scratch, RECORD_ARENA_BYTES);
    if (e == OK)
        e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, &record));
    if (e == OK)
        e = spool_decode_msg(id, &h, record, &scratch, &envelope);
    if (e == OK)
        e = spool_stick(t, spool_body_verify(t->spool, t->mdb, &h));
    arena_reset(&scratch);
    return e;
}

enum err spool_commit_id(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    struct msg_head h;
    struct str record;
    char *copy, *value;
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, &record));
    if (e != OK)
        return e;
    if (h.state == COPY_COMMITTED)
        return E_EXISTS;
    copy = malloc(record.n); /* the old value moves when the new one is made room for */
    ASSERT(copy != NULL);
    memcpy(copy, record.p, record.n);
    value = spool_reserve(t, TABLE_MSG, &key, MSG_HEAD_BYTES + record.n);
    if (value != NULL) {
        h.state = COPY_COMMITTED;
        msg_head_write(&h, value + CHECKSUM_BYTES);
        memcpy(value + CHECKSUM_BYTES + MSG_HEAD_BYTES, copy, record.n);
        spool_value_seal(TABLE_MSG, str_of_key(&key), value, MSG_HEAD_BYTES + record.n);
    }
    free(copy);
    return t->first_err;
}

static enum err passed_over(enum err e)
{
    return e == E_NOTFOUND ? OK : e;
}

/* An undecided copy goes. Its mark stays: who consented to a dot has consented. */
static enum err remove_copy(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    struct msg_head h;
    enum err e = spool_stick(t, spool_fetch_msg(t->spool, t->mdb, id, &h, NULL));

    if (e == OK)
        e = spool_remove(t, TABLE_MSG, &key);
    if (e == OK)
        e = spool_body_remove(t, h.number, h.bytes);
    if (e != OK)
        return e;
    t->messages_out++;
    t->bytes_out += h.bytes;
    return OK;
}

enum err spool_abort_copy(struct spool_txn *t, struct mid id)
{
    struct spool_key key = spool_key_mid(id);
    struct spool_state st;
    enum err e = spool_state(t, id, &st);

    if (e != OK || st.damaged)
        return e != OK ? e : E_CORRUPT;
    switch (st.state) {
    case COPY_SETTLED:
        return E_NOTFOUND;
    case COPY_COMMITTED:
        return E_CONFLICT;
    case COPY_ABORTED:
        return E_EXISTS;
    case COPY_UNDECIDED:
        e = remove_copy(t, id);
        break;
    case COPY_NONE:
        break;
    }
    return e == OK && !FAULT(ABORT_FORGOTTEN) ? spool_store(t, TABLE_ABORTED, &key, STR_NONE)
                                              : e;
}

/* --- Marks of final dots --- */

bool spool_mark_read(struct str data, struct spool_mark *out)
{
    *out = (struct spool_mark){0};
    if (data.n != MARK_DATA_BYTES || (data.p[18] & ~(MARK_OVER | MARK_DOUBT)) != 0)
        return false;
    *out = (struct spool_mark){get_be(data.p, 8), (uint16_t)get_be(data.p + 8, 2),
                               get_be(data.p + 10, 8), (data.p[18] & MARK_OVER) != 0,
                               (data.p[18] & MARK_DOUBT) != 0};
    return true;
}

enum err spool_mark_get(struct spool_txn *t, struct mid id, struct spool_mark *out)
{
    struct spool_key key = spool_key_mid(id);
    struct str data;
    enum err e = t->first_err;

    *out = (struct spool_mark){0};
    if (e == OK)
        e = spool_stick(t, spool_fetch(t->spool, t->mdb, TABLE_MARK, &key, &data));
    if (e != OK || spool_mark_read(data, out))
        return e;
    spool_log_corrupt(TABLE_MARK, str_of_key(&key), "length");
    return E_CORRUPT;
}

enum err spool_mark_of(struct spool_reader *r, struct mid id, struct spool_mark *out)
{
    struct spool_key key = spool_key_mid(id);
    struct str data;
    enum err e = spool_snapshot(r);

    *out = (struct spool_mark){0};
    if (e != OK)
        return e;
    e = spool_fetch(r->spool, r->txn, TABLE_MARK, &key, &data);
    if (e == OK && !spool_mark_read(data, out)) {
        spool_log_corrupt(TABLE_MARK, str_of_key(&key), "length");
        e = E_CORRUPT;
    }
    spool_snapshot_end(r);
    return e;
}

enum err spool_mark(struct spool_txn *t, struct mid id, const struct spool_mark *m)
{
    struct spool_key key = spool_key_mid(id);
    char data[MARK_DATA_BYTES];
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, spool_settled_find(t->spool, t->mdb, id));
    if (e != E_NOTFOUND)
        return e == OK ? E_NOTFOUND : e;
    put_be(data, 8, m->slot_epoch);
    put_be(data + 8, 2, m->site);
    put_be(data + 10, 8, m->session);
    data[18] = (char)((m->over ? MARK_OVER : 0) | (m->doubt ? MARK_DOUBT : 0));
    return spool_store(t, TABLE_MARK, &key, (struct str){data, sizeof data});
}

/* --- What is settled on other nodes --- */

static int key_cmp(const struct spool_key *a, const struct spool_key *b)
{
    int d = memcmp(a->b, b->b, a->n < b->n ? a->n : b->n);

    return d != 0 ? d : (a->n > b->n) - (a->n < b->n);
}

/* Removes the keys of a table from `from` up to, and without, `to`. */
static enum err remove_keys(struct spool_txn *t, enum spool_table table,
                            const struct spool_key *from, const struct spool_key *to)
{
    enum err e = OK;

    while (e == OK) {
        struct spool_key key = *from;

        e = spool_seek(t, table, &key);
        if (e != OK || key_cmp(&key, to) >= 0)
            break;
        t->bytes += SMALL_RECORD_BYTES;
        e = spool_remove(t, table, &key);
    }
    return passed_over(e);
}

/* The first counter at or behind `from` that is live here; UINT64_MAX and *found false: none.
 */
static enum err next_live(struct spool_txn *t, struct mid from, uint64_t *counter, bool *found)
{
    struct spool_key key = spool_key_mid(from);
    struct mid id;
    enum err e = spool_seek(t, TABLE_MSG, &key);

    *found = e == OK && spool_key_to_mid(str_of_key(&key), &id) &&
             memcmp(id.b, from.b, SESSION_KEY_BYTES) == 0;
    *counter = *found ? mid_counter(id) : UINT64_MAX;
    return passed_over(e);
}

/* from .. to has nothing live. *added: something was new. */
static enum err settle_gap(struct spool_txn *t, struct mid first, uint64_t to, bool *added)
{
    struct mid last = mid_make(mid_site(first), mid_epoch(first), to);
    struct spool_key from = spool_key_mid(first), past = spool_key_mid(last);
    enum err e = spool_settled_add_range(t, first, to);

    if (e != OK)
        return e == E_EXISTS ? OK : e;
    *added = true;
    e = remove_keys(t, TABLE_ABORTED, &from, &past);
    if (e == OK)
        e = remove_keys(t, TABLE_MARK, &from, &past);
    if (e == OK)
        e = passed_over(spool_remove(t, TABLE_ABORTED, &past));
    return e == OK ? passed_over(spool_remove(t, TABLE_MARK, &past)) : e;
}

enum err spool_settle_range(struct spool_txn *t, uint16_t site, uint64_t epoch, uint64_t from,
                            uint64_t to)
{
    bool added = false, live = true;
    uint64_t next = from;
    enum err e = t->first_err;

    while (e == OK && live && next <= to) {
        struct mid first = mid_make(site, epoch, next);
        uint64_t counter;

        e = next_live(t, first, &counter, &live);
        live = live && counter <= to;
        if (e == OK && !live)
            e = settle_gap(t, first, to, &added);
        else if (e == OK && counter > next)
            e = settle_gap(t, first, counter - 1, &added);
        if (live && counter == UINT64_MAX)
            break;
        next = counter + 1;
    }
    return e == OK && !added ? E_EXISTS : e;
}

enum err spool_clear_below(struct spool_txn *t, uint16_t site, uint64_t epoch)
{
    static const enum spool_table shrunk[] = {TABLE_SETTLED, TABLE_ABORTED, TABLE_MARK,
                                              TABLE_SESSION};
    struct spool_key key = spool_key_clear(site), live = spool_key_mid(mid_make(site, 0, 0));
    struct spool_key from = spool_key_session(mid_make(site, 0, 0));
    struct spool_key to = spool_key_session(mid_make(site, epoch, 0));
    char data[CLEAR_DATA_BYTES];
    uint64_t known;
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, spool_clear_fetch(t->spool, t->mdb, site, &known));
    if (e != OK && e != E_CORRUPT) /* a damaged one is mended by the next */
        return e;
    if (e == OK && known >= epoch)
        return E_EXISTS;
    e = spool_seek(t, TABLE_MSG, &live);
    if (e == OK && key_cmp(&live, &to) < 0)
        return E_CONFLICT;
    e = passed_over(e);
    for (size_t i = 0; i < sizeof shrunk / sizeof shrunk[0] && e == OK; i++)
        e = remove_keys(t, shrunk[i], &from, &to);
    put_be(data, CLEAR_DATA_BYTES, epoch);
    if (FAULT(SETTLED_AGES))
        return e;
    return e == OK ? spool_store(t, TABLE_CLEAR, &key, (struct str){data, sizeof data}) : e;
}
