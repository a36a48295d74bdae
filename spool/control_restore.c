/* control_snapshot.h, the second half: a state from the bytes of an image. */
#include <stdlib.h>
#include <xxhash.h>

#include "spool/control_image.h"
#include "spool/control_snapshot.h"

struct control_restore {
    struct control *c;
    struct image_file file;
};

/* The bytes of a file in order; what was taken last lives until the next call. */
struct source {
    const struct image_file *file;
    uint64_t at, end; /* offsets in the file */
    size_t have;      /* bytes in the buffer ... */
    size_t used;      /* ... of which these were taken */
    enum err err;
};

/* False: there are not so many left, or they cannot be read. */
static bool take(struct source *s, size_t n, struct str *out)
{
    size_t left = s->have - s->used, room = IMAGE_BUFFER_BYTES - left, got;

    *out = STR_NONE;
    ASSERT(n <= IMAGE_BUFFER_BYTES);
    if (s->err != OK)
        return false;
    if (left < n) {
        memmove(s->file->buffer, s->file->buffer + s->used, left);
        s->used = 0;
        if (room > s->end - s->at)
            room = (size_t)(s->end - s->at);
        s->err = image_file_read(s->file, s->at, s->file->buffer + left, room, &got);
        s->have = left + got;
        s->at += got;
    }
    if (s->err != OK || s->have - s->used < n)
        return false;
    *out = (struct str){s->file->buffer + s->used, n};
    s->used += n;
    return true;
}

/* The last eight bytes are the checksum of all before. */
static enum err verify(const struct image_file *f)
{
    struct source s = {.file = f, .end = f->bytes};
    XXH3_state_t *sum;
    struct str part, found = STR_NONE;
    uint64_t left = f->bytes, digest;

    if (f->bytes < IMAGE_HEAD_BYTES + IMAGE_END_BYTES)
        return E_PROTO;
    sum = XXH3_createState();
    ASSERT(sum != NULL);
    XXH3_64bits_reset(sum);
    for (left -= 8; left > 0; left -= part.n) {
        if (!take(&s, left < 64 * KiB ? (size_t)left : 64 * KiB, &part))
            break;
        ASSERT(XXH3_64bits_update(sum, part.p, part.n) == XXH_OK);
    }
    digest = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    if (!take(&s, 8, &found))
        return s.err != OK ? s.err : E_IO; /* E_IO: the file is shorter than what was written */
    return ctlkv_load_u64(found.p) == digest ? OK : E_PROTO;
}

static enum err check_head(struct control_restore *r, struct source *s, struct ctlkv_txn *t,
                           uint64_t *index)
{
    struct str head, id;
    enum err e = control_get_sized(t, T_META, KEY_ID, CONTROL_ID_BYTES, &id);

    if (e != OK)
        return e;
    if (!take(s, IMAGE_HEAD_BYTES, &head))
        return E_PROTO;
    if (!str_eq(str_head(head, 8), STR(IMAGE_MAGIC)) ||
        ctlkv_load_u32(head.p + 8) != CONTROL_FORMAT)
        return E_PROTO;
    *index = ctlkv_load_u64(head.p + 28);
    if (memcmp(head.p + 12, id.p, 16) != 0 || *index < control_applied(r->c))
        return E_CONFLICT;
    return OK;
}

/* False: the end, or something odd; then *e says so. */
static bool copy_record(struct source *s, struct ctlkv_txn *t, uint64_t *count, enum err *e)
{
    struct str head, body;
    uint32_t table, payload_bytes;
    uint16_t key_bytes;

    *e = E_PROTO;
    if (!take(s, 1, &head))
        return false;
    table = (uint8_t)head.p[0];
    if (table == IMAGE_END_TABLE) {
        if (take(s, 8, &head) && ctlkv_load_u64(head.p) == *count && s->have == s->used &&
            s->at == s->end)
            *e = OK;
        return false;
    }
    if (table >= T_COUNT || !take(s, IMAGE_RECORD_BYTES - 1, &head))
        return false;
    key_bytes = ctlkv_load_u16(head.p);
    payload_bytes = ctlkv_load_u32(head.p + 2);
    if (key_bytes == 0 || key_bytes > CTLKV_KEY_BYTES ||
        payload_bytes > IMAGE_BUFFER_BYTES / 2 ||
        !take(s, (size_t)key_bytes + payload_bytes, &body))
        return false;
    if (table == T_META && !str_eq(str_head(body, key_bytes), KEY_CLOCK))
        return false;
    ctlkv_put(t, table, str_head(body, key_bytes), str_from(body, key_bytes), STR_NONE);
    ++*count;
    *e = t->first_err;
    return *e == OK;
}

static enum err replace(struct control_restore *r, uint64_t *index)
{
    struct source s = {.file = &r->file, .end = r->file.bytes - 8};
    struct ctlkv_txn t;
    char applied[8];
    uint64_t count = 0;
    enum err e;

    ctlkv_begin(&t, &r->c->kv, true);
    e = check_head(r, &s, &t, index);
    for (uint32_t table = T_DOMAIN; e == OK && table < T_COUNT; table++)
        ctlkv_clear(&t, table);
    while (e == OK && copy_record(&s, &t, &count, &e))
        ;
    if (s.err != OK)
        e = s.err;
    if (e != OK) {
        ctlkv_abort(&t);
        return e;
    }
    ctlkv_store_u64(applied, *index);
    ctlkv_put(&t, T_META, KEY_APPLIED, (struct str){applied, sizeof applied}, STR_NONE);
    return ctlkv_commit(&t);
}

enum err control_restore_begin(struct control_restore **out, struct control *c)
{
    struct control_restore *r = calloc(1, sizeof *r);
    enum err e;

    ASSERT(r != NULL);
    r->c = c;
    e = image_file_open(&r->file, c);
    if (e != OK)
        control_restore_abort(&r);
    *out = r;
    return e;
}

enum err control_restore_write(struct control_restore *r, struct str bytes)
{
    return image_file_add(&r->file, bytes);
}

uint64_t control_restore_bytes(const struct control_restore *r)
{
    return r->file.bytes + r->file.used;
}

enum err control_restore_commit(struct control_restore **r)
{
    uint64_t index = 0;
    enum err e = image_file_flush(&(*r)->file);

    if (e == OK)
        e = verify(&(*r)->file);
    if (e == OK)
        e = replace(*r, &index);
    if (e == OK)
        atomic_store(&(*r)->c->applied, index);
    control_restore_abort(r);
    return e;
}

void control_restore_abort(struct control_restore **r)
{
    if (*r == NULL)
        return;
    image_file_close(&(*r)->file);
    free(*r);
    *r = NULL;
}
