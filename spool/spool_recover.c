/* What a crash leaves behind: staged chunks without a record. Records name their bodies; every
 * other body number in the chunk table is an orphan. */
#include <stdlib.h>

#include "base/log.h"
#include "spool/spool_internal.h"

#define SWEEP_CHUNKS 4096 /* a transaction's freed pages stay one small record */
/* Numbers count up from 1; a key beyond this is damaged and says nothing about them. */
#define NUMBER_SANE (UINT64_C(1) << 62)

struct numbers {
    uint64_t *at;
    size_t n, room;
};

static void numbers_add(struct numbers *v, uint64_t number)
{
    if (v->n == v->room) {
        v->room = v->room > 0 ? 2 * v->room : 1024;
        v->at = realloc(v->at, v->room * sizeof *v->at);
        ASSERT(v->at != NULL);
    }
    v->at[v->n++] = number;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static bool numbers_has(const struct numbers *v, uint64_t number)
{
    return v->n > 0 && bsearch(&number, v->at, v->n, sizeof *v->at, by_number) != NULL;
}

static void see_number(struct spool *s, uint64_t number)
{
    if (number < NUMBER_SANE && number >= atomic_load(&s->next_body))
        atomic_store(&s->next_body, number + 1);
}

static void see_record(struct spool *s, struct str key, struct str value, struct numbers *named)
{
    struct msg_head h;
    struct str data, record;

    if (!spool_value_open(TABLE_MSG, key, value, &data) || !msg_head_read(data, &h, &record)) {
        spool_log_corrupt(TABLE_MSG, key, "checksum");
        s->recovered.corrupt_records++;
        s->recovered.totals.messages++; /* live, though nobody can read it */
        return;
    }
    s->recovered.totals.messages++;
    s->recovered.totals.bytes += h.bytes;
    see_number(s, h.number);
    if (h.bytes > 0)
        numbers_add(named, h.number);
}

static int walk_records(struct spool *s, MDB_txn *txn, struct numbers *named)
{
    MDB_val k, v;
    MDB_stat st;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->dbi[TABLE_MSG], &cursor);

    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
        see_record(s, str_of_val(&k), str_of_val(&v), named);
    mdb_cursor_close(cursor);
    if (rc != MDB_NOTFOUND)
        return rc;
    rc = mdb_stat(txn, s->dbi[TABLE_MARK], &st);
    s->recovered.open_dots = st.ms_entries;
    return rc;
}

/* One look per body, not per chunk. */
static int walk_bodies(struct spool *s, MDB_txn *txn, const struct numbers *named,
                       struct numbers *orphans)
{
    struct spool_key key = spool_key_body(0, 0);
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->dbi[TABLE_BODY], &cursor);

    while (rc == 0) {
        MDB_val k = val_of_key(&key), v;
        uint64_t number;
        uint32_t chunk;

        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (rc != 0 || !spool_key_to_body(str_of_val(&k), &number, &chunk))
            break;
        see_number(s, number);
        if (!numbers_has(named, number))
            numbers_add(orphans, number);
        if (number == UINT64_MAX)
            break;
        key = spool_key_body(number + 1, 0);
    }
    if (rc == 0 || rc == MDB_NOTFOUND) {
        mdb_cursor_close(cursor);
        return 0;
    }
    return rc;
}

static enum err sweep_orphan(struct spool *s, uint64_t number)
{
    size_t removed = SWEEP_CHUNKS;
    enum err e = OK;

    while (e == OK && removed == SWEEP_CHUNKS) {
        struct spool_txn *t = spool_begin(s);

        e = spool_body_sweep(t, number, SWEEP_CHUNKS, &removed);
        if (e == OK) {
            e = spool_commit(&t);
            s->recovered.orphan_chunks += e == OK ? removed : 0;
        } else {
            spool_abort(&t);
        }
    }
    if (e == OK)
        s->recovered.orphan_bodies++;
    return e;
}

/* A damaged record may own any of them, so while there is one they all stay. A full disk is no
 * reason not to start: they stay as well. */
static enum err sweep(struct spool *s, const struct numbers *orphans)
{
    enum err e = OK;

    if (s->recovered.corrupt_records > 0)
        return OK;
    for (size_t i = 0; i < orphans->n && e == OK; i++)
        e = sweep_orphan(s, orphans->at[i]);
    return e == E_FULL ? OK : e;
}

static void report(const struct spool *s)
{
    const struct spool_recovered *r = &s->recovered;

    LOG(EV_RECOVERED, L_U64("messages", r->totals.messages), L_U64("bytes", r->totals.bytes),
        L_U64("open_dots", r->open_dots), L_U64("orphan_bodies", r->orphan_bodies),
        L_U64("orphan_chunks", r->orphan_chunks), L_U64("corrupt", r->corrupt_records));
}

enum err spool_recover(struct spool *s)
{
    struct numbers named = {0}, orphans = {0};
    enum err e = OK;
    int rc = mdb_txn_renew(s->look);

    atomic_store(&s->next_body, 1);
    if (rc == 0) {
        rc = walk_records(s, s->look, &named);
        if (rc == 0 && named.n > 0)
            qsort(named.at, named.n, sizeof *named.at, by_number);
        if (rc == 0)
            rc = walk_bodies(s, s->look, &named, &orphans);
        mdb_txn_reset(s->look);
    }
    if (rc != 0) {
        spool_log_failure("recover", E_IO, rc);
        e = E_IO;
    }
    if (e == OK)
        e = sweep(s, &orphans);
    free(named.at);
    free(orphans.at);
    atomic_store(&s->messages, s->recovered.totals.messages);
    atomic_store(&s->bytes, s->recovered.totals.bytes);
    if (e == OK)
        report(s);
    return e;
}
