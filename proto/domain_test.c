/* Names, routes and texts of domains are taken exactly or refused with the place. */
#include "proto/domain.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
    arena_reset(&arena);
}

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *name;
    bool good;
} names[] = {
    {"example.com", true},
    {"a.b", true},
    {"xn--bcher-kva.example", true},
    {"1and1.example", true},
    {"a--b.example", true},
    {LABEL_63 ".example", true},
    {LABEL_63 "." LABEL_63 "." LABEL_63
              ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              "a",
     true}, /* 253 */
    {LABEL_63 "." LABEL_63 "." LABEL_63
              ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              "aa",
     false}, /* 254 */
    {"a" LABEL_63 ".example", false},
    {"", false},
    {"example", false},
    {"example.com.", false},
    {".example.com", false},
    {"example..com", false},
    {"Example.com", false},
    {"-a.example", false},
    {"a-.example", false},
    {"a_b.example", false},
    {"b\xc3\xbc"
     "cher.example",
     false},
    {"a b.example", false},
    {"192.0.2.1", false},
    {"example.123", false},
    {"example.c0m", true},
};

START_TEST(a_name_is_ldh_labels_in_lower_case)
{
    ck_assert_msg((domain_name_check(str_of(names[_i].name)) == NULL) == names[_i].good, "%s",
                  names[_i].name);
}
END_TEST

START_TEST(a_name_with_a_nul_is_refused)
{
    ck_assert_ptr_nonnull(domain_name_check(STR("a\0b.example")));
}
END_TEST

/* `back`: what route_format() says. NULL: refused, with the caret at `at`. */
static const struct {
    const char *text, *back;
    size_t at;
} routes[] = {
    {"mx", "mx", 0},
    {" MX ", "mx", 0},
    {"mail.example.com", "mail.example.com:25", 0},
    {"Mail.Example.COM:2525", "mail.example.com:2525", 0},
    {"localhost:2525", "localhost:2525", 0},
    {"127.0.0.1:2525", "127.0.0.1:2525", 0},
    {"[2001:DB8:0::7]", "[2001:db8::7]:25", 0},
    {"[::1]:26=3", "[::1]:26=3", 0},
    {"a.example,b.example:26", "a.example:25,b.example:26", 0},
    {"a.example=10 , b.example=10", "a.example:25=10,b.example:25=10", 0},
    {"a.example=0,b.example=1", "a.example:25,b.example:25", 0},
    {"a.example:1,a.example:2", "a.example:1,a.example:2", 0},
    {"", NULL, 0},
    {"   ", NULL, 0},
    {"a.example,", NULL, 10},
    {",a.example", NULL, 0},
    {"a.example, ,b.example", NULL, 11},
    {"a.example, mx", NULL, 11},
    {"a.example:0", NULL, 10},
    {"a.example:65536", NULL, 10},
    {"a.example:", NULL, 10},
    {"a.example:x", NULL, 10},
    {"b.example, a.example:99999999999999999999", NULL, 21},
    {"a.example=65536", NULL, 10},
    {"a.example=", NULL, 10},
    {"a.example:25=-1", NULL, 13},
    {":25", NULL, 0},
    {"2001:db8::7", NULL, 0},
    {"[2001:db8::7", NULL, 0},
    {"[2001:db8::7]25", NULL, 13},
    {"[192.0.2.1]", NULL, 0},
    {"[mail.example]", NULL, 0},
    {"a.example,a.example:25", NULL, 10},
    {"mail_1.example", NULL, 0},
    {"192.0.2.300", NULL, 0},
    {"1.2.3", NULL, 0},
    {"a.example b.example", NULL, 0},
};

START_TEST(a_route_is_read_or_refused_with_its_place)
{
    char text[ROUTE_TEXT_SIZE];
    struct domain_route r;
    size_t at = 99;
    const char *why = route_parse(str_of(routes[_i].text), &arena, &r, &at);

    if (routes[_i].back == NULL) {
        ck_assert_msg(why != NULL, "%s", routes[_i].text);
        ck_assert_msg(at == routes[_i].at, "%s: %s at %zu", routes[_i].text, why, at);
        return;
    }
    ck_assert_msg(why == NULL, "%s: %s", routes[_i].text, why);
    ck_assert_uint_eq(route_format(&r, text), strlen(routes[_i].back));
    ck_assert_str_eq(text, routes[_i].back);
}
END_TEST

START_TEST(the_text_of_a_route_reads_back_as_the_same_route)
{
    static const char *const text =
        "b.example:26=7,[2001:db8::1]:25,10.0.0.1:2525=0,localhost:1";
    char once[ROUTE_TEXT_SIZE], twice[ROUTE_TEXT_SIZE];
    struct domain_route r, back;
    size_t at;

    ck_assert_ptr_null(route_parse(str_of(text), &arena, &r, &at));
    route_format(&r, once);
    ck_assert_ptr_null(route_parse(str_of(once), &arena, &back, &at));
    route_format(&back, twice);
    ck_assert_str_eq(once, twice);
    ck_assert_uint_eq(back.host_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(str_eq(r.hosts[i].host, back.hosts[i].host));
        ck_assert_uint_eq(r.hosts[i].port, back.hosts[i].port);
        ck_assert_uint_eq(r.hosts[i].preference, back.hosts[i].preference);
    }
}
END_TEST

START_TEST(a_route_has_at_most_20_hosts_and_its_longest_text_fits)
{
    char text[2 * ROUTE_TEXT_SIZE], back[ROUTE_TEXT_SIZE];
    struct domain_route r;
    size_t n = 0, at;

    for (int i = 0; i < LIMIT_ROUTE_HOSTS; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s%c" LABEL_63 "." LABEL_63 "." LABEL_63
            ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:65535="
            "65535",
            i > 0 ? "," : "", 'a' + i);
    /* first labels of 64 bytes */
    ck_assert_ptr_nonnull(route_parse(str_of(text), &arena, &r, &at));
    n = 0;
    for (int i = 0; i < LIMIT_ROUTE_HOSTS; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s%c." LABEL_63 "." LABEL_63 "." LABEL_63
            ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:65535="
            "65535",
            i > 0 ? "," : "", 'a' + i);
    ck_assert_ptr_null(route_parse(str_of(text), &arena, &r, &at));
    ck_assert_uint_eq(r.host_count, LIMIT_ROUTE_HOSTS);
    ck_assert_uint_eq(route_format(&r, back), n);
    ck_assert_str_eq(back, text);
    snprintf(text + n, sizeof text - n, ",z.example");
    ck_assert_ptr_nonnull(route_parse(str_of(text), &arena, &r, &at));
    ck_assert_uint_eq(at, n + 1);
}
END_TEST

static const struct {
    const char *what;
    struct domain d;
    bool good;
} records[] = {
    {"plain", {.name = {"a.example", 9}, .route.kind = ROUTE_MX}, true},
    {"no route", {.name = {"a.example", 9}}, false},
    {"static without hosts", {.name = {"a.example", 9}, .route.kind = ROUTE_STATIC}, false},
    {"mx with hosts",
     {.name = {"a.example", 9}, .route = {.kind = ROUTE_MX, .host_count = 1}},
     false},
    {"host without port",
     {.name = {"a.example", 9},
      .route = {.kind = ROUTE_STATIC, .host_count = 1, .hosts = {{.host = {"b", 1}}}}},
     false},
    {"hold too short",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .hold_s = 86399},
     false},
    {"hold shortest",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .hold_s = 86400},
     true},
    {"hold longest",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .hold_s = 5184000},
     true},
    {"hold too long",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .hold_s = 5184001},
     false},
    {"tls",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .tls = (enum domain_tls)3},
     false},
    {"8 bit",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .eight_bit = (enum domain_eight_bit)2},
     false},
    {"separator",
     {.name = {"a.example", 9},
      .route.kind = ROUTE_MX,
      .recipients = RECIPIENTS_LIST,
      .separator = '+'},
     true},
    {"letter as separator",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .separator = 'x'},
     false},
    {"dsn",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .dsn = (enum domain_dsn)3},
     false},
    {"recipients",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .recipients = RECIPIENTS_LEARN + 1},
     false},
    {"learns",
     {.name = {"a.example", 9},
      .route.kind = ROUTE_MX,
      .recipients = RECIPIENTS_LEARN,
      .unknown = UNKNOWN_DEFER},
     true},
    {"digest",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .digest = {"o@b.example", 11}},
     true},
    {"digest without a name",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .digest = {"o@b", 3}},
     false},
    {"unknown recipients",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .unknown = UNKNOWN_DEFER + 1},
     false},
    {"check",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .checks = {CHECK_REFUSE + 1}},
     false},
    {"headers",
     {.name = {"a.example", 9},
      .route.kind = ROUTE_MX,
      .checks = {[DOMAIN_CHECK_HEADERS] = CHECK_DEFER}},
     false},
    {"connections",
     {.name = {"a.example", 9}, .route.kind = ROUTE_MX, .max_connections = 1001},
     false},
};

#define A60 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."

static const struct {
    const char *address;
    bool is_good;
} digests[] = {
    {"o@b.example", true},
    {"o.w-n+1=x@b.xn--p1ai", true},
    {"", false},
    {"o", false},
    {"@b.example", false},
    {"o@", false},
    {"o@b", false},
    {"o@B.example", false},
    {"o@[192.0.2.1]", false},
    {".o@b.example", false},
    {"o.@b.example", false},
    {"o..o@b.example", false},
    {"o o@b.example", false},
    {"o\r\n@b.example", false},
    {"\"o\"@b.example", false},
    {"o@b@b.example", false},
    {"\xc3\xb6@b.example", false},
    {"o@" A60 A60 A60 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.bb.xy",
     true}, /* 254 bytes */
    {"o@" A60 A60 A60 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.bbb.xy",
     false}, /* 255 bytes */
    {"0123456789012345678901234567890123456789012345678901234567890123@b.example", true},
    {"01234567890123456789012345678901234567890123456789012345678901234@b.example", false},
};

START_TEST(an_address_of_an_owner_is_one_that_can_be_written_to)
{
    ck_assert_msg((domain_digest_check(str_of(digests[_i].address)) == NULL) ==
                      digests[_i].is_good,
                  "%s", digests[_i].address);
}
END_TEST

START_TEST(a_record_out_of_bounds_is_refused)
{
    ck_assert_msg((domain_check(&records[_i].d) == NULL) == records[_i].good, "%s",
                  records[_i].what);
}
END_TEST

static const struct {
    const char *text;
    int at; /* -1: fine */
    const char *out;
} checks_texts[] = {
    {"sender=refuse", -1, "sender=refuse,spf=mark"},
    {"spf=off,rdns=defer", -1, "rdns=defer"},
    {"all=refuse", -1,
     "rdns=refuse,sender=refuse,spf=refuse,headers=refuse,dnsbl=refuse,helo=refuse,forged="
     "refuse,"
     "greylist=defer,server=refuse"},
    {"all=defer,spf=mark", -1,
     "rdns=defer,sender=defer,spf=mark,headers=refuse,dnsbl=defer,helo=defer,forged=defer,"
     "greylist=defer,server=defer"},
    {"dnsbl=mark,forged=refuse,helo=off", -1, "spf=mark,dnsbl=mark,forged=refuse"},
    {"server=mark", -1, "spf=mark,server=mark"},
    {"", 0, NULL},
    {"sender", 0, NULL},
    {"sender=", 0, NULL},
    {"sender=maybe", 7, NULL},
    {"nonsense=mark", 0, NULL},
    {"sender=off,", 11, NULL},
    {"sender=off,sender=mark", 11, NULL},
    {"spf=mark,all=off", 9, NULL},
    {"all=off,all=off", 8, NULL},
    {"headers=defer", 8, NULL},
    {"greylist=defer", -1, "spf=mark,greylist=defer"},
    {"greylist=refuse", 9, NULL},
    {"Sender=off", 0, NULL},
    {" sender=off", 0, NULL},
};

/* In place: of "rdns=off,sender=refuse" the second. */
static const char *without_off(char *text)
{
    struct str rest = str_of(text);
    size_t n = 0;

    while (rest.n > 0) {
        struct str one = str_split(&rest, ',');

        if (str_eq(str_from(one, str_find(one, '=')), STR("=off")))
            continue;
        if (n > 0)
            text[n++] = ',';
        memmove(text + n, one.p, one.n);
        n += one.n;
    }
    text[n] = 0;
    return text;
}

START_TEST(checks_go_over_what_is_there)
{
    uint8_t c[DOMAIN_CHECK_KINDS] = {[DOMAIN_CHECK_SPF] = CHECK_MARK};
    char text[CHECKS_TEXT_SIZE];
    size_t at = 99;
    const char *why = checks_parse(str_of(checks_texts[_i].text), c, &at);

    checks_format(c, text);
    if (checks_texts[_i].at < 0) {
        ck_assert_ptr_null(why);
        ck_assert_str_eq(without_off(text), checks_texts[_i].out);
    } else {
        ck_assert_ptr_nonnull(why);
        ck_assert_int_eq((int)at, checks_texts[_i].at);
        ck_assert_str_eq(without_off(text), "spf=mark");
    }
}
END_TEST

START_TEST(words_read_back_as_what_they_name)
{
    for (int i = 0; i <= DOMAIN_TLS_OFF; i++) {
        enum domain_tls tls;

        ck_assert(domain_tls_parse(str_of(domain_tls_text((enum domain_tls)i)), &tls));
        ck_assert_int_eq(tls, i);
        ck_assert(!domain_tls_parse(STR("Require"), &tls));
    }
    for (int i = 0; i <= DOMAIN_EIGHT_BIT_HOLD; i++) {
        enum domain_eight_bit e;

        ck_assert(domain_eight_bit_parse(
            str_of(domain_eight_bit_text((enum domain_eight_bit)i)), &e));
        ck_assert_int_eq(e, i);
        ck_assert(!domain_eight_bit_parse(STR(""), &e));
    }
    for (int i = 0; i <= DOMAIN_DSN_NONE; i++) {
        enum domain_dsn d;

        ck_assert(domain_dsn_parse(str_of(domain_dsn_text((enum domain_dsn)i)), &d));
        ck_assert_int_eq(d, i);
        ck_assert(!domain_dsn_parse(STR("nobody"), &d));
    }
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

int main(void)
{
    Suite *suite = suite_create("domain");
    TCase *tc = tcase_create("domain");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_name_is_ldh_labels_in_lower_case, 0, COUNT(names));
    tcase_add_test(tc, a_name_with_a_nul_is_refused);
    tcase_add_loop_test(tc, a_route_is_read_or_refused_with_its_place, 0, COUNT(routes));
    tcase_add_test(tc, the_text_of_a_route_reads_back_as_the_same_route);
    tcase_add_test(tc, a_route_has_at_most_20_hosts_and_its_longest_text_fits);
    tcase_add_loop_test(tc, a_record_out_of_bounds_is_refused, 0, COUNT(records));
    tcase_add_loop_test(tc, an_address_of_an_owner_is_one_that_can_be_written_to, 0,
                        sizeof digests / sizeof *digests);
    tcase_add_test(tc, words_read_back_as_what_they_name);
    tcase_add_loop_test(tc, checks_go_over_what_is_there, 0, COUNT(checks_texts));
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
