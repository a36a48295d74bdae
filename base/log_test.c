#include "base/log.h"

#include <check.h>
#include <stdlib.h>

static char line[4096];

/* The one field, formatted, without what stands before it and the newline. */
static const char *value_of(struct log_field f)
{
    size_t n = log_format(line, sizeof line - 1, 0, EV_START, &f, 1);
    const char *start;

    ck_assert_int_eq(line[n - 1], '\n');
    line[n - 1] = 0;
    start = strstr(line, " ev=start ");
    ck_assert_ptr_nonnull(start);
    return start + strlen(" ev=start ");
}

START_TEST(line_has_time_level_event_and_fields)
{
    struct log_field f[] = {L_MID(mid_make(0, 0, 5)), L_CSTR("from", "a@b"),
                            L_U64("bytes", UINT64_MAX), L_I64("delta", -3), L_ERR(E_FULL)};
    size_t n = log_format(line, sizeof line, INT64_C(1700000000123), EV_MESSAGE_ACCEPTED, f, 5);

    line[n] = 0;
    ck_assert_str_eq(line, "ts=2023-11-14T22:13:20.123Z level=info ev=message_accepted "
                           "id=00000000000000000000000005 from=a@b "
                           "bytes=18446744073709551615 delta=-3 err=\"limit reached\"\n");
}
END_TEST

START_TEST(values_from_outside_are_escaped)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {{"plain", 5}, "k=plain"},
        {{"", 0}, "k=\"\""},
        {{NULL, 0}, "k=\"\""},
        {{"two words", 9}, "k=\"two words\""},
        {{"a=b", 3}, "k=\"a=b\""},
        {{"say \"hi\"", 8}, "k=\"say \\\"hi\\\"\""},
        {{"back\\slash", 10}, "k=\"back\\\\slash\""},
        {{"x\r\nts=1 ev=stop", 15}, "k=\"x\\x0d\\x0ats=1 ev=stop\""},
        {{"\x1b[31mred", 8}, "k=\"\\x1b[31mred\""},
        {{"nul\0nul", 7}, "k=\"nul\\x00nul\""},
        {{"\x7f\x80\xff", 3}, "k=\"\\x7f\\x80\\xff\""},
        {{"\xc3\xa4", 2}, "k=\"\\xc3\\xa4\""},
        {{"%s%n${jndi:x}", 13}, "k=%s%n${jndi:x}"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_str_eq(value_of(L_STR("k", cases[i].in)), cases[i].out);
}
END_TEST

START_TEST(no_byte_outside_reaches_the_line_raw)
{
    for (int c = 0; c < 256; c++) {
        char in[3] = {'a', (char)c, 'b'};

        for (const char *p = value_of(L_STR("k", ((struct str){in, 3}))); *p != 0; p++)
            ck_assert(*p >= 0x20 && *p < 0x7f);
    }
}
END_TEST

/* Whatever is cut: one line, ended, and nothing written past the buffer. */
START_TEST(long_line_is_cut_and_still_one_line)
{
    static char big[5000];

    memset(big, '\x01', sizeof big);
    for (size_t size = 65; size < 400; size++) {
        char *buf = malloc(size);
        struct log_field f[] = {L_STR("a", ((struct str){big, sizeof big})), L_U64("b", 1)};
        size_t n = log_format(buf, size, 0, EV_START, f, 2);

        ck_assert_uint_le(n, size);
        ck_assert_int_eq(buf[n - 1], '\n');
        ck_assert_ptr_eq(memchr(buf, '\n', n), buf + n - 1);
        free(buf);
    }
}
END_TEST

START_TEST(levels_are_known_by_name)
{
    enum log_level level;

    ck_assert(log_level_parse(STR("debug"), &level) && level == LOG_DEBUG);
    ck_assert(log_level_parse(STR("alarm"), &level) && level == LOG_ALARM);
    ck_assert(!log_level_parse(STR("Alarm"), &level));
    ck_assert(!log_level_parse(STR(""), &level));
    ck_assert_str_eq(log_event_name(EV_START), "START");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, line_has_time_level_event_and_fields);
    tcase_add_test(tc, values_from_outside_are_escaped);
    tcase_add_test(tc, no_byte_outside_reaches_the_line_raw);
    tcase_add_test(tc, long_line_is_cut_and_still_one_line);
    tcase_add_test(tc, levels_are_known_by_name);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
