/* The environment: where it lies, how it comes into being, and what LMDB's answers mean. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/stats.h"
#include "proto/record.h"
#include "spool/spool_internal.h"

#define PATH_BYTES    4096
#define SPARE_READERS 16 /* slots for the writer's own look and for tools */
#define DATA_MODE     0700
#define FILE_MODE     0600
#define SPOOL_MAX_DBS 16

/* A program that defines this is a test; only such a one may weaken the environment. */
extern const bool spool_test_build __attribute__((weak));

enum err spool_err_from_lmdb(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return OK;
    case MDB_NOTFOUND:
        return E_NOTFOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return E_FULL;
    default:
        return E_IO;
    }
}

void spool_log_failure(const char *op, enum err e, int rc)
{
    LOG(EV_SPOOL_TXN_FAILED, L_CSTR("op", op), L_ERR(e), L_I64("code", rc),
        L_CSTR("text", mdb_strerror(rc)));
}

void spool_log_corrupt(enum spool_table table, struct str key, const char *what)
{
    char hex[2 * KEY_BYTES_MAX + 1] = "";
    struct mid id;

    stat_add(STAT_SPOOL_CORRUPT_TOTAL, 1);
    if ((table == TABLE_MSG || table == TABLE_MARK || table == TABLE_TRACE ||
         table == TABLE_ABORTED) &&
        spool_key_to_mid(key, &id)) {
        LOG(EV_SPOOL_CORRUPT, L_MID(id), L_CSTR("table", spool_table_name(table)),
            L_CSTR("what", what));
        return;
    }
    for (size_t i = 0; i < key.n && i < KEY_BYTES_MAX; i++)
        snprintf(hex + 2 * i, 3, "%02x", (uint8_t)key.p[i]);
    LOG(EV_SPOOL_CORRUPT, L_CSTR("table", spool_table_name(table)), L_CSTR("key", hex),
        L_CSTR("what", what));
}

static void on_lmdb_assert(MDB_env *env, const char *text)
{
    (void)env;
    LOG(EV_INTERNAL, L_CSTR("where", "lmdb"), L_CSTR("text", text)); /* LMDB aborts next */
}

/* What failed while opening, and what the operator is told to do about it. */
static enum err refuse(enum err e, const char *path, const char *why, int rc)
{
    LOG(EV_SPOOL_OPEN_FAILED, L_CSTR("path", path), L_CSTR("why", why), L_ERR(e),
        L_I64("code", rc), L_CSTR("text", rc != 0 ? mdb_strerror(rc) : ""));
    return e;
}

static enum err err_from_errno(int code)
{
    return code == ENOSPC || code == EDQUOT ? E_FULL : E_IO;
}

static enum err err_from_open(int rc)
{
    switch (rc) {
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_NOTFOUND:
    case ENOENT:
    case ENOTDIR:
        return E_CORRUPT;
    case ENOMEM: /* no address space for the map */
    case EFBIG:
        return E_FULL;
    default:
        return spool_err_from_lmdb(rc);
    }
}

static bool path_of(char out[PATH_BYTES], const char *dir, const char *name)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", dir, name);

    return n > 0 && n < PATH_BYTES;
}

/* One process, one spool. An open file description lock goes with the process that holds it,
 * and LMDB's own robust mutex would let a second daemon in. */
static enum err take_lock(struct spool *s, const char *dir, bool exclusive)
{
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    char path[PATH_BYTES];

    if (!path_of(path, dir, "lock"))
        return refuse(E_IO, dir, "path too long", ENAMETOOLONG);
    s->lock_fd =
        open(path, exclusive ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, FILE_MODE);
    if (s->lock_fd < 0 && !exclusive && errno == ENOENT)
        return OK; /* a copy of the data alone: nobody can have it open */
    if (s->lock_fd < 0)
        return refuse(err_from_errno(errno), path, "cannot open the lock file", errno);
    if (fcntl(s->lock_fd, F_OFD_SETLK, &lock) == 0)
        return OK;
    if (errno == EAGAIN || errno == EACCES)
        return refuse(E_AGAIN, path, "another process has this spool open", 0);
    return refuse(E_IO, path, "cannot lock", errno);
}

static enum err sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return code == 0 ? OK : refuse(err_from_errno(code), path, "cannot sync", code);
}

static int env_open(MDB_env **env, const char *path, uint64_t map_bytes, unsigned flags)
{
    int rc = mdb_env_create(env);

    if (rc == 0)
        rc = mdb_env_set_maxdbs(*env, SPOOL_MAX_DBS);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(*env, LIMIT_SPOOL_READERS + SPARE_READERS);
    if (rc == 0 && map_bytes > 0)
        rc = mdb_env_set_mapsize(*env, map_bytes);
    if (rc == 0)
        rc = mdb_env_set_assert(*env, on_lmdb_assert);
    if (rc == 0)
        rc = mdb_env_open(*env, path, flags | MDB_NOTLS | (FAULT(SKIP_SYNC) ? MDB_NOSYNC : 0U),
                          FILE_MODE);
    return rc;
}

static int open_tables(MDB_txn *txn, MDB_dbi dbi[TABLE_COUNT], unsigned flags)
{
    int rc = 0;

    for (enum spool_table t = TABLE_META; t < TABLE_COUNT && rc == 0; t++)
        rc = mdb_dbi_open(txn, spool_table_name(t), flags, &dbi[t]);
    return rc;
}

static int write_format(MDB_env *env)
{
    struct spool_key key = spool_key_format();
    char value[CHECKSUM_BYTES + FORMAT_DATA_BYTES];
    MDB_val k = val_of_key(&key), v = {.mv_size = sizeof value, .mv_data = value};
    MDB_dbi dbi[TABLE_COUNT];
    MDB_txn *txn;
    int rc = mdb_txn_begin(env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    put_be(value + CHECKSUM_BYTES, FORMAT_DATA_BYTES, SPOOL_FORMAT_VERSION);
    spool_value_seal(TABLE_META, str_of_key(&key), value, FORMAT_DATA_BYTES);
    rc = open_tables(txn, dbi, MDB_CREATE);
    if (rc == 0)
        rc = mdb_put(txn, dbi[TABLE_META], &k, &v, 0);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* What an earlier, cut creation left behind; only files we know. */
static void remove_leftover(const char *path)
{
    char file[PATH_BYTES];

    if (path_of(file, path, "data.mdb"))
        unlink(file);
    if (path_of(file, path, "lock.mdb"))
        unlink(file);
    rmdir(path);
}

/* A new spool is made whole beside its place and renamed into it, so that a power cut leaves
 * either none or a good one: LMDB writes the first two meta pages without a sync between. */
static enum err create(const char *dir, const char *data, uint64_t map_bytes)
{
    char fresh[PATH_BYTES];
    MDB_env *env = NULL;
    enum err e;
    int rc;

    if (!path_of(fresh, dir, "data.new"))
        return refuse(E_IO, dir, "path too long", ENAMETOOLONG);
    remove_leftover(fresh);
    if (mkdir(fresh, DATA_MODE) != 0)
        return refuse(err_from_errno(errno), fresh, "cannot make the directory", errno);
    rc = env_open(&env, fresh, map_bytes, 0);
    if (rc == 0)
        rc = write_format(env);
    if (env != NULL)
        mdb_env_close(env);
    if (rc != 0)
        return refuse(err_from_open(rc), fresh, "cannot make a new spool", rc);
    e = sync_dir(fresh);
    if (e == OK && rename(fresh, data) != 0)
        e = refuse(err_from_errno(errno), data, "cannot rename", errno);
    return e == OK ? sync_dir(dir) : e;
}

/* The format record is read before anything else is believed. */
static enum err check_format(struct spool *s, MDB_txn *txn, const char *path)
{
    static const char other[] = "another version wrote this spool; use that version";
    static const char old[] = "a version from before the first release wrote this spool, and "
                              "nothing reads both: let that one deliver its mail, then begin "
                              "with an empty folder";
    struct spool_key key = spool_key_format();
    struct str data;
    uint64_t version;
    int rc = mdb_dbi_open(txn, spool_table_name(TABLE_META), 0, &s->dbi[TABLE_META]);
    enum err e;

    if (rc != 0)
        return refuse(err_from_open(rc), path, "not a spool", rc);
    e = spool_fetch(s, txn, TABLE_META, &key, &data);
    if (e == E_NOTFOUND)
        return refuse(E_CORRUPT, path, "no format record", 0);
    if (e != OK)
        return refuse(e, path, "the format record is damaged", 0);
    if (data.n != FORMAT_DATA_BYTES)
        return refuse(E_CORRUPT, path, "the format record is damaged", 0);
    version = get_be(data.p, FORMAT_DATA_BYTES);
    if (version == SPOOL_FORMAT_VERSION)
        return OK;
    LOG(EV_SPOOL_OPEN_FAILED, L_CSTR("path", path), L_ERR(E_PROTO),
        L_CSTR("why", version < SPOOL_FORMAT_VERSION ? old : other), L_U64("found", version),
        L_U64("known", SPOOL_FORMAT_VERSION));
    return E_PROTO;
}

/* Format and tables in one read transaction; the handles stay for good. */
static enum err load_tables(struct spool *s, const char *path)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    enum err e;

    if (rc != 0)
        return refuse(err_from_open(rc), path, "cannot begin", rc);
    e = check_format(s, txn, path);
    if (e == OK) {
        rc = open_tables(txn, s->dbi, 0);
        if (rc != 0)
            e = refuse(err_from_open(rc), path, "a table is missing", rc);
    }
    if (e != OK) {
        mdb_txn_abort(txn);
        return e;
    }
    rc = mdb_txn_commit(txn); /* an abort would close the handles again */
    return rc == 0 ? OK : refuse(E_IO, path, "cannot load the tables", rc);
}

static enum err open_data(struct spool *s, const char *path, uint64_t map_bytes, unsigned flags)
{
    int rc = env_open(&s->env, path, map_bytes, flags);

    if (rc != 0)
        return refuse(err_from_open(rc), path, "cannot open the environment", rc);
    s->data_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->data_fd < 0)
        return refuse(E_IO, path, "cannot open the directory", errno);
    return load_tables(s, path);
}

enum err spool_env_open(struct spool *s, const struct spool_options *o)
{
    char path[PATH_BYTES];
    struct stat st;
    enum err e;
    int dead, rc;

    ASSERT(o->unsafe_flags == 0 || &spool_test_build != NULL);
    ASSERT(o->map_bytes > 0 && o->map_bytes % PAGE_BYTES == 0);
    e = take_lock(s, o->dir, true);
    if (e != OK)
        return e;
    if (!path_of(path, o->dir, "data"))
        return refuse(E_IO, o->dir, "path too long", ENAMETOOLONG);
    if (stat(path, &st) != 0) {
        e = errno == ENOENT ? create(o->dir, path, o->map_bytes)
                            : refuse(E_IO, path, "cannot look at it", errno);
        if (e != OK)
            return e;
    }
    /* LMDB would make an empty file; a spool that lost its file must not look empty. */
    if (!path_of(path, o->dir, "data/data.mdb") || stat(path, &st) != 0 || st.st_size == 0)
        return refuse(E_CORRUPT, path, "the data file is missing or empty", 0);
    if (!path_of(path, o->dir, "data"))
        return refuse(E_IO, o->dir, "path too long", ENAMETOOLONG);
    e = open_data(s, path, o->map_bytes, o->unsafe_flags);
    if (e != OK)
        return e;
    rc = mdb_reader_check(s->env, &dead);
    if (rc == 0)
        rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->look);
    if (rc != 0)
        return refuse(E_IO, path, "cannot begin", rc);
    mdb_txn_reset(s->look);
    return OK;
}

enum err spool_env_open_readonly(struct spool *s, const char *dir)
{
    char path[PATH_BYTES];
    struct stat st;
    enum err e;

    s->lock_fd = s->data_fd = -1;
    if (!path_of(path, dir, "data/data.mdb"))
        return refuse(E_IO, dir, "path too long", ENAMETOOLONG);
    if (stat(path, &st) != 0)
        return refuse(E_CORRUPT, path, "there is no spool", errno);
    e = take_lock(s, dir, false);
    if (e != OK)
        return e;
    if (!path_of(path, dir, "data"))
        return refuse(E_IO, dir, "path too long", ENAMETOOLONG);
    /* Without LMDB's own lock file: our lock keeps the daemon out, and nothing is written. */
    return open_data(s, path, 0, MDB_RDONLY | MDB_NOLOCK);
}

void spool_env_close(struct spool *s)
{
    if (s->look != NULL)
        mdb_txn_abort(s->look);
    if (s->env != NULL)
        mdb_env_close(s->env);
    if (s->data_fd >= 0)
        close(s->data_fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
}

enum err spool_fetch(struct spool *s, MDB_txn *txn, enum spool_table table,
                     const struct spool_key *key, struct str *data)
{
    MDB_val k = val_of_key(key), v;
    int rc = mdb_get(txn, s->dbi[table], &k, &v);

    if (rc == MDB_NOTFOUND)
        return E_NOTFOUND;
    if (rc != 0) {
        spool_log_failure("get", E_IO, rc);
        return E_IO;
    }
    if (spool_value_open(table, str_of_key(key), str_of_val(&v), data))
        return OK;
    spool_log_corrupt(table, str_of_key(key), "checksum");
    return E_CORRUPT;
}

enum err spool_fetch_msg(struct spool *s, MDB_txn *txn, struct mid id, struct msg_head *h,
                         struct str *record)
{
    struct spool_key key = spool_key_mid(id);
    struct str data, rest;
    enum err e = spool_fetch(s, txn, TABLE_MSG, &key, &data);

    if (e != OK)
        return e;
    if (!msg_head_read(data, h, &rest)) {
        spool_log_corrupt(TABLE_MSG, str_of_key(&key), "head");
        return E_CORRUPT;
    }
    if (record != NULL)
        *record = rest;
    return OK;
}

static enum err decode(enum spool_table table, struct mid id, struct str record,
                       struct arena *a, struct envelope *out)
{
    struct spool_key key = spool_key_mid(id);
    enum err e = envelope_decode(record, a, out);

    if (e == E_FULL)
        return e;
    if (e == OK && mid_cmp(out->id, id) == 0)
        return OK;
    spool_log_corrupt(table, str_of_key(&key), e == OK ? "id" : "record");
    *out = (struct envelope){0};
    return E_CORRUPT;
}

enum err spool_decode_msg(struct mid id, const struct msg_head *h, struct str record,
                          struct arena *a, struct envelope *out)
{
    struct spool_key key = spool_key_mid(id);
    enum err e = decode(TABLE_MSG, id, record, a, out);

    if (e != OK || (out->body_number == h->number && out->body_bytes == h->bytes &&
                    out->body_digest == h->digest))
        return e;
    spool_log_corrupt(TABLE_MSG, str_of_key(&key), "head and record differ");
    *out = (struct envelope){0};
    return E_CORRUPT;
}

enum err spool_decode_trace(struct mid id, struct str record, struct arena *a,
                            struct envelope *out)
{
    return decode(TABLE_TRACE, id, record, a, out);
}
