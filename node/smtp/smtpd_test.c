/* Conversations: what comes in, what goes out. No sockets, no clock. */
#include "node/smtp/smtpd.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static const struct smtpd_options plain = {.hostname = {"mx.example", 10},
                                           .max_body_bytes = 1000000},
                                  with_tls = {.hostname = {"mx.example", 10},
                                              .max_body_bytes = 1000000,
                                              .tls_offered = true},
                                  tls_only = {.hostname = {"mx.example", 10},
                                              .max_body_bytes = 1000000,
                                              .tls_offered = true,
                                              .tls_required = true};

static struct smtpd session;
static struct smtpd_out out;
static char said[4 * LIMIT_SMTP_REPLY_BYTES];
static uint64_t now_ms;

static void step(struct smtpd_event ev)
{
    size_t n = strlen(said);

    ev.now_ms = now_ms;
    smtpd_step(&session, &ev, &out);
    ck_assert_uint_lt(n + out.reply_n, sizeof said);
    memcpy(said + n, out.reply, out.reply_n);
    said[n + out.reply_n] = 0;
    ck_assert(out.reply_n == 0 || (out.reply_n > 2 && out.reply[out.reply_n - 1] == '\n'));
}

static void hear(const char *line)
{
    char *copy = malloc(strlen(line) + 1); /* exact size: a read past its end is seen */

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, line, strlen(line) + 1);
    step((struct smtpd_event){.type = SMTPD_EV_LINE, .line = {copy, strlen(line)}});
    free(copy);
}

static void start_with(const struct smtpd_options *options)
{
    now_ms = 1000000;
    said[0] = 0;
    smtpd_init(&session, options);
    step((struct smtpd_event){.type = SMTPD_EV_OPEN});
    ck_assert_int_eq(out.act, SMTPD_ACT_ASK_CONNECT);
    step((struct smtpd_event){.type = SMTPD_EV_VERDICT});
}

static void setup(void)
{
    start_with(&with_tls);
}

/* What the script may do besides saying a line. */
static void perform(const char *what)
{
    static const struct {
        const char *name;
        struct smtpd_event ev;
    } events[] = {
        {"!yes", {.type = SMTPD_EV_VERDICT}},
        {"!tls", {.type = SMTPD_EV_TLS, .tls_ok = true, .tls_text = {"TLSv1.3 X", 9}}},
        {"!tls-failed", {.type = SMTPD_EV_TLS}},
        {"!dot", {.type = SMTPD_EV_BODY_END}},
        {"!dot bare lf", {.type = SMTPD_EV_BODY_END, .violation = BODY_BARE_LF}},
        {"!dot bare cr", {.type = SMTPD_EV_BODY_END, .violation = BODY_BARE_CR}},
        {"!dot nul", {.type = SMTPD_EV_BODY_END, .violation = BODY_NUL}},
        {"!dot line", {.type = SMTPD_EV_BODY_END, .violation = BODY_LINE_TOO_LONG}},
        {"!dot big", {.type = SMTPD_EV_BODY_END, .violation = BODY_TOO_BIG}},
        {"!endless", {.type = SMTPD_EV_BODY_END, .violation = BODY_TOO_BIG, .endless = true}},
        {"!dot policy",
         {.type = SMTPD_EV_BODY_END,
          .refusal = {"550 5.6.0 Header line 2: no\x01"
                      "field",
                      33}}},
        {"!dot header", {.type = SMTPD_EV_BODY_END, .header = HEADER_TOO_BIG}},
        {"!dot loop", {.type = SMTPD_EV_BODY_END, .header = HEADER_LOOP}},
        {"!dot own loop", {.type = SMTPD_EV_BODY_END, .header = HEADER_OWN_LOOP}},
        {"!stored", {.type = SMTPD_EV_COMMIT, .err = OK}},
        {"!full", {.type = SMTPD_EV_COMMIT, .err = E_FULL}},
        {"!aborted", {.type = SMTPD_EV_COMMIT, .err = E_TIMEOUT}},
        {"!undecided", {.type = SMTPD_EV_COMMIT, .err = E_IO}},
        {"!timeout", {.type = SMTPD_EV_TIMEOUT}},
        {"!shutdown", {.type = SMTPD_EV_SHUTDOWN}},
        {"!nul", {.type = SMTPD_EV_BAD_LINE, .bad_line = WIRE_NUL}},
        {"!long", {.type = SMTPD_EV_BAD_LINE, .bad_line = WIRE_TOO_LONG}},
        {"!cr", {.type = SMTPD_EV_BAD_LINE, .bad_line = WIRE_BARE_CR}},
        {"!lf", {.type = SMTPD_EV_BAD_LINE, .bad_line = WIRE_BARE_LF}},
        {"!hello", {.type = SMTPD_EV_BAD_LINE, .bad_line = WIRE_TLS}},
    };

    if (strncmp(what, "!no ", 4) == 0) {
        step((struct smtpd_event){.type = SMTPD_EV_VERDICT, .refusal = str_of(what + 4)});
        return;
    }
    for (int i = 0; i < COUNT(events); i++) {
        if (strcmp(what, events[i].name) == 0) {
            step(events[i].ev);
            return;
        }
    }
    ck_abort_msg("no event %s", what);
}

/* Lines are answered with a yes at once, unless they end in " ?". Returns what was said. */
static const char *say(const char *what)
{
    char line[3000];
    size_t n = strlen(what);
    bool leave = n > 2 && strcmp(what + n - 2, " ?") == 0;

    said[0] = 0;
    if (what[0] == '!') {
        perform(what);
        return said;
    }
    snprintf(line, sizeof line, "%.*s", (int)(leave ? n - 2 : n), what);
    hear(line);
    if (session.waiting && !leave)
        step((struct smtpd_event){.type = SMTPD_EV_VERDICT});
    return said;
}

static void expect(const char *what, const char *want)
{
    say(what);
    ck_assert_msg(want[0] == 0 ? said[0] == 0 : strncmp(said, want, strlen(want)) == 0,
                  "'%s' got '%s', not '%s', in %s", what, said, want,
                  smtpd_state_name(&session));
}

static void expect_closed(const char *what, const char *want)
{
    expect(what, want);
    ck_assert_msg(out.close && session.state == SMTPD_CLOSED, "open after '%s'", what);
    ck_assert_uint_eq(out.deadline_ms, 0);
}

static void to_ready(void)
{
    expect("EHLO c.example", "250-");
}

static void to_rcpt(void)
{
    to_ready();
    expect("MAIL FROM:<a@x.example>", "250 2.1.0");
    expect("RCPT TO:<b@y.example>", "250 2.1.5");
}

static void to_commit(void)
{
    to_rcpt();
    expect("DATA", "354");
    ck_assert_int_eq(out.act, SMTPD_ACT_BODY);
    expect("!dot", "");
    ck_assert_int_eq(out.act, SMTPD_ACT_COMMIT);
}

/* --- conversations --- */

struct line {
    const char *in, *want;
};

/* Each starts after the banner; what is answered is said. The last line may close. */
static const struct {
    const char *name;
    struct line lines[16]; /* the last one is empty */
    bool closes;
} conversations[] = {
    {"a message",
     {{"EHLO c.example", "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n"},
      {"MAIL FROM:<a@x.example> SIZE=5 BODY=8BITMIME", "250 2.1.0"},
      {"RCPT TO:<b@y.example>", "250 2.1.5"},
      {"DATA", "354 "},
      {"!dot", ""},
      {"!stored", "250 2.0.0 Ok: queued as 00000000000000000000000000\r\n"},
      {"QUIT", "221 2.0.0"}},
     true},
    {"two messages",
     {{"HELO c", "250 mx.example\r\n"},
      {"mail from:<>", "250"},
      {"rcpt to: <Postmaster>", "250"},
      {"data ", "354"},
      {"!dot", ""},
      {"!stored", "250"},
      {"MAIL FROM:<>", "250"},
      {"RCPT TO:<a@b>", "250"},
      {"DATA", "354"},
      {"!dot", ""},
      {"!stored", "250"}},
     false},
    {"a group whose recipients are all refused",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x>", "250"},
      {"RCPT TO:<b@y> ?", ""},
      {"!no 550 5.7.1 Not here", "550 5.7.1 Not here\r\n"},
      {"DATA", "554 5.5.1"},
      {"RCPT TO:<c@y>", "250"},
      {"DATA", "354"}},
     false},
    {"before the greeting",
     {{"MAIL FROM:<a@x>", "503"},
      {"RCPT TO:<b@y>", "503"},
      {"DATA", "503"},
      {"STARTTLS", "503"},
      {"RSET", "250"},
      {"NOOP", "250"},
      {"NOOP x", "250"},
      {"VRFY a", "252"},
      {"HELP", "214"},
      {"HELO", "501"},
      {"EHLO", "501"},
      {"EHLO a\tb", "501"},
      {"EHLO \xc3\xa4", "501"},
      {"EHLO some name", "250"}},
     false},
    {"out of order",
     {{"EHLO c", "250"},
      {"RCPT TO:<b@y>", "503"},
      {"DATA", "503"},
      {"MAIL FROM:<a@x>", "250"},
      {"MAIL FROM:<a@x>", "503"},
      {"DATA", "554"},
      {"STARTTLS", "503"},
      {"RCPT TO:<b@y>", "250"},
      {"DATA x", "501"},
      {"MAIL FROM:<a@x>", "503"},
      {"RSET", "250"},
      {"RCPT TO:<b@y>", "503"}},
     false},
    {"unknown commands",
     {{"", "500"},
      {" ", "500"},
      {"FOO", "500"},
      {"DATAX", "500"},
      {"MAIL", "503"},
      {"EHLO c", "250"},
      {"MAIL", "501"},
      {"MAILFROM:<a@x>", "500"},
      {"MAIL TO:<a@x>", "501"},
      {"EXPN a", "502"},
      {"AUTH PLAIN", "502"},
      {"ETRN x", "502"},
      {"QUIT now", "501"},
      {"XCLIENT ADDR=1.2.3.4", "500"}},
     false},
    {"bad arguments",
     {{"EHLO c", "250"},
      {"MAIL FROM:a@x", "501 5.1.7"},
      {"MAIL FROM:<a@x> FOO=1", "555 5.5.4"},
      {"MAIL FROM:<a@x> SIZE=1 SIZE=2", "501 5.5.4"},
      {"MAIL FROM:<\xc3\xa4@x>", "501 5.6.7"},
      {"MAIL FROM:<a@x> SIZE=1000001", "552 5.3.4"},
      {"MAIL FROM:<a@x> SIZE=99999999999999999999", "552 5.3.4"},
      {"MAIL FROM:<a@x> SIZE=1000000", "250"},
      {"RCPT FROM:<a@x>", "501"},
      {"RCPT TO:<@a:b@c>", "501 5.1.3"},
      {"RCPT TO:<a@b.>", "501 5.1.3"},
      {"RCPT TO:<a@b> NOTIFY=NEVER", "555"},
      {"RCPT TO:<>", "501"}},
     false},
    {"one domain a message",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x>", "250"},
      {"RCPT TO:<b@y.example> ?", ""},
      {"!no 450 4.7.1 Greylisted", "450 4.7.1 Greylisted\r\n"},
      {"RCPT TO:<b@z.example>", "250"},
      {"RCPT TO:<b@y.example>", "452 4.5.3"},
      {"RCPT TO:<c@Z.EXAMPLE>", "250"},
      {"RCPT TO:<postmaster>", "452 4.5.3"},
      {"RSET", "250"},
      {"MAIL FROM:<a@x>", "250"},
      {"RCPT TO:<postmaster>", "250"},
      {"RCPT TO:<b@y.example>", "452 4.5.3"},
      {"RCPT TO:<POSTMASTER>", "250"}},
     false},
    {"a refused sender",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x> ?", ""},
      {"!no 550 5.7.1 No", "550"},
      {"RCPT TO:<b@y>", "503"},
      {"MAIL FROM:<b@x>", "250"}},
     false},
    {"what a reply of policy may not do",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x> ?", ""},
      {"!no 550 5.7.1 a\r\n250 \x1b[2J\xc3\xa4", "550 5.7.1 a??250 ?[2J??\r\n"}},
     false},
    {"TLS",
     {{"EHLO c", "250"},
      {"STARTTLS x", "501"},
      {"STARTTLS", "220 2.0.0"},
      {"!tls", ""},
      {"MAIL FROM:<a@x>", "503"},
      {"EHLO c", "250"},
      {"STARTTLS", "503"},
      {"MAIL FROM:<a@x>", "250"}},
     false},
    {"TLS that fails", {{"EHLO c", "250"}, {"STARTTLS", "220"}, {"!tls-failed", ""}}, true},
    {"TLS that does not end", {{"EHLO c", "250"}, {"STARTTLS", "220"}, {"!timeout", ""}}, true},
    {"a chunk", {{"EHLO c", "250"}, {"BDAT 10 LAST", "502"}}, true},
    {"a browser", {{"GET / HTTP/1.1", "421"}}, true},
    {"a form", {{"POST / HTTP/1.1", "421"}}, true},
    {"a tunnel", {{"CONNECT mx.example:25 HTTP/1.1", "421"}}, true},
    {"a proxy", {{"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", "421"}}, true},
    {"a shell", {{"SSH-2.0-OpenSSH", "421"}}, true},
    {"a ClientHello", {{"!hello", ""}}, true},
    {"a NUL", {{"!nul", "501"}, {"NOOP", "250"}}, false},
    {"a long line", {{"!long", "500"}}, true},
    {"a bare CR", {{"EHLO c", "250"}, {"!cr", "500"}}, true},
    {"a bare LF", {{"EHLO c", "250"}, {"!lf", "500"}}, true},
    {"silence", {{"!timeout", "421 4.4.2"}}, true},
    {"stop before the greeting", {{"!shutdown", "421 4.3.2"}}, true},
    {"stop when idle", {{"EHLO c", "250"}, {"!shutdown", "421 4.3.2"}}, true},
    {"stop within a message",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x>", "250"},
      {"!shutdown", ""},
      {"RCPT TO:<b@y>", "250"},
      {"DATA", "354"},
      {"!dot", ""},
      {"!stored", "250 2.0.0 Ok: queued as 00000000000000000000000000\r\n421 4.3.2"}},
     true},
    {"stop while the message is stored",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x>", "250"},
      {"RCPT TO:<b@y>", "250"},
      {"DATA", "354"},
      {"!dot", ""},
      {"!shutdown", ""},
      {"!full", "452 4.3.1 No room for this message now\r\n421 4.3.2"}},
     true},
    {"stop while the sender is judged, yes",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x> ?", ""},
      {"!shutdown", ""},
      {"!yes", "250"},
      {"RSET", "250 2.0.0 Ok\r\n421 4.3.2"}},
     true},
    {"stop while the sender is judged, no",
     {{"EHLO c", "250"},
      {"MAIL FROM:<a@x> ?", ""},
      {"!shutdown", ""},
      {"!no 450 4.7.1 Later", "450 4.7.1 Later\r\n421 4.3.2"}},
     true},
    {"stop within the handshake",
     {{"EHLO c", "250"}, {"STARTTLS", "220"}, {"!shutdown", ""}, {"!tls", "421 4.3.2"}},
     true},
};

START_TEST(conversation_goes_as_written)
{
    const struct line *l = conversations[_i].lines;

    for (; l[1].in != NULL; l++)
        expect(l->in, l->want);
    if (conversations[_i].closes) {
        expect_closed(l->in, l->want);
    } else {
        expect(l->in, l->want);
        ck_assert_msg(!out.close, "%s", conversations[_i].name);
    }
}
END_TEST

START_TEST(ehlo_offers_exactly_what_is_there)
{
    start_with(&plain);
    ck_assert_str_eq(say("EHLO c"),
                     "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n"
                     "250-LIMITS RCPTDOMAINMAX=1 RCPTMAX=100 MAILMAX=1000\r\n"
                     "250 ENHANCEDSTATUSCODES\r\n");
    expect("STARTTLS", "502");
    start_with(&with_tls);
    ck_assert_ptr_nonnull(strstr(say("EHLO c"), "\r\n250-STARTTLS\r\n"));
    expect("STARTTLS", "220");
    expect("!tls", "");
    ck_assert_ptr_null(strstr(say("EHLO c"), "STARTTLS"));
}
END_TEST

START_TEST(smtputf8_is_offered_and_taken_or_not_known)
{
    const struct smtpd_options utf8 = {
        .hostname = STR("mx.example"), .max_body_bytes = 1000000, .smtputf8 = true};

    start_with(&plain);
    ck_assert_ptr_null(strstr(say("EHLO c"), "SMTPUTF8"));
    expect("MAIL FROM:<a@x.example> SMTPUTF8", "555 5.5.4");
    expect("MAIL FROM:<jos\xc3\xa9@x.example> SMTPUTF8", "555 5.5.4");
    start_with(&utf8);
    ck_assert_ptr_nonnull(strstr(say("EHLO c"), "\r\n250-SMTPUTF8\r\n"));
    expect("MAIL FROM:<jos\xc3\xa9@x.example>", "501 5.6.7");
    expect("MAIL FROM:<jos\xc3\xa9@x.example> SMTPUTF8", "250");
    ck_assert(session.smtputf8);
    expect("RCPT TO:<a@b\xc3\xbc"
           "cher.example>",
           "250");
    expect("RCPT TO:<a@xn--bcher-kva.example>",
           "250"); /* the shell is asked whether it is one */
    expect("RSET", "250");
    expect("MAIL FROM:<a@x.example>", "250"); /* each transaction says so itself */
    expect("RCPT TO:<a@b\xc3\xbc"
           "cher.example>",
           "501 5.6.7");
    expect("RCPT TO:<a@y>", "250");
    expect("RCPT TO:<a@z>", "452 4.5.3");
}
END_TEST

START_TEST(policy_may_refuse_a_client_in_the_banner)
{
    smtpd_init(&session, &plain);
    said[0] = 0;
    step((struct smtpd_event){.type = SMTPD_EV_OPEN});
    expect_closed("!no 421 4.3.2 Go to the next MX", "421 4.3.2 Go to the next MX\r\n");
    smtpd_init(&session, &plain);
    said[0] = 0;
    step((struct smtpd_event){.type = SMTPD_EV_OPEN, .shutting_down = true});
    ck_assert(out.close && strncmp(said, "421 4.3.2", 9) == 0);
    ck_assert_int_eq(out.act, SMTPD_ACT_NONE);
    smtpd_init(&session, &plain);
    step((struct smtpd_event){.type = SMTPD_EV_OPEN});
    expect_closed("!shutdown", "421 4.3.2");
}
END_TEST

START_TEST(policy_may_close_with_a_refusal)
{
    to_ready();
    expect("MAIL FROM:<a@x> ?", "");
    said[0] = 0;
    step((struct smtpd_event){.type = SMTPD_EV_VERDICT,
                              .refusal = STR("421 4.3.0 No second copy"),
                              .refusal_closes = true});
    ck_assert(out.close && strncmp(said, "421 4.3.0", 9) == 0);
}
END_TEST

START_TEST(without_tls_only_a_few_commands_are_taken_when_it_is_required)
{
    start_with(&tls_only);
    expect("EHLO c", "250");
    expect("MAIL FROM:<a@x>", "530 5.7.0");
    expect("RCPT TO:<a@x>", "530 5.7.0");
    expect("DATA", "530 5.7.0");
    expect("RSET", "530 5.7.0");
    expect("VRFY a", "530 5.7.0");
    expect("NOOP", "250");
    expect("HELO c", "250");
    expect("STARTTLS", "220");
    expect("!tls", "");
    expect("EHLO c", "250");
    expect("MAIL FROM:<a@x>", "250");
}
END_TEST

START_TEST(nothing_learned_before_tls_is_kept)
{
    expect("EHLO liar.example", "250");
    expect("STARTTLS", "220");
    ck_assert_int_eq(out.act, SMTPD_ACT_START_TLS);
    ck_assert_uint_eq(out.deadline_ms, now_ms + LIMIT_SMTP_TLS_MS);
    expect("!tls", "");
    ck_assert_uint_eq(smtpd_helo(&session).n, 0);
    ck_assert(!session.esmtp && session.tls);
    ck_assert(str_eq(smtpd_tls_text(&session), STR("TLSv1.3 X")));
}
END_TEST

/* INV-1: 250 after the dot means durable; no answer may turn out to be a lie. */
static const struct {
    const char *event, *want;
    bool closes;
} endings[] = {
    {"!stored", "250 2.0.0 Ok: queued as 00000000000000000000000000\r\n", false},
    {"!full", "452 4.3.1", false},
    {"!aborted", "451 4.3.0", false},
    {"!undecided", "", true},
};

START_TEST(reply_after_the_dot_is_what_the_commit_said)
{
    to_commit();
    if (endings[_i].closes)
        expect_closed(endings[_i].event, endings[_i].want);
    else
        expect(endings[_i].event, endings[_i].want);
    ck_assert_int_eq(out.close, endings[_i].closes);
    ck_assert_int_eq(out.act, SMTPD_ACT_RESET);
}
END_TEST

START_TEST(nothing_is_said_between_the_dot_and_the_commit)
{
    to_commit();
    ck_assert_uint_eq(out.deadline_ms, 0);
    expect("!timeout", "");
    ck_assert(!out.close);
    expect("!shutdown", "");
    ck_assert(!out.close);
    ck_assert_uint_eq(out.deadline_ms, 0);
    ck_assert_int_eq(session.state, SMTPD_COMMIT);
}
END_TEST

static const struct {
    const char *event, *want;
    bool closes;
} bad_bodies[] = {
    {"!dot bare cr", "550 5.6.11", true},
    {"!dot bare lf", "550 5.6.11", true},
    {"!dot nul", "554 5.6.0", false},
    {"!dot line", "554 5.6.0", false},
    {"!dot big", "552 5.3.4", false},
    {"!endless", "552 5.3.4", true},
    {"!dot header", "552 5.3.4", false},
    {"!dot loop", "554 5.4.6", false},
    {"!dot own loop", "554 5.4.6", false},
    {"!dot policy", "550 5.6.0 Header line 2: no?field", false},
};

START_TEST(bad_body_is_refused_after_the_dot_and_never_committed)
{
    to_rcpt();
    expect("DATA", "354");
    expect(bad_bodies[_i].event, bad_bodies[_i].want);
    ck_assert_int_eq(out.act, SMTPD_ACT_RESET);
    ck_assert_int_eq(out.close, bad_bodies[_i].closes);
    if (!out.close)
        expect("MAIL FROM:<a@x>", "250");
}
END_TEST

START_TEST(reset_is_told_when_a_transaction_ends_early)
{
    static const char *const enders[] = {"RSET", "EHLO c", "HELO c"};

    to_ready();
    for (int i = 0; i < COUNT(enders); i++) {
        expect("MAIL FROM:<a@x>", "250");
        expect("RCPT TO:<b@y>", "250");
        ck_assert(str_eq(smtpd_domain(&session), STR("y")));
        expect(enders[i], "250");
        ck_assert_int_eq(out.act, SMTPD_ACT_RESET);
        ck_assert_uint_eq(smtpd_domain(&session).n, 0);
        expect(enders[i], "250");
        ck_assert_int_eq(out.act, SMTPD_ACT_NONE);
    }
}
END_TEST

START_TEST(asks_carry_the_parsed_path)
{
    to_ready();
    hear("MAIL FROM:<a@x.example> BODY=8BITMIME SIZE=7");
    ck_assert_int_eq(out.act, SMTPD_ACT_ASK_MAIL);
    ck_assert_uint_eq(out.path.whole.n, 11);
    ck_assert(out.params.eight_bit && out.params.size_bytes == 7);
    expect("!yes", "250");
    ck_assert(session.eight_bit);
    hear("RCPT TO:<a%b@y.example>");
    ck_assert_int_eq(out.act, SMTPD_ACT_ASK_RCPT);
    ck_assert(out.path.relay_form);
    ck_assert_uint_eq(out.path.domain.n, 9);
}
END_TEST

/* --- limits --- */

START_TEST(a_session_ends_with_the_error_that_is_one_too_many)
{
    for (int i = 1; i < LIMIT_SMTP_ERRORS; i++)
        expect(i % 2 ? "FOO" : "!nul", "50");
    expect_closed("FOO", "421 4.7.0");
}
END_TEST

START_TEST(a_session_ends_when_commands_move_no_mail)
{
    static const char *const idle[] = {"NOOP", "RSET", "VRFY a", "HELP", "EHLO c"};

    for (int i = 0; i < LIMIT_SMTP_IDLE_COMMANDS; i++)
        expect(idle[(_i + i) % COUNT(idle)], "2");
    expect_closed(idle[_i], "421 4.7.0");
}
END_TEST

START_TEST(a_message_gives_new_idle_commands)
{
    expect("EHLO c", "250");
    for (int i = 1; i < LIMIT_SMTP_IDLE_COMMANDS; i++)
        expect("NOOP", "250");
    expect("MAIL FROM:<a@x>", "250");
    expect("RCPT TO:<b@y>", "250");
    expect("DATA", "354");
    expect("!dot", "");
    expect("!stored", "250");
    expect("NOOP", "250");
}
END_TEST

START_TEST(recipients_beyond_the_limit_are_put_off)
{
    to_ready();
    expect("MAIL FROM:<a@x>", "250");
    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++)
        expect("RCPT TO:<b@y>", "250");
    for (int i = 0; i < 3 * LIMIT_SMTP_RCPTS; i++)
        expect("RCPT TO:<b@y>", "452 4.5.3");
    ck_assert_uint_eq(session.rcpts, LIMIT_SMTP_RCPTS);
    expect("DATA", "354");
}
END_TEST

START_TEST(a_harvester_is_cut_off)
{
    to_ready();
    expect("MAIL FROM:<a@x>", "250");
    for (int i = 1; i < LIMIT_SMTP_REFUSED_RCPTS; i++) {
        expect("RCPT TO:<b@y> ?", "");
        expect("!no 450 4.7.1 Later", "450");
        expect("RCPT TO:<b@y> ?", "");
        expect("!no 550 5.1.1 Unknown", "550");
    }
    expect("RCPT TO:<b@y> ?", "");
    expect_closed("!no 550 5.1.1 Unknown", "550 5.1.1 Unknown\r\n421 4.7.0");
}
END_TEST

START_TEST(a_session_takes_so_many_messages_and_no_more)
{
    to_ready();
    for (int i = 0; i < LIMIT_SMTP_MESSAGES; i++) {
        expect("MAIL FROM:<a@x>", "250");
        expect("RCPT TO:<b@y>", "250");
        expect("DATA", "354");
        expect("!dot", "");
        expect("!stored", "250");
    }
    expect_closed("MAIL FROM:<a@x>", "421 4.7.0");
}
END_TEST

START_TEST(names_and_addresses_may_be_as_long_as_their_limits)
{
    char line[LIMIT_SMTP_LINE_BYTES] = "EHLO ";

    memset(line + 5, 'a', LIMIT_SMTP_HELO_BYTES);
    expect(line, "250");
    ck_assert_uint_eq(smtpd_helo(&session).n, LIMIT_SMTP_HELO_BYTES);
    line[5 + LIMIT_SMTP_HELO_BYTES] = 'a';
    expect(line, "501");
    expect("MAIL FROM:<a@x>", "250");
    memcpy(line, "RCPT TO:<a@", 11);
    memset(line + 11, 'a', LIMIT_SMTP_PATH_BYTES - 2);
    for (size_t i = 11 + 60; i < 11 + LIMIT_SMTP_PATH_BYTES - 2; i += 61)
        line[i] = '.';
    memcpy(line + 11 + LIMIT_SMTP_PATH_BYTES - 2, ">", 2);
    expect(line, "250");
    ck_assert_uint_eq(smtpd_domain(&session).n, LIMIT_SMTP_PATH_BYTES - 2);
}
END_TEST

/* --- time --- */

START_TEST(deadlines_are_total_per_phase)
{
    uint64_t start = now_ms;

    ck_assert_uint_eq(out.deadline_ms, start + LIMIT_SMTP_COMMAND_MS);
    for (int i = 0; i < 5; i++) { /* each command is quick, the envelope as a whole is not */
        now_ms += LIMIT_SMTP_COMMAND_MS - 1;
        expect("NOOP", "250");
        ck_assert_uint_le(out.deadline_ms, start + LIMIT_SMTP_ENVELOPE_MS);
    }
    ck_assert_uint_eq(out.deadline_ms, start + LIMIT_SMTP_ENVELOPE_MS);
}
END_TEST

START_TEST(a_shutdown_gives_no_more_time)
{
    uint64_t deadline_ms;

    to_rcpt();
    deadline_ms = out.deadline_ms;
    now_ms += 1000;
    expect("!shutdown", "");
    ck_assert_uint_eq(out.deadline_ms, deadline_ms);
}
END_TEST

START_TEST(a_body_may_last_as_long_as_it_keeps_coming)
{
    uint64_t start;

    to_rcpt();
    now_ms += 5000;
    start = now_ms;
    expect("DATA", "354");
    ck_assert_uint_eq(out.deadline_ms, start + LIMIT_SMTP_DATA_MS);
    ck_assert_uint_eq(smtpd_body_deadline(&session, 10 * LIMIT_SMTP_DATA_MIN_RATE),
                      start + LIMIT_SMTP_DATA_MS + 10000);
    ck_assert_uint_eq(
        smtpd_body_deadline(&session, UINT64_MAX),
        smtpd_body_deadline(&session, LIMIT_BODY_BYTES + LIMIT_BODY_SWALLOW_BYTES));
    now_ms += 100000;
    expect("!dot", "");
    now_ms += 100000;
    expect("!stored", "250");
    ck_assert_uint_eq(out.deadline_ms, now_ms + LIMIT_SMTP_COMMAND_MS);
    ck_assert_uint_eq(session.envelope_deadline_ms, now_ms + LIMIT_SMTP_ENVELOPE_MS);
}
END_TEST

static TCase *dialogues(void)
{
    TCase *tc = tcase_create("dialogues");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, conversation_goes_as_written, 0, COUNT(conversations));
    tcase_add_test(tc, smtputf8_is_offered_and_taken_or_not_known);
    tcase_add_test(tc, ehlo_offers_exactly_what_is_there);
    tcase_add_test(tc, policy_may_refuse_a_client_in_the_banner);
    tcase_add_test(tc, policy_may_close_with_a_refusal);
    tcase_add_test(tc, without_tls_only_a_few_commands_are_taken_when_it_is_required);
    tcase_add_test(tc, nothing_learned_before_tls_is_kept);
    tcase_add_loop_test(tc, reply_after_the_dot_is_what_the_commit_said, 0, COUNT(endings));
    tcase_add_test(tc, nothing_is_said_between_the_dot_and_the_commit);
    tcase_add_loop_test(tc, bad_body_is_refused_after_the_dot_and_never_committed, 0,
                        COUNT(bad_bodies));
    tcase_add_test(tc, reset_is_told_when_a_transaction_ends_early);
    tcase_add_test(tc, asks_carry_the_parsed_path);
    return tc;
}

static TCase *limits(void)
{
    TCase *tc = tcase_create("limits");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_session_ends_with_the_error_that_is_one_too_many);
    tcase_add_loop_test(tc, a_session_ends_when_commands_move_no_mail, 0, 5);
    tcase_add_test(tc, a_message_gives_new_idle_commands);
    tcase_add_test(tc, recipients_beyond_the_limit_are_put_off);
    tcase_add_test(tc, a_harvester_is_cut_off);
    tcase_add_test(tc, a_session_takes_so_many_messages_and_no_more);
    tcase_add_test(tc, names_and_addresses_may_be_as_long_as_their_limits);
    tcase_add_test(tc, deadlines_are_total_per_phase);
    tcase_add_test(tc, a_shutdown_gives_no_more_time);
    tcase_add_test(tc, a_body_may_last_as_long_as_it_keeps_coming);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("smtpd");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, dialogues());
    suite_add_tcase(suite, limits());
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
