#include "base/base64.h"

#include <check.h>
#include <stdlib.h>

/* RFC 4648 10, and bytes that use the last two digits. */
static const struct {
    struct str bytes, text;
} rows[] = {
    {STR(""), STR("")},
    {STR("f"), STR("Zg==")},
    {STR("fo"), STR("Zm8=")},
    {STR("foo"), STR("Zm9v")},
    {STR("foob"), STR("Zm9vYg==")},
    {STR("fooba"), STR("Zm9vYmE=")},
    {STR("foobar"), STR("Zm9vYmFy")},
    {STR("\xfb\xff\xbf\0"), STR("+/+/AA==")},
};

START_TEST(text_is_that_of_the_rfc_and_comes_back)
{
    char text[64], bytes[64];
    size_t n;

    ck_assert_uint_eq(base64_encode(rows[_i].bytes, text), rows[_i].text.n);
    ck_assert_str_eq(text, rows[_i].text.p);
    ck_assert(base64_decode(rows[_i].text, bytes, &n));
    ck_assert(str_eq((struct str){bytes, n}, rows[_i].bytes));
}
END_TEST

static const char *const wrong[] = {"Z",        "Zg",   "Zg=",  "Zh==",   "Zm9=", "====",
                                    "Zg==Zg==", "Zm9!", "Z===", "Zm9v\n", "Zm 9", "=m9v"};

START_TEST(other_texts_are_refused)
{
    size_t n = strlen(wrong[_i]), got;
    char *copy = malloc(n), *bytes = malloc(n / 4 * 3 + 1);

    memcpy(copy, wrong[_i], n);
    ck_assert(!base64_decode((struct str){copy, n}, bytes, &got));
    free(copy);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base64");
    TCase *t = tcase_create("base64");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, text_is_that_of_the_rfc_and_comes_back, 0,
                        sizeof rows / sizeof *rows);
    tcase_add_loop_test(t, other_texts_are_refused, 0, sizeof wrong / sizeof *wrong);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
