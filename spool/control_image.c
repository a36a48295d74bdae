#include "spool/control_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum err err_of(int code)
{
    return code == ENOSPC || code == EDQUOT || code == ENOMEM ? E_FULL : E_IO;
}

enum err image_file_open(struct image_file *f, const struct control *c)
{
    char path[4096 + 16];
    enum err e = OK;

    *f = (struct image_file){.fd = -1, .buffer = malloc(IMAGE_BUFFER_BYTES)};
    ASSERT(f->buffer != NULL);
    snprintf(path, sizeof path, "%s/image.XXXXXX", c->kv.dir);
    f->fd = mkostemp(path, O_CLOEXEC);
    if (f->fd < 0)
        e = err_of(errno);
    else if (unlink(path) != 0)
        e = err_of(errno);
    return e;
}

void image_file_close(struct image_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->buffer);
    *f = (struct image_file){.fd = -1};
}

static enum err write_all(struct image_file *f, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = pwrite(f->fd, p, n, (off_t)f->bytes);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? err_of(errno) : E_IO;
        p += done;
        n -= (size_t)done;
        f->bytes += (uint64_t)done;
    }
    return OK;
}

enum err image_file_flush(struct image_file *f)
{
    size_t n = f->used;

    f->used = 0;
    return write_all(f, f->buffer, n);
}

enum err image_file_add(struct image_file *f, struct str s)
{
    enum err e = OK;

    if (f->used + s.n > IMAGE_BUFFER_BYTES)
        e = image_file_flush(f);
    if (e == OK && s.n > IMAGE_BUFFER_BYTES)
        return write_all(f, s.p, s.n);
    if (e == OK && s.n > 0)
        memcpy(f->buffer + f->used, s.p, s.n);
    f->used += e == OK ? s.n : 0;
    return e;
}

enum err image_file_read(const struct image_file *f, uint64_t offset, void *buf, size_t size,
                         size_t *got)
{
    char *to = buf;

    *got = 0;
    while (*got < size) {
        ssize_t n = pread(f->fd, to + *got, size - *got, (off_t)(offset + *got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return E_IO;
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return OK;
}
