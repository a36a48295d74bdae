#include "node/policy/listing.h"

#include <arpa/inet.h>
#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define ALL_ON   7u

static const struct dnsbl_list lists[] = {
    {.zone = {"heavy.example", 13}, .range_count = 1, .ranges = {{0x7f000002, 0x7f000002, 5}}},
    {.zone = {"light.example", 13}, .range_count = 1, .ranges = {{0x7f000002, 0x7f000009, 2}}},
    {.zone = {"allow.example", 13}, .range_count = 1, .ranges = {{0x7f000001, 0x7f0000ff, -4}}},
};

static struct listing l;

static void begin(uint32_t on, int32_t threshold)
{
    struct listing_facts f = {
        .lists = lists, .count = COUNT(lists), .on = on, .threshold = threshold};

    ck_assert(ip_parse(STR("192.0.2.99"), &f.client));
    listing_init(&l, &f);
}

/* "-": no such name; "?": nothing is said; else an address, with "+" before it of an answer
 * that was cut. */
static const struct dns_answer *said(const char *what)
{
    static struct dns_answer a;

    a = (struct dns_answer){.status = DNS_OK, .count = 1, .cut = what[0] == '+'};
    if (what[0] == '-')
        a = (struct dns_answer){.status = DNS_NXDOMAIN};
    else if (what[0] == '?')
        a = (struct dns_answer){.status = DNS_SERVFAIL};
    else
        ck_assert_int_eq(inet_pton(AF_INET, what + a.cut, &a.records[0].addr), 1);
    return &a;
}

static const struct {
    const char *says[3]; /* NULL: the list is off */
    int32_t threshold, weight;
    bool is_listed, is_unknown;
    const char *heaviest;
} cases[] = {
    {{"-", "-", "-"}, 1, 0, false, false, NULL},
    {{"127.0.0.2", "-", "-"}, 1, 5, true, false, "heavy.example"},
    {{"127.0.0.2", "127.0.0.2", "-"}, 7, 7, true, false, "heavy.example"},
    {{"127.0.0.2", "127.0.0.2", "-"}, 8, 7, false, false, "heavy.example"},
    {{"127.0.0.2", "127.0.0.2", "127.0.0.1"}, 4, 3, false, false, "heavy.example"},
    {{"127.0.0.2", "127.0.0.2", "127.0.0.1"}, 3, 3, true, false, "heavy.example"},
    {{"-", "-", "127.0.0.1"}, 1, -4, false, false, "allow.example"},
    {{"127.0.0.3", "127.0.0.3", "-"}, 2, 2, true, false, "light.example"},
    {{"?", "-", "-"}, 1, 0, false, true, NULL},
    {{"?", "127.0.0.2", "-"}, 2, 2, true, true, "light.example"},
    {{"127.255.255.254", "-", "-"}, 1, 0, false, true, NULL},
    {{NULL, "127.0.0.2", "-"}, 1, 2, true, false, "light.example"},
    {{NULL, NULL, NULL}, 1, 0, false, false, NULL},
    /* what the allow list could have said is taken as said */
    {{"127.0.0.2", "-", "?"}, 1, 5, true, true, "heavy.example"},
    {{"127.0.0.2", "-", "?"}, 2, 5, false, true, "heavy.example"},
    {{"127.0.0.2", "-", "127.255.255.254"}, 2, 5, false, true, "heavy.example"},
    {{"127.0.0.2", "-", NULL}, 2, 5, false, false, "heavy.example"},
    {{"127.0.0.2", "-", "+127.0.1.1"}, 2, 5, false, false, "heavy.example"},
    {{"127.0.0.2", "-", "+127.0.0.1"}, 1, 1, true, false, "heavy.example"},
    {{"127.0.0.2", "-", "127.0.1.1"}, 2, 5, true, false, "heavy.example"},
    {{"+127.0.0.2", "?", "-"}, 5, 5, true, true, "heavy.example"},
};

START_TEST(S31_what_the_lists_say_is_added_up)
{
    const char *const *says = cases[_i].says;
    struct question q[LIMIT_DNSBL_LISTS];
    uint32_t on = 0;
    size_t n;

    for (unsigned i = 0; i < 3; i++)
        on |= says[i] != NULL ? 1u << i : 0;
    begin(on, cases[_i].threshold);
    ck_assert(listing_is_done(&l) == (on == 0));
    n = listing_questions(&l, q);
    ck_assert_uint_eq(n, (size_t)__builtin_popcount(on));
    for (size_t i = n; i-- > 0;) {
        ck_assert(!listing_is_done(&l));
        ck_assert_int_eq(strncmp(q[i].name.p, "99.2.0.192.", 11), 0);
        ck_assert_str_eq(q[i].name.p + 11, lists[q[i].tag].zone.p);
        listing_answer(&l, q[i].tag, said(says[q[i].tag]));
    }
    ck_assert(listing_is_done(&l) && listing_questions(&l, q) == 0);
    ck_assert_int_eq((int)listing_weight(&l), cases[_i].weight);
    ck_assert(listing_is_listed(&l) == cases[_i].is_listed);
    ck_assert(listing_is_unknown(&l) == cases[_i].is_unknown);
    if (cases[_i].heaviest == NULL)
        ck_assert_ptr_null(listing_heaviest(&l));
    else
        ck_assert_str_eq(listing_heaviest(&l)->zone.p, cases[_i].heaviest);
}
END_TEST

START_TEST(what_is_not_heard_in_time_adds_nothing)
{
    struct question q[LIMIT_DNSBL_LISTS];

    begin(ALL_ON, 1);
    listing_answer(&l, 0, said("127.0.0.2")); /* was not asked yet */
    ck_assert_int_eq((int)listing_questions(&l, q), 3);
    ck_assert_int_eq((int)listing_questions(&l, q), 0);
    listing_answer(&l, 3, said("127.0.0.2"));
    listing_answer(&l, 1, said("127.0.0.2"));
    listing_answer(&l, 1, said("-")); /* once more: passed over */
    listing_give_up(&l);
    listing_answer(&l, 0, said("127.0.0.2"));
    ck_assert(listing_is_done(&l) && listing_is_unknown(&l));
    ck_assert_int_eq((int)listing_weight(&l), 2);
    ck_assert(!listing_is_listed(&l)); /* the allow list may have had to say -4 */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listing");
    TCase *tc = tcase_create("listing");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, S31_what_the_lists_say_is_added_up, 0, COUNT(cases));
    tcase_add_test(tc, what_is_not_heard_in_time_adds_nothing);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
