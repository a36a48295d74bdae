#include "spool/known.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "spool/ctlkv.h"

struct known {
    struct ctlkv kv;
    struct ctlkv_txn txn;
    char dir[4096]; /* PATH_MAX */
};

static const char *const tables[] = {"greylist", "recipients", NULL};

static_assert(sizeof tables / sizeof *tables == KNOWN_TABLES + 1, "each has a name");

static enum err try_open(struct known *k)
{
    struct ctlkv_options o = {.dir = k->dir,
                              .name = "known",
                              .map_bytes = KNOWN_MAP_BYTES,
                              .tables = tables,
                              .create = true,
                              .relaxed = true};
    struct ctlkv_txn t;
    bool fresh;
    enum err e = ctlkv_open(&k->kv, &o, &fresh);

    if (e != OK || !fresh)
        return e;
    ctlkv_begin(&t, &k->kv, true);
    ctlkv_make_tables(&t);
    e = ctlkv_commit(&t);
    if (e != OK)
        ctlkv_close(&k->kv);
    return e;
}

/* A file is moved only: whoever wants to know what was wrong with it finds it. */
static void put_aside(const struct known *k)
{
    char from[sizeof k->dir + 16], to[sizeof k->dir + 16];

    snprintf(from, sizeof from, "%s/data.mdb", k->dir);
    snprintf(to, sizeof to, "%s/data.mdb.bad", k->dir);
    if (rename(from, to) != 0)
        LOG(EV_INTERNAL, L_CSTR("call", "rename"), L_CSTR("path", from),
            L_CSTR("error", strerror(errno)));
    snprintf(from, sizeof from, "%s/lock.mdb", k->dir);
    if (unlink(from) != 0 && errno != ENOENT)
        LOG(EV_INTERNAL, L_CSTR("call", "unlink"), L_CSTR("path", from),
            L_CSTR("error", strerror(errno)));
    LOG(EV_KNOWN_LOST, L_CSTR("path", to));
}

enum err known_open(struct known **out, const char *dir)
{
    struct known *k = calloc(1, sizeof *k);
    enum err e;

    *out = NULL;
    ASSERT(k != NULL);
    if (!str_to_z(str_of(dir), k->dir, sizeof k->dir)) {
        free(k);
        return E_FULL;
    }
    e = try_open(k);
    if (e == E_CORRUPT) {
        put_aside(k);
        e = try_open(k);
    }
    if (e == OK)
        *out = k;
    else
        free(k);
    return e;
}

void known_close(struct known **kp)
{
    struct known *k = *kp;

    *kp = NULL;
    if (k == NULL)
        return;
    ctlkv_close(&k->kv);
    free(k);
}

struct place {
    char bytes[CTLKV_KEY_BYTES];
    size_t n;
};

static struct str key_at(const struct place *at)
{
    return (struct str){at->bytes, at->n};
}

static bool go_to(struct place *at, struct str key)
{
    if (key.n == 0 || key.n > sizeof at->bytes)
        return false;
    memcpy(at->bytes, key.p, key.n);
    at->n = key.n;
    return true;
}

/* E_NOTFOUND: to the end; E_CORRUPT: up to a damaged one, which *at is then. */
static enum err visit(struct ctlkv_txn *t, enum known_table table, struct place *at, bool drops,
                      void *ctx, bool (*keeps)(void *ctx, struct str key, struct str value))
{
    struct str key = STR_NONE, value;
    enum err e = ctlkv_next(t, table, key_at(at), &key, &value);

    while (e == OK && go_to(at, key)) {
        if (!(*keeps)(ctx, key_at(at), value) && drops)
            ctlkv_del(t, table, key_at(at));
        key = STR_NONE;
        e = ctlkv_next(t, table, key_at(at), &key, &value);
    }
    return e == E_CORRUPT && !go_to(at, key) ? E_IO : e;
}

static enum err drop_one(struct known *k, enum known_table table, struct str key)
{
    known_begin(k);
    known_drop(k, table, key);
    return known_commit(k);
}

enum err known_each(struct known *k, enum known_table table, void *ctx,
                    bool (*keeps)(void *ctx, struct str key, struct str value))
{
    struct place at = {.n = 0};
    bool drops = true, is_full;
    struct ctlkv_txn t;
    enum err e;

    do {
        ctlkv_begin(&t, &k->kv, drops);
        e = visit(&t, table, &at, drops, ctx, keeps);
        if (e == E_NOTFOUND) {
            e = ctlkv_commit(&t);
            return e == E_FULL ? OK : e;
        }
        ctlkv_abort(&t);
        if (e == E_CORRUPT && drops) /* logged; the next one behind it */
            e = drop_one(k, table, key_at(&at));
        is_full = e == E_FULL && drops; /* what should go stays until the next start */
        drops = drops && !is_full;
    } while (e == OK || e == E_CORRUPT || is_full);
    return e;
}

void known_begin(struct known *k)
{
    ctlkv_begin(&k->txn, &k->kv, true);
}

void known_put(struct known *k, enum known_table table, struct str key, struct str value)
{
    ASSERT(key.n > 0 && value.n <= LIMIT_GOSSIP_ENTRY_BYTES);
    ctlkv_put(&k->txn, table, key, value, STR_NONE);
}

void known_drop(struct known *k, enum known_table table, struct str key)
{
    ctlkv_del(&k->txn, table, key);
}

void known_clear(struct known *k, enum known_table table)
{
    ctlkv_clear(&k->txn, table);
}

enum err known_commit(struct known *k)
{
    return ctlkv_commit(&k->txn);
}
