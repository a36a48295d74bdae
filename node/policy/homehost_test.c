#include "node/policy/homehost.h"

#include <check.h>
#include <stdio.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

/* "MX=a b;a=192.0.2.1;b!": answers by name; "MX" stands for that question. '!' SERVFAIL, '-'
 * NODATA; all other names do not exist. */
static const struct dns_answer *look(struct dns_answer *a, const char *zone,
                                     const struct question *q)
{
    struct str rest = str_of(zone), name = q->type == DNS_MX ? STR("MX") : q->name;

    *a = (struct dns_answer){.status = DNS_NXDOMAIN};
    while (rest.n > 0) {
        struct str line = str_split(&rest, ';');

        if (line.n <= name.n || !str_eq(str_head(line, name.n), name) ||
            strchr("=!-", line.p[name.n]) == NULL)
            continue;
        a->status = line.p[name.n] == '='   ? DNS_OK
                    : line.p[name.n] == '!' ? DNS_SERVFAIL
                                            : DNS_NODATA;
        line = str_from(line, name.n + 1);
        while (line.n > 0) {
            struct dns_record *r = &a->records[a->count++];
            struct str word = str_split(&line, ' ');
            struct ip_addr address;

            ck_assert(str_to_z(word, r->host, sizeof r->host));
            if (ip_parse(word, &address))
                memcpy(&r->addr, address.b + (q->type == DNS_A ? 12 : 0),
                       q->type == DNS_A ? 4 : 16);
        }
    }
    return a;
}

static const struct {
    const char *route, *client, *zone;
    bool is_home;
} cases[] = {
    {"192.0.2.1", "192.0.2.1", "", true},
    {"192.0.2.1", "192.0.2.2", "", false},
    {"192.0.2.1:2525,[2001:db8::1]", "2001:db8::1", "", true},
    {"mail.a.example", "192.0.2.1", "mail.a.example=192.0.2.1", true},
    {"mail.a.example", "192.0.2.2", "mail.a.example=192.0.2.1", false},
    {"mail.a.example", "192.0.2.1", "mail.a.example!", false},
    {"mail.a.example,two.a.example", "192.0.2.2", "two.a.example=192.0.2.2", true},
    {"mail.a.example", "2001:db8::1", "mail.a.example=2001:db8::1", true},
    {"mx", "192.0.2.1", "MX=m1.example m2.example;m2.example=192.0.2.9 192.0.2.1", true},
    {"mx", "192.0.2.1", "MX=m1.example;m1.example=192.0.2.9", false},
    {"mx", "192.0.2.1", "MX-;a.example=192.0.2.1", true},
    {"mx", "192.0.2.1", "MX!;a.example=192.0.2.1", false},
    {"mx", "192.0.2.1", "a.example=192.0.2.1", false},
    {"mx", "192.0.2.1", "MX=;a.example=192.0.2.1", false},
};

static void begin(struct homehost *h, struct arena *a, const char *route, const char *client)
{
    struct ip_addr address = ip(client);
    struct domain d = {.name = STR("a.example"), .route = {.kind = ROUTE_MX}};
    size_t at;

    arena_init(a, 8192);
    ck_assert_ptr_null(route_parse(str_of(route), a, &d.route, &at));
    homehost_init(h, &d, &address);
    arena_reset(a); /* it has copied what it needs */
}

START_TEST(only_the_hosts_of_the_route_or_of_the_mx_are_home)
{
    struct question q[LIMIT_ROUTE_HOSTS];
    struct dns_answer a;
    struct homehost h;
    struct arena arena;
    size_t n;

    begin(&h, &arena, cases[_i].route, cases[_i].client);
    while ((n = homehost_questions(&h, q)) > 0)
        while (n-- > 0)
            homehost_answer(&h, q[n].tag, look(&a, cases[_i].zone, &q[n]));
    ck_assert(homehost_is_done(&h));
    ck_assert(h.is_home == cases[_i].is_home);
}
END_TEST

START_TEST(who_does_not_answer_in_time_makes_nobody_home_and_late_words_do_no_harm)
{
    struct question q[LIMIT_ROUTE_HOSTS];
    struct dns_answer a;
    struct homehost h;
    struct arena arena;

    begin(&h, &arena, "mx", "192.0.2.1");
    ck_assert_uint_eq(homehost_questions(&h, q), 1);
    ck_assert_uint_eq(homehost_questions(&h, q), 0);
    homehost_answer(&h, 3, look(&a, "MX=m", &q[0]));
    ck_assert(!homehost_is_done(&h));
    homehost_give_up(&h);
    ck_assert(homehost_is_done(&h) && !h.is_home);
    homehost_answer(&h, q[0].tag, look(&a, "MX=m", &q[0]));
    ck_assert(!h.is_home);
}
END_TEST

START_TEST(more_hosts_than_a_route_may_have_are_left_out)
{
    struct dns_answer a = {.status = DNS_OK, .count = LIMIT_DNS_RECORDS};
    struct question q[LIMIT_ROUTE_HOSTS];
    struct homehost h;
    struct arena arena;

    begin(&h, &arena, "mx", "192.0.2.1");
    for (size_t i = 0; i < a.count; i++)
        snprintf(a.records[i].host, sizeof a.records[i].host, "m%u.example", (unsigned)i);
    ck_assert_uint_eq(homehost_questions(&h, q), 1);
    homehost_answer(&h, q[0].tag, &a);
    ck_assert_uint_eq(homehost_questions(&h, q), LIMIT_ROUTE_HOSTS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("homehost");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_loop_test(tc, only_the_hosts_of_the_route_or_of_the_mx_are_home, 0, COUNT(cases));
    tcase_add_test(tc, who_does_not_answer_in_time_makes_nobody_home_and_late_words_do_no_harm);
    tcase_add_test(tc, more_hosts_than_a_route_may_have_are_left_out);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
