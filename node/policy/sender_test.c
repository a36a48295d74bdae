#include "node/policy/sender.h"

#include <check.h>
#include <stdio.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static void start(struct sender *s, const char *arg)
{
    struct mail_params params;
    struct path path;

    ck_assert_int_eq(address_parse_mail(str_of(arg), &path, &params), ADDRESS_OK);
    sender_init(s, &path);
}

/* found, no data, NXDOMAIN, SERVFAIL, silence, null MX alone and beside others, cut */
enum { O, D, X, F, S, NIL, MIX, CUT };

static const struct {
    int mx, a, aaaa;
    enum sender_result result;
} cases[] = {
    {O, X, X, SENDER_RESOLVES},   {NIL, X, X, SENDER_NULL_MX}, {CUT, X, X, SENDER_RESOLVES},
    {MIX, X, X, SENDER_RESOLVES}, {X, O, O, SENDER_NO_DOMAIN}, {F, O, O, SENDER_UNKNOWN},
    {D, CUT, X, SENDER_RESOLVES}, {S, O, O, SENDER_UNKNOWN},   {D, O, D, SENDER_RESOLVES},
    {D, D, O, SENDER_RESOLVES},   {D, F, O, SENDER_RESOLVES},  {D, D, D, SENDER_NO_HOST},
    {D, X, X, SENDER_NO_DOMAIN},  {D, X, D, SENDER_NO_HOST},   {D, D, F, SENDER_UNKNOWN},
    {D, S, D, SENDER_UNKNOWN},    {D, F, X, SENDER_UNKNOWN},   {D, S, S, SENDER_UNKNOWN},
};

static const struct dns_answer *answer(int what)
{
    static const struct dns_answer answers[] = {
        [O] = {.status = DNS_OK, .count = 1, .records = {{.host = "mx.a.example"}}},
        [D] = {.status = DNS_NODATA},
        [X] = {.status = DNS_NXDOMAIN},
        [F] = {.status = DNS_SERVFAIL},
        [S] = {.status = DNS_SILENCE},
        [NIL] = {.status = DNS_OK, .count = 1},
        [MIX] = {.status = DNS_OK,
                 .count = 2,
                 .records = {{.host = ""}, {.host = "mx.example"}}},
        [CUT] = {.status = DNS_OK, .cut = true},
    };

    return &answers[what];
}

START_TEST(S27_the_domain_of_a_sender_resolves)
{
    for (int order = 0; order < 2; order++) {
        struct question q[SENDER_QUESTIONS];
        struct sender s;

        start(&s, "<joe@A.Customer.Net>");
        ck_assert_uint_eq(sender_questions(&s, q), 1);
        ck_assert_int_eq(q[0].type, DNS_MX);
        ck_assert(str_eq(q[0].name, STR("a.customer.net")));
        sender_answer(&s, q[0].tag, answer(cases[_i].mx));
        if (!sender_is_done(&s)) {
            ck_assert_uint_eq(sender_questions(&s, q), 2);
            ck_assert(q[0].type == DNS_A && q[1].type == DNS_AAAA);
            ck_assert_uint_eq(sender_questions(&s, q), 0);
            sender_answer(&s, q[order].tag, answer(order == 0 ? cases[_i].a : cases[_i].aaaa));
            sender_answer(&s, q[order].tag, answer(X)); /* doubled */
            sender_answer(&s, q[1 - order].tag,
                          answer(order == 0 ? cases[_i].aaaa : cases[_i].a));
        }
        ck_assert(sender_is_done(&s));
        ck_assert_msg(s.result == cases[_i].result, "%d: %s", _i, sender_result_text(s.result));
        ck_assert(sender_is_bad(s.result) == (s.result >= SENDER_NO_DOMAIN));
    }
}
END_TEST

static const struct {
    const char *arg;
    enum sender_result result; /* without a look-up; UNKNOWN: one is needed */
} names[] = {
    {"<>", SENDER_NULL},
    {"<a@[192.0.2.1]>", SENDER_LITERAL},
    {"<a@[IPv6:2001:db8::1]>", SENDER_LITERAL},
    {"<a@customer.net>", SENDER_UNKNOWN},
    {"<a@localhost>", SENDER_SPECIAL},
    {"<a@LOCALHOST>", SENDER_SPECIAL},
    {"<a@host.localhost>", SENDER_SPECIAL},
    {"<a@host>", SENDER_SPECIAL},
    {"<a@host.local>", SENDER_SPECIAL},
    {"<a@host.invalid>", SENDER_SPECIAL},
    {"<a@host.test>", SENDER_SPECIAL},
    {"<a@example.com>", SENDER_SPECIAL},
    {"<a@sub.Example.ORG>", SENDER_SPECIAL},
    {"<a@x.onion>", SENDER_SPECIAL},
    {"<a@x.alt>", SENDER_SPECIAL},
    {"<a@x.home.arpa>", SENDER_SPECIAL},
    {"<a@7.2.0.192.in-addr.arpa>", SENDER_SPECIAL},
    {"<a@corp.internal>", SENDER_SPECIAL},
    {"<a@notexample.com>", SENDER_UNKNOWN},
    {"<a@example.com.net>", SENDER_UNKNOWN},
    {"<a@latest>", SENDER_SPECIAL},
    {"<a@la.testing>", SENDER_UNKNOWN},
    {"<a@mylocal.de>", SENDER_UNKNOWN},
};

START_TEST(S27_names_that_are_nobodys_need_no_question)
{
    struct question q[SENDER_QUESTIONS];
    struct sender s;

    start(&s, names[_i].arg);
    ck_assert_msg(s.result == names[_i].result, "%s: %s", names[_i].arg,
                  sender_result_text(s.result));
    ck_assert(sender_is_done(&s) == (s.result != SENDER_UNKNOWN));
    ck_assert_uint_eq(sender_questions(&s, q), s.result == SENDER_UNKNOWN);
}
END_TEST

START_TEST(S27_time_is_up_and_nothing_is_known)
{
    struct question q[SENDER_QUESTIONS];
    struct path odd = {.domain = STR("not a domain")};
    struct sender s;

    start(&s, "<a@customer.net>");
    sender_answer(&s, 0, answer(X)); /* nobody asked */
    ck_assert(!sender_is_done(&s));
    sender_questions(&s, q);
    sender_give_up(&s);
    sender_give_up(&s);
    sender_answer(&s, q[0].tag, answer(X));
    ck_assert(sender_is_done(&s) && s.result == SENDER_UNKNOWN && !sender_is_bad(s.result));
    ck_assert_uint_eq(sender_questions(&s, q), 0);
    sender_init(&s, &odd);
    ck_assert(sender_is_done(&s) && s.result == SENDER_UNKNOWN);
}
END_TEST

START_TEST(S27_replies_say_what_is_wrong)
{
    for (int r = SENDER_NO_DOMAIN; r <= SENDER_SPECIAL; r++) {
        const char *code = r == SENDER_NULL_MX ? "7.27" : "1.8";
        char start_of[16];

        snprintf(start_of, sizeof start_of, "550 5.%s ", code);
        ck_assert(str_starts_nocase(str_of(sender_reply((enum sender_result)r, false)),
                                    str_of(start_of)));
        snprintf(start_of, sizeof start_of, "450 4.%s ", code);
        ck_assert(str_starts_nocase(str_of(sender_reply((enum sender_result)r, true)),
                                    str_of(start_of)));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sender");
    TCase *tc = tcase_create("sender");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, S27_the_domain_of_a_sender_resolves, 0, COUNT(cases));
    tcase_add_loop_test(tc, S27_names_that_are_nobodys_need_no_question, 0, COUNT(names));
    tcase_add_test(tc, S27_time_is_up_and_nothing_is_known);
    tcase_add_test(tc, S27_replies_say_what_is_wrong);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
