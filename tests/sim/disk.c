#include "tests/sim/disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
#define MAP_BYTES ((size_t)1 << 30) /* of address space; a file is as long as it is */
#define GROW      ((size_t)64 << 10)

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
    char *bytes; /* the file, mapped: a write is a copy, without the kernel */
    size_t n;
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
    off_t at;
    bool room_known; /* for fstatvfs() */
    struct disk_store *room;
    struct statvfs host;
    int room_err;
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

static ssize_t real_pread(int fd, void *buf, size_t n, off_t offset)
{
    static ssize_t (*real)(int, void *, size_t, off_t);

    if (real == NULL)
        *(void **)&real = next_of("pread");
    return real(fd, buf, n, offset);
}

static int real_close(int fd)
{
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = next_of("close");
    return real(fd);
}

/* --- Files --- */

static void file_open(struct disk_file *f, ino_t inode, const char *link)
{
    struct stat st;

    *f = (struct disk_file){.inode = inode, .fd = open(link, O_RDWR | O_CLOEXEC)};
    ASSERT(f->fd >= 0 && f->fd < FDS && fstat(f->fd, &st) == 0);
    f->n = (size_t)st.st_size;
    f->bytes = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    ASSERT(f->bytes != MAP_FAILED);
    places[f->fd] = (struct place){.known = true};
}

static void file_close(struct disk_file *f)
{
    munmap(f->bytes, MAP_BYTES);
    close(f->fd);
    *f = (struct disk_file){0};
}

static void file_write(struct disk_file *f, uint64_t offset, const void *buf, size_t n)
{
    ASSERT(offset + n <= MAP_BYTES);
    if (offset + n > f->n) {
        f->n = (offset + n + GROW - 1) / GROW * GROW;
        ASSERT(ftruncate(f->fd, (off_t)f->n) == 0);
    }
    memcpy(f->bytes + offset, buf, n);
}

/* What lies behind the end is 0. */
static void file_read(const struct disk_file *f, uint64_t offset, void *buf, size_t n)
{
    size_t there = offset < f->n ? f->n - offset : 0;

    there = there < n ? there : n;
    memcpy(buf, f->bytes + offset, there);
    memset((char *)buf + there, 0, n - there);
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
    file_open(&d->files[free_one], inode, link);
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
    p->known = true;
    p->store = NULL;
    p->at = 0;
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

static ssize_t journaled(const struct place *p, const void *buf, size_t n, off_t offset)
{
    struct disk_store *d = p->store;
    struct entry *e;

    if (d->faults.eio || d->faults.full) {
        counts.failed++;
        errno = d->faults.eio ? EIO : ENOSPC;
        return -1;
    }
    e = note(d, p->synced ? ENTRY_WRITE_SYNCED : ENTRY_WRITE, p->file);
    e->offset = (uint64_t)offset;
    e->n = n;
    e->old = malloc(n > 0 ? n : 1);
    ASSERT(e->old != NULL);
    file_read(&d->files[p->file], (uint64_t)offset, e->old, n);
    counts.writes++;
    if (p->synced)
        sync_cost(d);
    file_write(&d->files[p->file], (uint64_t)offset, buf, n);
    return (ssize_t)n;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    const struct place *p = place_of(fd);

    return p->store != NULL ? journaled(p, buf, n, offset) : real_pwrite(fd, buf, n, offset);
}

ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    const struct place *p = place_of(fd);
    const struct disk_file *f;
    size_t there;

    if (p->store == NULL)
        return real_pread(fd, buf, n, offset);
    f = &p->store->files[p->file];
    there = (size_t)offset < f->n ? f->n - (size_t)offset : 0;
    there = there < n ? there : n;
    file_read(f, (uint64_t)offset, buf, there);
    return (ssize_t)there;
}

off_t lseek(int fd, off_t offset, int whence)
{
    static off_t (*real)(int, off_t, int);
    struct place *p = place_of(fd);

    if (real == NULL)
        *(void **)&real = next_of("lseek");
    if (p->store == NULL)
        return real(fd, offset, whence);
    ASSERT(whence == SEEK_SET || whence == SEEK_CUR);
    p->at = whence == SEEK_SET ? offset : p->at + offset;
    return p->at;
}

ssize_t write(int fd, const void *buf, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);
    struct place *p = place_of(fd);
    ssize_t done;

    if (real == NULL)
        *(void **)&real = next_of("write");
    if (p->store == NULL)
        return real(fd, buf, n);
    done = journaled(p, buf, n, p->at);
    if (done > 0)
        p->at += done;
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
        places[fd].known = places[fd].room_known = false;
    return real_close(fd);
}

/* Whose folder it is; and what the host says of it, once. */
static struct place *room_of(int fd)
{
    static int (*real)(int, struct statvfs *);
    struct place *p = &places[fd];
    char link[64], path[512];
    ssize_t n;

    if (p->room_known)
        return p;
    if (real == NULL)
        *(void **)&real = next_of("fstatvfs");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    p->room_known = true;
    p->room = store_of(path);
    p->room_err = real(fd, &p->host);
    return p;
}

int fstatvfs(int fd, struct statvfs *out)
{
    static int (*real)(int, struct statvfs *);
    const struct place *p;

    if (real == NULL)
        *(void **)&real = next_of("fstatvfs");
    if (store_count == 0 || fd < 0 || fd >= FDS)
        return real(fd, out);
    p = room_of(fd);
    if (p->room == NULL)
        return real(fd, out);
    *out = p->host;
    /* not the host's free memory: each run must see the same */
    out->f_frsize = 4096;
    out->f_blocks = 1 << 20;
    out->f_bavail = out->f_bfree = p->room->faults.full ? 0 : 1 << 20;
    return p->room_err;
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
    file_write(&d->files[e->file], e->offset + from, e->old + from, n);
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

size_t disk_position(const struct disk_store *d)
{
    return d->n;
}

size_t disk_crash(struct disk_store *d)
{
    size_t cut = d->n, came_to = SIZE_MAX;
    unsigned style = (unsigned)world_below(4);
    bool synced[FILES] = {false};

    if (d->in_flight && d->n > d->first_in_flight) {
        cut = world_between(d->first_in_flight, d->n);
        came_to = cut;
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
    return came_to;
}

void disk_forget(struct disk_store *d)
{
    drop_entries(d, 0);
    d->in_flight = false;
    d->first_in_flight = 0;
    for (unsigned i = 0; i < FILES; i++)
        if (d->files[i].inode != 0)
            file_close(&d->files[i]);
}

bool disk_flip(struct disk_store *d, const void *bytes, size_t n)
{
    for (unsigned i = 0; i < FILES; i++) {
        const struct disk_file *f = &d->files[i];
        char *found = f->inode != 0 ? memmem(f->bytes, f->n, bytes, n) : NULL;

        if (found == NULL)
            continue;
        found[world_below(n)] ^= (char)(1 << world_below(8));
        return true;
    }
    return false;
}
