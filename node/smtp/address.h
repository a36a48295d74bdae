/*
 * address: the arguments of MAIL and RCPT. RFC 5321 4.1.2 (Reverse-path, Forward-path,
 * Mailbox), 4.1.1.11 (parameters), RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8).
 *
 * Strict where a lenient reading could become a relay: the domain is what stands behind the one
 * @ outside quotes, it is letters, digits and hyphens in labels, or an address literal; no
 * final dot, no source route, no second @, nothing behind the > but parameters. The local part
 * is never interpreted: it is passed on byte for byte. With SMTPUTF8 (RFC 6531 3.3) atoms,
 * quoted strings and labels may hold UTF-8; what a label of it is, is not judged here. Lenient
 * in one thing: spaces between the colon and the <, which real senders put there, change
 * nothing.
 *
 * Pure. Threads: any. All struct str of the results borrow from the argument.
 * Limits: LIMIT_SMTP_PATH_BYTES, LIMIT_SMTP_LOCAL_PART_BYTES (recipients only: senders in the
 * field use longer ones, for VERP and SRS), LIMIT_SMTP_DOMAIN_BYTES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct path {
    struct str whole;   /* without <>; empty for the null sender                      */
    struct str local;   /* as given, quotes included                                  */
    struct str domain;  /* as given; a literal with its brackets; empty for bare      *
                         * postmaster and the null sender                             */
    bool is_null;       /* <>, MAIL only                                              */
    bool is_postmaster; /* <postmaster> without a domain, any case, RCPT only         */
    bool relay_form;    /* valid, but the local part holds % or !, or a quoted @: a   *
                         * form that asks some servers to relay. Never interpreted    */
    bool literal;       /* the domain is an address literal                           */
    bool utf8;          /* some byte is not ASCII                                     */
};

struct mail_params {
    uint64_t size_bytes; /* SIZE=, or 0; UINT64_MAX when it has 20 digits and no room */
    bool has_size;
    bool has_body;  /* BODY= was given                                           */
    bool eight_bit; /* BODY=8BITMIME                                             */
    bool smtputf8;  /* SMTPUTF8                                                  */
};

enum address_verdict {
    ADDRESS_OK,
    ADDRESS_SYNTAX,          /* 501 5.1.7 or 5.1.3                                     */
    ADDRESS_CONTROL,         /* 501: NUL or another control byte                       */
    ADDRESS_EIGHT_BIT,       /* 501 5.6.7: needs SMTPUTF8, which was not said          */
    ADDRESS_SOURCE_ROUTE,    /* 501: <@a,@b:c@d>                                       */
    ADDRESS_TOO_LONG,        /* 501: one of the limits above                           */
    ADDRESS_PARAM_SYNTAX,    /* 501 5.5.4                                              */
    ADDRESS_PARAM_DUPLICATE, /* 501 5.5.4                                              */
    ADDRESS_PARAM_UNKNOWN,   /* 555 5.5.4                                              */
};

/* Parses what stands behind "MAIL FROM:". On anything but ADDRESS_OK the outputs are empty. */
MUST_CHECK enum address_verdict address_parse_mail(struct str arg, struct path *path,
                                                   struct mail_params *params);

/* Parses what stands behind "RCPT TO:"; no parameter is known there. smtputf8: MAIL said so. */
MUST_CHECK enum address_verdict address_parse_rcpt(struct str arg, bool smtputf8,
                                                   struct path *path);

/* The reply for a verdict that is not ADDRESS_OK: static, without CRLF. */
const char *address_reply(enum address_verdict v, bool of_rcpt);

/* A domain name in the one form in which domains are stored and compared: lower case, labels of
 * 1 to 63 letters, digits and inner hyphens, at most LIMIT_SMTP_DOMAIN_BYTES, no final dot.
 * False, and *out empty, for anything else (a literal, an 8-bit name, a final dot). *out lies
 * in buf. */
MUST_CHECK bool domain_normalize(struct str domain, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                                 struct str *out);

/* Whose mail it is: the domain of a recipient in that form, to be looked up exactly. False: it
 * is nobody's, an address literal or a form that asks some servers to relay. Not for a bare
 * postmaster. */
MUST_CHECK bool address_owner(const struct path *rcpt, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                              struct str *out);

/* Whether s is an address literal of RFC 5321 4.1.3 with its brackets: [192.0.2.1] or
 * [IPv6:2001:db8::1]. General address literals (other tags) are not one. */
bool address_is_literal(struct str s);
