/*
 * headers: whether a message's header section is well-formed, while it streams by. RFC
 * 5322 2.2, 3.6, RFC 6532. Fed with the spans of bodyscan, beside headerscan (which counts hops
 * and cannot be switched off).
 *
 * What is refused: a line that is neither field nor continuation (an mbox "From " line too); a
 * name of other bytes than 33 to 126; no From or no Date, or an empty one; a second From, Date,
 * Sender, Reply-To, To, Cc, Bcc, Message-ID, In-Reply-To, References or Subject; bytes above
 * 127 without SMTPUTF8, and with it what is no UTF-8; NUL, bare CR, bare LF; a line longer than
 * LIMIT_HEADER_LINE_BYTES; more than LIMIT_HEADER_BYTES in all.
 *
 * What is not, since real mailers write it: white space before the colon and lines of white
 * space within a field (obsolete forms that RFC 5322 4 asks to be read), control bytes (ESC of
 * ISO-2022-JP), repeated fields of MIME, empty To and Subject, a message that ends with its
 * header. What stands in a field is not read.
 *
 * Pure, fixed memory, any segmentation gives the same result. Threads: any. The first fault is
 * the one reported; nothing is looked at behind it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "base/utf8.h"

enum headers_verdict {
    HEADERS_OK,
    HEADERS_NOT_A_FIELD,
    HEADERS_BAD_BYTE, /* NUL, bare CR, bare LF */
    HEADERS_EIGHT_BIT,
    HEADERS_NOT_UTF8,
    HEADERS_LINE_TOO_LONG,
    HEADERS_TOO_BIG,
    HEADERS_TWICE,   /* .field */
    HEADERS_EMPTY,   /* .field: From or Date */
    HEADERS_MISSING, /* .field: From or Date */
};

struct headers {
    enum headers_verdict verdict; /* once done */
    uint64_t line;                /* where the fault is, from 1; MISSING: the last one */
    const char *field;            /* static; NULL: none */
    bool done;                    /* the section has ended, or a fault was found */

    /* private */
    bool smtputf8;
    int at, current; /* current: index of a singleton, -1: another field */
    bool in_field, has_text;
    uint32_t seen; /* bit set of singletons */
    uint64_t header_bytes, line_bytes;
    uint32_t name_n; /* bytes of the name, those not kept included */
    char name[sizeof "In-Reply-To" - 1];
    struct utf8 utf8;
};

void headers_init(struct headers *h, bool smtputf8);

/* Looks at the next bytes; cheap once h->done. */
void headers_feed(struct headers *h, struct str span);

/* The message has ended (or what follows is of no interest): a header without a body ends here.
 */
enum headers_verdict headers_end(struct headers *h);

#define HEADERS_REPLY_BYTES 128

/* "550 5.6.0 Header line 7: a second Subject field" ("552 5.3.4 ..." for TOO_BIG), without
 * CRLF. Of faults only. In buf, with a NUL. */
struct str headers_reply(const struct headers *h, char buf[static HEADERS_REPLY_BYTES]);
const char *headers_verdict_text(enum headers_verdict v); /* "twice", for the log; static */
