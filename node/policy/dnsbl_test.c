#include "node/policy/dnsbl.h"

#include <arpa/inet.h>
#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define T0       UINT64_C(1000000)

static const struct dnsbl_list zen = {
    .zone = {"zen.spamhaus.org", 16},
    .range_count = 3,
    .ranges = {{0x7f000002, 0x7f000003, 10},
               {0x7f000004, 0x7f000007, 8},
               {0x7f00000a, 0x7f00000b, 6}},
};

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

static const struct {
    const char *client, *key, *zone, *name;
} names[] = {
    {"127.0.0.2", "", "zen.spamhaus.org", "2.0.0.127.zen.spamhaus.org"},
    {"::ffff:192.0.2.99", "", "bl.example", "99.2.0.192.bl.example"},
    {"192.0.2.99", "s3cr3t", "zen.dq.spamhaus.net", "99.2.0.192.s3cr3t.zen.dq.spamhaus.net"},
    {"2001:db8::1", "", "bl.example",
     "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example"},
    {"192.0.2.99", "", "", NULL},
    {"192.0.2.99", "two.labels", "bl.example", NULL},
    {"192.0.2.99", "k y", "bl.example", NULL},
    {"192.0.2.99", "0123456789012345678901234567890123456789012345678901234567890123",
     "b.example", NULL},
};

START_TEST(the_name_is_the_reversed_address_the_key_and_the_zone)
{
    struct dnsbl_list list = {.zone = str_of(names[_i].zone), .key = str_of(names[_i].key)};
    struct ip_addr client = ip(names[_i].client);
    char buf[DNSBL_NAME_BYTES];
    struct str name;

    ck_assert(dnsbl_name(&list, &client, buf, &name) == (names[_i].name != NULL));
    if (names[_i].name != NULL)
        ck_assert_str_eq(name.p, names[_i].name);
}
END_TEST

START_TEST(a_name_that_is_too_long_for_dns_is_none)
{
    char zone[DNSBL_NAME_BYTES + 10], buf[DNSBL_NAME_BYTES];
    struct ip_addr client = ip("10.10.10.10");
    struct str name;

    memset(zone, 'z', sizeof zone);
    for (size_t n = 1; n < sizeof zone; n++) {
        struct dnsbl_list list = {.zone = {zone, n}};

        ck_assert(dnsbl_name(&list, &client, buf, &name) ==
                  (n + 12 <= LIMIT_SMTP_DOMAIN_BYTES));
        ck_assert(name.n == 0 || name.n == n + 12);
    }
}
END_TEST

static const struct dns_answer *answer(enum dns_status status, const char *ips,
                                       struct dns_answer *a)
{
    struct str rest = str_of(ips);

    *a = (struct dns_answer){.status = status};
    while (rest.n > 0) {
        char z[16];

        ck_assert(str_to_z(str_split(&rest, ' '), z, sizeof z));
        ck_assert_int_eq(inet_pton(AF_INET, z, &a->records[a->count++].addr), 1);
    }
    return a;
}

static const struct {
    enum dns_status dns;
    const char *ips;
    enum dnsbl_status status;
    int32_t weight;
} judged[] = {
    {DNS_NXDOMAIN, "", DNSBL_NOT_LISTED, 0},
    {DNS_NODATA, "", DNSBL_NOT_LISTED, 0},
    {DNS_SERVFAIL, "", DNSBL_UNKNOWN, 0},
    {DNS_SILENCE, "", DNSBL_UNKNOWN, 0},
    {DNS_SERVFAIL, "", DNSBL_UNKNOWN, 0},
    {DNS_OK, "", DNSBL_UNKNOWN, 0},
    {DNS_OK, "127.0.0.2", DNSBL_LISTED, 10},
    {DNS_OK, "127.0.0.3", DNSBL_LISTED, 10},
    {DNS_OK, "127.0.0.4", DNSBL_LISTED, 8},
    {DNS_OK, "127.0.0.7", DNSBL_LISTED, 8},
    {DNS_OK, "127.0.0.11", DNSBL_LISTED, 6},
    {DNS_OK, "127.0.0.10 127.0.0.4", DNSBL_LISTED, 8}, /* the heaviest, not the sum */
    {DNS_OK, "127.0.0.99 127.0.0.10", DNSBL_LISTED, 6},
    {DNS_OK, "127.0.0.1", DNSBL_NOT_LISTED, 0},
    {DNS_OK, "127.0.0.8", DNSBL_NOT_LISTED, 0},
    {DNS_OK, "127.0.0.12", DNSBL_NOT_LISTED, 0},
    {DNS_OK, "127.1.0.2", DNSBL_NOT_LISTED, 0},
    {DNS_OK, "127.255.255.252", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "127.255.255.254", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "127.255.255.255", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "127.0.0.2 127.255.255.254", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "192.0.2.80", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "127.0.0.2 192.0.2.80", DNSBL_UNAVAILABLE, 0},
    {DNS_OK, "128.0.0.2", DNSBL_UNAVAILABLE, 0},
};

START_TEST(S31_only_the_answers_that_are_named_list_anybody)
{
    struct dns_answer a;
    struct dnsbl_result r = dnsbl_judge(&zen, answer(judged[_i].dns, judged[_i].ips, &a));

    ck_assert_msg(r.status == judged[_i].status && r.weight == judged[_i].weight, "%d: %s %d",
                  _i, dnsbl_status_text(r.status), (int)r.weight);
    ck_assert(r.status != DNSBL_LISTED || r.answer >> 24 == 127);
}
END_TEST

START_TEST(an_allow_list_weighs_the_other_way)
{
    struct dnsbl_list list = {
        .zone = STR("wl.example"),
        .range_count = 2,
        .ranges = {{0x7f000001, 0x7f0000ff, -1}, {0x7f000003, 0x7f000003, -5}}};
    struct dns_answer a;

    ck_assert_int_eq(dnsbl_judge(&list, answer(DNS_OK, "127.0.0.2 127.0.0.3", &a)).weight, -5);
    a.count = 1;
    ck_assert_int_eq(dnsbl_judge(&list, &a).weight, -1);
}
END_TEST

/* --- the watch --- */

static bool tell(struct dnsbl_watch *w, const struct dnsbl_questions *q, int which,
                 enum dns_status status, const char *ips)
{
    struct dns_answer a;

    return dnsbl_watch_answer(w, q->questions[which].tag, answer(status, ips, &a));
}

struct said {
    enum dns_status status;
    const char *ips;
};

#define NONE                                                                                   \
    {                                                                                          \
        DNS_NXDOMAIN, ""                                                                       \
    }
#define LISTED                                                                                 \
    {                                                                                          \
        DNS_OK, "127.0.0.2 127.0.0.10"                                                         \
    }
#define FAILED                                                                                 \
    {                                                                                          \
        DNS_SERVFAIL, ""                                                                       \
    }
#define REFUSED                                                                                \
    {                                                                                          \
        DNS_OK, "127.255.255.254"                                                              \
    }
#define FOREIGN                                                                                \
    {                                                                                          \
        DNS_OK, "192.0.2.80"                                                                   \
    }

static const struct {
    struct said must, must_not;
    enum dnsbl_state state;
    enum dnsbl_reason reason;
} rounds[] = {
    {LISTED, NONE, DNSBL_ON, DNSBL_FINE},
    {LISTED, {DNS_NODATA, ""}, DNSBL_ON, DNSBL_FINE},
    {NONE, NONE, DNSBL_OFF, DNSBL_LISTS_NOBODY},
    {{DNS_NODATA, ""}, NONE, DNSBL_OFF, DNSBL_LISTS_NOBODY},
    {LISTED, LISTED, DNSBL_OFF, DNSBL_LISTS_ALL},
    {REFUSED, REFUSED, DNSBL_OFF, DNSBL_ERROR_ANSWER},
    {LISTED, REFUSED, DNSBL_OFF, DNSBL_ERROR_ANSWER},
    {FOREIGN, FOREIGN, DNSBL_OFF, DNSBL_FOREIGN_ANSWER},
    {FAILED, FOREIGN, DNSBL_OFF, DNSBL_FOREIGN_ANSWER},
    {NONE, FAILED, DNSBL_OFF, DNSBL_LISTS_NOBODY},
};

START_TEST(S31_a_round_of_test_points_switches_the_list)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q;

    dnsbl_watch_init(&w, &zen, false, T0);
    ck_assert_int_eq(w.state, DNSBL_UNTESTED);
    ck_assert(!dnsbl_watch_tick(&w, T0, &q) && q.count == 2);
    ck_assert_str_eq(q.questions[0].name.p, "2.0.0.127.zen.spamhaus.org");
    ck_assert_str_eq(q.questions[1].name.p, "1.0.0.127.zen.spamhaus.org");
    ck_assert(!tell(&w, &q, 1, rounds[_i].must_not.status, rounds[_i].must_not.ips));
    ck_assert(tell(&w, &q, 0, rounds[_i].must.status, rounds[_i].must.ips));
    ck_assert_msg(w.state == (int)rounds[_i].state && w.reason == rounds[_i].reason, "%d: %s",
                  _i, dnsbl_reason_text(w.reason));
    ck_assert(!tell(&w, &q, 0, DNS_NXDOMAIN, "")); /* once more: passed over */
    ck_assert(!dnsbl_watch_tick(&w, T0 + LIMIT_DNSBL_TEST_MS - 1, &q) && q.count == 0);
    /* and the next round may switch it the other way */
    ck_assert(!dnsbl_watch_tick(&w, T0 + LIMIT_DNSBL_TEST_MS, &q) && q.count == 2);
    ck_assert(!tell(&w, &q, 0, DNS_OK, "127.0.0.2"));
    ck_assert(tell(&w, &q, 1, DNS_NXDOMAIN, "") == (rounds[_i].state != DNSBL_ON));
    ck_assert_int_eq(w.state, DNSBL_ON);
}
END_TEST

START_TEST(S31_silence_switches_off_at_the_second_time)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q, old;

    dnsbl_watch_init(&w, &zen, false, T0);
    ck_assert(!dnsbl_watch_tick(&w, T0, &q));
    ck_assert(!tell(&w, &q, 0, DNS_OK, "127.0.0.2"));
    ck_assert(tell(&w, &q, 1, DNS_NXDOMAIN, ""));
    ck_assert(!dnsbl_watch_tick(&w, T0 + 300000, &q)); /* asks, and hears nothing */
    ck_assert(!dnsbl_watch_tick(&w, T0 + 600000, &q));
    ck_assert_int_eq(w.state, DNSBL_ON);
    old = q;
    ck_assert(dnsbl_watch_tick(&w, T0 + 900000, &q));
    ck_assert(w.state == DNSBL_OFF && w.reason == DNSBL_NO_ANSWER);
    ck_assert(!tell(&w, &old, 0, DNS_OK, "127.0.0.2"));
    ck_assert(!tell(&w, &old, 1, DNS_NXDOMAIN, ""));
    ck_assert_int_eq(w.state, DNSBL_OFF);
    ck_assert(!tell(&w, &q, 0, DNS_OK, "127.0.0.2"));
    ck_assert(tell(&w, &q, 1, DNS_NXDOMAIN, ""));
    ck_assert_int_eq(w.state, DNSBL_ON);
    /* one silent round between two good ones is nothing */
    ck_assert(!dnsbl_watch_tick(&w, T0 + 1200000, &q));
    ck_assert(!tell(&w, &q, 0, DNS_SILENCE, "") && !tell(&w, &q, 1, DNS_SILENCE, ""));
    ck_assert_int_eq(w.state, DNSBL_ON);
}
END_TEST

START_TEST(S31_an_error_in_a_clients_lookup_switches_off_at_once)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q;

    dnsbl_watch_init(&w, &zen, false, T0);
    ck_assert(!dnsbl_watch_unavailable(&w, 0x7ffffffe)); /* not in use: nothing to say */
    ck_assert(!dnsbl_watch_tick(&w, T0, &q));
    ck_assert(!tell(&w, &q, 0, DNS_OK, "127.0.0.2"));
    ck_assert(tell(&w, &q, 1, DNS_NXDOMAIN, ""));
    ck_assert(!dnsbl_watch_unavailable(&w, 0x7f000002));
    ck_assert(dnsbl_watch_unavailable(&w, 0x7ffffffe));
    ck_assert(w.state == DNSBL_OFF && w.reason == DNSBL_ERROR_ANSWER);
    ck_assert_str_eq(dnsbl_state_text((enum dnsbl_state)w.state), "off");
    ck_assert(!dnsbl_watch_unavailable(&w, 0xc0000250));
}
END_TEST

START_TEST(of_ipv6_the_mapped_points_are_asked)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q;

    dnsbl_watch_init(&w, &zen, true, T0);
    ck_assert(!dnsbl_watch_tick(&w, T0, &q));
    ck_assert_str_eq(q.questions[0].name.p,
                     "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
                     "zen.spamhaus.org");
    ck_assert_int_eq(q.questions[1].name.p[0], '1');
}
END_TEST

START_TEST(a_round_that_is_wanted_soon_takes_the_place_of_the_one_under_way)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q, old;

    dnsbl_watch_init(&w, &zen, false, T0);
    ck_assert(!dnsbl_watch_tick(&w, T0, &old) && old.count == 2);
    for (uint64_t i = 1; i < 5; i++) { /* nor do reloads one after the other make a silence */
        dnsbl_watch_soon(&w, T0 + i);
        ck_assert(!dnsbl_watch_tick(&w, T0 + i, &q) && q.count == 2);
    }
    ck_assert(!tell(&w, &old, 0, DNS_NXDOMAIN, "") && !tell(&w, &old, 1, DNS_OK, "127.0.0.2"));
    ck_assert(!tell(&w, &q, 0, DNS_OK, "127.0.0.2") && tell(&w, &q, 1, DNS_NXDOMAIN, ""));
    ck_assert_int_eq(w.state, DNSBL_ON);
}
END_TEST

START_TEST(a_list_without_a_name_is_never_asked)
{
    struct dnsbl_watch w;
    struct dnsbl_questions q;
    struct dnsbl_list list = {.zone = STR_NONE};

    dnsbl_watch_init(&w, &list, false, T0);
    ck_assert(w.state == DNSBL_OFF && w.reason == DNSBL_NO_NAME);
    ck_assert(!dnsbl_watch_tick(&w, T0 + 1, &q) && q.count == 0);
    ck_assert_uint_eq(w.next_ms, UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dnsbl");
    TCase *tc = tcase_create("dnsbl");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, the_name_is_the_reversed_address_the_key_and_the_zone, 0,
                        COUNT(names));
    tcase_add_test(tc, a_name_that_is_too_long_for_dns_is_none);
    tcase_add_loop_test(tc, S31_only_the_answers_that_are_named_list_anybody, 0, COUNT(judged));
    tcase_add_test(tc, an_allow_list_weighs_the_other_way);
    tcase_add_loop_test(tc, S31_a_round_of_test_points_switches_the_list, 0, COUNT(rounds));
    tcase_add_test(tc, S31_silence_switches_off_at_the_second_time);
    tcase_add_test(tc, S31_an_error_in_a_clients_lookup_switches_off_at_once);
    tcase_add_test(tc, of_ipv6_the_mapped_points_are_asked);
    tcase_add_test(tc, a_round_that_is_wanted_soon_takes_the_place_of_the_one_under_way);
    tcase_add_test(tc, a_list_without_a_name_is_never_asked);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
