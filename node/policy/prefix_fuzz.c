/* Any text: what is taken as a network has a canonical text that reads back as the same
 * network; lists of such lines make a set whose answers are those of a search through the list.
 * Covers: node/policy/prefix.c node/policy/ip.c */
#include <stdlib.h>

#include "node/policy/prefix.h"

#define MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take_line(struct str line, struct prefix *out)
{
    char *copy = malloc(line.n > 0 ? line.n : 1);
    char text[PREFIX_TEXT_BYTES], reverse[IP_REVERSE_BYTES];
    struct prefix again;
    enum prefix_verdict v;

    ASSERT(copy != NULL);
    if (line.n > 0)
        memcpy(copy, line.p, line.n);
    v = prefix_parse((struct str){copy, line.n}, out);
    free(copy);
    ASSERT(prefix_verdict_text(v)[0] != '\0');
    if (v != PREFIX_OK && v != PREFIX_HOST_BITS)
        return false;
    ASSERT(prefix_parse(prefix_text(out, text), &again) == PREFIX_OK);
    ASSERT(ip_eq(&again.ip, &out->ip) && again.bits == out->bits);
    ASSERT(prefix_holds(out, &out->ip));
    ASSERT(ip_reverse(&out->ip, reverse).n < IP_REVERSE_BYTES);
    ASSERT(ip_nibbles(&out->ip, reverse).n == IP_REVERSE_BYTES - 1);
    return true;
}

static void compare(const struct prefix_set *set, const struct prefix_entry *e, uint32_t n,
                    const struct ip_addr *ip)
{
    const struct prefix_entry *best = NULL, *found = prefix_set_find(set, ip);

    for (uint32_t i = 0; i < n; i++)
        if (prefix_holds(&e[i].prefix, ip) &&
            (best == NULL || e[i].prefix.bits >= best->prefix.bits))
            best = &e[i];
    ASSERT((best == NULL) == (found == NULL));
    ASSERT(best == NULL || best->value == found->value);
}

static void compare_around(const struct prefix_set *set, const struct prefix_entry *e,
                           uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct ip_addr ip = e[i].prefix.ip;

        compare(set, e, n, &ip);
        for (size_t k = 16; k-- > 0 && --ip.b[k] == 0xff;)
            ;
        compare(set, e, n, &ip);
        ip = e[i].prefix.ip;
        for (unsigned bit = e[i].prefix.bits; bit < IP_BITS; bit++)
            ip.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        compare(set, e, n, &ip);
        for (size_t k = 16; k-- > 0 && ++ip.b[k] == 0;)
            ;
        compare(set, e, n, &ip);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct prefix_entry e[MOST];
    struct prefix_set *set;
    uint32_t n = 0;

    while (in.n > 0 && n < MOST) {
        e[n].value = n + 1;
        n += take_line(str_split(&in, '\n'), &e[n].prefix);
    }
    if (n == 0)
        return 0;
    set = prefix_set_new(e, n);
    ASSERT(set != NULL && prefix_set_count(set) <= n && prefix_set_bytes(set) > 0);
    compare_around(set, e, n);
    prefix_set_free(&set);
    ASSERT(prefix_set_new(e, LIMIT_PREFIXES + 1) == NULL);
    return 0;
}
