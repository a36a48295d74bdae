/* The read side. A snapshot is open for microseconds: it is opened in a call and ended before
 * the call returns, because pages freed under an open one cannot be used again. */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

enum err spool_snapshot(struct spool_reader *r)
{
    uint64_t now_ms = clock_boot_ms();
    int rc;

    atomic_store(&r->slot->since_ms, now_ms > 0 ? now_ms : 1);
    rc = mdb_txn_renew(r->txn);
    if (rc == 0)
        return OK;
    atomic_store(&r->slot->since_ms, 0);
    spool_log_failure("snapshot", E_IO, rc);
    return E_IO;
}

void spool_snapshot_end(struct spool_reader *r)
{
    mdb_txn_reset(r->txn);
    atomic_store(&r->slot->since_ms, 0);
}

static struct reader_slot *take_slot(struct spool *s)
{
    for (size_t i = 0; i < LIMIT_SPOOL_READERS; i++) {
        bool taken = false;

        if (atomic_compare_exchange_strong(&s->readers[i].taken, &taken, true))
            return &s->readers[i];
    }
    return NULL;
}

enum err spool_reader_open(struct spool *s, struct spool_reader **out)
{
    struct reader_slot *slot = take_slot(s);
    struct spool_reader *r;
    int rc;

    *out = NULL;
    if (slot == NULL)
        return E_FULL;
    r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    r->spool = s;
    r->slot = slot;
    arena_init(&r->scratch, RECORD_ARENA_BYTES);
    rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &r->txn);
    if (rc != 0) {
        spool_log_failure("reader", E_IO, rc);
        r->txn = NULL;
        spool_reader_close(&r);
        return rc == MDB_READERS_FULL ? E_FULL : E_IO;
    }
    spool_snapshot_end(r);
    *out = r;
    return OK;
}

void spool_reader_close(struct spool_reader **rp)
{
    struct spool_reader *r = *rp;

    if (r->txn != NULL)
        mdb_txn_abort(r->txn);
    arena_reset(&r->scratch);
    atomic_store(&r->slot->taken, false);
    free(r);
    *rp = NULL;
}

static enum err get_live(struct spool_reader *r, struct mid id, struct arena *a,
                         struct envelope *out)
{
    struct msg_head h;
    struct str record;
    enum err e = spool_fetch_msg(r->spool, r->txn, id, &h, &record);

    return e == OK ? spool_decode_msg(id, &h, record, a, out) : e;
}

enum err spool_get(struct spool_reader *r, struct mid id, struct arena *a, struct envelope *out)
{
    enum err e = spool_snapshot(r);

    *out = (struct envelope){0};
    if (e != OK)
        return e;
    e = get_live(r, id, a, out);
    spool_snapshot_end(r);
    return e;
}

enum err spool_trace(struct spool_reader *r, struct mid id, struct arena *a,
                     struct envelope *out, bool *live)
{
    struct spool_key key = spool_key_mid(id);
    struct str record;
    enum err e = spool_snapshot(r);

    *out = (struct envelope){0};
    *live = false;
    if (e != OK)
        return e;
    e = get_live(r, id, a, out);
    *live = e != E_NOTFOUND && e != E_IO;
    if (e == E_NOTFOUND) {
        e = spool_fetch(r->spool, r->txn, TABLE_TRACE, &key, &record);
        if (e == OK)
            e = spool_decode_trace(id, record, a, out);
    }
    spool_snapshot_end(r);
    return e;
}

enum err spool_settled_contains(struct spool_reader *r, struct mid id)
{
    enum err e = spool_snapshot(r);

    if (e != OK)
        return e;
    e = spool_settled_find(r->spool, r->txn, id);
    spool_snapshot_end(r);
    return e;
}

enum err spool_state_of(struct spool_reader *r, struct mid id, struct spool_state *out)
{
    enum err e = spool_snapshot(r);

    *out = (struct spool_state){0};
    if (e != OK)
        return e;
    e = spool_state_fetch(r->spool, r->txn, id, out);
    spool_snapshot_end(r);
    return e;
}

/* A chunk that is not there: gone with its message, or lost? The same snapshot knows. */
static enum err missing_chunk(struct spool_reader *r, const struct envelope *e,
                              const struct spool_key *key, const char *what)
{
    struct msg_head h;
    enum err err = spool_fetch_msg(r->spool, r->txn, e->id, &h, NULL);

    if (err != OK)
        return err;
    if (h.number != e->body_number || h.bytes != e->body_bytes)
        return E_NOTFOUND;
    spool_log_corrupt(TABLE_BODY, str_of_key(key), what);
    return E_CORRUPT;
}

/* The part of one chunk from `offset` on, at most `size` bytes. */
static enum err copy_chunk(struct spool_reader *r, const struct envelope *e, uint64_t offset,
                           char *out, size_t size, size_t *got)
{
    uint32_t chunk = (uint32_t)(offset / CHUNK_DATA_BYTES);
    struct spool_key key = spool_key_body(e->body_number, chunk);
    size_t skip = (size_t)(offset % CHUNK_DATA_BYTES);
    struct str data;
    enum err err = spool_fetch(r->spool, r->txn, TABLE_BODY, &key, &data);

    if (err == E_NOTFOUND)
        return missing_chunk(r, e, &key, "missing");
    if (err != OK)
        return err;
    if (data.n != chunk_bytes(e->body_bytes, chunk))
        return missing_chunk(r, e, &key, "length");
    data = str_from(data, skip);
    *got = data.n < size ? data.n : size;
    memcpy(out, data.p, *got);
    return OK;
}

enum err spool_read_body(struct spool_reader *r, const struct envelope *e, uint64_t offset,
                         void *buf, size_t size, size_t *got)
{
    size_t done = 0, part = 0;
    enum err err;

    *got = 0;
    if (size > SPOOL_READ_BYTES)
        size = SPOOL_READ_BYTES;
    if (offset >= e->body_bytes || size == 0)
        return OK;
    err = spool_snapshot(r);
    if (err != OK)
        return err;
    while (err == OK && done < size && offset + done < e->body_bytes) {
        err = copy_chunk(r, e, offset + done, (char *)buf + done, size - done, &part);
        done += err == OK ? part : 0;
    }
    spool_snapshot_end(r);
    if (err == OK)
        *got = done;
    return err;
}

enum err spool_verify_body(struct spool_reader *r, const struct envelope *e)
{
    struct spool_key key = spool_key_mid(e->id);
    XXH3_state_t *state = XXH3_createState();
    char *buf = malloc(SPOOL_READ_BYTES);
    uint64_t offset = 0;
    size_t got = 1;
    enum err err = OK;

    ASSERT(state != NULL && buf != NULL);
    XXH3_64bits_reset(state);
    while (err == OK && got > 0) {
        err = spool_read_body(r, e, offset, buf, SPOOL_READ_BYTES, &got);
        if (err == OK)
            XXH3_64bits_update(state, buf, got);
        offset += got;
    }
    if (err == OK && XXH3_64bits_digest(state) != e->body_digest) {
        spool_log_corrupt(TABLE_MSG, str_of_key(&key), "body digest");
        err = E_CORRUPT;
    }
    XXH3_freeState(state);
    free(buf);
    return err;
}

/* --- Scan --- */

/* Damage to the mark must not lead to a second delivery without its flag. */
static enum err dot_open(struct spool_reader *r, struct mid id, bool *open)
{
    struct spool_key key = spool_key_mid(id);
    struct str data;
    enum err e = spool_fetch(r->spool, r->txn, TABLE_MARK, &key, &data);

    *open = e != E_NOTFOUND;
    return e == E_IO ? E_IO : OK;
}

static enum err is_committed(struct spool_reader *r, struct mid id, const struct msg_head *h,
                             bool *yes)
{
    struct session_facts f = {0};
    enum err e = OK;

    if (h->state != COPY_COMMITTED)
        e = spool_session_fetch(r->spool, r->txn, id, &f);
    *yes = h->state == COPY_COMMITTED || session_covers(&f, id);
    return e;
}

/* E_NOTFOUND: to be passed over. */
static enum err scan_one(struct spool_reader *r, bool committed_only, struct str key,
                         struct str value, struct envelope *out, bool *open)
{
    bool wanted = true;
    struct str data, record;
    struct msg_head h;
    struct mid id;
    enum err e;

    arena_reset(&r->scratch);
    if (!spool_value_open(TABLE_MSG, key, value, &data) || !msg_head_read(data, &h, &record) ||
        !spool_key_to_mid(key, &id)) {
        spool_log_corrupt(TABLE_MSG, key, "checksum");
        return E_CORRUPT;
    }
    e = committed_only ? is_committed(r, id, &h, &wanted) : OK;
    if (e != OK || !wanted)
        return e != OK ? e : E_NOTFOUND;
    e = spool_decode_msg(id, &h, record, &r->scratch, out);
    return e == OK ? dot_open(r, id, open) : e;
}

/* The same of what is settled. */
static enum err scan_trace(struct spool_reader *r, struct str key, struct str value,
                           struct envelope *out)
{
    struct str record;
    struct mid id;

    arena_reset(&r->scratch);
    if (!spool_value_open(TABLE_TRACE, key, value, &record) || !spool_key_to_mid(key, &id)) {
        spool_log_corrupt(TABLE_TRACE, key, "checksum");
        return E_CORRUPT;
    }
    return spool_decode_trace(id, record, &r->scratch, out);
}

/* The id behind a key; false: it was the last one there can be. */
static bool id_behind(struct str key, struct mid *next)
{
    memset(next->b, 0, sizeof next->b);
    memcpy(next->b, key.p, key.n < sizeof next->b ? key.n : sizeof next->b);
    for (int i = sizeof next->b - 1; i >= 0; i--)
        if (++next->b[i] != 0)
            return true;
    return false;
}

static enum err scan_batch(struct spool_reader *r, MDB_cursor *cursor, struct spool_cursor *c,
                           size_t max,
                           bool (*fn)(void *user, const struct envelope *e, bool dot_open),
                           void *user)
{
    struct spool_key from = spool_key_mid(c->next);
    MDB_val k = val_of_key(&from), v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    bool more = true;

    for (size_t n = 0; rc == 0 && n < max && more; n++) {
        struct envelope envelope;
        bool open = false;
        enum err e = c->settled ? scan_trace(r, str_of_val(&k), str_of_val(&v), &envelope)
                                : scan_one(r, c->committed_only, str_of_val(&k), str_of_val(&v),
                                           &envelope, &open);

        if (e != OK && e != E_CORRUPT && e != E_NOTFOUND)
            return e;
        c->end = !id_behind(str_of_val(&k), &c->next);
        if (e == OK)
            more = fn(user, &envelope, open);
        else
            c->corrupt += e == E_CORRUPT;
        if (n + 1 < max && more)
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (rc == MDB_NOTFOUND)
        c->end = true;
    if (rc == 0 || rc == MDB_NOTFOUND)
        return OK;
    spool_log_failure("scan", E_IO, rc);
    return E_IO;
}

enum err spool_scan(struct spool_reader *r, struct spool_cursor *c, size_t max,
                    bool (*fn)(void *user, const struct envelope *e, bool dot_open), void *user)
{
    MDB_cursor *cursor;
    enum err e;
    int rc;

    if (c->end)
        return OK;
    e = spool_snapshot(r);
    if (e != OK)
        return e;
    rc = mdb_cursor_open(r->txn, r->spool->dbi[c->settled ? TABLE_TRACE : TABLE_MSG], &cursor);
    if (rc == 0) {
        e = scan_batch(r, cursor, c, max, fn, user);
        mdb_cursor_close(cursor);
    } else {
        spool_log_failure("scan", E_IO, rc);
        e = E_IO;
    }
    arena_reset(&r->scratch);
    spool_snapshot_end(r);
    return e;
}

/* --- Watchdog --- */

/* LMDB tells its readers as text only: a line each of pid, thread, transaction (or -). */
static int see_reader(const char *line, void *user)
{
    uint64_t *oldest = user;
    unsigned long long txn;

    if (sscanf(line, "%*d %*x %llu", &txn) == 1 && txn < *oldest)
        *oldest = txn;
    return 0;
}

void spool_readers_check(struct spool *s, struct spool_reader_age *out)
{
    uint64_t now_ms = clock_boot_ms(), oldest = UINT64_MAX;
    MDB_envinfo info;
    int dead = 0;

    *out = (struct spool_reader_age){0};
    if (mdb_reader_check(s->env, &dead) != 0 ||
        mdb_reader_list(s->env, see_reader, &oldest) < 0 || mdb_env_info(s->env, &info) != 0)
        return;
    for (size_t i = 0; i < LIMIT_SPOOL_READERS; i++) {
        uint64_t since = atomic_load(&s->readers[i].since_ms);

        if (since > 0 && now_ms > since && now_ms - since > out->oldest_ms)
            out->oldest_ms = now_ms - since;
    }
    if (oldest < info.me_last_txnid)
        out->lag_txns = info.me_last_txnid - oldest;
    if (out->oldest_ms > LIMIT_SPOOL_READER_MS)
        LOG(EV_SPOOL_STALE_READER, L_U64("ms", out->oldest_ms), L_U64("txns", out->lag_txns));
}
