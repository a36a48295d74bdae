/* Commands end at CRLF; what stands alone is counted. */
#include "cluster-tools/sink/lines.h"

#include <check.h>

static const struct {
    const char *in, *strict, *lenient; /* the lines, each with | behind it */
    unsigned bare;
} cases[] = {
    {"NOOP\r\nQUIT\r\n", "NOOP|QUIT|", "NOOP|QUIT|", 0},
    {"\r\n", "|", "|", 0},
    {"NOOP\nQUIT\r\n", "NOOP\nQUIT|", "NOOP|QUIT|", 1},
    {"NO\rOP\r\n", "NO\rOP|", "NO\rOP|", 1},
    {"NOOP\r\r\n", "NOOP\r|", "NOOP\r|", 1},
    {"NOOP", "", "", 0},
};

START_TEST(lines_end_at_crlf)
{
    size_t n = strlen(cases[_i].in);

    for (int lenient = 0; lenient < 2; lenient++)
        for (size_t piece = 1; piece <= n; piece++) {
            static struct lines l;
            char seen[64];
            size_t used = 0;

            lines_init(&l, lenient == 1);
            for (size_t at = 0; at < n; at += piece) {
                struct str in = {cases[_i].in + at, piece < n - at ? piece : n - at}, line;

                while (lines_next(&l, &in, &line) == OK) {
                    memcpy(seen + used, line.p, line.n);
                    used += line.n;
                    seen[used++] = '|';
                }
            }
            seen[used] = 0;
            ck_assert_str_eq(seen, lenient ? cases[_i].lenient : cases[_i].strict);
            ck_assert_uint_eq(l.bare_cr + l.bare_lf, cases[_i].bare);
        }
}
END_TEST

START_TEST(an_endless_line_is_cut_off)
{
    static char big[LIMIT_TOOL_COMMAND_BYTES + 1];
    static struct lines l;
    struct str in = {big, sizeof big}, line;

    memset(big, 'x', sizeof big);
    lines_init(&l, false);
    ck_assert_int_eq(lines_next(&l, &in, &line), E_FULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lines");
    TCase *tc = tcase_create("reader");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, lines_end_at_crlf, 0, 6);
    tcase_add_test(tc, an_endless_line_is_cut_off);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
