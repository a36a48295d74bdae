/* Domains of addresses in any script, and whose mail it is. */
#include "node/domain_name.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *rcpt, *owner; /* NULL: nobody's */
} rows[] = {
    {"<a@Example.ORG>", "example.org"},
    {"<a@b\xc3\xbc"
     "cher.example>",
     "xn--bcher-kva.example"},
    {"<a@B\xc3\x9c"
     "CHER.Example>",
     "xn--bcher-kva.example"},
    {"<a@xn--bcher-kva.example>", "xn--bcher-kva.example"},
    {"<jos\xc3\xa9@example.org>", "example.org"},
    {"<a@\xd0\xb5xample.org>", "xn--xample-2of.org"}, /* a Cyrillic letter: another name */
    {"<a%b@b\xc3\xbc"
     "cher.example>",
     NULL},
    {"<a@[192.0.2.1]>", NULL},
    {"<a@b\xc3\xbc"
     "cher.example\xe3\x80\x82>",
     NULL}, /* a stop that stands for a dot: at the end, */
    {"<a@b\xc3\xbc"
     "cher\xe3\x80\x82"
     "example>",
     NULL},                                /* and between two labels */
    {"<a@\xef\xbd\x85xample.org>", NULL},  /* a wide e: ASCII in disguise */
    {"<a@e\xe2\x80\x8dxample.org>", NULL}, /* a joiner where it joins nothing */
};

START_TEST(names_are_what_they_stand_for)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct path path;
    struct str owner;
    bool is_owned;

    ck_assert_int_eq(address_parse_rcpt(str_of(rows[_i].rcpt), true, &path), ADDRESS_OK);
    is_owned = domain_name_owner(&path, buf, &owner);
    ck_assert_int_eq(is_owned, rows[_i].owner != NULL);
    ck_assert_msg(str_eq(owner, rows[_i].owner == NULL ? STR_NONE : str_of(rows[_i].owner)),
                  STR_FMT, STR_ARG(owner));
}
END_TEST

START_TEST(a_name_that_is_too_long_is_none)
{
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 2], buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str out;

    for (size_t i = 0; i < sizeof domain; i++)
        domain[i] = i % 30 == 29 ? '.' : i % 2 == 0 ? '\xc3' : '\xa9';
    ck_assert(!domain_name_ascii((struct str){domain, 28}, buf, &out) || out.n > 0);
    ck_assert(!domain_name_ascii((struct str){domain, sizeof domain - 1}, buf, &out));
    ck_assert(!domain_name_ascii((struct str){domain, sizeof domain}, buf, &out));
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("domain_name");
    TCase *tc = tcase_create("domain_name");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, names_are_what_they_stand_for, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tc, a_name_that_is_too_long_is_none);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
