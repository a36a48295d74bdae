#include "node/policy/prefix.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/snapshot.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *given, *text;
    enum prefix_verdict verdict;
} forms[] = {
    {"192.0.2.0/24", "192.0.2.0/24", PREFIX_OK},
    {"192.0.2.1", "192.0.2.1/32", PREFIX_OK},
    {"0.0.0.0/0", "0.0.0.0/0", PREFIX_OK},
    {"::ffff:192.0.2.0/120", "192.0.2.0/24", PREFIX_OK},
    {"::ffff:0:0/96", "0.0.0.0/0", PREFIX_OK},
    {"2001:DB8::/32", "2001:db8::/32", PREFIX_OK},
    {"2001:db8::1", "2001:db8::1/128", PREFIX_OK},
    {"::/0", "::/0", PREFIX_OK},
    {"192.0.2.1/24", "192.0.2.0/24", PREFIX_HOST_BITS},
    {"2001:db8::1/64", "2001:db8::/64", PREFIX_HOST_BITS},
    {"::ffff:1.2.3.4/24", "::/24", PREFIX_HOST_BITS},
    {"192.0.2/24", NULL, PREFIX_NO_ADDRESS},
    {"", NULL, PREFIX_NO_ADDRESS},
    {"/24", NULL, PREFIX_NO_ADDRESS},
    {" 192.0.2.0/24", NULL, PREFIX_NO_ADDRESS},
    {"192.0.2.0/33", NULL, PREFIX_NO_LENGTH},
    {"192.0.2.0/", NULL, PREFIX_NO_LENGTH},
    {"192.0.2.0/024", NULL, PREFIX_NO_LENGTH},
    {"192.0.2.0/+4", NULL, PREFIX_NO_LENGTH},
    {"192.0.2.0/24/24", NULL, PREFIX_NO_LENGTH},
    {"192.0.2.0/255.255.255.0", NULL, PREFIX_NO_LENGTH},
    {"2001:db8::/129", NULL, PREFIX_NO_LENGTH},
    {"::/4294967296", NULL, PREFIX_NO_LENGTH},
};

START_TEST(a_network_has_one_canonical_text)
{
    char buf[PREFIX_TEXT_BYTES];
    struct prefix p = {{{0}}, 77}, again;

    ck_assert_msg(prefix_parse(str_of(forms[_i].given), &p) == forms[_i].verdict, "'%s'",
                  forms[_i].given);
    ck_assert_uint_gt(strlen(prefix_verdict_text(forms[_i].verdict)), 5);
    if (forms[_i].text == NULL) {
        ck_assert_uint_eq(p.bits, 77);
        return;
    }
    ck_assert_str_eq(prefix_text(&p, buf).p, forms[_i].text);
    ck_assert_int_eq(prefix_parse(str_of(buf), &again), PREFIX_OK);
    ck_assert(ip_eq(&p.ip, &again.ip) && p.bits == again.bits);
}
END_TEST

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

static struct prefix_entry entry(const char *text, uint32_t value)
{
    struct prefix_entry e = {.value = value};

    ck_assert_int_eq(prefix_parse(str_of(text), &e.prefix), PREFIX_OK);
    return e;
}

static uint32_t value_of(const struct prefix_set *set, const char *text)
{
    struct ip_addr a = ip(text);
    const struct prefix_entry *e = prefix_set_find(set, &a);

    return e != NULL ? e->value : 0;
}

START_TEST(the_longest_network_wins_and_families_are_apart)
{
    struct prefix_entry e[] = {entry("10.0.0.0/8", 1),
                               entry("10.1.0.0/16", 2),
                               entry("10.1.2.3", 3),
                               entry("0.0.0.0/0", 4),
                               entry("255.255.255.255", 5),
                               entry("2001:db8::/32", 6),
                               entry("2001:db8:1::/48", 7),
                               entry("::/1", 8),
                               entry("::ffff:10.2.0.0/112", 9),
                               entry("2001:db8:1::/48", 10),
                               entry("ffff::/16", 11)};
    struct prefix_set *set = prefix_set_new(e, sizeof e / sizeof e[0]);

    ck_assert_ptr_nonnull(set);
    ck_assert_uint_eq(prefix_set_count(set), 10);
    ck_assert_uint_eq(value_of(set, "10.9.9.9"), 1);
    ck_assert_uint_eq(value_of(set, "10.1.2.2"), 2);
    ck_assert_uint_eq(value_of(set, "10.1.2.3"), 3);
    ck_assert_uint_eq(value_of(set, "10.1.2.4"), 2);
    ck_assert_uint_eq(value_of(set, "::ffff:10.1.2.3"), 3);
    ck_assert_uint_eq(value_of(set, "10.2.255.255"), 9);
    ck_assert_uint_eq(value_of(set, "0.0.0.0"), 4);
    ck_assert_uint_eq(value_of(set, "11.0.0.0"), 4);
    ck_assert_uint_eq(value_of(set, "255.255.255.255"), 5);
    ck_assert_uint_eq(value_of(set, "255.255.255.254"), 4);
    ck_assert_uint_eq(value_of(set, "2001:db8::"), 6);
    ck_assert_uint_eq(value_of(set, "2001:db8:1::1"), 10); /* the later of two equal ones */
    ck_assert_uint_eq(value_of(set, "2001:db9::"), 8);
    ck_assert_uint_eq(value_of(set, "::"), 8);
    ck_assert_uint_eq(value_of(set, "8000::"), 0);
    ck_assert_uint_eq(value_of(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 11);
    prefix_set_free(&set);
    ck_assert_ptr_null(set);
    prefix_set_free(&set);
}
END_TEST

START_TEST(an_empty_set_holds_nothing)
{
    struct prefix_set *set = prefix_set_new(NULL, 0);

    ck_assert_uint_eq(value_of(set, "0.0.0.0"), 0);
    ck_assert_uint_eq(value_of(set, "::1"), 0);
    prefix_set_free(&set);
    ck_assert_ptr_null(prefix_set_new(NULL, LIMIT_PREFIXES + 1));
}
END_TEST

/* Dense on purpose: few distinct bits, so that networks nest, touch and repeat. */
static struct ip_addr random_ip(struct prng *r)
{
    struct ip_addr a = {{0}};
    size_t from = prng_below(r, 2) == 0 ? 12 : prng_below(r, 2) == 0 ? 0 : 7;

    if (from == 12)
        a = ip_v4((const uint8_t[4]){0});
    for (size_t i = from; i < 16; i += 1 + prng_below(r, 2))
        a.b[i] = (uint8_t)(prng_below(r, 3) == 0 ? 0xff : prng_below(r, 3) << prng_below(r, 7));
    return a;
}

static struct prefix_entry random_entry(struct prng *r, uint32_t value)
{
    struct ip_addr a = random_ip(r);
    unsigned base = ip_is_v4(&a) ? IP_V4_BITS : 0;
    unsigned bits = base + (unsigned)prng_below(r, IP_BITS - base + 1);

    return (struct prefix_entry){{ip_network(&a, bits), (uint8_t)bits}, value};
}

START_TEST(every_answer_is_that_of_a_search_through_the_list)
{
    enum { MOST = 60 };
    struct prefix_entry e[MOST];
    struct prng r;

    prng_seed(&r, (uint64_t)_i);
    for (uint32_t n = 0; n < MOST; n += 1 + (uint32_t)prng_below(&r, 4)) {
        struct prefix_set *set;

        for (uint32_t i = 0; i < n; i++)
            e[i] = random_entry(&r, i + 1);
        set = prefix_set_new(e, n);
        ck_assert_ptr_nonnull(set);
        for (int k = 0; k < 200; k++) {
            struct ip_addr a = n > 0 && prng_below(&r, 2) == 0 ? e[prng_below(&r, n)].prefix.ip
                                                               : random_ip(&r);
            const struct prefix_entry *best = NULL, *found = prefix_set_find(set, &a);

            for (uint32_t i = 0; i < n; i++)
                if (prefix_holds(&e[i].prefix, &a) &&
                    (best == NULL || e[i].prefix.bits >= best->prefix.bits))
                    best = &e[i];
            ck_assert((best == NULL) == (found == NULL));
            ck_assert(best == NULL || best->value == found->value);
        }
        prefix_set_free(&set);
    }
}
END_TEST

START_TEST(a_full_set_keeps_its_memory_within_bounds)
{
    struct prefix_entry *e = calloc(LIMIT_PREFIXES, sizeof *e);
    struct prefix_set *set;
    struct prng r;

    ck_assert_ptr_nonnull(e);
    prng_seed(&r, 9);
    for (uint32_t i = 0; i < LIMIT_PREFIXES; i++) {
        struct ip_addr a = {{0x20, 1}};
        uint64_t bits = prng_next(&r);

        memcpy(a.b + 2, &bits, 6);
        e[i] = (struct prefix_entry){{a, 64}, i};
    }
    set = prefix_set_new(e, LIMIT_PREFIXES);
    ck_assert_ptr_nonnull(set);
    ck_assert_uint_le(prefix_set_bytes(set), LIMIT_PREFIXES * 65 + 1000);
    ck_assert_uint_eq(prefix_set_find(set, &e[77].prefix.ip)->value, 77);
    prefix_set_free(&set);
    free(e);
}
END_TEST

/* A reader never sees anything but a whole set: the networks of one set agree. */
struct readers {
    struct snapshot *snapshot;
    uint32_t looks;
};

static void *read_on(void *arg)
{
    struct readers *r = arg;
    uint32_t last = 0;

    while (last < 50) {
        struct snapshot_ref *ref = snapshot_hold(r->snapshot);
        const struct prefix_set *set = snapshot_value(ref);
        struct ip_addr a = ip_v4((const uint8_t[4]){192, 0, 2, 1});
        struct ip_addr b = {{0x20, 1}};
        uint32_t first = prefix_set_find(set, &a)->value;

        ck_assert(prefix_set_find(set, &b)->value == first && first >= last);
        last = first;
        r->looks++;
        snapshot_release(&ref);
    }
    return NULL;
}

static struct prefix_set *generation(uint32_t value)
{
    struct prefix_entry e[] = {entry("192.0.2.0/24", value), entry("2001::/16", value)};

    return prefix_set_new(e, 2);
}

START_TEST(a_new_set_is_published_under_its_readers)
{
    struct readers r[2] = {{.snapshot = snapshot_new(generation(0), prefix_set_drop)}};
    pthread_t threads[2];

    r[1] = r[0];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &r[i]), 0);
    for (uint32_t v = 1; v <= 50; v++)
        snapshot_publish(r[0].snapshot, generation(v));
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_gt(r[i].looks, 0);
    }
    snapshot_free(&r[0].snapshot);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prefix");
    TCase *tc = tcase_create("prefix");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, a_network_has_one_canonical_text, 0, COUNT(forms));
    tcase_add_test(tc, the_longest_network_wins_and_families_are_apart);
    tcase_add_test(tc, an_empty_set_holds_nothing);
    tcase_add_loop_test(tc, every_answer_is_that_of_a_search_through_the_list, 0, 20);
    tcase_add_test(tc, a_full_set_keeps_its_memory_within_bounds);
    tcase_add_test(tc, a_new_set_is_published_under_its_readers);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
