#include "node/policy/rdns.h"

#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

/* A small DNS: "name=answer answer", "name+answer" (cut behind it), "name!" (SERVFAIL), "name?"
 * (silence), "name-" (NODATA); all other names do not exist. */
static void put_record(struct dns_record *r, enum dns_type type, struct str word)
{
    struct ip_addr address;

    ck_assert(str_to_z(word, r->host, sizeof r->host));
    if (ip_parse(word, &address))
        memcpy(&r->addr, address.b + (type == DNS_A ? 12 : 0), type == DNS_A ? 4 : 16);
}

static const struct dns_answer *look(struct dns_answer *a, const char *zone,
                                     const struct question *q)
{
    static const char marks[] = "=+-!?";
    static const enum dns_status statuses[] = {DNS_OK, DNS_OK, DNS_NODATA, DNS_SERVFAIL,
                                               DNS_SILENCE};
    struct str rest = str_of(zone);

    *a = (struct dns_answer){.status = DNS_NXDOMAIN};
    while (rest.n > 0) {
        struct str line = str_split(&rest, ';');
        const char *mark = line.n > q->name.n ? strchr(marks, line.p[q->name.n]) : NULL;

        if (mark == NULL || !str_starts_nocase(line, q->name))
            continue;
        a->status = statuses[mark - marks];
        a->cut = *mark == '+';
        line = str_from(line, q->name.n + 1);
        while (line.n > 0)
            put_record(&a->records[a->count++], q->type, str_split(&line, ' '));
    }
    return a;
}

static struct rdns *run(struct rdns *r, const char *client, const char *zone)
{
    struct ip_addr address = ip(client);
    struct question q[LIMIT_RDNS_NAMES];
    struct dns_answer a;
    size_t n;

    rdns_init(r, &address);
    while ((n = rdns_questions(r, q)) > 0)
        while (n-- > 0)
            rdns_answer(r, q[n].tag, look(&a, zone, &q[n]));
    ck_assert(rdns_is_done(r));
    return r;
}

#define V4 "192.0.2.7"
#define P4 "7.2.0.192.in-addr.arpa"
#define V6 "2001:db8::7"
#define P6 "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"

static const struct {
    const char *client, *zone;
    enum rdns_result result;
    const char *name;
} cases[] = {
    {V4, P4 "=mx.example;mx.example=" V4, RDNS_CONFIRMED, "mx.example"},
    {V4, P4 "=MX.Example;mx.example=10.0.0.1 " V4, RDNS_CONFIRMED, "mx.example"},
    {"::ffff:" V4, P4 "=mx.example;mx.example=" V4, RDNS_CONFIRMED, "mx.example"},
    {V4, P4 "=a.example b.example;a.example=10.0.0.1;b.example=" V4, RDNS_CONFIRMED,
     "b.example"},
    {V4, P4 "=a.example b.example;a.example!;b.example=" V4, RDNS_CONFIRMED, "b.example"},
    {V4, "", RDNS_NONE, ""},
    {V4, P4 "-", RDNS_NONE, ""},
    {V4, P4 "!", RDNS_UNKNOWN, ""},
    {V4, P4 "?", RDNS_UNKNOWN, ""},
    {V4, P4 "!", RDNS_UNKNOWN, ""},
    {V4, P4 "=", RDNS_UNKNOWN, ""},
    {V4, P4 "=mx.example;mx.example=10.0.0.1", RDNS_MISMATCH, "mx.example"},
    {V4, P4 "=mx.example", RDNS_MISMATCH, "mx.example"},
    {V4, P4 "=mx.example;mx.example-", RDNS_MISMATCH, "mx.example"},
    {V4, P4 "=mx.example;mx.example!", RDNS_UNKNOWN, ""},
    {V4, P4 "=a.example b.example;a.example?;b.example=10.0.0.1", RDNS_UNKNOWN, ""},
    {V4, P4 "=not_a_host -.example", RDNS_MISMATCH, ""},
    {V4, P4 "+mx.example;mx.example=10.0.0.1", RDNS_UNKNOWN, ""},
    {V4, P4 "=mx.example;mx.example+10.0.0.1", RDNS_UNKNOWN, ""},
    {V4, P4 "+mx.example;mx.example+" V4, RDNS_CONFIRMED, "mx.example"},
    {V6, P6 "=mx.example;mx.example=2001:db8:0::7", RDNS_CONFIRMED, "mx.example"},
    {V6, P6 "=mx.example;mx.example=2001:db8::8", RDNS_MISMATCH, "mx.example"},
    {V6, "", RDNS_NONE, ""},
    {V6, P6 "?", RDNS_UNKNOWN, ""},
    {V6, P6 "=mx.example;mx.example!", RDNS_UNKNOWN, ""},
    /* ten are looked up, which is enough or says nothing */
    {V4, P4 "=a a a a a a a a a b.c d.e;b.c=" V4, RDNS_CONFIRMED, "b.c"},
    {V4, P4 "=a a a a a a a a a a b.c;b.c=" V4, RDNS_UNKNOWN, ""},
};

START_TEST(S26_a_name_counts_when_it_leads_back)
{
    struct rdns r;

    run(&r, cases[_i].client, cases[_i].zone);
    ck_assert_msg(r.result == cases[_i].result && str_eq(r.name, str_of(cases[_i].name)),
                  "%d: %s " STR_FMT, _i, rdns_result_text(r.result), STR_ARG(r.name));
}
END_TEST

static const struct dns_answer found = {
    .status = DNS_OK, .count = 2, .records = {{.host = "a.example"}, {.host = "b.example"}}};
static const struct dns_answer denied = {.status = DNS_NXDOMAIN};

START_TEST(the_question_fits_the_family)
{
    struct question q[LIMIT_RDNS_NAMES];
    struct ip_addr address = ip(V6);
    struct rdns r;

    rdns_init(&r, &address);
    ck_assert_uint_eq(rdns_questions(&r, q), 1);
    ck_assert_int_eq(q[0].type, DNS_PTR);
    ck_assert_uint_eq(rdns_questions(&r, q), 0);
    rdns_answer(&r, q[0].tag, &found);
    ck_assert_uint_eq(rdns_questions(&r, q), 2);
    ck_assert_int_eq(q[0].type, DNS_AAAA);
    address = ip(V4);
    rdns_init(&r, &address);
    rdns_questions(&r, q);
    rdns_answer(&r, q[0].tag, &found);
    ck_assert_uint_eq(rdns_questions(&r, q), 2);
    ck_assert_int_eq(q[1].type, DNS_A);
}
END_TEST

START_TEST(late_and_foreign_answers_and_the_end_of_time_do_no_harm)
{
    struct question q[LIMIT_RDNS_NAMES];
    struct ip_addr address = ip(V4);
    struct rdns r;
    uint32_t ptr;

    rdns_init(&r, &address);
    rdns_answer(&r, 0, &denied);
    ck_assert(!rdns_is_done(&r));
    rdns_questions(&r, q);
    ptr = q[0].tag;
    rdns_answer(&r, ptr, &found);
    rdns_answer(&r, ptr, &denied);
    rdns_answer(&r, 7, &denied);
    rdns_answer(&r, 0, &denied);
    ck_assert_uint_eq(rdns_questions(&r, q), 1);
    ck_assert(str_eq(q[0].name, STR("b.example")));
    rdns_answer(&r, 0, &denied);
    ck_assert(!rdns_is_done(&r));
    rdns_give_up(&r);
    ck_assert(rdns_is_done(&r) && r.result == RDNS_UNKNOWN);
    rdns_answer(&r, 1, &denied);
    rdns_give_up(&r);
    ck_assert_int_eq(r.result, RDNS_UNKNOWN);
    ck_assert_uint_eq(rdns_questions(&r, q), 0);
}
END_TEST

START_TEST(S26_replies_bear_the_code_of_rfc_7372)
{
    for (int r = RDNS_NONE; r <= RDNS_MISMATCH; r++) {
        ck_assert_ptr_nonnull(strstr(rdns_reply((enum rdns_result)r, true), "450 4.7.25 "));
        ck_assert_ptr_nonnull(strstr(rdns_reply((enum rdns_result)r, false), "550 5.7.25 "));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdns");
    TCase *tc = tcase_create("rdns");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, S26_a_name_counts_when_it_leads_back, 0, COUNT(cases));
    tcase_add_test(tc, the_question_fits_the_family);
    tcase_add_test(tc, late_and_foreign_answers_and_the_end_of_time_do_no_harm);
    tcase_add_test(tc, S26_replies_bear_the_code_of_rfc_7372);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
