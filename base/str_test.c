#include "base/str.h"

#include <check.h>
#include <stdlib.h>

START_TEST(numbers_are_whole_unsigned_and_in_range)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"00012", true, 12},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"18446744073709551620", false, 0},
        {"99999999999999999999", false, 0},
        {"184467440737095516150", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {":", false, 0},
        {"/", false, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;

        ck_assert_msg(str_to_u64(str_of(cases[i].text), &value) == cases[i].ok, "%s",
                      cases[i].text);
        if (cases[i].ok)
            ck_assert_uint_eq(value, cases[i].value);
    }
}
END_TEST

START_TEST(comparison_looks_at_bytes_and_at_ascii_case_only_when_asked)
{
    ck_assert(str_eq(STR("abc"), STR("abc")));
    ck_assert(!str_eq(STR("abc"), STR("abC")));
    ck_assert(!str_eq(STR("abc"), STR("ab")));
    ck_assert(str_eq(STR_NONE, STR("")));
    ck_assert(!str_eq((struct str){"a\0b", 3}, (struct str){"a\0c", 3}));
    ck_assert(str_eq_nocase(STR("AbC"), STR("aBc")));
    ck_assert(!str_eq_nocase(STR("AbC"), STR("aBd")));
    ck_assert(str_eq_nocase(STR_NONE, STR("")));
    ck_assert(str_starts_nocase(STR("MAIL FROM:<a>"), STR("mail from:")));
    ck_assert(!str_starts_nocase(STR("MAIL"), STR("MAIL FROM:")));
    ck_assert(str_starts_nocase(STR("x"), STR_NONE));
}
END_TEST

START_TEST(cuts_and_splits_leave_the_rest)
{
    struct str s = STR("RCPT TO:<a@b>"), part;

    ck_assert(!str_cut_nocase(&s, STR("MAIL")));
    ck_assert(str_eq(s, STR("RCPT TO:<a@b>")));
    ck_assert(str_cut_nocase(&s, STR("rcpt to:")));
    ck_assert(str_eq(s, STR("<a@b>")));
    s = STR("a,b,,c");
    ck_assert(str_eq(str_split(&s, ','), STR("a")));
    ck_assert(str_eq(str_split(&s, ','), STR("b")));
    part = str_split(&s, ',');
    ck_assert_uint_eq(part.n, 0);
    ck_assert(str_eq(str_split(&s, ','), STR("c")));
    ck_assert_uint_eq(s.n, 0);
    ck_assert_uint_eq(str_split(&s, ',').n, 0);
    s = STR("   x ");
    str_skip(&s, ' ');
    ck_assert(str_eq(s, STR("x ")));
    s = STR("    ");
    str_skip(&s, ' ');
    ck_assert_uint_eq(s.n, 0);
}
END_TEST

START_TEST(finding_answers_the_length_when_there_is_nothing)
{
    struct str s = STR("a@b@c");

    ck_assert_uint_eq(str_find(s, '@'), 1);
    ck_assert_uint_eq(str_find_last(s, '@'), 3);
    ck_assert_uint_eq(str_find(s, 'x'), 5);
    ck_assert_uint_eq(str_find_last(s, 'x'), 5);
    ck_assert_uint_eq(str_find(STR_NONE, 'x'), 0);
    ck_assert_uint_eq(str_find_last(STR_NONE, 'x'), 0);
    ck_assert(str_ends(s, 'c') && !str_ends(s, 'b') && !str_ends(STR_NONE, 'b'));
    ck_assert(str_eq(str_head(s, 3), STR("a@b")));
    ck_assert(str_eq(str_from(s, 4), STR("c")));
    ck_assert_uint_eq(str_from(s, 5).n, 0);
    ck_assert_uint_eq(str_from(STR_NONE, 0).n, 0);
}
END_TEST

/* Exact-size copies: a read past the end is seen by ASan. */
START_TEST(copies_fit_or_are_refused)
{
    char *exact = malloc(4), buf[4] = "xxx";
    struct str s = {exact, 4};

    memcpy(exact, "AbCd", 4);
    ck_assert(!str_to_z(s, buf, sizeof buf));
    ck_assert_str_eq(buf, "");
    ck_assert(str_to_z(str_head(s, 3), buf, sizeof buf));
    ck_assert_str_eq(buf, "AbC");
    ck_assert(!str_to_z((struct str){"a\0b", 3}, buf, sizeof buf));
    ck_assert_str_eq(buf, "");
    ck_assert(str_to_z(STR_NONE, buf, sizeof buf));
    ck_assert(str_eq(str_lower(s, buf, sizeof buf), STR("abcd")));
    ck_assert(str_eq(str_lower(STR("@[`{"), buf, sizeof buf), STR("@[`{")));
    free(exact);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("str");
    TCase *tc = tcase_create("str");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, numbers_are_whole_unsigned_and_in_range);
    tcase_add_test(tc, comparison_looks_at_bytes_and_at_ascii_case_only_when_asked);
    tcase_add_test(tc, cuts_and_splits_leave_the_rest);
    tcase_add_test(tc, finding_answers_the_length_when_there_is_nothing);
    tcase_add_test(tc, copies_fit_or_are_refused);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
