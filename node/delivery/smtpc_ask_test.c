/* Questions: jobs that stop behind RCPT. Wants a process for each check. */
#include "node/delivery/scripted_primary.h"

static void ask(struct world *w, uint32_t count)
{
    struct smtpc_job job = {.env = &env, .rcpts = indexes, .rcpt_count = count, .asks = true};

    ck_assert(w->ready);
    step(w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    memset(&job, 0xee, sizeof job);
    settle(w);
}

static void never_more_than_rcpt(const struct world *w)
{
    ck_assert_int_eq(w->dots + w->bodies, 0);
    ck_assert_int_eq(w->seen[5], 0); /* DATA */
    ck_assert_ptr_null(strstr(w->log, "DATA"));
    ck_assert_ptr_null(strstr(w->log, "s@x.example"));
}

START_TEST(a_question_is_mail_from_nobody_rcpt_and_no_more)
{
    static struct world w;
    static const struct rule rules[] = {{"RCPT", 2, S("550 5.1.1 who\r\n")}, {0}};
    static const char piped[] = "EHLO mx.example\r\n"
                                "MAIL FROM:<>\r\n"
                                "RCPT TO:<u0@d.example>\r\nRCPT TO:<u1@d.example>\r\n"
                                "RSET\r\nMAIL FROM:<>\r\nRCPT TO:<u0@d.example>\r\nQUIT\r\n";

    w.rules = rules;
    w.pipelining = _i & 1;
    w.bytewise = _i & 2;
    start(&w, &plain);
    ask(&w, 2);
    ck_assert_str_eq(w.verdicts, "DP");
    ck_assert(w.ready && !w.result.dot_sent && !w.result.unknown && w.result.begun);
    ck_assert_int_eq(w.result.why, SMTPC_WHY_NONE);
    ck_assert_str_eq(w.first_text, "250 ok");
    ask(&w, 1);
    ck_assert_str_eq(w.verdicts, "D");
    step(&w, (struct smtpc_event){.type = SMTPC_EV_QUIT});
    settle(&w);
    ck_assert(w.closed && w.end.why == SMTPC_WHY_QUIT);
    ck_assert_msg(w.log_n == sizeof piped - 1 && memcmp(w.log, piped, w.log_n) == 0, "%.*s",
                  (int)w.log_n, w.log);
    never_more_than_rcpt(&w);
}
END_TEST

struct script {
    const char *name;
    struct rule rules[MAX_RULES];
    const char *verdicts;
    enum smtpc_why why;
    bool stays;
};

/* Three recipients. */
static const struct script scripts[] = {
    {"takes all", {{0}}, "DDD", SMTPC_WHY_NONE, true},
    {"mail refused", {{"MAIL", 0, S("550 5.7.1 no\r\n")}}, "OOO", SMTPC_WHY_NONE, true},
    {"mail later", {{"MAIL", 0, S("450 later\r\n")}}, "BBB", SMTPC_WHY_NONE, true},
    {"nobody", {{"RCPT", 0, S("550 no\r\n")}}, "PPP", SMTPC_WHY_NONE, true},
    {"later", {{"RCPT", 2, S("450 later\r\n")}}, "DBD", SMTPC_WHY_NONE, true},
    {"odd code", {{"RCPT", 2, S("354 go on\r\n")}}, "XXX", SMTPC_WHY_ODDITY, false},
    {"mixed codes", {{"RCPT", 1, S("550-no\r\n250 yes\r\n")}}, "XXX", SMTPC_WHY_ODDITY, false},
    {"one more", {{"RCPT", 3, S("250 ok\r\n250 ok\r\n")}}, "XXX", SMTPC_WHY_ODDITY, false},
    {"half of one more", {{"RCPT", 3, S("250 ok\r\n25")}}, "XXX", SMTPC_WHY_ODDITY, false},
    {"421 behind", {{"RCPT", 3, S("250 ok\r\n421 bye\r\n")}}, "DDD", SMTPC_WHY_CLOSING, false},
    {"cut", {{"RCPT", 3, .close = true}}, "DDR", SMTPC_WHY_LOST, false},
    {"silent", {{"RCPT", 3, .mute = true}}, "DDR", SMTPC_WHY_TIMEOUT, false},
    {"421", {{"RCPT", 2, S("421 bye\r\n"), .close = true}}, "DBB", SMTPC_WHY_CLOSING, false},
};

START_TEST(each_primary_gives_each_recipient_its_answer)
{
    const struct script *c = &scripts[_i / 4];
    static struct world w;

    w.rules = c->rules;
    w.pipelining = _i & 1;
    w.bytewise = _i & 2;
    start(&w, &plain);
    ask(&w, 3);
    if (!w.closed && !w.ready)
        wait_out(&w);
    ck_assert_int_eq(w.results, 1);
    ck_assert_msg(strcmp(w.verdicts, c->verdicts) == 0, "%s: %s", c->name, w.verdicts);
    ck_assert_msg(w.result.why == c->why, "%s: %s", c->name, smtpc_why_name(w.result.why));
    ck_assert_msg(w.ready == c->stays, "%s: ready %d", c->name, w.ready);
    ck_assert(!w.result.unknown && !w.result.dot_sent);
    never_more_than_rcpt(&w);
}
END_TEST

START_TEST(a_message_may_follow_a_question)
{
    static struct world w;

    w.pipelining = _i;
    start(&w, &plain);
    ask(&w, 2);
    give_job(&w, 1, true);
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert_int_eq(w.dots, 1);
    ck_assert_int_eq(w.seen[8], 1); /* RSET: the question's transaction */
    ask(&w, 1);
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert_int_eq(w.dots, 1);
    ck_assert(!w.result.dot_sent);
}
END_TEST

START_TEST(consent_does_not_make_a_question_more_than_one)
{
    static struct world w;
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = 1,
                            .asks = true,
                            .consent = SMTPC_CONSENT_GIVEN};

    w.pipelining = _i;
    start(&w, &plain);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    settle(&w);
    ck_assert_str_eq(w.verdicts, "D");
    never_more_than_rcpt(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("smtpc_ask");
    TCase *tc = tcase_create("questions");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, a_question_is_mail_from_nobody_rcpt_and_no_more, 0, 4);
    tcase_add_loop_test(tc, each_primary_gives_each_recipient_its_answer, 0,
                        4 * (int)(sizeof scripts / sizeof scripts[0]));
    tcase_add_loop_test(tc, a_message_may_follow_a_question, 0, 2);
    tcase_add_loop_test(tc, consent_does_not_make_a_question_more_than_one, 0, 2);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
