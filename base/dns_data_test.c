#include "base/dns_data.h"

#include <check.h>

START_TEST(names_that_dns_can_carry_are_legal_and_no_others)
{
    static char longest[LIMIT_SMTP_DOMAIN_BYTES + 2];
    static const struct {
        struct str name;
        bool legal;
    } cases[] = {
        {STR("example.com"), true},
        {STR("localhost"), true},
        {STR("_spf.example.com"), true},
        {STR("foo:bar/baz.example.com"), true},
        {STR("two words.example"), true},
        {STR("a12345678901234567890123456789012345678901234567890123456789012.b"), true},
        {STR("a123456789012345678901234567890123456789012345678901234567890123.b"), false},
        {STR(""), false},
        {STR("."), false},
        {STR(".example"), false},
        {STR("example."), false},
        {STR("a..b"), false},
        {STR("a\\.b"), false},
        {STR("a\0b"), false},
        {STR("a\tb"), false},
        {STR("b\xc3\xa4r.example"), false},
        {STR("\x7f.example"), false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(dns_name_is_legal(cases[i].name) == cases[i].legal, STR_FMT,
                      STR_ARG(cases[i].name));
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 2 == 0 ? 'a' : '.';
    ck_assert(dns_name_is_legal((struct str){longest, LIMIT_SMTP_DOMAIN_BYTES}));
    ck_assert(!dns_name_is_legal((struct str){longest, LIMIT_SMTP_DOMAIN_BYTES + 2}));
}
END_TEST

START_TEST(a_text_is_what_its_record_says_and_may_hold_any_byte)
{
    static struct dns_answer a = {.count = 2, .text_n = 5, .text = "ab\0cd"};

    a.records[1] = (struct dns_record){.text_at = 1, .text_n = 4};
    ck_assert_uint_eq(dns_text(&a, 0).n, 0);
    ck_assert(str_eq(dns_text(&a, 1), STR("b\0cd")));
}
END_TEST

START_TEST(each_status_has_a_text)
{
    for (int s = DNS_OK; s <= DNS_SILENCE; s++)
        ck_assert_uint_gt(strlen(dns_status_text((enum dns_status)s)), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dns_data");
    TCase *tc = tcase_create("data");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, names_that_dns_can_carry_are_legal_and_no_others);
    tcase_add_test(tc, a_text_is_what_its_record_says_and_may_hold_any_byte);
    tcase_add_test(tc, each_status_has_a_text);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
