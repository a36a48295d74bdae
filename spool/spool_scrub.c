/* A slow walk over everything. It keeps its place by key, not by cursor, so that between two
 * steps no snapshot is open. */
#include <stdlib.h>
#include <xxhash.h>

#include "base/stats.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

struct spool_scrub {
    struct spool_reader *reader;
    enum spool_table table;
    char next[KEY_BYTES_MAX + 1]; /* the smallest key not looked at */
    size_t next_bytes;
    uint64_t corrupt;

    bool in_body; /* of this message: */
    struct envelope body;
    uint64_t offset;
    XXH3_state_t *state;
    char buf[SPOOL_READ_BYTES];
};

/* Bodies are read through their records. */
static const enum spool_table order[] = {TABLE_META,    TABLE_MSG,     TABLE_MARK,
                                         TABLE_SETTLED, TABLE_TRACE,   TABLE_AGING,
                                         TABLE_ABORTED, TABLE_SESSION, TABLE_CLEAR};

enum err spool_scrub_open(struct spool *s, struct spool_scrub **out)
{
    struct spool_scrub *sc = calloc(1, sizeof *sc);
    enum err e;

    ASSERT(sc != NULL);
    sc->table = order[0];
    sc->state = XXH3_createState();
    ASSERT(sc->state != NULL);
    e = spool_reader_open(s, &sc->reader);
    if (e != OK)
        spool_scrub_close(&sc);
    *out = sc;
    return e;
}

void spool_scrub_close(struct spool_scrub **scp)
{
    if ((*scp)->reader != NULL)
        spool_reader_close(&(*scp)->reader);
    XXH3_freeState((*scp)->state);
    free(*scp);
    *scp = NULL;
}

static void begin_body(struct spool_scrub *sc, struct mid id, const struct msg_head *h)
{
    sc->in_body = true;
    sc->offset = 0;
    sc->body = (struct envelope){
        .id = id, .body_number = h->number, .body_bytes = h->bytes, .body_digest = h->digest};
    XXH3_64bits_reset(sc->state);
}

static bool small_good(enum spool_table table, struct str data)
{
    struct session_facts f;
    struct spool_mark m;

    switch (table) {
    case TABLE_MARK:
        return spool_mark_read(data, &m);
    case TABLE_SETTLED:
        return data.n == SETTLED_END_BYTES;
    case TABLE_ABORTED:
    case TABLE_AGING:
        return data.n == 0;
    case TABLE_SESSION:
        return spool_session_read(data, &f);
    case TABLE_CLEAR:
        return data.n == CLEAR_DATA_BYTES;
    default:
        return true;
    }
}

/* Decodes what the checksum lets through; a message's body comes next. */
static bool content_good(struct spool_scrub *sc, struct str key, struct str data)
{
    struct arena *a = &sc->reader->scratch;
    struct envelope e;
    struct msg_head h;
    struct str record;
    struct mid id;
    bool good = true;

    if (sc->table == TABLE_MSG) {
        good = spool_key_to_mid(key, &id) && msg_head_read(data, &h, &record) &&
               spool_decode_msg(id, &h, record, a, &e) == OK;
        if (good)
            begin_body(sc, id, &h);
    } else if (sc->table == TABLE_TRACE) {
        good = spool_key_to_mid(key, &id) && spool_decode_trace(id, data, a, &e) == OK;
    } else {
        good = small_good(sc->table, data);
        if (!good)
            spool_log_corrupt(sc->table, key, "length");
    }
    arena_reset(a);
    return good;
}

static void keep_place(struct spool_scrub *sc, struct str key)
{
    size_t n = key.n < KEY_BYTES_MAX ? key.n : KEY_BYTES_MAX;

    memcpy(sc->next, key.p, n);
    sc->next[n] = 0; /* the key with a zero byte behind it is the next one there can be */
    sc->next_bytes = n + 1;
}

/* True: the round is done. */
static bool next_table(struct spool_scrub *sc)
{
    size_t i = 0;

    while (order[i] != sc->table)
        i++;
    i = (i + 1) % (sizeof order / sizeof order[0]);
    sc->table = order[i];
    sc->next_bytes = 0;
    return i == 0;
}

/* The record at our place. E_NOTFOUND: the table ends. */
static enum err step_record(struct spool_scrub *sc, uint64_t *bytes)
{
    MDB_val k = {.mv_size = sc->next_bytes, .mv_data = sc->next}, v;
    struct spool *s = sc->reader->spool;
    MDB_cursor *cursor;
    struct str data;
    int rc;
    enum err e = spool_snapshot(sc->reader);

    if (e != OK)
        return e;
    rc = mdb_cursor_open(sc->reader->txn, s->dbi[sc->table], &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, sc->next_bytes > 0 ? MDB_SET_RANGE : MDB_FIRST);
        mdb_cursor_close(cursor);
    }
    if (rc == 0) {
        struct str key = str_of_val(&k);

        *bytes += k.mv_size + v.mv_size;
        if (!spool_value_open(sc->table, key, str_of_val(&v), &data)) {
            spool_log_corrupt(sc->table, key, "checksum");
            sc->corrupt++;
        } else if (!content_good(sc, key, data)) {
            sc->corrupt++;
        }
        keep_place(sc, key);
    }
    spool_snapshot_end(sc->reader);
    if (rc == 0 || rc == MDB_NOTFOUND)
        return rc == 0 ? OK : E_NOTFOUND;
    spool_log_failure("scrub", E_IO, rc);
    return E_IO;
}

static void end_body(struct spool_scrub *sc, enum err e)
{
    struct spool_key key = spool_key_mid(sc->body.id);

    if (e == OK && XXH3_64bits_digest(sc->state) != sc->body.body_digest) {
        spool_log_corrupt(TABLE_MSG, str_of_key(&key), "body digest");
        e = E_CORRUPT;
    }
    sc->corrupt += e == E_CORRUPT;
    sc->in_body = false;
    stat_add(STAT_SCRUBBED_MESSAGES_TOTAL, 1);
}

static enum err step_body(struct spool_scrub *sc, uint64_t *bytes)
{
    size_t got;
    enum err e =
        spool_read_body(sc->reader, &sc->body, sc->offset, sc->buf, sizeof sc->buf, &got);

    if (e == E_IO)
        return E_IO;
    if (e != OK || got == 0) {
        end_body(sc, e); /* E_NOTFOUND: settled while we read */
        return OK;
    }
    XXH3_64bits_update(sc->state, sc->buf, got);
    sc->offset += got;
    *bytes += got;
    return OK;
}

enum err spool_scrub_step(struct spool_scrub *sc, uint64_t max_bytes, bool *round_done,
                          uint64_t *corrupt)
{
    uint64_t bytes = 0, before = sc->corrupt;
    enum err e = OK;

    *round_done = false;
    do {
        e = sc->in_body ? step_body(sc, &bytes) : step_record(sc, &bytes);
        if (e == E_NOTFOUND) {
            *round_done = next_table(sc);
            e = OK;
        }
    } while (e == OK && bytes < max_bytes && !*round_done);
    if (corrupt != NULL)
        *corrupt = sc->corrupt - before;
    return e;
}
