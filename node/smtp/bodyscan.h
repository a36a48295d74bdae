/*
 * bodyscan: finds the end of DATA and takes the dots out. RFC 5321 4.1.1.4, 4.5.2.
 *
 * Only CRLF.CRLF ends the data (or .CRLF as its very first bytes). Bare CR, bare LF and NUL are
 * found, never repaired. After a violation the rest is swallowed up to the true end, so that
 * the answer comes where the client expects it; spans are no longer handed out.
 *
 *   bodyscan_init(&scan, max);
 *   for each read buffer `in`:
 *       while ((span = bodyscan_next(&scan, &in)).n > 0)
 *           keep(span);
 *       if (scan.done) -> what is left of `in` are the next commands
 *
 * The body is the concatenation of all spans: unstuffed, with the CRLF in front of the final
 * dot line and without that line. It is void when scan.violation is set at the end.
 *
 * Pure, streaming, nothing carried between calls but this struct; any segmentation of the
 * same bytes gives the same result. Threads: any.
 * Limits: max_body_bytes of the caller, LIMIT_BODY_LINE_BYTES, LIMIT_BODY_SWALLOW_BYTES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* In rising order of gravity: the gravest one seen is the one reported. */
enum body_violation {
    BODY_CLEAN,
    BODY_TOO_BIG,       /* 552 5.3.4                                              */
    BODY_LINE_TOO_LONG, /* 554 5.6.0; counted unstuffed, with its CRLF            */
    BODY_NUL,           /* 554 5.6.0                                              */
    BODY_BARE_CR,       /* 550 5.6.11, then close: smuggling looks like this      */
    BODY_BARE_LF,       /* the same                                               */
};

struct bodyscan {
    uint64_t max_body_bytes;
    uint64_t body_bytes;      /* of the body, up to a violation                      */
    uint64_t swallowed_bytes; /* bytes of input since the first violation            */
    uint64_t eight_bit_bytes; /* bytes above 0x7f among them                         */
    uint64_t line_bytes;      /* of the current line                                 */
    enum body_violation violation;
    bool done; /* the final dot line was consumed                            */
    int at;    /* private                                                    */
};

void bodyscan_init(struct bodyscan *s, uint64_t max_body_bytes);

/* Consumes from the front of *in and returns the next run of body bytes, borrowed from it. An
 * empty result: all of *in is consumed, or s->done and *in is what follows the dot line. Not to
 * be called again after s->done, which never comes with a span. */
struct str bodyscan_next(struct bodyscan *s, struct str *in);

/* True when a violation is followed by more than LIMIT_BODY_SWALLOW_BYTES: it does not pay to
 * wait for the end; report SMTPD_EV_BODY_END with .endless. */
bool bodyscan_is_endless(const struct bodyscan *s);
