/*
 * dns: look-ups of MX, A, AAAA, PTR and TXT through c-ares, without ever holding up a loop.
 *
 * What an answer may be: base/dns_data.h. Every query is answered within LIMIT_DNS_MS, whatever
 * servers do. Answers are parsed with bounds (glibc ns_initparse).
 * DNSSEC is the resolver's to validate. Each question asks for its word on it (AD, RFC 6840
 * 5.7), which is believed of resolvers on this machine alone. A failure is asked for once more
 * unchecked (CD): when there is an answer then, the first one was DNS_BOGUS.
 * Threads: one handle per thread of an event base; callbacks run in it, never inside
 * dns_query(). Limits: LIMIT_DNS_QUERIES under way; more are answered DNS_SERVFAIL at once
 * (next turn).
 */
#pragma once

#include <event2/event.h>

#include "base/dns_data.h"
#include "base/err.h"

typedef void dns_done(void *arg, const struct dns_answer *answer); /* borrowed */

struct dns;

/* servers: "127.0.0.1:53,[::1]:53", or NULL for the system's resolv.conf. E_PROTO: not such a
 * list. */
MUST_CHECK enum err dns_open(struct event_base *base, const char *servers, struct dns **out);
void dns_close(struct dns **d); /* callbacks of queries under way are not called any more */

/* Keeps what was found, and that nothing was, for its TTL, a minute at most (dns_cache.h): for
 * who asks the same again and again. */
void dns_keep_answers(struct dns *d);

/* name: with or without a final dot. One that is not legal (dns_name_is_legal()) is never sent,
 * and is answered DNS_NXDOMAIN: there is no such name. */
void dns_query(struct dns *d, const char *name, enum dns_type type, dns_done *done, void *arg);

/* Whether the resolver validates: of the root's address, which is not there, as the root's
 * signatures say. Never kept. The answer: is_authentic, or nothing that counts (SERVFAIL, ...).
 */
void dns_probe(struct dns *d, dns_done *done, void *arg);

/* Parses one DNS message; for tests and the fuzzer. */
void dns_parse(const unsigned char *msg, int n, enum dns_type type, struct dns_answer *out);
