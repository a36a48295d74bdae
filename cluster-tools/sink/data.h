/*
 * data: the receiving half of DATA: takes the dots off and finds the end. RFC 5321 sections
 * 4.1.1.4 and 4.5.2.
 *
 * Only CRLF . CRLF ends the data (the first CRLF may be that of the DATA command). A CR without
 * LF and an LF without CR are passed on as they are and counted; a dot behind a bare LF is no
 * dot at the start of a line. With `lenient`, which no receiver should be, an LF alone ends a
 * line, too, and so LF . LF ends the data: a victim to try smuggling on.
 *
 * Pure: no I/O, no heap. Threads: one owner. Fuzzed by data_fuzz.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define DATA_MIN_ROOM 2 /* one byte of input yields at most this many */

enum data_state {
    DATA_LINE_START, /* nothing yet, or behind a line end */
    DATA_TEXT,
    DATA_CR,     /* behind a CR, which is held back */
    DATA_DOT,    /* a dot at the start of a line, held back */
    DATA_DOT_CR, /* dot and CR at the start of a line, both held back */
    DATA_END,    /* the end was seen */
};

struct data {
    enum data_state state;
    bool lenient;
    uint64_t bare_cr, bare_lf;
};

void data_init(struct data *d, bool lenient);

/* Moves bytes from the front of *in to out, without the dots that were doubled, and returns how
 * many were written; never more than were taken by this call and one before it held back. Stops
 * when less than DATA_MIN_ROOM is left, when *in is used up, and at the end (d->state is
 * DATA_END then, and what is left of *in belongs to the next command). */
size_t data_read(struct data *d, struct str *in, char *out, size_t room);

/* For a message that comes by BDAT (RFC 3030) and has no dots to take off: only counts. Not to
 * be mixed with data_read() in one message. */
void data_scan(struct data *d, struct str bytes);

/* CRs and LFs that stood alone. */
uint64_t data_noncanonical(const struct data *d);
