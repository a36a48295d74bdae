/*
 * dsn: builds the notification for the sender of a message that failed for some recipients.
 * RFC 3464, 3462 (multipart/report), 3834 (Auto-Submitted), 5321 6.1, 6533 3 (addresses that
 * are not ASCII, which it names in ASCII).
 *
 * Three parts: text/plain, message/delivery-status, text/rfc822-headers. Only bounced and
 * expired recipients are named. All lines end in CRLF, are at most 998 bytes and 7-bit.
 *
 * Hostile text: reply texts, addresses and headers come from outside. Bytes outside 0x20..0x7e
 * become '?' (a tab in a header stays); header lines over 998 bytes are cut; a header line that
 * starts with "--" is left out, so that nobody who guesses the boundary can close a part.
 * Leaks: our own Received field is not in the copied headers; the primary is not named; in
 * its reply, numeric addresses become [address] and names under .local, .internal, .lan, .corp,
 * .intra, .home.arpa or .localdomain become [host].
 *
 * Pure: no I/O, no heap, no clock. Threads: any.
 * Limits: LIMIT_DSN_BYTES always suffices for LIMIT_SMTP_RCPTS recipients with addresses of
 * LIMIT_SMTP_PATH_BYTES; LIMIT_DSN_HEADER_BYTES of headers, LIMIT_DSN_DIAG_BYTES of a reply.
 */
#pragma once

#include "base/err.h"
#include "base/limits.h"
#include "proto/envelope.h"

struct dsn_in {
    const struct envelope *env;
    struct str hostname;   /* ours: Reporting-MTA, From, Message-ID; a checked name */
    struct str body_start; /* the first bytes of the stored body, LIMIT_DSN_HEADER_BYTES are
                              enough; ends the headers at the first empty line */
    int64_t now_wall_ms;   /* Unix time, for Date and Last-Attempt-Date */
};

/* Writes the DSN, LIMIT_DSN_BYTES at most. The same input gives the same bytes: a retry sends
 * the same notification. E_FULL: size is too small; *n is 0. E_NOTFOUND: nothing to report (no
 * bounced or expired recipient, or a null sender). */
MUST_CHECK enum err dsn_build(const struct dsn_in *in, char *buf, size_t size, size_t *n);
