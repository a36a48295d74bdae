/* How long a million networks take to build and to look addresses up in. Usage: prefix_bench
 * [NETWORKS [LOOKUPS]]. Half of the addresses lie in a network of the set. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/prng.h"
#include "node/policy/prefix.h"

#define BOUND_NS 1000

/* Of this process alone: what else runs on the machine does not count. */
static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* As such lists are: of IPv4 most are single addresses and /24, of IPv6 /64 and /48. */
static struct prefix_entry random_entry(struct prng *r, bool v4, uint32_t value)
{
    static const uint8_t bits4[] = {128, 128, 128, 120, 120, 118, 112};
    static const uint8_t bits6[] = {64, 64, 64, 56, 48, 128};
    uint64_t high = prng_next(r), low = prng_next(r);
    struct ip_addr ip = ip_v4((const uint8_t *)&high);
    unsigned bits =
        v4 ? bits4[prng_below(r, sizeof bits4)] : bits6[prng_below(r, sizeof bits6)];

    if (!v4) {
        memcpy(ip.b, &high, 8);
        memcpy(ip.b + 8, &low, 8);
        ip.b[0] = 0x20;
        ip.b[1] &= 7;
    }
    return (struct prefix_entry){{ip_network(&ip, bits), (uint8_t)bits}, value};
}

static void run(const char *family, bool v4, uint32_t networks, uint32_t lookups)
{
    struct prefix_entry *e = calloc(networks, sizeof *e);
    struct ip_addr *ask = calloc(lookups, sizeof *ask);
    uint64_t found = 0;
    double t0, t1, t2;
    struct prefix_set *set;
    struct prng r;
    double ns;

    ASSERT(e != NULL && ask != NULL);
    prng_seed(&r, 4);
    for (uint32_t i = 0; i < networks; i++)
        e[i] = random_entry(&r, v4, i);
    for (uint32_t i = 0; i < lookups; i++)
        ask[i] = prng_below(&r, 2) == 0 ? e[prng_below(&r, networks)].prefix.ip
                                        : random_entry(&r, v4, 0).prefix.ip;
    t0 = cpu_us();
    set = prefix_set_new(e, networks);
    ASSERT(set != NULL);
    t1 = cpu_us();
    for (uint32_t i = 0; i < lookups; i++)
        found += prefix_set_find(set, &ask[i]) != NULL;
    t2 = cpu_us();
    ns = (t2 - t1) * 1000 / (double)lookups;
    printf("family=%s networks=%zu build_ms=%.0f mib=%.1f lookups=%u found=%llu lookup_ns=%.0f "
           "bound_ns=%d ratio=%.2f\n",
           family, prefix_set_count(set), (t1 - t0) / 1000, (double)prefix_set_bytes(set) / MiB,
           lookups, (unsigned long long)found, ns, BOUND_NS, ns / BOUND_NS);
    prefix_set_free(&set);
    free(ask);
    free(e);
}

int main(int argc, char **argv)
{
    uint32_t networks = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    uint32_t lookups = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2000000;

    run("ipv4", true, networks, lookups);
    run("ipv6", false, networks, lookups);
    return 0;
}
