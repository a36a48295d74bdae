/* The report as it must look, and hostile input that must not change its shape. */
#include "node/delivery/dsn.h"

#include <check.h>
#include <stdio.h>

#include "node/delivery/dsn_check.h"

static char buf[LIMIT_DSN_BYTES];
static size_t n;
static struct rcpt rcpts[LIMIT_SMTP_RCPTS];
static struct envelope env;
static struct dsn_in in;

static void setup(void)
{
    rcpts[0] = (struct rcpt){.path = STR("gone@d.example"),
                             .fate = FATE_BOUNCED,
                             .last_ms = 3600000,
                             .reply = STR("550 5.1.1 <gone@d.example>: no such user")};
    rcpts[1] = (struct rcpt){
        .path = STR("here@d.example"), .fate = FATE_DELIVERED, .reply = STR("250 ok")};
    rcpts[2] = (struct rcpt){.path = STR("slow@d.example"),
                             .fate = FATE_EXPIRED,
                             .reply = STR("(timed out; at the banner)")};
    env = (struct envelope){.id = mid_make(1, 5, 77),
                            .domain = STR("d.example"),
                            .sender = STR("alice@x.example"),
                            .rcpts = rcpts,
                            .rcpt_count = 3,
                            .received_ms = 1000,
                            .received_wall_ms = INT64_C(1795482000000),
                            .trace_header = STR("Received: from secret.inside\r\n")};
    in = (struct dsn_in){.env = &env,
                         .hostname = STR("mx1.example.net"),
                         .body_start = STR("Subject: hello\r\nX-Fold: a\r\n b\r\n\r\nbody\r\n"),
                         .now_wall_ms = INT64_C(1796692364000)};
}

static struct dsn_seen build(void)
{
    ck_assert_int_eq(dsn_build(&in, buf, sizeof buf, &n), OK);
    return dsn_check((struct str){buf, n});
}

static bool holds(const char *text)
{
    return memmem(buf, n, text, strlen(text)) != NULL;
}

/* ID stands for the id of the message. */
static const char want[] =
    "Date: Tue, 08 Dec 2026 01:12:44 +0000\r\n"
    "From: Mail delivery <MAILER-DAEMON@mx1.example.net>\r\n"
    "To: <alice@x.example>\r\n"
    "Subject: Your message could not be delivered\r\n"
    "Message-ID: <ID.dsn@mx1.example.net>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    " boundary=\"=_dsn_ID\"\r\n"
    "\r\n"
    "--=_dsn_ID\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at mx1.example.net.\r\n"
    "\r\n"
    "Your message could not be delivered to these recipients, and is no longer\r\n"
    "tried for them:\r\n"
    "\r\n"
    "  <gone@d.example>\r\n"
    "    refused; last answer: 550 5.1.1 <gone@d.example>: no such user\r\n"
    "\r\n"
    "  <slow@d.example>\r\n"
    "    not taken in time\r\n"
    "\r\n"
    "The header of your message is attached.\r\n"
    "\r\n"
    "--=_dsn_ID\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; mx1.example.net\r\n"
    "Arrival-Date: Tue, 24 Nov 2026 01:00:00 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; gone@d.example\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <gone@d.example>: no such user\r\n"
    "Last-Attempt-Date: Tue, 24 Nov 2026 01:59:59 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; slow@d.example\r\n"
    "Action: failed\r\n"
    "Status: 4.4.7\r\n"
    "\r\n"
    "--=_dsn_ID\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "Subject: hello\r\n"
    "X-Fold: a\r\n"
    " b\r\n"
    "\r\n"
    "--=_dsn_ID--\r\n";

START_TEST(a_report_looks_like_this)
{
    char id[MID_TEXT_SIZE], expect[4096];
    size_t at = 0;
    struct dsn_seen seen = build();

    mid_text(env.id, id);
    for (const char *p = want; *p != 0; p++) {
        if (strncmp(p, "ID", 2) == 0 && strncmp(p - 8, "Message-ID", 10) != 0) {
            memcpy(expect + at, id, MID_TEXT_SIZE - 1);
            at += MID_TEXT_SIZE - 1;
            p++;
        } else {
            expect[at++] = *p;
        }
    }
    ck_assert_msg(n == at && memcmp(buf, expect, n) == 0, "%.*s", (int)n, buf);
    ck_assert_uint_eq(seen.final_recipients, 2);
    ck_assert(!holds("secret.inside") && !holds("here@d.example") && !holds("timed out"));
}
END_TEST

START_TEST(nobody_is_told_when_there_is_nothing_to_tell_or_nobody)
{
    if (_i == 0)
        env.sender = STR_NONE;
    else
        rcpts[0].fate = rcpts[2].fate = _i == 1 ? FATE_PURGED : FATE_DELIVERED;
    ck_assert_int_eq(dsn_build(&in, buf, sizeof buf, &n), E_NOTFOUND);
    ck_assert_uint_eq(n, 0);
}
END_TEST

static const struct {
    enum fate fate;
    const char *reply, *status;
} statuses[] = {
    {FATE_BOUNCED, "550 5.1.1 no", "Status: 5.1.1\r\n"},
    {FATE_BOUNCED, "550 no", "Status: 5.0.0\r\n"},
    {FATE_BOUNCED, "550 4.2.2 no", "Status: 5.0.0\r\n"},
    {FATE_BOUNCED, "(ended by the operator)", "Status: 5.0.0\r\n"},
    {FATE_BOUNCED, "", "Status: 5.0.0\r\n"},
    {FATE_BOUNCED, "450 4.2.1 later", "Status: 5.0.0\r\n"},
    {FATE_EXPIRED, "450 4.2.1 later", "Status: 4.4.7\r\n"},
    {FATE_EXPIRED, "550 5.7.1 no", "Status: 4.4.7\r\n"},
};

START_TEST(the_status_is_the_primarys_own_where_it_is_one)
{
    rcpts[0].fate = statuses[_i].fate;
    rcpts[0].reply = str_of(statuses[_i].reply);
    build();
    ck_assert(holds(statuses[_i].status));
    ck_assert(holds("Diagnostic-Code") ==
              (statuses[_i].reply[0] >= '0' && statuses[_i].reply[0] <= '9'));
}
END_TEST

static const struct {
    const char *reply, *shown;
} masks[] = {
    {"550 5.1.1 refused by 10.1.2.3 today", "refused by [address] today"},
    {"550 host mail[192.168.0.9]: no", "host mail[[address]]: no"},
    {"550 10.0.0.1:25 said no.", "550 [address] said no."},
    {"550 from 203.0.113.77.", "from [address]\r\n"},
    {"550 from fe80::1 no", "from [address] no"},
    {"550 [IPv6:2001:db8:0:0:1::5] no", "[[address]] no"},
    {"550 mbx7.corp.internal is down", "550 [host] is down"},
    {"550 at mail01.LOCAL.", "at [host]\r\n"},
    {"550 at x.home.arpa:2525 no", "at [host] no"},
    {"550 5.7.1 version 1.2.3 at 12:30:45", "version 1.2.3 at 12:30:45"},
    {"550 1.2.3.4.5 and 1.2.3.4567 a.local.example",
     "1.2.3.4.5 and 1.2.3.4567 a.local.example"},
    {"550 a::b::c no", "550 [address] no"},
    {"550 :: no", "550 :: no"},
    {"550 .local .", "550 .local ."},
};

START_TEST(what_is_behind_the_primarys_door_is_masked)
{
    rcpts[0].reply = str_of(masks[_i].reply);
    build();
    ck_assert_msg(holds(masks[_i].shown), "%.*s", (int)n, buf);
}
END_TEST

START_TEST(hostile_texts_change_no_line_and_no_part)
{
    static const struct str evil[] = {
        STR("550 a\r\n\r\n--=_dsn_\r\nContent-Type: text/html\r\n\r\n<b>"),
        STR("550 \x1b[31m\0\x7f\xff\xc3\xa9${jndi:ldap://x}"),
        STR("550 5.1.1\nFinal-Recipient: rfc822; x@y"),
        STR("\r\n.\r\nMAIL FROM:<>"),
    };
    struct dsn_seen seen;

    rcpts[0].reply = rcpts[0].path = env.sender = evil[_i];
    seen = build();
    ck_assert_uint_eq(seen.final_recipients, 2);
    ck_assert_uint_eq(seen.statuses, 2);
    ck_assert_uint_eq(seen.header_lines, 3);
}
END_TEST

/* RFC 6533: in ASCII, so that no server on its way has to know SMTPUTF8. */
START_TEST(addresses_in_other_scripts_are_named_in_ascii)
{
    rcpts[0].path = STR("jos\xc3\xa9+a\\b@b\xc3\xbc"
                        "cher.example");
    rcpts[2].path = STR("\xf0\x9f\x93\xac=@\xe4\xbe\x8b.example");
    env.sender = STR("\xe6\xa8\xa1@x.example");
    build();
    ck_assert(holds(
        "\r\nFinal-Recipient: utf-8; jos\\x{E9}\\x{2B}a\\x{5C}b@b\\x{FC}cher.example\r\n"));
    ck_assert(holds("\r\nFinal-Recipient: utf-8; \\x{1F4EC}\\x{3D}@\\x{4F8B}.example\r\n"));
    ck_assert(holds("\r\nTo: undisclosed-recipients:;\r\n"));
    ck_assert(holds("  <jos\\x{E9}\\x{2B}a\\x{5C}b@b\\x{FC}cher.example>\r\n"));
    for (size_t i = 0; i < n; i++)
        ck_assert_int_lt((unsigned char)buf[i], 0x80);
}
END_TEST

START_TEST(headers_that_look_like_a_boundary_or_are_no_fields_are_left_out)
{
    char id[MID_TEXT_SIZE], header[1024];
    struct dsn_seen seen;

    mid_text(env.id, id);
    snprintf(
        header, sizeof header,
        "--=_dsn_%s--\r\n--=_dsn_%s: x\r\n cont\r\nFrom mbox line\r\nno colon\r\n: none\r\n"
        "Sub ject: x\r\nGood: yes\r\n\tcont\r\nT\xc3\xa9: x\r\nBin: \x01\xc3\xa9",
        id, id);
    in.body_start = str_of(header);
    seen = build(); /* the last line is cut in half: out */
    ck_assert_uint_eq(seen.header_lines, 2);
    ck_assert(holds("Good: yes\r\n\tcont\r\n"));
    in.body_start = STR("Bin: \x01\xc3\xa9\x7f\rx\n\r\nno header: this\r\n");
    seen = build();
    ck_assert_uint_eq(seen.header_lines, 1);
    ck_assert(holds("Bin: ?????x\r\n"));
    in.body_start = STR(" starts with a continuation\r\nX: y\r\n");
    ck_assert_uint_eq(build().header_lines, 1);
    in.body_start = STR_NONE;
    ck_assert_uint_eq(build().header_lines, 0);
}
END_TEST

START_TEST(the_header_section_is_cut_at_its_limit_and_lines_at_998)
{
    static char header[3 * LIMIT_DSN_HEADER_BYTES];
    struct dsn_seen seen;

    memset(header, 'x', sizeof header);
    memcpy(header, "Long: ", 6);
    memcpy(header + 2000, "\r\n", 2);
    for (size_t at = 2002; at + 102 < sizeof header; at += 102) {
        memcpy(header + at, "Line: ", 6);
        memcpy(header + at + 100, "\r\n", 2);
    }
    in.body_start = (struct str){header, sizeof header};
    seen = build();
    ck_assert_uint_eq(seen.header_lines, 1 + (LIMIT_DSN_HEADER_BYTES - 1000) / 102);
}
END_TEST

START_TEST(the_largest_report_fits_and_a_small_buffer_is_refused_at_every_size)
{
    static char path[LIMIT_SMTP_PATH_BYTES], reply[LIMIT_REPLY_KEPT_BYTES],
        header[LIMIT_DSN_HEADER_BYTES];
    size_t full;

    memset(path, 'p', sizeof path);
    memset(reply, 'r', sizeof reply);
    memcpy(reply, "550 5.255.255 ", 14);
    memset(header, 'h', sizeof header);
    memcpy(header, "H: ", 3);
    for (size_t i = 998; i + 2 < sizeof header; i += 1000)
        memcpy(header + i, "\r\n ", i + 3 < sizeof header ? 3 : 2);
    env.rcpt_count = LIMIT_SMTP_RCPTS;
    env.sender = (struct str){path, sizeof path};
    in.body_start = (struct str){header, sizeof header};
    for (int i = 0; i < LIMIT_SMTP_RCPTS; i++)
        rcpts[i] = (struct rcpt){.path = env.sender,
                                 .fate = FATE_BOUNCED,
                                 .last_ms = UINT64_C(9000000000),
                                 .reply = {reply, sizeof reply}};
    ck_assert_uint_eq(build().final_recipients, LIMIT_SMTP_RCPTS);
    full = n;
    ck_assert_uint_gt(full, 80000);
    for (size_t size = 0; size < full; size += 997)
        ck_assert(dsn_build(&in, buf, size, &n) == E_FULL && n == 0);
    ck_assert_int_eq(dsn_build(&in, buf, full, &n), OK);
}
END_TEST

START_TEST(dates_are_right_in_every_kind_of_year)
{
    static const struct {
        int64_t s;
        const char *text;
    } cases[] = {{0, "Thu, 01 Jan 1970 00:00:00 +0000"},
                 {951782399, "Mon, 28 Feb 2000 23:59:59 +0000"},
                 {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
                 {1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"},
                 {1798761599, "Thu, 31 Dec 2026 23:59:59 +0000"},
                 {4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
                 {-5, "Thu, 01 Jan 1970 00:00:00 +0000"}};

    in.now_wall_ms = cases[_i].s * 1000;
    build();
    ck_assert_msg(memcmp(buf + 6, cases[_i].text, strlen(cases[_i].text)) == 0, "%.40s", buf);
    in.now_wall_ms = INT64_MAX; /* nobody's clock, but no crash either */
    build();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dsn");
    TCase *tc = tcase_create("dsn");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_report_looks_like_this);
    tcase_add_loop_test(tc, nobody_is_told_when_there_is_nothing_to_tell_or_nobody, 0, 3);
    tcase_add_loop_test(tc, the_status_is_the_primarys_own_where_it_is_one, 0,
                        sizeof statuses / sizeof statuses[0]);
    tcase_add_loop_test(tc, what_is_behind_the_primarys_door_is_masked, 0,
                        sizeof masks / sizeof masks[0]);
    tcase_add_loop_test(tc, hostile_texts_change_no_line_and_no_part, 0, 4);
    tcase_add_test(tc, addresses_in_other_scripts_are_named_in_ascii);
    tcase_add_test(tc, headers_that_look_like_a_boundary_or_are_no_fields_are_left_out);
    tcase_add_test(tc, the_header_section_is_cut_at_its_limit_and_lines_at_998);
    tcase_add_test(tc, the_largest_report_fits_and_a_small_buffer_is_refused_at_every_size);
    tcase_add_loop_test(tc, dates_are_right_in_every_kind_of_year, 0, 7);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
