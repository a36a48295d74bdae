/* Who is an offender is found in the table, who is not or no longer is not; a network by what
 * all of it did; when there are too many of them the table still tells no lies. */
#include "node/policy/offenders.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define T0   (UINT64_C(1000000) * LIMIT_HARVEST_WINDOW_MS)
#define HOUR ((uint64_t)LIMIT_HARVEST_WINDOW_MS)

static const uint64_t secret[2] = {7, 8};
static struct harvest h;
static struct offenders *o;

static struct ip_addr ip(const char *text)
{
    struct ip_addr a;

    ck_assert(ip_parse(str_of(text), &a));
    return a;
}

/* Another one each time. */
static uint64_t some_name(void)
{
    static uint64_t n;

    return ++n * UINT64_C(0x9e3779b97f4a7c15);
}

static void note_all(const struct harvest_keys *k, uint64_t now_ms)
{
    offenders_note(o, &h, k->client, now_ms);
    offenders_note(o, &h, k->network, now_ms);
    offenders_note(o, &h, k->domain, now_ms);
}

static void tries(const struct ip_addr *client, int n, uint64_t now_ms)
{
    struct harvest_keys k = harvest_keys(secret, client, STR("a.example"));

    for (int i = 0; i < n; i++) {
        while (!harvest_bad(&h, 1, &k, some_name(), now_ms))
            ; /* of very many, some are taken for others */
        note_all(&k, now_ms);
    }
}

static bool has(const char *text)
{
    struct ip_addr a = ip(text);

    return offenders_has(o, &a);
}

static void setup(void)
{
    harvest_init(&h, 0);
    o = calloc(1, sizeof *o);
    ck_assert_ptr_nonnull(o);
    ck_assert(!has("192.0.2.1"));
    offenders_secret(o, secret);
}

static void teardown(void)
{
    harvest_fini(&h);
    free(o);
}

START_TEST(S16_a_client_is_shown_when_it_is_an_offender_until_it_calms_down)
{
    struct ip_addr a = ip("192.0.2.1");

    tries(&a, LIMIT_HARVEST_OFFENDER - 1, T0);
    ck_assert(!has("192.0.2.1"));
    tries(&a, 1, T0);
    ck_assert(has("192.0.2.1"));
    ck_assert(!has("192.0.2.2")); /* the network has five times as many */
    offenders_sweep(o, &h, T0 + HOUR);
    ck_assert(has("192.0.2.1"));
    offenders_sweep(o, &h, T0 + 2 * HOUR);
    ck_assert(!has("192.0.2.1"));
}
END_TEST

START_TEST(S16_a_network_is_shown_for_what_all_of_it_did)
{
    for (int i = 1; i <= LIMIT_HARVEST_NETWORK; i++) {
        char text[32];
        struct ip_addr a;

        snprintf(text, sizeof text, "192.0.2.%d", i);
        a = ip(text);
        ck_assert(!has("192.0.2.200"));
        tries(&a, LIMIT_HARVEST_OFFENDER, T0);
    }
    ck_assert(has("192.0.2.200"));
    ck_assert(!has("192.0.3.1"));
}
END_TEST

START_TEST(another_secret_empties_it)
{
    static const uint64_t other[2] = {9, 10};
    struct ip_addr a = ip("2001:db8::1");

    tries(&a, LIMIT_HARVEST_OFFENDER, T0);
    ck_assert(has("2001:db8::ffff")); /* one client: its /64 */
    offenders_secret(o, other);
    ck_assert(!has("2001:db8::1"));
}
END_TEST

START_TEST(good_mail_takes_a_client_off_at_the_next_sweep)
{
    struct ip_addr a = ip("192.0.2.1");
    struct harvest_keys k = harvest_keys(secret, &a, STR("a.example"));

    tries(&a, LIMIT_HARVEST_OFFENDER, T0);
    for (int i = 0; i <= LIMIT_HARVEST_OFFENDER; i++)
        harvest_good(&h, 1, &k, T0);
    offenders_sweep(o, &h, T0);
    ck_assert(!has("192.0.2.1"));
}
END_TEST

START_TEST(a_table_that_is_too_small_still_tells_no_lies)
{
    uint32_t shown = 0;

    for (uint32_t i = 0; i < 2 * LIMIT_OFFENDERS; i++) {
        struct ip_addr a = ip_v4((const uint8_t[]){10, (uint8_t)(i >> 8), (uint8_t)i, 1});

        tries(&a, LIMIT_HARVEST_OFFENDER, T0);
    }
    for (uint32_t i = 0; i < 2 * LIMIT_OFFENDERS; i++) {
        struct ip_addr a = ip_v4((const uint8_t[]){10, (uint8_t)(i >> 8), (uint8_t)i, 1});
        struct ip_addr b = ip_v4((const uint8_t[]){11, (uint8_t)(i >> 8), (uint8_t)i, 1});

        shown += offenders_has(o, &a);
        ck_assert(!offenders_has(o, &b));
    }
    ck_assert_uint_gt(shown, LIMIT_OFFENDERS / 2);
    ck_assert_uint_le(shown, LIMIT_OFFENDERS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("offenders");
    TCase *tc = tcase_create("offenders");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, S16_a_client_is_shown_when_it_is_an_offender_until_it_calms_down);
    tcase_add_test(tc, S16_a_network_is_shown_for_what_all_of_it_did);
    tcase_add_test(tc, another_secret_empties_it);
    tcase_add_test(tc, good_mail_takes_a_client_off_at_the_next_sweep);
    tcase_add_test(tc, a_table_that_is_too_small_still_tells_no_lies);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
