/*
 * io_tap: puts itself between LMDB and the kernel for the calls that reach a file: write,
 * pwrite, writev, fdatasync, fsync, fstatvfs. A test links io_tap.c, and every call from
 * liblmdb goes through it; only descriptors of files named `data.mdb` are touched.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum io_op { IO_WRITE, IO_WRITE_SYNCED, IO_SYNC };

/* What happens to one call. IO_SHORT writes half of it and says so, as a full disk does. */
enum io_verdict { IO_PASS, IO_FAIL_EIO, IO_FAIL_ENOSPC, IO_SHORT };

struct io_tap {
    /* Before the call. IO_WRITE_SYNCED: through a descriptor opened with O_DSYNC. NULL: pass.
     */
    enum io_verdict (*judge)(void *user, enum io_op op);
    /* After a call that passed, in order: what is now in the file. NULL: not wanted. */
    void (*wrote)(void *user, const char *path, enum io_op op, const void *data, size_t n,
                  uint64_t offset);
    void *user;
    bool disk_full; /* fstatvfs says so */
};

/* The only one; a test sets its fields, and clears them with *io_tap() = (struct io_tap){0}. */
struct io_tap *io_tap(void);
