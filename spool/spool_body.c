/* Bodies are cut into values that fill one page with their header: larger values need runs of
 * free pages, and the store gets slower and larger with every message replaced (measured). */
#include <xxhash.h>

#include "spool/spool_internal.h"

/* Where we are in a list of blocks, or in one piece of bytes. */
struct source {
    const struct block *b;
    uint32_t at;
    struct str flat;
};

static void take(struct source *src, char *out, size_t n)
{
    if (src->flat.n > 0) {
        memcpy(out, src->flat.p, n);
        src->flat = str_from(src->flat, n);
        return;
    }
    while (n > 0) {
        size_t part;

        ASSERT(src->b != NULL);
        part = src->b->used - src->at;
        if (part > n)
            part = n;
        memcpy(out, src->b->data + src->at, part);
        out += part;
        n -= part;
        src->at += (uint32_t)part;
        if (src->at == src->b->used)
            *src = (struct source){.b = src->b->next};
    }
}

/* What the chunk before, or around, `offset` holds: it must be whole, or end at the offset. The
 * kept bytes (below one chunk) are copied to `head`. */
static enum err resume(struct spool_txn *t, uint64_t number, uint64_t offset,
                       char head[CHUNK_DATA_BYTES], size_t *kept)
{
    uint32_t chunk = (uint32_t)(offset / CHUNK_DATA_BYTES);
    size_t rest = (size_t)(offset % CHUNK_DATA_BYTES);
    struct spool_key key = spool_key_body(number, rest > 0 ? chunk : chunk - 1);
    struct str data;
    enum err e;

    *kept = 0;
    if (offset == 0)
        return OK;
    e = spool_stick(t, spool_fetch(t->spool, t->mdb, TABLE_BODY, &key, &data));
    if (e != OK)
        return e;
    if (data.n != (rest > 0 ? rest : CHUNK_DATA_BYTES))
        return E_NOTFOUND;
    if (rest > 0)
        memcpy(head, data.p, rest);
    *kept = rest;
    return OK;
}

enum err spool_body_write(struct spool_txn *t, uint64_t number, uint64_t offset,
                          const struct body_source *from)
{
    uint32_t chunk = (uint32_t)(offset / CHUNK_DATA_BYTES);
    struct source src = {.b = from->blocks != NULL ? from->blocks->first : NULL,
                         .flat = from->blocks != NULL ? STR_NONE : from->bytes};
    uint64_t left = body_source_bytes(from);
    char head[CHUNK_DATA_BYTES];
    size_t kept;
    enum err e = resume(t, number, offset, head, &kept);

    for (; e == OK && left > 0; chunk++) {
        struct spool_key key = spool_key_body(number, chunk);
        size_t fresh = CHUNK_DATA_BYTES - kept;
        char *value;

        if (fresh > left)
            fresh = (size_t)left;
        value = spool_reserve(t, TABLE_BODY, &key, kept + fresh);
        if (value == NULL)
            return t->first_err;
        memcpy(value + CHECKSUM_BYTES, head, kept);
        take(&src, value + CHECKSUM_BYTES + kept, fresh);
        spool_value_seal(TABLE_BODY, str_of_key(&key), value, kept + fresh);
        left -= fresh;
        kept = 0;
    }
    return e;
}

enum err spool_body_complete(struct spool_txn *t, uint64_t number, uint64_t bytes)
{
    uint32_t count = chunk_count(bytes), seen = 0, chunk;
    struct spool_key key = spool_key_body(number, 0);
    MDB_val k = val_of_key(&key), v;
    MDB_cursor *cursor;
    uint64_t found;
    enum err e = OK;
    int rc = mdb_cursor_open(t->mdb, t->spool->dbi[TABLE_BODY], &cursor);

    if (rc != 0) {
        spool_note(t, "body_cursor", rc);
        return t->first_err;
    }
    for (rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); rc == 0 && e == OK;
         rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (!spool_key_to_body(str_of_val(&k), &found, &chunk) || found != number)
            break;
        if (chunk != seen || seen == count ||
            v.mv_size != CHECKSUM_BYTES + chunk_bytes(bytes, chunk))
            e = E_NOTFOUND;
        seen++;
    }
    mdb_cursor_close(cursor);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        spool_note(t, "body_walk", rc);
        return t->first_err;
    }
    return e == OK && seen != count ? E_NOTFOUND : e;
}

enum err spool_body_verify(struct spool *s, MDB_txn *txn, const struct msg_head *h)
{
    XXH3_state_t *state = XXH3_createState();
    enum err e = OK;

    ASSERT(state != NULL);
    XXH3_64bits_reset(state);
    for (uint32_t chunk = 0; chunk < chunk_count(h->bytes) && e == OK; chunk++) {
        struct spool_key key = spool_key_body(h->number, chunk);
        struct str data;

        e = spool_fetch(s, txn, TABLE_BODY, &key, &data);
        if (e == E_NOTFOUND || (e == OK && data.n != chunk_bytes(h->bytes, chunk)))
            e = E_CORRUPT;
        if (e == OK)
            XXH3_64bits_update(state, data.p, data.n);
    }
    if (e == OK && XXH3_64bits_digest(state) != h->digest)
        e = E_CORRUPT;
    XXH3_freeState(state);
    return e;
}

enum err spool_body_remove(struct spool_txn *t, uint64_t number, uint64_t bytes)
{
    for (uint32_t chunk = 0; chunk < chunk_count(bytes); chunk++) {
        struct spool_key key = spool_key_body(number, chunk);
        enum err e = spool_remove(t, TABLE_BODY, &key);

        if (e != OK && e != E_NOTFOUND)
            return e;
    }
    return OK;
}

/* The first key of the body at or behind `chunk`. Looked up anew each time: a cursor is not
 * used on after a delete (LMDB 0.9.24). */
static enum err first_chunk(struct spool_txn *t, uint64_t number, struct spool_key *key)
{
    MDB_val k, v;
    MDB_cursor *cursor;
    uint64_t found = 0;
    uint32_t chunk = 0;
    bool mine;
    int rc = mdb_cursor_open(t->mdb, t->spool->dbi[TABLE_BODY], &cursor);

    if (rc == 0) {
        *key = spool_key_body(number, 0);
        k = val_of_key(key);
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        mine = rc == 0 && spool_key_to_body(str_of_val(&k), &found, &chunk) && found == number;
        mdb_cursor_close(cursor);
        if (rc == MDB_NOTFOUND || (rc == 0 && !mine))
            return E_NOTFOUND;
    }
    if (rc != 0) {
        spool_note(t, "body_first", rc);
        return t->first_err;
    }
    *key = spool_key_body(number, chunk);
    return OK;
}

enum err spool_body_sweep(struct spool_txn *t, uint64_t number, size_t max, size_t *removed)
{
    enum err e = OK;

    for (*removed = 0; *removed < max && e == OK; (*removed)++) {
        struct spool_key key;

        e = first_chunk(t, number, &key);
        if (e == OK)
            e = spool_remove(t, TABLE_BODY, &key);
        if (e != OK)
            break;
    }
    return e == E_NOTFOUND ? OK : e;
}
