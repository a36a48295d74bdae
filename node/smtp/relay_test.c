/* S22, goal 16: no form of a recipient makes a relay. Generated RCPT lines go through wire,
 * smtpd and address as a client's do; an oracle that reads them from the other end says which
 * of them are mail for the one domain that is served, and the two must agree on each.
 *
 *     node_smtp_relay_test [FORMS [SEED]]     250,000 by default; 1,000,000 is goal 16
 *
 * Covers: node/smtp/address.c node/smtp/smtpd.c node/smtp/wire.c */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "node/smtp/smtpd.h"

#define SERVED     "example.test"
#define LINE_BYTES 1024

static unsigned long forms = 250000, seed = 1;

/* --- the oracle --- */

static bool is_one_of(const char *set, char c)
{
    return c != 0 && strchr(set, c) != NULL;
}

static bool is_word(const char *p, size_t n)
{
    static const char atoms[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "#$&'*+-/=?^_`{|}~"; /* atext without ! and % */

    for (size_t i = 0; i < n; i++)
        if (!is_one_of(atoms, p[i]) && (p[i] != '.' || i == 0 || i + 1 == n || p[i - 1] == '.'))
            return false;
    return n > 0;
}

static bool is_quoted(const char *p, size_t n)
{
    if (n < 2 || p[0] != '"' || p[n - 1] != '"')
        return false;
    for (size_t i = 1; i < n - 1; i++) {
        bool escaped = p[i] == '\\';

        if (escaped && ++i == n - 1)
            return false;
        if (p[i] == '"' && !escaped)
            return false;
        if (p[i] < ' ' || p[i] > '~' || is_one_of("@%!", p[i]))
            return false;
    }
    return true;
}

/* A line without its end: is this a recipient of the domain that is served? */
static bool is_ours(const char *line, size_t n)
{
    const size_t domain = sizeof "@" SERVED - 1;

    while (n > 0 && line[n - 1] == ' ')
        n--;
    if (n < 9 || line[n - 1] != '>' || strncasecmp(line, "RCPT TO:", 8) != 0)
        return false;
    line += 8;
    n -= 9;
    while (n > 0 && *line == ' ')
        line++, n--;
    if (n == 0 || *line != '<')
        return false;
    line++, n--;
    if (n == 10 && strncasecmp(line, "postmaster", 10) == 0)
        return true;
    if (n <= domain || n > 254 || strncasecmp(line + n - domain, "@" SERVED, domain) != 0)
        return false;
    n -= domain;
    return n <= 64 && (is_word(line, n) || is_quoted(line, n));
}

/* --- what the daemon does with it --- */

static const struct smtpd_options options = {.hostname = {"mx.example.net", 14},
                                             .max_body_bytes = LIMIT_BODY_BYTES};
static struct smtpd at_mail; /* a session that waits for its first recipient */

static void step(struct smtpd *s, enum smtpd_event_type type, struct str line,
                 struct smtpd_out *out)
{
    smtpd_step(s, &(struct smtpd_event){.type = type, .now_ms = 1, .line = line}, out);
}

static void setup(void)
{
    struct smtpd_out out;

    smtpd_init(&at_mail, &options);
    step(&at_mail, SMTPD_EV_OPEN, STR_NONE, &out);
    step(&at_mail, SMTPD_EV_VERDICT, STR_NONE, &out);
    step(&at_mail, SMTPD_EV_LINE, STR("EHLO c"), &out);
    step(&at_mail, SMTPD_EV_LINE, STR("MAIL FROM:<>"), &out);
    step(&at_mail, SMTPD_EV_VERDICT, STR_NONE, &out);
    ck_assert_str_eq(smtpd_state_name(&at_mail), "MAIL");
}

/* As the shell does it (node/inbound_ask.c), with one domain in the store. */
static bool is_taken(const char *bytes, size_t n)
{
    struct smtpd s = at_mail;
    struct smtpd_out out;
    struct wire_cut cut = wire_cut_line((struct str){bytes, n});
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str owner = STR_NONE;

    if (cut.kind != WIRE_LINE)
        return false;
    step(&s, SMTPD_EV_LINE, cut.line, &out);
    if (out.act != SMTPD_ACT_ASK_RCPT) {
        ck_assert(out.reply_n > 3 && (out.reply[0] == '5' || out.reply[0] == '4'));
        return false;
    }
    return out.path.is_postmaster ||
           (address_owner(&out.path, buf, &owner) && str_eq(owner, STR(SERVED)));
}

/* --- forms --- */

#define T(s)                                                                                   \
    {                                                                                          \
        s, sizeof(s) - 1                                                                       \
    }
static const struct str starts[] = {
    T("<a@example.test>"),
    T("<a@example.test>"),
    T("<a.b+c@EXAMPLE.Test>"),
    T(" <\"a b\"@example.test> "),
    T("<\"a\\\"b\"@example.test>"),
    T("<postmaster>"),
    T("<a%other.test@example.test>"),
    T("<other.test!a@example.test>"),
    T("<@example.test:a@other.test>"),
    T("<@a.test,@example.test:a@other.test>"),
    T("<\"a@other.test\"@example.test>"),
    T("<a@other.test>"),
    T("<a@[192.0.2.1]>"),
    T("<a@[IPv6:2001:db8::1]>"),
    T("<a@sub.example.test>"),
    T("<a@notexample.test>"),
    T("<a@example.test.>"),
    T("<a@example.test.other.test>"),
    T("<a@example.test@other.test>"),
    T("<a@other.test@example.test>"),
    T("<a@example.test,b@other.test>"),
    T("<a@example.test>,<b@other.test>"),
    T("<a@example.test> ORCPT=rfc822;b@other.test"),
    T("<a@other.test\0@example.test>"),
    T("<a@example.test\0.other.test>"),
    T("<a@other.test\r\n@example.test>"),
    T("<a@other.test\n@example.test>"),
    T("<a@ex\xc3\xa4mple.test>"),
    T("<a@\xd0\xb5xample.test>"),
    T("<a@xn--exmple-cua.test>"),
    T("<a@example\xef\xbc\x8etest>"),
    T("a@example.test"),
    T("<a(other.test)@example.test>"),
    T("<a@example.test(c)>"),
    T("<a@example.test#other.test>"),
    T("<a@example. test>"),
    T("<>"),
};
static const struct str tokens[] = {
    T("a"),
    T("b.c"),
    T("example.test"),
    T("EXAMPLE.TEST"),
    T("other.test"),
    T("@"),
    T("%"),
    T("!"),
    T(":"),
    T(","),
    T("<"),
    T(">"),
    T("\""),
    T("\\"),
    T(" "),
    T("."),
    T(".."),
    T("[192.0.2.1]"),
    T("["),
    T("]"),
    T("\0"),
    T("\r"),
    T("\n"),
    T("\r\n"),
    T("\t"),
    T("\x7f"),
    T("\xc3\xa4"),
    T("xn--"),
    T("-"),
    T("postmaster"),
    T("sub."),
    T("@example.test"),
    T("@other.test"),
    T("RCPT TO:"),
    T("{|}~"),
    T("(c)"),
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

struct form {
    char p[LINE_BYTES];
    size_t n;
};

static void insert(struct form *f, size_t at, struct str s)
{
    if (f->n + s.n > LINE_BYTES - 64)
        return;
    memmove(f->p + at + s.n, f->p + at, f->n - at);
    memcpy(f->p + at, s.p, s.n);
    f->n += s.n;
}

static void cut(struct form *f, size_t at, size_t n)
{
    n = n < f->n - at ? n : f->n - at;
    memmove(f->p + at, f->p + at + n, f->n - at - n);
    f->n -= n;
}

static void change(struct form *f, struct prng *r)
{
    size_t at = prng_below(r, f->n + 1);

    switch (prng_below(r, 6)) {
    case 0:
    case 1:
        insert(f, at, tokens[prng_below(r, COUNT(tokens))]);
        break;
    case 2:
        cut(f, at, 1 + prng_below(r, 4));
        break;
    case 3: /* any byte */
        if (at < f->n)
            f->p[at] = (char)prng_below(r, 256);
        break;
    case 4: /* another case */
        if (at < f->n)
            f->p[at] ^= 0x20;
        break;
    default: /* long ones, around the limits */
        for (size_t n = prng_below(r, 8) == 0 ? 40 + prng_below(r, 30) : 0; n > 0; n--)
            insert(f, at, STR("x"));
    }
}

/* A third as they stand, a third changed a little, a third thrown together. */
static void generate(struct form *f, struct prng *r)
{
    uint64_t kind = prng_below(r, 3);

    f->n = 0;
    if (kind < 2) {
        insert(f, 0, starts[prng_below(r, COUNT(starts))]);
        for (uint64_t i = kind == 0 ? 0 : 1 + prng_below(r, 4); i > 0; i--)
            change(f, r);
    } else {
        insert(f, 0, STR("<"));
        for (uint64_t i = 1 + prng_below(r, 6); i > 0; i--)
            insert(f, f->n, tokens[prng_below(r, COUNT(tokens))]);
        insert(f, f->n, prng_below(r, 2) ? STR("@example.test>") : STR(">"));
    }
    insert(f, 0, prng_below(r, 8) ? STR("RCPT TO:") : STR("rcpt To:"));
    memcpy(f->p + f->n, "\r\n", 2);
    f->n += 2;
}

/* The line that the client has sent first, by the oracle's reading; the rest is its next
 * command. No line: NUL or a lone CR or LF is in it. */
static bool first_line(const struct form *f, size_t *n)
{
    const char *end = memmem(f->p, f->n, "\r\n", 2);

    *n = (size_t)(end - f->p);
    return memchr(f->p, 0, *n) == NULL && memchr(f->p, '\n', *n) == NULL &&
           memchr(f->p, '\r', *n) == NULL;
}

START_TEST(no_generated_form_is_taken_that_is_not_of_a_served_domain)
{
    unsigned long taken = 0;
    struct prng r;
    struct form f;

    prng_seed(&r, seed);
    for (unsigned long i = 0; i < forms; i++) {
        size_t n;
        bool is_line, ours, is;

        generate(&f, &r);
        is_line = first_line(&f, &n);
        ours = is_line && is_ours(f.p, n);
        is = is_taken(f.p, f.n);
        ck_assert_msg(is == ours, "seed %lu, form %lu: %s, and should not be: %.*s", seed, i,
                      is ? "taken" : "refused", (int)n, f.p);
        taken += is;
    }
    printf("forms=%lu seed=%lu taken=%lu wrong=0\n", forms, seed, taken);
    ck_assert_uint_gt(taken, forms / 50); /* both kinds come up */
    ck_assert_uint_lt(taken, forms / 2);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("relay");
    TCase *tc = tcase_create("relay");
    SRunner *runner = srunner_create(suite);
    int failed;

    if (argc > 1)
        forms = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoul(argv[2], NULL, 10);
    tcase_set_timeout(tc, 0);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, no_generated_form_is_taken_that_is_not_of_a_served_domain);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
