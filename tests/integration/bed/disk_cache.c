#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/integration/bed/disk.h"

static struct disk_inode **bucket(struct disk *d, const struct stat *st)
{
    return &d->table[(st->st_ino * 31 + st->st_dev) % DISK_BUCKETS];
}

struct disk_inode *disk_find(struct disk *d, const struct stat *st)
{
    for (struct disk_inode *i = *bucket(d, st); i != NULL; i = i->next)
        if (i->number == st->st_ino && i->device == st->st_dev)
            return i;
    return NULL;
}

static void *needed(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

struct disk_inode *disk_use(struct disk *d, int fd)
{
    struct stat st = {0};
    struct disk_inode *i;

    fstat(fd, &st);
    i = disk_find(d, &st);
    if (i != NULL) {
        close(fd);
    } else {
        i = needed(calloc(1, sizeof(*i)));
        i->device = st.st_dev;
        i->number = st.st_ino;
        i->fd = fd;
        i->size = i->durable = st.st_size;
        i->next = *bucket(d, &st);
        *bucket(d, &st) = i;
    }
    i->users++;
    return i;
}

/* What nobody uses and is not durable stays: a close is no fsync. */
void disk_unuse(struct disk *d, struct disk_inode *i)
{
    struct stat key = {.st_ino = i->number, .st_dev = i->device};
    struct disk_inode **at = bucket(d, &key);

    if (--i->users > 0 || i->page_count > 0 || i->has_new_size)
        return;
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    close(i->fd);
    free(i);
}

static struct disk_page *find_page(struct disk_inode *i, uint64_t number)
{
    struct disk_page *p = i->pages[number % DISK_PAGE_BUCKETS];

    while (p != NULL && p->number != number)
        p = p->next;
    return p;
}

/* As it is on the disk; zeroes behind its end. */
static void load(struct disk_inode *i, uint64_t number, unsigned char *out)
{
    off_t at = (off_t)(number * DISK_PAGE_BYTES);
    ssize_t got = 0;

    if (at < i->durable) {
        off_t left = i->durable - at;

        got = pread(i->fd, out, left < DISK_PAGE_BYTES ? (size_t)left : DISK_PAGE_BYTES, at);
        if (got < 0)
            got = 0;
    }
    memset(out + got, 0, DISK_PAGE_BYTES - (size_t)got);
}

static struct disk_page *dirty_page(struct disk *d, struct disk_inode *i, uint64_t number)
{
    struct disk_page *p = find_page(i, number);

    if (p == NULL) {
        p = needed(malloc(sizeof(*p)));
        *p = (struct disk_page){.number = number, .next = i->pages[number % DISK_PAGE_BUCKETS]};
        load(i, number, p->bytes);
        i->pages[number % DISK_PAGE_BUCKETS] = p;
        i->page_count++;
        d->count.dirty_pages++;
    }
    return p;
}

static void drop_pages(struct disk *d, struct disk_inode *i)
{
    for (int b = 0; b < DISK_PAGE_BUCKETS; b++)
        while (i->pages[b] != NULL) {
            struct disk_page *p = i->pages[b];

            i->pages[b] = p->next;
            free(p);
            d->count.dirty_pages--;
        }
    i->page_count = 0;
}

void disk_forget(struct disk *d, struct disk_inode *i)
{
    drop_pages(d, i);
    i->size = i->durable;
    i->has_new_size = false;
}

void disk_get(struct disk_inode *i, unsigned char *out, size_t n, off_t at)
{
    unsigned char from_disk[DISK_PAGE_BYTES];

    for (size_t done = 0; done < n;) {
        uint64_t where = (uint64_t)at + done, number = where / DISK_PAGE_BYTES;
        size_t in = where % DISK_PAGE_BYTES, part = DISK_PAGE_BYTES - in;
        const struct disk_page *p = find_page(i, number);

        if (part > n - done)
            part = n - done;
        if (p == NULL)
            load(i, number, from_disk);
        memcpy(out + done, (p != NULL ? p->bytes : from_disk) + in, part);
        done += part;
    }
}

static void mark(struct disk_page *p, size_t from, size_t n)
{
    for (size_t s = from / DISK_SECTOR_BYTES; s <= (from + n - 1) / DISK_SECTOR_BYTES; s++)
        p->sectors = (uint8_t)(p->sectors | 1U << s);
}

void disk_put(struct disk *d, struct disk_inode *i, const unsigned char *bytes, size_t n,
              off_t at)
{
    for (size_t done = 0; done < n;) {
        uint64_t where = (uint64_t)at + done;
        size_t in = where % DISK_PAGE_BYTES, part = DISK_PAGE_BYTES - in;
        struct disk_page *p = dirty_page(d, i, where / DISK_PAGE_BYTES);

        if (part > n - done)
            part = n - done;
        memcpy(p->bytes + in, bytes + done, part);
        mark(p, in, part);
        done += part;
    }
    if (at + (off_t)n > i->size) {
        i->size = at + (off_t)n;
        i->has_new_size = true;
    }
}

int disk_set_size(struct disk *d, struct disk_inode *i, off_t size)
{
    uint64_t first = (uint64_t)size / DISK_PAGE_BYTES;
    uint64_t end = ((uint64_t)i->size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES;
    bool shrinks = size<i->size, is_long = end> first && end - first > (1 << 16);

    /* What lay behind has to read as zeroes when the file grows again. */
    for (uint64_t number = first; shrinks && !is_long && number < end; number++) {
        struct disk_page *p = dirty_page(d, i, number);
        size_t from = number == first ? (size_t)size % DISK_PAGE_BYTES : 0;

        memset(p->bytes + from, 0, DISK_PAGE_BYTES - from);
        p->sectors = 0xff;
    }
    if (size != i->size) {
        i->size = size;
        i->has_new_size = true;
    }
    return shrinks && is_long ? disk_flush(d, i) : 0;
}

/* Writes the sectors of a page that are within the file. */
static int write_page(struct disk_inode *i, const struct disk_page *p)
{
    off_t at = (off_t)(p->number * DISK_PAGE_BYTES), left = i->size - at;
    size_t n = left <= 0 ? 0 : (left < DISK_PAGE_BYTES ? (size_t)left : DISK_PAGE_BYTES);

    return n == 0 || pwrite(i->fd, p->bytes, n, at) == (ssize_t)n ? 0 : -EIO;
}

int disk_flush(struct disk *d, struct disk_inode *i)
{
    int rc = 0;

    if (i->has_new_size && i->size < i->durable && ftruncate(i->fd, i->size) != 0)
        rc = -errno;
    for (int b = 0; b < DISK_PAGE_BUCKETS; b++)
        for (const struct disk_page *p = i->pages[b]; p != NULL; p = p->next) {
            if (write_page(i, p) != 0)
                rc = -EIO;
            d->count.flushed_pages++;
        }
    if (i->has_new_size && ftruncate(i->fd, i->size) != 0)
        rc = -errno;
    i->durable = i->size;
    i->has_new_size = false;
    drop_pages(d, i);
    return rc;
}

void disk_flush_all(struct disk *d)
{
    for (int b = 0; b < DISK_BUCKETS; b++)
        for (struct disk_inode *i = d->table[b]; i != NULL; i = i->next)
            if (disk_flush(d, i) != 0)
                d->count.errors++;
}

static void tear_page(struct disk *d, struct disk_inode *i, const struct disk_page *p)
{
    for (unsigned s = 0; s < DISK_PAGE_BYTES / DISK_SECTOR_BYTES; s++) {
        off_t at = (off_t)(p->number * DISK_PAGE_BYTES + s * DISK_SECTOR_BYTES);
        off_t left = i->size - at;

        if ((p->sectors >> s & 1) == 0 || left <= 0 || prng_below(&d->prng, 2) == 0)
            continue;
        if (pwrite(i->fd, p->bytes + s * DISK_SECTOR_BYTES,
                   left < DISK_SECTOR_BYTES ? (size_t)left : DISK_SECTOR_BYTES, at) < 0)
            d->count.errors++;
    }
}

void disk_tear(struct disk *d, uint64_t seed)
{
    prng_seed(&d->prng, seed);
    for (int b = 0; b < DISK_BUCKETS; b++)
        for (struct disk_inode *i = d->table[b]; i != NULL; i = i->next)
            for (int k = 0; k < DISK_PAGE_BUCKETS; k++)
                for (const struct disk_page *p = i->pages[k]; p != NULL; p = p->next)
                    tear_page(d, i, p);
}

uint64_t disk_used_bytes(const struct disk *d)
{
    struct statvfs v;

    return fstatvfs(d->root, &v) != 0 ? 0
                                      : (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize +
                                            d->count.dirty_pages * DISK_PAGE_BYTES;
}
