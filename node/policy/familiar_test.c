/* Who is remembered, for how long, and that nobody is taken for another. */
#include "node/policy/familiar.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct familiar f;
static const uint64_t secret[2] = {3, 4};
#define NOW UINT64_C(1000)

static void setup(void)
{
    memset(&f, 0, sizeof f);
    familiar_init(&f, secret);
}

static struct ip_addr ip(const char *text)
{
    struct ip_addr a;

    ck_assert(ip_parse(str_of(text), &a));
    return a;
}

static void note(const char *client, const char *spf)
{
    struct ip_addr a = ip(client);

    familiar_note(&f, &a, str_of(spf), NOW);
}

static bool is(const char *client, const char *spf, uint64_t now_ms)
{
    struct ip_addr a = ip(client);

    return familiar_is(&f, &a, str_of(spf), now_ms);
}

START_TEST(a_network_with_its_domain_is_remembered_for_a_while)
{
    ck_assert(!is("192.0.2.1", "", NOW));
    note("192.0.2.1", "");
    ck_assert(is("192.0.2.1", "", NOW) && is("192.0.2.200", "", NOW));
    ck_assert(!is("192.0.3.1", "", NOW) && !is("192.0.2.1", "a.example", NOW));
    note("2001:db8:1:2::3", "A.Example");
    ck_assert(is("2001:db8:1:2:ffff::1", "a.example", NOW));
    ck_assert(!is("2001:db8:1:3::3", "a.example", NOW) && !is("2001:db8:1:2::3", "", NOW));
    ck_assert(is("192.0.2.1", "", NOW + LIMIT_FAMILIAR_MS - 1));
    ck_assert(!is("192.0.2.1", "", NOW + LIMIT_FAMILIAR_MS));
}
END_TEST

START_TEST(nobody_is_taken_for_another_however_many_there_are)
{
    char client[32];
    unsigned remembered = 0;

    for (unsigned i = 0; i < 4 * LIMIT_FAMILIAR; i += 2) {
        snprintf(client, sizeof client, "10.%u.%u.1", i / 256 % 256, i % 256);
        note(client, "");
    }
    for (unsigned i = 0; i < 4 * LIMIT_FAMILIAR; i++) {
        snprintf(client, sizeof client, "10.%u.%u.1", i / 256 % 256, i % 256);
        ck_assert(i % 2 == 0 || !is(client, "", NOW));
        remembered += is(client, "", NOW);
    }
    ck_assert_uint_gt(remembered, LIMIT_FAMILIAR / 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("familiar");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_network_with_its_domain_is_remembered_for_a_while);
    tcase_add_test(tc, nobody_is_taken_for_another_however_many_there_are);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
