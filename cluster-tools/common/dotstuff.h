/*
 * dotstuff: the sending half of DATA. RFC 5321 section 4.5.2.
 *
 * Doubles a dot that stands at the start of a line, and changes nothing else. A line starts
 * after CRLF and nowhere else: behind a bare LF there is no line, so a dot there stays single,
 * as a strict receiver expects it.
 *
 * Pure: no I/O, no heap. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define DOTSTUFF_MIN_ROOM 2 /* one step writes at most this many bytes */
#define DOTSTUFF_END_ROOM 5 /* CRLF . CRLF */

struct dotstuff {
    bool line_start; /* nothing yet, or the last two bytes were CRLF */
    bool after_cr;   /* the last byte was CR */
};

void dotstuff_init(struct dotstuff *d);

/* Moves bytes from the front of *in to out, as many as fit, and returns how many bytes were
 * written. Takes at least one byte of *in when room >= DOTSTUFF_MIN_ROOM. */
size_t dotstuff_write(struct dotstuff *d, struct str *in, char *out, size_t room);

/* Writes the end of the data, at most DOTSTUFF_END_ROOM bytes, and returns how many: the dot
 * line, behind a CRLF when the message did not end with one (SMTP has no other way to end). */
size_t dotstuff_end(const struct dotstuff *d, char *out);
