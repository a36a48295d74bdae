#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"
#include "tests/integration/bed/disk.h"

#define MAX_DELAY_MS 3600000

static bool is_word(struct str word, const char *name)
{
    return str_eq(word, str_of(name));
}

static bool set_ms(struct str word, int *out)
{
    uint64_t value;

    if (number_count(word, MAX_DELAY_MS, &value) != OK)
        return false;
    *out = (int)value;
    return true;
}

static bool set_flag(struct str word, bool *out)
{
    *out = is_word(word, "1");
    return *out || is_word(word, "0");
}

static bool set_eio(struct disk_faults *f, struct str operation, struct str word)
{
    uint64_t share;

    if (number_micro(word, 1, &share) != OK)
        return false;
    if (is_word(operation, "read"))
        f->eio_read = (uint32_t)share;
    else if (is_word(operation, "write"))
        f->eio_write = (uint32_t)share;
    else if (is_word(operation, "fsync"))
        f->eio_fsync = (uint32_t)share;
    else if (is_word(operation, "open"))
        f->eio_open = (uint32_t)share;
    else
        return false;
    return true;
}

static bool set_fault(struct disk_faults *f, struct str key, struct str words)
{
    struct str word = words_cut(&words);

    if (is_word(key, "fsync_delay"))
        return set_ms(word, &f->fsync_ms);
    if (is_word(key, "write_delay"))
        return set_ms(word, &f->write_ms);
    if (is_word(key, "read_delay"))
        return set_ms(word, &f->read_ms);
    if (is_word(key, "fsync_lies"))
        return set_flag(word, &f->fsync_lies);
    if (is_word(key, "fsync_drops"))
        return set_flag(word, &f->fsync_drops);
    if (is_word(key, "room"))
        return number_count(word, INT64_MAX, &f->room_bytes) == OK;
    if (is_word(key, "eio"))
        return set_eio(f, word, words_cut(&words));
    f->is_strict = is_word(word, "strict");
    return is_word(key, "names") && (f->is_strict || is_word(word, "journal"));
}

static int tell_stats(const struct disk *d, char *answer, size_t size)
{
    const struct disk_count *c = &d->count;
    int undo = 0;

    for (const struct disk_undo *u = d->undo; u != NULL; u = u->before)
        undo++;
    return snprintf(answer, size,
                    "writes=%" PRIu64 " fsyncs=%" PRIu64 " dirty_pages=%" PRIu64
                    " flushed_pages=%" PRIu64 " errors=%" PRIu64 " undo=%d\n",
                    c->writes, c->fsyncs, c->dirty_pages, c->flushed_pages, c->errors, undo);
}

static int obey(struct disk *d, struct str line, char *answer, size_t size)
{
    struct str word = words_cut(&line);

    if (is_word(word, "stats"))
        return tell_stats(d, answer, size);
    if (is_word(word, "sync")) {
        disk_flush_all(d);
        disk_undo_drop(d, NULL);
    } else if (!set_fault(&d->faults, word, line)) {
        return snprintf(answer, size, "error: not understood: " STR_FMT "\n", STR_ARG(word));
    }
    return snprintf(answer, size, "ok\n");
}

/* The power is cut: this process ends, with everything that only it knew. */
static int crash(struct disk *d, struct str line, char *answer, size_t size)
{
    int n = snprintf(answer, size, "lost dirty_pages=%" PRIu64 "\n", d->count.dirty_pages);
    uint64_t seed;

    if (is_word(words_cut(&line), "torn") &&
        number_count(words_cut(&line), UINT64_MAX, &seed) == OK)
        disk_tear(d, seed);
    disk_undo_all(d);
    return n;
}

void *disk_control(void *disk_and_fd)
{
    const struct disk_control *c = disk_and_fd;
    char line[1024], answer[1024];

    for (;;) {
        struct sockaddr_un from;
        socklen_t from_size = sizeof(from);
        ssize_t got =
            recvfrom(c->fd, line, sizeof(line), 0, (struct sockaddr *)&from, &from_size);
        struct str words = {line, got > 0 ? (size_t)got : 0};
        bool is_crash;
        int n;

        pthread_mutex_lock(&c->disk->lock);
        is_crash = str_cut_nocase(&words, STR("crash"));
        n = is_crash ? crash(c->disk, words, answer, sizeof(answer))
                     : obey(c->disk, words, answer, sizeof(answer));
        if (from_size > sizeof(sa_family_t) &&
            sendto(c->fd, answer, (size_t)n, 0, (struct sockaddr *)&from, from_size) < 0)
            perror("bed_disk: answer");
        if (is_crash)
            _exit(0);
        pthread_mutex_unlock(&c->disk->lock);
    }
    return NULL;
}
