#include "node/policy/judge.h"

#include <stdio.h>

#include "node/policy/spf_world.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static struct world w;
static struct judge j;
static char reply[JUDGE_REPLY_BYTES];

static const char *const zone[] = {
    "7.2.0.192.in-addr.arpa PTR mail.good.org",
    "mail.good.org A 192.0.2.7",
    "8.2.0.192.in-addr.arpa PTR other.good.org",
    "10.2.0.192.in-addr.arpa TIMEOUT",
    "good.org MX 10 mail.good.org",
    "good.org TXT v=spf1 ip4:192.0.2.7 -all",
    "strict.org A 192.0.2.1",
    "strict.org TXT v=spf1 -all exp=why.strict.org",
    "why.strict.org TXT %{i} may not send for us",
    "dead.org MX 0 .",
    "slow.org TIMEOUT",
    "7.2.0.192.bl.example A 127.0.0.9", /* an answer that is not named */
    "8.2.0.192.bl.example A 127.0.0.2",
    "9.2.0.192.bl.example TIMEOUT",
    "8.2.0.192.k3y.bl2.example A 127.0.0.2",
    "11.2.0.192.bl.example A 127.255.255.254",
    "ours.org MX 10 mail.good.org",
    "ours.org TXT v=spf1 ip4:192.0.2.7 ?ip4:192.0.2.8 -all",
    "ours.net A 192.0.2.7", /* without SPF */
    "slow.net A 192.0.2.7",
};

static const char *const own_names[] = {"mx1.example.net"};
static const struct dnsbl_list lists[] = {
    {.zone = {"bl.example", 10}, .range_count = 1, .ranges = {{0x7f000002, 0x7f000003, 1}}},
    {.zone = {"bl2.example", 11},
     .key = {"k3y", 3},
     .range_count = 1,
     .ranges = {{0x7f000002, 0x7f000002, 2}}},
};
static uint32_t lists_on;
static int32_t threshold;
static const char *helo;

static void setup(void)
{
    lists_on = 3;
    threshold = 1;
    helo = "mail.good.org";
    world_reset(&w);
    for (int i = 0; i < COUNT(zone); i++) {
        struct str rest = str_of(zone[i]), name = str_split(&rest, ' ');
        struct str type = str_split(&rest, ' ');
        static char lines[COUNT(zone)][256];

        if (str_eq(type, STR("TXT"))) { /* blanks belong to the text */
            snprintf(lines[i], sizeof lines[i], "TXT;" STR_FMT, STR_ARG(rest));
            world_add(&w, name, str_of(lines[i]), ';');
            continue;
        }
        world_add(&w, name, (struct str){type.p, (size_t)(rest.p + rest.n - type.p)}, ' ');
    }
}

static void begin(const char *checks, const char *client, const char *sender)
{
    uint8_t modes[DOMAIN_CHECK_KINDS] = {0};
    struct mail_params params;
    struct path path;
    struct judge_facts f = {
        .client = client_of(client),
        .helo = str_of(helo),
        .sender = &path,
        .host = STR("mx1.example.net"),
        .own = {.own_names = own_names, .own_name_count = 1},
        .listing = {
            .lists = lists, .count = COUNT(lists), .on = lists_on, .threshold = threshold}};
    size_t at;

    ck_assert_ptr_null(checks_parse(str_of(checks), modes, &at));
    ck_assert_int_eq(address_parse_mail(str_of(sender), &path, &params), ADDRESS_OK);
    f.sender_is_ours =
        str_starts_nocase(path.domain, STR("ours.")) || str_eq(path.domain, STR("slow.net"));
    arena_reset(&w.arena);
    arena_init(&w.arena, 2 * LIMIT_SPF_MEMORY_BYTES);
    memset(&j, 0xa5, sizeof j); /* it needs nothing to be zero */
    ck_assert(judge_init(&j, modes, &f, &w.arena));
}

/* Asks what is to be asked; returns how many questions there were. */
static unsigned run(void)
{
    struct judge_question ask[JUDGE_QUESTIONS];
    unsigned asked = 0;
    size_t n;

    while (!judge_is_done(&j)) {
        n = judge_questions(&j, ask);
        ck_assert_uint_gt(n, 0);
        asked += (unsigned)n;
        for (size_t i = n; i-- > 0;) { /* the last one first */
            struct spf_question q = {.type = ask[i].q.type};

            ck_assert(str_to_z(ask[i].q.name, q.name, sizeof q.name));
            judge_answer(&j, ask[i].part, ask[i].q.tag, world_ask(&w, &q));
        }
    }
    ck_assert_uint_eq(judge_questions(&j, ask), 0);
    return asked;
}

static const struct {
    const char *checks, *client, *sender, *reply; /* "": taken */
    enum domain_check_kind against;
} cases[] = {
    {"all=refuse", "192.0.2.7", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    {"all=refuse", "192.0.2.7", "<>", "", DOMAIN_CHECK_KINDS},
    {"all=off", "192.0.2.9", "<a@dead.org>", "", DOMAIN_CHECK_KINDS},
    /* rdns */
    {"rdns=refuse", "192.0.2.9", "<a@good.org>", "550 5.7.25", DOMAIN_CHECK_RDNS},
    {"rdns=defer", "192.0.2.8", "<a@good.org>", "450 4.7.25", DOMAIN_CHECK_RDNS},
    {"rdns=mark", "192.0.2.8", "<a@good.org>", "", DOMAIN_CHECK_RDNS},
    {"rdns=refuse", "192.0.2.10", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    /* sender */
    {"sender=refuse", "192.0.2.9", "<a@gone.org>", "550 5.1.8", DOMAIN_CHECK_SENDER},
    {"sender=defer", "192.0.2.9", "<a@dead.org>", "450 4.7.27", DOMAIN_CHECK_SENDER},
    {"sender=mark", "192.0.2.9", "<a@dead.org>", "", DOMAIN_CHECK_SENDER},
    {"sender=refuse", "192.0.2.9", "<a@slow.org>", "", DOMAIN_CHECK_KINDS},
    {"sender=refuse", "192.0.2.9", "<a@[192.0.2.1]>", "", DOMAIN_CHECK_KINDS},
    /* spf */
    {"spf=refuse", "192.0.2.9", "<a@good.org>", "550 5.7.23 SPF fail for good.org",
     DOMAIN_CHECK_SPF},
    {"spf=defer", "192.0.2.9", "<a@strict.org>",
     "450 4.7.23 SPF fail, its owner says: 192.0.2.9 may not send for us", DOMAIN_CHECK_SPF},
    {"spf=mark", "192.0.2.9", "<a@good.org>", "", DOMAIN_CHECK_SPF},
    {"spf=refuse", "192.0.2.9", "<a@slow.org>", "", DOMAIN_CHECK_KINDS},
    {"spf=refuse", "192.0.2.9", "<a@none.org>", "", DOMAIN_CHECK_KINDS},
    /* dnsbl */
    {"dnsbl=refuse", "192.0.2.7", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    {"dnsbl=refuse", "192.0.2.8", "<a@good.org>",
     "550 5.7.1 192.0.2.8 is listed by bl2.example", DOMAIN_CHECK_DNSBL},
    {"dnsbl=defer", "192.0.2.8", "<>", "450 4.7.1 192.0.2.8 is listed by bl2.example",
     DOMAIN_CHECK_DNSBL},
    {"dnsbl=mark", "192.0.2.8", "<a@good.org>", "", DOMAIN_CHECK_DNSBL},
    {"dnsbl=refuse", "192.0.2.9", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    {"dnsbl=refuse", "192.0.2.11", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    {"dnsbl=refuse", "192.0.2.99", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    /* forged */
    {"forged=refuse", "192.0.2.9", "<a@good.org>", "", DOMAIN_CHECK_KINDS},
    {"forged=refuse", "192.0.2.7", "<a@ours.org>", "", DOMAIN_CHECK_KINDS},
    {"forged=refuse", "192.0.2.9", "<a@ours.org>",
     "550 5.7.1 ours.org is served here, and its SPF record does not name 192.0.2.9; its "
     "owner can add it",
     DOMAIN_CHECK_FORGED},
    {"forged=defer", "192.0.2.8", "<a@ours.org>", "450 4.7.1 ours.org", DOMAIN_CHECK_FORGED},
    {"forged=refuse", "192.0.2.7", "<a@ours.net>", "550 5.7.1 ours.net", DOMAIN_CHECK_FORGED},
    {"forged=mark", "192.0.2.9", "<a@ours.org>", "", DOMAIN_CHECK_FORGED},
    {"forged=refuse", "192.0.2.9", "<>", "", DOMAIN_CHECK_KINDS},
    {"forged=refuse,spf=refuse", "192.0.2.9", "<a@ours.org>", "550 5.7.1", DOMAIN_CHECK_FORGED},
    {"forged=mark,spf=refuse", "192.0.2.9", "<a@ours.org>", "550 5.7.23", DOMAIN_CHECK_SPF},
    /* more than one: the first that may refuse, else the first that is marked */
    {"all=refuse", "192.0.2.9", "<a@strict.org>", "550 5.7.25", DOMAIN_CHECK_RDNS},
    {"all=refuse,rdns=off", "192.0.2.8", "<a@ours.org>", "550 5.7.1 192.0.2.8 is listed",
     DOMAIN_CHECK_DNSBL},
    {"rdns=mark,spf=refuse", "192.0.2.9", "<a@good.org>", "550 5.7.23", DOMAIN_CHECK_SPF},
    {"all=mark", "192.0.2.9", "<a@strict.org>", "", DOMAIN_CHECK_RDNS},
};

START_TEST(what_the_domain_wants_is_done)
{
    struct str said;

    begin(cases[_i].checks, cases[_i].client, cases[_i].sender);
    run();
    said = judge_reply(&j, reply);
    ck_assert_msg(str_starts_nocase(said, str_of(cases[_i].reply)) &&
                      (said.n > 0) == (cases[_i].reply[0] != 0),
                  "%.*s", (int)said.n, said.p);
    ck_assert_int_eq(judge_against(&j), cases[_i].against);
}
END_TEST

START_TEST(what_a_client_calls_itself_is_judged_after_the_lists)
{
    helo = "mx1.example.net";
    begin("all=off,helo=refuse", "192.0.2.8", "<a@good.org>");
    ck_assert_uint_eq(run(), 0);
    ck_assert_str_eq(judge_reply(&j, reply).p,
                     "550 5.7.1 The name in your HELO is ours, not yours");
    ck_assert_str_eq(judge_word(&j, DOMAIN_CHECK_HELO), "our-name");
    begin("helo=refuse,dnsbl=refuse,sender=refuse", "192.0.2.8", "<a@dead.org>");
    run();
    ck_assert_int_eq(judge_against(&j), DOMAIN_CHECK_DNSBL);
    begin("helo=refuse,sender=refuse", "192.0.2.8", "<a@dead.org>");
    run();
    ck_assert_int_eq(judge_against(&j), DOMAIN_CHECK_HELO);
    helo = "localhost";
    begin("helo=refuse", "192.0.2.8", "<a@good.org>");
    ck_assert_uint_eq(judge_reply(&j, reply).n, 0);
    ck_assert_str_eq(judge_word(&j, DOMAIN_CHECK_HELO), "unqualified");
}
END_TEST

START_TEST(lists_that_are_off_are_not_asked_and_weights_must_reach_the_threshold)
{
    lists_on = 1;
    begin("dnsbl=refuse", "192.0.2.8", "<a@good.org>");
    ck_assert_uint_eq(run(), 1);
    ck_assert_str_eq(judge_reply(&j, reply).p, "550 5.7.1 192.0.2.8 is listed by bl.example");
    lists_on = 3;
    threshold = 4;
    begin("dnsbl=refuse", "192.0.2.8", "<a@good.org>");
    ck_assert_uint_eq(run(), 2);
    ck_assert_uint_eq(judge_reply(&j, reply).n, 0);
    ck_assert_str_eq(judge_word(&j, DOMAIN_CHECK_DNSBL), "below-threshold");
}
END_TEST

/* What an operator reads must say why, and must not have a list's key in it. */
START_TEST(details_say_why_and_keep_the_key)
{
    char buf[JUDGE_DETAIL_BYTES];

    lists_on = 2;
    begin("all=refuse", "192.0.2.8", "<a@ours.org>");
    run();
    ck_assert_str_eq(judge_detail(&j, DOMAIN_CHECK_DNSBL, buf).p,
                     "bl.example off, bl2.example 127.0.0.2 listed +2");
    ck_assert_str_eq(judge_detail(&j, DOMAIN_CHECK_SPF, buf).p,
                     "mailfrom=ours.org, ?ip4:192.0.2.8");
    ck_assert_str_eq(judge_detail(&j, DOMAIN_CHECK_FORGED, buf).p, "spf=neutral");
    ck_assert(str_eq(judge_detail(&j, DOMAIN_CHECK_RDNS, buf), STR("other.good.org")));
    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        struct str said = judge_detail(&j, judge_kind(i), buf);

        for (size_t k = 0; k + 3 <= said.n; k++)
            ck_assert(memcmp(said.p + k, "k3y", 3) != 0);
    }
    begin("all=refuse", "192.0.2.7", "<a@slow.net>");
    judge_give_up(&j);
    ck_assert_str_eq(judge_word(&j, DOMAIN_CHECK_FORGED), "unknown");
    ck_assert_uint_eq(judge_reply(&j, reply).n, 0);
    begin("all=off", "192.0.2.7", "<a@ours.org>");
    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        ck_assert_str_eq(judge_word(&j, judge_kind(i)), "off");
        ck_assert_uint_eq(judge_detail(&j, judge_kind(i), buf).n, 0);
    }
}
END_TEST

START_TEST(nothing_is_asked_that_nobody_wants_to_know)
{
    uint8_t modes[DOMAIN_CHECK_KINDS] = {0};

    ck_assert(!judge_is_needed(modes));
    modes[DOMAIN_CHECK_HEADERS] = CHECK_REFUSE;
    ck_assert(!judge_is_needed(modes));
    modes[DOMAIN_CHECK_SPF] = CHECK_MARK;
    ck_assert(judge_is_needed(modes));
    begin("headers=refuse", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 0);
    begin("rdns=mark", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 2);
    begin("sender=mark", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 1);
    begin("spf=mark", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 1);
    begin("dnsbl=mark", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 2);
    begin("forged=mark", "192.0.2.7", "<a@good.org>");
    ck_assert_uint_eq(run(), 0);
    begin("forged=mark", "192.0.2.7", "<a@ours.org>");
    ck_assert_uint_eq(run(), 1);
    ck_assert(j.has_spf);
}
END_TEST

/* Time is up with nothing heard, and with half of it heard. */
START_TEST(what_was_not_heard_in_time_is_not_held_against_anybody)
{
    struct judge_question ask[JUDGE_QUESTIONS];
    struct dns_answer late = {.status = DNS_NXDOMAIN};
    size_t n;

    begin("all=refuse", "192.0.2.9", "<a@strict.org>");
    judge_give_up(&j);
    ck_assert(judge_is_done(&j));
    ck_assert_uint_eq(judge_reply(&j, reply).n, 0);
    begin("all=refuse", "192.0.2.9", "<a@strict.org>");
    n = judge_questions(&j, ask);
    ck_assert_uint_eq(n, 5);
    judge_give_up(&j);
    for (size_t i = 0; i < n; i++)
        judge_answer(&j, ask[i].part, ask[i].q.tag, &late);
    ck_assert(judge_is_done(&j));
    ck_assert_uint_eq(judge_reply(&j, reply).n, 0);
    ck_assert_int_eq(j.spf.verdict.result, SPF_TEMPERROR);
}
END_TEST

START_TEST(without_memory_it_says_so)
{
    uint8_t modes[DOMAIN_CHECK_KINDS] = {[DOMAIN_CHECK_SPF] = CHECK_REFUSE};
    struct path path = {.whole = STR("a@good.org")};
    struct judge_facts f = {.client = client_of("192.0.2.7"),
                            .helo = STR("x"),
                            .sender = &path,
                            .host = STR("y"),
                            .listing = {.threshold = 1}};
    struct arena a;

    arena_init(&a, 1);
    ck_assert(!judge_init(&j, modes, &f, &a));
    arena_reset(&a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("judge");
    TCase *tc = tcase_create("judge");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, what_the_domain_wants_is_done, 0, COUNT(cases));
    tcase_add_test(tc, what_a_client_calls_itself_is_judged_after_the_lists);
    tcase_add_test(tc, lists_that_are_off_are_not_asked_and_weights_must_reach_the_threshold);
    tcase_add_test(tc, details_say_why_and_keep_the_key);
    tcase_add_test(tc, nothing_is_asked_that_nobody_wants_to_know);
    tcase_add_test(tc, what_was_not_heard_in_time_is_not_held_against_anybody);
    tcase_add_test(tc, without_memory_it_says_so);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
