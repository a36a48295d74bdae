#include "spool/ctllog.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/limits.h"
#include "spool/ctlkv.h"

#define FORMAT_VERSION 3

enum table { T_META, T_LOG };
static const char *const tables[] = {[T_META] = "meta", [T_LOG] = "log", NULL};

/* Records of the meta table. */
#define KEY_FORMAT STR("format") /* version u32                               */
#define KEY_ID     STR("id")     /* cluster 16 bytes, site u16, incarnation u64 */
#define KEY_BASE   STR("base")   /* index u64, term u64 of the last dropped entry */
#define KEY_TERM   STR("term")   /* term u64, vote u64                        */
/* index u64, term u64, members index u64, applied u64, members; or nothing at all */
#define KEY_SNAPSHOT STR("snapshot")
#define KEY_INSTALL  STR("install")

#define ID_BYTES       26
#define BASE_BYTES     16
#define TERM_BYTES     16
#define SNAPSHOT_BYTES 32 /* and the members */
#define KEY_BYTES      8  /* of an entry: its index */
#define HEAD_BYTES     9  /* of an entry: its term u64, its kind u8 */

/* Entries dropped in one transaction: its own free list stays small. */
#define DROP_PIECE 1024

/* A snapshot record in memory. */
struct place {
    struct raftwire_snapshot at;
    uint64_t applied;
    char members[RAFTWIRE_MEMBERS_BYTES];
};

struct ctllog {
    struct ctlkv kv;
    struct store_id id;
    uint64_t base, base_term; /* of the last dropped entry */
    uint64_t last, last_term;
    uint64_t term, vote;
    struct place snapshot, install; /* at.index 0: none */
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

static void put_term(struct ctlkv_txn *t, uint64_t term, uint64_t vote)
{
    char b[TERM_BYTES];

    ctlkv_store_u64(b, term);
    ctlkv_store_u64(b + 8, vote);
    ctlkv_put(t, T_META, KEY_TERM, (struct str){b, sizeof b}, STR_NONE);
}

static void put_place(struct ctlkv_txn *t, struct str key, const struct raftwire_snapshot *at,
                      uint64_t applied)
{
    char b[SNAPSHOT_BYTES];

    ctlkv_store_u64(b, at->index);
    ctlkv_store_u64(b + 8, at->term);
    ctlkv_store_u64(b + 16, at->members_index);
    ctlkv_store_u64(b + 24, applied);
    ctlkv_put(t, T_META, key, (struct str){b, sizeof b}, at->members);
}

static void set_place(struct place *p, const struct raftwire_snapshot *at, uint64_t applied)
{
    ASSERT(at->members.n <= sizeof p->members);
    p->at = *at;
    p->applied = applied;
    memmove(p->members, at->members.p, at->members.n);
    p->at.members.p = p->members;
}

static void put_entry(struct ctlkv_txn *t, const struct log_entry *e)
{
    char head[HEAD_BYTES];
    struct key k;

    ASSERT(e->bytes.n >= 1 && e->bytes.n <= LIMIT_COMMAND_BYTES);
    ASSERT(e->kind >= RAFTWIRE_COMMAND && e->kind <= RAFTWIRE_MEMBERS);
    ctlkv_store_u64(head, e->term);
    head[8] = (char)e->kind;
    ctlkv_put(t, T_LOG, key_of(&k, e->index), (struct str){head, sizeof head}, e->bytes);
}

/* All that a new store needs, in its first transaction: a crash leaves a whole store or none.
 */
static enum err make(struct ctllog *l, const struct store_id *id, struct str members)
{
    struct log_entry first = {
        .index = 1, .term = 1, .kind = RAFTWIRE_MEMBERS, .bytes = members};
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
    put_term(&t, members.n > 0 ? 1 : 0, 0);
    if (members.n > 0)
        put_entry(&t, &first);
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

static void load_place(struct ctlkv_txn *t, struct str key, struct place *p)
{
    struct str v;
    enum err e = ctlkv_get(t, T_META, key, &v);
    struct raftwire_snapshot at;

    if (e != OK)
        return; /* none, or it sticks */
    if (v.n <= SNAPSHOT_BYTES || v.n > SNAPSHOT_BYTES + RAFTWIRE_MEMBERS_BYTES) {
        ctlkv_fail(t, "snapshot", E_CORRUPT);
        return;
    }
    at = (struct raftwire_snapshot){.index = ctlkv_load_u64(v.p),
                                    .term = ctlkv_load_u64(v.p + 8),
                                    .members_index = ctlkv_load_u64(v.p + 16),
                                    .members = str_from(v, SNAPSHOT_BYTES)};
    set_place(p, &at, ctlkv_load_u64(v.p + 24));
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
        l->vote = ctlkv_load_u64(v.p + 8);
    }
    load_place(t, KEY_SNAPSHOT, &l->snapshot);
    load_place(t, KEY_INSTALL, &l->install);
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
        e = make(l, o->create, o->members);
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

uint64_t ctllog_vote(const struct ctllog *l)
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
    enum err e;

    ASSERT(count >= 1 && count <= LIMIT_CONTROL_BATCH);
    ASSERT(entries[0].index > l->base && entries[0].index <= l->last + 1);
    ctlkv_begin(&t, &l->kv, true);
    del_entries(&t, entries[0].index, l->last);
    for (size_t i = 0; i < count; i++) {
        ASSERT(entries[i].index == entries[0].index + i);
        put_entry(&t, &entries[i]);
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
        *out = (struct log_entry){.index = index,
                                  .term = ctlkv_load_u64(v.p),
                                  .kind = (enum raftwire_entry_kind)(uint8_t)v.p[8]};
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

enum err ctllog_put_term(struct ctllog *l, uint64_t term, uint64_t vote)
{
    struct ctlkv_txn t;
    enum err e;

    ASSERT(term >= l->term);
    ctlkv_begin(&t, &l->kv, true);
    put_term(&t, term, FAULT(FORGET_VOTE) ? 0 : vote);
    e = ctlkv_commit(&t);
    if (e == OK) {
        l->term = term;
        l->vote = vote;
    }
    return e;
}

enum err ctllog_load(struct ctllog *l, struct arena *a, const struct raftwire_entry **entries,
                     size_t *count)
{
    size_t n = (size_t)(l->last - l->base);
    struct raftwire_entry *list = arena_take(a, n * sizeof *list + 1);
    struct ctlkv_txn t;
    struct key k;
    enum err e = list != NULL ? OK : E_FULL;

    ctlkv_begin(&t, &l->kv, false);
    for (size_t i = 0; e == OK && i < n; i++) {
        struct str v;

        e = ctlkv_get(&t, T_LOG, key_of(&k, l->base + 1 + i), &v);
        if (e == E_NOTFOUND || (e == OK && v.n <= HEAD_BYTES)) {
            ctlkv_log_corrupt(&l->kv, T_LOG, key_of(&k, l->base + 1 + i));
            e = E_CORRUPT;
        }
        if (e != OK)
            break;
        list[i] = (struct raftwire_entry){.term = ctlkv_load_u64(v.p),
                                          .kind = (enum raftwire_entry_kind)(uint8_t)v.p[8]};
        if (list[i].kind == RAFTWIRE_MEMBERS) {
            list[i].bytes = arena_str(a, str_from(v, HEAD_BYTES));
            e = list[i].bytes.p != NULL ? OK : E_FULL;
        }
    }
    ctlkv_abort(&t);
    *entries = list;
    *count = n;
    return e;
}

/* --- snapshots --- */

const struct raftwire_snapshot *ctllog_snapshot(const struct ctllog *l)
{
    return &l->snapshot.at;
}

uint64_t ctllog_snapshot_applied(const struct ctllog *l)
{
    return l->snapshot.applied;
}

bool ctllog_installing(const struct ctllog *l, uint64_t *applied)
{
    *applied = l->install.applied;
    return l->install.at.index != 0;
}

enum err ctllog_put_snapshot(struct ctllog *l, const struct raftwire_snapshot *s)
{
    struct ctlkv_txn t;
    enum err e;

    ASSERT(s->index > l->base && s->index <= l->last && s->members.n > 0);
    ctlkv_begin(&t, &l->kv, true);
    put_place(&t, KEY_SNAPSHOT, s, 0);
    e = ctlkv_commit(&t);
    if (e == OK)
        set_place(&l->snapshot, s, 0);
    return e;
}

enum err ctllog_install_begin(struct ctllog *l, const struct raftwire_snapshot *s,
                              uint64_t applied)
{
    struct ctlkv_txn t;
    enum err e;

    ASSERT(s->index > l->snapshot.at.index && applied >= s->index && s->members.n > 0);
    ctlkv_begin(&t, &l->kv, true);
    put_place(&t, KEY_INSTALL, s, applied);
    e = ctlkv_commit(&t);
    if (e == OK)
        set_place(&l->install, s, applied);
    return e;
}

enum err ctllog_install_end(struct ctllog *l)
{
    const struct place *p = &l->install;
    struct ctlkv_txn t;
    enum err e;

    ASSERT(p->at.index != 0);
    ctlkv_begin(&t, &l->kv, true);
    del_entries(&t, l->base + 1, l->last);
    put_base(&t, p->at.index, p->at.term);
    put_place(&t, KEY_SNAPSHOT, &p->at, p->applied);
    ctlkv_del(&t, T_META, KEY_INSTALL);
    e = ctlkv_commit(&t);
    if (e != OK)
        return e;
    l->base = l->last = p->at.index;
    l->base_term = l->last_term = p->at.term;
    set_place(&l->snapshot, &p->at, p->applied);
    l->install.at.index = 0;
    return OK;
}

enum err ctllog_install_drop(struct ctllog *l)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &l->kv, true);
    ctlkv_del(&t, T_META, KEY_INSTALL);
    e = ctlkv_commit(&t);
    if (e == OK)
        l->install.at.index = 0;
    return e;
}

enum err ctllog_verify(struct ctllog *l, uint64_t *bad)
{
    uint64_t digest;

    return ctlkv_walk(&l->kv, T_META, bad, &digest);
}
