/*
 * dns: look-ups of MX, A and AAAA through c-ares, without ever holding up a loop.
 *
 * Silence, SERVFAIL, NXDOMAIN and NODATA are different answers: only the last two are
 * statements about a name, and "no answer" is never one of them. Every query is answered within
 * LIMIT_DNS_MS, whatever servers do. Answers are parsed with bounds (glibc ns_initparse).
 * Threads: one handle per thread of an event base; callbacks run in it, never inside
 * dns_query(). Limits: LIMIT_DNS_QUERIES under way; more are answered DNS_SERVFAIL at once
 * (next turn).
 */
#pragma once

#include <event2/event.h>
#include <netinet/in.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum dns_status { DNS_OK, DNS_NXDOMAIN, DNS_NODATA, DNS_SERVFAIL, DNS_SILENCE };
enum dns_type { DNS_A = 1, DNS_MX = 15, DNS_AAAA = 28 };

struct dns_record {
    uint16_t preference;                    /* MX */
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* MX: lower case, no final dot; "" = null MX */
    struct in6_addr addr;                   /* AAAA; A in the first 4 bytes */
};

struct dns_answer {
    enum dns_status status;
    uint32_t ttl_s; /* least of the records */
    size_t count;
    struct dns_record records[LIMIT_DNS_RECORDS];
};

typedef void dns_done(void *arg, const struct dns_answer *answer); /* borrowed */

struct dns;

/* servers: "127.0.0.1:53,[::1]:53", or NULL for the system's resolv.conf. E_PROTO: not such a
 * list. */
MUST_CHECK enum err dns_open(struct event_base *base, const char *servers, struct dns **out);
void dns_close(struct dns **d); /* callbacks of queries under way are not called any more */

void dns_query(struct dns *d, const char *name, enum dns_type type, dns_done *done, void *arg);

/* Parses one DNS message; for tests and the fuzzer. */
void dns_parse(const unsigned char *msg, int n, enum dns_type type, struct dns_answer *out);

const char *dns_status_text(enum dns_status s);
