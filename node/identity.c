#include "node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/control_core.h"
#include "node/net/plane.h"

#define PATH_BYTES   4096
#define FOLDER       "cluster"
#define SECRET       "secret "
#define SECRET_BYTES (sizeof SECRET - 1 + PLANE_KEY_TEXT) /* with its line end */
#define LOG_MAP      (1 * GiB)                            /* as node/control_core.c has it */

static_assert(MEMBER_KEY_BYTES == PLANE_KEY_BYTES, "a member's key is that of its links");

static enum err __attribute__((format(printf, 3, 4)))
say(char *why, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, IDENTITY_WHY_BYTES, fmt, args);
    va_end(args);
    return e;
}

/* Of the last call of the system. */
static enum err say_system(char *why, const char *what, const char *path)
{
    return say(why, E_IO, "%s %s: %s", what, path, strerror(errno));
}

/* False: too long. */
static bool path_of(char out[PATH_BYTES], const char *data_dir, const char *name)
{
    return snprintf(out, PATH_BYTES, "%s/%s", data_dir, name) < PATH_BYTES;
}

static bool exists(const char *data_dir, const char *name)
{
    char path[PATH_BYTES];

    return path_of(path, data_dir, name) && access(path, F_OK) == 0;
}

/* --- files --- */

static enum err sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = fd >= 0 && fsync(fd) == 0 ? OK : E_IO;

    if (fd >= 0)
        close(fd);
    return e;
}

/* Durable, with its place in its parent. */
static enum err make_dir(const char *path, mode_t mode)
{
    char parent[PATH_BYTES];
    char *slash;

    if (mkdir(path, mode) != 0)
        return errno == EEXIST ? OK : E_IO;
    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == NULL)
        return sync_dir(".");
    slash[slash == parent ? 1 : 0] = 0;
    return sync_dir(parent);
}

static enum err write_all(int fd, struct str text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return E_IO;
        text = str_from(text, (size_t)n);
    }
    return fsync(fd) == 0 ? OK : E_IO;
}

/* DIR/cluster/NAME: beside its place, synced, renamed, the directory synced. */
static enum err write_file(const char *data_dir, const char *name, struct str text, char *why)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 16], fresh[PATH_BYTES + 32];
    enum err e;
    int fd;

    if (!path_of(folder, data_dir, FOLDER))
        return say(why, E_FULL, "the name of the directory is too long: %s", data_dir);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    if (make_dir(data_dir, 0750) != OK || make_dir(folder, 0700) != OK)
        return say_system(why, "cannot make", folder);
    if (unlink(fresh) != 0 && errno != ENOENT)
        return say_system(why, "cannot remove", fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return say_system(why, "cannot write", fresh);
    e = write_all(fd, text);
    if (close(fd) != 0)
        e = E_IO;
    if (e != OK || rename(fresh, path) != 0 || sync_dir(folder) != OK)
        return say_system(why, "cannot write", path);
    return OK;
}

/* At most size - 1 bytes, and a NUL. E_NOTFOUND: no such file. E_CORRUPT: longer, or of zero
 * bytes. */
static enum err read_file(const char *data_dir, const char *name, char *buf, size_t size,
                          char *why)
{
    char path[PATH_BYTES];
    ssize_t n;
    int fd;

    buf[0] = 0;
    if (snprintf(path, sizeof path, "%s/" FOLDER "/%s", data_dir, name) >= PATH_BYTES)
        return say(why, E_FULL, "the name of the directory is too long: %s", data_dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return say(why, E_NOTFOUND, "there is no %s", path);
    if (fd < 0)
        return say_system(why, "cannot read", path);
    n = read(fd, buf, size); /* of a regular file so small: all of it */
    close(fd);
    if (n < 0)
        return say_system(why, "cannot read", path);
    if (n == 0 || (size_t)n == size)
        return say(why, E_CORRUPT,
                   "%s is damaged; a node whose key is lost is replaced: "
                   "empty its data directory and let it join again",
                   path);
    buf[n] = 0;
    return OK;
}

/* --- keys --- */

static enum err read_secret(const char *data_dir, const char *name,
                            uint8_t secret_key[MEMBER_KEY_BYTES], char *why)
{
    char text[SECRET_BYTES + 2];
    enum err e = read_file(data_dir, name, text, sizeof text, why);
    struct str s = str_of(text), head = STR(SECRET);

    if (e != OK)
        return e;
    if (s.n != SECRET_BYTES || !str_eq(str_head(s, head.n), head) || !str_ends(s, '\n') ||
        !plane_key_parse(str_from(str_head(s, s.n - 1), head.n), secret_key))
        e = say(why, E_CORRUPT,
                "%s/" FOLDER "/%s is damaged; a node whose key is lost is replaced: empty its "
                "data directory and let it join again",
                data_dir, name);
    explicit_bzero(text, sizeof text);
    return e;
}

static enum err write_secret(const char *data_dir, const char *name,
                             const uint8_t secret_key[MEMBER_KEY_BYTES], char *why)
{
    char key[PLANE_KEY_TEXT], text[SECRET_BYTES + 2];
    enum err e;

    plane_key_text(secret_key, key);
    snprintf(text, sizeof text, SECRET "%s\n", key);
    e = write_file(data_dir, name, str_of(text), why);
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, sizeof text);
    return e;
}

/* The pair of a file; made when there is none and `make` says so. */
static enum err key_of(const char *data_dir, const char *name, bool make, struct identity *out,
                       char *why)
{
    enum err e = read_secret(data_dir, name, out->secret_key, why);

    if (e == OK)
        return plane_key_public(out->secret_key, out->public_key) == OK
                   ? OK
                   : say(why, E_IO, "libzmq cannot do CURVE");
    if (e != E_NOTFOUND || !make)
        return e;
    if (plane_key_new(out->public_key, out->secret_key) != OK)
        return say(why, E_IO, "libzmq cannot make a CURVE key");
    return write_secret(data_dir, name, out->secret_key, why);
}

/* --- stores --- */

/* E_NOTFOUND: this directory has none. */
static enum err store_id(const char *data_dir, struct store_id *out, char *why)
{
    struct ctllog *log = NULL;
    char dir[PATH_BYTES];
    enum err e;

    if (!path_of(dir, data_dir, "control/log"))
        return say(why, E_FULL, "the name of the directory is too long: %s", data_dir);
    e = ctllog_open(&log, &(struct ctllog_options){.dir = dir, .map_bytes = LOG_MAP});
    if (e == OK) {
        *out = *ctllog_id(log);
        ctllog_close(&log);
        return OK;
    }
    if (e == E_NOTFOUND)
        return say(why, e, "there is no control log in %s", data_dir);
    return say(why, e, "the control log in %s cannot be opened: %s", data_dir, err_text(e));
}

/* E_EXISTS: something is there that a new member must not begin with. The ids of mail hang on
 * sessions, which count from the beginning in another cluster: over an old spool, or its set of
 * settled ids, new mail would be taken for old. */
static enum err check_is_free(const char *data_dir, char *why)
{
    struct store_id id;
    enum err e = store_id(data_dir, &id, why);

    if (e == OK)
        return say(why, E_EXISTS,
                   "%s has the control store of site %u already; an identity is given once: a "
                   "node that is to begin anew needs an empty data directory",
                   data_dir, id.site);
    if (e != E_NOTFOUND)
        return e;
    if (exists(data_dir, "spool/data"))
        return say(why, E_EXISTS,
                   "%s has a spool already, with mail or with what became of it; a new member "
                   "begins with an empty data directory (mail of a lone node is delivered by "
                   "starting it with copies: 1)",
                   data_dir);
    return OK;
}

static enum err make_stores(const char *data_dir, const struct store_id *id,
                            const struct command *first, char *why)
{
    char dir[PATH_BYTES];
    enum err e;

    if (!path_of(dir, data_dir, "control"))
        return say(why, E_FULL, "the name of the directory is too long: %s", data_dir);
    if (make_dir(dir, 0750) != OK)
        return say_system(why, "cannot make", dir);
    e = control_core_make(&(struct control_core_make){.dir = dir, .id = *id, .first = first});
    if (e != OK)
        return say(why, e, "cannot make the control store in %s: %s", dir, err_text(e));
    return OK;
}

/* --- what others call --- */

enum err identity_key(const char *data_dir, uint8_t public_key[MEMBER_KEY_BYTES], char *why)
{
    struct identity i;
    struct store_id id;
    enum err e;

    /* A key beside the stores of a lone node would make it look like a member. */
    if (!exists(data_dir, FOLDER "/key")) {
        e = store_id(data_dir, &id, why);
        if (e == OK)
            return say(why, E_EXISTS,
                       "%s is the data directory of a lone node; a member of a cluster begins "
                       "with an empty one",
                       data_dir);
        if (e != E_NOTFOUND)
            return e;
    }
    e = key_of(data_dir, "key", true, &i, why);
    if (e == OK)
        memcpy(public_key, i.public_key, MEMBER_KEY_BYTES);
    explicit_bzero(&i, sizeof i);
    return e;
}

/* The incarnation of the first member: none of the later ones, which are indices of the log,
 * ever comes up to it, and JSON holds it exactly. */
static enum err draw(uint16_t site, struct store_id *id, char *why)
{
    *id = (struct store_id){.site = site};
    if (getrandom(id->cluster, sizeof id->cluster, 0) != (ssize_t)sizeof id->cluster ||
        getrandom(&id->incarnation, sizeof id->incarnation, 0) !=
            (ssize_t)sizeof id->incarnation)
        return say_system(why, "cannot draw", "an id");
    id->incarnation = id->incarnation >> 12 | UINT64_C(1) << 51;
    return OK;
}

enum err identity_init(const char *data_dir, uint16_t site, struct str control, struct str data,
                       char *why)
{
    struct command first = {.kind = COMMAND_MEMBER_ADD,
                            .member_add = {.site = site, .control = control, .data = data}};
    char path[PATH_BYTES];
    struct store_id id;
    enum err e = check_is_free(data_dir, why);

    if (e == OK)
        e = draw(site, &id, why);
    if (e == OK)
        e = identity_key(data_dir, first.member_add.key, why);
    if (e != OK)
        return e;
    first.member_add.incarnation = id.incarnation;
    if (command_check(&first) != NULL)
        return say(why, E_PROTO, "%s", command_check(&first));
    /* Of a join that was not finished. */
    if (path_of(path, data_dir, FOLDER "/seeds") && unlink(path) != 0 && errno != ENOENT)
        return say_system(why, "cannot remove", path);
    return make_stores(data_dir, &id, &first, why);
}

enum err identity_join(const char *data_dir, uint16_t site, struct str token, char *why)
{
    char text[IDENTITY_TOKEN_BYTES + 1];
    struct identity_token t;
    struct store_id id;
    struct identity i;
    enum err e = identity_token_parse(token, &t);

    if (e != OK)
        return say(why, e,
                   "this is no token; it is the last word of what `trispool cluster add` says "
                   "on a member");
    if (t.site != site)
        return say(why, E_CONFLICT, "the token is for site %u, this node is site %u", t.site,
                   site);
    e = check_is_free(data_dir, why);
    if (e != OK)
        return e;
    e = key_of(data_dir, "key", false, &i, why);
    explicit_bzero(i.secret_key, sizeof i.secret_key);
    if (e == E_NOTFOUND || (e == OK && memcmp(i.public_key, t.key, sizeof t.key) != 0))
        return say(why, E_CONFLICT,
                   "the token is for another key than this node's; on a member, `trispool "
                   "cluster add` takes the key that `trispool cluster key` says here");
    if (e != OK)
        return e;
    snprintf(text, sizeof text, STR_FMT "\n", STR_ARG(token));
    e = write_file(data_dir, "seeds", str_of(text), why);
    if (e != OK)
        return e;
    id = (struct store_id){.site = t.site, .incarnation = t.incarnation};
    memcpy(id.cluster, t.cluster, sizeof id.cluster);
    return make_stores(data_dir, &id, NULL, why);
}

static enum err load_seeds(const char *data_dir, const struct store_id *id,
                           struct identity *out, char *why)
{
    char text[IDENTITY_TOKEN_BYTES + 2];
    struct identity_token t;
    struct str s;
    enum err e = read_file(data_dir, "seeds", text, sizeof text, why);

    if (e == E_NOTFOUND) /* the first member */
        return OK;
    if (e != OK)
        return e;
    s = str_of(text);
    if (!str_ends(s, '\n') || identity_token_parse(str_head(s, s.n - 1), &t) != OK)
        return say(why, E_CORRUPT,
                   "%s/" FOLDER "/seeds is damaged; restore it, or let the "
                   "node join again with an empty data directory",
                   data_dir);
    if (memcmp(t.cluster, id->cluster, sizeof t.cluster) != 0 || t.site != id->site ||
        t.incarnation != id->incarnation)
        return say(why, E_CONFLICT,
                   "%s/" FOLDER "/seeds and %s/control are of different nodes: the data "
                   "directory was put together from two",
                   data_dir, data_dir);
    memcpy(out->seeds, t.peers, sizeof out->seeds);
    out->seed_count = t.peer_count;
    return OK;
}

enum err identity_load(const char *data_dir, struct identity *out, char *why)
{
    struct store_id id;
    enum err e = store_id(data_dir, &id, why);
    bool is_keyed = exists(data_dir, FOLDER "/key");

    *out = (struct identity){.seed_count = 0};
    if (e == E_NOTFOUND)
        return say(why, e,
                   "this node is not a member of a cluster yet (%s): make the first member "
                   "with `trispool cluster init`; any other gets its token from `trispool "
                   "cluster add` on a member and takes it with `trispool cluster join TOKEN`",
                   data_dir);
    if (e != OK)
        return e;
    if (!is_keyed)
        return say(why, E_NOTFOUND,
                   "%s is the data directory of a lone node: start it with copies: 1; a member "
                   "of a cluster begins with an empty one, and `trispool cluster init` or "
                   "`trispool cluster join TOKEN`",
                   data_dir);
    e = key_of(data_dir, "key", false, out, why);
    if (e == OK)
        e = load_seeds(data_dir, &id, out, why);
    if (e != OK)
        explicit_bzero(out, sizeof *out);
    return e;
}

/* --- changing the key --- */

enum err identity_next_key(const char *data_dir, uint8_t public_key[MEMBER_KEY_BYTES],
                           uint8_t secret_key[MEMBER_KEY_BYTES], char *why)
{
    struct identity i;
    enum err e = key_of(data_dir, "next", true, &i, why);

    if (e == OK) {
        memcpy(public_key, i.public_key, MEMBER_KEY_BYTES);
        memcpy(secret_key, i.secret_key, MEMBER_KEY_BYTES);
    }
    explicit_bzero(&i, sizeof i);
    return e;
}

enum err identity_take_next_key(const char *data_dir, char *why)
{
    char next[PATH_BYTES], key[PATH_BYTES], folder[PATH_BYTES];

    if (!path_of(next, data_dir, FOLDER "/next") || !path_of(key, data_dir, FOLDER "/key") ||
        !path_of(folder, data_dir, FOLDER))
        return say(why, E_FULL, "the name of the directory is too long: %s", data_dir);
    if (rename(next, key) != 0)
        return errno == ENOENT ? say(why, E_NOTFOUND, "there is no %s", next)
                               : say_system(why, "cannot rename", next);
    return sync_dir(folder) == OK ? OK : say_system(why, "cannot sync", folder);
}
