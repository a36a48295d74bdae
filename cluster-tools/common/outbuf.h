/*
 * outbuf: bytes that wait to be written to a connection. Grows on the heap up to a limit.
 *
 * Errors are sticky: once the limit is reached or memory is short, everything added is thrown
 * away and `failed` stays true; the owner then drops the connection.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct outbuf {
    char *bytes;
    size_t start, end, size; /* bytes[start..end) wait */
    size_t limit;
    bool failed;
};

void outbuf_init(struct outbuf *o, size_t limit);
void outbuf_fini(struct outbuf *o);

void outbuf_add(struct outbuf *o, struct str bytes);
void outbuf_printf(struct outbuf *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for `want` bytes at the end, to be filled and then confirmed by outbuf_filled() with
 * at most as many; NULL (and failed) when there is none. The room stays the buffer's own. */
char *outbuf_room(struct outbuf *o, size_t want);
void outbuf_filled(struct outbuf *o, size_t n);

/* What waits. Valid until the next call that adds or takes. */
struct str outbuf_pending(const struct outbuf *o);
void outbuf_sent(struct outbuf *o, size_t n);

/* Forgets what waits. */
void outbuf_clear(struct outbuf *o);
