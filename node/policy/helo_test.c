#include "node/policy/helo.h"

#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static const char *const own[] = {"mx1.example.net", "MX2.example.net"};

static enum helo_result judge(const char *helo, const char *client, bool client_is_ours)
{
    struct ip_addr ip;
    struct helo_facts f = {.helo = str_of(helo),
                           .client = &ip,
                           .own_names = own,
                           .own_name_count = COUNT(own),
                           .client_is_ours = client_is_ours};

    ck_assert(ip_parse(str_of(client), &ip));
    return helo_judge(&f);
}

#define L63 "a123456789012345678901234567890123456789012345678901234567890ab"

static const struct {
    const char *helo, *client;
    enum helo_result result;
} cases[] = {
    /* what real servers say */
    {"mail.example.com", "192.0.2.7", HELO_FINE},
    {"MAIL-SRV_01.Example.COM", "192.0.2.7", HELO_FINE},
    {"mail-ej1-f52.google.com", "192.0.2.7", HELO_FINE},
    {"mail.example.com.", "192.0.2.7", HELO_FINE},
    {"xn--bcher-kva.example", "192.0.2.7", HELO_FINE},
    {"1.2.3.4.dyn.example.com", "192.0.2.7", HELO_FINE},
    {"4.com", "192.0.2.7", HELO_FINE},
    {"-relay-.example.com", "192.0.2.7", HELO_FINE},
    {"exchange.corp.local", "192.0.2.7", HELO_FINE},
    {L63 ".example", "192.0.2.7", HELO_FINE},
    {"[192.0.2.7]", "192.0.2.7", HELO_FINE},
    {"[192.0.2.7]", "::ffff:192.0.2.7", HELO_FINE},
    {"[IPv6:2001:db8::7]", "2001:db8::7", HELO_FINE},
    {"[ipv6:2001:DB8:0::7]", "2001:db8::7", HELO_FINE},
    {"[2001:db8::7]", "2001:db8::7", HELO_FINE},
    /* odd */
    {"localhost", "192.0.2.7", HELO_UNQUALIFIED},
    {"WIN-7QK2LJ3", "192.0.2.7", HELO_UNQUALIFIED},
    {"friend.", "192.0.2.7", HELO_UNQUALIFIED},
    {"[10.1.2.3]", "192.0.2.7", HELO_PRIVATE},
    {"[172.16.0.1]", "192.0.2.7", HELO_PRIVATE},
    {"[172.31.255.255]", "192.0.2.7", HELO_PRIVATE},
    {"[192.168.255.1]", "192.0.2.7", HELO_PRIVATE},
    {"[127.0.0.1]", "192.0.2.7", HELO_PRIVATE},
    {"[169.254.1.1]", "192.0.2.7", HELO_PRIVATE},
    {"[100.127.0.1]", "192.0.2.7", HELO_PRIVATE},
    {"[IPv6:fd00::1]", "192.0.2.7", HELO_PRIVATE},
    {"[IPv6:fe80::1]", "192.0.2.7", HELO_PRIVATE},
    {"[IPv6:::1]", "192.0.2.7", HELO_PRIVATE},
    /* nobody's */
    {"192.0.2.7", "192.0.2.7", HELO_BARE_ADDRESS},
    {"2001:db8::7", "2001:db8::7", HELO_BARE_ADDRESS},
    {"[192.0.2.8]", "192.0.2.7", HELO_OTHER_ADDRESS},
    {"[172.32.0.1]", "192.0.2.7", HELO_OTHER_ADDRESS},
    {"[100.128.0.1]", "192.0.2.7", HELO_OTHER_ADDRESS},
    {"[IPv6:2001:db8::8]", "2001:db8::7", HELO_OTHER_ADDRESS},
    {"[IPv6:::2]", "192.0.2.7", HELO_OTHER_ADDRESS},
    {"mx1.example.net", "192.0.2.7", HELO_OUR_NAME},
    {"mx1.EXAMPLE.net.", "192.0.2.7", HELO_OUR_NAME},
    {"mx2.example.net", "192.0.2.7", HELO_OUR_NAME},
    {"mx3.example.net", "192.0.2.7", HELO_FINE},
    {"", "192.0.2.7", HELO_NO_NAME},
    {".", "192.0.2.7", HELO_NO_NAME},
    {"[", "192.0.2.7", HELO_NO_NAME},
    {"[]", "192.0.2.7", HELO_NO_NAME},
    {"[mail.example.com]", "192.0.2.7", HELO_NO_NAME},
    {"[192.0.2.7", "192.0.2.7", HELO_NO_NAME},
    {"[192.0.2.256]", "192.0.2.7", HELO_NO_NAME},
    {"192.0.2", "192.0.2.7", HELO_NO_NAME},
    {"12345", "192.0.2.7", HELO_NO_NAME},
    {"mail..example.com", "192.0.2.7", HELO_NO_NAME},
    {".example.com", "192.0.2.7", HELO_NO_NAME},
    {"mail.example.com..", "192.0.2.7", HELO_NO_NAME},
    {"mail example com", "192.0.2.7", HELO_NO_NAME},
    {"user@example.com", "192.0.2.7", HELO_NO_NAME},
    {"http://example.com", "192.0.2.7", HELO_NO_NAME},
    {L63 "c.example", "192.0.2.7", HELO_NO_NAME},
};

START_TEST(what_a_client_calls_itself)
{
    enum helo_result r = judge(cases[_i].helo, cases[_i].client, false);

    ck_assert_msg(r == cases[_i].result, "%s: %s", cases[_i].helo, helo_result_text(r));
    ck_assert(helo_is_bad(r) == (r != HELO_FINE && r != HELO_UNQUALIFIED && r != HELO_PRIVATE));
    if (helo_is_bad(r)) {
        ck_assert_int_eq(strncmp(helo_reply(r, false), "550 5.7.1 ", 10), 0);
        ck_assert_int_eq(strncmp(helo_reply(r, true), "450 4.7.1 ", 10), 0);
    }
}
END_TEST

START_TEST(a_sibling_may_say_our_names_and_nothing_else)
{
    ck_assert_int_eq(judge("mx2.example.net", "192.0.2.7", true), HELO_FINE);
    ck_assert_int_eq(judge("[192.0.2.8]", "192.0.2.7", true), HELO_OTHER_ADDRESS);
}
END_TEST

START_TEST(a_name_has_at_most_253_bytes)
{
    char name[256];

    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 50 == 49 ? '.' : 'a';
    name[253] = 0;
    ck_assert_int_eq(judge(name, "192.0.2.7", false), HELO_FINE);
    name[253] = 'a';
    name[254] = 0;
    ck_assert_int_eq(judge(name, "192.0.2.7", false), HELO_NO_NAME);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("helo");
    TCase *tc = tcase_create("helo");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, what_a_client_calls_itself, 0, COUNT(cases));
    tcase_add_test(tc, a_sibling_may_say_our_names_and_nothing_else);
    tcase_add_test(tc, a_name_has_at_most_253_bytes);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
