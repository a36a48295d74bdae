/* Each script is a conversation: commands we feed, replies we expect. */
#include "cluster-tools/sink/session.h"

#include <check.h>
#include <string.h>

#include "base/limits.h"
#include "cluster-tools/common/words.h"

static struct session_config config;
static struct fault fault;
static struct session session;
static struct outbuf replies;
static struct session_out last;

static void setup(void)
{
    config = (struct session_config){
        .hostname = "me.example", .pipelining = true, .max_bytes = 1000};
    fault_init(&fault, 1);
    outbuf_init(&replies, 100000);
    session_init(&session, &config, &fault);
}

static void teardown(void)
{
    session_fini(&session);
    outbuf_fini(&replies);
}

static void go_wrong(const char *text)
{
    struct str rest = {text, strlen(text)}, word = words_cut(&rest);
    const char *why;

    ck_assert_int_eq(fault_command(&fault, word, rest, &why), OK);
}

static void expect(const char *code)
{
    struct str got = outbuf_pending(&replies);

    ck_assert_msg(got.n >= strlen(code) && memcmp(got.p, code, strlen(code)) == 0,
                  "wanted %s, got '" STR_FMT "'", code, STR_ARG(got));
    ck_assert(strlen(code) > 0 || got.n == 0);
}

static void say(const char *line, const char *code)
{
    outbuf_clear(&replies);
    last = session_line(&session, (struct str){line, strlen(line)}, &replies);
    expect(code);
}

static void up_to_rcpt(void)
{
    say("EHLO x", "250");
    say("MAIL FROM:<a@x>", "250");
    say("RCPT TO:<b@y>", "250");
}

START_TEST(a_message_is_taken_and_its_envelope_remembered)
{
    bool take;

    say("ehlo x", "250-me.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 ENHANCED");
    say("mail from:<a@x> SIZE=10 BODY=8BITMIME", "250");
    say("RCPT TO:<b@y>", "250");
    say("RCPT TO:<c@y> NOTIFY=NEVER", "250");
    ck_assert(str_eq(outbuf_pending(&session.envelope),
                     STR("MAIL FROM:<a@x> SIZE=10 BODY=8BITMIME\nRCPT TO:<b@y>\n"
                         "RCPT TO:<c@y> NOTIFY=NEVER\n")));
    say("DATA", "354");
    ck_assert_int_eq(last.act, SESSION_DO_DATA);
    last = session_body(&session, 100);
    outbuf_clear(&replies);
    last = session_message_end(&session, &take, &replies);
    ck_assert(take);
    expect("");
    session_taken(true, &replies);
    expect("250");
    session_reset(&session);
    say("MAIL FROM:<>", "250");
}
END_TEST

START_TEST(commands_out_of_order_get_503_or_554)
{
    static const char *const early[] = {"MAIL FROM:<a@x>", "RCPT TO:<b@y>", "DATA"};

    say(early[_i], "503");
    say("EHLO x", "250");
    say("RCPT TO:<b@y>", "503");
    say("DATA", "503");
    say("MAIL FROM:<a@x>", "250");
    say("MAIL FROM:<a@x>", "503");
    say("DATA", "554");
    say("RSET", "250");
    say("RCPT TO:<b@y>", "503");
}
END_TEST

START_TEST(lines_that_are_no_commands_get_5xx)
{
    static const char *const bad[] = {"",       "DATAX",  "HELLO x",       "MAIL FROM",
                                      "EHLO",   "DATA x", "MAIL FROM:a@x", "NOOP\nQUIT",
                                      "NOOP\r", "BDAT 5"};

    say("EHLO x", "250");
    say(bad[_i], "5");
    ck_assert_int_eq(last.act, SESSION_GO_ON);
}
END_TEST

START_TEST(what_shall_go_wrong_goes_wrong_at_its_stage)
{
    static const struct {
        const char *words, *line, *reply;
        enum session_act act;
    } cases[] = {
        {"tempfail at=mail", "MAIL FROM:<a@x>", "451", SESSION_GO_ON},
        {"tempfail at=mail code=421", "MAIL FROM:<a@x>", "421", SESSION_CLOSE},
        {"reject at=mail code=550", "MAIL FROM:<a@x>", "550", SESSION_GO_ON},
        {"drop at=quit", "QUIT", "", SESSION_DROP},
        {"stall at=mail", "MAIL FROM:<a@x>", "", SESSION_STALL},
        {"reject at=ehlo", "EHLO x", "554", SESSION_GO_ON},
        {"reject at=ehlo", "HELO x", "250", SESSION_GO_ON},
    };

    say("EHLO x", "250");
    go_wrong(cases[_i].words);
    say(cases[_i].line, cases[_i].reply);
    ck_assert_int_eq(last.act, cases[_i].act);
}
END_TEST

START_TEST(the_banner_says_whether_there_is_room)
{
    last = session_open(&session, _i == 1, &replies);
    expect(_i == 1 ? "421" : "220");
    ck_assert_int_eq(last.act, _i == 1 ? SESSION_CLOSE : SESSION_GO_ON);
}
END_TEST

START_TEST(the_end_of_a_message_can_go_wrong_in_every_way)
{
    static const struct {
        const char *words;
        uint64_t bytes;
        const char *reply;
        bool take;
        enum session_act act;
    } cases[] = {
        {"accept", 1000, "", true, SESSION_GO_ON},
        {"accept", 1001, "552", false, SESSION_GO_ON},
        {"tempfail at=eom", 10, "451", false, SESSION_GO_ON},
        {"reject at=eom", 10, "554", false, SESSION_GO_ON},
        {"drop at=eom", 10, "", false, SESSION_DROP},
        {"stall at=eom", 10, "", false, SESSION_STALL},
        {"ackloss", 10, "", true, SESSION_DROP},
    };
    bool take;

    up_to_rcpt();
    say("DATA", "354");
    go_wrong(cases[_i].words);
    session_body(&session, cases[_i].bytes);
    outbuf_clear(&replies);
    last = session_message_end(&session, &take, &replies);
    ck_assert_int_eq(take, cases[_i].take);
    ck_assert_int_eq(last.act, cases[_i].act);
    expect(cases[_i].reply);
}
END_TEST

START_TEST(a_body_is_cut_once_however_many_pieces_it_has)
{
    up_to_rcpt();
    say("DATA", "354");
    go_wrong("drop at=body pct=0");
    ck_assert_int_eq(session_body(&session, 10).act, SESSION_GO_ON);
    go_wrong("drop at=body");
    ck_assert_int_eq(session_body(&session, 10).act, SESSION_GO_ON);
    session_reset(&session);
    ck_assert_int_eq(session_body(&session, 10).act, SESSION_DROP);
}
END_TEST

START_TEST(mail_needs_tls_when_it_is_demanded_and_tls_forgets_all)
{
    config.tls = config.require_tls = true;
    say("EHLO x", "250-me.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n");
    say("MAIL FROM:<a@x>", "530");
    say("STARTTLS", "220");
    ck_assert_int_eq(last.act, SESSION_DO_TLS);
    session_secured(&session);
    say("MAIL FROM:<a@x>", "503");
    say("STARTTLS", "503");
    say("EHLO x", "250-me.example\r\n250-PIPELINING\r\n250-SIZE");
    say("MAIL FROM:<a@x>", "250");
}
END_TEST

START_TEST(an_announced_size_over_the_limit_is_refused_at_mail)
{
    static const char *const cases[][2] = {
        {"MAIL FROM:<a@x> SIZE=1000", "250"},
        {"MAIL FROM:<a@x> SIZE=1001", "552"},
        {"MAIL FROM:<a@x> SIZE=99999999999999999999", "552"},
        {"MAIL FROM:<a@x> SIZE=x", "250"},
    };

    say("EHLO x", "250");
    say(cases[_i][0], cases[_i][1]);
}
END_TEST

START_TEST(chunks_are_read_whatever_the_answer)
{
    config.chunking = true;
    say("EHLO x", "250");
    say("BDAT 10 LAST", "503");
    ck_assert_int_eq(last.act, SESSION_DO_CHUNK);
    ck_assert(last.chunk_unwanted && last.chunk_last && last.chunk_bytes == 10);
    session_reset(&session);
    up_to_rcpt();
    say("BDAT 0", "");
    ck_assert(last.chunk_first && !last.chunk_last && !last.chunk_unwanted);
    say("BDAT 5 last", "");
    ck_assert(!last.chunk_first && last.chunk_last && last.chunk_bytes == 5);
    say("DATA", "503");
    say("BDAT x", "501");
    ck_assert_int_eq(last.act, SESSION_CLOSE);
}
END_TEST

START_TEST(recipients_past_the_limit_get_452_and_the_rest_stays)
{
    static char line[4000];
    unsigned taken = 0;

    say("EHLO x", "250");
    say("MAIL FROM:<a@x>", "250");
    memset(line, 'r', sizeof line - 1);
    memcpy(line, "RCPT TO:<", 9);
    line[sizeof line - 2] = '>';
    do {
        outbuf_clear(&replies);
        session_line(&session, (struct str){line, sizeof line - 1}, &replies);
        taken++;
    } while (outbuf_pending(&replies).p[0] == '2');
    expect("452");
    ck_assert_uint_eq(session.rcpts, taken - 1);
    ck_assert_uint_le(outbuf_pending(&session.envelope).n, LIMIT_TOOL_ENVELOPE_BYTES);
    say("DATA", "354");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_message_is_taken_and_its_envelope_remembered);
    tcase_add_loop_test(tc, commands_out_of_order_get_503_or_554, 0, 3);
    tcase_add_loop_test(tc, lines_that_are_no_commands_get_5xx, 0, 10);
    tcase_add_loop_test(tc, what_shall_go_wrong_goes_wrong_at_its_stage, 0, 7);
    tcase_add_loop_test(tc, the_banner_says_whether_there_is_room, 0, 2);
    tcase_add_loop_test(tc, the_end_of_a_message_can_go_wrong_in_every_way, 0, 7);
    tcase_add_test(tc, a_body_is_cut_once_however_many_pieces_it_has);
    tcase_add_test(tc, mail_needs_tls_when_it_is_demanded_and_tls_forgets_all);
    tcase_add_loop_test(tc, an_announced_size_over_the_limit_is_refused_at_mail, 0, 4);
    tcase_add_test(tc, chunks_are_read_whatever_the_answer);
    tcase_add_test(tc, recipients_past_the_limit_get_452_and_the_rest_stays);
}

int main(void)
{
    Suite *suite = suite_create("session");
    TCase *tc = tcase_create("dialogue");
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
