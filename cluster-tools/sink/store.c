#include "cluster-tools/sink/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "cluster-tools/common/number.h"

#define NAME_SIZE   48
#define FILE_MODE   0644
#define FOLDER_MODE 0755

/* The number in "<n>.eml" or "<n>.env"; 0 for other names. */
static uint64_t number_of(const char *name)
{
    struct str s = str_of(name);
    uint64_t n = 0;

    if (s.n < 5 || (strcmp(name + s.n - 4, ".eml") != 0 && strcmp(name + s.n - 4, ".env") != 0))
        return 0;
    s.n -= 4;
    return number_count(s, UINT64_MAX - 1, &n) == OK ? n : 0;
}

static enum err find_next(struct store *s)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (d == NULL)
        return E_IO;
    while ((entry = readdir(d)) != NULL)
        if (number_of(entry->d_name) >= s->next)
            s->next = number_of(entry->d_name) + 1;
    closedir(d);
    return OK;
}

enum err store_open(struct store *s, const char *path)
{
    *s = (struct store){.dir_fd = -1, .next = 1};
    if (path == NULL)
        return OK;
    if (mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST)
        return E_IO;
    s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return E_IO;
    return find_next(s);
}

void store_close(struct store *s)
{
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    s->dir_fd = -1;
}

void store_message_init(struct store_message *m)
{
    *m = (struct store_message){.fd = -1};
}

static void part_name(const struct store_message *m, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, ".part-%" PRIu64, m->part);
}

static int create(const struct store *s, const char *name)
{
    return openat(s->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = str_from(bytes, (size_t)n);
    }
    return true;
}

void store_begin(struct store *s, struct store_message *m)
{
    char name[NAME_SIZE];

    ASSERT(m->fd < 0);
    if (s->dir_fd < 0)
        return;
    m->part = s->next_part++;
    part_name(m, name);
    m->fd = create(s, name);
    m->failed = m->fd < 0;
}

void store_add(struct store *s, struct store_message *m, struct str bytes)
{
    if (s->dir_fd >= 0 && !m->failed && !write_all(m->fd, bytes))
        m->failed = true;
}

void store_drop(struct store *s, struct store_message *m)
{
    char name[NAME_SIZE];

    if (m->fd >= 0) {
        close(m->fd);
        part_name(m, name);
        unlinkat(s->dir_fd, name, 0);
    }
    store_message_init(m);
}

static bool write_envelope(const struct store *s, uint64_t n, struct str envelope)
{
    char name[NAME_SIZE];
    bool good;
    int fd;

    snprintf(name, sizeof name, "%" PRIu64 ".env", n);
    fd = create(s, name);
    if (fd < 0)
        return false;
    good = write_all(fd, envelope);
    return close(fd) == 0 && good;
}

enum err store_keep(struct store *s, struct store_message *m, struct str envelope)
{
    char part[NAME_SIZE], name[NAME_SIZE];

    if (s->dir_fd < 0)
        return OK;
    part_name(m, part);
    snprintf(name, sizeof name, "%" PRIu64 ".eml", s->next);
    if (m->failed || !write_envelope(s, s->next, envelope) ||
        renameat(s->dir_fd, part, s->dir_fd, name) < 0) {
        fprintf(stderr, "trispool-sink: cannot keep %s: %s\n", name, strerror(errno));
        store_drop(s, m);
        return E_IO;
    }
    close(m->fd);
    store_message_init(m);
    s->next++;
    return OK;
}
