/*
 * dns_data: what a DNS answer says, for the pure modules that judge by it and for the resolver
 * that fills it (node/net/dns). Silence, SERVFAIL, bogus, NXDOMAIN and NODATA are different
 * answers: only NXDOMAIN and NODATA are statements about a name, and "no answer" is never one
 * of them, nor is one whose signatures are wrong (RFC 4033 5: bogus).
 *
 * Plain data, fixed size, may be copied. Threads: any.
 * Limits: LIMIT_DNS_RECORDS, LIMIT_DNS_TEXT_BYTES; what does not fit sets `cut`.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

enum dns_status {
    DNS_OK,
    DNS_NXDOMAIN,
    DNS_NODATA,
    DNS_SERVFAIL,
    DNS_BOGUS, /* the resolver failed, but has an answer for who does not want it checked */
    DNS_SILENCE,
    DNS_STATUSES
};
enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28 };

struct dns_record {
    uint16_t preference;                    /* MX */
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* MX, PTR: lower case, no final dot; "": the root,
                                               of an MX the null MX */
    struct in6_addr addr;                   /* AAAA; A in the first 4 bytes */
    uint32_t text_at, text_n;               /* TXT: see dns_text() */
};

struct dns_answer {
    enum dns_status status;
    uint32_t ttl_s; /* least of the records; of NXDOMAIN and NODATA how long that counts, 0: not
                       told (RFC 2308 5) */
    size_t count;   /* 0 unless DNS_OK */
    bool is_authentic; /* a resolver on this machine has checked its signatures */
    bool cut; /* there were more records, or longer ones, than fit; DNS_OK even with count 0 */
    struct dns_record records[LIMIT_DNS_RECORDS];
    size_t text_n;
    char text[LIMIT_DNS_TEXT_BYTES]; /* of all TXT records */
};

/* An answer without records. What is behind `count` and `text_n` is not written: 34 KiB that
 * nobody looks at. */
static inline void dns_answer_clear(struct dns_answer *a, enum dns_status status)
{
    a->status = status;
    a->ttl_s = 0;
    a->count = 0;
    a->is_authentic = false;
    a->cut = false;
    a->text_n = 0;
}

/* The text of a TXT record: its strings joined without anything between them (RFC 7208 3.3).
 * Any bytes. Borrowed from the answer. */
struct str dns_text(const struct dns_answer *a, size_t record);

/* Whether a name, in text form and without final dot, can be asked for: labels of 1 to 63
 * bytes, LIMIT_SMTP_DOMAIN_BYTES in all, printable ASCII. Wider than a host name (underscores,
 * spaces and the like are legal in DNS), but for the backslash, which is an escape in text. */
bool dns_name_is_legal(struct str name);

const char *dns_status_text(enum dns_status s);
