/* Answers of DNS servers, byte by byte: what is found, what is refused, what means nothing. */
#include "node/net/dns.h"

#include <arpa/nameser.h>
#include <check.h>
#include <stdio.h>

static unsigned char msg[512];
static int msg_n;
static struct dns_answer answer;

static void put16(unsigned v)
{
    msg[msg_n++] = (unsigned char)(v >> 8);
    msg[msg_n++] = (unsigned char)v;
}

static void put_name(const char *name)
{
    while (*name != 0) {
        size_t n = strcspn(name, ".");

        msg[msg_n++] = (unsigned char)n;
        memcpy(msg + msg_n, name, n);
        msg_n += (int)n;
        name += n + (name[n] == '.');
    }
    msg[msg_n++] = 0;
}

/* A header and the question "example.test"; the answers follow. */
static void begin(unsigned type, unsigned answers)
{
    msg_n = 0;
    put16(7);
    put16(0x8180);
    put16(1);
    put16(answers);
    put16(0);
    put16(0);
    put_name("example.test");
    put16(type);
    put16(1);
}

static void record(unsigned type, unsigned ttl, unsigned bytes)
{
    put16(0xC00C); /* the name of the question */
    put16(type);
    put16(1);
    put16(0);
    put16(ttl);
    put16(bytes);
}

START_TEST(an_mx_answer_gives_hosts_in_lower_case_and_the_least_ttl)
{
    begin(15, 2);
    record(15, 300, 2 + 17);
    put16(10);
    put_name("MX1.Example.Net");
    record(15, 60, 2 + 1);
    put16(20);
    put_name("");
    dns_parse(msg, msg_n, DNS_MX, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.count, 2);
    ck_assert_uint_eq(answer.records[0].preference, 10);
    ck_assert_str_eq(answer.records[0].host, "mx1.example.net");
    ck_assert_str_eq(answer.records[1].host, ""); /* null MX */
    ck_assert_uint_eq(answer.ttl_s, 60);
}
END_TEST

START_TEST(records_of_another_type_or_a_wrong_length_are_passed_over)
{
    begin(1, 2);
    record(5, 300, 2); /* CNAME on the way */
    put16(0xC00C);
    record(1, 300, 3); /* an address of three bytes */
    memcpy(msg + msg_n, "\1\2\3", 3);
    msg_n += 3;
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_NODATA);
    ck_assert_uint_eq(answer.count, 0);
}
END_TEST

/* Without an answer, and an SOA in the authority section. */
static void denial(unsigned rcode, unsigned ttl, uint32_t minimum)
{
    begin(1, 0);
    msg[3] = (unsigned char)(0x80 | rcode);
    msg[9] = 1;
    record(6, ttl, 2 + 2 + 20);
    put16(0xC00C);
    put16(0xC00C);
    for (int i = 0; i < 8; i++)
        put16(9);
    put16(minimum >> 16);
    put16(minimum & 0xffff);
}

START_TEST(that_there_is_nothing_counts_as_long_as_the_soa_says)
{
    denial(3, 300, 60);
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_NXDOMAIN);
    ck_assert_uint_eq(answer.ttl_s, 60);
    denial(0, 30, 0x10000);
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_NODATA);
    ck_assert_uint_eq(answer.ttl_s, 30);
    msg_n -= 4; /* cut in the SOA: nobody says how long */
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_uint_eq(answer.ttl_s, 0);
    begin(1, 0);
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_NODATA);
    ck_assert_uint_eq(answer.ttl_s, 0);
}
END_TEST

START_TEST(an_answer_cut_short_is_a_server_failure_and_never_no_data)
{
    begin(1, 1);
    record(1, 300, 4);
    memcpy(msg + msg_n, "\300\0\2\1", 4);
    msg_n += 4;
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    for (int n = 0; n < msg_n; n++) {
        dns_parse(msg, n, DNS_A, &answer);
        ck_assert_int_eq(answer.status, DNS_SERVFAIL);
    }
}
END_TEST

START_TEST(what_a_server_could_not_or_would_not_say_is_a_failure)
{
    static const unsigned char rcodes[] = {1, 2, 4, 5, 15}; /* but for 3: no such name */

    for (size_t i = 0; i < sizeof rcodes; i++) {
        denial(rcodes[i], 300, 60);
        dns_parse(msg, msg_n, DNS_A, &answer);
        ck_assert_int_eq(answer.status, DNS_SERVFAIL);
        ck_assert_uint_eq(answer.ttl_s, 0);
    }
}
END_TEST

START_TEST(that_signatures_were_checked_stands_in_the_header)
{
    denial(3, 300, 60);
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert(!answer.is_authentic);
    msg[3] |= 0x20;
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert(answer.is_authentic && answer.status == DNS_NXDOMAIN);
    msg[3] = (unsigned char)((msg[3] & 0xf0) | 2); /* a failure has none */
    dns_parse(msg, msg_n, DNS_A, &answer);
    ck_assert(!answer.is_authentic);
}
END_TEST

START_TEST(more_records_than_the_limit_are_left_out)
{
    static unsigned char big[8192];
    int n;

    begin(1, 100);
    memcpy(big, msg, (size_t)msg_n);
    n = msg_n;
    for (int i = 0; i < 100; i++) {
        msg_n = 0;
        record(1, 300, 4);
        memcpy(big + n, msg, (size_t)msg_n);
        memcpy(big + n + msg_n, "\300\0\2\1", 4);
        n += msg_n + 4;
    }
    dns_parse(big, n, DNS_A, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.count, LIMIT_DNS_RECORDS);
    ck_assert(answer.cut);
}
END_TEST

START_TEST(a_ptr_answer_gives_names_in_lower_case)
{
    begin(12, 2);
    record(12, 300, 17);
    put_name("MX1.Example.Net");
    record(12, 200, 0); /* no name at all */
    dns_parse(msg, msg_n, DNS_PTR, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_str_eq(answer.records[0].host, "mx1.example.net");
    ck_assert(!answer.cut);
}
END_TEST

static void put_bytes(const char *bytes, size_t n)
{
    memcpy(msg + msg_n, bytes, n);
    msg_n += (int)n;
}

START_TEST(strings_of_a_txt_record_are_joined_without_a_space)
{
    begin(16, 4);
    record(16, 300, 13);
    put_bytes("\6v=spf1\5 -all", 13);
    record(16, 300, 0);
    record(16, 300, 1);
    put_bytes("\0", 1);
    record(16, 300, 3);
    put_bytes("\2a\0", 3);
    dns_parse(msg, msg_n, DNS_TXT, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.count, 4);
    ck_assert(str_eq(dns_text(&answer, 0), STR("v=spf1 -all")));
    ck_assert_uint_eq(dns_text(&answer, 1).n, 0);
    ck_assert_uint_eq(dns_text(&answer, 2).n, 0);
    ck_assert(str_eq(dns_text(&answer, 3), STR("a\0")));
}
END_TEST

START_TEST(a_txt_string_that_runs_out_of_its_record_is_passed_over)
{
    begin(16, 2);
    record(16, 300, 4);
    put_bytes("\4abc", 4);
    record(16, 300, 3);
    put_bytes("\2ok", 3);
    dns_parse(msg, msg_n, DNS_TXT, &answer);
    ck_assert_uint_eq(answer.count, 1);
    ck_assert(str_eq(dns_text(&answer, 0), STR("ok")));
}
END_TEST

START_TEST(more_text_than_the_limit_is_left_out_and_said_so)
{
    static unsigned char big[2 * LIMIT_DNS_TEXT_BYTES];
    int n;

    begin(16, 1);
    record(16, 300, 255 * 256 / 2);
    memcpy(big, msg, (size_t)msg_n);
    n = msg_n;
    for (int i = 0; i < 255 / 2; i++, n += 256)
        big[n] = 255;
    big[n] = 127; /* the last string: the length comes out even */
    n += 128;
    dns_parse(big, n, DNS_TXT, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.count, 0);
    ck_assert(answer.cut);
}
END_TEST

static void keep_status(void *arg, const struct dns_answer *a)
{
    *(int *)arg = (int)a->status;
}

START_TEST(a_name_that_cannot_exist_is_answered_without_a_question)
{
    static const char *const names[] = {"", "a..example", "a\\b.example", "\xc3\xa4.example"};
    struct event_base *base = event_base_new();
    struct dns *dns;

    ck_assert_int_eq(dns_open(base, "127.0.0.1:9", &dns), OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int status = -1;

        dns_query(dns, names[i], DNS_TXT, keep_status, &status);
        ck_assert_int_eq(status, -1); /* never within the call */
        event_base_loop(base, EVLOOP_ONCE);
        ck_assert_int_eq(status, DNS_NXDOMAIN);
    }
    dns_close(&dns);
    event_base_free(base);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dns");
    TCase *tc = tcase_create("parse");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, an_mx_answer_gives_hosts_in_lower_case_and_the_least_ttl);
    tcase_add_test(tc, records_of_another_type_or_a_wrong_length_are_passed_over);
    tcase_add_test(tc, that_there_is_nothing_counts_as_long_as_the_soa_says);
    tcase_add_test(tc, an_answer_cut_short_is_a_server_failure_and_never_no_data);
    tcase_add_test(tc, what_a_server_could_not_or_would_not_say_is_a_failure);
    tcase_add_test(tc, that_signatures_were_checked_stands_in_the_header);
    tcase_add_test(tc, more_records_than_the_limit_are_left_out);
    tcase_add_test(tc, a_ptr_answer_gives_names_in_lower_case);
    tcase_add_test(tc, strings_of_a_txt_record_are_joined_without_a_space);
    tcase_add_test(tc, a_txt_string_that_runs_out_of_its_record_is_passed_over);
    tcase_add_test(tc, more_text_than_the_limit_is_left_out_and_said_so);
    tcase_add_test(tc, a_name_that_cannot_exist_is_answered_without_a_question);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
