/* What a node must not forget of its membership; the control store has the rest. */
#include "spool/spool_internal.h"

#define SITES 64 /* bits of filled_by */

bool spool_member_read(struct str data, struct spool_member *out)
{
    *out = (struct spool_member){0};
    if (data.n != MEMBER_DATA_BYTES || get_be(data.p + 24, 1) > 1)
        return false;
    *out = (struct spool_member){.incarnation = get_be(data.p, 8),
                                 .first_epoch = get_be(data.p + 8, 8),
                                 .filled_by = get_be(data.p + 16, 8),
                                 .filled = get_be(data.p + 24, 1) == 1};
    return true;
}

static enum err fetch(struct spool *s, MDB_txn *txn, struct spool_member *out)
{
    struct spool_key key = spool_key_meta(SPOOL_MEMBER_KEY);
    struct str data;
    enum err e = spool_fetch(s, txn, TABLE_META, &key, &data);

    *out = (struct spool_member){0};
    if (e != OK || spool_member_read(data, out))
        return e;
    spool_log_corrupt(TABLE_META, str_of_key(&key), "length");
    return E_CORRUPT;
}

static enum err store(struct spool_txn *t, const struct spool_member *m)
{
    struct spool_key key = spool_key_meta(SPOOL_MEMBER_KEY);
    char data[MEMBER_DATA_BYTES];

    put_be(data, 8, m->incarnation);
    put_be(data + 8, 8, m->first_epoch);
    put_be(data + 16, 8, m->filled_by);
    put_be(data + 24, 1, m->filled);
    return spool_store(t, TABLE_META, &key, (struct str){data, sizeof data});
}

/* What is stored, to be changed; nothing yet: all zero. */
static enum err fetch_to_change(struct spool_txn *t, struct spool_member *m)
{
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, fetch(t->spool, t->mdb, m));
    return e == E_NOTFOUND ? OK : e;
}

enum err spool_member_begin(struct spool_txn *t, uint64_t incarnation, uint64_t first_epoch,
                            bool filled)
{
    struct spool_member m = {0};
    enum err e = fetch_to_change(t, &m);

    if (e == OK && incarnation != 0 && m.incarnation == incarnation)
        return E_EXISTS;
    m = (struct spool_member){
        .incarnation = incarnation, .first_epoch = first_epoch, .filled = filled};
    return e == OK ? store(t, &m) : e;
}

enum err spool_filled_by(struct spool_txn *t, uint16_t site, uint64_t *by)
{
    struct spool_member m = {0};
    enum err e = fetch_to_change(t, &m);
    uint64_t bit;

    *by = m.filled_by;
    if (e != OK)
        return e;
    if (site >= SITES)
        return E_PROTO;
    bit = UINT64_C(1) << site;
    if ((m.filled_by & bit) != 0)
        return OK;
    *by = m.filled_by |= bit;
    return store(t, &m);
}

enum err spool_filled_set(struct spool_txn *t)
{
    struct spool_member m = {0};
    enum err e = fetch_to_change(t, &m);

    if (e != OK)
        return e;
    if (m.filled)
        return E_EXISTS;
    m.filled = true;
    return store(t, &m);
}

bool spool_is_filled(struct spool_txn *t)
{
    struct spool_member m = {0};

    return fetch_to_change(t, &m) == OK && m.filled;
}

enum err spool_member(struct spool_reader *r, struct spool_member *out)
{
    enum err e = spool_snapshot(r);

    *out = (struct spool_member){0};
    if (e != OK)
        return e;
    e = fetch(r->spool, r->txn, out);
    spool_snapshot_end(r);
    return e;
}

enum err spool_echo(struct spool_txn *t)
{
    struct spool_key key = spool_key_meta(SPOOL_ECHO_KEY);
    char data[ECHO_DATA_BYTES];
    struct str old;
    uint64_t count = 0;
    enum err e = t->first_err;

    if (e == OK)
        e = spool_stick(t, spool_fetch(t->spool, t->mdb, TABLE_META, &key, &old));
    if (e == OK && old.n == ECHO_DATA_BYTES)
        count = get_be(old.p, ECHO_DATA_BYTES);
    if (e != OK && e != E_NOTFOUND && e != E_CORRUPT) /* a damaged count counts from 0 */
        return e;
    put_be(data, ECHO_DATA_BYTES, count + 1);
    return spool_store(t, TABLE_META, &key, (struct str){data, sizeof data});
}
