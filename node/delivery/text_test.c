/* What is written is ASCII, and all of it or nothing. */
#include "node/delivery/text.h"

#include <check.h>
#include <stdlib.h>

static char buf[64];

static struct str address(struct str path, bool is_foreign)
{
    static struct text t;

    t = (struct text){.p = buf, .size = sizeof buf};
    ck_assert_int_eq(text_is_foreign(path), is_foreign);
    ck_assert_int_eq(text_address(&t, path), is_foreign);
    return (struct str){t.p, t.n};
}

START_TEST(addresses_are_written_so_that_no_two_look_the_same)
{
    ck_assert(str_eq(address(STR("a+b=c\\@x.example"), false), STR("a+b=c\\@x.example")));
    ck_assert(str_eq(address(STR("a\xc3\xa9+b=\\@x.y"), true),
                     STR("a\\x{E9}\\x{2B}b\\x{3D}\\x{5C}@x.y")));
    ck_assert(str_eq(address(STR("\xf0\x9f\x93\xac@x.y"), true), STR("\\x{1F4EC}@x.y")));
    ck_assert(str_eq(address(STR("\xc3\xa9\r\n@x.y"), true), STR("\\x{E9}\\x{0D}\\x{0A}@x.y")));
    ck_assert(str_eq(address(STR("a\xe9\r\n@x.y"), false), STR("a???@x.y"))); /* Latin-1 */
}
END_TEST

START_TEST(an_address_never_makes_a_line_too_long)
{
    static char path[LIMIT_SMTP_PATH_BYTES], room[2048];
    struct text t = {.p = room, .size = sizeof room};

    memset(path, '=', sizeof path);
    memcpy(path, "\xc3\xa9", 2);
    ck_assert(!text_address(&t, (struct str){path, sizeof path}));
    ck_assert_uint_eq(t.n, sizeof path);
    ck_assert(str_starts_nocase((struct str){t.p, t.n}, STR("?"
                                                            "?==")));
    t.n = 0;
    ck_assert(text_address(&t, (struct str){path, 150}));
    ck_assert_uint_eq(t.n, 6 + 148 * 6);
}
END_TEST

START_TEST(what_does_not_fit_is_said)
{
    struct text t = {.p = buf, .size = 4};

    text_z(&t, "abc");
    text_put(&t, STR("de"));
    ck_assert(t.full && t.n == 3);
    text_char(&t, 'f'); /* would fit; but behind a gap */
    ck_assert_uint_eq(t.n, 3);
    t = (struct text){.p = buf, .size = sizeof buf};
    text_clean(&t, STR("a\0\x7f\tb\xc3\xa9z"), 7);
    ck_assert(!t.full && str_eq((struct str){t.p, t.n}, STR("a???b??")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tc = tcase_create("text");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, addresses_are_written_so_that_no_two_look_the_same);
    tcase_add_test(tc, an_address_never_makes_a_line_too_long);
    tcase_add_test(tc, what_does_not_fit_is_said);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
