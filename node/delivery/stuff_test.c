/* Every text over a small alphabet, through every room and every cut, against an oracle that
 * works line by line. */
#include "node/delivery/stuff.h"

#include <check.h>
#include <stdlib.h>

/* ck_assert() writes to a pipe each time it holds; in the inner loops that is most of the time.
 */
#define HOLD(cond)                                                                             \
    do {                                                                                       \
        if (!(cond))                                                                           \
            ck_abort_msg("%s", #cond);                                                         \
    } while (0)

/* What must come out, or false: not canonical. Whole lines only; written from RFC 5321 4.5.2.
 */
static bool oracle(struct str in, char *out, size_t *n)
{
    *n = 0;
    while (in.n > 0) {
        size_t end = 0;

        while (end < in.n && in.p[end] != '\r' && in.p[end] != '\n')
            end++;
        if (in.n - end < 2 || in.p[end] != '\r' || in.p[end + 1] != '\n')
            return false;
        if (in.p[0] == '.')
            out[(*n)++] = '.';
        memcpy(out + *n, in.p, end + 2);
        *n += end + 2;
        in = str_from(in, end + 2);
    }
    return true;
}

/* Runs the stuffer over segments of `cut` bytes and an output of `room`; false: refused. */
static bool run(struct str in, size_t cut, size_t room, char *out, size_t *n)
{
    struct stuff s;
    char piece[64];
    size_t written;

    stuff_init(&s);
    *n = 0;
    while (in.n > 0) {
        struct str segment = str_head(in, in.n < cut ? in.n : cut);

        in = str_from(in, segment.n);
        while (segment.n > 0) {
            size_t before = segment.n;

            if (stuff_step(&s, &segment, piece, room, &written) != OK) {
                HOLD(written == 0);
                HOLD(stuff_end(&s) == E_CORRUPT);
                return false;
            }
            HOLD(written <= room);
            HOLD(segment.n < before); /* it always gets on */
            memcpy(out + *n, piece, written);
            *n += written;
        }
    }
    HOLD(s.out_bytes == *n);
    return stuff_end(&s) == OK;
}

START_TEST(every_text_of_eight_bytes_comes_out_as_the_oracle_says)
{
    static const char alphabet[] = {'\r', '\n', '.', 'a', '\0'};
    char in[8], want[32], got[64];
    size_t want_n, got_n, canonical = 0;

    for (size_t n = 0; n <= sizeof in; n++) {
        size_t total = 1;

        for (size_t i = 0; i < n; i++)
            total *= sizeof alphabet;
        for (size_t k = 0; k < total; k++) {
            size_t rest = k;
            bool good;
            struct str text = {in, n};

            for (size_t i = 0; i < n; i++, rest /= sizeof alphabet)
                in[i] = alphabet[rest % sizeof alphabet];
            good = oracle(text, want, &want_n);
            canonical += good;
            for (size_t cut = 1; cut <= 3; cut++)
                for (size_t room = 2; room <= 4; room++) {
                    bool ok = run(text, cut, room, got, &got_n);

                    HOLD(ok == good);
                    HOLD(!ok || (got_n == want_n && memcmp(got, want, got_n) == 0));
                }
        }
    }
    ck_assert_uint_gt(canonical, 500); /* the test has seen good ones too */
}
END_TEST

START_TEST(nothing_that_leaves_holds_a_lone_cr_or_lf)
{
    static const char *const texts[] = {"a\n.\r\n", "a\r.\r\n", "a\r\n\r.\r\n", "a\r\r\n",
                                        "\n",       "a\r\n\n",  "a\rb\r\n"};
    struct stuff s;
    struct str in = str_of(texts[_i]);
    char out[64];
    size_t n;

    /* one byte of room more at a time: what was written before the refusal is canonical */
    stuff_init(&s);
    for (;;) {
        enum err e = stuff_step(&s, &in, out, 2, &n);

        if (e != OK) {
            ck_assert_int_eq(e, E_CORRUPT);
            break;
        }
        for (size_t i = 0; i < n; i++) {
            ck_assert(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
            ck_assert(out[i] != '\r' || (i + 1 < n && out[i + 1] == '\n'));
        }
        ck_assert_uint_gt(in.n, 0);
    }
    ck_assert(stuff_step(&s, &(struct str){"a", 1}, out, 9, &n) == E_CORRUPT); /* sticky */
}
END_TEST

START_TEST(a_large_body_of_dots_doubles_each_of_them_once)
{
    enum { LINES = 5000 };
    char *in = malloc(LINES * 5), *out = malloc(LINES * 6 + 2);
    struct str left = {in, LINES * 5};
    struct stuff s;
    size_t n, total = 0;

    for (size_t i = 0; i < LINES; i++)
        memcpy(in + i * 5, "..x\r\n", 5);
    stuff_init(&s);
    while (left.n > 0) {
        ck_assert_int_eq(stuff_step(&s, &left, out + total, LINES * 6 + 2 - total, &n), OK);
        total += n;
    }
    ck_assert_int_eq(stuff_end(&s), OK);
    ck_assert_uint_eq(total, LINES * 6);
    for (size_t i = 0; i < LINES; i++)
        ck_assert(memcmp(out + i * 6, "...x\r\n", 6) == 0);
    free(in);
    free(out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stuff");
    TCase *tc = tcase_create("stuff");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, every_text_of_eight_bytes_comes_out_as_the_oracle_says);
    tcase_add_loop_test(tc, nothing_that_leaves_holds_a_lone_cr_or_lf, 0, 7);
    tcase_add_test(tc, a_large_body_of_dots_doubles_each_of_them_once);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
