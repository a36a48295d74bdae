#include "spool/spool_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "proto/record.h"
#include "spool/spool_internal.h"

struct check {
    struct spool spool; /* read-only: environment and tables */
    MDB_txn *txn;
    void (*report)(void *user, const struct spool_finding *f);
    void *user;
    struct spool_check_summary sum;
    struct arena arena;
    uint64_t named_chunks; /* found under a message's body number */
};

static void found(struct check *c, enum spool_table table, struct str key, const char *what)
{
    char text[2 * KEY_BYTES_MAX + 1] = "";
    struct mid id;

    c->sum.findings++;
    if (table != TABLE_META && spool_key_to_mid(key, &id))
        mid_text(id, text);
    else
        for (size_t i = 0; i < key.n && i < KEY_BYTES_MAX; i++)
            snprintf(text + 2 * i, 3, "%02x", (uint8_t)key.p[i]);
    c->report(c->user, &(struct spool_finding){spool_table_name(table), text, what});
}

static void found_in_file(struct check *c, const char *what, uint64_t page)
{
    char text[32] = "";

    c->sum.findings++;
    snprintf(text, sizeof text, "page %llu", (unsigned long long)page);
    c->report(c->user, &(struct spool_finding){"file", text, what});
}

/* Calls `each` for all values of a table that pass their checksum. */
static enum err walk(struct check *c, enum spool_table table,
                     void (*each)(struct check *c, struct str key, struct str data))
{
    MDB_val k, v;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(c->txn, c->spool.dbi[table], &cursor);

    if (rc != 0) {
        spool_log_failure("check", E_IO, rc);
        return E_IO;
    }
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        struct str data;

        if (spool_value_open(table, str_of_val(&k), str_of_val(&v), &data))
            each(c, str_of_val(&k), data);
        else
            found(c, table, str_of_val(&k), "checksum");
        arena_reset(&c->arena);
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND)
        return OK;
    spool_log_failure("check", E_IO, rc);
    return E_IO;
}

/* The first key at or behind the given one. False: none. */
static bool seek(struct check *c, enum spool_table table, const struct spool_key *from,
                 struct spool_key *got)
{
    MDB_val k = val_of_key(from), v;
    MDB_cursor *cursor;
    bool hit = false;

    if (mdb_cursor_open(c->txn, c->spool.dbi[table], &cursor) != 0)
        return false;
    if (mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE) == 0 && k.mv_size <= KEY_BYTES_MAX) {
        got->n = (uint8_t)k.mv_size;
        memcpy(got->b, k.mv_data, k.mv_size);
        hit = true;
    }
    mdb_cursor_close(cursor);
    return hit;
}

static bool there(struct check *c, enum spool_table table, const struct spool_key *key)
{
    MDB_val k = val_of_key(key), v;

    return mdb_get(c->txn, c->spool.dbi[table], &k, &v) == 0;
}

/* --- Messages and bodies --- */

static const char *check_chunk(struct check *c, const struct envelope *e, uint32_t chunk,
                               XXH3_state_t *state)
{
    struct spool_key key = spool_key_body(e->body_number, chunk);
    MDB_val k = val_of_key(&key), v;
    struct str data;

    if (mdb_get(c->txn, c->spool.dbi[TABLE_BODY], &k, &v) != 0)
        return "a chunk is missing";
    c->sum.chunks++;
    c->named_chunks++;
    if (!spool_value_open(TABLE_BODY, str_of_key(&key), str_of_val(&v), &data))
        return "checksum of a chunk";
    if (data.n != chunk_bytes(e->body_bytes, chunk))
        return "length of a chunk";
    XXH3_64bits_update(state, data.p, data.n);
    return NULL;
}

static const char *check_body(struct check *c, const struct envelope *e)
{
    struct spool_key past = spool_key_body(e->body_number, chunk_count(e->body_bytes));
    XXH3_state_t *state = XXH3_createState();
    const char *what = NULL;
    struct spool_key next;

    ASSERT(state != NULL);
    XXH3_64bits_reset(state);
    for (uint32_t i = 0; i < chunk_count(e->body_bytes); i++) {
        const char *bad = check_chunk(c, e, i, state);

        what = what != NULL ? what : bad;
    }
    if (what == NULL && XXH3_64bits_digest(state) != e->body_digest)
        what = "digest of the body";
    if (what == NULL && seek(c, TABLE_BODY, &past, &next) && memcmp(next.b, past.b, 8) == 0)
        what = "a chunk too many";
    XXH3_freeState(state);
    return what;
}

static bool undecided(struct check *c, struct mid id, const struct msg_head *h)
{
    struct session_facts f;

    return h->state == COPY_UNDECIDED && spool_session_fetch(&c->spool, c->txn, id, &f) == OK &&
           !session_covers(&f, id);
}

static bool is_clear(struct check *c, uint16_t site, uint64_t epoch)
{
    uint64_t clear;

    return spool_clear_fetch(&c->spool, c->txn, site, &clear) == OK && epoch < clear;
}

static void each_msg(struct check *c, struct str key, struct str data)
{
    struct envelope e;
    struct msg_head h;
    struct str record;
    struct mid id;
    const char *what;

    c->sum.messages++;
    if (!spool_key_to_mid(key, &id) || !msg_head_read(data, &h, &record)) {
        found(c, TABLE_MSG, key, "head of the record");
        return;
    }
    if (envelope_decode(record, &c->arena, &e) != OK) {
        found(c, TABLE_MSG, key, "envelope does not decode");
        return;
    }
    if (mid_cmp(e.id, id) != 0 || e.body_number != h.number || e.body_bytes != h.bytes ||
        e.body_digest != h.digest) {
        found(c, TABLE_MSG, key, "envelope differs from its key or head");
        return;
    }
    c->sum.body_bytes += e.body_bytes;
    c->sum.undecided += undecided(c, id, &h);
    if (is_clear(c, mid_site(id), mid_epoch(id)))
        found(c, TABLE_MSG, key, "live, and its session is clear");
    what = check_body(c, &e);
    if (what != NULL)
        found(c, TABLE_MSG, key, what);
}

static enum err check_messages(struct check *c)
{
    MDB_stat st;
    enum err e = walk(c, TABLE_MSG, each_msg);

    if (e != OK || mdb_stat(c->txn, c->spool.dbi[TABLE_BODY], &st) != 0)
        return e == OK ? E_IO : e;
    c->sum.chunks = st.ms_entries;
    if (st.ms_entries > c->named_chunks)
        c->sum.orphan_chunks = st.ms_entries - c->named_chunks;
    return OK;
}

/* --- The rest --- */

static void each_meta(struct check *c, struct str key, struct str data)
{
    struct spool_member m;
    bool good = false;

    if (str_eq(key, STR(SPOOL_FORMAT_KEY)))
        good = data.n == FORMAT_DATA_BYTES;
    else if (str_eq(key, STR(SPOOL_MEMBER_KEY)))
        good = spool_member_read(data, &m);
    else if (str_eq(key, STR(SPOOL_ECHO_KEY)))
        good = data.n == ECHO_DATA_BYTES;
    if (!good)
        found(c, TABLE_META, key, "unknown record");
}

static void each_mark(struct check *c, struct str key, struct str data)
{
    struct spool_mark mark;
    struct mid id;

    c->sum.marks++;
    if (!spool_key_to_mid(key, &id) || !spool_mark_read(data, &mark)) {
        found(c, TABLE_MARK, key, "length");
        return;
    }
    if (spool_settled_find(&c->spool, c->txn, id) == OK)
        found(c, TABLE_MARK, key, "a mark of a settled id");
}

static void each_aborted(struct check *c, struct str key, struct str data)
{
    struct spool_key msg;
    struct mid id;

    c->sum.aborted++;
    if (data.n != 0 || !spool_key_to_mid(key, &id)) {
        found(c, TABLE_ABORTED, key, "length");
        return;
    }
    msg = spool_key_mid(id);
    if (there(c, TABLE_MSG, &msg))
        found(c, TABLE_ABORTED, key, "live and aborted at once");
    if (spool_settled_find(&c->spool, c->txn, id) == OK)
        found(c, TABLE_ABORTED, key, "settled and aborted at once");
}

static void each_session(struct check *c, struct str key, struct str data)
{
    struct session_facts f;

    c->sum.sessions++;
    if (key.n != SESSION_KEY_BYTES || !spool_session_read(data, &f))
        found(c, TABLE_SESSION, key, "length");
    else if (is_clear(c, (uint16_t)get_be(key.p, 2), get_be(key.p + 2, 6)))
        found(c, TABLE_SESSION, key, "known, and clear");
}

static void each_clear(struct check *c, struct str key, struct str data)
{
    if (key.n != CLEAR_KEY_BYTES || data.n != CLEAR_DATA_BYTES)
        found(c, TABLE_CLEAR, key, "length");
}

static void each_interval(struct check *c, struct str key, struct str data)
{
    struct spool_key first, next;
    struct mid id, next_id;
    uint64_t end;

    c->sum.intervals++;
    if (data.n != SETTLED_END_BYTES || !spool_key_to_mid(key, &id)) {
        found(c, TABLE_SETTLED, key, "length");
        return;
    }
    if (is_clear(c, mid_site(id), mid_epoch(id)))
        found(c, TABLE_SETTLED, key, "an interval of a clear session");
    end = get_be(data.p, SETTLED_END_BYTES);
    if (end < mid_counter(id)) {
        found(c, TABLE_SETTLED, key, "the interval ends before it begins");
        return;
    }
    first = spool_key_mid(id);
    if (seek(c, TABLE_MSG, &first, &next) && spool_key_to_mid(str_of_key(&next), &next_id) &&
        memcmp(next.b, first.b, 8) == 0 && mid_counter(next_id) <= end)
        found(c, TABLE_MSG, str_of_key(&next), "live and settled at once");
    if (mid_counter(id) == UINT64_MAX)
        return;
    first = spool_key_mid(mid_make(mid_site(id), mid_epoch(id), mid_counter(id) + 1));
    if (seek(c, TABLE_SETTLED, &first, &next) &&
        spool_key_to_mid(str_of_key(&next), &next_id) && memcmp(next.b, first.b, 8) == 0 &&
        (mid_counter(next_id) <= end || mid_counter(next_id) - 1 == end))
        found(c, TABLE_SETTLED, str_of_key(&next), "touches the interval before it");
}

static void each_trace(struct check *c, struct str key, struct str data)
{
    struct spool_key aging;
    struct envelope e;
    struct mid id;

    c->sum.traces++;
    if (!spool_key_to_mid(key, &id) || envelope_decode(data, &c->arena, &e) != OK ||
        mid_cmp(e.id, id) != 0) {
        found(c, TABLE_TRACE, key, "envelope does not decode");
        return;
    }
    if (spool_settled_find(&c->spool, c->txn, id) != OK)
        found(c, TABLE_TRACE, key, "traced, but not in the settled set");
    aging = spool_key_aging((uint32_t)(e.settled_ms / DAY_MS), id);
    if (!there(c, TABLE_AGING, &aging))
        found(c, TABLE_TRACE, key, "has no aging entry");
}

static void each_aging(struct check *c, struct str key, struct str data)
{
    struct spool_key trace;
    struct mid id;
    uint32_t day;

    c->sum.agings++;
    if (data.n != 0 || !spool_key_to_aging(key, &day, &id)) {
        found(c, TABLE_AGING, key, "length");
        return;
    }
    trace = spool_key_mid(id);
    if (!there(c, TABLE_TRACE, &trace))
        found(c, TABLE_AGING, key, "has no trace");
}

/* --- Pages --- */

/* A record of LMDB's list of free pages: a count, and as many numbers, in the machine's own
 * order (the list never leaves the machine that wrote it). */
static void free_record(struct check *c, const MDB_val *v, uint8_t *seen, uint64_t pages)
{
    const size_t *list = v->mv_data;
    size_t n = v->mv_size / sizeof *list;

    if (n == 0 || list[0] > n - 1) {
        found_in_file(c, "a record of the free list is cut", 0);
        return;
    }
    for (size_t i = 1; i <= list[0]; i++) {
        uint64_t page = list[i];

        if (page < 2 || page >= pages) {
            found_in_file(c, "a free page is outside of the file", page);
            continue;
        }
        if (seen[page / 8] & (1 << page % 8))
            found_in_file(c, "a page is free twice", page);
        seen[page / 8] |= (uint8_t)(1 << page % 8);
        c->sum.free_pages++;
    }
}

static enum err check_pages(struct check *c)
{
    MDB_cursor *cursor;
    MDB_envinfo info;
    MDB_val k, v;
    uint8_t *seen;
    int rc = mdb_env_info(c->spool.env, &info);

    if (rc == 0)
        rc = mdb_cursor_open(c->txn, 0, &cursor);
    if (rc != 0) {
        spool_log_failure("check_pages", E_IO, rc);
        return E_IO;
    }
    c->sum.file_pages = info.me_last_pgno + 1;
    c->sum.used_pages = spool_used_pages(&c->spool, c->txn);
    seen = calloc(c->sum.file_pages / 8 + 1, 1);
    ASSERT(seen != NULL);
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
        free_record(c, &v, seen, c->sum.file_pages);
    mdb_cursor_close(cursor);
    free(seen);
    if (c->sum.used_pages + c->sum.free_pages != c->sum.file_pages)
        found_in_file(c, "used and free pages are not the file", c->sum.file_pages);
    return rc == MDB_NOTFOUND ? OK : E_IO;
}

static const struct {
    enum spool_table table;
    void (*each)(struct check *c, struct str key, struct str data);
} walks[] = {
    {TABLE_META, each_meta},       {TABLE_MARK, each_mark},   {TABLE_SETTLED, each_interval},
    {TABLE_TRACE, each_trace},     {TABLE_AGING, each_aging}, {TABLE_ABORTED, each_aborted},
    {TABLE_SESSION, each_session}, {TABLE_CLEAR, each_clear},
};

static enum err check_all(struct check *c)
{
    enum err e = check_messages(c);

    for (size_t i = 0; i < sizeof walks / sizeof walks[0] && e == OK; i++)
        e = walk(c, walks[i].table, walks[i].each);
    return e == OK ? check_pages(c) : e;
}

enum err spool_check(const char *dir, void (*report)(void *user, const struct spool_finding *f),
                     void *user, struct spool_check_summary *out)
{
    struct check *c = calloc(1, sizeof *c);
    enum err e;
    int rc;

    ASSERT(c != NULL);
    c->report = report;
    c->user = user;
    arena_init(&c->arena, RECORD_ARENA_BYTES);
    e = spool_env_open_readonly(&c->spool, dir);
    if (e == OK) {
        rc = mdb_txn_begin(c->spool.env, NULL, MDB_RDONLY, &c->txn);
        if (rc == 0) {
            e = check_all(c);
            mdb_txn_abort(c->txn);
        } else {
            spool_log_failure("check_begin", E_IO, rc);
            e = E_IO;
        }
    }
    spool_env_close(&c->spool);
    arena_reset(&c->arena);
    *out = c->sum;
    free(c);
    return e;
}
