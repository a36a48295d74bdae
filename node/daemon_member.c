#include "node/daemon_member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define LOG_MAP_BYTES (1 * GiB)

static enum err refuse(enum err e, const char *where, const char *what, const char *act)
{
    fprintf(stderr, "trispoold: %s\n  where: %s\n  do:    %s\n", what, where, act);
    return e;
}

enum err daemon_member_load(const char *data_dir, struct identity *out)
{
    char why[IDENTITY_WHY_BYTES] = "";
    enum err e = identity_load(data_dir, out, why);

    if (e == E_NOTFOUND)
        return refuse(
            e, data_dir, "copies: 2 is set, and this node is no member of a cluster",
            "the first node: trispool cluster init; any other: trispool cluster key,\n"
            "         at a member trispool cluster add, and here trispool cluster join "
            "TOKEN");
    if (e != OK)
        return refuse(e, data_dir, why,
                      "look at the file; a node that has lost its key has to "
                      "join anew (docs/operations.md)");
    return OK;
}

enum err daemon_member_none(const char *data_dir)
{
    char path[512];

    if (snprintf(path, sizeof path, "%s/cluster/began", data_dir) >= (int)sizeof path)
        return E_FULL;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return OK;
    return refuse(E_CONFLICT, data_dir,
                  "copies: 1 is set, and this data_dir is that of a member of a cluster: the "
                  "others would deliver its mail, too",
                  "set copies: 2, with peers; or use another data_dir\n"
                  "         (docs/operations.md, two lost sites: trispool cluster solo)");
}

/* --- the spool of this incarnation --- */

static enum err incarnation_of(const char *data_dir, uint64_t *out)
{
    struct ctllog *log;
    char dir[512];
    enum err e;

    if (snprintf(dir, sizeof dir, "%s/control/log", data_dir) >= (int)sizeof dir)
        return E_FULL;
    e = ctllog_open(&log, &(struct ctllog_options){.dir = dir, .map_bytes = LOG_MAP_BYTES});
    if (e != OK)
        return e;
    *out = ctllog_id(log)->incarnation;
    ctllog_close(&log);
    return OK;
}

static enum err sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = fd >= 0 && fsync(fd) == 0 ? OK : E_IO;

    if (fd >= 0)
        close(fd);
    return e;
}

static enum err write_mark(const char *data_dir, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char dir[512];
    enum err e = fd >= 0 && fsync(fd) == 0 ? OK : E_IO;

    if (fd >= 0)
        close(fd);
    if (snprintf(dir, sizeof dir, "%s/cluster", data_dir) >= (int)sizeof dir)
        return E_FULL;
    return e == OK ? sync_dir(dir) : e;
}

static enum err begin(struct spool *s, uint64_t incarnation, bool is_first)
{
    struct spool_txn *t = spool_begin(s);
    /* No session of this incarnation can be older than the entry that made it. That of the
     * first member of all is no log index, and it has nobody to be filled from. */
    enum err e = spool_member_begin(t, incarnation, is_first ? 1 : incarnation, is_first);

    if (e == OK)
        return spool_commit(&t);
    spool_abort(&t);
    return e;
}

static enum err look_at(struct spool *s, struct spool_member *m)
{
    struct spool_reader *r;
    enum err e = spool_reader_open(s, &r);

    if (e != OK)
        return e;
    e = spool_member(r, m);
    spool_reader_close(&r);
    return e;
}

#define REJOIN                                                                                 \
    "move data_dir away and join anew: at a member trispool cluster remove SITE,\n"            \
    "         then trispool cluster key, add and join (docs/operations.md, a lost node)"

enum err daemon_member_spool(const char *data_dir, const struct identity *id, struct spool *s)
{
    struct spool_member m = {0};
    uint64_t incarnation = 0;
    char mark[512];
    enum err e;
    bool began;

    if (snprintf(mark, sizeof mark, "%s/cluster/began", data_dir) >= (int)sizeof mark)
        return refuse(E_FULL, data_dir, "the path is too long", "choose a shorter data_dir");
    began = access(mark, F_OK) == 0;
    e = incarnation_of(data_dir, &incarnation);
    if (e != OK)
        return refuse(e, data_dir, "the control store of this member cannot be read", REJOIN);
    e = look_at(s, &m);
    if (e != OK && e != E_NOTFOUND)
        return refuse(e, data_dir, "the spool of this member cannot be read", REJOIN);
    if (e == E_NOTFOUND && (began || spool_totals(s).messages > 0))
        return refuse(E_CONFLICT, data_dir,
                      began ? "the spool of this cluster member is gone: what it has "
                              "acknowledged is not here"
                            : "the spool holds mail of a node that was no cluster member",
                      REJOIN);
    if (e == OK && m.incarnation != incarnation)
        return refuse(E_CONFLICT, data_dir,
                      "the spool is that of another cluster member than the control store",
                      REJOIN);
    if (e == E_NOTFOUND)
        e = begin(s, incarnation, id->seed_count == 0);
    if (e == OK && !began)
        e = write_mark(data_dir, mark);
    return e == OK ? OK : refuse(e, data_dir, strerror(errno), "look at the disk");
}
