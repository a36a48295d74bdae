/*
 * digest: the mail in which the owner of a domain is told of mail that ended undelivered and
 * whose sender was not told. RFC 5322, 3834 (Auto-Submitted); text/plain, 7-bit, lines below
 * 998 bytes that end in CRLF.
 *
 * Hostile text: addresses and replies come from outside. Bytes outside 0x20..0x7e become '?'.
 * It quotes nothing of the mail itself.
 *
 * Use: digest_begin(), digest_add() for each message, digest_end(). What does not fit is
 * counted, not listed.
 *
 * Pure: no I/O, no heap, no clock. Threads: one owner.
 * Limits: LIMIT_DIGEST_ROWS_BYTES of rows; LIMIT_DIGEST_BYTES always suffices for the whole.
 */
#pragma once

#include "base/err.h"
#include "base/limits.h"
#include "proto/envelope.h"

struct digest {
    char *rows; /* LIMIT_DIGEST_ROWS_BYTES, the caller's */
    size_t n;
    uint64_t messages, rcpts; /* all that were added */
    uint64_t listed;          /* messages of them that have rows */
};

struct digest_in {
    struct str hostname; /* ours: From, Message-ID; a checked name */
    struct str domain;   /* whose mail it is */
    struct str to;       /* the owner; domain_digest_check() took it */
    uint64_t generation; /* of the domain; with until_ms it makes the Message-ID */
    uint64_t until_ms;
    int64_t now_wall_ms; /* Unix time, for Date */
};

/* A settled message of whose end somebody should know and its sender was not told: a recipient
 * was refused for good, or expired. */
bool digest_tells(const struct envelope *e);
/* When it ended, cluster time: not before the holder's word, wherever this copy lies. */
uint64_t digest_ended_ms(const struct envelope *e);
/* One recipient of it is among those. */
bool digest_tells_of(const struct rcpt *r);

void digest_begin(struct digest *d, char rows[LIMIT_DIGEST_ROWS_BYTES]);
/* Of a message that digest_tells() of. */
void digest_add(struct digest *d, const struct envelope *e);
/* Writes the whole message. The same input gives the same bytes. */
size_t digest_end(const struct digest *d, const struct digest_in *in,
                  char buf[LIMIT_DIGEST_BYTES]);
