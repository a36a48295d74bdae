#include "node/smtp/wire.h"

#include <check.h>
#include <stdlib.h>

#include "base/limits.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

/* Cuts from a heap block of the very size of the input. */
static struct wire_cut cut(struct str in)
{
    static char *kept;

    free(kept);
    kept = malloc(in.n > 0 ? in.n : 1);
    ck_assert_ptr_nonnull(kept);
    memcpy(kept, in.p, in.n);
    return wire_cut_line((struct str){kept, in.n});
}

#define IN(lit)                                                                                \
    {                                                                                          \
        lit, sizeof(lit) - 1                                                                   \
    }

static const struct {
    struct str in;
    enum wire_kind kind;
    const char *line;
    size_t consumed;
} cases[] = {
    {IN(""), WIRE_MORE, "", 0},
    {IN("NOOP"), WIRE_MORE, "", 0},
    {IN("NOOP\r"), WIRE_MORE, "", 0},
    {IN("NOOP\r\n"), WIRE_LINE, "NOOP", 6},
    {IN("\r\n"), WIRE_LINE, "", 2},
    {IN("NOOP\r\nQUIT\r\n"), WIRE_LINE, "NOOP", 6},
    {IN("NOOP\r\nQUIT\n"), WIRE_LINE, "NOOP", 6},
    {IN("\xff \r\n"), WIRE_LINE, "\xff ", 4},
    {IN("NOOP\n"), WIRE_BARE_LF, "", 5},
    {IN("NOOP\nQUIT\r\n"), WIRE_BARE_LF, "", 11},
    {IN("\n"), WIRE_BARE_LF, "", 1},
    {IN("NOOP\rQ"), WIRE_BARE_CR, "", 6},
    {IN("NOOP\r\r\n"), WIRE_BARE_CR, "", 7},
    {IN("NO\rOP\nQ"), WIRE_BARE_CR, "", 7},
    {IN("NO\0OP"), WIRE_MORE, "", 0},
    {IN("NO\0OP\r\nQ"), WIRE_NUL, "", 7},
    {IN("NO\0OP\n"), WIRE_BARE_LF, "", 6},
    {IN("NOOP\r\n\0\r\n"), WIRE_LINE, "NOOP", 6},
    {IN("\x16\x03\x01"), WIRE_TLS, "", 3},
};

START_TEST(only_crlf_ends_a_line)
{
    struct wire_cut c = cut(cases[_i].in);

    ck_assert_int_eq(c.kind, cases[_i].kind);
    ck_assert(str_eq(c.line, str_of(cases[_i].line)));
    ck_assert_uint_eq(c.consumed, cases[_i].consumed);
}
END_TEST

START_TEST(a_line_fits_with_its_crlf_into_the_limit_or_is_too_long)
{
    static char in[LIMIT_SMTP_LINE_BYTES + 10];

    memset(in, 'a', sizeof in);
    memcpy(in + LIMIT_SMTP_LINE_BYTES - 2, "\r\n", 2);
    ck_assert_int_eq(cut((struct str){in, LIMIT_SMTP_LINE_BYTES - 1}).kind, WIRE_MORE);
    ck_assert_int_eq(cut((struct str){in, LIMIT_SMTP_LINE_BYTES}).kind, WIRE_LINE);
    ck_assert_int_eq(cut((struct str){in, sizeof in}).kind, WIRE_LINE);
    memcpy(in + LIMIT_SMTP_LINE_BYTES - 2, "a\r\n", 3);
    ck_assert_int_eq(cut((struct str){in, LIMIT_SMTP_LINE_BYTES}).kind, WIRE_TOO_LONG);
    ck_assert_int_eq(cut((struct str){in, sizeof in}).kind, WIRE_TOO_LONG);
    ck_assert_uint_eq(cut((struct str){in, sizeof in}).consumed, sizeof in);
    memset(in, 'a', sizeof in);
    ck_assert_int_eq(cut((struct str){in, LIMIT_SMTP_LINE_BYTES - 1}).kind, WIRE_MORE);
    ck_assert_int_eq(cut((struct str){in, LIMIT_SMTP_LINE_BYTES}).kind, WIRE_TOO_LONG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tc = tcase_create("cut");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, only_crlf_ends_a_line, 0, COUNT(cases));
    tcase_add_test(tc, a_line_fits_with_its_crlf_into_the_limit_or_is_too_long);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
