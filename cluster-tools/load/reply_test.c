/* Replies are read strictly, and equally in whatever pieces they come. */
#include "cluster-tools/load/reply.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads everything and writes down what came: "250-text|250 text|" or "!" for an error. */
static const char *read_all(const char *in, size_t piece, enum err *last)
{
    static char seen[512];
    static struct reply_reader r;
    size_t left = strlen(in), n = 0;

    reply_init(&r);
    seen[0] = 0;
    while (left > 0) {
        size_t take = left < piece ? left : piece;
        struct str s = {in, take};
        struct reply_line line;

        in += take;
        left -= take;
        while ((*last = reply_next(&r, &s, &line)) == OK)
            n += (size_t)snprintf(seen + n, sizeof seen - n, "%s%d%c" STR_FMT "|",
                                  line.first ? "" : "+", line.code, line.last ? ' ' : '-',
                                  STR_ARG(line.text));
        if (*last != E_AGAIN)
            return seen;
    }
    return seen;
}

static const struct {
    const char *in, *seen;
    enum err last;
} cases[] = {
    {"220 hello\r\n", "220 hello|", E_AGAIN},
    {"220\r\n", "220 |", E_AGAIN},
    {"220 \r\n", "220 |", E_AGAIN},
    {"250-a\r\n250-B 1\r\n250 c\r\n", "250-a|+250-B 1|+250 c|", E_AGAIN},
    {"250 a\r\n354 b\r\n", "250 a|354 b|", E_AGAIN},
    {"250-a\r\n250\r\n", "250-a|+250 |", E_AGAIN},
    {"250 unfinished", "", E_AGAIN},
    {"250 a\n", "", E_PROTO},
    {"250 a\rb\r\n", "", E_PROTO},
    {"250 a\r\r\n", "", E_PROTO},
    {"\r\n", "", E_PROTO},
    {"25\r\n", "", E_PROTO},
    {"250x\r\n", "", E_PROTO},
    {"2500 a\r\n", "", E_PROTO},
    {"199 a\r\n", "", E_PROTO},
    {"600 a\r\n", "", E_PROTO},
    {"2a0 a\r\n", "", E_PROTO},
    {" 250 a\r\n", "", E_PROTO},
    {"250-a\r\n251 b\r\n", "250-a|", E_PROTO},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(replies_read_the_same_in_any_pieces)
{
    enum err last = OK;

    for (size_t piece = 1; piece <= strlen(cases[_i].in); piece++) {
        const char *seen = read_all(cases[_i].in, piece, &last);

        ck_assert_msg(last == cases[_i].last, "case %d, piece %zu: %d", _i, piece, last);
        ck_assert_str_eq(seen, cases[_i].seen);
    }
}
END_TEST

START_TEST(a_nul_is_no_smtp)
{
    static struct reply_reader r;
    struct str in = {"250 a\0b\r\n", 9};
    struct reply_line line;

    reply_init(&r);
    ck_assert_int_eq(reply_next(&r, &in, &line), E_PROTO);
}
END_TEST

START_TEST(endless_lines_and_endless_replies_are_cut_off)
{
    static char big[LIMIT_REPLY_LINE_BYTES + 1];
    static struct reply_reader r;
    struct reply_line line;
    struct str in = {big, sizeof big};
    int lines = 0;
    enum err e;

    memset(big, '2', sizeof big);
    reply_init(&r);
    ck_assert_int_eq(reply_next(&r, &in, &line), E_FULL);

    reply_init(&r);
    do {
        in = STR("250-more\r\n");
        e = reply_next(&r, &in, &line);
        lines++;
    } while (e == OK);
    ck_assert_int_eq(e, E_FULL);
    ck_assert_int_eq(lines, LIMIT_REPLY_LINES + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply");
    TCase *tc = tcase_create("reader");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, replies_read_the_same_in_any_pieces, 0, CASES);
    tcase_add_test(tc, a_nul_is_no_smtp);
    tcase_add_test(tc, endless_lines_and_endless_replies_are_cut_off);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
