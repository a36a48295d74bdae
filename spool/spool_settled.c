/* The settled set. Key: the id of an interval's first counter; value: its last counter. Ids of
 * one session come in order and die nearly in order, so the set stays as small as the number of
 * messages that live. Of what is settled on all nodes one number per site remains. */
#include "spool/spool_internal.h"

/* The last interval that begins at or before an id. */
struct around {
    bool has_before;
    struct mid before; /* first id */
    uint64_t before_end;
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
    }
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

enum err spool_clear_fetch(struct spool *s, MDB_txn *txn, uint16_t site, uint64_t *epoch)
{
    struct spool_key key = spool_key_clear(site);
    struct str data;
    enum err e = spool_fetch(s, txn, TABLE_CLEAR, &key, &data);

    *epoch = 0;
    if (e == E_NOTFOUND)
        return OK;
    if (e == OK && data.n != CLEAR_DATA_BYTES) {
        spool_log_corrupt(TABLE_CLEAR, str_of_key(&key), "length");
        e = E_CORRUPT;
    }
    if (e == OK)
        *epoch = get_be(data.p, CLEAR_DATA_BYTES);
    return e;
}

enum err spool_settled_find(struct spool *s, MDB_txn *txn, struct mid id)
{
    struct around a;
    uint64_t clear;
    enum err e = spool_clear_fetch(s, txn, mid_site(id), &clear);

    if (e == OK && mid_epoch(id) < clear)
        return OK;
    if (e == OK)
        e = find_around(s, txn, id, &a);
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

/* Walks over the intervals that begin in first .. `*last` or touch its end: verifies them, and
 * moves *last to where they end. Changes nothing. */
static enum err walk_over(MDB_cursor *cursor, struct mid first, uint64_t *last)
{
    struct spool_key key = spool_key_mid(first);
    MDB_val k = val_of_key(&key), v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);

    for (; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        struct mid id;
        uint64_t end;
        enum err e = read_interval(&k, &v, first, &id, &end);

        if (e == E_NOTFOUND ||
            (e == OK && mid_counter(id) > *last && mid_counter(id) - 1 > *last))
            return OK;
        if (e != OK)
            return e;
        if (end > *last)
            *last = end;
    }
    if (rc == MDB_NOTFOUND)
        return OK;
    spool_log_failure("settled_walk", E_IO, rc);
    return E_IO;
}

/* The interval that first .. last becomes with its neighbours. E_EXISTS: it is part of one. */
static enum err widen(struct spool_txn *t, struct mid *first, uint64_t *last)
{
    MDB_cursor *cursor;
    struct around a;
    enum err e = find_around(t->spool, t->mdb, *first, &a);
    int rc;

    if (e != OK)
        return e;
    if (a.has_before && a.before_end >= *last)
        return E_EXISTS;
    ASSERT(!a.has_before || same_session(a.before, *first));
    /* An end below the counter cannot wrap. */
    if (a.has_before &&
        (a.before_end >= mid_counter(*first) || a.before_end + 1 == mid_counter(*first)))
        *first = a.before;
    rc = mdb_cursor_open(t->mdb, t->spool->dbi[TABLE_SETTLED], &cursor);
    if (rc != 0) {
        spool_log_failure("settled_cursor", E_IO, rc);
        return E_IO;
    }
    e = walk_over(cursor, *first, last);
    mdb_cursor_close(cursor);
    return e;
}

/* Removes the intervals that begin behind `first` up to the counter `last`. */
static enum err remove_within(struct spool_txn *t, struct mid first, uint64_t last)
{
    enum err e = OK;

    while (e == OK && mid_counter(first) < last) {
        struct mid next = mid_make(mid_site(first), mid_epoch(first), mid_counter(first) + 1),
                   id;
        struct spool_key key = spool_key_mid(next);

        e = spool_seek(t, TABLE_SETTLED, &key);
        if (e != OK)
            break;
        if (!spool_key_to_mid(str_of_key(&key), &id) || !same_session(id, first) ||
            mid_counter(id) > last)
            break;
        e = spool_remove(t, TABLE_SETTLED, &key);
    }
    return e == E_NOTFOUND ? OK : e;
}

enum err spool_settled_add_range(struct spool_txn *t, struct mid first, uint64_t last)
{
    uint64_t clear;
    enum err e = spool_stick(t, spool_clear_fetch(t->spool, t->mdb, mid_site(first), &clear));

    ASSERT(mid_counter(first) <= last);
    if (e == OK && mid_epoch(first) < clear)
        return E_EXISTS;
    if (e == OK)
        e = spool_stick(t, widen(t, &first, &last));
    if (e == OK)
        e = remove_within(t, first, last);
    return e == OK ? store_interval(t, first, last) : e;
}

enum err spool_settled_add(struct spool_txn *t, struct mid id)
{
    return spool_settled_add_range(t, id, mid_counter(id));
}
