/* How fast facts of a peer are merged, what a full set of them weighs, what finding one and
 * asking for the next one cost. Usage: rcptset_bench [ENTRIES] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "node/policy/rcptset.h"

#define T0        UINT64_C(1000000000000)
#define BOUND_MIB 90

static long rss_kib(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_maxrss : 0;
}

static void print_rate(const char *what, uint64_t count, uint64_t us)
{
    printf("%s count=%llu us=%llu per_second=%.0f\n", what, (unsigned long long)count,
           (unsigned long long)us, (double)count * 1e6 / (double)(us > 0 ? us : 1));
}

static struct rcptset_entry entry(uint32_t i)
{
    struct rcptset_entry e = {.generation = 1 + i % 100, .valid = {T0 + i, RCPTSET_DELIVERY}};

    e.local_bytes = (uint8_t)snprintf(e.local, sizeof e.local, "first.last%u", (unsigned)i);
    return e;
}

int main(int argc, char **argv)
{
    uint32_t count = LIMIT_RCPTSET_ENTRIES, found = 0;
    uint64_t given;
    long before = rss_kib();
    struct rcptset s;
    struct rcptset_entry e;
    uint64_t t0;
    double mib;

    if (argc > 1 && str_to_u64(str_of(argv[1]), &given) && given < count)
        count = (uint32_t)given;
    rcptset_init(&s, &(struct rcptset_options){.seed = 1});
    t0 = clock_boot_us();
    for (uint32_t i = 0; i < count; i++) {
        e = entry(i);
        found += rcptset_merge(&s, &e, T0 + count) == RCPTSET_NEWS;
    }
    print_rate("merge-new", count, clock_boot_us() - t0);
    mib = (double)(rss_kib() - before) / 1024;
    printf("entries=%u rss_mib=%.1f bound_mib=%d ratio=%.2f\n", rcptset_count(&s), mib,
           BOUND_MIB, mib / BOUND_MIB);
    t0 = clock_boot_us();
    for (uint32_t i = 0; i < count; i++) {
        struct rcptset_entry wanted = entry(i), out;
        struct rcptset_name n = {wanted.generation, {wanted.local, wanted.local_bytes}, '+'};

        found -= rcptset_find(&s, &n, T0 + count, &out) == RCPTSET_VALID;
    }
    print_rate("find", count, clock_boot_us() - t0);
    t0 = clock_boot_us();
    for (uint32_t i = 0; i < count; i++) {
        if (rcptset_due(&s, 1 + i % 100, T0 + LIMIT_RCPTSET_RENEW_MS + count, &e, 1) > 0)
            rcptset_asked(&s, &e, T0 + LIMIT_RCPTSET_RENEW_MS + count);
        else
            found++;
    }
    print_rate("due-and-asked", count, clock_boot_us() - t0);
    rcptset_fini(&s);
    return found != 0;
}
