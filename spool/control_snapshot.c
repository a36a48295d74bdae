#include "spool/control_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "spool/control_internal.h"

#define IMAGE_MAGIC "tspstate"

#define HEAD_BYTES   36 /* magic 8, version u32, cluster 16, applied u64 */
#define RECORD_BYTES 7  /* table u8, key length u16, payload length u32 */
#define END_TABLE    0xff
#define END_BYTES    17 /* END_TABLE, number of records u64, checksum u64 */

#define BUFFER_BYTES (256 * KiB) /* holds the largest record */

/* A file without a name, written from the front or read from anywhere. */
struct file {
    int fd;
    uint64_t bytes;
    char *buffer;
    size_t used;
};

struct control_snapshot {
    struct file file;
    uint64_t index;
};

struct control_restore {
    struct control *c;
    struct file file;
};

/* --- the file --- */

static enum err err_of(int code)
{
    return code == ENOSPC || code == EDQUOT || code == ENOMEM ? E_FULL : E_IO;
}

static enum err file_open(struct file *f, const struct control *c)
{
    char path[4096 + 16];
    enum err e = OK;

    *f = (struct file){.fd = -1, .buffer = malloc(BUFFER_BYTES)};
    ASSERT(f->buffer != NULL);
    snprintf(path, sizeof path, "%s/image.XXXXXX", c->kv.dir);
    f->fd = mkostemp(path, O_CLOEXEC);
    if (f->fd < 0)
        e = err_of(errno);
    else if (unlink(path) != 0)
        e = err_of(errno);
    return e;
}

static void file_close(struct file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->buffer);
    *f = (struct file){.fd = -1};
}

static enum err write_all(struct file *f, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = pwrite(f->fd, p, n, (off_t)f->bytes);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? err_of(errno) : E_IO;
        p += done;
        n -= (size_t)done;
        f->bytes += (uint64_t)done;
    }
    return OK;
}

static enum err file_flush(struct file *f)
{
    size_t n = f->used;

    f->used = 0;
    return write_all(f, f->buffer, n);
}

static enum err file_add(struct file *f, struct str s)
{
    enum err e = OK;

    if (f->used + s.n > BUFFER_BYTES)
        e = file_flush(f);
    if (e == OK && s.n > BUFFER_BYTES)
        return write_all(f, s.p, s.n);
    if (e == OK && s.n > 0)
        memcpy(f->buffer + f->used, s.p, s.n);
    f->used += e == OK ? s.n : 0;
    return e;
}

static enum err file_read(const struct file *f, uint64_t offset, void *buf, size_t size,
                          size_t *got)
{
    char *to = buf;

    *got = 0;
    while (*got < size) {
        ssize_t n = pread(f->fd, to + *got, size - *got, (off_t)(offset + *got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return E_IO;
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return OK;
}

/* --- making an image --- */

/* What goes into the file and into its checksum. */
struct image {
    struct file *file;
    XXH3_state_t *sum;
    uint64_t records;
    enum err first_err;
};

static void image_add(struct image *i, struct str s)
{
    if (i->first_err != OK)
        return;
    if (XXH3_64bits_update(i->sum, s.p, s.n) != XXH_OK)
        i->first_err = E_IO;
    else
        i->first_err = file_add(i->file, s);
}

static void image_record(struct image *i, uint32_t table, struct str key, struct str payload)
{
    char head[RECORD_BYTES] = {(char)table};

    ctlkv_store_u16(head + 1, (uint16_t)key.n);
    ctlkv_store_u32(head + 3, (uint32_t)payload.n);
    image_add(i, (struct str){head, sizeof head});
    image_add(i, key);
    image_add(i, payload);
    i->records++;
}

static void image_table(struct image *i, struct ctlkv_txn *t, uint32_t table)
{
    char last[CTLKV_KEY_BYTES];
    struct str after = STR_NONE, key, payload;

    while (i->first_err == OK && ctlkv_next(t, table, after, &key, &payload) == OK) {
        image_record(i, table, key, payload);
        memcpy(last, key.p, key.n);
        after = (struct str){last, key.n};
    }
}

static void image_end(struct image *i)
{
    char end[END_BYTES] = {(char)END_TABLE};

    ctlkv_store_u64(end + 1, i->records);
    image_add(i, (struct str){end, 9});
    ctlkv_store_u64(end + 9, XXH3_64bits_digest(i->sum));
    if (i->first_err == OK)
        i->first_err = file_add(i->file, (struct str){end + 9, 8});
    if (i->first_err == OK)
        i->first_err = file_flush(i->file);
}

static enum err make_image(struct image *i, struct control *c, uint64_t *index)
{
    char head[HEAD_BYTES] = IMAGE_MAGIC, clock[8];
    struct ctlkv_txn t;
    uint64_t ms;
    struct str id;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = control_get_meta_u64(&t, KEY_APPLIED, index);
    if (e == OK)
        e = control_get_meta_u64(&t, KEY_CLOCK, &ms);
    if (e == OK)
        e = control_get_sized(&t, T_META, KEY_ID, CONTROL_ID_BYTES, &id);
    if (e == OK) {
        ctlkv_store_u32(head + 8, CONTROL_FORMAT);
        memcpy(head + 12, id.p, 16);
        ctlkv_store_u64(head + 28, *index);
        image_add(i, (struct str){head, sizeof head});
        ctlkv_store_u64(clock, ms);
        image_record(i, T_META, KEY_CLOCK, (struct str){clock, sizeof clock});
        for (uint32_t table = T_DOMAIN; table < T_COUNT; table++)
            image_table(i, &t, table);
        e = t.first_err;
    }
    ctlkv_abort(&t);
    if (e == OK)
        image_end(i);
    return e != OK ? e : i->first_err;
}

enum err control_snapshot_open(struct control_snapshot **out, struct control *c)
{
    struct control_snapshot *s = calloc(1, sizeof *s);
    struct image image = {.sum = XXH3_createState()};
    enum err e;

    ASSERT(s != NULL && image.sum != NULL);
    XXH3_64bits_reset(image.sum);
    image.file = &s->file;
    e = file_open(&s->file, c);
    if (e == OK)
        e = make_image(&image, c, &s->index);
    XXH3_freeState(image.sum);
    if (e != OK)
        control_snapshot_close(&s);
    *out = s;
    return e;
}

void control_snapshot_close(struct control_snapshot **s)
{
    if (*s == NULL)
        return;
    file_close(&(*s)->file);
    free(*s);
    *s = NULL;
}

uint64_t control_snapshot_index(const struct control_snapshot *s)
{
    return s->index;
}

uint64_t control_snapshot_bytes(const struct control_snapshot *s)
{
    return s->file.bytes;
}

enum err control_snapshot_read(struct control_snapshot *s, uint64_t offset, void *buf,
                               size_t size, size_t *got)
{
    return file_read(&s->file, offset, buf, size, got);
}

/* --- reading an image --- */

/* The bytes of a file in order; what was taken last lives until the next call. */
struct source {
    const struct file *file;
    uint64_t at, end; /* offsets in the file */
    size_t have;      /* bytes in the buffer ... */
    size_t used;      /* ... of which these were taken */
    enum err err;
};

/* False: there are not so many left, or they cannot be read. */
static bool take(struct source *s, size_t n, struct str *out)
{
    size_t left = s->have - s->used, room = BUFFER_BYTES - left, got;

    *out = STR_NONE;
    if (s->err != OK || n > BUFFER_BYTES)
        return false;
    if (left < n) {
        memmove(s->file->buffer, s->file->buffer + s->used, left);
        s->used = 0;
        if (room > s->end - s->at)
            room = (size_t)(s->end - s->at);
        s->err = file_read(s->file, s->at, s->file->buffer + left, room, &got);
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
static enum err verify(const struct file *f)
{
    struct source s = {.file = f, .end = f->bytes};
    XXH3_state_t *sum;
    struct str part, found = STR_NONE;
    uint64_t left = f->bytes, digest;

    if (f->bytes < HEAD_BYTES + END_BYTES)
        return E_PROTO;
    sum = XXH3_createState();
    ASSERT(sum != NULL);
    XXH3_64bits_reset(sum);
    for (left -= 8; left > 0; left -= part.n) {
        if (!take(&s, left < 64 * KiB ? (size_t)left : 64 * KiB, &part) ||
            XXH3_64bits_update(sum, part.p, part.n) != XXH_OK)
            break;
    }
    digest = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    if (left > 0 || !take(&s, 8, &found))
        return s.err != OK ? s.err : E_PROTO;
    return ctlkv_load_u64(found.p) == digest ? OK : E_PROTO;
}

static enum err check_head(struct control_restore *r, struct source *s, struct ctlkv_txn *t,
                           uint64_t *index)
{
    struct str head, id;
    enum err e = control_get_sized(t, T_META, KEY_ID, CONTROL_ID_BYTES, &id);

    if (e != OK)
        return e;
    if (!take(s, HEAD_BYTES, &head))
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
    if (table == END_TABLE) {
        if (take(s, 8, &head) && ctlkv_load_u64(head.p) == *count && s->have == s->used &&
            s->at == s->end)
            *e = OK;
        return false;
    }
    if (table >= T_COUNT || !take(s, RECORD_BYTES - 1, &head))
        return false;
    key_bytes = ctlkv_load_u16(head.p);
    payload_bytes = ctlkv_load_u32(head.p + 2);
    if (key_bytes == 0 || key_bytes > CTLKV_KEY_BYTES || payload_bytes > BUFFER_BYTES / 2 ||
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
    e = file_open(&r->file, c);
    if (e != OK)
        control_restore_abort(&r);
    *out = r;
    return e;
}

enum err control_restore_write(struct control_restore *r, struct str bytes)
{
    return file_add(&r->file, bytes);
}

uint64_t control_restore_bytes(const struct control_restore *r)
{
    return r->file.bytes + r->file.used;
}

enum err control_restore_commit(struct control_restore **r)
{
    uint64_t index = 0;
    enum err e = file_flush(&(*r)->file);

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
    file_close(&(*r)->file);
    free(*r);
    *r = NULL;
}
