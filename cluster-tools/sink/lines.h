/*
 * lines: cuts the commands of a client into lines. RFC 5321 section 2.3.8.
 *
 * Only CRLF ends a line; a CR or LF that stands alone is counted and becomes part of it (which
 * then is no command). With `lenient` an LF alone ends a line, too, and is still counted.
 *
 * Pure: no I/O, no heap. Threads: one owner. Fuzzed by lines_fuzz.c.
 * Limits: LIMIT_TOOL_COMMAND_BYTES a line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct lines {
    char line[LIMIT_TOOL_COMMAND_BYTES];
    size_t bytes;
    bool lenient, ended; /* ended: the line was given out, the next byte begins another */
    uint64_t bare_cr, bare_lf;
};

void lines_init(struct lines *l, bool lenient);

/* Takes bytes from the front of *in until a line is complete. OK: *line is it, without its
 * end, valid until the next call. E_AGAIN: *in is used up. E_FULL: too long; the reader is of
 * no more use. */
MUST_CHECK enum err lines_next(struct lines *l, struct str *in, struct str *line);
