/* Each script is a conversation: replies we feed, commands and outcomes we expect. */
#include "cluster-tools/load/client.h"

#include <check.h>
#include <stdlib.h>

static struct client_options opt;
static struct client client;
static struct outbuf out;
static struct client_result last;
static const struct client_message msg = {.number = 7, .bytes = 1000, .eight_bit = true};

static void setup(void)
{
    opt = (struct client_options){
        .helo = "me.example",
        .from = "a@x",
        .rcpt = "u%u@y",
        .rcpts = 2,
        .rcpt_modulus = 100,
        .pipelining = true,
    };
    outbuf_init(&out, 10000);
    client_init(&client, &opt);
}

static void teardown(void)
{
    outbuf_fini(&out);
}

/* Feeds one reply and checks what the client does with it. */
static void reply(const char *text, enum client_act act, const char *commands)
{
    struct reply_reader r;
    struct reply_line line;
    struct str in = {text, strlen(text)};

    reply_init(&r);
    outbuf_clear(&out);
    while (in.n > 0) {
        ck_assert_int_eq(reply_next(&r, &in, &line), OK);
        last = client_line(&client, &line, &out);
    }
    ck_assert_msg(last.act == act, "'%s' gave %d, not %d", text, last.act, act);
    ck_assert_msg(str_eq(outbuf_pending(&out), (struct str){commands, strlen(commands)}),
                  "'%s' gave '" STR_FMT "'", text, STR_ARG(outbuf_pending(&out)));
}

static void begin(const char *commands)
{
    outbuf_clear(&out);
    client_begin(&client, &msg, &out);
    ck_assert_msg(str_eq(outbuf_pending(&out), (struct str){commands, strlen(commands)}),
                  "begin gave '" STR_FMT "'", STR_ARG(outbuf_pending(&out)));
}

static void up_to_ready(void)
{
    reply("220 hi\r\n", CLIENT_GREETED, "EHLO me.example\r\n");
    reply("250-y\r\n250-SIZE 100\r\n250-8BITMIME\r\n250 PIPELINING\r\n", CLIENT_READY, "");
}

#define GROUP                                                                                  \
    "MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME\r\nRCPT TO:<u14@y>\r\nRCPT "                      \
    "TO:<u15@y>\r\nDATA\r\n"

START_TEST(a_good_message_is_acked_and_the_session_stays_free)
{
    up_to_ready();
    for (int i = 0; i < 2; i++) {
        begin(GROUP);
        reply("250 ok\r\n", CLIENT_NOTHING, "");
        reply("250 ok\r\n", CLIENT_NOTHING, "");
        reply("250 ok\r\n", CLIENT_NOTHING, "");
        reply("354 go\r\n", CLIENT_DO_BODY, "");
        ck_assert(!client_outcome_unknown(&client));
        client_body_sent(&client);
        ck_assert(client_outcome_unknown(&client));
        reply("250 taken\r\n", CLIENT_ACKED, "");
        ck_assert(!client_outcome_unknown(&client) && !client_partial(&client));
    }
}
END_TEST

START_TEST(without_pipelining_each_command_waits)
{
    opt.pipelining = false;
    up_to_ready();
    begin("MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME\r\n");
    reply("250 ok\r\n", CLIENT_NOTHING, "RCPT TO:<u14@y>\r\n");
    reply("550 no\r\n", CLIENT_NOTHING, "RCPT TO:<u15@y>\r\n");
    reply("250 ok\r\n", CLIENT_NOTHING, "DATA\r\n");
    reply("354 go\r\n", CLIENT_DO_BODY, "");
    client_body_sent(&client);
    reply("250 taken\r\n", CLIENT_ACKED, "");
    ck_assert(client_partial(&client));
}
END_TEST

START_TEST(a_refused_message_goes_elsewhere_or_is_over)
{
    static const struct {
        const char *replies[4];
        enum client_act act;
        int code;
        const char *says;
    } cases[] = {
        {{"450 m\r\n", "503 r\r\n", "503 r\r\n", "503 d\r\n"}, CLIENT_TEMP, 450, "QUIT\r\n"},
        {{"550 m\r\n", "503 r\r\n", "503 r\r\n", "503 d\r\n"}, CLIENT_PERM, 550, "RSET\r\n"},
        {{"250 m\r\n", "550 r\r\n", "450 r\r\n", "554 d\r\n"}, CLIENT_TEMP, 450, "QUIT\r\n"},
        {{"250 m\r\n", "450 r\r\n", "550 r\r\n", "554 d\r\n"}, CLIENT_TEMP, 450, "QUIT\r\n"},
        {{"250 m\r\n", "550 r\r\n", "551 r\r\n", "554 d\r\n"}, CLIENT_PERM, 550, "RSET\r\n"},
        {{"250 m\r\n", "250 r\r\n", "250 r\r\n", "451 d\r\n"}, CLIENT_TEMP, 451, "QUIT\r\n"},
        {{"250 m\r\n", "250 r\r\n", "250 r\r\n", "554 d\r\n"}, CLIENT_PERM, 554, "RSET\r\n"},
        {{"250 m\r\n", "250 r\r\n", "250 r\r\n", "250 d\r\n"}, CLIENT_TEMP, 250, "QUIT\r\n"},
    };

    up_to_ready();
    begin(GROUP);
    for (int i = 0; i < 3; i++)
        reply(cases[_i].replies[i], CLIENT_NOTHING, "");
    reply(cases[_i].replies[3], cases[_i].act, cases[_i].says);
    ck_assert_int_eq(last.code, cases[_i].code);
    if (cases[_i].act == CLIENT_PERM)
        reply("250 reset\r\n", CLIENT_READY, "");
}
END_TEST

START_TEST(a_354_without_a_good_recipient_is_ended_with_an_empty_message)
{
    up_to_ready();
    begin(GROUP);
    reply("250 m\r\n", CLIENT_NOTHING, "");
    reply("550 r\r\n", CLIENT_NOTHING, "");
    reply("550 r\r\n", CLIENT_NOTHING, "");
    reply("354 go\r\n", CLIENT_NOTHING, ".\r\n");
    ck_assert(!client_outcome_unknown(&client));
    reply("250 taken for nobody\r\n", CLIENT_PERM, "RSET\r\n");
    ck_assert_int_eq(last.code, 550);
}
END_TEST

START_TEST(after_the_dot_the_code_decides)
{
    static const struct {
        const char *reply;
        enum client_act act;
    } cases[] = {
        {"250 a\r\n", CLIENT_ACKED}, {"452 a\r\n", CLIENT_TEMP}, {"421 a\r\n", CLIENT_TEMP},
        {"554 a\r\n", CLIENT_PERM},  {"354 a\r\n", CLIENT_TEMP},
    };
    static const char *const says[] = {"", "QUIT\r\n", "QUIT\r\n", "RSET\r\n", "QUIT\r\n"};

    up_to_ready();
    begin(GROUP);
    for (int i = 0; i < 3; i++)
        reply("250 ok\r\n", CLIENT_NOTHING, "");
    reply("354 go\r\n", CLIENT_DO_BODY, "");
    client_body_sent(&client);
    reply(cases[_i].reply, cases[_i].act, says[_i]);
}
END_TEST

START_TEST(a_reply_in_the_middle_of_the_body_is_never_an_ack)
{
    static const char *const early[] = {"250 a\r\n", "452 a\r\n", "552 a\r\n"};

    up_to_ready();
    begin(GROUP);
    for (int i = 0; i < 3; i++)
        reply("250 ok\r\n", CLIENT_NOTHING, "");
    reply("354 go\r\n", CLIENT_DO_BODY, "");
    reply(early[_i], _i == 2 ? CLIENT_PERM : CLIENT_TEMP, "");
    ck_assert(client.body_cut);
}
END_TEST

START_TEST(a_354_where_none_is_due_ends_the_session)
{
    up_to_ready();
    begin(GROUP);
    reply("354 what\r\n", CLIENT_TEMP, "QUIT\r\n");
}
END_TEST

START_TEST(a_server_that_refuses_itself_is_left)
{
    reply(_i == 0 ? "421 full\r\n" : "554 no\r\n", CLIENT_REFUSED, "QUIT\r\n");
    ck_assert_int_eq(last.code, _i == 0 ? 421 : 554);
}
END_TEST

START_TEST(a_server_that_does_not_know_ehlo_is_greeted_with_helo)
{
    reply("220 hi\r\n", CLIENT_GREETED, "EHLO me.example\r\n");
    reply("500 what\r\n", CLIENT_NOTHING, "HELO me.example\r\n");
    reply("250 y\r\n", CLIENT_READY, "");
    begin("MAIL FROM:<a@x>\r\n");
}
END_TEST

START_TEST(starttls_forgets_what_was_said_in_the_clear)
{
    opt.starttls = true;
    reply("220 hi\r\n", CLIENT_GREETED, "EHLO me.example\r\n");
    reply("250-y\r\n250-STARTTLS\r\n250 PIPELINING\r\n", CLIENT_NOTHING, "STARTTLS\r\n");
    reply("220 go\r\n", CLIENT_DO_TLS, "");
    outbuf_clear(&out);
    client_secured(&client, &out);
    ck_assert(str_eq(outbuf_pending(&out), STR("EHLO me.example\r\n")));
    reply("250 y\r\n", CLIENT_READY, "");
    begin("MAIL FROM:<a@x>\r\n"); /* PIPELINING was not offered again */
}
END_TEST

START_TEST(a_server_without_starttls_is_refused_when_it_is_demanded)
{
    opt.starttls = true;
    reply("220 hi\r\n", CLIENT_GREETED, "EHLO me.example\r\n");
    reply("250 STARTTLSX\r\n", CLIENT_REFUSED, "QUIT\r\n");
}
END_TEST

START_TEST(with_bdat_no_data_command_is_sent)
{
    opt.bdat = true;
    reply("220 hi\r\n", CLIENT_GREETED, "EHLO me.example\r\n");
    reply("250-y\r\n250-CHUNKING\r\n250 PIPELINING\r\n", CLIENT_READY, "");
    begin("MAIL FROM:<a@x>\r\nRCPT TO:<u14@y>\r\nRCPT TO:<u15@y>\r\n");
    reply("250 m\r\n", CLIENT_NOTHING, "");
    reply("250 r\r\n", CLIENT_NOTHING, "");
    reply("450 r\r\n", CLIENT_DO_BODY, "BDAT 1000 LAST\r\n");
    client_body_sent(&client);
    reply("250 taken\r\n", CLIENT_ACKED, "");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_good_message_is_acked_and_the_session_stays_free);
    tcase_add_test(tc, without_pipelining_each_command_waits);
    tcase_add_loop_test(tc, a_refused_message_goes_elsewhere_or_is_over, 0, 8);
    tcase_add_test(tc, a_354_without_a_good_recipient_is_ended_with_an_empty_message);
    tcase_add_loop_test(tc, after_the_dot_the_code_decides, 0, 5);
    tcase_add_loop_test(tc, a_reply_in_the_middle_of_the_body_is_never_an_ack, 0, 3);
    tcase_add_test(tc, a_354_where_none_is_due_ends_the_session);
    tcase_add_loop_test(tc, a_server_that_refuses_itself_is_left, 0, 2);
    tcase_add_test(tc, a_server_that_does_not_know_ehlo_is_greeted_with_helo);
    tcase_add_test(tc, starttls_forgets_what_was_said_in_the_clear);
    tcase_add_test(tc, a_server_without_starttls_is_refused_when_it_is_demanded);
    tcase_add_test(tc, with_bdat_no_data_command_is_sent);
}

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tc = tcase_create("session");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    add_tests(tc);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
