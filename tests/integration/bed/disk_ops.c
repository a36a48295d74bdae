#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/integration/bed/disk.h"

#define MILLION 1000000

struct handle {
    struct disk_inode *inode;
    int flags;
};

void disk_nap(int ms)
{
    if (ms > 0)
        poll(NULL, 0, ms);
}

bool disk_fails(struct disk *d, uint32_t millionths)
{
    bool fails = millionths > 0 && prng_below(&d->prng, MILLION) < millionths;

    d->count.errors += fails;
    return fails;
}

const char *disk_relative(const char *path)
{
    return path[1] != '\0' ? path + 1 : ".";
}

static struct disk *this_disk(void)
{
    return fuse_get_context()->private_data;
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    return this_disk();
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    const struct disk_inode *i = NULL;
    int rc = 0;

    pthread_mutex_lock(&d->lock);
    if (fi != NULL && fi->fh != 0) {
        i = handle_of(fi)->inode;
        rc = fstat(i->fd, st) != 0 ? -errno : 0;
    } else if (fstatat(d->root, disk_relative(path), st, AT_SYMLINK_NOFOLLOW) != 0) {
        rc = -errno;
    } else if (S_ISREG(st->st_mode)) {
        i = disk_find(d, st);
    }
    if (rc == 0 && i != NULL) {
        st->st_size = i->size;
        st->st_blocks = (i->size + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* A descriptor of the backing file, or -errno. Notes a file that is new. */
static int open_backing(struct disk *d, const char *name, int flags, mode_t mode)
{
    bool is_new =
        (flags & O_CREAT) != 0 && faccessat(d->root, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = openat(d->root, name,
                    O_RDWR | O_CLOEXEC | (flags & (O_EXCL | O_NOFOLLOW | O_CREAT)), mode);

    if (fd < 0 && (errno == EACCES || errno == EROFS))
        fd = openat(d->root, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (is_new) {
        struct fuse_context *who = fuse_get_context();

        if (fchown(fd, who->uid, who->gid) != 0)
            d->count.errors++;
        disk_undo_add(d, (struct disk_undo){.change = DISK_CREATE, .name = (char *)name});
    }
    return fd;
}

static int open_file(const char *path, int flags, mode_t mode, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    int fd;

    pthread_mutex_lock(&d->lock);
    fd = disk_fails(d, d->faults.eio_open) ? -EIO
                                           : open_backing(d, disk_relative(path), flags, mode);
    if (fd >= 0) {
        struct handle *h = malloc(sizeof(*h));

        if (h == NULL)
            abort();
        *h = (struct handle){disk_use(d, fd), flags};
        if ((flags & O_TRUNC) != 0)
            disk_set_size(d, h->inode, 0);
        fi->fh = (uint64_t)(uintptr_t)h;
    }
    pthread_mutex_unlock(&d->lock);
    return fd < 0 ? fd : 0;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
    return open_file(path, fi->flags & ~O_CREAT, 0, fi);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    return open_file(path, fi->flags | O_CREAT, mode, fi);
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();

    (void)path;
    pthread_mutex_lock(&d->lock);
    disk_unuse(d, handle_of(fi)->inode);
    free(handle_of(fi));
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int do_read(const char *path, char *out, size_t n, off_t at, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    struct disk_inode *i = handle_of(fi)->inode;
    int rc = -EIO;

    (void)path;
    disk_nap(d->faults.read_ms);
    pthread_mutex_lock(&d->lock);
    if (!disk_fails(d, d->faults.eio_read)) {
        off_t left = at < i->size ? i->size - at : 0;

        if ((off_t)n > left)
            n = (size_t)left;
        disk_get(i, (unsigned char *)out, n, at);
        rc = (int)n;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int sync_inode(struct disk *d, struct disk_inode *i)
{
    int rc;

    if (disk_fails(d, d->faults.eio_fsync))
        return -EIO;
    d->count.fsyncs++;
    if (d->faults.fsync_lies)
        return 0;
    if (d->faults.fsync_drops) {
        d->faults.fsync_drops = false;
        d->count.errors++;
        disk_forget(d, i);
        return -EIO;
    }
    rc = disk_flush(d, i);
    if (!d->faults.is_strict)
        disk_undo_drop(d, NULL);
    return rc;
}

/* After an O_DSYNC write the kernel sends an fsync of its own: that one takes the time. */
static int do_write(const char *path, const char *bytes, size_t n, off_t at,
                    struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    struct handle *h = handle_of(fi);
    int rc = (int)n;

    (void)path;
    disk_nap(d->faults.write_ms);
    pthread_mutex_lock(&d->lock);
    if (disk_fails(d, d->faults.eio_write)) {
        rc = -EIO;
    } else if (d->faults.room_bytes > 0 && disk_used_bytes(d) + n > d->faults.room_bytes) {
        rc = -ENOSPC;
    } else {
        d->count.writes++;
        disk_put(d, h->inode, (const unsigned char *)bytes, n, at);
        if ((h->flags & (O_SYNC | O_DSYNC)) != 0 && sync_inode(d, h->inode) != 0)
            rc = -EIO;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int do_fsync(const char *path, int is_data, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    int rc;

    (void)path;
    (void)is_data;
    disk_nap(d->faults.fsync_ms);
    pthread_mutex_lock(&d->lock);
    rc = sync_inode(d, handle_of(fi)->inode);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int do_fsyncdir(const char *path, int is_data, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    int rc = 0;

    (void)is_data;
    (void)fi;
    disk_nap(d->faults.fsync_ms);
    pthread_mutex_lock(&d->lock);
    if (disk_fails(d, d->faults.eio_fsync)) {
        rc = -EIO;
    } else {
        d->count.fsyncs++;
        if (!d->faults.fsync_lies)
            disk_undo_drop(d, d->faults.is_strict ? disk_relative(path) : NULL);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    struct disk *d = this_disk();
    int fd, rc;

    pthread_mutex_lock(&d->lock);
    if (fi != NULL) {
        rc = disk_set_size(d, handle_of(fi)->inode, size);
    } else if ((fd = openat(d->root, disk_relative(path), O_RDWR | O_CLOEXEC)) < 0) {
        rc = -errno;
    } else {
        struct disk_inode *i = disk_use(d, fd);

        rc = disk_set_size(d, i, size);
        disk_unuse(d, i);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int do_statfs(const char *path, struct statvfs *v)
{
    struct disk *d = this_disk();
    uint64_t used, room;
    int rc = 0;

    (void)path;
    pthread_mutex_lock(&d->lock);
    room = d->faults.room_bytes;
    if (fstatvfs(d->root, v) != 0) {
        rc = -errno;
    } else if (room > 0) {
        used = disk_used_bytes(d);
        v->f_bavail = v->f_bfree = used >= room ? 0 : (room - used) / v->f_frsize;
        v->f_blocks = room / v->f_frsize;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

void disk_file_operations(struct fuse_operations *ops)
{
    ops->init = do_init;
    ops->getattr = do_getattr;
    ops->open = do_open;
    ops->create = do_create;
    ops->release = do_release;
    ops->read = do_read;
    ops->write = do_write;
    ops->fsync = do_fsync;
    ops->fsyncdir = do_fsyncdir;
    ops->truncate = do_truncate;
    ops->statfs = do_statfs;
}
