/* Each case is a zone as DNS shows it, and the addresses mail may go to, or the reason. */
#include "node/delivery/route.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct route_ip ip(const char *text)
{
    struct route_ip out;
    uint8_t v4[4];

    if (inet_pton(AF_INET, text, v4) == 1)
        return route_ip_v4(v4);
    ck_assert_int_eq(inet_pton(AF_INET6, text, out.b), 1);
    return out;
}

/* Ourselves and a sibling, as in all cases below. */
static const struct str own_names[] = {{"mx1.trispool.example", 20},
                                       {"MX2.trispool.example.", 21}};
static struct route_ip own_ips[3];
static struct route_self self;
static struct prng rng;
static struct route_plan plan;
static struct route route;

static void setup(void)
{
    own_ips[0] = ip("203.0.113.1");
    own_ips[1] = ip("2a02:db8::1");
    own_ips[2] = ip("203.0.113.2");
    self = (struct route_self){own_names, 2, own_ips, 3};
    prng_seed(&rng, 1);
}

struct host_case {
    uint16_t pref;
    const char *name;
    enum route_lookup a, aaaa;
    const char *ips[4];
};

#define NONE   ROUTE_LOOKUP_NODATA
#define FOUND  ROUTE_LOOKUP_FOUND
#define NX     ROUTE_LOOKUP_NXDOMAIN
#define SILENT ROUTE_LOOKUP_NO_ANSWER

struct zone {
    const char *title;
    enum route_lookup mx;
    struct host_case hosts[5]; /* MX records; without MX the first is the domain itself */
    bool allow_private;
    enum route_result result;
    const char *expect[4]; /* in any order within a preference */
};

/* What the shell does: plan, look up what the plan names, build. */
static void resolve(const struct zone *z)
{
    struct route_mx mx[5];
    struct route_host hosts[LIMIT_ROUTE_HOSTS];
    struct route_ip ips[LIMIT_ROUTE_HOSTS][4];
    size_t count = 0;

    memset(hosts, 0, sizeof hosts);
    while (count < 5 && z->hosts[count].name != NULL) {
        mx[count] = (struct route_mx){str_of(z->hosts[count].name), z->hosts[count].pref};
        count++;
    }
    route_plan(STR("customer.example"), z->mx, mx, z->mx == FOUND ? count : 0, &self, &rng,
               &plan);
    if (plan.result != ROUTE_OK) {
        route = (struct route){.result = plan.result};
        return;
    }
    for (size_t i = 0; i < plan.count; i++) {
        const struct host_case *h = z->hosts;

        while (
            !plan.is_implicit && !str_eq_nocase(str_of(h->name), plan.hosts[i].host) &&
            !str_eq_nocase(str_head(str_of(h->name), strlen(h->name) - 1), plan.hosts[i].host))
            h++;
        hosts[i].name = plan.hosts[i].host;
        hosts[i].a = h->a;
        hosts[i].aaaa = h->aaaa;
        hosts[i].ips = ips[i];
        for (size_t k = 0; k < 4 && h->ips[k] != NULL; k++)
            ips[i][hosts[i].ip_count++] = ip(h->ips[k]);
    }
    route_build(&(struct route_query){.plan = &plan,
                                      .hosts = hosts,
                                      .self = &self,
                                      .rng = &rng,
                                      .ttl_s = 300,
                                      .allow_private = z->allow_private},
                &route);
}

static const struct zone zones[] = {
    {"one host",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"198.51.100.1"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"both families",
     FOUND,
     {{10, "p.example", FOUND, FOUND, {"198.51.100.1", "2a02:1::1"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1", "2a02:1::1"}},
    {"we and a sibling are below the primary",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"198.51.100.1"}},
      {20, "mx1.trispool.example", FOUND, NONE, {"203.0.113.1"}},
      {20, "mx2.trispool.example", FOUND, NONE, {"203.0.113.2"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"another host at our preference or above it is left out",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"198.51.100.1"}},
      {20, "mx2.TRISPOOL.example.", FOUND, NONE, {"203.0.113.2"}},
      {20, "q.example", FOUND, NONE, {"198.51.100.2"}},
      {30, "r.example", FOUND, NONE, {"198.51.100.3"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"our address under a name that is not ours",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"198.51.100.1"}},
      {20, "alias.example", FOUND, NONE, {"198.51.100.9", "203.0.113.2"}},
      {30, "q.example", FOUND, NONE, {"198.51.100.2"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"our IPv6 address under a name that is not ours",
     FOUND,
     {{10, "p.example", NONE, FOUND, {"2a02:db8::1"}},
      {20, "q.example", FOUND, NONE, {"198.51.100.2"}}},
     false,
     ROUTE_LOOPS_TO_SELF,
     {0}},
    {"we alone are listed",
     FOUND,
     {{10, "mx1.trispool.example", FOUND, NONE, {"203.0.113.1"}}},
     false,
     ROUTE_LOOPS_TO_SELF,
     {0}},
    {"we are listed as the best",
     FOUND,
     {{10, "mx1.trispool.example", FOUND, NONE, {"203.0.113.1"}},
      {20, "p.example", FOUND, NONE, {"198.51.100.1"}}},
     false,
     ROUTE_LOOPS_TO_SELF,
     {0}},
    {"the primary does not resolve for now and we are the best that does: no loop",
     FOUND,
     {{10, "p.example", SILENT, NONE, {0}},
      {20, "mx1.trispool.example", FOUND, NONE, {"203.0.113.1"}}},
     false,
     ROUTE_NO_ANSWER,
     {0}},
    {"the primary's host is gone and we are the best that resolves: no loop",
     FOUND,
     {{10, "p.example", NX, NX, {0}},
      {20, "mx1.trispool.example", FOUND, NONE, {"203.0.113.1"}}},
     false,
     ROUTE_NO_ADDRESS,
     {0}},
    {"MX unknown for now: never the implicit one",
     SILENT,
     {{0, "customer.example", FOUND, NONE, {"198.51.100.1"}}},
     false,
     ROUTE_NO_ANSWER,
     {0}},
    {"the domain does not exist", NX, {{0}}, false, ROUTE_NO_DOMAIN, {0}},
    {"no MX: the domain itself",
     NONE,
     {{0, "customer.example", FOUND, NONE, {"198.51.100.1"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"no MX and no address",
     NONE,
     {{0, "customer.example", NONE, NONE, {0}}},
     false,
     ROUTE_NO_MX,
     {0}},
    {"no MX and the address look-up failed",
     NONE,
     {{0, "customer.example", SILENT, NONE, {0}}},
     false,
     ROUTE_NO_ANSWER,
     {0}},
    {"no MX and the domain's address is ours",
     NONE,
     {{0, "customer.example", FOUND, NONE, {"203.0.113.1"}}},
     false,
     ROUTE_LOOPS_TO_SELF,
     {0}},
    {"null MX", FOUND, {{0, ".", FOUND, NONE, {0}}}, false, ROUTE_NULL_MX, {0}},
    {"null MX beside a host",
     FOUND,
     {{0, ".", FOUND, NONE, {0}}, {10, "p.example", FOUND, NONE, {"198.51.100.1"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"MX to loopback and private networks",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.5.5"}}},
     false,
     ROUTE_ALL_PRIVATE,
     {0}},
    {"one private address among others",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"127.0.0.1", "198.51.100.1"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1"}},
    {"private addresses where they are allowed",
     FOUND,
     {{10, "p.example", FOUND, NONE, {"127.0.0.1", "224.0.0.1", "0.0.0.0"}}},
     true,
     ROUTE_OK,
     {"127.0.0.1"}},
    {"one host twice, and one address under two names",
     FOUND,
     {{20, "p.example", FOUND, NONE, {"198.51.100.1"}},
      {10, "p.example", FOUND, NONE, {"198.51.100.1"}},
      {30, "q.example", FOUND, NONE, {"198.51.100.1", "198.51.100.2"}}},
     false,
     ROUTE_OK,
     {"198.51.100.1", "198.51.100.2"}},
    {"some hosts answer, some do not",
     FOUND,
     {{10, "p.example", SILENT, SILENT, {0}},
      {20, "q.example", FOUND, SILENT, {"198.51.100.2"}}},
     false,
     ROUTE_OK,
     {"198.51.100.2"}},
};

START_TEST(zone_gives_exactly_these_addresses)
{
    const struct zone *z = &zones[_i];
    size_t expected = 0;

    resolve(z);
    ck_assert_msg(route.result == z->result, "%s: %s", z->title,
                  route_result_text(route.result));
    for (; expected < 4 && z->expect[expected] != NULL; expected++) {
        bool found = false;

        for (size_t i = 0; i < route.count; i++) {
            found |= route_ip_eq(route.addrs[i].ip, ip(z->expect[expected]));
            ck_assert_uint_eq(route.addrs[i].port, 25);
        }
        ck_assert_msg(found, "%s: %s is missing", z->title, z->expect[expected]);
    }
    ck_assert_msg(route.count == expected, "%s: %zu addresses", z->title, route.count);
}
END_TEST

START_TEST(preferences_are_in_order_and_equal_ones_shuffled)
{
    static const struct zone z = {
        "equal",
        FOUND,
        {{20, "c.example", FOUND, NONE, {"198.51.100.5", "198.51.100.6"}},
         {10, "a.example", FOUND, NONE, {"198.51.100.1", "198.51.100.2"}},
         {10, "b.example", FOUND, NONE, {"198.51.100.3", "198.51.100.4"}}},
        false,
        ROUTE_OK,
        {0}};
    unsigned first[7] = {0};

    for (int i = 0; i < 4000; i++) {
        resolve(&z);
        ck_assert_uint_eq(route.count, 6);
        for (size_t k = 0; k < 6; k++)
            ck_assert_uint_eq(route.addrs[k].pref, k < 4 ? 10 : 20);
        first[route.addrs[0].ip.b[15]]++;
    }
    for (int k = 1; k <= 4; k++)
        ck_assert_uint_ge(first[k], 800);
    ck_assert_uint_eq(first[5] + first[6], 0);
}
END_TEST

START_TEST(only_hosts_better_than_us_are_looked_up)
{
    resolve(&zones[3]);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert(str_eq(plan.hosts[0].host, STR("p.example")));
    resolve(&zones[6]);
    ck_assert_int_eq(plan.result, ROUTE_LOOPS_TO_SELF);
}
END_TEST

START_TEST(unanswered_host_makes_the_route_short_lived)
{
    resolve(&zones[sizeof zones / sizeof *zones - 1]);
    ck_assert_uint_eq(route.ttl_s, 60);
    resolve(&zones[0]);
    ck_assert_uint_eq(route.ttl_s, 300);
}
END_TEST

START_TEST(private_addresses_are_known_in_every_disguise)
{
    static const char *const private[] = {"0.0.0.0",
                                          "0.1.2.3",
                                          "10.0.0.1",
                                          "100.64.0.1",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "127.255.255.254",
                                          "169.254.1.1",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.0.0.1",
                                          "192.168.255.255",
                                          "198.18.0.1",
                                          "198.19.255.255",
                                          "224.0.0.1",
                                          "239.255.255.255",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::127.0.0.1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::127.0.0.1",
                                          "64:ff9b::a00:1",
                                          "64:ff9b:1::1",
                                          "2002:7f00:1::1",
                                          "2002:c0a8:1::1",
                                          "fc00::1",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "fec0::1",
                                          "ff02::1",
                                          "100::1"};
    static const char *const public[] = {
        "1.1.1.1",     "9.255.255.255", "11.0.0.0",         "100.63.255.255",
        "100.128.0.0", "128.0.0.1",     "126.255.255.255",  "169.253.0.1",
        "172.15.0.1",  "172.32.0.1",    "192.0.1.1",        "192.167.0.1",
        "192.169.0.1", "198.17.0.1",    "198.20.0.1",       "223.255.255.255",
        "2a02:1::1",   "2001:4860::1",  "64:ff9b::8.8.8.8", "2002:808:808::1",
        "fbff::1",     "fe00::1",       "::ffff:8.8.8.8"};

    for (size_t i = 0; i < sizeof private / sizeof *private; i++)
        ck_assert_msg(route_ip_is_private(ip(private[i])), "%s", private[i]);
    for (size_t i = 0; i < sizeof public / sizeof *public; i++)
        ck_assert_msg(!route_ip_is_private(ip(public[i])), "%s", public[i]);
}
END_TEST

START_TEST(our_address_is_known_behind_nat64)
{
    static const struct zone z = {"nat64",
                                  FOUND,
                                  {{10, "p.example", NONE, FOUND, {"64:ff9b::203.0.113.1"}}},
                                  false,
                                  ROUTE_LOOPS_TO_SELF,
                                  {0}};

    resolve(&z);
    ck_assert_int_eq(route.result, ROUTE_LOOPS_TO_SELF);
}
END_TEST

/* A thousand records: the best hosts stay, whatever stands first. */
START_TEST(many_mx_records_are_cut_worst_first)
{
    static struct route_mx mx[1000];
    static char names[1000][24];

    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof names[i], "h%d.example", i);
        mx[i] = (struct route_mx){str_of(names[i]), (uint16_t)(2000 - i)};
    }
    mx[500].host = STR("mx1.trispool.example"); /* preference 1500 */
    route_plan(STR("customer.example"), FOUND, mx, 1000, &self, &rng, &plan);
    ck_assert_int_eq(plan.result, ROUTE_OK);
    ck_assert(plan.knows_self && plan.self_pref == 1500);
    ck_assert_uint_eq(plan.count, LIMIT_ROUTE_HOSTS);
    for (size_t i = 0; i < plan.count; i++)
        ck_assert_uint_eq(plan.hosts[i].pref, 1001 + i);
    for (int i = 0; i < 1000; i++)
        mx[i].host = STR("same.example");
    route_plan(STR("customer.example"), FOUND, mx, 1000, &self, &rng, &plan);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_uint_eq(plan.hosts[0].pref, 1001);
}
END_TEST

START_TEST(many_addresses_of_one_host_leave_room_for_the_others)
{
    static struct route_ip many[1000];
    struct route_ip other = ip("198.51.100.1");
    struct route_mx mx[] = {{STR("a.example"), 10}, {STR("b.example"), 20}};
    struct route_host hosts[2];

    for (int i = 0; i < 1000; i++)
        many[i] = route_ip_v4((uint8_t[4]){198, 51, (uint8_t)(101 + i / 256), (uint8_t)i});
    route_plan(STR("customer.example"), FOUND, mx, 2, &self, &rng, &plan);
    hosts[0] = (struct route_host){
        .name = STR("a.example"), .a = FOUND, .aaaa = NONE, .ips = many, .ip_count = 1000};
    hosts[1] = (struct route_host){
        .name = STR("b.example"), .a = FOUND, .aaaa = NONE, .ips = &other, .ip_count = 1};
    route_build(
        &(struct route_query){.plan = &plan, .hosts = hosts, .self = &self, .rng = &rng},
        &route);
    ck_assert_uint_eq(route.count, LIMIT_ROUTE_HOST_ADDRS + 1);
    ck_assert(route_ip_eq(route.addrs[LIMIT_ROUTE_HOST_ADDRS].ip, other));
}
END_TEST

/* The operator's word: neither private nor own addresses nor ports are judged. */
START_TEST(static_route_is_taken_as_it_stands)
{
    struct route_ip a[] = {ip("127.0.0.1"), ip("203.0.113.1")}, b = ip("10.0.0.1");
    struct route_host hosts[] = {
        {.name = STR("one.example"), .port = 2525, .a = FOUND, .ips = a, .ip_count = 2},
        {.name = STR("gone.example"), .a = SILENT},
        {.name = STR("10.0.0.1"), .a = FOUND, .aaaa = NONE, .ips = &b, .ip_count = 1}};

    route_build_static(hosts, 3, 3600, &route);
    ck_assert_int_eq(route.result, ROUTE_OK);
    ck_assert_uint_eq(route.count, 3);
    ck_assert(route_ip_eq(route.addrs[0].ip, a[0]) && route.addrs[0].port == 2525);
    ck_assert(route_ip_eq(route.addrs[1].ip, a[1]) && route.addrs[1].pref == 0);
    ck_assert(route_ip_eq(route.addrs[2].ip, b) && route.addrs[2].port == 25);
    ck_assert_uint_eq(route.addrs[2].pref, 2);
    ck_assert_uint_eq(route.ttl_s, 60);
    route_build_static(&hosts[1], 1, 3600, &route);
    ck_assert_int_eq(route.result, ROUTE_NO_ANSWER);
    hosts[1].a = hosts[1].aaaa = NX;
    route_build_static(&hosts[1], 1, 3600, &route);
    ck_assert_int_eq(route.result, ROUTE_NO_ADDRESS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *tc = tcase_create("route");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, zone_gives_exactly_these_addresses, 0,
                        (int)(sizeof zones / sizeof *zones));
    tcase_add_test(tc, preferences_are_in_order_and_equal_ones_shuffled);
    tcase_add_test(tc, only_hosts_better_than_us_are_looked_up);
    tcase_add_test(tc, unanswered_host_makes_the_route_short_lived);
    tcase_add_test(tc, private_addresses_are_known_in_every_disguise);
    tcase_add_test(tc, our_address_is_known_behind_nat64);
    tcase_add_test(tc, many_mx_records_are_cut_worst_first);
    tcase_add_test(tc, many_addresses_of_one_host_leave_room_for_the_others);
    tcase_add_test(tc, static_route_is_taken_as_it_stands);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
