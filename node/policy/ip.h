/*
 * ip: addresses of clients, in the one form in which the policy compares them. 16 bytes in
 * network order; an IPv4 address is ::ffff:a.b.c.d, so that a client is the same on a socket of
 * either family. RFC 4291 2.2 and 2.5.5.2, RFC 5952.
 *
 * Pure, plain data. Threads: any. All lengths of networks (`bits`) count from the first of the
 * 128 bits: the network a.b.c.d/24 has 120.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct ip_addr {
    uint8_t b[16];
};

#define IP_BITS          128
#define IP_V4_BITS       96 /* where an IPv4 address begins */
#define IP_TEXT_BYTES    46 /* with a NUL */
#define IP_REVERSE_BYTES 64 /* with a NUL: 32 nibbles and the dots between them */

struct ip_addr ip_v4(const uint8_t b[4]);
bool ip_is_v4(const struct ip_addr *ip);
bool ip_eq(const struct ip_addr *a, const struct ip_addr *b);

/* "192.0.2.1" (four decimal numbers without leading zeros) or an IPv6 address without brackets
 * and zone. False, and *out untouched, for anything else. */
bool ip_parse(struct str text, struct ip_addr *out);

/* The text of it, lower case; IPv4 in dots. The result, with a NUL behind it, lies in buf. */
struct str ip_text(const struct ip_addr *ip, char buf[static IP_TEXT_BYTES]);

/* All bits but the first `bits` (0 to IP_BITS) cleared. */
struct ip_addr ip_network(const struct ip_addr *ip, unsigned bits);

/* The labels below which DNS keeps what it knows of an address, without a zone: "1.2.0.192" of
 * 192.0.2.1 (RFC 1035 3.5), 32 nibbles of an IPv6 address (RFC 3596 2.5). In buf, with a NUL.
 */
struct str ip_reverse(const struct ip_addr *ip, char buf[static IP_REVERSE_BYTES]);

/* The 32 nibbles of any address, an IPv4 address in its ::ffff: form included. */
struct str ip_nibbles(const struct ip_addr *ip, char buf[static IP_REVERSE_BYTES]);
