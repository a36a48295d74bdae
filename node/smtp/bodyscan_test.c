/* The scanner against an oracle that looks at the whole input at once and shares no idea with
 * it: every string over the bytes that matter, in every segmentation. Longer strings than by
 * default: BODYSCAN_LENGTH=11 node_smtp_bodyscan_test */
#include "node/smtp/bodyscan.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"

#define MAX_BYTES 64

static const char alphabet[] = {'\r', '\n', '.', '\0', 'a'};

struct result {
    enum body_violation violation;
    bool done;
    size_t consumed; /* up to the end of the dot line, or all */
    size_t n;
    char body[MAX_BYTES];
};

/* --- the oracle --- */

static bool has_at(const char *s, size_t n, size_t at, const char *what, size_t what_n)
{
    return at + what_n <= n && memcmp(s + at, what, what_n) == 0;
}

/* Where the data end: index behind the final dot line, or n. */
static size_t oracle_end(const char *s, size_t n, bool *done)
{
    *done = true;
    if (has_at(s, n, 0, ".\r\n", 3))
        return 3;
    for (size_t i = 0; i < n; i++)
        if (has_at(s, n, i, "\r\n.\r\n", 5))
            return i + 5;
    *done = false;
    return n;
}

static enum body_violation oracle_violation(const char *s, size_t n)
{
    enum body_violation v = BODY_CLEAN;

    for (size_t i = 0; i < n; i++)
        if (s[i] == '\n' && (i == 0 || s[i - 1] != '\r'))
            return BODY_BARE_LF;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\0' && v < BODY_NUL)
            v = BODY_NUL;
        if (s[i] == '\r' && i + 1 < n && s[i + 1] != '\n')
            v = BODY_BARE_CR;
    }
    return v;
}

static void oracle(const char *s, size_t n, struct result *r)
{
    size_t body_end;

    *r = (struct result){.done = false};
    r->consumed = oracle_end(s, n, &r->done);
    r->violation = oracle_violation(s, r->consumed);
    body_end = r->done ? r->consumed - 3 : r->consumed;
    for (size_t i = 0; i < body_end; i++) {
        bool line_start = i == 0 || has_at(s, n, i - (i >= 2 ? 2 : i), "\r\n", 2);

        if (s[i] == '.' && line_start) {
            /* a dot and a CR at the very end may yet be the end of the data */
            if (!r->done && i + 2 == body_end && s[i + 1] == '\r')
                break;
            continue;
        }
        r->body[r->n++] = s[i];
    }
}

/* --- the scanner --- */

/* Feeds s cut behind each byte whose bit is set in cuts. */
static void scan(const char *s, size_t n, uint64_t cuts, struct result *r)
{
    struct bodyscan b;
    size_t start = 0;

    *r = (struct result){.done = false};
    bodyscan_init(&b, 1000);
    for (size_t i = 0; i < n && !b.done; i++) {
        struct str in, span;

        if (i + 1 < n && !(cuts >> i & 1))
            continue;
        in = (struct str){s + start, i + 1 - start};
        start = i + 1;
        while ((span = bodyscan_next(&b, &in)).n > 0) {
            memcpy(r->body + r->n, span.p, span.n);
            r->n += span.n;
            if (b.done)
                ck_abort_msg("a span and the end at once");
        }
        r->consumed = start - in.n;
        if (!b.done && in.n > 0)
            ck_abort(); /* ck_assert() would write a mark each time */
    }
    r->done = b.done;
    r->violation = b.violation;
}

static void compare(const char *s, size_t n, uint64_t cuts, const struct result *want)
{
    struct result got;
    bool same;

    scan(s, n, cuts, &got);
    same = got.done == want->done && got.violation == want->violation &&
           got.consumed == want->consumed &&
           (want->violation != BODY_CLEAN ||
            (got.n == want->n && memcmp(got.body, want->body, want->n) == 0));
    if (same)
        return;
    printf("input, cuts %llx:", (unsigned long long)cuts);
    for (size_t i = 0; i < n; i++)
        printf(" %02x", (unsigned char)s[i]);
    printf("\nwant done %d violation %d consumed %zu body %zu; got %d %d %zu %zu\n", want->done,
           (int)want->violation, want->consumed, want->n, got.done, (int)got.violation,
           got.consumed, got.n);
    ck_abort();
}

/* The number-th string of n bytes. */
static void spell(uint64_t number, size_t n, char *s)
{
    for (size_t i = 0; i < n; i++, number /= sizeof alphabet)
        s[i] = alphabet[number % sizeof alphabet];
}

static uint64_t strings_of(size_t n)
{
    uint64_t count = 1;

    for (size_t i = 0; i < n; i++)
        count *= sizeof alphabet;
    return count;
}

/* Uncut, and cut once behind each byte. */
static uint64_t compare_two_segments(const char *s, size_t n)
{
    struct result want;

    oracle(s, n, &want);
    compare(s, n, 0, &want);
    for (size_t i = 0; i + 1 < n; i++)
        compare(s, n, UINT64_C(1) << i, &want);
    return n;
}

START_TEST(every_short_string_in_every_segmentation_is_read_as_the_oracle_does)
{
    char s[MAX_BYTES];
    struct result want;

    for (size_t n = 1; n <= 6; n++) {
        for (uint64_t k = 0; k < strings_of(n); k++) {
            spell(k, n, s);
            oracle(s, n, &want);
            for (uint64_t cuts = 0; cuts < UINT64_C(1) << (n - 1); cuts++)
                compare(s, n, cuts, &want);
        }
    }
}
END_TEST

START_TEST(every_string_up_to_eight_bytes_in_two_segments_is_read_as_the_oracle_does)
{
    const char *wish = getenv("BODYSCAN_LENGTH");
    size_t longest = wish != NULL ? strtoul(wish, NULL, 10) : 8;
    uint64_t cases = 0;
    char s[MAX_BYTES];

    ck_assert_uint_lt(longest, 16);
    for (size_t n = 1; n <= longest; n++) {
        for (uint64_t k = 0; k < strings_of(n); k++) {
            spell(k, n, s);
            cases += compare_two_segments(s, n);
        }
    }
    printf("bodyscan: %llu cases, strings of up to %zu bytes\n", (unsigned long long)cases,
           longest);
}
END_TEST

/* What a smuggler tries: his bytes in the midst of a message that ends as it should, with a
 * command behind it. */
START_TEST(every_string_within_a_message_leaves_the_command_behind_it_alone)
{
    static const char before[] = "a\r\n", after[] = "b\r\n.\r\nQUIT\r\n";
    char s[MAX_BYTES];

    for (size_t n = 0; n <= 6; n++) {
        for (uint64_t k = 0; k < strings_of(n); k++) {
            memcpy(s, before, sizeof before - 1);
            spell(k, n, s + sizeof before - 1);
            memcpy(s + sizeof before - 1 + n, after, sizeof after - 1);
            compare_two_segments(s, sizeof before - 1 + n + sizeof after - 1);
        }
    }
}
END_TEST

/* --- limits --- */

/* Feeds n times c. */
static void feed(struct bodyscan *b, char c, size_t n)
{
    char block[4096];

    memset(block, c, sizeof block);
    while (n > 0) {
        struct str in = {block, n < sizeof block ? n : sizeof block};

        n -= in.n;
        while (bodyscan_next(b, &in).n > 0)
            ;
    }
}

static void feed_text(struct bodyscan *b, struct str in)
{
    while (bodyscan_next(b, &in).n > 0)
        ;
    ck_assert_uint_eq(in.n, 0);
}

static enum body_violation violation_of_line(size_t bytes_with_crlf, struct str before)
{
    struct bodyscan b;

    bodyscan_init(&b, LIMIT_BODY_BYTES);
    feed_text(&b, before);
    feed(&b, 'x', bytes_with_crlf - 2);
    feed_text(&b, STR("\r\nnext\r\n.\r\n"));
    ck_assert(b.done);
    return b.violation;
}

START_TEST(a_line_may_be_as_long_as_the_limit_and_no_longer)
{
    ck_assert_int_eq(violation_of_line(LIMIT_BODY_LINE_BYTES, STR("")), BODY_CLEAN);
    ck_assert_int_eq(violation_of_line(LIMIT_BODY_LINE_BYTES + 1, STR("")), BODY_LINE_TOO_LONG);
    ck_assert_int_eq(violation_of_line(LIMIT_BODY_LINE_BYTES, STR("a\r\n")), BODY_CLEAN);
    /* a stuffed dot is no byte of the line */
    ck_assert_int_eq(violation_of_line(LIMIT_BODY_LINE_BYTES, STR("a\r\n.")), BODY_CLEAN);
    ck_assert_int_eq(violation_of_line(LIMIT_BODY_LINE_BYTES, STR("a\r\n..")),
                     BODY_LINE_TOO_LONG);
}
END_TEST

static enum body_violation violation_of_body(struct str in, uint64_t max, uint64_t *body_bytes)
{
    struct bodyscan b;

    bodyscan_init(&b, max);
    feed_text(&b, in);
    ck_assert(b.done);
    *body_bytes = b.body_bytes;
    return b.violation;
}

START_TEST(a_body_may_be_as_big_as_the_limit_and_no_bigger)
{
    uint64_t n;

    ck_assert_int_eq(violation_of_body(STR("ab\r\n.\r\n"), 4, &n), BODY_CLEAN);
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(violation_of_body(STR("..b\r\n.\r\n"), 4, &n), BODY_CLEAN);
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(violation_of_body(STR("abc\r\n.\r\n"), 4, &n), BODY_TOO_BIG);
    ck_assert_int_eq(violation_of_body(STR(".\r\n"), 0, &n), BODY_CLEAN);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(the_gravest_violation_is_reported)
{
    uint64_t n;

    ck_assert_int_eq(violation_of_body(STR("a\nb\rc\0abcdef\r\n.\r\n"), 4, &n), BODY_BARE_LF);
    ck_assert_int_eq(violation_of_body(STR("\0aaaaaaaa\ra\r\n.\r\n"), 4, &n), BODY_BARE_CR);
    ck_assert_int_eq(violation_of_body(STR("aaaaaaaaa\0\r\n.\r\n"), 4, &n), BODY_NUL);
}
END_TEST

START_TEST(eight_bit_bytes_are_counted_wherever_they_stand)
{
    struct bodyscan b;

    bodyscan_init(&b, 1000);
    feed_text(&b, STR("\xe4"
                      "a\xf6\r\n.\xfc\r\n\xff\r\n.\r\n"));
    ck_assert_uint_eq(b.eight_bit_bytes, 4);
    ck_assert_int_eq(b.violation, BODY_CLEAN);
}
END_TEST

START_TEST(a_void_body_is_swallowed_to_its_end_or_given_up_as_endless)
{
    struct bodyscan b;

    bodyscan_init(&b, LIMIT_BODY_BYTES);
    feed(&b, '\n', 1);
    feed(&b, 'x', LIMIT_BODY_SWALLOW_BYTES - 10);
    ck_assert(!bodyscan_is_endless(&b));
    feed(&b, 'x', 20);
    ck_assert(bodyscan_is_endless(&b));
    feed_text(&b, STR("\r\n.\r\n"));
    ck_assert(b.done);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bodyscan");
    TCase *tc = tcase_create("scan");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 0);
    tcase_add_test(tc, every_short_string_in_every_segmentation_is_read_as_the_oracle_does);
    tcase_add_test(tc,
                   every_string_up_to_eight_bytes_in_two_segments_is_read_as_the_oracle_does);
    tcase_add_test(tc, every_string_within_a_message_leaves_the_command_behind_it_alone);
    tcase_add_test(tc, a_line_may_be_as_long_as_the_limit_and_no_longer);
    tcase_add_test(tc, a_body_may_be_as_big_as_the_limit_and_no_bigger);
    tcase_add_test(tc, the_gravest_violation_is_reported);
    tcase_add_test(tc, eight_bit_bytes_are_counted_wherever_they_stand);
    tcase_add_test(tc, a_void_body_is_swallowed_to_its_end_or_given_up_as_endless);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
