/*
 * disk: a directory as on a disk with a volatile cache, for power cuts and dying disks, by
 * FUSE.
 *
 * What is written and not yet fsynced is in this process only, in pages; it gets to the backing
 * directory by fsync, fdatasync, or O_SYNC and O_DSYNC writes. Changes of names are made at
 * once and kept on a list, so that a crash can take back what was not made durable: in the mode
 * journal any fsync makes all earlier ones durable (as ext4 and xfs do), in the mode strict
 * only an fsync of that directory does (all that POSIX promises). A truncation counts as data.
 * Symbolic links are not taken back.
 *
 * Threads: FUSE's, and the one of the control socket; disk.lock guards everything, the
 * functions here are called with it held. Out of memory ends the process.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/prng.h"
#include "base/str.h"

#define DISK_PAGE_BYTES   4096
#define DISK_SECTOR_BYTES 512
#define DISK_BUCKETS      4096
#define DISK_PAGE_BUCKETS 64
#define DISK_KEPT_DIR     ".bed-kept" /* files that have lost their name, until that is durable */

struct disk_page {
    struct disk_page *next;
    uint64_t number;
    uint8_t sectors; /* bit n: sector n was written */
    unsigned char bytes[DISK_PAGE_BYTES];
};

struct disk_inode {
    struct disk_inode *next;
    dev_t device;
    ino_t number;
    int users;
    int fd;              /* of the backing file */
    off_t size, durable; /* as programs see it; as the backing file has it */
    bool has_new_size;
    struct disk_page *pages[DISK_PAGE_BUCKETS];
    uint64_t page_count;
};

enum disk_change { DISK_CREATE, DISK_UNLINK, DISK_RENAME, DISK_MKDIR, DISK_RMDIR, DISK_LINK };

struct disk_undo {
    struct disk_undo *before;
    enum disk_change change;
    char *name, *new_name, *kept; /* kept: another name of the file that went away, or NULL */
    mode_t mode;
};

/* Chances in millionths. */
struct disk_faults {
    int fsync_ms, write_ms, read_ms;
    uint32_t eio_read, eio_write, eio_fsync, eio_open;
    bool fsync_lies;  /* says 0, nothing becomes durable */
    bool fsync_drops; /* once: says EIO and forgets what was written */
    bool is_strict;
    uint64_t room_bytes; /* 0: no limit */
};

struct disk_count {
    uint64_t fsyncs, writes, dirty_pages, errors, flushed_pages;
};

struct disk {
    pthread_mutex_t lock;
    int root; /* the backing directory */
    struct disk_inode *table[DISK_BUCKETS];
    struct disk_undo *undo; /* newest first */
    uint64_t next_kept;
    struct prng prng;
    struct disk_faults faults;
    struct disk_count count;
};

/* --- disk_cache.c: what was written and is not durable. Errors are -errno. --- */

/* The inode of an open backing file, for one more user; takes fd. */
struct disk_inode *disk_use(struct disk *d, int fd);
void disk_unuse(struct disk *d, struct disk_inode *i);
struct disk_inode *disk_find(struct disk *d, const struct stat *st); /* or NULL */

void disk_get(struct disk_inode *i, unsigned char *out, size_t n, off_t at);
void disk_put(struct disk *d, struct disk_inode *i, const unsigned char *bytes, size_t n,
              off_t at);
int disk_set_size(struct disk *d, struct disk_inode *i, off_t size);
int disk_flush(struct disk *d, struct disk_inode *i);
void disk_forget(struct disk *d,
                 struct disk_inode *i); /* what was written since the last flush */
void disk_flush_all(struct disk *d);
void disk_tear(struct disk *d,
               uint64_t seed); /* each dirty sector is written by the toss of a coin */
uint64_t disk_used_bytes(const struct disk *d);

/* --- disk_undo.c: changes of names that are not durable --- */

void disk_undo_add(struct disk *d,
                   struct disk_undo what);         /* copies the names, takes what.kept */
char *disk_keep(struct disk *d, const char *name); /* a second name of a file, or NULL; gives */
void disk_undo_drop(struct disk *d, const char *dir); /* durable now; NULL: everything */
void disk_undo_all(struct disk *d);
void disk_unkeep(struct disk *d, char *kept); /* takes */

/* --- disk_ops.c, disk_names.c --- */

struct fuse_operations;
void disk_file_operations(struct fuse_operations *ops);
void disk_name_operations(struct fuse_operations *ops);

/* A wait that is the fault itself. Without the lock. */
void disk_nap(int ms);
bool disk_fails(struct disk *d, uint32_t millionths);
const char *disk_relative(const char *path); /* FUSE's paths begin with / */

/* --- disk_command.c: the control socket ---
 *     crash [torn SEED]          loses what is not durable and ends; torn: see disk_tear()
 *     sync                       makes everything durable
 *     fsync_delay MS | write_delay MS | read_delay MS
 *     eio read|write|fsync|open SHARE     0, 0.01, 1
 *     fsync_lies 0|1 | fsync_drops 0|1
 *     room BYTES                 of the files together; 0: as much as there is
 *     names journal|strict
 *     stats
 * An answer that begins with "error": not understood. */
void *disk_control(void *disk_and_fd);

struct disk_control {
    struct disk *disk;
    int fd; /* bound datagram socket */
};
