#include "cluster-tools/common/outbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define FIRST_SIZE 512

void outbuf_init(struct outbuf *o, size_t limit)
{
    *o = (struct outbuf){.limit = limit};
}

void outbuf_fini(struct outbuf *o)
{
    free(o->bytes);
    *o = (struct outbuf){.limit = o->limit};
}

char *outbuf_room(struct outbuf *o, size_t want)
{
    size_t used = o->end - o->start, size = o->size > 0 ? o->size : FIRST_SIZE;
    char *bytes;

    if (o->failed || want > o->limit - used) {
        o->failed = true;
        return NULL;
    }
    if (o->size - o->end >= want && o->bytes != NULL)
        return o->bytes + o->end;
    if (o->start > 0) {
        memmove(o->bytes, o->bytes + o->start, used);
        o->start = 0;
        o->end = used;
    }
    while (size - used < want)
        size *= 2;
    if (size != o->size) {
        bytes = realloc(o->bytes, size);
        if (bytes == NULL) {
            o->failed = true;
            return NULL;
        }
        o->bytes = bytes;
        o->size = size;
    }
    return o->bytes + o->end;
}

void outbuf_filled(struct outbuf *o, size_t n)
{
    ASSERT(n <= o->size - o->end);
    o->end += n;
}

void outbuf_add(struct outbuf *o, struct str bytes)
{
    char *room = outbuf_room(o, bytes.n);

    if (room == NULL || bytes.n == 0)
        return;
    memcpy(room, bytes.p, bytes.n);
    outbuf_filled(o, bytes.n);
}

void outbuf_printf(struct outbuf *o, const char *fmt, ...)
{
    va_list ap;
    char *room;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    room = outbuf_room(o, (size_t)n + 1);
    if (room == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(room, (size_t)n + 1, fmt, ap);
    va_end(ap);
    outbuf_filled(o, (size_t)n);
}

struct str outbuf_pending(const struct outbuf *o)
{
    return o->start == o->end ? STR("") : (struct str){o->bytes + o->start, o->end - o->start};
}

void outbuf_sent(struct outbuf *o, size_t n)
{
    ASSERT(n <= o->end - o->start);
    o->start += n;
    if (o->start == o->end)
        o->start = o->end = 0;
}

void outbuf_clear(struct outbuf *o)
{
    o->start = o->end = 0;
}
