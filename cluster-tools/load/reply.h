/*
 * reply: reads the replies of an SMTP server, line by line. RFC 5321 section 4.2.
 *
 * Strict, because the servers under test must be: three digits from 200 to 599, then a space,
 * a hyphen or the end of the line; CRLF ends the line, a lone CR or LF or a NUL is an error;
 * all lines of one reply bear one code.
 *
 * Pure: no I/O, no heap. Threads: one owner. Fuzzed by reply_fuzz.c.
 * Limits: LIMIT_REPLY_LINE_BYTES a line, LIMIT_REPLY_LINES a reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct reply_line {
    int code;        /* 200 to 599 */
    bool last;       /* the reply is complete with this line */
    bool first;      /* the reply begins with this line */
    struct str text; /* behind the code; borrowed from the reader until its next call */
};

struct reply_reader {
    char line[LIMIT_REPLY_LINE_BYTES];
    size_t line_bytes;
    int code; /* of the reply under way; 0: none is */
    unsigned lines;
};

void reply_init(struct reply_reader *r);

/* Takes bytes from the front of *in until one line is complete.
 * OK: *out holds it. E_AGAIN: *in is used up, the line is not complete yet.
 * E_PROTO: not SMTP; E_FULL: over a limit. After these two the reader is of no more use: the
 * server is out of step, drop the connection. */
MUST_CHECK enum err reply_next(struct reply_reader *r, struct str *in, struct reply_line *out);
