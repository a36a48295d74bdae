#include "node/smtp/received.h"

#include <check.h>

#include "base/limits.h"
#include "node/smtp/headerscan.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static char buf[RECEIVED_SIZE + 1];
static struct received r;

static void setup(void)
{
    r = (struct received){.helo = STR("client.example"),
                          .client_addr = STR("192.0.2.1"),
                          .host = STR("mx1.example"),
                          .cluster = STR("east"),
                          .esmtp = true,
                          .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                          .id = mid_make(1, 2, 3),
                          .rcpt = STR("a@b.example"),
                          .wall_ms = INT64_C(1795484816789)};
}

static const char *format(void)
{
    struct str s = received_format(&r, buf);

    ck_assert(s.p == buf && s.n < RECEIVED_SIZE);
    buf[s.n] = 0;
    return buf;
}

static void expect(const char *part)
{
    ck_assert_msg(strstr(format(), part) != NULL, "no '%s' in:\n%s", part, buf);
}

static void expect_not(const char *part)
{
    ck_assert_msg(strstr(format(), part) == NULL, "'%s' in:\n%s", part, buf);
}

START_TEST(the_field_reads_as_rfc_5321_draws_it)
{
    ck_assert_str_eq(
        format(),
        "Received: from client.example ([192.0.2.1]) by mx1.example (trispool east)\r\n"
        "\twith ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        "\tid 00040000000010000000000003 for <a@b.example>;\r\n"
        "\tTue, 24 Nov 2026 01:46:56 +0000\r\n");
}
END_TEST

START_TEST(keyword_behind_with_tells_how_the_message_came)
{
    static const struct {
        bool esmtp, tls, smtputf8;
        const char *part;
    } cases[] = {
        {false, false, false, "with SMTP id "},   {true, false, false, "with ESMTP id "},
        {true, true, false, "\twith ESMTPS "},    {false, true, false, "\twith ESMTPS "},
        {true, false, true, "with UTF8SMTP id "}, {true, true, true, "\twith UTF8SMTPS "}};

    r.esmtp = cases[_i].esmtp;
    r.smtputf8 = cases[_i].smtputf8;
    if (!cases[_i].tls)
        r.tls = STR_NONE;
    expect(cases[_i].part);
}
END_TEST

START_TEST(several_recipients_are_not_told_of_each_other)
{
    r.rcpt = STR_NONE;
    expect_not("for <");
    expect("00040000000010000000000003;");
}
END_TEST

START_TEST(postmaster_and_quoted_recipients_stand_in_the_for_clause)
{
    r.rcpt = STR("postmaster");
    expect("for <postmaster>;");
    r.rcpt = STR("\"a; (b\"@b.example");
    expect("for <\"a; (b\"@b.example>;");
}
END_TEST

START_TEST(addresses_of_version_six_are_tagged)
{
    r.client_addr = STR("2001:db8::1");
    expect("([IPv6:2001:db8::1])");
    r.helo = STR("[192.0.2.7]");
    expect("from [192.0.2.7] ([IPv6:2001:db8::1])");
}
END_TEST

static const struct str hostile[] = {
    {"", 0},          {"a\r\nX: y", 7}, {"a\nb", 3},        {"a b", 3},
    {"a\0b", 3},      {"a;b", 3},       {"a(b", 3},         {"a)b", 3},
    {"\xc3\xa4", 2},  {"<script>", 8},  {"[192.0.2.1", 10}, {"[a]", 3},
    {"${jndi:x}", 9}, {"\x1b[2J", 4},   {"a\tb", 3},
};

START_TEST(hostile_helo_is_left_out)
{
    r.helo = hostile[_i];
    expect("Received: from [192.0.2.1] ([192.0.2.1]) by mx1.example");
    r.client_addr = STR("not an address at all");
    expect("Received: from unknown by mx1.example");
}
END_TEST

START_TEST(hostile_recipient_tls_text_and_address_are_left_out)
{
    for (int i = 0; i < COUNT(hostile); i++) {
        bool shown = hostile[i].n > 0;

        setup();
        r.tls = hostile[i];
        r.client_addr = hostile[i];
        r.rcpt = hostile[i];
        expect_not("\nX: y");
        for (size_t k = 0; k < hostile[i].n; k++)
            shown = shown && hostile[i].p[k] >= ' ' && hostile[i].p[k] <= '~';
        if (shown)
            expect("for <");
        else
            expect_not("for <");
        expect("Received: from client.example by mx1.example");
    }
}
END_TEST

/* Every line but the first starts with a tab; none holds a lone CR or LF, or is too long. */
static void check_lines(void)
{
    struct str rest = str_of(format());

    ck_assert(strncmp(buf, "Received: ", 10) == 0);
    while (rest.n > 0) {
        struct str line = str_split(&rest, '\n');

        ck_assert(str_ends(line, '\r'));
        ck_assert_uint_eq(str_find(line, '\r'), line.n - 1);
        ck_assert_uint_le(line.n, 998);
        ck_assert(rest.n == 0 || rest.p[0] == '\t');
    }
}

START_TEST(every_part_at_its_limit_fits)
{
    static char a[2000];

    memset(a, 'a', sizeof a);
    r.helo = (struct str){a, LIMIT_SMTP_HELO_BYTES};
    r.host = (struct str){a, LIMIT_SMTP_DOMAIN_BYTES};
    r.cluster = (struct str){a, LIMIT_CLUSTER_NAME_BYTES};
    r.tls = (struct str){a, LIMIT_TLS_TEXT_BYTES};
    r.rcpt = (struct str){a, LIMIT_SMTP_PATH_BYTES};
    check_lines();
    expect("for <aaaa");
    r.helo = r.tls = r.rcpt = r.client_addr = (struct str){a, sizeof a};
    check_lines();
    expect("Received: from unknown");
    expect_not("for <");
}
END_TEST

START_TEST(headerscan_finds_our_own_mark_in_it)
{
    struct headerscan h;

    headerscan_init(&h, r.cluster);
    headerscan_feed(&h, str_of(format()));
    ck_assert_uint_eq(h.own, 1);
    headerscan_init(&h, STR("west"));
    headerscan_feed(&h, str_of(format()));
    ck_assert_uint_eq(h.own, 0);
    ck_assert_uint_eq(h.received, 1);
}
END_TEST

START_TEST(dates_are_right_on_both_sides_of_every_edge)
{
    static const struct {
        int64_t ms;
        const char *text;
    } dates[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {-1, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {INT64_C(951782399999), "Mon, 28 Feb 2000 23:59:59 +0000"},
        {INT64_C(951782400000), "Tue, 29 Feb 2000 00:00:00 +0000"},
        {INT64_C(951868800000), "Wed, 01 Mar 2000 00:00:00 +0000"},
        {INT64_C(1709164800000), "Thu, 29 Feb 2024 00:00:00 +0000"},
        {INT64_C(1735689599000), "Tue, 31 Dec 2024 23:59:59 +0000"},
        {INT64_C(1735689600000), "Wed, 01 Jan 2025 00:00:00 +0000"},
        {INT64_C(4107542400000), "Mon, 01 Mar 2100 00:00:00 +0000"},
        {INT64_C(12622780800000), "Thu, 01 Jan 2370 00:00:00 +0000"},
        {INT64_C(253402300799999), "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_C(253402300800000), "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 +0000"},
    };
    char text[RFC5322_DATE_SIZE];

    for (int i = 0; i < COUNT(dates); i++)
        ck_assert_str_eq(rfc5322_date(dates[i].ms, text), dates[i].text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("received");
    TCase *tc = tcase_create("format");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, the_field_reads_as_rfc_5321_draws_it);
    tcase_add_loop_test(tc, keyword_behind_with_tells_how_the_message_came, 0, 6);
    tcase_add_test(tc, several_recipients_are_not_told_of_each_other);
    tcase_add_test(tc, postmaster_and_quoted_recipients_stand_in_the_for_clause);
    tcase_add_test(tc, addresses_of_version_six_are_tagged);
    tcase_add_loop_test(tc, hostile_helo_is_left_out, 0, COUNT(hostile));
    tcase_add_test(tc, hostile_recipient_tls_text_and_address_are_left_out);
    tcase_add_test(tc, every_part_at_its_limit_fits);
    tcase_add_test(tc, headerscan_finds_our_own_mark_in_it);
    tcase_add_test(tc, dates_are_right_on_both_sides_of_every_edge);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
