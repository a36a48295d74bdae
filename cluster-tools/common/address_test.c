/* ADDR:PORT as users write it, numeric forms only: no test asks a resolver. */
#include "cluster-tools/common/address.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *text, *want; /* want NULL: refused */
} cases[] = {
    {"127.0.0.1:25", "127.0.0.1:25"},
    {"[::1]:2525", "[::1]:2525"},
    {"[2001:db8:0:0::1]:65535", "[2001:db8::1]:65535"},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:0", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:25x", NULL},
    {"127.0.0.1:+25", NULL},
    {":25", NULL},
    {"::1:25", NULL},
    {"[::1]", NULL},
    {"[::1]25", NULL},
    {"[]:25", NULL},
    {"[::1:25", NULL},
    {"", NULL},
    {":", NULL},
    {"[", NULL},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(address_and_port_are_told_apart_or_refused)
{
    struct str text = {cases[_i].text, strlen(cases[_i].text)};
    struct address a[2];
    size_t n = 9;
    enum err e = address_resolve(text, a, 2, &n);

    if (cases[_i].want == NULL) {
        ck_assert_int_eq(e, E_PROTO);
        ck_assert_uint_eq(n, 0);
        return;
    }
    ck_assert_int_eq(e, OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(a[0].text, cases[_i].want);
}
END_TEST

START_TEST(an_address_without_port_is_shown_without)
{
    struct address a;

    ck_assert_int_eq(address_numeric(STR("::1"), 0, &a), OK);
    ck_assert_str_eq(a.text, "::1");
    ck_assert_int_eq(address_numeric(STR("127.0.0.1 "), 0, &a), E_PROTO);
    ck_assert_int_eq(address_numeric((struct str){"127.0.0.1\0x", 11}, 0, &a), E_PROTO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tc = tcase_create("parse");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, address_and_port_are_told_apart_or_refused, 0, CASES);
    tcase_add_test(tc, an_address_without_port_is_shown_without);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
