/*
 * received: the one Received field that is put in front of each message. RFC 5321 4.4, keyword
 * behind "with" by RFC 3848, date by RFC 5322 3.3.
 *
 *   Received: from client.example ([192.0.2.1]) by mx1.example (trispool NAME)
 *   	with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)
 *   	id 00040000000010000000000003 for <a@b.example>;
 *   	Tue, 24 Nov 2026 01:46:56 +0000
 *
 * Folded so that lines stay below 78 bytes unless one clause alone is longer. Nothing a client
 * said can add a line or leave its clause: a HELO name that is neither a domain nor an address
 * literal is left out (the address stands in its place), a recipient with other than printable
 * ASCII too.
 *
 * Pure. Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mid.h"
#include "base/str.h"

#define RECEIVED_SIZE 2048 /* bytes; room for every part at its limit, folding included */

struct received {
    struct str helo;        /* what the client said in EHLO or HELO                       */
    struct str client_addr; /* text form: 192.0.2.1 or 2001:db8::1                        */
    struct str host;        /* our own name, as in the banner                             */
    struct str cluster;     /* as for headerscan_init()                                   */
    bool esmtp;             /* EHLO, not HELO                                             */
    bool smtputf8;          /* MAIL said SMTPUTF8: UTF8SMTP, UTF8SMTPS (RFC 6531 4.3)     */
    struct str tls;         /* "TLSv1.3 TLS_AES_256_GCM_SHA384", empty without TLS        */
    struct mid id;
    struct str above; /* fields that go above it, each with its CRLF; or empty. Not for
                         received_format()                                          */
    struct str rcpt;  /* path of the only recipient without <>; empty: more than one,
                         which would tell each of them the others (RFC 5321 7.6)     */
    int64_t wall_ms;  /* Unix time                                                  */
};

/* Writes the field with its final CRLF into buf and returns it. Always fits. */
struct str received_format(const struct received *r, char buf[static RECEIVED_SIZE]);

/* Writes the date-time of RFC 5322 in UTC, 31 bytes and a NUL; years 1970 to 9999, others are
 * clamped. Returns buf. */
#define RFC5322_DATE_SIZE 32
const char *rfc5322_date(int64_t wall_ms, char buf[static RFC5322_DATE_SIZE]);
