#include "tests/sim/disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/world.h"

#define FDS       1024
#define FILES     8    /* of one store */
#define KEPT      4096 /* un-synced writes that a kernel holds back at most */
#define WRITEBACK (30 * SECOND)

enum entry_kind { ENTRY_WRITE, ENTRY_WRITE_SYNCED, ENTRY_SYNC };

struct entry {
    enum entry_kind kind;
    unsigned file;
    uint64_t offset, at_us;
    size_t n;
    char *old; /* what stood there */
};

struct disk_file {
    ino_t inode; /* 0: free */
    int fd;      /* our own */
};

struct disk_store {
    char prefix[256];
    size_t prefix_n;
    struct disk_faults faults;
    struct disk_file files[FILES];
    struct entry *entries;
    size_t n, room, first_in_flight;
    bool in_flight;
    uint64_t cost_us, syncs;
};

struct place {
    bool known;
    struct disk_store *store; /* NULL: none of ours */
    unsigned file;
    bool synced; /* opened with O_DSYNC */
};

static struct disk_store stores[DISK_STORES];
static size_t store_count;
static struct place places[FDS];
static struct disk_counts counts;

struct disk_counts *disk_counts(void)
{
    return &counts;
}

struct disk_faults *disk_faults(struct disk_store *d)
{
    return &d->faults;
}

/* --- The kernel behind us --- */

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    ASSERT(f != NULL);
    return f;
}

static ssize_t real_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);

    if (real == NULL)
        *(void **)&real = next_of("pwrite");
    return real(fd, buf, n, offset);
}

static int real_close(int fd)
{
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = next_of("close");
    return real(fd);
}

/* --- Which file is it? --- */

static struct disk_store *store_of(const char *path)
{
    struct disk_store *best = NULL;

    for (size_t i = 0; i < store_count; i++)
        if (strncmp(path, stores[i].prefix, stores[i].prefix_n) == 0 &&
            (best == NULL || best->prefix_n < stores[i].prefix_n))
            best = &stores[i];
    return best;
}

static unsigned file_of(struct disk_store *d, ino_t inode, const char *link)
{
    unsigned i, free_one = FILES;

    for (i = 0; i < FILES; i++) {
        if (d->files[i].inode == inode)
            return i;
        if (d->files[i].inode == 0 && free_one == FILES)
            free_one = i;
    }
    ASSERT(free_one < FILES);
    d->files[free_one].inode = inode;
    d->files[free_one].fd = open(link, O_RDWR | O_CLOEXEC);
    ASSERT(d->files[free_one].fd >= 0 && d->files[free_one].fd < FDS);
    places[d->files[free_one].fd] = (struct place){.known = true};
    return free_one;
}

static struct place *place_of(int fd)
{
    static struct place none = {.known = true};
    static const char name[] = "/data.mdb";
    char link[64], path[512];
    struct stat st;
    struct place *p;
    ssize_t n;

    if (fd < 0 || fd >= FDS || store_count == 0)
        return &none;
    p = &places[fd];
    if (p->known)
        return p;
    *p = (struct place){.known = true};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < (ssize_t)sizeof name)
        return p;
    path[n] = 0;
    if (strcmp(path + n - (sizeof name - 1), name) != 0 || fstat(fd, &st) != 0)
        return p;
    p->store = store_of(path);
    if (p->store != NULL) {
        p->file = file_of(p->store, st.st_ino, link);
        p->synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    }
    return p;
}

/* --- The journal --- */

static struct entry *note(struct disk_store *d, enum entry_kind kind, unsigned file)
{
    struct entry *e;

    if (d->n == d->room) {
        d->room = d->room > 0 ? 2 * d->room : 256;
        d->entries = realloc(d->entries, d->room * sizeof *d->entries);
        ASSERT(d->entries != NULL);
    }
    e = &d->entries[d->n++];
    *e = (struct entry){.kind = kind, .file = file, .at_us = world_now()};
    return e;
}

static void sync_cost(struct disk_store *d)
{
    const struct disk_faults *f = &d->faults;

    d->syncs++;
    counts.syncs++;
    if (f->sync_max_us > 0)
        d->cost_us += world_between(f->sync_min_us, f->sync_max_us);
    if (world_chance(f->stall_pm))
        d->cost_us += f->stall_us;
}

static ssize_t journaled(int fd, const struct place *p, const void *buf, size_t n, off_t offset)
{
    struct disk_store *d = p->store;
    struct entry *e;
    ssize_t got;

    if (d->faults.eio || d->faults.full) {
        counts.failed++;
        errno = d->faults.eio ? EIO : ENOSPC;
        return -1;
    }
    e = note(d, p->synced ? ENTRY_WRITE_SYNCED : ENTRY_WRITE, p->file);
    e->offset = (uint64_t)offset;
    e->n = n;
    e->old = calloc(1, n > 0 ? n : 1);
    ASSERT(e->old != NULL);
    got = pread(d->files[p->file].fd, e->old, n, offset);
    ASSERT(got >= 0);
    counts.writes++;
    if (p->synced)
        sync_cost(d);
    return real_pwrite(fd, buf, n, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    const struct place *p = place_of(fd);

    return p->store != NULL ? journaled(fd, p, buf, n, offset)
                            : real_pwrite(fd, buf, n, offset);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);
    const struct place *p = place_of(fd);
    ssize_t done;
    off_t at;

    if (real == NULL)
        *(void **)&real = next_of("write");
    if (p->store == NULL)
        return real(fd, buf, n);
    at = lseek(fd, 0, SEEK_CUR);
    done = journaled(fd, p, buf, n, at);
    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t writev(int fd, const struct iovec *iov, int iov_count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    ssize_t sum = 0;

    if (real == NULL)
        *(void **)&real = next_of("writev");
    if (place_of(fd)->store == NULL)
        return real(fd, iov, iov_count);
    for (int i = 0; i < iov_count; i++) {
        ssize_t done = write(fd, iov[i].iov_base, iov[i].iov_len);

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
    const struct place *p = place_of(fd);

    if (p->store == NULL) /* a folder, or no file of a store: memory needs no sync */
        return store_count > 0 ? 0 : real(fd);
    if (p->store->faults.eio) {
        counts.failed++;
        errno = EIO;
        return -1;
    }
    note(p->store, ENTRY_SYNC, p->file);
    sync_cost(p->store);
    return 0;
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

int msync(void *addr, size_t n, int flags)
{
    static const bool lmdb_calls_msync = false;

    (void)addr, (void)n, (void)flags;
    ASSERT(lmdb_calls_msync); /* the journal would not be whole */
    return -1;
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS)
        places[fd].known = false;
    return real_close(fd);
}

int fstatvfs(int fd, struct statvfs *out)
{
    static int (*real)(int, struct statvfs *);
    char link[64], path[512];
    struct disk_store *d;
    ssize_t n;
    int rc;

    if (real == NULL)
        *(void **)&real = next_of("fstatvfs");
    if (store_count == 0)
        return real(fd, out);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    d = store_of(path);
    rc = real(fd, out);
    if (rc == 0 && d != NULL) { /* not the host's free memory: each run must see the same */
        out->f_frsize = 4096;
        out->f_bavail = out->f_bfree = d->faults.full ? 0 : 1 << 20;
    }
    return rc;
}

/* --- Stores --- */

struct disk_store *disk_add(const char *prefix)
{
    struct disk_store *d = &stores[store_count++];

    ASSERT(store_count <= DISK_STORES && strlen(prefix) < sizeof d->prefix);
    *d = (struct disk_store){.prefix_n = strlen(prefix)};
    memcpy(d->prefix, prefix, d->prefix_n + 1);
    return d;
}

static void drop_entries(struct disk_store *d, size_t from)
{
    for (size_t i = from; i < d->n; i++)
        free(d->entries[i].old);
    d->n = from;
}

/* What is durable leaves the journal: synced writes, and others before a sync of their file. */
static void prune(struct disk_store *d)
{
    size_t kept = 0, last_sync[FILES] = {0};
    uint64_t now = world_now();

    for (size_t i = 0; i < d->n; i++)
        if (d->entries[i].kind == ENTRY_SYNC)
            last_sync[d->entries[i].file] = i + 1;
    for (size_t i = 0; i < d->n; i++) {
        struct entry *e = &d->entries[i];
        bool pending = e->kind == ENTRY_WRITE && i >= last_sync[e->file] &&
                       e->at_us + WRITEBACK > now && d->n - i <= KEPT;

        if (pending)
            d->entries[kept++] = *e;
        else
            free(e->old);
    }
    d->n = kept;
}

void disk_begin(struct disk_store *d)
{
    if (d->in_flight)
        disk_end(d);
    d->in_flight = true;
    d->first_in_flight = d->n;
    d->cost_us = d->syncs = 0;
}

uint64_t disk_cost_us(struct disk_store *d)
{
    return d->cost_us;
}

uint64_t disk_syncs(const struct disk_store *d)
{
    return d->syncs;
}

void disk_seen(struct disk_store *d)
{
    d->first_in_flight = d->n;
}

void disk_end(struct disk_store *d)
{
    d->in_flight = false;
    if (d->n > 0)
        prune(d);
    d->first_in_flight = d->n;
}

static void undo(struct disk_store *d, const struct entry *e, size_t from, size_t n)
{
    ssize_t done =
        real_pwrite(d->files[e->file].fd, e->old + from, n, (off_t)(e->offset + from));

    ASSERT(done == (ssize_t)n);
}

/* Some sectors of a write did not reach the disk. */
static void tear(struct disk_store *d, const struct entry *e, unsigned style)
{
    size_t sector = world_chance(500) ? 4096 : 512;
    uint64_t lost_pm = style == 0 ? 0 : style == 1 ? 1000 : style == 2 ? 500 : 100;

    for (size_t at = 0; at < e->n; at += sector) {
        if (!world_chance(lost_pm))
            continue;
        undo(d, e, at, e->n - at < sector ? e->n - at : sector);
        counts.torn_sectors++;
    }
}

void disk_crash(struct disk_store *d)
{
    size_t cut = d->n;
    unsigned style = (unsigned)world_below(4);
    bool synced[FILES] = {false};

    if (d->in_flight && d->n > d->first_in_flight) {
        cut = world_between(d->first_in_flight, d->n);
        counts.crashes_in_flight++;
    }
    for (size_t i = d->n; i-- > 0;) {
        const struct entry *e = &d->entries[i];

        if (e->kind == ENTRY_SYNC) {
            synced[e->file] |= i < cut;
        } else if (i > cut || (i == cut && world_chance(500))) {
            undo(d, e, 0, e->n);
            counts.lost_sectors++;
        } else if (i == cut || (e->kind == ENTRY_WRITE && !synced[e->file])) {
            tear(d, e, style);
        }
    }
    drop_entries(d, 0);
    d->in_flight = false;
    d->first_in_flight = 0;
}

void disk_forget(struct disk_store *d)
{
    drop_entries(d, 0);
    d->in_flight = false;
    d->first_in_flight = 0;
    for (unsigned i = 0; i < FILES; i++)
        if (d->files[i].inode != 0)
            close(d->files[i].fd);
    memset(d->files, 0, sizeof d->files);
}

bool disk_flip(struct disk_store *d, const void *bytes, size_t n)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct stat st;
        char *all, *found = NULL;

        if (d->files[i].inode == 0 || fstat(d->files[i].fd, &st) != 0 || st.st_size == 0)
            continue;
        all = malloc((size_t)st.st_size);
        ASSERT(all != NULL);
        if (pread(d->files[i].fd, all, (size_t)st.st_size, 0) == st.st_size)
            found = memmem(all, (size_t)st.st_size, bytes, n);
        if (found != NULL) {
            size_t at = (size_t)(found - all) + world_below(n);
            char b = (char)(all[at] ^ (1 << world_below(8)));

            ASSERT(real_pwrite(d->files[i].fd, &b, 1, (off_t)at) == 1);
        }
        free(all);
        if (found != NULL)
            return true;
    }
    return false;
}
