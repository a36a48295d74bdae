/*
 * helo: whether the name that a client gives itself can be one of its names. RFC 5321 4.1.1.1,
 * 4.1.3, 4.1.4. Nothing is looked up: a name that does not resolve, or to another address, is
 * common with honest senders, and rdns.h judges names better.
 *
 * Never the name of a mail server, and so may refuse: an address without brackets; the public
 * address of somebody else in brackets; our own names, which only we have; what is neither a
 * host name nor an address literal.
 *
 * Lenient where honest servers are sloppy (docs/decisions/0015): underscores and hyphens
 * anywhere in a label, one final dot, an IPv6 literal without its tag. Odd, but never a reason
 * to refuse: a single label (machines without a domain: WIN-7QK2, localhost), and a literal of
 * a private network (a server behind NAT that does not know what it is called outside).
 *
 * Pure. Threads: any.
 */
#pragma once

#include "node/policy/ip.h"

enum helo_result {
    HELO_FINE,
    HELO_UNQUALIFIED, /* a single label: odd */
    HELO_PRIVATE,     /* a literal of a private network that is not its address: odd */
    HELO_BARE_ADDRESS,
    HELO_OTHER_ADDRESS, /* a literal of another public address */
    HELO_OUR_NAME,
    HELO_NO_NAME /* neither host name nor literal */
};

/* Borrowed for the call. */
struct helo_facts {
    struct str helo; /* as the client said it */
    const struct ip_addr *client;
    const char *const *own_names; /* lower case or not; of this node and of its siblings */
    size_t own_name_count;
    bool client_is_ours; /* a sibling, which may say our names */
};

enum helo_result helo_judge(const struct helo_facts *f);

/* Whether a verdict may refuse. */
bool helo_is_bad(enum helo_result r);

/* "550 5.7.1 ..." or "450 4.7.1 ...", without CRLF, static. Of bad ones only. */
const char *helo_reply(enum helo_result r, bool temporary);
const char *helo_result_text(enum helo_result r); /* "our-name", for the log; static */
