#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/integration/bed/disk.h"

/* The disk, locked; every operation below ends with done(). */
static struct disk *begin(void)
{
    struct disk *d = fuse_get_context()->private_data;

    pthread_mutex_lock(&d->lock);
    return d;
}

static int done(struct disk *d, int rc)
{
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* A new name belongs to who asked for it. */
static void give_to_caller(struct disk *d, const char *name)
{
    const struct fuse_context *who = fuse_get_context();

    if (fchownat(d->root, name, who->uid, who->gid, AT_SYMLINK_NOFOLLOW) != 0)
        d->count.errors++;
}

static int do_unlink(const char *path)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(path), *kept = disk_keep(d, name);

    if (unlinkat(d->root, name, 0) != 0) {
        int rc = -errno;

        disk_unkeep(d, kept);
        return done(d, rc);
    }
    disk_undo_add(d, (struct disk_undo){.change = DISK_UNLINK, .name = name, .kept = kept});
    return done(d, 0);
}

static int do_rename(const char *path, const char *new_path, unsigned flags)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(path), *new_name = (char *)disk_relative(new_path);
    char *kept = flags == 0 ? disk_keep(d, new_name) : NULL;

    if (renameat2(d->root, name, d->root, new_name, flags) != 0) {
        int rc = -errno;

        disk_unkeep(d, kept);
        return done(d, rc);
    }
    disk_undo_add(d,
                  (struct disk_undo){
                      .change = DISK_RENAME, .name = name, .new_name = new_name, .kept = kept});
    return done(d, 0);
}

static int do_mkdir(const char *path, mode_t mode)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(path);

    if (mkdirat(d->root, name, mode) != 0)
        return done(d, -errno);
    give_to_caller(d, name);
    disk_undo_add(d, (struct disk_undo){.change = DISK_MKDIR, .name = name});
    return done(d, 0);
}

static int do_rmdir(const char *path)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(path);
    struct stat st = {.st_mode = 0755};

    fstatat(d->root, name, &st, 0);
    if (unlinkat(d->root, name, AT_REMOVEDIR) != 0)
        return done(d, -errno);
    disk_undo_add(
        d, (struct disk_undo){.change = DISK_RMDIR, .name = name, .mode = st.st_mode & 07777});
    return done(d, 0);
}

static int do_link(const char *path, const char *new_path)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(new_path);

    if (linkat(d->root, disk_relative(path), d->root, name, 0) != 0)
        return done(d, -errno);
    disk_undo_add(d, (struct disk_undo){.change = DISK_LINK, .name = name});
    return done(d, 0);
}

static int do_mknod(const char *path, mode_t mode, dev_t device)
{
    struct disk *d = begin();
    char *name = (char *)disk_relative(path);

    if (mknodat(d->root, name, mode, device) != 0)
        return done(d, -errno);
    give_to_caller(d, name);
    disk_undo_add(d, (struct disk_undo){.change = DISK_CREATE, .name = name});
    return done(d, 0);
}

static int do_symlink(const char *target, const char *path)
{
    struct disk *d = begin();

    return done(d, symlinkat(target, d->root, disk_relative(path)) != 0 ? -errno : 0);
}

static int do_readlink(const char *path, char *out, size_t size)
{
    struct disk *d = begin();
    ssize_t n = readlinkat(d->root, disk_relative(path), out, size - 1);

    if (n < 0)
        return done(d, -errno);
    out[n] = '\0';
    return done(d, 0);
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct disk *d = begin();

    (void)fi;
    return done(d, fchmodat(d->root, disk_relative(path), mode, 0) != 0 ? -errno : 0);
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    struct disk *d = begin();

    (void)fi;
    if (fchownat(d->root, disk_relative(path), uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
        return done(d, -errno);
    return done(d, 0);
}

static int do_utimens(const char *path, const struct timespec times[2],
                      struct fuse_file_info *fi)
{
    struct disk *d = begin();

    (void)fi;
    if (utimensat(d->root, disk_relative(path), times, AT_SYMLINK_NOFOLLOW) != 0)
        return done(d, -errno);
    return done(d, 0);
}

static int do_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t at,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    struct disk *d = begin();
    int fd = openat(d->root, disk_relative(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    (void)at;
    (void)fi;
    (void)flags;
    if (dir == NULL)
        return done(d, -errno);
    while ((e = readdir(dir)) != NULL) {
        struct stat st = {.st_ino = e->d_ino, .st_mode = (mode_t)(e->d_type << 12)};

        if (strcmp(e->d_name, DISK_KEPT_DIR) != 0 && fill(out, e->d_name, &st, 0, 0) != 0)
            break;
    }
    closedir(dir);
    return done(d, 0);
}

void disk_name_operations(struct fuse_operations *ops)
{
    ops->unlink = do_unlink;
    ops->rename = do_rename;
    ops->mkdir = do_mkdir;
    ops->rmdir = do_rmdir;
    ops->link = do_link;
    ops->mknod = do_mknod;
    ops->symlink = do_symlink;
    ops->readlink = do_readlink;
    ops->chmod = do_chmod;
    ops->chown = do_chown;
    ops->utimens = do_utimens;
    ops->readdir = do_readdir;
}
