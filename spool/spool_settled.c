/* The settled set. Key: the id of an interval's first counter; value: its last counter. Ids of
 * one session come in order and die nearly in order, so the set stays as small as the number of
 * messages that live. */
#include "spool/spool_internal.h"

/* The intervals around an id: the last that begins at or before it, the first behind it. */
struct around {
    bool has_before, has_behind;
    struct mid before, behind; /* first ids */
    uint64_t before_end, behind_end;
};

static bool same_session(struct mid a, struct mid b)
{
    return memcmp(a.b, b.b, 8) == 0;
}

/* An interval of the id's session, verified. E_NOTFOUND: of another session. */
static enum err read_interval(const MDB_val *k, const MDB_val *v, struct mid id,
                              struct mid *first, uint64_t *end)
{
    struct str key = str_of_val(k), data;

    if (key.n == sizeof id.b && memcmp(key.p, id.b, 8) != 0)
        return E_NOTFOUND;
    if (!spool_value_open(TABLE_SETTLED, key, str_of_val(v), &data) ||
        data.n != SETTLED_END_BYTES || !spool_key_to_mid(key, first)) {
        spool_log_corrupt(TABLE_SETTLED, key, "checksum");
        return E_CORRUPT;
    }
    *end = get_be(data.p, SETTLED_END_BYTES);
    if (*end >= mid_counter(*first))
        return OK;
    spool_log_corrupt(TABLE_SETTLED, key, "interval");
    return E_CORRUPT;
}

/* What the walk found at the id itself or behind it. */
static enum err read_behind(const MDB_val *k, const MDB_val *v, struct mid id, struct around *a)
{
    struct mid first;
    uint64_t end;
    enum err e = read_interval(k, v, id, &first, &end);

    if (e != OK)
        return e == E_NOTFOUND ? OK : e;
    if (mid_cmp(first, id) == 0) {
        a->has_before = true;
        a->before = first;
        a->before_end = end;
        return OK; /* contained: what lies behind does not matter */
    }
    a->has_behind = true;
    a->behind = first;
    a->behind_end = end;
    return OK;
}

static enum err look_around(MDB_cursor *cursor, struct mid id, struct around *a)
{
    struct spool_key key = spool_key_mid(id);
    MDB_val k = val_of_key(&key), v;
    enum err e = OK;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);

    *a = (struct around){0};
    if (rc == 0)
        e = read_behind(&k, &v, id, a);
    if (e != OK || a->has_before)
        return e;
    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = mdb_cursor_get(cursor, &k, &v, rc == 0 ? MDB_PREV : MDB_LAST);
    if (rc == 0) {
        e = read_interval(&k, &v, id, &a->before, &a->before_end);
        a->has_before = e == OK;
        return e == E_NOTFOUND ? OK : e;
    }
    if (rc == MDB_NOTFOUND)
        return OK;
    spool_log_failure("settled_walk", E_IO, rc);
    return E_IO;
}

static enum err find_around(struct spool *s, MDB_txn *txn, struct mid id, struct around *a)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->dbi[TABLE_SETTLED], &cursor);
    enum err e;

    if (rc != 0) {
        spool_log_failure("settled_cursor", E_IO, rc);
        return E_IO;
    }
    e = look_around(cursor, id, a);
    mdb_cursor_close(cursor);
    return e;
}

enum err spool_settled_find(struct spool *s, MDB_txn *txn, struct mid id)
{
    struct around a;
    enum err e = find_around(s, txn, id, &a);

    if (e != OK)
        return e;
    return a.has_before && a.before_end >= mid_counter(id) ? OK : E_NOTFOUND;
}

static enum err store_interval(struct spool_txn *t, struct mid first, uint64_t end)
{
    struct spool_key key = spool_key_mid(first);
    char data[SETTLED_END_BYTES];

    put_be(data, SETTLED_END_BYTES, end);
    return spool_store(t, TABLE_SETTLED, &key, (struct str){data, sizeof data});
}

enum err spool_settled_add(struct spool_txn *t, struct mid id)
{
    uint64_t counter = mid_counter(id), end = counter;
    struct mid first = id;
    struct around a;
    enum err e = spool_stick(t, find_around(t->spool, t->mdb, id, &a));

    if (e != OK)
        return e;
    if (a.has_before && a.before_end >= counter)
        return E_EXISTS;
    ASSERT(!a.has_before || same_session(a.before, id));
    if (a.has_before && a.before_end + 1 == counter) /* below counter: cannot wrap */
        first = a.before;
    if (a.has_behind && mid_counter(a.behind) == counter + 1) { /* behind it: cannot wrap */
        struct spool_key key = spool_key_mid(a.behind);

        end = a.behind_end;
        e = spool_remove(t, TABLE_SETTLED, &key);
        if (e != OK)
            return e;
    }
    return store_interval(t, first, end);
}
