#include "node/policy/ip.h"

#include <arpa/inet.h>
#include <stdio.h>

static const uint8_t v4_head[IP_V4_BITS / 8] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ip_addr ip_v4(const uint8_t b[4])
{
    struct ip_addr ip;

    memcpy(ip.b, v4_head, sizeof v4_head);
    memcpy(ip.b + sizeof v4_head, b, 4);
    return ip;
}

bool ip_is_v4(const struct ip_addr *ip)
{
    return memcmp(ip->b, v4_head, sizeof v4_head) == 0;
}

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool ip_parse(struct str text, struct ip_addr *out)
{
    char z[IP_TEXT_BYTES];
    uint8_t v4[4];
    struct ip_addr ip;

    if (!str_to_z(text, z, sizeof z))
        return false;
    if (inet_pton(AF_INET, z, v4) == 1)
        *out = ip_v4(v4);
    else if (inet_pton(AF_INET6, z, ip.b) == 1)
        *out = ip;
    else
        return false;
    return true;
}

struct str ip_text(const struct ip_addr *ip, char buf[static IP_TEXT_BYTES])
{
    const char *text = ip_is_v4(ip) ? inet_ntop(AF_INET, ip->b + 12, buf, IP_TEXT_BYTES)
                                    : inet_ntop(AF_INET6, ip->b, buf, IP_TEXT_BYTES);

    ASSERT(text != NULL);
    return str_of(text);
}

struct ip_addr ip_network(const struct ip_addr *ip, unsigned bits)
{
    struct ip_addr net = *ip;

    ASSERT(bits <= IP_BITS);
    for (unsigned i = 0; i < sizeof net.b; i++) {
        unsigned kept = bits > 8 * i ? bits - 8 * i : 0;

        if (kept < 8)
            net.b[i] &= (uint8_t)(0xff00U >> kept);
    }
    return net;
}

struct str ip_reverse(const struct ip_addr *ip, char buf[static IP_REVERSE_BYTES])
{
    int n;

    if (!ip_is_v4(ip))
        return ip_nibbles(ip, buf);
    n = snprintf(buf, IP_REVERSE_BYTES, "%u.%u.%u.%u", ip->b[15], ip->b[14], ip->b[13],
                 ip->b[12]);
    ASSERT(n > 0 && n < IP_REVERSE_BYTES);
    return (struct str){buf, (size_t)n};
}

struct str ip_nibbles(const struct ip_addr *ip, char buf[static IP_REVERSE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = sizeof ip->b; i-- > 0;) {
        buf[n++] = digits[ip->b[i] & 15];
        buf[n++] = '.';
        buf[n++] = digits[ip->b[i] >> 4];
        buf[n++] = '.';
    }
    buf[--n] = '\0';
    return (struct str){buf, n};
}
