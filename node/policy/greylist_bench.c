/* How fast entries of a peer are merged, what a million of them weigh, what a check costs.
 * Usage: greylist_bench [ENTRIES] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/prng.h"
#include "node/policy/greylist.h"

#define BOUND_MIB        100
#define BOUND_PER_SECOND 100000
#define T0               UINT64_C(1000000000000)

static long rss_kib(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

static uint64_t merge_all(struct greylist *g, uint64_t count, uint64_t seed)
{
    struct prng r;
    uint64_t t0 = clock_boot_us(), news = 0;
    uint8_t bytes[GREYLIST_ENTRY_BYTES];

    prng_seed(&r, seed);
    for (uint64_t i = 0; i < count; i++) {
        struct greylist_entry e = {prng_next(&r) | 1, T0 - i % 1000, T0, i % 4 == 0};

        greylist_pack(&e, bytes);
        if (greylist_unpack((struct str){(const char *)bytes, sizeof bytes}, &e) == OK)
            news += greylist_merge(g, &e, T0 + 1000) == GREYLIST_NEWS;
    }
    printf("merged=%llu news=%llu ", (unsigned long long)count, (unsigned long long)news);
    return clock_boot_us() - t0 + 1;
}

static void print_rate(const char *what, uint64_t count, uint64_t us)
{
    double rate = (double)count * 1e6 / (double)us;

    printf("what=%s per_s=%.0f bound_per_s=%d ratio=%.1f\n", what, rate, BOUND_PER_SECOND,
           rate / BOUND_PER_SECOND);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : LIMIT_GREY_ENTRIES;
    struct greylist g;
    struct change_cursor at = {0};
    struct greylist_entry e;
    long before = rss_kib();
    uint64_t t0, wait_ms, waits = 0;
    double mib;

    greylist_init(&g, &(struct greylist_options){.first_tries = 0});
    print_rate("merge-new", count, merge_all(&g, count, 1));
    mib = (double)(rss_kib() - before) / 1024;
    printf("entries=%u rss_mib=%.1f bound_mib=%d ratio=%.2f\n", greylist_count(&g), mib,
           BOUND_MIB, mib / BOUND_MIB);
    print_rate("merge-known", count, merge_all(&g, count, 1));
    t0 = clock_boot_us();
    for (uint64_t i = 0; i < count && greylist_changes(&g, &at, &e); i++)
        waits += e.is_passed;
    print_rate("read", greylist_count(&g), clock_boot_us() - t0 + 1);
    t0 = clock_boot_us();
    for (uint64_t i = 0; i < count; i++) {
        struct greylist_try t = {.client = ip_v4((const uint8_t *)&i),
                                 .sender = STR("bounce-123-ab@list.example"),
                                 .domain = STR("customer.example")};
        struct greylist_keys keys = greylist_keys((const uint64_t[2]){1, 2}, &t);

        waits += greylist_check(&g, &keys, T0 + 2000, &wait_ms) == GREYLIST_FIRST;
    }
    print_rate("check", count, clock_boot_us() - t0 + 1);
    greylist_fini(&g);
    return waits == 0;
}
