/* Replies as bytes, and what is read out of them, over all cuts of the input. */
#include "node/delivery/reply.h"

#include <check.h>
#include <stdio.h>

#define OK_(c, k) .status = REPLY_DONE, .code = c, .kept = k
#define BAD_(why) .status = REPLY_BAD, .bad = why

static const struct sample {
    struct str in;
    enum reply_status status;
    enum reply_bad bad;
    uint16_t code;
    const char *kept;
    size_t rest; /* bytes behind the reply */
    uint16_t lines;
    struct enhanced enhanced;
    bool contradicts;
} samples[] = {
    {STR("250 ok\r\n"), OK_(250, "250 ok"), .lines = 1},
    {STR("250\r\n"), OK_(250, "250"), .lines = 1},
    {STR("250\n"), OK_(250, "250"), .lines = 1},
    {STR("250 \r\n"), OK_(250, "250"), .lines = 1},
    {STR("250 bare\n"), OK_(250, "250 bare"), .lines = 1},
    {STR("250-a\r\n250 b\r\n"), OK_(250, "250 a b"), .lines = 2},
    {STR("250-a\r\n250\r\n"), OK_(250, "250 a"), .lines = 2},
    {STR("250-\r\n250-\r\n250 x\r\n"), OK_(250, "250 x"), .lines = 3},
    {STR("550-5.1.1 no\r\n550 5.1.1 such\r\n"), OK_(550, "550 5.1.1 no 5.1.1 such"), .lines = 2,
     .enhanced = {5, 1, 1}},
    {STR("250 a\r\n250 b\r\n"), OK_(250, "250 a"), .rest = 7, .lines = 1},
    {STR("550 4.2.2 full\r\n"), OK_(550, "550 4.2.2 full"), .lines = 1, .contradicts = true},
    {STR("552 5.3.4\r\n"), OK_(552, "552 5.3.4"), .lines = 1, .enhanced = {5, 3, 4}},
    {STR("552 5.3.4: big\r\n"), OK_(552, "552 5.3.4: big"), .lines = 1},
    {STR("250 a\rb\r\n"), OK_(250, "250 a b"), .lines = 1},
    {STR("250 a\r\r\n"), OK_(250, "250 a "), .lines = 1},
    {STR("250 \xff\x1b[0m\r\n"), OK_(250, "250 \xff\x1b[0m"), .lines = 1},
    {STR("599 x\r\n"), OK_(599, "599 x"), .lines = 1},
    {STR("2500 ok\r\n"), BAD_(REPLY_FOUR_DIGITS)},
    {STR("250_ok\r\n"), BAD_(REPLY_FOUR_DIGITS)},
    {STR("250\rok\r\n"), BAD_(REPLY_FOUR_DIGITS)},
    {STR("250\r\r\n"), BAD_(REPLY_FOUR_DIGITS)},
    {STR("25 ok\r\n"), BAD_(REPLY_NO_CODE)},
    {STR("\r\n"), BAD_(REPLY_NO_CODE)},
    {STR("HTTP/1.1 400\r\n"), BAD_(REPLY_NO_CODE)},
    {STR("250-a\r\nhello\r\n"), BAD_(REPLY_NO_CODE)},
    {STR("250-a\r\n550 b\r\n"), BAD_(REPLY_MIXED_CODES)},
    {STR("150 x\r\n"), BAD_(REPLY_BAD_CLASS)},
    {STR("600 x\r\n"), BAD_(REPLY_BAD_CLASS)},
    {STR("099 x\r\n"), BAD_(REPLY_BAD_CLASS)},
    {STR("250 a\0b\r\n"), BAD_(REPLY_NUL)},
    {STR("250 half"), .status = REPLY_MORE},
    {STR("250 half\r"), .status = REPLY_MORE},
    {STR("250-half\r\n"), .status = REPLY_MORE},
    {STR(""), .status = REPLY_MORE},
};

/* Feeds pieces of at most `piece` bytes, as the shell does. */
static enum reply_status feed(struct reply *r, struct str in, size_t piece, size_t *rest)
{
    enum reply_status status = REPLY_MORE;

    while (status == REPLY_MORE && in.n > 0) {
        size_t used, n = in.n < piece ? in.n : piece;

        status = reply_feed(r, str_head(in, n), &used);
        ck_assert_uint_le(used, n);
        ck_assert(status != REPLY_MORE || used == n);
        in = str_from(in, used);
    }
    *rest = in.n;
    return status;
}

START_TEST(a_reply_reads_the_same_however_its_bytes_are_cut)
{
    const struct sample *c = &samples[_i];
    struct reply r;
    size_t rest;

    for (size_t piece = 1; piece <= c->in.n + 1; piece++) {
        reply_reset(&r);
        ck_assert_int_eq(feed(&r, c->in, piece, &rest), c->status);
        ck_assert_int_eq(r.bad, c->bad);
        ck_assert(reply_begun(&r) == (c->in.n > 0 && c->status != REPLY_DONE));
        if (c->status != REPLY_DONE)
            continue;
        ck_assert_uint_eq(r.code, c->code);
        ck_assert_uint_eq(r.lines, c->lines);
        ck_assert_uint_eq(rest, c->rest);
        ck_assert_msg(str_eq(reply_text(&r), str_of(c->kept)), "kept '" STR_FMT "'",
                      STR_ARG(reply_text(&r)));
        ck_assert_uint_eq(r.enhanced.klass, c->enhanced.klass);
        ck_assert_uint_eq(r.enhanced.subject, c->enhanced.subject);
        ck_assert_uint_eq(r.enhanced.detail, c->enhanced.detail);
        ck_assert(r.contradicts == c->contradicts);
    }
}
END_TEST

START_TEST(limits_of_a_reply_hold_at_the_byte)
{
    static char big[2 * LIMIT_REPLY_BYTES];
    struct reply r;
    size_t rest, n = 0;

    /* a line of exactly the limit, then one byte more */
    for (size_t extra = 0; extra < 2; extra++) {
        size_t len = LIMIT_REPLY_LINE_BYTES + extra;

        memset(big, 'x', len);
        memcpy(big, "250 ", 4);
        memcpy(big + len - 2, "\r\n", 2);
        reply_reset(&r);
        ck_assert_int_eq(feed(&r, (struct str){big, len}, len, &rest),
                         extra ? REPLY_BAD : REPLY_DONE);
        ck_assert_int_eq(r.bad, extra ? REPLY_LONG_LINE : REPLY_FINE);
        ck_assert_uint_eq(r.kept, extra ? r.kept : LIMIT_REPLY_KEPT_BYTES);
    }
    /* lines */
    for (int lines = LIMIT_REPLY_LINES; lines <= LIMIT_REPLY_LINES + 1; lines++) {
        n = 0;
        for (int i = 1; i < lines; i++, n += 7)
            memcpy(big + n, "250-a\r\n", 7);
        memcpy(big + n, "250 a\r\n", 7);
        reply_reset(&r);
        ck_assert_int_eq(feed(&r, (struct str){big, n + 7}, 13, &rest),
                         lines > LIMIT_REPLY_LINES ? REPLY_BAD : REPLY_DONE);
        ck_assert_int_eq(r.bad, lines > LIMIT_REPLY_LINES ? REPLY_MANY_LINES : REPLY_FINE);
    }
    /* bytes: 40 lines of 2,000 are more than 64 KiB and less than 100 lines */
    memset(big, 'x', 80000);
    for (n = 0; n < 80000; n += 2000) {
        memcpy(big + n, "250-", 4);
        memcpy(big + n + 1998, "\r\n", 2);
    }
    reply_reset(&r);
    ck_assert_int_eq(feed(&r, (struct str){big, n}, n, &rest), REPLY_BAD);
    ck_assert_int_eq(r.bad, REPLY_MANY_BYTES);
    ck_assert_uint_eq(n - rest, LIMIT_REPLY_BYTES + 1);
}
END_TEST

START_TEST(what_the_primary_offers_is_read_from_the_second_line_on)
{
    struct str in = STR("250-PIPELINING\r\n250-size 1000\r\n250-8BitMime\r\n250-STARTTLS\r\n"
                        "250-AUTH PLAIN\r\n250-smtputf8\r\n250 ENHANCEDSTATUSCODES\r\n");
    struct reply r;
    size_t used;

    reply_reset(&r);
    ck_assert_int_eq(reply_feed(&r, in, &used), REPLY_DONE);
    ck_assert(!r.ehlo.pipelining); /* that was the name of the host */
    ck_assert(r.ehlo.has_size && r.ehlo.size == 1000);
    ck_assert(r.ehlo.eight_bit && r.ehlo.starttls && r.ehlo.enhanced && r.ehlo.smtputf8);

    reply_reset(&r);
    ck_assert_int_eq(reply_feed(&r, STR("250-x\r\n250-SIZE\r\n250 PIPELINING\r\n"), &used),
                     REPLY_DONE);
    ck_assert(r.ehlo.pipelining && r.ehlo.has_size && r.ehlo.size == 0);
    ck_assert(!r.ehlo.eight_bit && !r.ehlo.starttls && !r.ehlo.smtputf8);
    reply_reset(&r);
    ck_assert_int_eq(reply_feed(&r, STR("220-x\r\n220 PIPELINING\r\n"), &used), REPLY_DONE);
    ck_assert(!r.ehlo.pipelining); /* only 250 answers EHLO */
}
END_TEST

START_TEST(a_size_that_is_no_number_is_an_offer_without_a_limit)
{
    static const char *const words[] = {"SIZE x", "SIZE -1", "SIZE 99999999999999999999999"};
    struct ehlo e = {0};

    ehlo_line(&e, str_of(words[_i]));
    ck_assert(e.has_size && e.size == 0);
}
END_TEST

START_TEST(a_stored_text_gives_its_codes_back)
{
    static const struct {
        const char *text;
        bool ok;
        uint16_t code;
        struct enhanced e;
    } cases[] = {
        {"550 5.1.1 no", true, 550, {5, 1, 1}},
        {"550", true, 550, {0}},
        {"550 no", true, 550, {0}},
        {"550 4.1.1 no", true, 550, {0}},
        {"450 4.255.999 x", true, 450, {4, 255, 999}},
        {"550 5.1234.1 x", true, 550, {0}},
        {"550 3.1.1 x", true, 550, {0}},
        {"(timed out; at MAIL)", false, 0, {0}},
        {"", false, 0, {0}},
        {"5501 x", false, 0, {0}},
        {"55", false, 0, {0}},
        {"150 x", false, 0, {0}},
        {"600 x", false, 0, {0}},
        {"550x", false, 0, {0}},
        {"550 5.1", true, 550, {0}},
        {"550 5..1", true, 550, {0}},
    };
    uint16_t code = 0;
    struct enhanced e = {0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert(reply_text_parse(str_of(cases[i].text), &code, &e) == cases[i].ok);
        if (!cases[i].ok)
            continue;
        ck_assert_uint_eq(code, cases[i].code);
        ck_assert_uint_eq(e.klass, cases[i].e.klass);
        ck_assert_uint_eq(e.subject, cases[i].e.subject);
        ck_assert_uint_eq(e.detail, cases[i].e.detail);
    }
    for (int bad = REPLY_FINE; bad <= REPLY_MANY_BYTES; bad++)
        ck_assert_uint_gt(strlen(reply_bad_text((enum reply_bad)bad)), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply");
    TCase *tc = tcase_create("reply");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, a_reply_reads_the_same_however_its_bytes_are_cut, 0,
                        sizeof samples / sizeof samples[0]);
    tcase_add_test(tc, limits_of_a_reply_hold_at_the_byte);
    tcase_add_test(tc, what_the_primary_offers_is_read_from_the_second_line_on);
    tcase_add_loop_test(tc, a_size_that_is_no_number_is_an_offer_without_a_limit, 0, 3);
    tcase_add_test(tc, a_stored_text_gives_its_codes_back);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
