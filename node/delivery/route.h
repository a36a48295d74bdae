/*
 * route: from DNS answers to the addresses a domain's mail may go to. RFC 5321 5.1, RFC 7505.
 * Pure: the shell looks names up, passes what it got, and receives an ordered list of addresses
 * or the reason why there is none. No reason ever ends a message: each one means "keep the
 * mail, say so, look again" (INV-7).
 *
 * The way of the shell for a domain without a static route:
 *   1. look up MX;
 *   2. route_plan(): which host names to look up, best first, us and worse than us left out;
 *   3. look up A and AAAA of these;
 *   4. route_build(): the addresses in the order in which they are to be tried.
 * With a static route: look up its hosts (literals need none), then route_build_static().
 *
 * Rules, and the traps they close:
 * - Every MX of a preference equal to or above the lowest one at which a name or an address of
 *   ours or of a sibling stands is left out: mail never goes round (RFC 5321 5.1).
 * - We are the best that is listed: LOOPS_TO_SELF. A better host is listed but does not
 * resolve: NO_ANSWER or NO_ADDRESS, "the primary cannot be found", which is no loop.
 * - No MX record at all: the domain itself is its host (implicit MX), but only when DNS said
 * so. Silence, SERVFAIL or a bogus signature is never "no MX".
 * - Never to unspecified, loopback, private, link-local, multicast or reserved addresses,
 *   whatever DNS says, IPv4 inside IPv6 (mapped, NAT64, 6to4) included, unless allow_private is
 *   set; never to multicast or unspecified ones at all. Static routes are the operator's word:
 *   neither this rule nor that of our own addresses applies to them.
 * - Equal preferences are shuffled; addresses of one preference among each other too.
 *
 * Threads: any; no state. Limits: LIMIT_ROUTE_HOSTS, LIMIT_ROUTE_HOST_ADDRS, LIMIT_ROUTE_ADDRS;
 * what is above them is left out, worst preference first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/prng.h"
#include "base/str.h"

/* An IPv6 address in network order; IPv4 as ::ffff:a.b.c.d. */
struct route_ip {
    uint8_t b[16];
};

struct route_ip route_ip_v4(const uint8_t b[4]);
bool route_ip_is_v4(struct route_ip ip);
bool route_ip_eq(struct route_ip a, struct route_ip b);
/* Not an address of the public Internet, see "Rules". */
bool route_ip_is_private(struct route_ip ip);

/* What DNS said to one question. */
enum route_lookup {
    ROUTE_LOOKUP_NO_ANSWER, /* timeout, SERVFAIL, REFUSED, bogus, malformed: nothing is known */
    ROUTE_LOOKUP_FOUND,
    ROUTE_LOOKUP_NODATA,  /* the name exists, not with this type */
    ROUTE_LOOKUP_NXDOMAIN /* the name does not exist */
};

enum route_result {
    ROUTE_OK,
    ROUTE_NO_ANSWER,     /* DNS gave no usable answer                                      */
    ROUTE_NO_DOMAIN,     /* DNS says that the domain does not exist                        */
    ROUTE_NO_MX,         /* neither MX nor address                                         */
    ROUTE_NO_ADDRESS,    /* hosts better than us are listed; none of them has an address   */
    ROUTE_NULL_MX,       /* the domain says that it takes no mail (RFC 7505)               */
    ROUTE_LOOPS_TO_SELF, /* we, or a sibling, are the best host listed                     */
    ROUTE_ALL_PRIVATE,   /* all addresses are such that we must not connect to them        */
    ROUTE_RESULTS
};

/* Lower-case words for log and console: "no-answer"; static. */
const char *route_result_text(enum route_result r);

/* One MX record. A single dot stands as an empty host. */
struct route_mx {
    struct str host;
    uint16_t pref;
};

/* The names and addresses of this node and its siblings, as senders and DNS see them. Names in
 * any case, with or without final dot. */
struct route_self {
    const struct str *names;
    size_t name_count;
    const struct route_ip *ips;
    size_t ip_count;
};

/* A host and what its two look-ups said. */
struct route_host {
    struct str name; /* for EHLO logs, SNI and certificates; an address literal as text */
    uint16_t pref;   /* static routes: not read, the order of the array counts            */
    uint16_t port;   /* 0: 25 */
    enum route_lookup a, aaaa; /* literal: FOUND for its family, NODATA for the other */
    const struct route_ip *ips;
    size_t ip_count;
};

struct route_addr {
    struct route_ip ip;
    uint16_t port;
    uint16_t pref;   /* lower is better; static routes: position of the host */
    struct str host; /* borrowed from the query */
};

/* About 4 KiB; strings are borrowed from what it was made of. */
struct route {
    enum route_result result;
    uint32_t ttl_s; /* copied from the query */
    size_t count;   /* above 0 only with ROUTE_OK */
    struct route_addr addrs[LIMIT_ROUTE_ADDRS];
};

/* What step 2 says. With result ROUTE_OK, hosts[] are to be looked up; with any other the route
 * is known to be that already (route_build() would say the same). Strings are borrowed. */
struct route_plan {
    enum route_result result;
    bool is_implicit; /* no MX: hosts[0] is the domain itself */
    bool knows_self;  /* one of our names is listed, at self_pref the best of them */
    uint16_t self_pref;
    size_t count;
    struct route_mx hosts[LIMIT_ROUTE_HOSTS];
};

/* `mx` with `count` records is the answer when lookup is FOUND. */
void route_plan(struct str domain, enum route_lookup lookup, const struct route_mx *mx,
                size_t count, const struct route_self *self, struct prng *rng,
                struct route_plan *out);

struct route_query {
    const struct route_plan *plan;  /* of route_plan(), result ROUTE_OK                   */
    const struct route_host *hosts; /* plan->count of them, in the same order             */
    const struct route_self *self;
    struct prng *rng;
    uint32_t ttl_s;     /* smallest of all answers                            */
    bool allow_private; /* laboratory and test: private addresses are allowed */
};

void route_build(const struct route_query *q, struct route *out);

/* Static route: hosts in the order in which they are tried. */
void route_build_static(const struct route_host *hosts, size_t count, uint32_t ttl_s,
                        struct route *out);
