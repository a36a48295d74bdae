#include "tests/support/io_tap.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

static struct io_tap tap;

struct io_tap *io_tap(void)
{
    return &tap;
}

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    ASSERT(f != NULL);
    return f;
}

/* The path behind a descriptor, when it is a data file of LMDB. */
static bool data_file(int fd, char path[512])
{
    static const char name[] = "/data.mdb";
    char link[64];
    ssize_t n;

    if (tap.judge == NULL && tap.wrote == NULL)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, 511);
    if (n < (ssize_t)sizeof name)
        return false;
    path[n] = 0;
    return strcmp(path + n - (sizeof name - 1), name) == 0;
}

static enum io_op write_op(int fd)
{
    return fcntl(fd, F_GETFL) & O_DSYNC ? IO_WRITE_SYNCED : IO_WRITE;
}

static enum io_verdict judge(enum io_op op)
{
    enum io_verdict v = tap.judge != NULL ? tap.judge(tap.user, op) : IO_PASS;

    if (v == IO_FAIL_EIO || v == IO_FAIL_ENOSPC)
        errno = v == IO_FAIL_EIO ? EIO : ENOSPC;
    return v;
}

static ssize_t real_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);

    if (real == NULL)
        *(void **)&real = next_of("pwrite");
    return real(fd, buf, n, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    char path[512];
    enum io_op op;
    ssize_t done;

    if (!data_file(fd, path))
        return real_pwrite(fd, buf, n, offset);
    op = write_op(fd);
    switch (judge(op)) {
    case IO_FAIL_EIO:
    case IO_FAIL_ENOSPC:
        return -1;
    case IO_SHORT:
        n /= 2;
        break;
    case IO_PASS:
        break;
    }
    done = real_pwrite(fd, buf, n, offset);
    if (done > 0 && tap.wrote != NULL)
        tap.wrote(tap.user, path, op, buf, (size_t)done, (uint64_t)offset);
    return done;
}

/* Sequential writes become positioned ones, so that there is one way in. */
static ssize_t write_here(int fd, const void *buf, size_t n)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = pwrite(fd, buf, n, at);

    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t write(int fd, const void *buf, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);
    char path[512];

    if (real == NULL)
        *(void **)&real = next_of("write");
    return data_file(fd, path) ? write_here(fd, buf, n) : real(fd, buf, n);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    char path[512];
    ssize_t sum = 0;

    if (real == NULL)
        *(void **)&real = next_of("writev");
    if (!data_file(fd, path))
        return real(fd, iov, count);
    for (int i = 0; i < count; i++) {
        ssize_t done = write_here(fd, iov[i].iov_base, iov[i].iov_len);

        if (done < 0)
            return sum > 0 ? sum : -1;
        sum += done;
        if ((size_t)done < iov[i].iov_len)
            break;
    }
    return sum;
}

static int sync_call(int fd, int (*real)(int))
{
    char path[512];
    bool ours = data_file(fd, path);
    int rc;

    if (ours && judge(IO_SYNC) != IO_PASS) {
        errno = EIO;
        return -1;
    }
    rc = real(fd);
    if (rc == 0 && ours && tap.wrote != NULL)
        tap.wrote(tap.user, path, IO_SYNC, NULL, 0, 0);
    return rc;
}

int fdatasync(int fd)
{
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = next_of("fdatasync");
    return sync_call(fd, real);
}

int fsync(int fd)
{
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = next_of("fsync");
    return sync_call(fd, real);
}

/* LMDB without WRITEMAP has no business calling these on its data: the record of writes would
 * not be whole. */
int msync(void *addr, size_t n, int flags)
{
    static const bool lmdb_calls_msync = false;

    (void)addr, (void)n, (void)flags;
    ASSERT(lmdb_calls_msync);
    return -1;
}

int ftruncate(int fd, off_t size)
{
    static int (*real)(int, off_t);
    char path[512];

    if (real == NULL)
        *(void **)&real = next_of("ftruncate");
    ASSERT(!data_file(fd, path));
    return real(fd, size);
}

int fstatvfs(int fd, struct statvfs *out)
{
    static int (*real)(int, struct statvfs *);
    int rc;

    if (real == NULL)
        *(void **)&real = next_of("fstatvfs");
    rc = real(fd, out);
    if (rc == 0 && tap.disk_full)
        out->f_bavail = out->f_bfree = 0;
    return rc;
}
