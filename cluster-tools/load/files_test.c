/* Files that cannot travel unchanged are found out before anything is sent. */
#include "cluster-tools/load/files.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *bytes;
    enum file_flaw flaw;
    bool eight_bit;
} cases[] = {
    {"a\r\nb\r\n", FILE_CLEAN, false},  {"\r\n", FILE_CLEAN, false},
    {"\xc3\xa4\r\n", FILE_CLEAN, true}, {"", FILE_NO_END, false},
    {"a", FILE_NO_END, false},          {"a\r\nb", FILE_NO_END, false},
    {"a\r\nb\r", FILE_NO_END, false},   {"a\nb\r\n", FILE_BARE_LF, false},
    {"\n", FILE_BARE_LF, false},        {"a\rb\r\n", FILE_BARE_CR, false},
    {"a\r\r\n", FILE_BARE_CR, false},   {"a\n\rb\xff\r\n", FILE_BARE_LF, true},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(the_first_flaw_is_named_in_whatever_pieces_it_comes)
{
    size_t n = strlen(cases[_i].bytes);

    for (size_t piece = 1; piece <= n + 1; piece++) {
        struct file_scan s;

        file_scan_init(&s);
        for (size_t at = 0; at < n; at += piece)
            file_scan_add(&s,
                          (struct str){cases[_i].bytes + at, piece < n - at ? piece : n - at});
        ck_assert_int_eq(file_scan_end(&s), cases[_i].flaw);
        ck_assert_int_eq(s.eight_bit, cases[_i].eight_bit);
    }
}
END_TEST

START_TEST(ids_have_no_blanks_and_are_unambiguous)
{
    static const struct {
        const char *name, *id;
    } names[] = {
        {"plain-1.eml", "plain-1.eml"},
        {"a b", "a%20b"},
        {"a%20b", "a%2520b"},
        {"\xc3\xa4\n", "%C3%A4%0A"},
    };
    char id[64];

    file_id((struct str){names[_i].name, strlen(names[_i].name)}, id, sizeof id);
    ck_assert_str_eq(id, names[_i].id);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("files");
    TCase *tc = tcase_create("scan");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, the_first_flaw_is_named_in_whatever_pieces_it_comes, 0, CASES);
    tcase_add_loop_test(tc, ids_have_no_blanks_and_are_unambiguous, 0, 4);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
