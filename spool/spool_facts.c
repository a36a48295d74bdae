/* What a node knows at its start beside its mail, table by table. It keeps its place by key. */
#include "spool/spool_internal.h"

static const enum spool_table tables[] = {TABLE_CLEAR,   TABLE_SESSION, TABLE_SETTLED,
                                          TABLE_ABORTED, TABLE_MSG,     TABLE_MARK};
#define TABLES (sizeof tables / sizeof tables[0])

static_assert(sizeof((struct spool_facts){0}.next) > KEY_BYTES_MAX, "a place is a key and 0");

static void name_session(struct spool_fact *f)
{
    f->site = mid_site(f->id);
    f->epoch = mid_epoch(f->id);
}

static bool read_session(struct str key, struct str data, struct spool_fact *f)
{
    struct session_facts known;

    f->kind = SPOOL_FACT_SESSION;
    if (key.n != SESSION_KEY_BYTES || !spool_session_read(data, &known))
        return false;
    f->site = (uint16_t)get_be(key.p, 2);
    f->epoch = get_be(key.p + 2, 6);
    f->upto = known.upto;
    f->resolved = known.resolved;
    return true;
}

static bool read_clear(struct str key, struct str data, struct spool_fact *f)
{
    f->kind = SPOOL_FACT_CLEAR;
    if (key.n != CLEAR_KEY_BYTES || data.n != CLEAR_DATA_BYTES)
        return false;
    f->site = (uint16_t)get_be(key.p, CLEAR_KEY_BYTES);
    f->epoch = get_be(data.p, CLEAR_DATA_BYTES);
    return true;
}

static bool read_settled(struct str data, struct spool_fact *f)
{
    f->kind = SPOOL_FACT_SETTLED;
    if (data.n != SETTLED_END_BYTES)
        return false;
    f->from = mid_counter(f->id);
    f->to = get_be(data.p, SETTLED_END_BYTES);
    return f->to >= f->from;
}

static bool read_copy(struct spool_reader *r, struct str data, struct spool_fact *f)
{
    struct session_facts known;
    struct msg_head h;
    struct str record;

    f->kind = SPOOL_FACT_COPY;
    if (!msg_head_read(data, &h, &record))
        return false;
    f->state = h.state;
    if (h.state == COPY_UNDECIDED &&
        spool_session_fetch(r->spool, r->txn, f->id, &known) == OK &&
        session_covers(&known, f->id))
        f->state = COPY_COMMITTED;
    return true;
}

/* False: damaged. */
static bool read_fact(struct spool_reader *r, enum spool_table table, struct str key,
                      struct str value, struct spool_fact *f)
{
    bool good;
    struct str data = STR_NONE;

    *f = (struct spool_fact){0};
    good = spool_value_open(table, key, value, &data);
    if (table == TABLE_SESSION)
        return good && read_session(key, data, f);
    if (table == TABLE_CLEAR)
        return good && read_clear(key, data, f);
    if (!spool_key_to_mid(key, &f->id))
        return false;
    name_session(f);
    if (table == TABLE_SETTLED)
        return good && read_settled(data, f);
    if (table == TABLE_MSG)
        return good && read_copy(r, data, f);
    if (table == TABLE_ABORTED) {
        f->kind = SPOOL_FACT_ABORTED;
        f->state = COPY_ABORTED;
        return good && data.n == 0;
    }
    f->kind = SPOOL_FACT_MARK;
    return good && spool_mark_read(data, &f->mark);
}

static void keep_place(struct spool_facts *c, struct str key)
{
    size_t n = key.n < KEY_BYTES_MAX ? key.n : KEY_BYTES_MAX;

    memcpy(c->next, key.p, n);
    c->next[n] = 0; /* the key with a zero byte behind it is the next one there can be */
    c->next_bytes = (uint32_t)n + 1;
}

/* Its key still says of which message something was known. */
static bool is_about_one(enum spool_table table, struct str key, struct mid *id)
{
    return (table == TABLE_MSG || table == TABLE_ABORTED) && spool_key_to_mid(key, id);
}

/* At most *left records of the table at our place. OK: stopped in it; E_NOTFOUND: it ends. */
static enum err walk_table(struct spool_reader *r, struct spool_facts *c, size_t *left,
                           void (*fn)(void *user, const struct spool_fact *f), void *user)
{
    enum spool_table table = tables[c->table];
    MDB_val k = {.mv_size = c->next_bytes, .mv_data = c->next}, v;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(r->txn, r->spool->dbi[table], &cursor);

    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, c->next_bytes > 0 ? MDB_SET_RANGE : MDB_FIRST);
        for (; rc == 0 && *left > 0; (*left)--) {
            struct str key = str_of_val(&k);
            struct spool_fact f;
            bool good = read_fact(r, table, key, str_of_val(&v), &f);

            if (!good) {
                spool_log_corrupt(table, key, "checksum");
                c->corrupt++;
            }
            if (!good && is_about_one(table, key, &f.id))
                f.kind = SPOOL_FACT_DAMAGED;
            if (good || f.kind == SPOOL_FACT_MARK || f.kind == SPOOL_FACT_DAMAGED)
                fn(user, &f);
            keep_place(c, key);
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    if (rc == 0 || rc == MDB_NOTFOUND)
        return rc == 0 ? OK : E_NOTFOUND;
    spool_log_failure("facts", E_IO, rc);
    return E_IO;
}

enum err spool_facts(struct spool_reader *r, struct spool_facts *c, size_t max,
                     void (*fn)(void *user, const struct spool_fact *f), void *user)
{
    size_t left = max;
    enum err e;

    if (c->end)
        return OK;
    e = spool_snapshot(r);
    if (e != OK)
        return e;
    while (e == OK && left > 0 && !c->end) {
        e = walk_table(r, c, &left, fn, user);
        if (e != E_NOTFOUND)
            continue;
        e = OK;
        c->next_bytes = 0;
        c->end = ++c->table == TABLES;
    }
    spool_snapshot_end(r);
    return e;
}
