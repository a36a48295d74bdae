#include "spool/ctlkv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/log.h"

#define READERS 256

/* LMDB answers EIO for a short write; with less than this left that means a full disk. */
#define NO_SPACE_BYTES (1 * MiB)

static bool disk_is_full(const struct ctlkv *kv)
{
    struct statvfs fs;
    int fd;

    return kv->env != NULL && mdb_env_get_fd(kv->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
           (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize < NO_SPACE_BYTES;
}

/* The only place where an LMDB code is read. */
static enum err err_of(const struct ctlkv *kv, int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return OK;
    case MDB_NOTFOUND:
        return E_NOTFOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
        return E_FULL;
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND:
        return E_CORRUPT;
    case EIO:
        return disk_is_full(kv) ? E_FULL : E_IO;
    default:
        return E_IO;
    }
}

static enum err report(const struct ctlkv *kv, const char *op, int rc)
{
    enum err e = err_of(kv, rc);

    if (e != OK && e != E_NOTFOUND)
        LOG(EV_CONTROL_FAILED, L_CSTR("store", kv->name), L_CSTR("op", op), L_ERR(e),
            L_I64("lmdb", rc));
    return e;
}

/* Keeps the first error of a transaction. */
static enum err note(struct ctlkv_txn *t, const char *op, int rc)
{
    enum err e = report(t->kv, op, rc);

    if (e != OK && e != E_NOTFOUND && t->first_err == OK)
        t->first_err = e;
    return e;
}

static MDB_val val(struct str s)
{
    return (MDB_val){.mv_size = s.n, .mv_data = (void *)s.p};
}

static uint64_t checksum(uint32_t table, struct str key, struct str payload)
{
    return XXH3_64bits_withSeed(payload.p, payload.n,
                                XXH3_64bits_withSeed(key.p, key.n, table));
}

void ctlkv_log_corrupt(const struct ctlkv *kv, uint32_t table, struct str key)
{
    char hex[2 * 64 + 1];
    size_t n = 0;

    /* Keys of numbers are not text: all as hexadecimal digits, the first 64 bytes. */
    for (size_t i = 0; i < key.n && i < 64; i++)
        n += (size_t)snprintf(hex + n, sizeof hex - n, "%02x", (unsigned)(uint8_t)key.p[i]);
    LOG(EV_CONTROL_CORRUPT, L_CSTR("store", kv->name), L_CSTR("table", kv->tables[table]),
        L_STR("key", ((struct str){hex, n})));
}

static enum err unwrap(const struct ctlkv *kv, uint32_t table, struct str key, MDB_val v,
                       struct str *payload)
{
    const char *p = v.mv_data;

    *payload = STR_NONE;
    if (v.mv_size >= CTLKV_SUM_BYTES) {
        *payload = (struct str){p + CTLKV_SUM_BYTES, v.mv_size - CTLKV_SUM_BYTES};
        if (ctlkv_load_u64(p) == checksum(table, key, *payload))
            return OK;
    }
    *payload = STR_NONE;
    ctlkv_log_corrupt(kv, table, key);
    return E_CORRUPT;
}

/* --- open and close --- */

static enum err sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return E_IO;
    rc = fsync(fd);
    close(fd);
    return rc == 0 ? OK : E_IO;
}

static void parent_of(const char *dir, char parent[PATH_MAX])
{
    struct str d = str_of(dir);
    size_t slash;
    bool fits;

    while (d.n > 1 && str_ends(d, '/'))
        d = str_head(d, d.n - 1);
    slash = str_find_last(d, '/');
    if (slash == d.n)
        d = STR(".");
    else
        d = str_head(d, slash == 0 ? 1 : slash);
    fits = str_to_z(d, parent, PATH_MAX);
    ASSERT(fits); /* dir did */
}

/* Makes the directory, and the one above it when that is missing as well. A new directory is
 * durable when its parent is synced. */
static enum err make_dir(const struct ctlkv *kv, const char *dir, int levels)
{
    char parent[PATH_MAX];
    enum err e = OK;

    parent_of(dir, parent);
    if (mkdir(dir, 0700) == 0 || errno == EEXIST)
        return sync_dir(parent);
    if (errno != ENOENT || levels <= 1)
        return report(kv, "mkdir", errno);
    e = make_dir(kv, parent, levels - 1);
    if (e == OK && mkdir(dir, 0700) != 0)
        return report(kv, "mkdir", errno);
    return e == OK ? sync_dir(parent) : e;
}

static enum err prepare_dir(struct ctlkv *kv, bool create)
{
    char file[sizeof kv->dir + 16];
    struct stat st;

    snprintf(file, sizeof file, "%s/data.mdb", kv->dir);
    if (stat(file, &st) == 0)
        return OK;
    if (errno != ENOENT)
        return report(kv, "stat", errno);
    if (!create)
        return E_NOTFOUND;
    return make_dir(kv, kv->dir, 2);
}

static void lmdb_assert_failed(MDB_env *env, const char *msg)
{
    const struct ctlkv *kv = mdb_env_get_userctx(env);

    LOG(EV_CONTROL_FAILED, L_CSTR("store", kv->name), L_CSTR("op", "lmdb_assert"),
        L_CSTR("why", msg));
}

static int open_env(struct ctlkv *kv, const struct ctlkv_options *o)
{
    int rc = mdb_env_create(&kv->env);

    if (rc != 0)
        return rc;
    rc = mdb_env_set_userctx(kv->env, kv);
    if (rc == 0)
        rc = mdb_env_set_assert(kv->env, lmdb_assert_failed);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(kv->env, CTLKV_TABLES);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(kv->env, READERS);
    if (rc == 0)
        rc = mdb_env_set_mapsize(kv->env, o->map_bytes);
    if (rc == 0)
        rc = mdb_env_open(kv->env, kv->dir,
                          MDB_NOTLS | (o->relaxed ? MDB_NOMETASYNC : 0U) |
                              (FAULT(LOG_SKIPS_SYNC) ? MDB_NOSYNC : 0U),
                          0600);
    return rc;
}

/* Table handles of a finished store; MDB_NOTFOUND: there are no tables. */
static int open_tables(struct ctlkv *kv)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < kv->table_count && rc == 0; i++)
        rc = mdb_dbi_open(txn, kv->tables[i], 0, &kv->dbi[i]);
    if (rc == 0)
        return mdb_txn_commit(txn); /* keeps the handles */
    mdb_txn_abort(txn);
    return rc;
}

enum err ctlkv_open(struct ctlkv *kv, const struct ctlkv_options *o, bool *fresh)
{
    enum err e;

    *kv = (struct ctlkv){.name = o->name, .tables = o->tables};
    while (o->tables[kv->table_count] != NULL)
        kv->table_count++;
    ASSERT(kv->table_count <= CTLKV_TABLES);
    *fresh = false;
    if (!str_to_z(str_of(o->dir), kv->dir, sizeof kv->dir))
        return E_FULL;
    e = prepare_dir(kv, o->create);
    if (e != OK)
        return e;
    e = report(kv, "open", open_env(kv, o));
    if (e == OK && o->create)
        e = sync_dir(kv->dir); /* the files of a new environment */
    if (e == OK)
        e = report(kv, "open_tables", open_tables(kv));
    if (e == E_NOTFOUND && o->create) {
        *fresh = true;
        e = OK;
    }
    if (e != OK)
        ctlkv_close(kv);
    return e;
}

void ctlkv_close(struct ctlkv *kv)
{
    if (kv->env != NULL)
        mdb_env_close(kv->env);
    kv->env = NULL;
}

void ctlkv_make_tables(struct ctlkv_txn *t)
{
    for (uint32_t i = 0; i < t->kv->table_count && t->first_err == OK; i++)
        note(t, "make_table",
             mdb_dbi_open(t->mdb, t->kv->tables[i], MDB_CREATE, &t->kv->dbi[i]));
}

/* --- transactions --- */

void ctlkv_begin(struct ctlkv_txn *t, struct ctlkv *kv, bool write)
{
    *t = (struct ctlkv_txn){.kv = kv, .write = write};
    if (write && atomic_load(&kv->poisoned))
        t->first_err = E_IO;
    else
        note(t, "begin", mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, &t->mdb));
}

enum err ctlkv_commit(struct ctlkv_txn *t)
{
    enum err e;

    if (t->first_err == OK) {
        note(t, "commit", mdb_txn_commit(t->mdb));
        t->mdb = NULL; /* LMDB frees it, whatever it answers */
    }
    e = t->first_err;
    if (e == E_IO && t->write)
        atomic_store(&t->kv->poisoned, true);
    ctlkv_abort(t);
    return e;
}

void ctlkv_abort(struct ctlkv_txn *t)
{
    if (t->mdb != NULL)
        mdb_txn_abort(t->mdb);
    t->mdb = NULL;
}

void ctlkv_fail(struct ctlkv_txn *t, const char *op, enum err e)
{
    LOG(EV_CONTROL_FAILED, L_CSTR("store", t->kv->name), L_CSTR("op", op), L_ERR(e));
    if (t->first_err == OK)
        t->first_err = e;
}

static enum err stick(struct ctlkv_txn *t, enum err e)
{
    if (e != OK && e != E_NOTFOUND && t->first_err == OK)
        t->first_err = e;
    return e;
}

enum err ctlkv_get(struct ctlkv_txn *t, uint32_t table, struct str key, struct str *payload)
{
    MDB_val k = val(key), v;
    enum err e;

    *payload = STR_NONE;
    if (t->first_err != OK)
        return t->first_err;
    e = note(t, "get", mdb_get(t->mdb, t->kv->dbi[table], &k, &v));
    if (e != OK)
        return e;
    return stick(t, unwrap(t->kv, table, key, v, payload));
}

static enum err seek(struct ctlkv_txn *t, uint32_t table, MDB_cursor_op op, struct str after,
                     struct str *key, struct str *payload)
{
    MDB_val k = val(after), v;
    MDB_cursor *cur;
    int rc;

    *key = *payload = STR_NONE;
    if (t->first_err != OK)
        return t->first_err;
    rc = mdb_cursor_open(t->mdb, t->kv->dbi[table], &cur);
    if (rc != 0)
        return note(t, "cursor", rc);
    rc = mdb_cursor_get(cur, &k, &v, op);
    if (rc == 0 && op == MDB_SET_RANGE &&
        str_eq((struct str){k.mv_data, k.mv_size}, after)) /* above, not at */
        rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
    mdb_cursor_close(cur);
    if (rc != 0)
        return note(t, "seek", rc);
    *key = (struct str){k.mv_data, k.mv_size};
    return stick(t, unwrap(t->kv, table, *key, v, payload));
}

enum err ctlkv_next(struct ctlkv_txn *t, uint32_t table, struct str after, struct str *key,
                    struct str *payload)
{
    /* LMDB takes no empty key to seek with. */
    return seek(t, table, after.n > 0 ? MDB_SET_RANGE : MDB_FIRST, after, key, payload);
}

enum err ctlkv_last(struct ctlkv_txn *t, uint32_t table, struct str *key, struct str *payload)
{
    return seek(t, table, MDB_LAST, STR_NONE, key, payload);
}

void ctlkv_put(struct ctlkv_txn *t, uint32_t table, struct str key, struct str head,
               struct str body)
{
    MDB_val k = val(key), v = {.mv_size = CTLKV_SUM_BYTES + head.n + body.n};
    struct str payload;
    char *p;

    ASSERT(key.n >= 1 && key.n <= CTLKV_KEY_BYTES);
    if (t->first_err != OK)
        return;
    if (note(t, "put", mdb_put(t->mdb, t->kv->dbi[table], &k, &v, MDB_RESERVE)) != OK)
        return;
    p = v.mv_data;
    if (head.n > 0)
        memcpy(p + CTLKV_SUM_BYTES, head.p, head.n);
    if (body.n > 0)
        memcpy(p + CTLKV_SUM_BYTES + head.n, body.p, body.n);
    payload = (struct str){p + CTLKV_SUM_BYTES, head.n + body.n};
    ctlkv_store_u64(p, checksum(table, key, payload));
}

void ctlkv_del(struct ctlkv_txn *t, uint32_t table, struct str key)
{
    MDB_val k = val(key);

    if (t->first_err == OK)
        note(t, "del", mdb_del(t->mdb, t->kv->dbi[table], &k, NULL));
}

void ctlkv_clear(struct ctlkv_txn *t, uint32_t table)
{
    if (t->first_err == OK)
        note(t, "clear", mdb_drop(t->mdb, t->kv->dbi[table], 0));
}

uint64_t ctlkv_count(struct ctlkv_txn *t, uint32_t table)
{
    MDB_stat st = {.ms_entries = 0};

    if (t->first_err == OK)
        note(t, "stat", mdb_stat(t->mdb, t->kv->dbi[table], &st));
    return st.ms_entries;
}

static int walk_table(struct ctlkv_txn *t, uint32_t table, uint64_t *bad, uint64_t *digest)
{
    MDB_cursor *cur;
    MDB_val k, v;
    int rc = mdb_cursor_open(t->mdb, t->kv->dbi[table], &cur);

    if (rc != 0)
        return rc;
    for (rc = mdb_cursor_get(cur, &k, &v, MDB_FIRST); rc == 0;
         rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) {
        struct str key = {k.mv_data, k.mv_size}, payload;

        if (unwrap(t->kv, table, key, v, &payload) != OK)
            ++*bad;
        *digest = XXH3_64bits_withSeed(key.p, key.n, *digest + table);
        *digest = XXH3_64bits_withSeed(payload.p, payload.n, *digest);
    }
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

enum err ctlkv_walk(struct ctlkv *kv, uint32_t first_table, uint64_t *bad, uint64_t *digest)
{
    struct ctlkv_txn t;
    enum err e;

    *bad = *digest = 0;
    ctlkv_begin(&t, kv, false);
    for (uint32_t i = first_table; i < kv->table_count && t.first_err == OK; i++)
        note(&t, "walk", walk_table(&t, i, bad, digest));
    e = t.first_err;
    ctlkv_abort(&t);
    return e;
}
