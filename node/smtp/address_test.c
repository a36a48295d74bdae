/* Tables of arguments with what must come of them; the isemail collection on top. */
#include "node/smtp/address.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static struct path path;
static struct mail_params params;

/* The argument in a heap block of its very size: a read past its end is seen. */
static enum address_verdict parse(struct str arg, bool of_rcpt)
{
    static char *kept; /* the results borrow from it */
    enum address_verdict v;

    free(kept);
    kept = malloc(arg.n > 0 ? arg.n : 1);
    ck_assert_ptr_nonnull(kept);
    memcpy(kept, arg.p, arg.n);
    arg.p = kept;
    v = of_rcpt ? address_parse_rcpt(arg, false, &path)
                : address_parse_mail(arg, &path, &params);
    ck_assert_msg(v != ADDRESS_OK || path.whole.n == 0 || path.whole.p > kept, "borrowed");
    return v;
}

static void expect_str(struct str got, const char *want)
{
    ck_assert_msg(str_eq(got, str_of(want)), "got '" STR_FMT "', not '%s'", STR_ARG(got), want);
}

static const struct {
    const char *arg, *local, *domain;
    bool relay_form, literal;
} good[] = {
    {"<a@b.example>", "a", "b.example", false, false},
    {" <a@b.example>", "a", "b.example", false, false},
    {"<a@b.example>  ", "a", "b.example", false, false},
    {"<A.b+c@B.Example>", "A.b+c", "B.Example", false, false},
    {"<o'neil/dept=x@b.example>", "o'neil/dept=x", "b.example", false, false},
    {"<\"a b\"@b.example>", "\"a b\"", "b.example", false, false},
    {"<\"a>b\"@b.example>", "\"a>b\"", "b.example", false, false},
    {"<\"a\\\"b\"@b.example>", "\"a\\\"b\"", "b.example", false, false},
    {"<\"a@c.example\"@b.example>", "\"a@c.example\"", "b.example", true, false},
    {"<a%c.example@b.example>", "a%c.example", "b.example", true, false},
    {"<c.example!a@b.example>", "c.example!a", "b.example", true, false},
    {"<\"c!a\"@b.example>", "\"c!a\"", "b.example", true, false},
    {"<a@[192.0.2.1]>", "a", "[192.0.2.1]", false, true},
    {"<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", false, true},
    {"<postmaster@b.example>", "postmaster", "b.example", false, false},
    {"<a@b>", "a", "b", false, false},
    {"<a@xn--bcher-kva.example>", "a", "xn--bcher-kva.example", false, false},
};

START_TEST(valid_paths_are_cut_at_the_at_sign_outside_quotes)
{
    for (int rcpt = 0; rcpt < 2; rcpt++) {
        ck_assert_int_eq(parse(str_of(good[_i].arg), rcpt), ADDRESS_OK);
        expect_str(path.local, good[_i].local);
        expect_str(path.domain, good[_i].domain);
        ck_assert_uint_eq(path.whole.n, path.local.n + 1 + path.domain.n);
        ck_assert_int_eq(path.relay_form, good[_i].relay_form);
        ck_assert_int_eq(path.literal, good[_i].literal);
        ck_assert(!path.is_null && !path.is_postmaster);
    }
}
END_TEST

static const struct {
    struct str arg;
    enum address_verdict verdict;
} bad[] = {
    {{"", 0}, ADDRESS_SYNTAX},
    {{" ", 1}, ADDRESS_SYNTAX},
    {{"<", 1}, ADDRESS_SYNTAX},
    {{"a@b.example", 11}, ADDRESS_SYNTAX},
    {{"<a@b.example", 12}, ADDRESS_SYNTAX},
    {{"a@b.example>", 12}, ADDRESS_SYNTAX},
    {{"<a@b.example>x", 14}, ADDRESS_SYNTAX},
    {{"<a@b.example>,<c@d.example>", 27}, ADDRESS_SYNTAX},
    {{"<a@b.example,c@d.example>", 25}, ADDRESS_SYNTAX},
    {{"<a@b@c.example>", 15}, ADDRESS_SYNTAX},
    {{"<a@b.example.>", 14}, ADDRESS_SYNTAX},
    {{"<a@.b.example>", 14}, ADDRESS_SYNTAX},
    {{"<a@b..example>", 14}, ADDRESS_SYNTAX},
    {{"<a@-b.example>", 14}, ADDRESS_SYNTAX},
    {{"<a@b-.example>", 14}, ADDRESS_SYNTAX},
    {{"<a@b_c.example>", 15}, ADDRESS_SYNTAX},
    {{"<@b.example>", 12}, ADDRESS_SOURCE_ROUTE},
    {{"<@x.example:a@b.example>", 24}, ADDRESS_SOURCE_ROUTE},
    {{"<@x.example,@y.example:a@b.example>", 35}, ADDRESS_SOURCE_ROUTE},
    {{"<a>", 3}, ADDRESS_SYNTAX},
    {{"<a@>", 4}, ADDRESS_SYNTAX},
    {{"<.a@b.example>", 14}, ADDRESS_SYNTAX},
    {{"<a.@b.example>", 14}, ADDRESS_SYNTAX},
    {{"<a..b@b.example>", 16}, ADDRESS_SYNTAX},
    {{"<a b@b.example>", 15}, ADDRESS_SYNTAX},
    {{"< a@b.example>", 14}, ADDRESS_SYNTAX},
    {{"<a@b.example >", 14}, ADDRESS_SYNTAX},
    {{"<\"a\"b@b.example>", 16}, ADDRESS_SYNTAX},
    {{"<\"a@b.example>", 14}, ADDRESS_SYNTAX},
    {{"<\"a\\\"@b.example>", 16}, ADDRESS_SYNTAX},
    {{"<\"a\\", 4}, ADDRESS_SYNTAX},
    {{"<<a@b.example>>", 15}, ADDRESS_SYNTAX},
    {{"<a@[192.0.2.1>", 14}, ADDRESS_SYNTAX},
    {{"<a@[]>", 6}, ADDRESS_SYNTAX},
    {{"<a@[x-tag:data]>", 16}, ADDRESS_SYNTAX},
    {{"<a\0@b.example>", 14}, ADDRESS_CONTROL},
    {{"<a@b.example>\0", 14}, ADDRESS_CONTROL},
    {{"<a\t@b.example>", 14}, ADDRESS_CONTROL},
    {{"<a@b.example\x7f>", 14}, ADDRESS_CONTROL},
    {{"<\xc3\xa4@b.example>", 14}, ADDRESS_EIGHT_BIT},
    {{"<a@b\xc3\xa4.example>", 15}, ADDRESS_EIGHT_BIT},
    {{"<a@\xd0\xb0.example>", 14}, ADDRESS_EIGHT_BIT},
    {{"<\xc3\xa4\x01@b.example>", 15}, ADDRESS_CONTROL},
};

START_TEST(invalid_paths_and_relay_forms_are_refused_in_mail_and_rcpt_alike)
{
    for (int rcpt = 0; rcpt < 2; rcpt++) {
        enum address_verdict v = parse(bad[_i].arg, rcpt);

        ck_assert_msg(v == bad[_i].verdict, "'" STR_FMT "' gave %d", STR_ARG(bad[_i].arg),
                      (int)v);
        ck_assert_int_eq(strncmp(address_reply(v, rcpt), "501 ", 4), 0);
        ck_assert(path.whole.n == 0 && path.local.n == 0 && path.domain.n == 0);
    }
}
END_TEST

START_TEST(null_sender_is_for_mail_and_bare_postmaster_for_rcpt)
{
    ck_assert_int_eq(parse(STR("<>"), false), ADDRESS_OK);
    ck_assert(path.is_null && path.whole.n == 0);
    ck_assert_int_eq(parse(STR("<>"), true), ADDRESS_SYNTAX);
    ck_assert(!path.is_null);
    ck_assert_int_eq(parse(STR("<PostMaster>"), true), ADDRESS_OK);
    ck_assert(path.is_postmaster && path.domain.n == 0);
    expect_str(path.whole, "PostMaster");
    ck_assert_int_eq(parse(STR("<postmaster>"), false), ADDRESS_SYNTAX);
    ck_assert_int_eq(parse(STR("<postmasters>"), true), ADDRESS_SYNTAX);
}
END_TEST

static const struct {
    const char *rest;
    enum address_verdict verdict;
    uint64_t size_bytes;
    bool has_body, eight_bit;
} param_cases[] = {
    {"", ADDRESS_OK, 0, false, false},
    {" SIZE=100", ADDRESS_OK, 100, false, false},
    {"  size=0   body=7bit ", ADDRESS_OK, 0, true, false},
    {" BODY=8BITMIME SIZE=1", ADDRESS_OK, 1, true, true},
    {" SIZE=18446744073709551615", ADDRESS_OK, UINT64_MAX, false, false},
    {" SIZE=18446744073709551616", ADDRESS_OK, UINT64_MAX, false, false},
    {" SIZE=99999999999999999999", ADDRESS_OK, UINT64_MAX, false, false},
    {" SIZE=100000000000000000000", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE=000000000000000000001", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE=", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE=-1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE=1x", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE==1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" BODY=BINARYMIME", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" BODY", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" =1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" -x=1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SI_ZE=1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SIZE=1 SIZE=1", ADDRESS_PARAM_DUPLICATE, 0, false, false},
    {" BODY=7BIT body=8bitmime", ADDRESS_PARAM_DUPLICATE, 0, false, false},
    {" SMTPUTF8", ADDRESS_OK, 0, false, false},
    {" smtputf8 SIZE=3 SMTPUTF8X", ADDRESS_PARAM_UNKNOWN, 0, false, false},
    {" SMTPUTF8=1", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SMTPUTF8=", ADDRESS_PARAM_SYNTAX, 0, false, false},
    {" SMTPUTF8 smtputf8", ADDRESS_PARAM_DUPLICATE, 0, false, false},
    {" AUTH=<>", ADDRESS_PARAM_UNKNOWN, 0, false, false},
    {" SIZE=1 X-a=b", ADDRESS_PARAM_UNKNOWN, 0, false, false},
};

/* As it is with SMTPUTF8; without it each is ADDRESS_EIGHT_BIT, or what it is in any case. */
static const struct {
    const char *path;
    enum address_verdict verdict;
} utf8_cases[] = {
    {"<jos\xc3\xa9@x.example>", ADDRESS_OK},
    {"<\"jos\xc3\xa9 a\"@x.example>", ADDRESS_OK},
    {"<a@b\xc3\xbc"
     "cher.example>",
     ADDRESS_OK},
    {"<a@\xe4\xbe\x8b.\xe6\xb5\x8b\xe8\xaf\x95>", ADDRESS_OK},
    {"<\xf0\x9f\x93\xac.\xf0\x9f\x93\xac@x.example>", ADDRESS_OK},
    {"<jos\xe9@x.example>", ADDRESS_SYNTAX},          /* Latin-1 */
    {"<\xc0\xafx@x.example>", ADDRESS_SYNTAX},        /* overlong */
    {"<\xed\xa0\x80x@x.example>", ADDRESS_SYNTAX},    /* a surrogate */
    {"<\xf4\x90\x80\x80@x.example>", ADDRESS_SYNTAX}, /* above U+10FFFF */
    {"<a\xc3@x.example>", ADDRESS_SYNTAX},
    {"<a\xc2\x9b@x.example>", ADDRESS_CONTROL},     /* C1 */
    {"<a\xe2\x80\xae@x.example>", ADDRESS_CONTROL}, /* right-to-left override */
    {"<a\xe2\x80\x8b@x.example>", ADDRESS_CONTROL}, /* a space of no width */
    {"<a@e\xe2\x80\x8bxample.org>", ADDRESS_CONTROL},
    {"<\"a\\\xc3\xa9\"@x.example>", ADDRESS_SYNTAX}, /* only ASCII is quoted by a backslash */
    {"<a@-\xc3\xbc.example>", ADDRESS_SYNTAX},
    {"<a@\xc3\xbc-.example>", ADDRESS_SYNTAX},
    {"<a@\xc3\xbc_.example>", ADDRESS_SYNTAX},
    {"<a@\xc3\xbc..example>", ADDRESS_SYNTAX},
    {"<a@[\xc3\xbc]>", ADDRESS_SYNTAX},
    {"<\xc3\xbc>", ADDRESS_SYNTAX},
};

START_TEST(other_scripts_are_taken_with_smtputf8_only)
{
    const char *text = utf8_cases[_i].path;
    enum address_verdict want = utf8_cases[_i].verdict, without = ADDRESS_EIGHT_BIT;
    char arg[200];
    struct path p;
    struct mail_params m;

    snprintf(arg, sizeof arg, "%s SIZE=1 SmtpUtf8", text);
    ck_assert_int_eq(address_parse_rcpt(str_of(text), true, &p), want);
    ck_assert_int_eq(p.utf8, want == ADDRESS_OK);
    ck_assert_int_eq(address_parse_mail(str_of(arg), &p, &m), want);
    ck_assert_int_eq(m.smtputf8, want == ADDRESS_OK);
    ck_assert_int_eq(address_parse_rcpt(str_of(text), false, &p), without);
    ck_assert_int_eq(address_parse_mail(str_of(text), &p, &m), without);
    ck_assert(!p.utf8 && p.whole.n == 0);
}
END_TEST

START_TEST(wide_signs_of_relays_are_such_signs)
{
    static const char *const forms[] = {"<a\xef\xbc\x85"
                                        "b@x.example>",
                                        "<a\xef\xbc\x81"
                                        "b@x.example>",
                                        "<a\xef\xbc\xa0"
                                        "b@x.example>",
                                        "<a\xef\xb9\xaa"
                                        "b@x.example>",
                                        "<\"a\xef\xb9\x97 b\"@x.example>",
                                        "<a\xef\xb9\xab"
                                        "b@x.example>"};
    struct path p;

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        ck_assert_int_eq(address_parse_rcpt(str_of(forms[i]), true, &p), ADDRESS_OK);
        ck_assert(p.relay_form);
    }
    ck_assert_int_eq(address_parse_rcpt(STR("<a\xef\xbc\x86@x.example>"), true, &p),
                     ADDRESS_OK);
    ck_assert(!p.relay_form);
}
END_TEST

START_TEST(a_name_in_another_script_is_no_normal_form)
{
    char buf_[LIMIT_SMTP_DOMAIN_BYTES];
    struct str out;
    struct path p;

    ck_assert(!domain_normalize(STR("b\xc3\xbc"
                                    "cher.example"),
                                buf_, &out));
    ck_assert_int_eq(address_parse_rcpt(STR("<a@b\xc3\xbc"
                                            "cher.example>"),
                                        true, &p),
                     ADDRESS_OK);
    ck_assert(!address_owner(&p, buf_, &out)); /* node/domain_name knows it */
}
END_TEST

START_TEST(parameters_of_mail_are_read_once_each_and_unknown_ones_refused)
{
    char arg[200];
    enum address_verdict want = param_cases[_i].verdict;

    snprintf(arg, sizeof arg, "<a@b.example>%s", param_cases[_i].rest);
    ck_assert_int_eq(parse(str_of(arg), false), want);
    ck_assert_uint_eq(params.size_bytes, param_cases[_i].size_bytes);
    ck_assert_int_eq(params.has_body, param_cases[_i].has_body);
    ck_assert_int_eq(params.eight_bit, param_cases[_i].eight_bit);
    if (want != ADDRESS_OK)
        ck_assert_int_eq(strncmp(address_reply(want, false),
                                 want == ADDRESS_PARAM_UNKNOWN ? "555 5.5.4" : "501 5.5.4", 9),
                         0);
}
END_TEST

START_TEST(no_parameter_of_rcpt_is_known)
{
    ck_assert_int_eq(parse(STR("<a@b.example> NOTIFY=NEVER"), true), ADDRESS_PARAM_UNKNOWN);
    ck_assert_int_eq(parse(STR("<a@b.example> SIZE=1"), true), ADDRESS_PARAM_UNKNOWN);
    ck_assert_int_eq(parse(STR("<a@b.example> ="), true), ADDRESS_PARAM_SYNTAX);
}
END_TEST

/* <aaa...@b.example> with a local part of n bytes. */
static enum address_verdict with_local(size_t n, bool of_rcpt)
{
    char arg[600] = "<";

    memset(arg + 1, 'a', n);
    memcpy(arg + 1 + n, "@b.example>", 11);
    return parse((struct str){arg, n + 12}, of_rcpt);
}

START_TEST(length_limits_hold_to_the_byte)
{
    ck_assert_int_eq(with_local(LIMIT_SMTP_LOCAL_PART_BYTES, true), ADDRESS_OK);
    ck_assert_int_eq(with_local(LIMIT_SMTP_LOCAL_PART_BYTES + 1, true), ADDRESS_TOO_LONG);
    /* a sender may have a longer one, up to the limit of the path */
    ck_assert_int_eq(with_local(LIMIT_SMTP_PATH_BYTES - 10, false), ADDRESS_OK);
    ck_assert_int_eq(with_local(LIMIT_SMTP_PATH_BYTES - 9, false), ADDRESS_TOO_LONG);
    ck_assert_str_eq(address_reply(ADDRESS_TOO_LONG, true),
                     "501 5.1.3 Recipient address too long");
}
END_TEST

START_TEST(domains_have_one_normal_form_or_none)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"B.Example", "b.example"},
        {"b.example.", NULL},
        {"", NULL},
        {".", NULL},
        {"[192.0.2.1]", NULL},
        {"a_b.example", NULL},
        {"a b", NULL},
        {"xn--A.B", "xn--a.b"},
        {"b\xc3\xa4.example", NULL},
        {"1.2.3.4", "1.2.3.4"},
        {"-a", NULL},
        {"a-", NULL},
    };
    char buf[LIMIT_SMTP_DOMAIN_BYTES], name[300];
    struct str out;

    for (int i = 0; i < COUNT(cases); i++) {
        bool ok = domain_normalize(str_of(cases[i].in), buf, &out);

        ck_assert_msg(ok == (cases[i].out != NULL), "%s", cases[i].in);
        expect_str(out, ok ? cases[i].out : "");
    }
    memset(name, 'a', sizeof name);
    ck_assert(domain_normalize((struct str){name, 63}, buf, &out));
    ck_assert(!domain_normalize((struct str){name, 64}, buf, &out));
    for (size_t i = 50; i < sizeof name; i += 51)
        name[i] = '.';
    ck_assert(domain_normalize((struct str){name, LIMIT_SMTP_DOMAIN_BYTES}, buf, &out));
    ck_assert(!domain_normalize((struct str){name, LIMIT_SMTP_DOMAIN_BYTES + 1}, buf, &out));
}
END_TEST

START_TEST(address_literals_follow_the_grammar_of_rfc_5321)
{
    static const struct {
        const char *text;
        bool is;
    } cases[] = {
        {"[0.0.0.0]", true},
        {"[255.255.255.255]", true},
        {"[256.0.0.1]", false},
        {"[1.2.3]", false},
        {"[1.2.3.4.]", false},
        {"[1..2.3]", false},
        {"[1.2.3.4.5]", false},
        {"[0001.2.3.4]", false},
        {"1.2.3.4", false},
        {"[", false},
        {"]", false},
        {"[IPv6:]", false},
        {"[ipv6:::]", true},
        {"[IPv6:1:2:3:4:5:6:7:8]", true},
        {"[IPv6:1:2:3:4:5:6:7]", false},
        {"[IPv6:1:2:3:4:5:6:1.2.3.4]", true},
        {"[IPv6:1.2.3.4::]", false},
        {"[IPv6:::1.2.3.4]", true},
        {"[IPv6:1::2:]", false},
        {"[IPv6:12345::]", false},
        {"[IPv6:g::]", false},
        {"[IPv6:::1::]", false},
    };

    for (int i = 0; i < COUNT(cases); i++)
        ck_assert_msg(address_is_literal(str_of(cases[i].text)) == cases[i].is, "%s",
                      cases[i].text);
}
END_TEST

/* --- the isemail collection --- */

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Undoes \\ \0 \r \n \t \xNN; returns the length. */
static size_t unescape(struct str in, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (c == '\\' && i + 1 < in.n) {
            c = in.p[++i];
            c = (char)(c == '0' ? 0 : c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c);
            if (c == 'x' && i + 2 < in.n) {
                c = (char)(hex(in.p[i + 1]) << 4 | hex(in.p[i + 2]));
                i += 2;
            }
        }
        out[n++] = c;
    }
    return n;
}

/* Both agree on every row; the one difference is the length of a sender's local part. */
static void check_row(struct str line, unsigned *counted)
{
    struct str id = str_split(&line, '\t'), address = str_split(&line, '\t');
    struct str diagnosis, smtp_class;
    char arg[1200] = "<";
    size_t n = unescape(address, arg + 1);
    enum address_verdict v;
    bool want;

    (void)str_split(&line, '\t');
    diagnosis = str_split(&line, '\t');
    smtp_class = str_split(&line, '\t');
    arg[n + 1] = '>';
    want = str_eq(smtp_class, STR("ok"));
    v = parse((struct str){arg, n + 2}, true);
    ck_assert_msg((v == ADDRESS_OK) == want, "row " STR_FMT " '" STR_FMT "' gave %d",
                  STR_ARG(id), STR_ARG(address), (int)v);
    /* senders may have long local parts, and <> is the null sender; else there is no difference
     */
    v = parse((struct str){arg, n + 2}, false);
    if (n > 0 && !str_eq(diagnosis, STR("ISEMAIL_RFC5322_LOCAL_TOOLONG")))
        ck_assert_int_eq(v == ADDRESS_OK, want);
    ++*counted;
}

START_TEST(isemail_rows_are_taken_exactly_when_rfc_5321_takes_them)
{
    struct str here = STR(__FILE__);
    char name[1000], line[2000];
    unsigned counted = 0;
    FILE *f;

    here.n -= sizeof "node/smtp/address_test.c" - 1;
    snprintf(name, sizeof name, STR_FMT "tests/corpus/address/isemail-tests.tsv",
             STR_ARG(here));
    f = fopen(name, "r");
    ck_assert_msg(f != NULL, "%s", name);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f)); /* titles */
    while (fgets(line, sizeof line, f) != NULL)
        check_row((struct str){line, strcspn(line, "\n")}, &counted);
    fclose(f);
    ck_assert_uint_eq(counted, 164);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tc = tcase_create("parse");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, valid_paths_are_cut_at_the_at_sign_outside_quotes, 0, COUNT(good));
    tcase_add_loop_test(tc, invalid_paths_and_relay_forms_are_refused_in_mail_and_rcpt_alike, 0,
                        COUNT(bad));
    tcase_add_test(tc, null_sender_is_for_mail_and_bare_postmaster_for_rcpt);
    tcase_add_loop_test(tc, other_scripts_are_taken_with_smtputf8_only, 0,
                        sizeof utf8_cases / sizeof *utf8_cases);
    tcase_add_test(tc, wide_signs_of_relays_are_such_signs);
    tcase_add_test(tc, a_name_in_another_script_is_no_normal_form);
    tcase_add_loop_test(tc, parameters_of_mail_are_read_once_each_and_unknown_ones_refused, 0,
                        COUNT(param_cases));
    tcase_add_test(tc, no_parameter_of_rcpt_is_known);
    tcase_add_test(tc, length_limits_hold_to_the_byte);
    tcase_add_test(tc, domains_have_one_normal_form_or_none);
    tcase_add_test(tc, address_literals_follow_the_grammar_of_rfc_5321);
    tcase_add_test(tc, isemail_rows_are_taken_exactly_when_rfc_5321_takes_them);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
