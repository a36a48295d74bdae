/*
 * stuff: the body on its way to a primary: dots doubled at the start of a line (RFC
 * 5321 4.5.2), nothing else changed (INV-5), and proof that nothing else than canonical lines
 * leaves: a CR without LF or a LF without CR in a stored body is a fault of ours or of a disk,
 * and is refused before the offending byte is written ("smuggling out").
 *
 * Segments go in one after the other, trace header first; stuff_end() says whether they ended
 * with a whole line. The dot line itself is sent by smtpc.
 *
 * Pure: no I/O, no heap. Memory: fixed, a few bytes. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define STUFF_MIN_ROOM 2 /* one step needs room for a doubled dot, or CRLF */

struct stuff {
    bool line_start; /* nothing yet, or the last two bytes were CRLF */
    bool after_cr;   /* a CR was taken and waits, unwritten, for its LF */
    bool bad;        /* a lone CR or LF was met; sticky              */
    uint64_t in_bytes, out_bytes;
};

void stuff_init(struct stuff *s);

/* Moves bytes from the front of *in to out, as many as fit, and says in *written how many bytes
 * were written. Takes at least one byte of a non-empty *in when room >= STUFF_MIN_ROOM.
 * E_CORRUPT: a lone CR or LF; nothing of this call is to be sent, the connection is dropped. */
MUST_CHECK enum err stuff_step(struct stuff *s, struct str *in, char *out, size_t room,
                               size_t *written);

/* After the last segment. E_CORRUPT: the last line has no CRLF, or an error came before. */
MUST_CHECK enum err stuff_end(const struct stuff *s);
