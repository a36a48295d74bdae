#include "node/policy/auth_strip.h"

#include <check.h>
#include <glob.h>
#include <stdio.h>

#include "base/prng.h"
#include "node/policy/auth_strip_oracle.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static struct auth_strip strip;
static char out[1 << 20];
static size_t out_n;

static void keep(struct str s)
{
    ASSERT(out_n + s.n <= sizeof out); /* Check's own costs a write each time */
    if (s.n > 0)
        memcpy(out + out_n, s.p, s.n);
    out_n += s.n;
}

static void begin(void)
{
    auth_strip_init(&strip, ORACLE_ID);
    out_n = 0;
}

static void feed(struct str in)
{
    struct str run;

    while ((run = auth_strip_next(&strip, &in)).n > 0)
        keep(run);
    ASSERT(in.n == 0);
}

static struct str end(void)
{
    keep(auth_strip_end(&strip));
    return (struct str){out, out_n};
}

/* In pieces of n bytes; 0: whole. */
static struct str stripped(struct str in, size_t n)
{
    size_t all = in.n;

    begin();
    while (n > 0 && in.n > n) {
        feed(str_head(in, n));
        in = str_from(in, n);
    }
    feed(in);
    (void)end();
    ck_assert_uint_eq(strip.removed_bytes, all - out_n);
    return (struct str){out, out_n};
}

static const struct {
    struct str in, out;
} messages[] = {
    {STR("Authentication-Results: mx.example; spf=pass\r\nA: b\r\n\r\nbody\r\n"),
     STR("A: b\r\n\r\nbody\r\n")},
    {STR("A: b\r\nauthentication-results:\r\n\tmx.example;\r\n spf=pass\r\nC: d\r\n\r\n"),
     STR("A: b\r\nC: d\r\n\r\n")},
    {STR("Authentication-Results: other.example; none\r\nC: d\r\n\r\n"),
     STR("Authentication-Results: other.example; none\r\nC: d\r\n\r\n")},
    {STR("Author: a\r\nAuthentication-Results-X: mx.example\r\nAut\r\n\r\n"),
     STR("Author: a\r\nAuthentication-Results-X: mx.example\r\nAut\r\n\r\n")},
    {STR("A: b\r\n\r\nAuthentication-Results: mx.example; in the body\r\n"),
     STR("A: b\r\n\r\nAuthentication-Results: mx.example; in the body\r\n")},
    {STR("no header\r\nAuthentication-Results: mx.example; none\r\nmore\r\n"),
     STR("no header\r\nmore\r\n")},
    {STR(" a fold\r\n of nothing\r\n"), STR(" a fold\r\n of nothing\r\n")},
    {STR("Subject: x\r\n Authentication-Results: mx.example\r\n"),
     STR("Subject: x\r\n Authentication-Results: mx.example\r\n")},
    {STR("Authentication-Results: mx.example; a\r\nAuthentication-Results: mx.example; b\r\n"),
     STR("")},
    {STR("Authentication-Results: mx.example"), STR("")},
    {STR("Authentication-Results: mx.exampl"), STR("Authentication-Results: mx.exampl")},
    {STR("\r\nAuthentication-Results: mx.example\r\n"),
     STR("\r\nAuthentication-Results: mx.example\r\n")},
    {STR(""), STR("")},
};

START_TEST(forged_fields_go_and_nothing_else_changes)
{
    for (size_t n = 0; n <= messages[_i].in.n; n++) {
        struct str got = stripped(messages[_i].in, n);

        ck_assert_msg(str_eq(got, messages[_i].out), "in pieces of %zu: " STR_FMT, n,
                      STR_ARG(got));
    }
}
END_TEST

/* Small words, put together in all ways. */
static const char *const words[] = {
    "Authentication-Results", ":", " ", "\r\n", "mx.example", "other", "A: b", "(", ")", "\""};

START_TEST(all_short_headers_in_all_segmentations_are_as_the_oracle_says)
{
    const int words_n = COUNT(words);
    char text[256];

    for (int k = 0; k < words_n * words_n * words_n; k++) {
        uint32_t removed;
        struct str in, want;
        int n = snprintf(text, sizeof text, "%s%s%s%s%s\r\nC: d\r\n\r\n", words[0],
                         words[k % words_n], words[k / words_n % words_n],
                         words[k / words_n / words_n], words[4]);

        in = (struct str){text, (size_t)n};
        want = oracle_strip(in, &removed);
        for (size_t cut = 0; cut <= in.n; cut++) {
            begin();
            feed(str_head(in, cut));
            feed(str_from(in, cut));
            if (!str_eq(end(), want) || strip.removed != removed)
                ck_abort_msg("cut at %zu: %s", cut, text);
        }
        free((char *)(uintptr_t)want.p);
    }
}
END_TEST

START_TEST(a_field_past_the_limit_is_decided_at_the_limit)
{
    static char in[LIMIT_HEADER_BYTES];
    static const char tail[] = "\r\nC: d\r\n\r\n";

    for (int forged = 0; forged < 2; forged++)
        for (size_t n = LIMIT_AUTH_CLAIM_BYTES - 3; n < LIMIT_AUTH_CLAIM_BYTES + 3; n++)
            for (size_t piece = 1; piece < 4000; piece += 1999) {
                uint32_t removed;
                struct str whole, want;
                int head = snprintf(in, sizeof in, "Authentication-Results: %s",
                                    forged ? "(" : "other; ");

                memset(in + head, 'x', sizeof in - (size_t)head);
                memcpy(in + n, tail, sizeof tail - 1);
                whole = (struct str){in, n + sizeof tail - 1};
                want = oracle_strip(whole, &removed);
                ck_assert(str_eq(stripped(whole, piece), want));
                ck_assert_uint_eq(strip.removed, removed);
                ck_assert_uint_eq(removed, forged && n + 2 > LIMIT_AUTH_CLAIM_BYTES);
                free((char *)(uintptr_t)want.p);
            }
}
END_TEST

START_TEST(where_nothing_is_ours_the_bytes_are_handed_on_as_they_lie)
{
    const struct str in = STR("A: b\r\n c\r\nSubject: d\r\n\r\nAuthentication-Results: x\r\n");
    struct str rest = in;

    const struct str runs[] = {STR("A"), STR(": b\r\n c\r\nSubject: d\r\n"),
                               STR("\r\nAuthentication-Results: x\r\n")};

    begin();
    for (int i = 0; i < COUNT(runs); i++) {
        const char *at = rest.p;
        struct str run = auth_strip_next(&strip, &rest);

        ck_assert_msg(str_eq(run, runs[i]), STR_FMT, STR_ARG(run));
        ck_assert(i == 0 || run.p == at); /* "A" was looked at twice */
    }
    ck_assert_uint_eq(rest.n, 0);
}
END_TEST

/* Each mail of the corpus with a forged field put before each line of its header. */
START_TEST(the_corpus_stays_to_the_byte)
{
    static const char forged[] = "Authentication-Results: MX.example;\r\n\tspf=pass\r\n";
    static char mail[1 << 20], with[1 << 20];
    glob_t files;
    struct prng rng;

    prng_seed(&rng, 1);
    ck_assert_int_eq(glob(TRISPOOL_SOURCE_DIR "/tests/corpus/mail/*/*.msg", 0, NULL, &files),
                     0);
    ck_assert_uint_eq(files.gl_pathc, 80);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *f = fopen(files.gl_pathv[i], "rb");
        struct str all = {mail, 0};
        size_t at = 0;

        ck_assert_ptr_nonnull(f);
        all.n = fread(mail, 1, sizeof mail / 2, f);
        fclose(f);
        for (size_t n = 0; n < 5; n++)
            ck_assert_msg(str_eq(stripped(all, n * 7), all), "%s", files.gl_pathv[i]);
        while (at < all.n && all.p[at] != '\r' && all.p[at] != '\n') {
            memcpy(with, mail, at);
            memcpy(with + at, forged, sizeof forged - 1);
            memcpy(with + at + sizeof forged - 1, mail + at, all.n - at);
            ck_assert(str_eq(stripped((struct str){with, all.n + sizeof forged - 1},
                                      1 + (size_t)prng_below(&rng, 90)),
                             all));
            ck_assert_uint_eq(strip.removed, 1);
            do
                at += str_find(str_from(all, at), '\n') + 1;
            while (at < all.n && (all.p[at] == ' ' || all.p[at] == '\t'));
        }
    }
    globfree(&files);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("auth_strip");
    TCase *tc = tcase_create("strip");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, forged_fields_go_and_nothing_else_changes, 0, COUNT(messages));
    tcase_add_test(tc, all_short_headers_in_all_segmentations_are_as_the_oracle_says);
    tcase_add_test(tc, a_field_past_the_limit_is_decided_at_the_limit);
    tcase_add_test(tc, where_nothing_is_ours_the_bytes_are_handed_on_as_they_lie);
    tcase_add_test(tc, the_corpus_stays_to_the_byte);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
