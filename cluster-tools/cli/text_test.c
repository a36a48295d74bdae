#include "cluster-tools/cli/text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    struct str in;
    const char *out;
} escapes[] = {
    {STR(""), ""},
    {STR("plain text\\"), "plain text\\"},
    {STR("\x1b[31m\r\n\t\0"), "\\x1b[31m\\x0d\\x0a\\x09\\x00"},
    {STR("gr\xc3\xbc\xc3\x9f\x7f\xff"), "gr\\xc3\\xbc\\xc3\\x9f\\x7f\\xff"},
};

START_TEST(outside_bytes_are_escaped)
{
    char buf[128];

    ck_assert_uint_eq(text_escape(escapes[_i].in, buf, sizeof buf), strlen(escapes[_i].out));
    ck_assert_str_eq(buf, escapes[_i].out);
}
END_TEST

START_TEST(a_cut_leaves_no_half_of_an_escape)
{
    for (size_t size = 1; size < 12; size++) {
        char *buf = malloc(size);
        size_t n = text_escape(STR("ab\xff\xff"), buf, size);

        ck_assert_uint_eq(n, size < 3 ? size - 1 : size < 7 ? 2 : size < 11 ? 6 : 10);
        ck_assert_int_eq(buf[n], 0);
        free(buf);
    }
}
END_TEST

static const struct {
    enum cli_format format;
    const char *json, *out;
} values[] = {
    {CLI_F_TEXT, "null", "-"},
    {CLI_F_TEXT, "\"\"", "-"},
    {CLI_F_SENDER, "\"\"", "<>"},
    {CLI_F_SENDER, "\"a@b\"", "a@b"},
    {CLI_F_TEXT, "\"a\\u001bb\\u00fc\"", "a\\x1bb\\xc3\\xbc"},
    {CLI_F_BOOL, "true", "yes"},
    {CLI_F_BOOL, "false", "no"},
    {CLI_F_COUNT, "0", "0"},
    {CLI_F_COUNT, "-3", "-3"},
    {CLI_F_BYTES, "0", "0B"},
    {CLI_F_BYTES, "1023", "1023B"},
    {CLI_F_BYTES, "1024", "1.0K"},
    {CLI_F_BYTES, "1536", "1.5K"},
    {CLI_F_BYTES, "10239", "9.9K"},
    {CLI_F_BYTES, "10240", "10K"},
    {CLI_F_BYTES, "1048575", "1023K"},
    {CLI_F_BYTES, "52428800", "50M"},
    {CLI_F_BYTES, "9223372036854775807", "7.9E"},
    {CLI_F_AGE, "0", "0s"},
    {CLI_F_AGE, "59", "59s"},
    {CLI_F_AGE, "60", "1m00s"},
    {CLI_F_AGE, "3599", "59m59s"},
    {CLI_F_AGE, "11520", "3h12m"},
    {CLI_F_AGE, "86400", "1d"},
    {CLI_F_AGE, "90000", "1d01h"},
    {CLI_F_MS, "999", "999ms"},
    {CLI_F_MS, "1500", "1.5s"},
    {CLI_F_MS, "123456", "2m03s"},
    {CLI_F_LIST, "[]", "-"},
    {CLI_F_LIST, "[\"a@b\"]", "a@b"},
    {CLI_F_LIST, "[\"a\\n\",\"b\",\"c\"]", "a\\x0a +2"},
    {CLI_F_LIST, "[5]", ""},
};

START_TEST(values_are_shown_for_people)
{
    json_t *v = json_loads(values[_i].json, JSON_DECODE_ANY, NULL);
    char buf[128];

    ck_assert_ptr_nonnull(v);
    text_value(v, values[_i].format, buf, sizeof buf);
    ck_assert_str_eq(buf, values[_i].out);
    json_decref(v);
}
END_TEST

START_TEST(what_is_not_there_is_a_dash)
{
    char buf[8];

    text_value(NULL, CLI_F_COUNT, buf, sizeof buf);
    ck_assert_str_eq(buf, "-");
    text_value(NULL, CLI_F_SENDER, buf, sizeof buf);
    ck_assert_str_eq(buf, "-");
}
END_TEST

START_TEST(bad_news_are_known)
{
    ck_assert_int_eq(text_mood("down"), TEXT_BAD);
    ck_assert_int_eq(text_mood("held"), TEXT_NOTE);
    ck_assert_int_eq(text_mood("up"), TEXT_PLAIN);
    ck_assert_int_eq(text_mood(""), TEXT_PLAIN);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");
    TCase *t = tcase_create("text");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, outside_bytes_are_escaped, 0, sizeof escapes / sizeof *escapes);
    tcase_add_test(t, a_cut_leaves_no_half_of_an_escape);
    tcase_add_loop_test(t, values_are_shown_for_people, 0, sizeof values / sizeof *values);
    tcase_add_test(t, what_is_not_there_is_a_dash);
    tcase_add_test(t, bad_news_are_known);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
