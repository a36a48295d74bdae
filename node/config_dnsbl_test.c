#include "node/config_dnsbl.h"

#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define FOUR     "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5"

static struct config_dnsbl d;

START_TEST(a_list_is_a_zone_and_its_answers)
{
    ck_assert_ptr_null(config_dnsbl_parse(STR("zen.spamhaus.org=127.0.0.2-127.0.0.11"), &d));
    ck_assert(str_eq(d.zone, STR("zen.spamhaus.org")) && d.key_file.n == 0);
    ck_assert_uint_eq(d.answer_count, 1);
    ck_assert_uint_eq(d.answers[0].low, 0x7f000002);
    ck_assert_uint_eq(d.answers[0].high, 0x7f00000b);
    ck_assert_int_eq(d.answers[0].weight, 1);
    ck_assert_ptr_null(config_dnsbl_parse(
        STR("b_l.example=127.0.0.2*7,key_file=/etc/k,127.1.0.0-127.255.254.255*-1000"), &d));
    ck_assert(str_eq(d.key_file, STR("/etc/k")));
    ck_assert_uint_eq(d.answer_count, 2);
    ck_assert_int_eq(d.answers[0].weight, 7);
    ck_assert_uint_eq(d.answers[1].low, 0x7f010000);
    ck_assert_uint_eq(d.answers[1].high, 0x7ffffeff);
    ck_assert_int_eq(d.answers[1].weight, -1000);
    ck_assert_ptr_null(
        config_dnsbl_parse(STR("bl.example=" FOUR "," FOUR "," FOUR "," FOUR), &d));
    ck_assert_uint_eq(d.answer_count, LIMIT_DNSBL_ANSWERS);
}
END_TEST

static const char *const refused[] = {
    "",
    "bl.example",
    "bl.example=",
    "=127.0.0.2",
    "bl=127.0.0.2",
    ".bl.example=127.0.0.2",
    "bl..example=127.0.0.2",
    "bl.example.=127.0.0.2",
    "bl.exa mple=127.0.0.2",
    "bl.example=127.0.0.2,",
    "bl.example=,127.0.0.2",
    "bl.example=128.0.0.2",
    "bl.example=127.0.0",
    "bl.example=127.0.0.2.",
    "bl.example=127.0.0.02",
    "bl.example=127.0.0.256",
    "bl.example=127.0.0.2-",
    "bl.example=127.0.0.3-127.0.0.2",
    "bl.example=127.0.0.2-11",
    "bl.example=127.255.255.0",
    "bl.example=127.0.0.2-127.255.255.254",
    "bl.example=127.0.0.2*",
    "bl.example=127.0.0.2*0",
    "bl.example=127.0.0.2*1001",
    "bl.example=127.0.0.2*-1001",
    "bl.example=127.0.0.2*--1",
    "bl.example=127.0.0.2*+1",
    "bl.example=key_file=/etc/k",
    "bl.example=127.0.0.2,key_file=",
    "bl.example=127.0.0.2,key_file=k",
    "bl.example=127.0.0.2,key_file=/a,key_file=/b",
    "bl.example=" FOUR "," FOUR "," FOUR "," FOUR ",127.0.0.6",
};

START_TEST(what_is_no_list_is_refused)
{
    const char *why = config_dnsbl_parse(str_of(refused[_i]), &d);

    ck_assert_msg(why != NULL && strncmp(why, "must ", 5) == 0, "%s", refused[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_dnsbl");
    TCase *tc = tcase_create("config_dnsbl");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_list_is_a_zone_and_its_answers);
    tcase_add_loop_test(tc, what_is_no_list_is_refused, 0, COUNT(refused));
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
