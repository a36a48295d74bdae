#include "node/net/dns_cache.h"

#include <check.h>
#include <stdio.h>

static struct dns_cache *c;

static void setup(void)
{
    c = dns_cache_new(1);
}

static void teardown(void)
{
    dns_cache_free(&c);
}

static void put(const char *name, enum dns_type type, const char *message, uint32_t ttl_s,
                uint64_t now_ms)
{
    dns_cache_put(c, str_of(name), type, str_of(message), ttl_s, now_ms);
}

/* "-": nothing is kept. */
static void expect(const char *name, enum dns_type type, uint64_t now_ms, const char *want)
{
    struct str got = STR("-");

    (void)dns_cache_get(c, str_of(name), type, now_ms, &got);
    ck_assert_msg(str_eq(got, str_of(want)), "%s: %.*s", name, (int)got.n, got.p);
}

START_TEST(an_answer_is_kept_for_its_time)
{
    put("a.example", DNS_A, "one", 5, 1000);
    expect("a.example", DNS_A, 1000, "one");
    expect("A.Example", DNS_A, 5999, "one");
    expect("a.example", DNS_AAAA, 5999, "-");
    expect("b.example", DNS_A, 5999, "-");
    expect("a.example", DNS_A, 6000, "-");
    put("a.example", DNS_A, "long", UINT32_MAX, 1000);
    expect("a.example", DNS_A, 1000 + LIMIT_DNS_CACHE_MS - 1, "long");
    expect("a.example", DNS_A, 1000 + LIMIT_DNS_CACHE_MS, "-");
}
END_TEST

START_TEST(the_newest_answer_counts)
{
    put("a.example", DNS_TXT, "one", 5, 0);
    put("A.example", DNS_TXT, "two", 9, 0);
    expect("a.example", DNS_TXT, 8999, "two");
    put("a.example", DNS_TXT, "three", 0, 0); /* not to be kept: nor is what was there */
    expect("a.example", DNS_TXT, 0, "-");
}
END_TEST

START_TEST(what_is_too_long_is_not_kept)
{
    static char message[LIMIT_DNS_CACHE_MESSAGE_BYTES + 1];
    static char name[LIMIT_SMTP_DOMAIN_BYTES + 2];
    struct str got;

    memset(name, 'a', sizeof name - 1);
    dns_cache_put(c, STR("a.example"), DNS_A, (struct str){message, sizeof message}, 9, 0);
    expect("a.example", DNS_A, 0, "-");
    dns_cache_put(c, STR("a.example"), DNS_A, (struct str){message, sizeof message - 1}, 9, 0);
    ck_assert(dns_cache_get(c, STR("a.example"), DNS_A, 0, &got));
    put(name, DNS_A, "one", 9, 0);
    expect(name, DNS_A, 0, "-");
    put("", DNS_A, "one", 9, 0);
    expect("", DNS_A, 0, "-");
}
END_TEST

START_TEST(the_oldest_make_room)
{
    static char message[LIMIT_DNS_CACHE_MESSAGE_BYTES];
    char name[32];
    struct str got;
    unsigned most = LIMIT_DNS_CACHE_BYTES / LIMIT_DNS_CACHE_MESSAGE_BYTES;

    for (int i = 0; i <= LIMIT_DNS_CACHE_ENTRIES; i++) {
        snprintf(name, sizeof name, "n%d.example", i);
        put(name, DNS_PTR, name, 9, 0);
    }
    expect("n0.example", DNS_PTR, 0, "-");
    expect("n1.example", DNS_PTR, 0, "n1.example");
    expect(name, DNS_PTR, 0, name);
    for (unsigned i = 0; i <= most; i++) {
        snprintf(name, sizeof name, "m%u.example", i);
        dns_cache_put(c, str_of(name), DNS_PTR, (struct str){message, sizeof message}, 9, 0);
    }
    expect("m0.example", DNS_PTR, 0, "-");
    ck_assert(dns_cache_get(c, STR("m1.example"), DNS_PTR, 0, &got));
    ck_assert(dns_cache_get(c, str_of(name), DNS_PTR, 0, &got));
    expect("n1.example", DNS_PTR, 0, "-");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dns cache");
    TCase *tc = tcase_create("dns cache");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_answer_is_kept_for_its_time);
    tcase_add_test(tc, the_newest_answer_counts);
    tcase_add_test(tc, what_is_too_long_is_not_kept);
    tcase_add_test(tc, the_oldest_make_room);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
