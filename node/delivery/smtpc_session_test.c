/* Sessions of more than one message, TLS, consent, windows, deadlines, and what is never sent.
 * Wants a process for each check. */
#include "node/delivery/scripted_primary.h"

/* --- more than one message --- */

START_TEST(commands_go_out_as_the_standards_write_them)
{
    static struct world w;
    static const char want[] =
        "EHLO mx.example\r\n"
        "MAIL FROM:<s@x.example> SIZE=1234 BODY=8BITMIME\r\n"
        "RCPT TO:<u0@d.example>\r\nRCPT TO:<u1@d.example>\r\nDATA\r\n.\r\n"
        "MAIL FROM:<> SIZE=77\r\nRCPT TO:<s@x.example>\r\nDATA\r\n.\r\nQUIT\r\n";
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = 2,
                            .size_bytes = 1234,
                            .eight_bit = true,
                            .consent = SMTPC_CONSENT_GIVEN};

    w.pipelining = true;
    start(&w, &plain);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    settle(&w);
    ck_assert_str_eq(w.verdicts, "DD");
    ck_assert(w.result.rcpts[0].reply.p == w.result.rcpts[1].reply.p); /* kept once */
    ck_assert_str_eq(w.first_text, "250 ok");
    job = (struct smtpc_job){
        .env = &env, .dsn = true, .size_bytes = 77, .consent = SMTPC_CONSENT_GIVEN};
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    settle(&w);
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert(w.result.dsn);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_QUIT});
    settle(&w);
    ck_assert(w.closed && w.end.why == SMTPC_WHY_QUIT && w.end.verdict == VERDICT_OK);
    ck_assert_uint_eq(w.end.messages, 2);
    ck_assert_uint_eq(w.log_n, sizeof want - 1);
    ck_assert_msg(memcmp(w.log, want, w.log_n) == 0, "%.*s", (int)w.log_n, w.log);
}
END_TEST

START_TEST(rset_is_sent_only_while_the_primary_has_a_transaction_open)
{
    static const struct rule rules[] = {
        {"RCPT", 1, S("550 no\r\n")}, {"MAIL", 3, S("451 later\r\n")}, {0}};
    static struct world w;

    w.rules = rules;
    w.pipelining = _i;
    start(&w, &plain);
    give_job(&w, 1, true); /* nobody accepted: MAIL stands */
    ck_assert_str_eq(w.verdicts, "P");
    ck_assert_int_eq(w.seen[8], 0);
    give_job(&w, 1, true); /* RSET first */
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert_int_eq(w.seen[8], 1);
    give_job(&w, 1, true); /* none: the dot ended it */
    ck_assert_str_eq(w.verdicts, "R");
    give_job(&w, 1, true); /* none: MAIL was refused */
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert_int_eq(w.seen[8], 1);
    ck_assert(w.ready);
}
END_TEST

START_TEST(a_stale_connection_is_not_held_against_the_message)
{
    static const struct {
        struct rule rule;
        bool begun;
        enum smtpc_why why;
    } cases[] = {
        {{"MAIL", 2, .close = true}, false, SMTPC_WHY_LOST},
        {{"MAIL", 2, S("421 enough\r\n")}, false, SMTPC_WHY_CLOSING},
        {{"MAIL", 2, S("25"), .close = true}, false, SMTPC_WHY_LOST},
        {{"MAIL", 2, S("354 x\r\n")}, false, SMTPC_WHY_ODDITY},
        {{"MAIL", 2, .mute = true}, true, SMTPC_WHY_TIMEOUT},
        {{"RCPT", 2, .close = true}, true, SMTPC_WHY_LOST},
        {{"DATA", 2, .close = true}, true, SMTPC_WHY_LOST},
    };
    static struct world w;
    struct rule rules[2] = {cases[_i].rule, {0}};

    memset(&w, 0, sizeof w);
    w.rules = rules;
    start(&w, &plain);
    give_job(&w, 1, true);
    ck_assert_str_eq(w.verdicts, "D");
    give_job(&w, 1, true);
    if (!w.closed)
        wait_out(&w);
    ck_assert(w.result.begun == cases[_i].begun);
    ck_assert_int_eq(w.result.why, cases[_i].why);
    ck_assert(!w.result.dot_sent && !w.result.unknown);
}
END_TEST

START_TEST(a_refused_rset_ends_the_session_before_the_message_begins)
{
    static const struct rule rules[] = {
        {"RCPT", 1, S("550 no\r\n")}, {"RSET", S("500 what\r\n")}, {0}};
    static struct world w;

    w.rules = rules;
    w.pipelining = _i;
    start(&w, &plain);
    give_job(&w, 1, true);
    give_job(&w, 1, true);
    ck_assert(w.closed && w.result.why == SMTPC_WHY_ODDITY && !w.result.begun);
    ck_assert_str_eq(w.verdicts, "X");
}
END_TEST

START_TEST(bytes_before_the_first_command_of_a_job_end_the_session)
{
    static struct world w;

    start(&w, &plain);
    give_job(&w, 1, true);
    send_bytes(&w, "421 idle\r\n", 10); /* in the socket, not yet read */
    give_job(&w, 1, true);
    ck_assert(w.closed && w.results == 2 && !w.result.begun);
    ck_assert_int_eq(w.seen[3], 1); /* no second MAIL */
}
END_TEST

START_TEST(a_primary_may_say_goodbye_between_two_messages)
{
    static const struct {
        const char *bytes;
        enum smtpc_why why;
        enum verdict verdict;
    } cases[] = {{"421 idle\r\n", SMTPC_WHY_CLOSING, VERDICT_OK},
                 {"", SMTPC_WHY_CLOSING, VERDICT_OK},
                 {"250 what\r\n", SMTPC_WHY_ODDITY, VERDICT_ODDITY}};
    static struct world w;

    memset(&w, 0, sizeof w);
    start(&w, &plain);
    send_bytes(&w, cases[_i].bytes, strlen(cases[_i].bytes));
    w.eof = true;
    settle(&w);
    ck_assert(w.closed && w.results == 0);
    ck_assert_int_eq(w.end.why, cases[_i].why);
    ck_assert_int_eq(w.end.verdict, cases[_i].verdict);
}
END_TEST

START_TEST(an_idle_session_quits_by_itself_and_so_does_a_long_one)
{
    static struct world w;

    start(&w, &plain);
    ck_assert_uint_eq(w.out.deadline_ms, w.now_ms + LIMIT_REMOTE_IDLE_MS);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT}); /* too early: nothing */
    ck_assert(!w.closed && w.seen[10] == 0);
    w.now_ms = w.out.deadline_ms;
    step(&w, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
    settle(&w);
    ck_assert(w.closed && w.end.why == SMTPC_WHY_QUIT && w.seen[10] == 1);

    memset(&w, 0, sizeof w);
    start(&w, &plain);
    for (int i = 0; i < LIMIT_MESSAGES_PER_CONN; i++) {
        w.in_n = w.in_at = w.log_n = 0;
        give_job(&w, 1, true);
    }
    ck_assert(w.closed && w.end.why == SMTPC_WHY_QUIT);
    ck_assert_int_eq(w.results, LIMIT_MESSAGES_PER_CONN);
}
END_TEST

START_TEST(a_session_asked_to_quit_ends_after_its_message)
{
    static const struct rule mute[] = {{"QUIT", .mute = true}, {0}};
    static struct world w;

    /* a probe: connect, banner, EHLO, QUIT */
    w.now_ms = 1;
    w.rules = mute;
    reply_reset(&w.reply);
    smtpc_init(&w.s, &plain, 1);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_QUIT});
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    happens(&w, "banner");
    settle(&w);
    ck_assert(!w.closed && w.seen[10] == 1);
    wait_out(&w);
    ck_assert(w.end.why == SMTPC_WHY_QUIT && w.end.verdict == VERDICT_OK);

    memset(&w, 0, sizeof w);
    start(&w, &plain);
    give_job(&w, 1, false);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_QUIT});
    ck_assert(!w.closed && w.results == 0);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = true});
    settle(&w);
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert(w.closed && w.end.why == SMTPC_WHY_QUIT);
}
END_TEST

/* --- windows, texts, deadlines --- */

START_TEST(never_more_commands_are_outstanding_than_the_window)
{
    static const struct rule rules[] = {
        {"RCPT", 40, S("550 5.1.1 forty\r\n")}, {"RCPT", 33, S("450 grey\r\n")}, {0}};
    static struct world w;

    w.rules = rules;
    w.pipelining = true;
    start(&w, &plain);
    give_job(&w, LIMIT_SMTP_RCPTS, true);
    ck_assert_int_eq(w.results, 1);
    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++)
        ck_assert_int_eq(w.verdicts[i], i == 39 ? 'P' : i == 32 ? 'B' : 'D');
    ck_assert_int_le(w.most_outstanding, LIMIT_REMOTE_WINDOW + 2); /* MAIL, DATA */
    ck_assert_int_eq(w.seen[4], LIMIT_SMTP_RCPTS);
    ck_assert(w.result.brake && !w.result.alarm);
}
END_TEST

START_TEST(long_texts_for_many_recipients_share_the_room)
{
    static char replies[LIMIT_SMTP_RCPTS][1500];
    static struct rule rules[LIMIT_SMTP_RCPTS + 1];
    static struct world w;

    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++) {
        memset(replies[i], 'x', sizeof replies[i] - 1);
        memcpy(replies[i] + sizeof replies[i] - 3, "\r\n", 3);
        memcpy(replies[i], "550 ", 4);
        replies[i][4] = (char)('0' + i / 10);
        replies[i][5] = (char)('0' + i % 10);
        rules[i] = (struct rule){"RCPT", i + 1, S(replies[i])};
    }
    w.rules = rules;
    w.pipelining = _i;
    start(&w, &plain);
    give_job(&w, LIMIT_SMTP_RCPTS, true);
    for (uint32_t i = 0; i < LIMIT_SMTP_RCPTS; i++) {
        ck_assert_uint_ge(w.result.rcpts[i].reply.n, 100);
        ck_assert(memcmp(w.result.rcpts[i].reply.p, replies[i], 100) == 0);
    }
    ck_assert_uint_le(w.s.texts_n, LIMIT_REMOTE_TEXTS_BYTES);
    ck_assert(w.ready);
}
END_TEST

START_TEST(one_long_text_for_many_recipients_is_kept_at_full_length)
{
    static char answer[1500];
    struct rule rules[] = {{"MAIL", S(answer)}, {0}};
    static struct world w;

    memset(answer, 'x', sizeof answer - 1);
    memcpy(answer, "451 ", 4);
    memcpy(answer + sizeof answer - 3, "\r\n", 3);
    w.rules = rules;
    start(&w, &plain);
    give_job(&w, LIMIT_SMTP_RCPTS, true);
    ck_assert_uint_eq(w.result.rcpts[0].reply.n, LIMIT_REPLY_KEPT_BYTES);
    ck_assert(w.result.rcpts[99].reply.p == w.result.rcpts[0].reply.p);
}
END_TEST

START_TEST(different_texts_are_kept_apart_and_copied_whole)
{
    static const struct rule rules[] = {{"RCPT", 1, S("550 one\r\n")},
                                        {"RCPT", 2, S("551 two\r\n")},
                                        {".", S("250 2.0.0 three\r\n")},
                                        {0}};
    static struct world w;
    struct arena a;
    const struct smtpc_result *copy;

    w.rules = rules;
    w.pipelining = true;
    start(&w, &plain);
    give_job(&w, 4, true);
    arena_init(&a, 1 << 20);
    copy = smtpc_result_copy(&w.result, &a);
    ck_assert_ptr_nonnull(copy);
    memset(&w.s, 0xee, sizeof w.s);
    ck_assert_uint_eq(copy->count, 4);
    ck_assert(str_eq(copy->rcpts[0].reply, STR("550 one")) && copy->rcpts[0].code == 550);
    ck_assert(str_eq(copy->rcpts[1].reply, STR("551 two")) && copy->rcpts[1].index == 1);
    ck_assert(str_eq(copy->rcpts[2].reply, STR("250 2.0.0 three")) && copy->rcpts[2].tried);
    ck_assert(copy->rcpts[3].reply.p == copy->rcpts[2].reply.p);
    arena_reset(&a);
    for (size_t ceiling = 0; ceiling < 400; ceiling += 16) { /* no room, at every point */
        struct smtpc_result small = {.count = 1,
                                     .rcpts = &(struct smtpc_rcpt){.reply = STR("x")}};

        arena_init(&a, ceiling);
        copy = smtpc_result_copy(&small, &a);
        ck_assert(copy == NULL || copy->rcpts[0].reply.n == 1);
        ck_assert(ceiling > 0 || copy == NULL);
        arena_reset(&a);
    }
}
END_TEST

START_TEST(the_deadline_of_a_phase_is_total)
{
    static struct world w;
    uint64_t deadline;

    w.pipelining = false;
    w.mute = true;
    w.now_ms = 5000;
    reply_reset(&w.reply);
    smtpc_init(&w.s, &plain, 5000);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    deadline = w.out.deadline_ms;
    ck_assert_uint_eq(deadline, 5000 + LIMIT_BANNER_MS);
    for (int i = 0; i < 50; i++) { /* a drip of a byte a minute moves nothing */
        w.now_ms += 4000;
        send_bytes(&w, i == 0 ? "2" : i == 1 ? "2" : i == 2 ? "0" : i == 3 ? " " : "x", 1);
        settle(&w);
        ck_assert(!w.closed && w.s.deadline_ms == deadline);
    }
    w.now_ms = deadline;
    step(&w, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
    ck_assert(w.closed && w.end.why == SMTPC_WHY_TIMEOUT);
}
END_TEST

START_TEST(slow_rcpt_replies_do_not_add_up_beyond_the_phase)
{
    static const struct rule rules[] = {{"RCPT", .send = NULL}, {0}};
    static struct world w;
    uint64_t deadline;

    w.rules = rules;
    start(&w, &plain);
    give_job(&w, 5, true);
    deadline = w.out.deadline_ms;
    ck_assert_uint_eq(deadline, w.now_ms + LIMIT_REMOTE_COMMAND_MS + 5 * LIMIT_REMOTE_RCPT_MS);
    for (int i = 0; i < 4; i++) {
        w.now_ms += 60000;
        send_bytes(&w, "250 ok\r\n", 8);
        settle(&w);
        ck_assert_uint_eq(w.out.deadline_ms, deadline);
    }
    wait_out(&w);
    ck_assert_str_eq(w.verdicts, "RRRRR");
    ck_assert_int_eq(w.bodies, 0);
}
END_TEST

/* A primary that never reads: the body does not leave, and the time for it ends. */
START_TEST(a_body_that_does_not_leave_in_time_is_tried_again)
{
    static struct world w;

    w.body_stalls = true;
    start(&w, &plain);
    give_job(&w, 1, true);
    ck_assert_uint_eq(w.out.deadline_ms, w.now_ms + LIMIT_REMOTE_BODY_MS);
    wait_out(&w);
    ck_assert_str_eq(w.verdicts, "R");
    ck_assert(w.result.why == SMTPC_WHY_TIMEOUT && w.dots == 0 && !w.result.unknown);
    ck_assert_str_eq(w.first_text, "(timed out; at the body)");
}
END_TEST

START_TEST(a_body_of_ours_that_cannot_be_sent_drops_the_connection_without_a_dot)
{
    static struct world w;

    w.body_fails = true;
    start(&w, &plain);
    give_job(&w, 2, true);
    ck_assert(w.closed && w.dots == 0 && w.result.why == SMTPC_WHY_BODY_FAILED);
    ck_assert_str_eq(w.verdicts, "RR");
}
END_TEST

/* --- consent --- */

START_TEST(no_yes_no_dot)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    w.pipelining = _i & 1;
    start(&w, &plain);
    give_job(&w, 2, false);
    ck_assert_int_eq(w.s.state, SC_CONSENT);
    ck_assert_int_eq(w.dots, 0);
    ck_assert_uint_eq(w.out.deadline_ms, w.now_ms + LIMIT_COMMIT_MS);
    if (_i & 2) {
        step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = true});
        settle(&w);
        ck_assert_str_eq(w.verdicts, "DD");
        step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT}); /* too late: ignored */
        ck_assert(!w.closed);
    } else {
        if (_i & 4)
            wait_out(&w);
        else
            step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT});
        ck_assert_str_eq(w.verdicts, "RR");
        ck_assert(w.closed && w.dots == 0 && w.result.why == SMTPC_WHY_NO_CONSENT);
    }
}
END_TEST

START_TEST(input_that_comes_while_consent_is_awaited_stops_the_dot)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    start(&w, &plain);
    give_job(&w, 1, false);
    send_bytes(&w, "250 ok\r\n", 8);
    if (_i)
        settle(&w); /* read at once */
    else            /* or found by the check */
        step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = true});
    ck_assert(w.closed && w.dots == 0);
    ck_assert_str_eq(w.verdicts, "X");
}
END_TEST

START_TEST(consent_refused_before_data_keeps_the_connection)
{
    static const struct rule rules[] = {{"MAIL", 1, .send = NULL},
                                        {"RCPT", 1, .send = NULL},
                                        {"RCPT", 2, .send = NULL},
                                        {"DATA", 1, .send = NULL},
                                        {0}};
    static struct world w;

    memset(&w, 0, sizeof w);
    w.rules = rules;
    w.pipelining = _i;
    start(&w, &plain);
    give_job(&w, 2, false);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT});
    send_bytes(&w, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", _i ? 32 : 8);
    settle(&w);
    ck_assert_str_eq(w.verdicts, "RR");
    ck_assert(w.result.why == SMTPC_WHY_NO_CONSENT && w.dots == 0 && w.bodies == 0);
    if (w.pipelining) { /* DATA was under way: 354 came, nothing follows it */
        ck_assert(w.closed);
        return;
    }
    ck_assert(w.ready);
    w.rules = NULL;
    give_job(&w, 1, true);
    ck_assert_str_eq(w.verdicts, "D");
    ck_assert_int_eq(w.seen[8], 1); /* RSET */
}
END_TEST

START_TEST(a_job_whose_consent_was_refused_before_is_not_begun_on_the_wire)
{
    struct smtpc_job job = {
        .env = &env, .rcpts = indexes, .rcpt_count = 2, .consent = SMTPC_CONSENT_REFUSED};
    static struct world w;

    start(&w, &plain);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    ck_assert(w.ready && w.seen[3] == 0 && w.result.why == SMTPC_WHY_NO_CONSENT);
    ck_assert_str_eq(w.verdicts, "RR");
    give_job(&w, 1, true);
    ck_assert_str_eq(w.verdicts, "D");
}
END_TEST

START_TEST(consent_refused_in_the_body_ends_it_there)
{
    static struct world w;

    w.body_stalls = true;
    start(&w, &plain);
    give_job(&w, 1, false);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT});
    ck_assert(w.closed && w.dots == 0 && w.result.why == SMTPC_WHY_NO_CONSENT);
}
END_TEST

START_TEST(consent_before_the_body_is_sent_is_kept)
{
    static struct world w;

    w.body_stalls = true;
    start(&w, &plain);
    give_job(&w, 1, false);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = true});
    ck_assert_int_eq(w.dots, 0);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_BODY_SENT});
    settle(&w);
    ck_assert_str_eq(w.verdicts, "D");
}
END_TEST

/* --- TLS --- */

#define OFFER "250-p\r\n250-PIPELINING\r\n250 STARTTLS\r\n"

static const struct tls_case {
    const char *name;
    enum smtpc_tls mode;
    bool fails;
    struct rule rules[MAX_RULES];
    enum smtpc_why why; /* NONE: ready */
    enum verdict end;
    bool tls;
} tls_cases[] = {
    {"offered and good", SMTPC_TLS_REQUIRE, false, {{"EHLO", 1, S(OFFER)}}, .tls = true},
    {"offered, not wanted", SMTPC_TLS_OFF, false, {{"EHLO", 1, S(OFFER)}}, .tls = false},
    {"not offered, not required", SMTPC_TLS_OPPORTUNISTIC, false, {{0}}, .tls = false},
    {"not offered, required",
     SMTPC_TLS_REQUIRE,
     false,
     {{0}},
     .why = SMTPC_WHY_TLS_MISSING,
     .end = VERDICT_DEST_NOT_UP_ALARM},
    {"no EHLO, required",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", S("502 what\r\n")}},
     .why = SMTPC_WHY_REFUSED,
     .end = VERDICT_DEST_NOT_UP_ALARM},
    {"handshake fails",
     SMTPC_TLS_OPPORTUNISTIC,
     true,
     {{"EHLO", 1, S(OFFER)}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"STARTTLS refused",
     SMTPC_TLS_OPPORTUNISTIC,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", S("454 no\r\n")}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"STARTTLS 501",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", S("501 no\r\n")}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP_ALARM},
    {"STARTTLS 421",
     SMTPC_TLS_OPPORTUNISTIC,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", S("421 busy\r\n")}},
     .why = SMTPC_WHY_REFUSED,
     .end = VERDICT_DEST_NOT_UP},
    {"closed at STARTTLS",
     SMTPC_TLS_OPPORTUNISTIC,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", .close = true}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"silent at STARTTLS",
     SMTPC_TLS_OPPORTUNISTIC,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", .mute = true}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"plaintext behind the 220",
     SMTPC_TLS_OPPORTUNISTIC,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", S("220 go\r\n250 injected\r\n")}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"half a line behind the 220",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER)}, {"STARTTLS", S("220 go\r\n2")}},
     .why = SMTPC_WHY_TLS_FAILED,
     .end = VERDICT_DEST_NOT_UP},
    {"a reply before STARTTLS is sent",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER "220 go\r\n")}},
     .why = SMTPC_WHY_ODDITY,
     .end = VERDICT_DEST_NOT_UP},
    {"bytes inside TLS before EHLO",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER)}, {"TLS", S("250 early\r\n")}},
     .why = SMTPC_WHY_ODDITY,
     .end = VERDICT_DEST_NOT_UP},
    {"EHLO refused inside TLS",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER)}, {"EHLO", 2, S("550 no\r\n")}},
     .why = SMTPC_WHY_REFUSED,
     .end = VERDICT_DEST_NOT_UP_ALARM},
    {"HELO inside TLS",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 1, S(OFFER)}, {"EHLO", 2, S("500 no\r\n")}},
     .tls = true},
    {"offered again inside TLS",
     SMTPC_TLS_REQUIRE,
     false,
     {{"EHLO", 0, S(OFFER)}},
     .tls = true},
};

START_TEST(starttls_ends_in_tls_or_in_a_reason)
{
    const struct tls_case *c = &tls_cases[_i];
    struct smtpc_options opt = {.helo = STR("mx"), .tls = c->mode};
    static struct world w;

    for (int bytewise = 0; bytewise < 2; bytewise++) {
        memset(&w, 0, sizeof w);
        w.rules = c->rules;
        w.tls_fails = c->fails;
        w.bytewise = bytewise;
        start(&w, &opt);
        if (!w.closed && !w.ready)
            wait_out(&w);
        ck_assert_msg(w.ready == (c->why == SMTPC_WHY_NONE), "%s: %s", c->name,
                      smtpc_why_name(w.end.why));
        if (w.ready) {
            ck_assert(w.s.tls == c->tls);
            ck_assert_int_eq(w.seen[9], c->tls);
        } else {
            ck_assert_msg(w.end.why == c->why, "%s: %s", c->name, smtpc_why_name(w.end.why));
            ck_assert_msg(w.end.verdict == c->end, "%s: %s", c->name,
                          verdict_name(w.end.verdict));
        }
    }
}
END_TEST

/* RFC 3207 4.2 */
START_TEST(what_was_offered_before_tls_is_forgotten)
{
    static const struct rule rules[] = {{"EHLO", 1,
                                         S("250-p\r\n250-SIZE 1\r\n250-8BITMIME\r\n"
                                           "250-PIPELINING\r\n250 STARTTLS\r\n")},
                                        {"EHLO", 2, S("250 p\r\n")},
                                        {0}};
    struct smtpc_options opt = {.helo = STR("mx"), .tls = SMTPC_TLS_OPPORTUNISTIC};
    static struct world w;

    w.rules = rules;
    start(&w, &opt);
    ck_assert(w.ready && w.s.tls);
    ck_assert(!w.s.ehlo.pipelining && !w.s.ehlo.has_size && !w.s.ehlo.eight_bit);
    give_job(&w, 3, true);
    ck_assert_int_eq(w.most_outstanding, 1);
    ck_assert_str_eq(w.verdicts, "DDD");
}
END_TEST

START_TEST(a_loss_or_a_reply_in_the_handshake_is_a_failure_of_tls)
{
    static const enum smtpc_event_type types[] = {SMTPC_EV_CLOSED, SMTPC_EV_TIMEOUT,
                                                  SMTPC_EV_REPLY};
    static struct world w;

    memset(&w, 0, sizeof w);
    smtpc_init(&w.s, &plain, 0);
    w.s.state = SC_HANDSHAKE;
    w.s.deadline_ms = 0;
    w.reply.code = 250;
    step(&w, (struct smtpc_event){.type = types[_i], .reply = &w.reply});
    ck_assert(w.closed && w.end.why == SMTPC_WHY_TLS_FAILED);
    ck_assert_int_eq(w.end.verdict, VERDICT_DEST_NOT_UP);
}
END_TEST

START_TEST(a_connection_that_fails_or_hangs_is_a_destination_that_is_not_up)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    smtpc_init(&w.s, &plain, 7);
    w.now_ms = 7 + LIMIT_CONNECT_MS;
    step(&w, (struct smtpc_event){.type = _i ? SMTPC_EV_TIMEOUT : SMTPC_EV_CLOSED});
    ck_assert(w.closed && w.end.verdict == VERDICT_DEST_NOT_UP && w.end.at == AT_CONNECT);
    ck_assert_int_eq(w.end.why, _i ? SMTPC_WHY_TIMEOUT : SMTPC_WHY_LOST);
}
END_TEST

/* --- what is not sent --- */

START_TEST(eight_bit_mail_passes_or_is_held_but_never_changed)
{
    static const struct {
        const char *ehlo;
        enum smtpc_eight_bit policy;
        bool held;
    } cases[] = {{"250 p\r\n", SMTPC_8BIT_PASS, false},
                 {"250 p\r\n", SMTPC_8BIT_HOLD, true},
                 {"250-p\r\n250 8BITMIME\r\n", SMTPC_8BIT_HOLD, false}};
    struct rule rules[] = {{"EHLO", S(cases[_i].ehlo)}, {0}};
    struct smtpc_options opt = {.helo = STR("mx"), .eight_bit = cases[_i].policy};
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = 2,
                            .eight_bit = true,
                            .consent = SMTPC_CONSENT_GIVEN};
    static struct world w;

    memset(&w, 0, sizeof w);
    w.rules = rules;
    start(&w, &opt);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    settle(&w);
    ck_assert(w.ready);
    ck_assert_str_eq(w.verdicts, cases[_i].held ? "RR" : "DD");
    ck_assert_int_eq(w.result.why, cases[_i].held ? SMTPC_WHY_EIGHT_BIT : SMTPC_WHY_NONE);
    ck_assert_int_eq(w.seen[3], cases[_i].held ? 0 : 1);
    ck_assert((memmem(w.log, w.log_n, " BODY=8BITMIME", 14) != NULL) == (_i == 2));
}
END_TEST

/* Never without the word, never bounced: it waits for a primary that knows it. */
START_TEST(internationalised_mail_goes_as_such_or_is_held)
{
    static const char *const ehlos[] = {"250-p\r\n250 8BITMIME\r\n",
                                        "250-p\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"};
    struct rule rules[] = {{"EHLO", S(ehlos[_i])}, {0}};
    struct smtpc_options opt = {.helo = STR("mx")};
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = 2,
                            .eight_bit = true,
                            .smtputf8 = true,
                            .consent = SMTPC_CONSENT_GIVEN};
    static struct world w;
    static const char sent[] = "> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<jos\xc3\xa9@d>\r\n";

    memset(&w, 0, sizeof w);
    w.rules = rules;
    rcpts[0].path = STR("jos\xc3\xa9@d");
    start(&w, &opt);
    step(&w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    settle(&w);
    ck_assert(w.ready);
    ck_assert_str_eq(w.verdicts, _i == 0 ? "RR" : "DD");
    ck_assert_int_eq(w.result.why, _i == 0 ? SMTPC_WHY_SMTPUTF8 : SMTPC_WHY_NONE);
    ck_assert_int_eq(w.seen[3], _i);
    ck_assert_int_eq(memmem(w.log, w.log_n, sent, sizeof sent - 1) != NULL, _i);
}
END_TEST

START_TEST(an_envelope_that_would_break_a_command_is_not_sent)
{
    static char too_long[LIMIT_SMTP_PATH_BYTES + 1];
    const struct {
        struct str sender, rcpt;
    } cases[] = {{STR("a\r\nRCPT TO:<x@y>"), STR("u@d")},
                 {STR("a"), STR("u\n@d")},
                 {STR("a"), STR("")},
                 {STR("a"), STR("u\0@d")},
                 {STR("a"), STR("\xc3\xa9@d")},
                 {STR("a"), {too_long, sizeof too_long}},
                 {{too_long, sizeof too_long}, STR("u@d")}};
    static struct world w;

    memset(&w, 0, sizeof w);
    memset(too_long, 'a', sizeof too_long);
    env.sender = cases[_i].sender;
    rcpts[1].path = cases[_i].rcpt;
    start(&w, &plain);
    give_job(&w, 2, true);
    ck_assert_str_eq(w.verdicts, "RR");
    ck_assert_int_eq(w.result.why, SMTPC_WHY_UNSOUND);
    ck_assert_int_eq(w.seen[3], 0);
    ck_assert(w.ready);
}
END_TEST

START_TEST(the_longest_paths_fit_into_one_group)
{
    static char path[LIMIT_SMTP_PATH_BYTES];
    static struct world w;

    memset(path, 'p', sizeof path);
    env.sender = (struct str){path, sizeof path};
    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++)
        rcpts[i].path = env.sender;
    w.pipelining = true;
    start(&w, &plain);
    w.s.need_rset = true;
    give_job(&w, LIMIT_SMTP_RCPTS, true);
    ck_assert_int_eq(w.verdicts[99], 'D');
}
END_TEST

START_TEST(each_place_has_a_name)
{
    for (int i = 0; i < SMTPC_WHY_COUNT; i++)
        ck_assert_uint_gt(strlen(smtpc_why_name((enum smtpc_why)i)), 0);
}
END_TEST

static void add_messages(TCase *tc)
{
    tcase_add_test(tc, never_more_commands_are_outstanding_than_the_window);
    tcase_add_loop_test(tc, long_texts_for_many_recipients_share_the_room, 0, 2);
    tcase_add_test(tc, one_long_text_for_many_recipients_is_kept_at_full_length);
    tcase_add_test(tc, different_texts_are_kept_apart_and_copied_whole);
    tcase_add_test(tc, the_deadline_of_a_phase_is_total);
    tcase_add_test(tc, slow_rcpt_replies_do_not_add_up_beyond_the_phase);
    tcase_add_test(tc, a_body_that_does_not_leave_in_time_is_tried_again);
    tcase_add_test(tc, a_body_of_ours_that_cannot_be_sent_drops_the_connection_without_a_dot);
    tcase_add_loop_test(tc, no_yes_no_dot, 0, 8);
    tcase_add_loop_test(tc, input_that_comes_while_consent_is_awaited_stops_the_dot, 0, 2);
    tcase_add_loop_test(tc, consent_refused_before_data_keeps_the_connection, 0, 2);
    tcase_add_test(tc, a_job_whose_consent_was_refused_before_is_not_begun_on_the_wire);
    tcase_add_test(tc, consent_refused_in_the_body_ends_it_there);
    tcase_add_test(tc, consent_before_the_body_is_sent_is_kept);
    tcase_add_loop_test(tc, eight_bit_mail_passes_or_is_held_but_never_changed, 0, 3);
    tcase_add_loop_test(tc, internationalised_mail_goes_as_such_or_is_held, 0, 2);
    tcase_add_loop_test(tc, an_envelope_that_would_break_a_command_is_not_sent, 0, 7);
    tcase_add_test(tc, the_longest_paths_fit_into_one_group);
    tcase_add_test(tc, each_place_has_a_name);
}

static void add_sessions(TCase *tc)
{
    tcase_add_test(tc, commands_go_out_as_the_standards_write_them);
    tcase_add_loop_test(tc, rset_is_sent_only_while_the_primary_has_a_transaction_open, 0, 2);
    tcase_add_loop_test(tc, a_stale_connection_is_not_held_against_the_message, 0, 7);
    tcase_add_loop_test(tc, a_refused_rset_ends_the_session_before_the_message_begins, 0, 2);
    tcase_add_test(tc, bytes_before_the_first_command_of_a_job_end_the_session);
    tcase_add_loop_test(tc, a_primary_may_say_goodbye_between_two_messages, 0, 3);
    tcase_add_test(tc, an_idle_session_quits_by_itself_and_so_does_a_long_one);
    tcase_add_test(tc, a_session_asked_to_quit_ends_after_its_message);
    tcase_add_loop_test(tc, starttls_ends_in_tls_or_in_a_reason, 0,
                        sizeof tls_cases / sizeof tls_cases[0]);
    tcase_add_test(tc, what_was_offered_before_tls_is_forgotten);
    tcase_add_loop_test(tc, a_loss_or_a_reply_in_the_handshake_is_a_failure_of_tls, 0, 3);
    tcase_add_loop_test(tc, a_connection_that_fails_or_hangs_is_a_destination_that_is_not_up, 0,
                        2);
}

int main(void)
{
    Suite *suite = suite_create("smtpc_session");
    TCase *tc = tcase_create("session");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    add_messages(tc);
    add_sessions(tc);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
