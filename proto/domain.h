/*
 * domain: a customer's domain as the control store keeps it, with its checks and text forms.
 * Plain data; strings point into an arena or a buffer of whoever made it.
 *
 * Life of a domain:
 *
 *            DOMAIN_ADD            DOMAIN_REMOVE           DOMAIN_DROP
 *   (none) ------------> open -------------------> closing -----------> (none)
 *                          ^   DOMAIN_PUT (reopen)    |
 *                          +--------------------------+
 *
 * open:    mail is taken and delivered.
 * closing: no new mail is taken; what is queued is still delivered, bounced, expired or purged
 *          under this record. When no message of this generation is left, the node that holds
 *          the domain's slot proposes DOMAIN_DROP. The name cannot be added anew before that.
 * The generation is the log index of the adding. It stands in every envelope, so that a domain
 * that was removed and added by another tenant never gets old mail: a message whose generation
 * is not the current one is not delivered to the new route; it stays visible to the operator
 * until it expires or is deleted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct domain_host {
    struct str host;     /* a name in A-labels, lower case, or an address without brackets */
    uint16_t port;       /* 25 when the text says none                                     */
    uint16_t preference; /* lower first, equal ones share; as in MX records                */
};

/* Stored; the values are part of the disk format. */
enum route_kind {
    ROUTE_MX = 1,    /* the MX of the domain, without ourselves */
    ROUTE_STATIC = 2 /* the hosts below                         */
};

struct domain_route {
    enum route_kind kind;
    uint32_t host_count; /* 0 for ROUTE_MX, else 1 .. LIMIT_ROUTE_HOSTS */
    struct domain_host hosts[LIMIT_ROUTE_HOSTS];
};

/* TLS towards the primary. Stored. */
enum domain_tls {
    DOMAIN_TLS_OPPORTUNISTIC = 0, /* when offered; any certificate; else in the clear */
    DOMAIN_TLS_REQUIRE = 1,       /* no TLS, no delivery: the mail waits              */
    DOMAIN_TLS_OFF = 2            /* never                                            */
};

/* 8-bit mail for a primary without 8BITMIME. Stored. */
enum domain_eight_bit { DOMAIN_EIGHT_BIT_PASS = 0, DOMAIN_EIGHT_BIT_HOLD = 1 };

/* Which senders are told of mail that ended undelivered. Stored. */
enum domain_dsn {
    DOMAIN_DSN_AUTHENTICATED = 0, /* those for whom SPF passed at receipt */
    DOMAIN_DSN_ALL = 1,           /* whoever stands in MAIL FROM          */
    DOMAIN_DSN_NONE = 2
};

/* The checks at the door of a domain. Stored: the place in the list, two bits each; in which
 * order they may refuse is node/policy/judge's. */
enum domain_check_kind {
    DOMAIN_CHECK_RDNS,     /* the client's name by reverse DNS, confirmed                  */
    DOMAIN_CHECK_SENDER,   /* whether the sender's domain can take an answer               */
    DOMAIN_CHECK_SPF,      /* whether the sender's domain lets this client send (RFC 7208) */
    DOMAIN_CHECK_HEADERS,  /* whether the header is well-formed (RFC 5322)                 */
    DOMAIN_CHECK_DNSBL,    /* whether lists in DNS name the client (RFC 5782)              */
    DOMAIN_CHECK_HELO,     /* whether the name in HELO can be one of the client's          */
    DOMAIN_CHECK_FORGED,   /* whether a domain served here is the sender, and SPF knows    */
    DOMAIN_CHECK_GREYLIST, /* whether the client has come again, or is known               */
    DOMAIN_CHECK_SERVER,   /* what the node's policy server says                           */
    DOMAIN_CHECK_KINDS
};

/* What a verdict against the client leads to. Stored. */
enum domain_check_mode {
    CHECK_OFF = 0,    /* not even looked at */
    CHECK_MARK = 1,   /* logged and counted */
    CHECK_DEFER = 2,  /* refused with a 4xx; not of headers: another try would be the same */
    CHECK_REFUSE = 3, /* refused with a 5xx; not of greylist: it wants to see another try  */
};

/* Which recipients a domain has. Stored. */
enum domain_recipients {
    RECIPIENTS_ANY = 0,  /* nobody knows: all are taken                           */
    RECIPIENTS_LIST = 1, /* those of its list (proto/roster.h); others are refused */
    RECIPIENTS_LEARN = 2 /* the same, and whom its primary takes; of others see below */
};

/* What a domain that learns does with recipients of whom nothing is known. Stored. */
enum domain_unknown {
    UNKNOWN_AUTHENTICATED = 0, /* taken of senders that SPF passes; else deferred */
    UNKNOWN_ACCEPT = 1,        /* taken                                           */
    UNKNOWN_DEFER = 2          /* deferred                                        */
};

struct domain {
    struct str name; /* A-labels, lower case, no final dot */
    struct domain_route route;
    uint32_t hold_s; /* 0: that of the plan */
    enum domain_tls tls;
    enum domain_eight_bit eight_bit;
    enum domain_dsn dsn;
    bool paused;              /* taken and kept, not delivered, until an operator resumes it */
    struct str plan;          /* empty: the defaults of limits.h                             */
    uint32_t max_connections; /* to its primary; 0: that of the plan                         */
    uint8_t checks[DOMAIN_CHECK_KINDS]; /* enum domain_check_mode */
    enum domain_recipients recipients;
    char separator;              /* of sub-addresses: john+list@ is john@; 0: none */
    enum domain_unknown unknown; /* counts for RECIPIENTS_LEARN */
    bool smtputf8;     /* its primary takes internationalised mail (RFC 6531), so we may */
    struct str digest; /* address of the owner, who is told there of mail that ended undelivered
                          and whose sender was not told; empty: nobody is */

    /* Set by the store; ignored in a command. */
    uint64_t generation; /* log index of the adding            */
    uint64_t changed;    /* log index of the last change       */
    bool closing;        /* removed, but mail of it is left    */
};

/* NULL: a name the store takes: labels of a-z, 0-9 and inner hyphens, 1 to 63 bytes, at least
 * two of them, the last one not a number, 253 bytes in all (RFC 1035 2.3.4, RFC 5890 2.3.1).
 * Else why not: static text that fits behind "domain: ". Upper case is refused: lower it
 * first. Names in other scripts come as A-labels. */
const char *domain_name_check(struct str name);

/* NULL: an address that the owner of a domain can be told at: a local part of 1 to
 * LIMIT_SMTP_LOCAL_PART_BYTES without quotes (RFC 5321 4.1.2, Dot-string), @, and a name that
 * domain_name_check() takes. Else why not, static. */
const char *domain_digest_check(struct str address);

/* NULL: limits and texts of the whole record are fine; else why not, static. */
const char *domain_check(const struct domain *d);

/* Route text: "mx", or hosts in the order of trying, separated by commas:
 *
 *   host[:port][=preference]     mail.example.com:2525,192.0.2.7,[2001:db8::7]:25=10
 *
 * Without "=" the preference is the place in the list, from 0. Blanks around commas are
 * skipped, names are lowered, addresses brought to their shortest form.
 * NULL: done, *out points into `a`. Else why not, static, and *at is the byte of `text` where
 * (for a caret). */
MUST_CHECK const char *route_parse(struct str text, struct arena *a, struct domain_route *out,
                                   size_t *at);

/* Room for the text of every route, with its NUL. */
#define ROUTE_TEXT_SIZE (LIMIT_ROUTE_HOSTS * (LIMIT_SMTP_DOMAIN_BYTES + 16) + 1)

/* Writes the text that route_parse() reads back, and a NUL; returns its length. */
size_t route_format(const struct domain_route *r, char buf[ROUTE_TEXT_SIZE]);

/* Checks text: "sender=refuse,spf=mark", each kind at most once; "all=MODE" first sets them all
 * (those that cannot defer refuse, those that cannot refuse defer). What is not named stays as
 * it is in `checks`. NULL: done. Else why not, static, and *at is the byte of `text` where;
 * `checks` is as it was.
 */
MUST_CHECK const char *checks_parse(struct str text, uint8_t checks[DOMAIN_CHECK_KINDS],
                                    size_t *at);
const char *check_mode_text(uint8_t mode);                /* "mark"; static */
const char *check_kind_text(enum domain_check_kind kind); /* "rdns"; static */
/* All kinds, in their order: what checks_parse() reads back. Returns the length. */
#define CHECKS_TEXT_SIZE 256
size_t checks_format(const uint8_t checks[DOMAIN_CHECK_KINDS], char buf[CHECKS_TEXT_SIZE]);

/* "opportunistic", "require", "off"; "pass", "hold"; "any", "list", "learn"; "authenticated",
 * "accept", "defer"; "authenticated", "all", "none". Parsing: false if it is none of them. */
const char *domain_tls_text(enum domain_tls tls);
bool domain_tls_parse(struct str text, enum domain_tls *out);
const char *domain_eight_bit_text(enum domain_eight_bit e);
bool domain_eight_bit_parse(struct str text, enum domain_eight_bit *out);
const char *domain_recipients_text(enum domain_recipients r);
bool domain_recipients_parse(struct str text, enum domain_recipients *out);
const char *domain_dsn_text(enum domain_dsn d);
bool domain_dsn_parse(struct str text, enum domain_dsn *out);
const char *domain_unknown_text(enum domain_unknown u);
bool domain_unknown_parse(struct str text, enum domain_unknown *out);
