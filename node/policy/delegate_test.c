#include "node/policy/delegate.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

static const struct delegate_facts facts = {
    .client = {"192.0.2.7", 9},
    .helo = {"mail.sender.example", 19},
    .sender = {"a@sender.example", 16},
    .recipient = {"b@example.test", 14},
    .tls = {"TLSv1.3 TLS_AES_256_GCM_SHA384", 30},
    .instance = 0xabc,
    .size_bytes = 12345,
    .esmtp = true,
};

START_TEST(the_question_has_the_attributes_of_postfix)
{
    static const char wanted[] = "request=smtpd_access_policy\n"
                                 "protocol_state=RCPT\n"
                                 "protocol_name=ESMTP\n"
                                 "client_address=192.0.2.7\n"
                                 "client_name=unknown\n"
                                 "reverse_client_name=unknown\n"
                                 "helo_name=mail.sender.example\n"
                                 "sender=a@sender.example\n"
                                 "recipient=b@example.test\n"
                                 "recipient_count=0\n"
                                 "queue_id=\n"
                                 "instance=0000000000000abc\n"
                                 "size=12345\n"
                                 "etrn_domain=\n"
                                 "stress=\n"
                                 "sasl_method=\n"
                                 "sasl_username=\n"
                                 "sasl_sender=\n"
                                 "ccert_subject=\n"
                                 "ccert_issuer=\n"
                                 "ccert_fingerprint=\n"
                                 "ccert_pubkey_fingerprint=\n"
                                 "encryption_protocol=TLSv1.3\n"
                                 "encryption_cipher=TLS_AES_256_GCM_SHA384\n"
                                 "encryption_keysize=0\n"
                                 "\n";
    char buf[LIMIT_DELEGATE_REQUEST_BYTES];
    struct str got = delegate_request(&facts, buf);

    ck_assert_uint_eq(got.n, sizeof wanted - 1);
    ck_assert_mem_eq(got.p, wanted, got.n);
}
END_TEST

START_TEST(no_value_makes_a_line_of_its_own)
{
    struct delegate_facts f = facts;
    char buf[LIMIT_DELEGATE_REQUEST_BYTES];
    struct str got;

    f.helo = (struct str){"x\naction=OK\r\n\n\0y\xff", 17};
    got = delegate_request(&f, buf);
    ck_assert_ptr_nonnull(memmem(got.p, got.n, "\nhelo_name=x?action=OK????y?\n", 29));
    f.sender = STR("jos\xc3\xa9\n@x.example");
    got = delegate_request(&f, buf);
    ck_assert_ptr_nonnull(memmem(got.p, got.n, "\nsender=jos\xc3\xa9?@x.example\n", 25));
}
END_TEST

START_TEST(the_longest_values_fit)
{
    char *text = malloc(4096), buf[LIMIT_DELEGATE_REQUEST_BYTES];
    struct delegate_facts f = {.client = {text, LIMIT_CLIENT_ADDR_BYTES},
                               .helo = {text, LIMIT_SMTP_HELO_BYTES},
                               .sender = {text, LIMIT_SMTP_PATH_BYTES},
                               .recipient = {text, LIMIT_SMTP_PATH_BYTES},
                               .tls = {text, LIMIT_TLS_TEXT_BYTES},
                               .instance = UINT64_MAX,
                               .size_bytes = UINT64_MAX};

    memset(text, 'x', 4096);
    ck_assert_uint_gt(delegate_request(&f, buf).n, 1000);
    free(text);
}
END_TEST

static const struct {
    const char *value; /* of action= */
    enum delegate_act act;
    bool closes;
    const char *reply;
} answers[] = {
    {"DUNNO", DELEGATE_PASS, false, ""},
    {"dunno", DELEGATE_PASS, false, ""},
    {"OK", DELEGATE_PASS, false, ""},
    {"permit", DELEGATE_PASS, false, ""},
    {"12345", DELEGATE_PASS, false, ""},
    {"DEFER_IF_REJECT later", DELEGATE_PASS, false, ""},
    {"REJECT", DELEGATE_REFUSE, false, "554 5.7.1 Refused by policy"},
    {"reject not you", DELEGATE_REFUSE, false, "554 5.7.1 not you"},
    {"REJECT   5.7.23 SPF  fails ", DELEGATE_REFUSE, false, "554 5.7.23 SPF  fails"},
    {"REJECT 4.7.1 odd class", DELEGATE_REFUSE, false, "554 5.7.1 4.7.1 odd class"},
    {"550 5.1.1 no such user", DELEGATE_REFUSE, false, "550 5.1.1 no such user"},
    {"550 5.1.1", DELEGATE_REFUSE, false, "550 5.7.1 Refused by policy"},
    {"550", DELEGATE_REFUSE, false, "550 5.7.1 Refused by policy"},
    {"550 5.1.1000 x", DELEGATE_REFUSE, false, "550 5.7.1 5.1.1000 x"},
    {"550 5.1 x", DELEGATE_REFUSE, false, "550 5.7.1 5.1 x"},
    {"DEFER", DELEGATE_REFUSE, false, "450 4.7.1 Try again later"},
    {"DEFER_IF_PERMIT Greylisted", DELEGATE_REFUSE, false, "450 4.7.1 Greylisted"},
    {"451 4.3.5 broken\tthere\x80", DELEGATE_REFUSE, false, "451 4.3.5 broken?there?"},
    {"421 4.7.0 go", DELEGATE_REFUSE, true, "421 4.7.0 go"},
    {"521 never", DELEGATE_REFUSE, true, "521 5.7.1 never"},
    {"PREPEND X-Greylist: delayed", DELEGATE_UNKNOWN, false, ""},
    {"HOLD", DELEGATE_UNKNOWN, false, ""},
    {"DISCARD", DELEGATE_UNKNOWN, false, ""},
    {"FILTER smtp:[x]", DELEGATE_UNKNOWN, false, ""},
    {"REDIRECT x@y", DELEGATE_UNKNOWN, false, ""},
    {"reject_unauth_destination", DELEGATE_UNKNOWN, false, ""},
    {"", DELEGATE_UNKNOWN, false, ""},
    {"250 fine", DELEGATE_UNKNOWN, false, ""},
    {"354 go on", DELEGATE_UNKNOWN, false, ""},
    {"560 x", DELEGATE_UNKNOWN, false, ""},
    {"4500 x", DELEGATE_UNKNOWN, false, ""},
    {"55 x", DELEGATE_UNKNOWN, false, ""},
    {"OKAY", DELEGATE_UNKNOWN, false, ""},
};

START_TEST(an_action_is_understood_or_told_to_be_none_of_ours)
{
    char text[200];
    size_t used, n = (size_t)snprintf(text, sizeof text, "action=%s\n\n", answers[_i].value);
    struct delegate_answer a;

    ck_assert_int_eq(delegate_read((struct str){text, n}, &used, &a), DELEGATE_DONE);
    ck_assert_uint_eq(used, n);
    ck_assert_int_eq(a.act, answers[_i].act);
    ck_assert_str_eq(a.reply, answers[_i].reply);
    ck_assert(a.closes == answers[_i].closes);
}
END_TEST

static const struct {
    const char *text;
    enum delegate_read result;
    size_t used;
} frames[] = {
    {"", DELEGATE_MORE, 0},
    {"action=OK", DELEGATE_MORE, 0},
    {"action=OK\n", DELEGATE_MORE, 0},
    {"action=OK\n\n", DELEGATE_DONE, 11},
    {"action=OK\r\n\r\n", DELEGATE_DONE, 13},
    {"ACTION=OK\n\n", DELEGATE_DONE, 11},
    {"more=x\naction=OK\nother=\n\n", DELEGATE_DONE, 25},
    {"action=OK\n\naction=REJECT\n\n", DELEGATE_DONE, 11},
    {"\n", DELEGATE_BAD, 0},
    {"nothing\n\n", DELEGATE_BAD, 0},
    {"more=x\n\n", DELEGATE_BAD, 0},
    {"action=OK\naction=REJECT\n\n", DELEGATE_BAD, 0},
    {"HTTP/1.1 400 Bad Request\r\n", DELEGATE_BAD, 0},
};

START_TEST(an_answer_is_one_action_and_an_empty_line)
{
    struct delegate_answer a;
    size_t used;

    ck_assert_int_eq(delegate_read(str_of(frames[_i].text), &used, &a), frames[_i].result);
    ck_assert_uint_eq(used, frames[_i].used);
}
END_TEST

START_TEST(a_nul_cuts_no_answer_short)
{
    struct delegate_answer a;
    size_t used;

    ck_assert_int_eq(delegate_read(STR("action=REJECT 5.7.1 \0x\n\n"), &used, &a),
                     DELEGATE_DONE);
    ck_assert_str_eq(a.reply, "554 5.7.1 ?x");
}
END_TEST

START_TEST(an_answer_has_a_limit)
{
    size_t n = LIMIT_DELEGATE_ANSWER_BYTES, used;
    char *text = malloc(n + 2);
    struct delegate_answer a;

    memset(text, 'x', n + 2);
    memcpy(text, "action=REJECT ", 14);
    ck_assert_int_eq(delegate_read((struct str){text, n - 1}, &used, &a), DELEGATE_MORE);
    ck_assert_int_eq(delegate_read((struct str){text, n}, &used, &a), DELEGATE_BAD);
    text[n - 2] = text[n - 1] = '\n';
    ck_assert_int_eq(delegate_read((struct str){text, n}, &used, &a), DELEGATE_DONE);
    ck_assert_uint_eq(strlen(a.reply), strlen("554 5.7.1 ") + 400); /* cut for the client */
    text[n - 2] = 'x';
    text[n - 1] = text[n] = text[n + 1] = '\n';
    ck_assert_int_eq(delegate_read((struct str){text, n + 1}, &used, &a), DELEGATE_BAD);
    free(text);
}
END_TEST

static const struct {
    const char *value;
    uint8_t mode;
    enum delegate_act act;
    const char *reply;
} softened[] = {
    {"REJECT no", CHECK_REFUSE, DELEGATE_REFUSE, "554 5.7.1 no"},
    {"REJECT no", CHECK_DEFER, DELEGATE_REFUSE, "454 4.7.1 no"},
    {"550 5.1.1 no", CHECK_DEFER, DELEGATE_REFUSE, "450 4.1.1 no"},
    {"450 later", CHECK_DEFER, DELEGATE_REFUSE, "450 4.7.1 later"},
    {"REJECT no", CHECK_MARK, DELEGATE_PASS, ""},
    {"421 no", CHECK_MARK, DELEGATE_PASS, ""},
    {"HOLD", CHECK_MARK, DELEGATE_UNKNOWN, ""},
    {"OK", CHECK_DEFER, DELEGATE_PASS, ""},
};

START_TEST(a_domain_may_take_a_refusal_less_seriously)
{
    char text[200];
    size_t used, n = (size_t)snprintf(text, sizeof text, "action=%s\n\n", softened[_i].value);
    struct delegate_answer a;

    ck_assert_int_eq(delegate_read((struct str){text, n}, &used, &a), DELEGATE_DONE);
    delegate_soften(&a, softened[_i].mode);
    ck_assert_int_eq(a.act, softened[_i].act);
    ck_assert_str_eq(a.reply, softened[_i].reply);
    ck_assert(!a.closes);
}
END_TEST

#define NOW UINT64_C(1000)

START_TEST(one_question_without_an_answer_is_no_failure_some_in_a_row_are)
{
    struct delegate_rest r = {0};

    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < LIMIT_DELEGATE_TIMEOUTS; i++)
            ck_assert(!delegate_timed_out(&r, NOW) && !delegate_is_resting(&r, NOW));
        delegate_answered(&r);
    }
    for (int i = 1; i < LIMIT_DELEGATE_TIMEOUTS; i++)
        ck_assert(!delegate_timed_out(&r, NOW));
    ck_assert(delegate_timed_out(&r, NOW));
    ck_assert(delegate_is_resting(&r, NOW + LIMIT_DELEGATE_REST_MS - 1));
    ck_assert(!delegate_is_resting(&r, NOW + LIMIT_DELEGATE_REST_MS));
    ck_assert(!delegate_timed_out(&r, NOW + LIMIT_DELEGATE_REST_MS)); /* from the beginning */
}
END_TEST

START_TEST(a_server_that_is_not_there_rests_at_once)
{
    struct delegate_rest r = {0};

    ck_assert(!delegate_is_resting(&r, 0));
    delegate_failed(&r, NOW);
    ck_assert(delegate_is_resting(&r, NOW));
    ck_assert(!delegate_is_resting(&r, NOW + LIMIT_DELEGATE_REST_MS));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("delegate");
    TCase *tc = tcase_create("delegate");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, the_question_has_the_attributes_of_postfix);
    tcase_add_test(tc, no_value_makes_a_line_of_its_own);
    tcase_add_test(tc, the_longest_values_fit);
    tcase_add_loop_test(tc, an_action_is_understood_or_told_to_be_none_of_ours, 0,
                        COUNT(answers));
    tcase_add_loop_test(tc, an_answer_is_one_action_and_an_empty_line, 0, COUNT(frames));
    tcase_add_test(tc, a_nul_cuts_no_answer_short);
    tcase_add_test(tc, an_answer_has_a_limit);
    tcase_add_loop_test(tc, a_domain_may_take_a_refusal_less_seriously, 0, COUNT(softened));
    tcase_add_test(tc, one_question_without_an_answer_is_no_failure_some_in_a_row_are);
    tcase_add_test(tc, a_server_that_is_not_there_rests_at_once);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
