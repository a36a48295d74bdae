/* What the public suite (spf_suite_test.c) leaves out: kinds of DNS trouble, limits, hostile
 * input, what the verdict says besides its result. */
#include <stdio.h>

#include "node/policy/spf_world.h"

static struct world world;
static struct spf_check check;
static const struct spf_verdict *verdict;

static void setup(void)
{
    world_reset(&world);
    check = (struct spf_check){.client = client_of("192.0.2.1"),
                               .helo = STR("helo.example"),
                               .sender = STR("a@d.example"),
                               .receiver = STR("mx.example"),
                               .wall_s = 1795484816};
}

static void teardown(void)
{
    arena_reset(&world.arena);
}

/* row: "NAME TYPE DATA"; the text of a TXT record is all that follows */
static void zone(const char *row)
{
    struct str rest = str_of(row), name = str_split(&rest, ' ');

    if (str_starts_nocase(rest, STR("TXT ")))
        world.rows[world.count++] = (struct zone_row){
            .name = name, .type = STR("TXT"), .data = {str_from(rest, 4)}, .n = 1};
    else
        world_add(&world, name, rest, ' ');
}

static void expect(enum spf_result r, enum spf_problem p)
{
    verdict = world_check(&world, &check);
    ck_assert_msg(verdict->result == r && verdict->problem == p, "%s (%s), not %s (%s)",
                  spf_result_text(verdict->result), spf_problem_text(verdict->problem),
                  spf_result_text(r), spf_problem_text(p));
}

static void expect_str(struct str got, const char *want)
{
    ck_assert_msg(str_eq(got, str_of(want)), "got '" STR_FMT "', not '%s'", STR_ARG(got), want);
}

/* --- identity --- */

START_TEST(the_null_sender_is_judged_by_helo)
{
    check.sender = STR_NONE;
    zone("helo.example TXT v=spf1 a:%{l}.%{o} -all");
    zone("postmaster.helo.example A 192.0.2.1");
    expect(SPF_PASS, SPF_FINE);
    ck_assert_int_eq(verdict->identity, SPF_HELO);
    expect_str(verdict->domain, "helo.example");
    expect_str(verdict->mechanism, "a:%{l}.%{o}");
    check.sender = STR("a@d.example");
    expect(SPF_NONE, SPF_NO_RECORD);
    ck_assert_int_eq(verdict->identity, SPF_MAILFROM);
    expect_str(verdict->domain, "d.example");
}
END_TEST

START_TEST(what_is_no_domain_asks_no_question)
{
    static char label[64], path[LIMIT_SMTP_PATH_BYTES + 20];
    const struct str senders[] = {STR("a@"),
                                  STR("a@localhost"),
                                  STR("a@[192.0.2.1]"),
                                  STR("a@d..example"),
                                  STR("a@.example"),
                                  STR("a@d.example.."),
                                  STR("a@b\xc3\xa4r.example"),
                                  STR("a@d\\.example"),
                                  STR("a@d\0e.example"),
                                  {path, sizeof path}};

    memset(label, 'a', sizeof label);
    memset(path, 'a', sizeof path);
    memcpy(path + sizeof path - 10, "@d.example", 10);
    for (size_t i = 0; i < sizeof senders / sizeof senders[0]; i++) {
        check.sender = senders[i];
        expect(SPF_NONE, SPF_NO_DOMAIN);
        ck_assert_uint_eq(verdict->questions, 0);
    }
    check.sender = STR_NONE;
    check.helo = (struct str){path, LIMIT_SMTP_HELO_BYTES + 1};
    expect(SPF_NONE, SPF_NO_DOMAIN);
}
END_TEST

START_TEST(a_final_dot_and_a_sender_without_local_part_change_nothing)
{
    zone("d.example TXT v=spf1 exists:%{l}.%{d} -all");
    zone("postmaster.d.example A 127.0.0.2");
    check.sender = STR("@d.example.");
    expect(SPF_PASS, SPF_FINE);
    check.sender = STR("d.example");
    expect(SPF_PASS, SPF_FINE);
}
END_TEST

/* RFC 8616 4: what it is expanded into never matches, and is no error. */
START_TEST(a_local_part_in_another_script_matches_no_macro)
{
    zone("d.example TXT v=spf1 include:%{l}.x.example exists:%{l}.%{d} exists:%{s}.%{d} ?all");
    check.sender = STR("jos\xc3\xa9@d.example");
    expect(SPF_NEUTRAL, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 1);
    zone("e.example TXT v=spf1 redirect=%{l}.x.example");
    check.sender = STR("jos\xc3\xa9@e.example");
    expect(SPF_PERMERROR, SPF_BAD_TARGET);
}
END_TEST

START_TEST(a_quoted_at_sign_is_part_of_the_local_part)
{
    zone("d.example TXT v=spf1 exists:%{L}.x.example -all");
    zone("%22b%40c.example%22.x.example A 127.0.0.2");
    check.sender = STR("\"b@c.example\"@d.example");
    expect(SPF_PASS, SPF_FINE);
}
END_TEST

/* --- DNS trouble --- */

static const struct {
    const char *record, *trouble;
    enum spf_result with_trouble;
} troubles[] = {
    {"d.example TXT v=spf1 a:x.example -all", "x.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 mx:x.example -all", "x.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 mx:y.example -all", "x.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 exists:x.example -all", "x.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 include:x.example -all", "x.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 redirect=x.example", "x.example TIMEOUT", SPF_TEMPERROR},
    {"e.example TXT v=spf1 -all", "d.example TIMEOUT", SPF_TEMPERROR},
    {"d.example TXT v=spf1 ptr -all", "1.2.0.192.in-addr.arpa TIMEOUT", SPF_FAIL},
    {"d.example TXT v=spf1 -all exp=x.example", "x.example TIMEOUT", SPF_FAIL},
};

START_TEST(silence_and_servfail_are_temperror_and_never_fail)
{
    enum spf_result r = troubles[_i].with_trouble;
    bool is_error = r == SPF_TEMPERROR;

    zone(troubles[_i].record);
    zone(troubles[_i].trouble);
    zone("y.example MX 10 x.example");
    world.timeout = DNS_SILENCE;
    expect(r, is_error ? SPF_DNS_SILENT : SPF_FINE);
    expect_str(verdict->mechanism, is_error ? "" : "-all");
    world.timeout = DNS_SERVFAIL;
    expect(r, is_error ? SPF_DNS_FAILED : SPF_FINE);
}
END_TEST

START_TEST(a_match_before_the_trouble_counts)
{
    zone("d.example TXT v=spf1 ip4:192.0.2.0/24 a:x.example -all");
    zone("x.example TIMEOUT");
    expect(SPF_PASS, SPF_FINE);
    expect_str(verdict->mechanism, "ip4:192.0.2.0/24");
    ck_assert_uint_eq(verdict->questions, 1);
}
END_TEST

START_TEST(nxdomain_and_nodata_are_no_match)
{
    zone("d.example TXT v=spf1 a:nothing.example a:d.example -all");
    expect(SPF_FAIL, SPF_FINE);
    ck_assert_uint_eq(verdict->void_terms, 2);
    ck_assert_uint_eq(verdict->terms, 2);
    ck_assert_uint_eq(verdict->questions, 3);
}
END_TEST

START_TEST(an_answer_that_was_cut_fails_nobody)
{
    static char rows[LIMIT_DNS_RECORDS + 1][40];

    zone("d.example TXT v=spf1 a:x.example -all");
    for (size_t i = 0; i <= LIMIT_DNS_RECORDS; i++) {
        snprintf(rows[i], sizeof rows[i], "x.example A 198.51.100.%zu", i);
        zone(rows[i]);
    }
    expect(SPF_PERMERROR, SPF_MANY_ADDRS);
    check.client = client_of("198.51.100.63");
    expect(SPF_PASS, SPF_FINE);
    world.rows[0].data[0] = STR("v=spf1 mx -all");
    zone("d.example MX 10 x.example");
    expect(SPF_PASS, SPF_FINE);
    check.client = client_of("198.51.100.64");
    expect(SPF_PERMERROR, SPF_MANY_ADDRS);
}
END_TEST

START_TEST(a_stop_ends_in_temperror_but_keeps_a_fail_that_lacks_only_its_text)
{
    zone("d.example TXT v=spf1 -all exp=x.example");
    ck_assert(world_begin(&world, &check, LIMIT_SPF_MEMORY_BYTES));
    spf_stop(&world.spf);
    ck_assert_int_eq(world.spf.verdict.result, SPF_TEMPERROR);
    ck_assert_int_eq(world.spf.verdict.problem, SPF_TIME);

    ck_assert(world_begin(&world, &check, LIMIT_SPF_MEMORY_BYTES));
    ck_assert(spf_next(&world.spf, world_ask(&world, &world.spf.ask)));
    ck_assert_str_eq(world.spf.ask.name, "x.example");
    spf_stop(&world.spf);
    spf_stop(&world.spf);
    ck_assert_int_eq(world.spf.verdict.result, SPF_FAIL);
    expect_str(world.spf.verdict.mechanism, "-all");
}
END_TEST

/* --- limits and hostile records --- */

START_TEST(records_that_go_round_in_circles_end_at_the_limit_of_terms)
{
    static const char *const records[] = {
        "v=spf1 include:d.example -all",
        "v=spf1 redirect=d.example",
        "v=spf1 include:%{d} ?all",
        "v=spf1 redirect=%{d1r}.%{d2}",
        "v=spf1 include:d.example include:d.example redirect=d.example",
    };

    zone("d.example TXT v=spf1");
    zone("d.d.example TXT v=spf1 redirect=d.example");
    zone("example.d.example TXT v=spf1 redirect=d.example");
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        world.rows[0].data[0] = str_of(records[i]);
        expect(SPF_PERMERROR, SPF_MANY_TERMS);
        ck_assert_uint_le(verdict->questions, LIMIT_SPF_TERMS + 1);
    }
}
END_TEST

START_TEST(memory_is_enough_for_the_longest_records_in_each_other)
{
    static char records[LIMIT_SPF_TERMS + 2][LIMIT_SPF_RECORD_BYTES + 6];
    static char names[LIMIT_SPF_TERMS + 2][20];

    for (size_t i = 0; i < LIMIT_SPF_TERMS + 2; i++) {
        int n;

        memset(records[i], ' ', sizeof records[i]);
        snprintf(names[i], sizeof names[i], "d%zu.example", i);
        n = snprintf(records[i], sizeof records[i], "v=spf1 include:d%zu.example", i + 1);
        records[i][n] = ' ';
        world.rows[world.count++] =
            (struct zone_row){.name = str_of(names[i]),
                              .type = STR("TXT"),
                              .data = {{records[i], LIMIT_SPF_RECORD_BYTES + 6}},
                              .n = 1};
    }
    check.sender = STR("a@d0.example");
    expect(SPF_PERMERROR, SPF_MANY_TERMS);
    ck_assert_uint_eq(verdict->questions, LIMIT_SPF_TERMS + 1);
    ck_assert_uint_gt(world.arena.used, LIMIT_SPF_TERMS * LIMIT_SPF_RECORD_BYTES);
    /* with half of the room the check ends without a judgement */
    for (bool more = world_begin(&world, &check, LIMIT_SPF_MEMORY_BYTES / 2); more;
         more = spf_next(&world.spf, world_ask(&world, &world.spf.ask)))
        ;
    ck_assert_int_eq(world.spf.verdict.result, SPF_TEMPERROR);
    ck_assert_int_eq(world.spf.verdict.problem, SPF_NO_MEMORY);
}
END_TEST

START_TEST(without_any_memory_the_check_is_a_temperror)
{
    const struct spf_verdict *v = &world.spf.verdict;
    size_t ceiling = 0;

    do {
        for (bool more = world_begin(&world, &check, ceiling); more;
             more = spf_next(&world.spf, world_ask(&world, &world.spf.ask)))
            ;
        ck_assert(v->problem == SPF_NO_MEMORY ? v->result == SPF_TEMPERROR
                                              : v->problem == SPF_NO_RECORD);
        ceiling += 16;
    } while (v->problem == SPF_NO_MEMORY);
    ck_assert_uint_gt(ceiling, 100);
    ck_assert_uint_lt(ceiling, 1000);
}
END_TEST

START_TEST(a_record_above_its_limit_is_refused)
{
    static char record[LIMIT_SPF_RECORD_BYTES + 16];

    memset(record, ' ', sizeof record);
    memcpy(record, "v=spf1 +all", 11);
    zone("d.example TXT x");
    world.rows[0].data[0] = (struct str){record, 6 + LIMIT_SPF_RECORD_BYTES};
    expect(SPF_PASS, SPF_FINE);
    world.rows[0].data[0].n++;
    expect(SPF_PERMERROR, SPF_LONG_RECORD);
}
END_TEST

START_TEST(more_texts_than_are_looked_at_do_not_hide_that_there_may_be_a_record)
{
    for (size_t i = 0; i < LIMIT_DNS_RECORDS; i++)
        zone("d.example TXT some-site-verification=0123456789");
    zone("d.example TXT v=spf1 +all");
    expect(SPF_PERMERROR, SPF_LONG_RECORD);
    world.rows[0].data[0] = STR("v=spf1 -all");
    expect(SPF_FAIL, SPF_FINE);
}
END_TEST

START_TEST(macro_bombs_are_refused)
{
    static char record[2000];
    size_t n = 0;

    n = (size_t)snprintf(record, sizeof record, "v=spf1 exists:");
    while (n < sizeof record - 100)
        n += (size_t)snprintf(record + n, sizeof record - n, "%%{S}%%{H}");
    snprintf(record + n, sizeof record - n, ".example -all");
    zone("d.example TXT x");
    world.rows[0].data[0] = str_of(record);
    expect(SPF_PERMERROR, SPF_LONG_MACRO);
    ck_assert_uint_eq(verdict->questions, 1);
}
END_TEST

START_TEST(hosts_of_an_mx_are_limited_and_those_of_a_ptr_passed_over)
{
    static char rows[12][60];

    zone("d.example TXT v=spf1 mx -all");
    for (int i = 0; i < 10; i++) {
        snprintf(rows[i], sizeof rows[i], "d.example MX %d x%d.example", i, i);
        zone(rows[i]);
    }
    zone("x9.example A 192.0.2.1");
    expect(SPF_PASS, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 12);
    zone("d.example MX 10 x10.example");
    expect(SPF_PERMERROR, SPF_MANY_NAMES);

    setup();
    zone("d.example TXT v=spf1 ptr:example ptr:x9.example -all");
    for (int i = 0; i < 11; i++) {
        snprintf(rows[i], sizeof rows[i], "1.2.0.192.in-addr.arpa PTR x%d.test", i);
        zone(rows[i]);
    }
    zone("x9.test A 192.0.2.1");
    zone("x10.test A 192.0.2.1");
    world.rows[0].data[0] = STR("v=spf1 ptr:x9.test -all");
    expect(SPF_PASS, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 12);
    ck_assert_uint_eq(verdict->void_terms, 0);
    world.rows[0].data[0] = STR("v=spf1 ptr:x8.test ptr:x10.test -all");
    expect(SPF_FAIL, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 12); /* looked up once */
    ck_assert_uint_eq(verdict->terms, 2);
}
END_TEST

START_TEST(an_mx_without_any_address_is_one_void_term)
{
    check.client = client_of("2001:db8::1");
    zone("d.example TXT v=spf1 mx mx:e.example mx:f.example ?all");
    zone("d.example MX 10 x.example");
    zone("d.example MX 20 y.example");
    zone("d.example MX 30 bad\\name.example");
    zone("e.example MX 0 x.example");
    zone("x.example A 192.0.2.1");
    expect(SPF_PERMERROR, SPF_MANY_VOID);
    zone("y.example AAAA 2001:db8::2");
    expect(SPF_NEUTRAL, SPF_FINE);
    ck_assert_uint_eq(verdict->void_terms, 2);
}
END_TEST

START_TEST(the_worst_record_asks_no_more_than_what_the_header_says)
{
    static char rows[23][60];

    zone("d.example TXT v=spf1 mx mx mx mx mx mx mx mx mx mx -all exp=%{p}.e.example");
    for (int i = 0; i < 10; i++) {
        snprintf(rows[i], sizeof rows[i], "d.example MX %d x.example", i);
        zone(rows[i]);
        snprintf(rows[10 + i], sizeof rows[i], "1.2.0.192.in-addr.arpa PTR y%d.test", i);
        zone(rows[10 + i]);
    }
    zone("x.example A 198.51.100.1");
    zone("unknown.e.example TXT no");
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "no");
    ck_assert_uint_eq(verdict->questions, 123);
}
END_TEST

static const char *const bad_records[] = {
    "v=spf1 a:%{d",
    "v=spf1 a:%{}.example",
    "v=spf1 a:%{d0}",
    "v=spf1 a:%{d00r}",
    "v=spf1 a:%{dx}",
    "v=spf1 a:%{c}.e",
    "v=spf1 a:%{d}.",
    "v=spf1 a:x.example-",
    "v=spf1 -",
    "v=spf1 a/",
    "v=spf1 a//",
    "v=spf1 a/24/",
    "v=spf1 a/-1",
    "v=spf1 ip4:",
    "v=spf1 ip4:1.2.3.04",
    "v=spf1 ip6:1.2.3.4",
    "v=spf1 ip6:::1/0x1",
    "v=spf1 +-all",
    "v=spf1 exp=x.e exp=x.e",
    "v=spf1 redirect=x.e redirect=x.e",
    "v=spf1 foo=%",
    "v=spf1 include",
    "v=spf1 \x7f=x",
    "v=spf1 a=%{",
    "v=spf1 ip4:1.2.3.4.5",
    "v=spf1 ptr/24",
    "v=spf1 a:%{d}/99999999999999999999",
};

START_TEST(errors_of_syntax_are_found_before_anything_is_asked_or_matched)
{
    static char record[200];

    zone("d.example TXT x");
    for (size_t i = 0; i < sizeof bad_records / sizeof bad_records[0]; i++) {
        snprintf(record, sizeof record, "%s all", bad_records[i]);
        world.rows[0].data[0] = str_of(record);
        verdict = world_check(&world, &check);
        ck_assert_msg(verdict->problem == SPF_SYNTAX, "%s: %s", record,
                      spf_problem_text(verdict->problem));
        ck_assert_uint_eq(verdict->questions, 1);
    }
}
END_TEST

static const char *const good_records[] = {
    "a:%{d500}",     "a:%{D2R.-+,/_=}",    "A:d.example/0//0", "a:%{d}/24",
    "ip4:1.2.3.4/0", "ip6:::/0",           "foo=%{c}%{r}%{t}", "foo=",
    "a:%%",          "a:x%_y%-z.Example.", "exists:.co",       "a://x.example",
    "a:d.x-1",       "exp=%{p}.example",
};

START_TEST(odd_records_that_the_grammar_allows_are_taken)
{
    static char record[200];

    zone("d.example TXT x");
    zone("d.example A 192.0.2.1");
    zone("d.example AAAA 2001:db8::1");
    for (size_t i = 0; i < sizeof good_records / sizeof good_records[0]; i++) {
        snprintf(record, sizeof record, "v=spf1   %s  +all ", good_records[i]);
        world.rows[0].data[0] = str_of(record);
        check.client = client_of(i % 2 == 0 ? "192.0.2.1" : "2001:db8::1");
        expect(SPF_PASS, SPF_FINE);
    }
}
END_TEST

START_TEST(include_and_redirect_of_no_name_are_permerror)
{
    zone("d.example TXT v=spf1 include:a..example -all");
    expect(SPF_PERMERROR, SPF_BAD_TARGET);
    world.rows[0].data[0] = STR("v=spf1 redirect=%{h}..example");
    expect(SPF_PERMERROR, SPF_BAD_TARGET);
    world.rows[0].data[0] = STR("v=spf1 a:a..example mx:.%{d} exists:%{l}..example ~all");
    expect(SPF_SOFTFAIL, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 1);
}
END_TEST

/* --- macros and explanations --- */

static const struct {
    const char *text, *expanded;
} macros[] = {
    {"%{s} %{o} %{d} %{d2} %{d1r}", "a.b-c@d.example d.example d.example d.example d"},
    {"%{l} %{lr} %{l1} %{lr-} %{l1r-} %{l2r.-}", "a.b-c b-c.a b-c c.a.b a.b b.a"},
    {"%{L} %{S}", "a.b-c a.b-c%40d.example"},
    {"%{i} %{ir} %{c} %{v}", "192.0.2.1 1.2.0.192 192.0.2.1 in-addr"},
    {"%{h} %{r} %{t} %{p}", "helo.example mx.example 1795484816 unknown"},
    {"100%% a%_b%-c", "100% a b%20c"},
    {"%{i5} %{i1} %{l9r}", "192.0.2.1 1 b-c.a"},
};

START_TEST(macros_expand_as_the_rfc_says)
{
    check.sender = STR("a.b-c@d.example");
    zone("d.example TXT v=spf1 -all exp=x.example");
    zone("x.example TXT x");
    world.rows[1].data[0] = str_of(macros[_i].text);
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, macros[_i].expanded);
}
END_TEST

START_TEST(the_best_of_the_validated_names_is_taken)
{
    zone("d.example TXT v=spf1 -all exp=x.example");
    zone("x.example TXT %{p}");
    zone("1.2.0.192.in-addr.arpa PTR other.test");
    zone("1.2.0.192.in-addr.arpa PTR not\\legal.test");
    zone("1.2.0.192.in-addr.arpa PTR forged.d.example");
    zone("other.test A 192.0.2.1");
    zone("forged.d.example A 192.0.2.2");
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "other.test");
    zone("1.2.0.192.in-addr.arpa PTR mail.d.example");
    zone("mail.d.example A 192.0.2.1");
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "mail.d.example");
    zone("1.2.0.192.in-addr.arpa PTR d.example");
    zone("d.example A 192.0.2.1");
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "d.example");
    world.rows[0].data[0] =
        STR("v=spf1 -exists:%{p}.e.example ?exists:%{p} -all exp=x.example");
    expect(SPF_NEUTRAL, SPF_FINE);
    ck_assert_uint_eq(verdict->terms, 3); /* the first %{p} counts */
}
END_TEST

START_TEST(explanations_that_could_harm_are_not_used)
{
    static char text[LIMIT_SPF_EXPLANATION_BYTES + 2];
    static const struct str bad[] = {
        STR("a\r\nb"),     STR("a\tb"), STR("a\0b"), STR("\x1b[2J"),
        STR("b\xc3\xa4r"), STR("%{x}"), STR("%"),    STR("")};

    zone("d.example TXT v=spf1 -all exp=x.example");
    zone("x.example TXT x");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        world.rows[1].data[0] = bad[i];
        expect(SPF_FAIL, SPF_FINE);
        expect_str(verdict->explanation, "");
    }
    world.rows[1].data[0] = STR("%{l}");
    check.sender = STR("\"a\r\nb\"@d.example"); /* what no parser of ours lets through */
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "");

    memset(text, 'x', sizeof text);
    world.rows[1].data[0] = (struct str){text, LIMIT_SPF_EXPLANATION_BYTES};
    expect(SPF_FAIL, SPF_FINE);
    ck_assert_uint_eq(verdict->explanation.n, LIMIT_SPF_EXPLANATION_BYTES);
    world.rows[1].data[0].n++;
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->explanation, "");
    world.rows[0].data[0] = STR("v=spf1 -all exp=a..example");
    expect(SPF_FAIL, SPF_FINE);
    ck_assert_uint_eq(verdict->questions, 1);
}
END_TEST

START_TEST(an_include_that_passes_is_named_as_the_domain_wrote_it)
{
    zone("d.example TXT v=spf1 a ~include:e.example -all");
    zone("e.example TXT v=spf1 include:f.example -all");
    zone("f.example TXT v=spf1 ip4:192.0.2.1 -all");
    expect(SPF_SOFTFAIL, SPF_FINE);
    expect_str(verdict->mechanism, "~include:e.example");
    world.rows[2].data[0] = STR("v=spf1 -ip4:192.0.2.1");
    expect(SPF_FAIL, SPF_FINE);
    expect_str(verdict->mechanism, "-all");
}
END_TEST

START_TEST(prefixes_are_compared_bit_by_bit)
{
    static const struct {
        const char *record, *client;
        enum spf_result r;
    } cases[] = {
        {"v=spf1 ip4:192.0.2.128/25 -all", "192.0.2.127", SPF_FAIL},
        {"v=spf1 ip4:192.0.2.128/25 -all", "192.0.2.128", SPF_PASS},
        {"v=spf1 ip4:192.0.2.1/31 -all", "192.0.2.0", SPF_PASS},
        {"v=spf1 ip4:192.0.2.1 -all", "192.0.2.0", SPF_FAIL},
        {"v=spf1 ip4:0.0.0.0/0 -all", "203.0.113.9", SPF_PASS},
        {"v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::1", SPF_FAIL},
        {"v=spf1 ip6:2001:db8::/33 -all", "2001:db8:7fff::1", SPF_PASS},
        {"v=spf1 ip6:2001:db8::/33 -all", "2001:db8:8000::1", SPF_FAIL},
        {"v=spf1 ip6:2001:db8::1 -all", "2001:db8::1", SPF_PASS},
        {"v=spf1 ip6:2001:db8::1 -all", "2001:db8::2", SPF_FAIL},
        {"v=spf1 ip6:::ffff:0:0/96 -all", "::ffff:192.0.2.1", SPF_FAIL},
        {"v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", SPF_PASS},
    };

    zone("d.example TXT x");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world.rows[0].data[0] = str_of(cases[i].record);
        check.client = client_of(cases[i].client);
        expect(cases[i].r, SPF_FINE);
    }
}
END_TEST

static const struct {
    const char *rows[3], *client;
    bool is_identity;
} passes[] = {
    {{"d.example TXT v=spf1 ip4:192.0.2.0/24 +all"}, "192.0.2.1", true},
    {{"d.example TXT v=spf1 ip4:192.0.0.0/8 -all"}, "192.0.2.1", true},
    {{"d.example TXT v=spf1 ip6:2000::/8 -all"}, "2001:db8::1", true},
    {{"d.example TXT v=spf1 +all"}, "192.0.2.1", false},
    {{"d.example TXT v=spf1 ip4:198.51.100.1 all"}, "2001:db8::1", false},
    {{"d.example TXT v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"}, "192.0.2.1", false},
    {{"d.example TXT v=spf1 ip4:192.0.0.0/7 -all"}, "192.0.2.1", false},
    {{"d.example TXT v=spf1 ip6:2000::/3 -all"}, "2001:db8::1", false},
    {{"d.example TXT v=spf1 a:x.example/0 -all", "x.example A 192.0.2.1"},
     "198.51.100.1",
     false},
    {{"d.example TXT v=spf1 a:x.example -all", "x.example A 192.0.2.1"}, "192.0.2.1", true},
    {{"d.example TXT v=spf1 mx//0 -all", "d.example MX 10 x.example",
      "x.example AAAA 2001:db8::1"},
     "2001:db9::1",
     false},
    {{"d.example TXT v=spf1 include:x.example -all", "x.example TXT v=spf1 +all"},
     "192.0.2.1",
     false},
    {{"d.example TXT v=spf1 include:x.example -all", "x.example TXT v=spf1 ip4:192.0.2.1 -all"},
     "192.0.2.1",
     true},
    {{"d.example TXT v=spf1 redirect=x.example", "x.example TXT v=spf1 +all"},
     "192.0.2.1",
     false},
    {{"d.example TXT v=spf1 include:x.example -all", "x.example TXT v=spf1 redirect=y.example",
      "y.example TXT v=spf1 ip4:0.0.0.0/0"},
     "192.0.2.1",
     false},
};

START_TEST(a_pass_of_everybody_is_no_identity)
{
    for (int i = 0; i < 3 && passes[_i].rows[i] != NULL; i++)
        zone(passes[_i].rows[i]);
    check.client = client_of(passes[_i].client);
    expect(SPF_PASS, SPF_FINE);
    ck_assert(spf_is_identity(verdict) == passes[_i].is_identity);
    ck_assert(verdict->matches_all != passes[_i].is_identity);
}
END_TEST

START_TEST(only_a_pass_is_an_identity)
{
    zone("d.example TXT v=spf1 -include:x.example +all");
    zone("x.example TXT v=spf1 +all");
    expect(SPF_FAIL, SPF_FINE);
    ck_assert(!spf_is_identity(verdict) && !verdict->matches_all);
    zone("e.example TXT v=spf1 ?all");
    check.sender = STR("a@e.example");
    expect(SPF_NEUTRAL, SPF_FINE);
    ck_assert(!spf_is_identity(verdict) && !verdict->matches_all);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spf");
    TCase *tc = tcase_create("check_host");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_null_sender_is_judged_by_helo);
    tcase_add_test(tc, what_is_no_domain_asks_no_question);
    tcase_add_test(tc, a_final_dot_and_a_sender_without_local_part_change_nothing);
    tcase_add_test(tc, a_local_part_in_another_script_matches_no_macro);
    tcase_add_test(tc, a_quoted_at_sign_is_part_of_the_local_part);
    tcase_add_loop_test(tc, silence_and_servfail_are_temperror_and_never_fail, 0,
                        (int)(sizeof troubles / sizeof troubles[0]));
    tcase_add_test(tc, a_match_before_the_trouble_counts);
    tcase_add_test(tc, nxdomain_and_nodata_are_no_match);
    tcase_add_test(tc, an_answer_that_was_cut_fails_nobody);
    tcase_add_test(tc, a_stop_ends_in_temperror_but_keeps_a_fail_that_lacks_only_its_text);
    tcase_add_test(tc, records_that_go_round_in_circles_end_at_the_limit_of_terms);
    tcase_add_test(tc, memory_is_enough_for_the_longest_records_in_each_other);
    tcase_add_test(tc, without_any_memory_the_check_is_a_temperror);
    tcase_add_test(tc, a_record_above_its_limit_is_refused);
    tcase_add_test(tc, more_texts_than_are_looked_at_do_not_hide_that_there_may_be_a_record);
    tcase_add_test(tc, macro_bombs_are_refused);
    tcase_add_test(tc, hosts_of_an_mx_are_limited_and_those_of_a_ptr_passed_over);
    tcase_add_test(tc, an_mx_without_any_address_is_one_void_term);
    tcase_add_test(tc, the_worst_record_asks_no_more_than_what_the_header_says);
    tcase_add_test(tc, errors_of_syntax_are_found_before_anything_is_asked_or_matched);
    tcase_add_test(tc, odd_records_that_the_grammar_allows_are_taken);
    tcase_add_test(tc, include_and_redirect_of_no_name_are_permerror);
    tcase_add_loop_test(tc, macros_expand_as_the_rfc_says, 0,
                        (int)(sizeof macros / sizeof macros[0]));
    tcase_add_test(tc, the_best_of_the_validated_names_is_taken);
    tcase_add_test(tc, explanations_that_could_harm_are_not_used);
    tcase_add_test(tc, an_include_that_passes_is_named_as_the_domain_wrote_it);
    tcase_add_test(tc, prefixes_are_compared_bit_by_bit);
    tcase_add_loop_test(tc, a_pass_of_everybody_is_no_identity, 0,
                        (int)(sizeof passes / sizeof passes[0]));
    tcase_add_test(tc, only_a_pass_is_an_identity);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
