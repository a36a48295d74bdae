/*
 * prefix: a set of networks (CIDR, RFC 4632 and RFC 4291 2.3) of both families with a value
 * each, and the longest one that an address lies in: block and allow lists. Built once from a
 * list, then only read.
 *
 * An IPv4 address, and a network of IPv4 addresses, may be given as ::ffff:a.b.c.d; it counts
 * as IPv4 in all. A network of IPv6 that is shorter than that (::/0) holds no IPv4 address.
 *
 * Inside, the networks are flattened into ranges without overlap, sorted by where they begin;
 * an address is found by bisection, first among every 64th of them, then among 64.
 *
 * Pure. Threads: a set is built by one; any number may read it at the same time without a lock.
 * A list that changes is built anew and published as a snapshot (base/snapshot.h):
 *     snapshot_publish(s, prefix_set_new(entries, count));    prefix_set_drop is its free_value
 * Limits: LIMIT_PREFIXES. Memory: at most 64 bytes a network of IPv6 and 40 of IPv4, and 256
 * KiB.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "node/policy/ip.h"

/* No bit behind the first `bits` is set in ip; of IPv4: IP_V4_BITS and more. */
struct prefix {
    struct ip_addr ip;
    uint8_t bits;
};

#define PREFIX_TEXT_BYTES (IP_TEXT_BYTES + 4)

enum prefix_verdict {
    PREFIX_OK,
    PREFIX_NO_ADDRESS, /* what stands before the slash is no address */
    PREFIX_NO_LENGTH,  /* what stands behind it is no length of this family */
    PREFIX_HOST_BITS,  /* 192.0.2.1/24: *out is 192.0.2.0/24, which is perhaps meant */
};

/* Reads "192.0.2.0/24", "2001:db8::/32", or an address alone, which is its own network. On
 * NO_ADDRESS and NO_LENGTH *out is untouched. */
MUST_CHECK enum prefix_verdict prefix_parse(struct str text, struct prefix *out);

/* A sentence for the operator; static. */
const char *prefix_verdict_text(enum prefix_verdict v);

/* The canonical text, always with a length; two networks are equal when their texts are. In
 * buf, with a NUL. */
struct str prefix_text(const struct prefix *p, char buf[static PREFIX_TEXT_BYTES]);

bool prefix_holds(const struct prefix *p, const struct ip_addr *ip);

struct prefix_entry {
    struct prefix prefix;
    uint32_t value; /* the owner's: what it knows of this network */
};

struct prefix_set;

/* Borrows the entries, in any order. Of two for the same network the later one counts. NULL:
 * more than LIMIT_PREFIXES, or out of memory. An empty set is fine. */
struct prefix_set *prefix_set_new(const struct prefix_entry *entries, size_t count);
void prefix_set_free(struct prefix_set **set); /* *set is NULL afterwards; NULL is fine */
void prefix_set_drop(void *set);               /* the same, for snapshot_new() */

/* The entry of the longest network that holds ip, or NULL. Lives as long as the set. */
const struct prefix_entry *prefix_set_find(const struct prefix_set *set,
                                           const struct ip_addr *ip);

size_t prefix_set_count(const struct prefix_set *set); /* networks, each counted once */
size_t prefix_set_bytes(const struct prefix_set *set); /* memory that it holds */
