/*
 * question: what a pure module of the policy wants to know from DNS. The module says which
 * questions it has, the shell (node/net/dns) asks them at the same time and hands each answer
 * in with the tag of its question; in any order.
 *
 * What an answer may be: base/dns_data.h. Only NXDOMAIN and NODATA are statements about a name,
 * and only they may ever count against a client; of silence, SERVFAIL and bogus
 * signatures the policy says "unknown".
 *
 * Plain data. Threads: any.
 */
#pragma once

#include "base/dns_data.h"
#include "node/policy/ip.h"

/* name: without a final dot; borrowed from the machine that asks, as long as that lives. */
struct question {
    enum dns_type type;
    struct str name;
    uint32_t tag;
};

/* DNS says that there is no such thing. Neither this nor DNS_OK: it says nothing. */
static inline bool question_is_denied(const struct dns_answer *a)
{
    return a->status == DNS_NODATA || a->status == DNS_NXDOMAIN;
}

static inline struct str question_host(const struct dns_answer *a, size_t record)
{
    return str_of(a->records[record].host);
}

/* The address of a record: type is DNS_A or DNS_AAAA. */
static inline struct ip_addr question_ip(const struct dns_answer *a, size_t record,
                                         enum dns_type type)
{
    struct ip_addr ip;

    memcpy(ip.b, &a->records[record].addr, sizeof ip.b);
    return type == DNS_A ? ip_v4(ip.b) : ip;
}
