/* The mail as it must look, what is told and what not, hostile text, and more than fits. */
#include "node/delivery/digest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static char rows[LIMIT_DIGEST_ROWS_BYTES], buf[LIMIT_DIGEST_BYTES];
static struct digest d;
static struct rcpt rcpts[LIMIT_SMTP_RCPTS];
static struct envelope env;
static const struct digest_in in = {.hostname = {"mx1.example.net", 15},
                                    .domain = {"d.example", 9},
                                    .to = {"owner@o.example", 15},
                                    .generation = 9,
                                    .until_ms = 77,
                                    .now_wall_ms = INT64_C(1796692364000)};

static void setup(void)
{
    rcpts[0] = (struct rcpt){.path = STR("gone@d.example"),
                             .fate = FATE_BOUNCED,
                             .final_ms = 40,
                             .reply = STR("550 5.1.1 no such user")};
    rcpts[1] = (struct rcpt){
        .path = STR("here@d.example"), .fate = FATE_DELIVERED, .reply = STR("250 ok")};
    rcpts[2] =
        (struct rcpt){.path = STR("slow@d.example"), .fate = FATE_EXPIRED, .final_ms = 50};
    env = (struct envelope){.id = mid_make(1, 5, 77),
                            .domain = STR("d.example"),
                            .sender = STR("alice@x.example"),
                            .rcpts = rcpts,
                            .rcpt_count = 3,
                            .received_wall_ms = INT64_C(1795482000000),
                            .settled_ms = 45,
                            .settled_wall_ms = INT64_C(1796691600000),
                            .phase = PHASE_DONE,
                            .dsn = DSN_WITHHELD,
                            .dsn_reply = STR("(the sender is not authenticated)")};
    digest_begin(&d, rows);
}

static struct str made(void)
{
    return (struct str){buf, digest_end(&d, &in, buf)};
}

static bool holds(struct str text, const char *what)
{
    return memmem(text.p, text.n, what, strlen(what)) != NULL;
}

static const char want[] =
    "Date: Tue, 08 Dec 2026 01:12:44 +0000\r\n"
    "From: Mail delivery <MAILER-DAEMON@mx1.example.net>\r\n"
    "To: <owner@o.example>\r\n"
    "Subject: Undelivered mail for d.example\r\n"
    "Message-ID: <digest.9.77@mx1.example.net>\r\n"
    "Auto-Submitted: auto-generated\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at mx1.example.net, which keeps mail for\r\n"
    "d.example while its own server is away.\r\n"
    "\r\n"
    "The mail below ended here: that server refused it for good, or did not take it in\r\n"
    "time. Whoever sent it was not told; the last line of each says why. If some of it\r\n"
    "was wanted, write to its sender.\r\n"
    "\r\n"
    "1 message, 2 recipients. Who runs\r\n"
    "this system can list all of it for 30 days: trispool queue undelivered.\r\n"
    "\r\n"
    "0004000000002G00000000002D\r\n"
    "  from      <alice@x.example>\r\n"
    "  received  Tue, 24 Nov 2026 01:00:00 +0000\r\n"
    "  ended     Tue, 08 Dec 2026 01:00:00 +0000\r\n"
    "  to        <gone@d.example>, refused\r\n"
    "            550 5.1.1 no such user\r\n"
    "  to        <slow@d.example>, not taken in time\r\n"
    "  not told  (the sender is not authenticated)\r\n";

START_TEST(a_digest_looks_like_this)
{
    struct str text;

    digest_add(&d, &env);
    text = made();
    ck_assert_msg(str_eq(text, str_of(want)), "%.*s", (int)text.n, text.p);
}
END_TEST

START_TEST(only_what_nobody_was_told_of_is_told)
{
    ck_assert(digest_tells(&env));
    env.dsn = DSN_GIVEN_UP;
    ck_assert(digest_tells(&env));
    env.dsn = DSN_SENT;
    ck_assert(!digest_tells(&env));
    env.dsn = DSN_NONE; /* of the null sender */
    ck_assert(digest_tells(&env));
    rcpts[0].fate = rcpts[2].fate = FATE_PURGED;
    ck_assert(!digest_tells(&env));
    env.rcpt_count = 0; /* a digest */
    ck_assert(!digest_tells(&env));
}
END_TEST

START_TEST(it_ended_when_its_last_recipient_did_or_later)
{
    ck_assert_uint_eq(digest_ended_ms(&env), 50);
    env.settled_ms = 60;
    ck_assert_uint_eq(digest_ended_ms(&env), 60);
}
END_TEST

START_TEST(the_null_sender_is_named_as_such)
{
    env.sender = STR_NONE;
    env.dsn_reply = STR_NONE;
    digest_add(&d, &env);
    ck_assert(holds(made(), "from      <>\r\n"));
    ck_assert(holds(made(), "not told  (the null sender is never told)\r\n"));
}
END_TEST

START_TEST(addresses_in_other_scripts_are_told_apart)
{
    env.sender = STR("jos\xc3\xa9@x.example");
    rcpts[0].path = STR("\xe7\x94\xa8@d.example");
    digest_add(&d, &env);
    ck_assert(holds(made(), "from      <jos\\x{E9}@x.example>\r\n"));
    ck_assert(holds(made(), "to        <\\x{7528}@d.example>, refused\r\n"));
}
END_TEST

START_TEST(hostile_text_adds_no_line)
{
    struct str text;

    env.sender = STR("a\r\nBcc: x\x00\xff\t@x.example");
    rcpts[0].path = STR("b\r\n\r\n@d.example");
    rcpts[0].reply = STR("550 \x1b[31m\r\n.\r\nto        <x>");
    digest_add(&d, &env);
    text = made();
    ck_assert(holds(text, "<a??Bcc: x???@x.example>"));
    ck_assert(holds(
        text, "<b????@d.example>, refused\r\n            550 ?[31m??.??to        <x>\r\n"));
    for (size_t i = 0; i < text.n; i++)
        ck_assert(text.p[i] == '\n'   ? text.p[i - 1] == '\r'
                  : text.p[i] == '\r' ? text.p[i + 1] == '\n'
                                      : text.p[i] >= 0x20 && text.p[i] <= 0x7e);
}
END_TEST

/* All at their limits, again and again: what does not fit is counted, and nothing is cut. */
START_TEST(more_than_fits_is_counted)
{
    static char path[LIMIT_SMTP_PATH_BYTES], reply[LIMIT_REPLY_KEPT_BYTES];
    struct str text;
    char line[128];

    memset(path, 'p', sizeof path);
    memset(reply, 'r', sizeof reply);
    env.sender = (struct str){path, sizeof path};
    env.rcpt_count = LIMIT_SMTP_RCPTS;
    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++)
        rcpts[i] = (struct rcpt){
            .path = {path, sizeof path}, .fate = FATE_BOUNCED, .reply = {reply, sizeof reply}};
    for (int i = 0; i < 20; i++)
        digest_add(&d, &env);
    env.rcpt_count = 1; /* it would fit: but behind a gap */
    digest_add(&d, &env);
    ck_assert_uint_ge(d.listed, 2);
    ck_assert_uint_lt(d.listed, 20);
    text = made();
    snprintf(line, sizeof line,
             "21 messages, 2001 recipients. Too many for one mail: here are the first %d.",
             (int)d.listed);
    ck_assert_msg(holds(text, line), "%.900s", text.p);
    ck_assert(str_ends(text, '\n'));
    ck_assert(holds(str_from(text, text.n - 60), "not told  (the sender is not"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("digest");
    TCase *tc = tcase_create("digest");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_digest_looks_like_this);
    tcase_add_test(tc, only_what_nobody_was_told_of_is_told);
    tcase_add_test(tc, it_ended_when_its_last_recipient_did_or_later);
    tcase_add_test(tc, the_null_sender_is_named_as_such);
    tcase_add_test(tc, addresses_in_other_scripts_are_told_apart);
    tcase_add_test(tc, hostile_text_adds_no_line);
    tcase_add_test(tc, more_than_fits_is_counted);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
