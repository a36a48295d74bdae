#include "spool/ctllog.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "spool/ctlkv.h"

#define FORMAT_VERSION 1

enum table { T_META, T_LOG };
static const char *const tables[] = {[T_META] = "meta", [T_LOG] = "log", NULL};

/* Records of the meta table. */
#define KEY_FORMAT STR("format") /* version u32                               */
#define KEY_ID     STR("id")     /* cluster 16 bytes, site u16, incarnation u64 */
#define KEY_BASE   STR("base")   /* index u64, term u64 of the last dropped entry */
#define KEY_TERM   STR("term")   /* term u64, vote u16                        */

#define ID_BYTES   26
#define BASE_BYTES 16
#define TERM_BYTES 10
#define KEY_BYTES  8 /* of an entry: its index */
#define HEAD_BYTES 8 /* of an entry: its term */

/* Entries dropped in one transaction: its own free list stays small. */
#define DROP_PIECE 1024

struct ctllog {
    struct ctlkv kv;
    struct store_id id;
    uint64_t base, base_term; /* of the last dropped entry */
    uint64_t last, last_term;
    uint64_t term;
    uint16_t vote;
};

struct key {
    char b[KEY_BYTES];
};

static struct str key_of(struct key *k, uint64_t index)
{
    ctlkv_store_u64(k->b, index);
    return (struct str){k->b, KEY_BYTES};
}

static void put_base(struct ctlkv_txn *t, uint64_t index, uint64_t term)
{
    char b[BASE_BYTES];

    ctlkv_store_u64(b, index);
    ctlkv_store_u64(b + 8, term);
    ctlkv_put(t, T_META, KEY_BASE, (struct str){b, sizeof b}, STR_NONE);
}

static void put_term(struct ctlkv_txn *t, uint64_t term, uint16_t vote)
{
    char b[TERM_BYTES];

    ctlkv_store_u64(b, term);
    ctlkv_store_u16(b + 8, vote);
    ctlkv_put(t, T_META, KEY_TERM, (struct str){b, sizeof b}, STR_NONE);
}

/* All that a new store needs, in its first transaction: a crash leaves a whole store or none.
 */
static enum err make(struct ctllog *l, const struct store_id *id)
{
    struct ctlkv_txn t;
    char format[4], who[ID_BYTES];

    ctlkv_store_u32(format, FORMAT_VERSION);
    memcpy(who, id->cluster, sizeof id->cluster);
    ctlkv_store_u16(who + 16, id->site);
    ctlkv_store_u64(who + 18, id->incarnation);
    ctlkv_begin(&t, &l->kv, true);
    ctlkv_make_tables(&t);
    ctlkv_put(&t, T_META, KEY_FORMAT, (struct str){format, sizeof format}, STR_NONE);
    ctlkv_put(&t, T_META, KEY_ID, (struct str){who, sizeof who}, STR_NONE);
    put_base(&t, 0, 0);
    put_term(&t, 0, 0);
    return ctlkv_commit(&t);
}

/* A meta record of a fixed size. */
static struct str meta(struct ctlkv_txn *t, struct str key, size_t bytes)
{
    struct str v;
    enum err e = ctlkv_get(t, T_META, key, &v);

    if (e == OK && v.n == bytes)
        return v;
    if (e == OK || e == E_NOTFOUND)
        ctlkv_fail(t, "meta", E_CORRUPT);
    return STR_NONE;
}

static void load_meta(struct ctllog *l, struct ctlkv_txn *t)
{
    struct str v = meta(t, KEY_FORMAT, 4);

    if (v.n > 0 && ctlkv_load_u32(v.p) != FORMAT_VERSION)
        ctlkv_fail(t, "format_version", E_CORRUPT);
    v = meta(t, KEY_ID, ID_BYTES);
    if (v.n > 0) {
        memcpy(l->id.cluster, v.p, sizeof l->id.cluster);
        l->id.site = ctlkv_load_u16(v.p + 16);
        l->id.incarnation = ctlkv_load_u64(v.p + 18);
    }
    v = meta(t, KEY_BASE, BASE_BYTES);
    if (v.n > 0) {
        l->base = ctlkv_load_u64(v.p);
        l->base_term = ctlkv_load_u64(v.p + 8);
    }
    v = meta(t, KEY_TERM, TERM_BYTES);
    if (v.n > 0) {
        l->term = ctlkv_load_u64(v.p);
        l->vote = ctlkv_load_u16(v.p + 8);
    }
}

/* The last entry; and that the log has neither gaps nor entries below its base. */
static void load_last(struct ctllog *l, struct ctlkv_txn *t)
{
    struct str key, v;
    uint64_t count = ctlkv_count(t, T_LOG);
    enum err e = ctlkv_last(t, T_LOG, &key, &v);

    l->last = l->base;
    l->last_term = l->base_term;
    if (e == E_NOTFOUND && count == 0)
        return;
    if (e != OK)
        return; /* sticks */
    if (key.n != KEY_BYTES || v.n <= HEAD_BYTES || ctlkv_load_u64(key.p) != l->base + count) {
        ctlkv_fail(t, "log_gap", E_CORRUPT);
        return;
    }
    l->last = ctlkv_load_u64(key.p);
    l->last_term = ctlkv_load_u64(v.p);
}

static enum err load(struct ctllog *l)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &l->kv, false);
    load_meta(l, &t);
    if (t.first_err == OK)
        load_last(l, &t);
    e = t.first_err;
    ctlkv_abort(&t);
    return e;
}

enum err ctllog_open(struct ctllog **out, const struct ctllog_options *o)
{
    struct ctllog *l = calloc(1, sizeof *l);
    bool fresh;
    enum err e;

    ASSERT(l != NULL);
    *out = NULL;
    e = ctlkv_open(&l->kv,
                   &(struct ctlkv_options){.dir = o->dir,
                                           .name = "log",
                                           .map_bytes = o->map_bytes,
                                           .tables = tables,
                                           .create = o->create != NULL},
                   &fresh);
    if (e == OK && fresh)
        e = make(l, o->create);
    if (e == OK)
        e = load(l);
    if (e != OK)
        ctllog_close(&l);
    *out = l;
    return e;
}

void ctllog_close(struct ctllog **l)
{
    ctlkv_close(&(*l)->kv);
    free(*l);
    *l = NULL;
}

const struct store_id *ctllog_id(const struct ctllog *l)
{
    return &l->id;
}

uint64_t ctllog_first(const struct ctllog *l)
{
    return l->base + 1;
}

uint64_t ctllog_last(const struct ctllog *l)
{
    return l->last;
}

uint64_t ctllog_last_term(const struct ctllog *l)
{
    return l->last_term;
}

uint64_t ctllog_base_term(const struct ctllog *l)
{
    return l->base_term;
}

uint64_t ctllog_term(const struct ctllog *l)
{
    return l->term;
}

uint16_t ctllog_vote(const struct ctllog *l)
{
    return l->vote;
}

static void del_entries(struct ctlkv_txn *t, uint64_t from, uint64_t to)
{
    struct key k;

    for (uint64_t i = from; i <= to; i++)
        ctlkv_del(t, T_LOG, key_of(&k, i));
}

enum err ctllog_append(struct ctllog *l, const struct log_entry *entries, size_t count)
{
    struct ctlkv_txn t;
    struct key k;
    enum err e;

    ASSERT(count >= 1 && count <= LIMIT_CONTROL_BATCH);
    ASSERT(entries[0].index > l->base && entries[0].index <= l->last + 1);
    ctlkv_begin(&t, &l->kv, true);
    del_entries(&t, entries[0].index, l->last);
    for (size_t i = 0; i < count; i++) {
        char head[HEAD_BYTES];

        ASSERT(entries[i].index == entries[0].index + i);
        ASSERT(entries[i].bytes.n >= 1 && entries[i].bytes.n <= LIMIT_COMMAND_BYTES);
        ctlkv_store_u64(head, entries[i].term);
        ctlkv_put(&t, T_LOG, key_of(&k, entries[i].index), (struct str){head, sizeof head},
                  entries[i].bytes);
    }
    e = ctlkv_commit(&t);
    if (e == OK) {
        l->last = entries[count - 1].index;
        l->last_term = entries[count - 1].term;
    }
    return e;
}

/* Term (and, with an arena, bytes) of an entry that must be there. */
static enum err read_entry(struct ctllog *l, uint64_t index, struct arena *a,
                           struct log_entry *out)
{
    struct ctlkv_txn t;
    struct str v;
    struct key k;
    enum err e;

    ctlkv_begin(&t, &l->kv, false);
    e = ctlkv_get(&t, T_LOG, key_of(&k, index), &v);
    if (e == E_NOTFOUND || (e == OK && v.n <= HEAD_BYTES)) {
        ctlkv_log_corrupt(&l->kv, T_LOG, key_of(&k, index));
        e = E_CORRUPT;
    }
    if (e == OK) {
        *out = (struct log_entry){.index = index, .term = ctlkv_load_u64(v.p)};
        if (a != NULL)
            out->bytes = arena_str(a, str_from(v, HEAD_BYTES));
        if (a != NULL && out->bytes.p == NULL)
            e = E_FULL;
    }
    ctlkv_abort(&t);
    return e;
}

enum err ctllog_read(struct ctllog *l, uint64_t index, struct arena *a, struct log_entry *out)
{
    *out = (struct log_entry){.index = index};
    if (index <= l->base || index > l->last)
        return E_NOTFOUND;
    return read_entry(l, index, a, out);
}

static enum err term_of(struct ctllog *l, uint64_t index, uint64_t *term)
{
    struct log_entry entry;
    enum err e;

    *term = l->base_term;
    if (index == l->base)
        return OK;
    e = read_entry(l, index, NULL, &entry);
    if (e == OK)
        *term = entry.term;
    return e;
}

enum err ctllog_truncate_suffix(struct ctllog *l, uint64_t from)
{
    struct ctlkv_txn t;
    uint64_t term;
    enum err e;

    ASSERT(from > l->base && from <= l->last);
    e = term_of(l, from - 1, &term);
    if (e != OK)
        return e;
    ctlkv_begin(&t, &l->kv, true);
    del_entries(&t, from, l->last);
    e = ctlkv_commit(&t);
    if (e == OK) {
        l->last = from - 1;
        l->last_term = term;
    }
    return e;
}

enum err ctllog_drop_prefix(struct ctllog *l, uint64_t upto)
{
    ASSERT(upto <= l->last);
    while (l->base < upto) {
        uint64_t to = upto - l->base > DROP_PIECE ? l->base + DROP_PIECE : upto;
        struct ctlkv_txn t;
        uint64_t term;
        enum err e = term_of(l, to, &term);

        if (e != OK)
            return e;
        ctlkv_begin(&t, &l->kv, true);
        del_entries(&t, l->base + 1, to);
        put_base(&t, to, term);
        e = ctlkv_commit(&t);
        if (e != OK)
            return e;
        l->base = to;
        l->base_term = term;
    }
    return OK;
}

enum err ctllog_put_term(struct ctllog *l, uint64_t term, uint16_t vote)
{
    struct ctlkv_txn t;
    enum err e;

    ASSERT(term >= l->term);
    ctlkv_begin(&t, &l->kv, true);
    put_term(&t, term, vote);
    e = ctlkv_commit(&t);
    if (e == OK) {
        l->term = term;
        l->vote = vote;
    }
    return e;
}

enum err ctllog_verify(struct ctllog *l, uint64_t *bad)
{
    uint64_t digest;

    return ctlkv_walk(&l->kv, T_META, bad, &digest);
}
