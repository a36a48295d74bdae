#include "node/policy/auth_results.h"

#include <check.h>
#include <stdio.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static char buf[AUTH_RESULTS_SIZE + 1];
static struct spf_check check;
static struct spf_verdict verdict;

static void setup(void)
{
    check = (struct spf_check){.helo = STR("mail.b.example"),
                               .sender = STR("a@b.example"),
                               .receiver = STR("mx1.example"),
                               .client.b = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1}};
    verdict = (struct spf_verdict){
        .result = SPF_PASS, .domain = STR("b.example"), .mechanism = STR("ip4:192.0.2.0/24")};
}

static const char *spf_field(void)
{
    struct str s = received_spf_format(&check, &verdict, buf);

    ck_assert(s.p == buf && s.n < RECEIVED_SPF_SIZE);
    buf[s.n] = 0;
    return buf;
}

static const char *ar_field(void)
{
    struct auth_result r = auth_result_of_spf(&check, &verdict);
    struct str s = auth_results_format(STR("mx1.example"), &r, 1, buf);

    ck_assert(s.p == buf && s.n < AUTH_RESULTS_SIZE);
    buf[s.n] = 0;
    return buf;
}

START_TEST(received_spf_reads_as_rfc_7208_draws_it)
{
    ck_assert_str_eq(
        spf_field(),
        "Received-SPF: pass receiver=mx1.example; client-ip=192.0.2.1;\r\n"
        "\tenvelope-from=\"a@b.example\"; helo=mail.b.example; identity=mailfrom;\r\n"
        "\tmechanism=\"ip4:192.0.2.0/24\"\r\n");
}
END_TEST

START_TEST(authentication_results_read_as_rfc_8601_draws_them)
{
    ck_assert_str_eq(
        ar_field(),
        "Authentication-Results: mx1.example; spf=pass smtp.mailfrom=a@b.example\r\n");
    verdict.identity = SPF_HELO;
    verdict.result = SPF_PERMERROR;
    verdict.problem = SPF_MANY_VOID;
    ck_assert_str_eq(ar_field(), "Authentication-Results: mx1.example; spf=permerror\r\n"
                                 "\treason=\"too many void DNS look-ups\" "
                                 "smtp.helo=mail.b.example\r\n");
}
END_TEST

START_TEST(several_results_are_parted_and_none_is_said)
{
    const struct auth_result two[] = {
        {.method = STR("spf"), .result = STR("none")},
        {.method = STR("iprev"),
         .result = STR("pass"),
         .property = STR("policy.iprev"),
         .value = STR("192.0.2.1")},
    };
    struct str s = auth_results_format(STR("mx1.example"), two, 2, buf);

    ck_assert(str_eq(s, STR("Authentication-Results: mx1.example; spf=none; iprev=pass\r\n"
                            "\tpolicy.iprev=192.0.2.1\r\n")));
    s = auth_results_format(STR("mx1.example"), NULL, 0, buf);
    ck_assert(str_eq(s, STR("Authentication-Results: mx1.example; none\r\n")));
}
END_TEST

START_TEST(a_null_sender_is_told_by_its_helo)
{
    check.sender = STR_NONE;
    verdict.identity = SPF_HELO;
    ck_assert_ptr_null(strstr(spf_field(), "envelope-from"));
    ck_assert_ptr_nonnull(strstr(buf, "identity=helo;"));
}
END_TEST

START_TEST(addresses_of_version_six_are_quoted)
{
    check.client = (struct ip_addr){.b = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
    ck_assert_ptr_nonnull(strstr(spf_field(), "client-ip=\"2001:db8::1\";"));
}
END_TEST

static const struct {
    struct str value;
    const char *shown; /* NULL: left out */
} hostile[] = {
    {STR("a\r\nX: y"), NULL},
    {STR("a\nb"), NULL},
    {STR("a\0b"), NULL},
    {STR("\x1b[2J"), NULL},
    {STR("\xc3\xa4"), NULL},
    {STR("a\tb"), NULL},
    {STR("a b"), "\"a b\""},
    {STR("a; spf=pass"), "\"a; spf=pass\""},
    {STR("a\"; spf=pass"), "\"a\\\"; spf=pass\""},
    {STR("a\\"), "\"a\\\\\""},
    {STR("a(b"), "\"a(b\""},
    {STR("a="), "\"a=\""},
    {STR(".a"), "\".a\""},
    {STR("a..b"), "\"a..b\""},
    {STR("a."), "\"a.\""},
};

START_TEST(values_from_outside_are_quoted_or_left_out)
{
    char part[64];
    bool is_shown = hostile[_i].shown != NULL;

    check.helo = check.sender = verdict.mechanism = hostile[_i].value;
    snprintf(part, sizeof part, "; helo=%s;", is_shown ? hostile[_i].shown : "");
    ck_assert_msg((strstr(spf_field(), part) != NULL) == is_shown, "%s", buf);
    ck_assert((strstr(buf, "envelope-from=") != NULL) == is_shown);
    ck_assert((strstr(buf, "mechanism=") != NULL) == is_shown);
    ck_assert_ptr_null(strstr(buf, "\nX"));
    snprintf(part, sizeof part, "smtp.mailfrom=%s\r\n", is_shown ? hostile[_i].shown : "");
    ck_assert_msg((strstr(ar_field(), part) != NULL) == is_shown, "%s", buf);
    ck_assert(is_shown ||
              strcmp(buf, "Authentication-Results: mx1.example; spf=pass\r\n") == 0);
}
END_TEST

START_TEST(addresses_that_are_not_plain_are_quoted_whole)
{
    check.sender = STR("\"x y\"@b.example");
    ck_assert_ptr_nonnull(strstr(ar_field(), "smtp.mailfrom=\"\\\"x y\\\"@b.example\"\r\n"));
    check.sender = STR("a@b@c.example");
    ck_assert_ptr_nonnull(strstr(ar_field(), "smtp.mailfrom=\"a@b@c.example\"\r\n"));
    check.sender = STR("@c.example");
    ck_assert_ptr_nonnull(strstr(ar_field(), "smtp.mailfrom=\"@c.example\"\r\n"));
}
END_TEST

/* Every line but the first starts with a tab; none holds a lone CR or LF, or is too long. */
static void check_lines(const char *field)
{
    struct str rest = str_of(field);

    for (bool first = true; rest.n > 0; first = false) {
        struct str line = str_split(&rest, '\n');

        ck_assert(str_ends(line, '\r'));
        ck_assert_uint_eq(str_find(line, '\r'), line.n - 1);
        ck_assert_uint_le(line.n, 998);
        ck_assert(first || (line.p[0] == '\t' && line.n > 2));
    }
}

START_TEST(every_part_at_its_limit_fits)
{
    static char a[2000];
    struct auth_result r[AUTH_RESULTS_MOST];
    struct str s;

    memset(a, '"', sizeof a);
    check.helo = (struct str){a, LIMIT_SMTP_HELO_BYTES};
    check.sender = (struct str){a, LIMIT_SMTP_PATH_BYTES};
    verdict.mechanism = (struct str){a, 200};
    verdict.result = SPF_PERMERROR;
    verdict.problem = SPF_BAD_TARGET;
    check_lines(spf_field());
    ck_assert_ptr_nonnull(strstr(buf, "helo="));
    ck_assert_ptr_nonnull(strstr(buf, "mechanism="));
    for (int i = 0; i < AUTH_RESULTS_MOST; i++)
        r[i] = auth_result_of_spf(&check, &verdict);
    s = auth_results_format(STR("mx1.example"), r, AUTH_RESULTS_MOST, buf);
    buf[s.n] = 0;
    check_lines(buf);
    check.helo = check.sender = verdict.mechanism = (struct str){a, sizeof a};
    check_lines(spf_field());
    ck_assert_ptr_null(strstr(buf, "helo="));
    check_lines(ar_field());
}
END_TEST

static const struct {
    struct str field;
    bool ours;
} claims[] = {
    {STR("Authentication-Results: mx1.example; spf=pass\r\n"), true},
    {STR("authentication-RESULTS:MX1.Example; spf=pass"), true},
    {STR("Authentication-Results : mx1.example 1; spf=pass"), true},
    {STR("Authentication-Results:\r\n\tmx1.example;\r\n\tnone"), true},
    {STR("Authentication-Results: (a (b\\)) c) mx1.example;"), true},
    {STR("Authentication-Results: (a)(b)\r\n (c) mx1.example(d); none"), true},
    {STR("Authentication-Results: \"mx1.example\"; none"), true},
    {STR("Authentication-Results: \"mx1\\.ex\\ample\"; none"), true},
    {STR("Authentication-Results: \" mx1.example \"; none"), true},
    {STR("Authentication-Results: \"mx1.\r\n example"), false},
    {STR("Authentication-Results: mx1.example.; none"), true},
    {STR("Authentication-Results: mx1.example/1; none"), true},
    {STR("Authentication-Results: mx1.example"), true},
    {STR("Authentication-Results: mx1.example\0; none"), true},
    {STR("Authentication-Results: (open mx1.example; spf=pass"), true},
    {STR("Authentication-Results: \"mx1.example; spf=pass"), true},
    {STR("Authentication-Results: ; MX1.example"), true},
    {STR("Authentication-Results: (open other.example; spf=pass"), false},
    {STR("Authentication-Results: mx2.example; spf=pass"), false},
    {STR("Authentication-Results: mx1.example.net; spf=pass"), false},
    {STR("Authentication-Results: amx1.example; spf=pass"), false},
    {STR("Authentication-Results: other.example; spf=pass (mx1.example)"), false},
    {STR("Authentication-Results: (mx1.example) other.example; none"), false},
    {STR("Authentication-Results: "), false},
    {STR("Authentication-Results"), false},
    {STR("Authentication-Results mx1.example"), false},
    {STR("ARC-Authentication-Results: i=1; mx1.example; spf=pass"), false},
    {STR("Authentication-Results-Original: mx1.example; spf=pass"), false},
    {STR("X-Authentication-Results: mx1.example; spf=pass"), false},
    {STR("Received-SPF: pass receiver=mx1.example"), false},
    {STR(""), false},
};

START_TEST(a_field_that_bears_our_id_is_known_and_no_other)
{
    for (int i = 0; i < COUNT(claims); i++)
        ck_assert_msg(auth_results_claims(claims[i].field, STR("mx1.example")) ==
                          claims[i].ours,
                      STR_FMT, STR_ARG(claims[i].field));
}
END_TEST

START_TEST(an_id_longer_than_any_name_is_not_ours_unless_it_holds_ours)
{
    static char field[1000];
    size_t n = (size_t)snprintf(field, sizeof field, "Authentication-Results: ");

    memset(field + n, 'a', sizeof field - n);
    ck_assert(!auth_results_claims((struct str){field, sizeof field}, STR("mx1.example")));
    memcpy(field + n + 500, "mx1.example", 11);
    ck_assert(auth_results_claims((struct str){field, sizeof field}, STR("mx1.example")));
}
END_TEST

START_TEST(of_a_long_field_the_start_decides)
{
    static char field[LIMIT_AUTH_CLAIM_BYTES + 2];
    struct str whole = {field, sizeof field}, most = {field, LIMIT_AUTH_CLAIM_BYTES};
    size_t n;

    memset(field, ' ', sizeof field);
    n = (size_t)snprintf(field, sizeof field, "Authentication-Results: other.example; ");
    field[n] = ' ';
    ck_assert(!auth_results_claims(whole, STR("mx1.example")));
    ck_assert(!auth_results_start_claims(most, STR("mx1.example")));
    memset(field + 23, '(', sizeof field - 23); /* an id that would come later */
    ck_assert(!auth_results_claims(most, STR("mx1.example")));
    ck_assert(auth_results_claims(whole, STR("mx1.example")));
    ck_assert(auth_results_start_claims(most, STR("mx1.example")));
    memset(field + 23, ' ', sizeof field - 23); /* one that is cut in half */
    memcpy(field + most.n - 11, "mx1.example", 11);
    ck_assert(auth_results_claims(most, STR("mx1.example")));
    ck_assert(auth_results_claims(whole, STR("mx1.example")));
    field[most.n - 1] = 'x';
    ck_assert(!auth_results_claims(most, STR("mx1.example")));
    ck_assert(auth_results_claims(whole, STR("mx1.example")));
    memset(field + 22, ' ', sizeof field - 22); /* nor has a colon come */
    ck_assert(!auth_results_claims(most, STR("mx1.example")));
    ck_assert(auth_results_claims(whole, STR("mx1.example")));
    field[22] = '-';
    ck_assert(!auth_results_claims(whole, STR("mx1.example")));
}
END_TEST

static const struct {
    enum rdns_result result;
    const char *word;
} names[] = {{RDNS_CONFIRMED, "pass"},
             {RDNS_MISMATCH, "fail"},
             {RDNS_NONE, "permerror"},
             {RDNS_UNKNOWN, "temperror"}};

START_TEST(the_clients_name_is_told_as_iprev)
{
    char addr[IP_TEXT_BYTES], want[128];
    struct auth_result r = auth_result_of_rdns(&check.client, names[_i].result, addr);
    struct str s = auth_results_format(STR("mx1.example"), &r, 1, buf);

    snprintf(want, sizeof want,
             "Authentication-Results: mx1.example; iprev=%s policy.iprev=192.0.2.1\r\n",
             names[_i].word);
    buf[s.n] = 0;
    ck_assert_str_eq(buf, want);
}
END_TEST

START_TEST(our_own_field_is_known_as_ours)
{
    ck_assert(auth_results_claims(str_of(ar_field()), STR("mx1.example")));
    ck_assert(!auth_results_claims(str_of(ar_field()), STR("mx2.example")));
}
END_TEST

START_TEST(forged_fields_are_found_one_after_the_other_and_only_in_the_header)
{
    struct str section = STR("From x\r\nAuthentication-Results: other.example; none\r\n"
                             "Subject: a\r\n Authentication-Results: mx1.example\r\n"
                             "authentication-results:\r\n\tmx1.example;\r\n\tspf=pass\r\n"
                             "To: b\r\nAuthentication-Results: mx1.example\r\n"
                             "\r\nAuthentication-Results: mx1.example; the body\r\n");
    struct str rest = section, field;

    ck_assert(auth_results_find(rest, STR("mx1.example"), &field));
    ck_assert(
        str_eq(field, STR("authentication-results:\r\n\tmx1.example;\r\n\tspf=pass\r\n")));
    rest = str_from(section, (size_t)(field.p - section.p) + field.n);
    ck_assert(auth_results_find(rest, STR("mx1.example"), &field));
    ck_assert(str_eq(field, STR("Authentication-Results: mx1.example\r\n")));
    rest = str_from(section, (size_t)(field.p - section.p) + field.n);
    ck_assert(!auth_results_find(rest, STR("mx1.example"), &field));
    ck_assert(!auth_results_find(STR(""), STR("mx1.example"), &field));
    ck_assert(auth_results_find(STR("Authentication-Results: mx1.example"), STR("mx1.example"),
                                &field)); /* a section that was cut */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("auth_results");
    TCase *tc = tcase_create("fields");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, received_spf_reads_as_rfc_7208_draws_it);
    tcase_add_test(tc, authentication_results_read_as_rfc_8601_draws_them);
    tcase_add_test(tc, several_results_are_parted_and_none_is_said);
    tcase_add_test(tc, a_null_sender_is_told_by_its_helo);
    tcase_add_test(tc, addresses_of_version_six_are_quoted);
    tcase_add_loop_test(tc, values_from_outside_are_quoted_or_left_out, 0, COUNT(hostile));
    tcase_add_test(tc, addresses_that_are_not_plain_are_quoted_whole);
    tcase_add_test(tc, every_part_at_its_limit_fits);
    tcase_add_test(tc, a_field_that_bears_our_id_is_known_and_no_other);
    tcase_add_test(tc, an_id_longer_than_any_name_is_not_ours_unless_it_holds_ours);
    tcase_add_test(tc, of_a_long_field_the_start_decides);
    tcase_add_loop_test(tc, the_clients_name_is_told_as_iprev, 0, COUNT(names));
    tcase_add_test(tc, our_own_field_is_known_as_ours);
    tcase_add_test(tc, forged_fields_are_found_one_after_the_other_and_only_in_the_header);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
