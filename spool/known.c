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

enum err known_each(struct known *k, enum known_table table, void *ctx,
                    void (*each)(void *ctx, struct str key, struct str value))
{
    char at[CTLKV_KEY_BYTES];
    struct str after = STR_NONE, key, value;
    struct ctlkv_txn t;
    enum err e;

    do {
        ctlkv_begin(&t, &k->kv, false);
        e = ctlkv_next(&t, table, after, &key, &value);
        while (e == OK) {
            (*each)(ctx, key, value);
            e = ctlkv_next(&t, table, key, &key, &value);
        }
        if (e == E_CORRUPT && key.n <= sizeof at) { /* logged; the next one behind it */
            memcpy(at, key.p, key.n);
            after = (struct str){at, key.n};
        }
        ctlkv_abort(&t);
    } while (e == E_CORRUPT && after.n > 0);
    return e == E_NOTFOUND ? OK : e;
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
