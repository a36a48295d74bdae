#include "node/policy/ip.h"

#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *given, *text, *reverse;
    bool v4;
} good[] = {
    {"192.0.2.1", "192.0.2.1", "1.2.0.192", true},
    {"::ffff:192.0.2.1", "192.0.2.1", "1.2.0.192", true},
    {"::FFFF:c000:201", "192.0.2.1", "1.2.0.192", true},
    {"0.0.0.0", "0.0.0.0", "0.0.0.0", true},
    {"255.255.255.255", "255.255.255.255", "255.255.255.255", true},
    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1",
     "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2", false},
    {"::", "::", "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0", false},
};

START_TEST(an_address_has_one_form_however_it_is_written)
{
    char text[IP_TEXT_BYTES], reverse[IP_REVERSE_BYTES];
    struct ip_addr ip, again;

    ck_assert(ip_parse(str_of(good[_i].given), &ip));
    ck_assert_str_eq(ip_text(&ip, text).p, good[_i].text);
    ck_assert_str_eq(ip_reverse(&ip, reverse).p, good[_i].reverse);
    ck_assert_int_eq(ip_is_v4(&ip), good[_i].v4);
    ck_assert(ip_parse(str_of(text), &again) && ip_eq(&ip, &again));
}
END_TEST

static const char *const bad[] = {
    "",           "1.2.3",
    "1.2.3.4.5",  "01.2.3.4",
    "1.2.3.256",  "1.2.3.4 ",
    " 1.2.3.4",   "::g",
    "1:2:3:4:5",  ":::",
    "[::1]",      "::1%lo",
    "1.2.3.4/8",  "0x7f.0.0.1",
    "2130706433", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
};

START_TEST(what_is_no_address_is_refused)
{
    struct ip_addr ip = {{42}};

    ck_assert_msg(!ip_parse(str_of(bad[_i]), &ip), "'%s'", bad[_i]);
    ck_assert_uint_eq(ip.b[0], 42);
}
END_TEST

START_TEST(a_network_keeps_its_bits_alone)
{
    struct ip_addr ip, net;
    char text[IP_TEXT_BYTES];

    ck_assert(ip_parse(STR("192.0.2.255"), &ip));
    net = ip_network(&ip, IP_V4_BITS + 25);
    ck_assert_str_eq(ip_text(&net, text).p, "192.0.2.128");
    net = ip_network(&ip, IP_BITS);
    ck_assert(ip_eq(&net, &ip));
    net = ip_network(&ip, 0);
    ck_assert_str_eq(ip_text(&net, text).p, "::");
    ck_assert(ip_parse(STR("2001:db8:1:2:3:4:5:6"), &ip));
    net = ip_network(&ip, 64);
    ck_assert_str_eq(ip_text(&net, text).p, "2001:db8:1:2::");
    net = ip_network(&ip, 61);
    ck_assert_str_eq(ip_text(&net, text).p, "2001:db8:1::");
}
END_TEST

START_TEST(nibbles_of_an_ipv4_address_are_those_of_its_long_form)
{
    char buf[IP_REVERSE_BYTES];
    struct ip_addr ip = ip_v4((const uint8_t[4]){127, 0, 0, 2});

    ck_assert_str_eq(ip_nibbles(&ip, buf).p,
                     "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ip");
    TCase *tc = tcase_create("ip");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, an_address_has_one_form_however_it_is_written, 0, COUNT(good));
    tcase_add_loop_test(tc, what_is_no_address_is_refused, 0, COUNT(bad));
    tcase_add_test(tc, a_network_keeps_its_bits_alone);
    tcase_add_test(tc, nibbles_of_an_ipv4_address_are_those_of_its_long_form);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
