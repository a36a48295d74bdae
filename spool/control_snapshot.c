#include "spool/control_snapshot.h"

#include <stdlib.h>
#include <xxhash.h>

#include "spool/control_image.h"

struct control_snapshot {
    struct image_file file;
    uint64_t index;
};

/* What goes into the file and into its checksum. */
struct image {
    struct image_file *file;
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
        i->first_err = image_file_add(i->file, s);
}

static void image_record(struct image *i, uint32_t table, struct str key, struct str payload)
{
    char head[IMAGE_RECORD_BYTES] = {(char)table};

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
    char end[IMAGE_END_BYTES] = {(char)IMAGE_END_TABLE};

    ctlkv_store_u64(end + 1, i->records);
    image_add(i, (struct str){end, 9});
    ctlkv_store_u64(end + 9, XXH3_64bits_digest(i->sum));
    if (i->first_err == OK)
        i->first_err = image_file_add(i->file, (struct str){end + 9, 8});
    if (i->first_err == OK)
        i->first_err = image_file_flush(i->file);
}

static enum err make_image(struct image *i, struct control *c, uint64_t *index)
{
    char head[IMAGE_HEAD_BYTES] = IMAGE_MAGIC, clock[8];
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
    e = image_file_open(&s->file, c);
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
    image_file_close(&(*s)->file);
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
    return image_file_read(&s->file, offset, buf, size, got);
}
