/* Whoever tries names out is found over all sites, calms down, is not pushed out by a flood;
 * who sends wanted mail is left alone; changes may come late, doubled and in any order. */
#include "node/policy/harvest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"

#define T0   (UINT64_C(1000000) * LIMIT_HARVEST_WINDOW_MS)
#define HOUR ((uint64_t)LIMIT_HARVEST_WINDOW_MS)

static const uint64_t secret[2] = {1, 2};
static struct harvest h;

static struct harvest_keys keys(const char *client, const char *domain)
{
    struct ip_addr ip;

    ck_assert(ip_parse(str_of(client), &ip));
    return harvest_keys(secret, &ip, str_of(domain));
}

/* Another one each time. */
static uint64_t some_name(void)
{
    static uint64_t n;

    return ++n * UINT64_C(0x9e3779b97f4a7c15);
}

static void tries(struct harvest *at, uint16_t site, const char *client, int n, uint64_t now_ms)
{
    struct harvest_keys k = keys(client, "a.example");

    for (int i = 0; i < n; i++)
        ck_assert(harvest_bad(at, site, &k, some_name(), now_ms));
}

static enum harvest_state state(const struct harvest *at, const char *client, uint64_t now_ms)
{
    struct harvest_keys k = keys(client, "a.example");

    return harvest_state(at, &k, now_ms);
}

static void setup(void)
{
    harvest_init(&h, 0);
}

static void teardown(void)
{
    harvest_fini(&h);
}

START_TEST(S16_a_client_is_suspicious_then_an_offender_and_calms_down)
{
    tries(&h, 1, "192.0.2.1", LIMIT_HARVEST_SUSPECT - 1, T0);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0), HARVEST_OK);
    tries(&h, 1, "192.0.2.1", 1, T0);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0), HARVEST_SUSPICIOUS);
    tries(&h, 1, "192.0.2.1", LIMIT_HARVEST_OFFENDER - LIMIT_HARVEST_SUSPECT - 1, T0);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0), HARVEST_SUSPICIOUS);
    tries(&h, 1, "192.0.2.1", 1, T0 + HOUR); /* the window before counts with it */
    ck_assert_int_eq(state(&h, "192.0.2.1", T0 + HOUR), HARVEST_OFFENDER);
    ck_assert_int_eq(state(&h, "192.0.2.2", T0 + HOUR), HARVEST_SUSPICIOUS); /* its network */
    ck_assert_int_eq(state(&h, "198.51.100.1", T0 + HOUR), HARVEST_OK);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0 + 3 * HOUR), HARVEST_OK);
    ck_assert(strncmp(harvest_reply(), "421 4.7.0 ", 10) == 0);
}
END_TEST

START_TEST(a_network_and_a_domain_add_up_what_many_clients_try)
{
    char ip[32];

    for (int i = 0; i < LIMIT_HARVEST_OFFENDER * LIMIT_HARVEST_NETWORK; i++) {
        snprintf(ip, sizeof ip, "2001:db8:1:%x::1", (unsigned)i); /* one of a /48 each */
        tries(&h, 1, ip, 1, T0);
    }
    ck_assert_int_eq(state(&h, "2001:db8:1:ffff::1", T0), HARVEST_OFFENDER);
    ck_assert_int_eq(state(&h, "2001:db8:2::1", T0), HARVEST_OK);
    for (int i = 0; i < LIMIT_HARVEST_DOMAIN; i++) {
        snprintf(ip, sizeof ip, "10.%d.%d.1", i / 256, i % 256);
        tries(&h, 1, ip, 1, T0);
    }
    ck_assert_int_eq(state(&h, "198.51.100.1", T0), HARVEST_SUSPICIOUS); /* never 421 by it */
}
END_TEST

START_TEST(who_sends_more_good_mail_than_bad_tries_is_left_alone)
{
    struct harvest_keys k = keys("192.0.2.1", "a.example");

    harvest_good(&h, 1, &k, T0);
    ck_assert_uint_eq(harvest_count(&h), 0); /* of whom nothing bad is known */
    tries(&h, 1, "192.0.2.1", LIMIT_HARVEST_OFFENDER, T0);
    for (int i = 0; i < LIMIT_HARVEST_OFFENDER; i++)
        harvest_good(&h, 2, &k, T0);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0), HARVEST_OFFENDER);
    harvest_good(&h, 1, &k, T0 + HOUR);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0 + HOUR), HARVEST_OK);
}
END_TEST

START_TEST(a_flood_of_addresses_pushes_out_no_suspect)
{
    char ip[64];

    harvest_fini(&h);
    harvest_init(&h, 64);
    tries(&h, 1, "192.0.2.1", LIMIT_HARVEST_OFFENDER, T0);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(ip, sizeof ip, "2001:%x:%x::1", i / 256 + 1, i % 256);
        tries(&h, 1, ip, 1, T0);
    }
    ck_assert_uint_eq(harvest_count(&h), 64);
    ck_assert_int_eq(state(&h, "192.0.2.1", T0), HARVEST_OFFENDER);
    ck_assert_int_eq(state(&h, "203.0.113.9", T0),
                     HARVEST_SUSPICIOUS);                    /* the domain counts on */
    tries(&h, 1, "203.0.113.9", LIMIT_HARVEST_OFFENDER, T0); /* and new ones are found */
    ck_assert_int_eq(state(&h, "203.0.113.9", T0), HARVEST_OFFENDER);
}
END_TEST

START_TEST(a_table_full_of_suspects_keeps_them_all)
{
    char ip[64];

    harvest_fini(&h);
    harvest_init(&h, 41); /* twenty clients, their networks, the domain */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) {
            snprintf(ip, sizeof ip, "10.0.%d.1", i);
            if (round == 0)
                tries(&h, 1, ip, LIMIT_HARVEST_SUSPECT, T0);
            ck_assert_int_eq(state(&h, ip, T0), HARVEST_SUSPICIOUS);
        }
        ck_assert_uint_eq(harvest_count(&h), 41);
        for (unsigned i = 0; i < 300; i++) {
            snprintf(ip, sizeof ip, "2001:%x::1", i + 1);
            tries(&h, 1, ip, 1, T0);
        }
    }
    ck_assert_int_eq(state(&h, "2001:1::1", T0 + HOUR), HARVEST_OK);
    tries(&h, 1, "2001:1::1", LIMIT_HARVEST_SUSPECT, T0 + 2 * HOUR); /* they are over */
    ck_assert_int_eq(state(&h, "2001:1::1", T0 + 2 * HOUR), HARVEST_SUSPICIOUS);
}
END_TEST

static void send_all(const struct harvest *from, struct harvest *to, struct change_cursor *at,
                     uint64_t now_ms)
{
    uint8_t bytes[HARVEST_ENTRY_BYTES];
    struct harvest_entry e, read;

    while (harvest_changes(from, at, &e)) {
        harvest_pack(&e, bytes);
        ck_assert_int_eq(harvest_unpack((struct str){(const char *)bytes, sizeof bytes}, &read),
                         OK);
        ck_assert_int_ne(harvest_merge(to, &read, now_ms), HARVEST_NO_ROOM);
    }
}

START_TEST(tries_at_three_sites_are_added_up_once_each)
{
    static struct harvest s[3];
    struct change_cursor at[3][3] = {{{0}}};
    struct change_cursor again = {0};
    uint64_t bads = 0;
    struct harvest_entry e;
    struct prng rnd;

    prng_seed(&rnd, (uint64_t)_i + 1);
    for (int i = 0; i < 3; i++)
        harvest_init(&s[i], 0);
    for (int step = 0; step < 300; step++) {
        int i = (int)prng_below(&rnd, 3), k = (int)prng_below(&rnd, 3);

        tries(&s[i], (uint16_t)(i + 1), "192.0.2.1", 1, T0 + prng_below(&rnd, 2) * HOUR);
        if (i != k && prng_below(&rnd, 3) == 0)
            send_all(&s[i], &s[k], &at[i][k], T0 + HOUR);
        if (prng_below(&rnd, 20) == 0)
            at[i][k] = (struct change_cursor){0}; /* all again */
    }
    for (int i = 0; i < 18; i++)
        if (i / 3 % 3 != i % 3)
            send_all(&s[i / 3 % 3], &s[i % 3], &at[i / 3 % 3][i % 3], T0 + HOUR);
    for (int i = 0; i < 3; i++) {
        again = (struct change_cursor){0};
        for (bads = 0; harvest_changes(&s[i], &again, &e);)
            bads += e.bad[0] + e.bad[1] + e.bad[2];
        ck_assert_uint_eq(bads, 3 * 300);
        ck_assert_uint_eq(harvest_count(&s[i]), 6); /* three keys, two windows */
        ck_assert_uint_eq(harvest_sweep(&s[i], T0 + 2 * HOUR, 6), 3);
        harvest_fini(&s[i]);
    }
}
END_TEST

START_TEST(windows_that_are_over_or_far_ahead_are_not_merged)
{
    struct harvest_entry e = {.key = 5, .bad = {1000, 0, 0}};
    uint8_t bytes[HARVEST_ENTRY_BYTES];
    const uint32_t now = (uint32_t)(T0 / HOUR);

    e.window = now - 2;
    ck_assert_int_eq(harvest_merge(&h, &e, T0), HARVEST_NO_NEWS);
    e.window = now + 2;
    ck_assert_int_eq(harvest_merge(&h, &e, T0), HARVEST_NO_NEWS);
    for (int i = -1; i <= 1; i++) {
        e.window = now + (uint32_t)i;
        ck_assert_int_eq(harvest_merge(&h, &e, T0), HARVEST_NEWS);
        ck_assert_int_eq(harvest_merge(&h, &e, T0), HARVEST_NO_NEWS);
    }
    harvest_pack(&e, bytes);
    ck_assert_int_eq(harvest_unpack((struct str){(const char *)bytes, sizeof bytes - 1}, &e),
                     E_PROTO);
    memset(bytes, 0, 8);
    ck_assert_int_eq(harvest_unpack((struct str){(const char *)bytes, sizeof bytes}, &e),
                     E_PROTO);
}
END_TEST

/* A quarter of a million networks name what they may; those who come then are counted as well.
 */
START_TEST(a_flood_of_names_makes_nobody_known_for_long)
{
    struct harvest_keys k = keys("192.0.2.1", "a.example");
    int counted = 0;

    for (uint32_t i = 0; i < 5 * LIMIT_HARVEST_NAMES; i++)
        (void)harvest_bad(&h, 1, &k, some_name(), T0);
    for (int i = 0; i < 1000; i++)
        counted += harvest_bad(&h, 1, &k, some_name(), T0);
    ck_assert_int_gt(counted, 850);
}
END_TEST

START_TEST(a_mail_server_that_comes_again_is_counted_once_for_each_recipient)
{
    struct harvest_keys k = keys("192.0.2.1", "a.example");
    struct ip_addr ip, other;
    uint64_t name, t = T0;

    ck_assert(ip_parse(STR("192.0.2.1"), &ip) && ip_parse(STR("192.0.2.2"), &other));
    name = harvest_name(secret, &ip, STR("a.example"), STR("bob"));
    ck_assert_uint_eq(harvest_name(secret, &ip, STR("A.Example"), STR("Bob")), name);
    ck_assert_uint_ne(harvest_name(secret, &ip, STR("a.example"), STR("bobo")), name);
    ck_assert_uint_ne(harvest_name(secret, &ip, STR("a.exampl"), STR("ebob")), name);
    ck_assert_uint_ne(harvest_name(secret, &other, STR("a.example"), STR("bob")), name);
    ck_assert(ip_parse(STR("2001:db8:1:2::1"), &ip) &&
              ip_parse(STR("2001:db8:1:2::2"), &other));
    ck_assert_uint_eq(harvest_name(secret, &other, STR("a.example"), STR("bob")),
                      harvest_name(secret, &ip, STR("a.example"), STR("bob"))); /* one client */
    ck_assert(harvest_bad(&h, 1, &k, name, t));
    for (; t < T0 + 14 * UINT64_C(86400000); t += 600000) /* every ten minutes, while we hold */
        ck_assert(!harvest_bad(&h, 1, &k, name, t));
    ck_assert_int_eq(state(&h, "192.0.2.1", t), HARVEST_OK);
    ck_assert(harvest_bad(&h, 1, &k, name, t + 2 * LIMIT_HARVEST_NAME_MS));
    t += 2 * LIMIT_HARVEST_NAME_MS;
    ck_assert(!harvest_bad(&h, 1, &k, name, t + LIMIT_HARVEST_NAME_MS - 1));
    ck_assert(harvest_bad(&h, 1, &k, name, t - 5 * LIMIT_HARVEST_NAME_MS)); /* a clock's jump */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("harvest");
    TCase *tc = tcase_create("harvest");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_flood_of_names_makes_nobody_known_for_long);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_mail_server_that_comes_again_is_counted_once_for_each_recipient);
    tcase_add_test(tc, S16_a_client_is_suspicious_then_an_offender_and_calms_down);
    tcase_add_test(tc, a_network_and_a_domain_add_up_what_many_clients_try);
    tcase_add_test(tc, who_sends_more_good_mail_than_bad_tries_is_left_alone);
    tcase_add_test(tc, a_flood_of_addresses_pushes_out_no_suspect);
    tcase_add_test(tc, a_table_full_of_suspects_keeps_them_all);
    tcase_add_loop_test(tc, tries_at_three_sites_are_added_up_once_each, 0, 20);
    tcase_add_test(tc, windows_that_are_over_or_far_ahead_are_not_merged);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
