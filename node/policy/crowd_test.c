#include "node/policy/crowd.h"

#include <check.h>
#include <pthread.h>

#include "base/prng.h"

static struct crowd crowd;
static const uint64_t secret[2] = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};
#define NOW UINT64_C(5000000)

static void setup(void)
{
    memset(&crowd, 0, sizeof crowd);
    crowd_init(&crowd, secret);
}

static struct ip_addr ip(const char *text)
{
    struct ip_addr a;

    ck_assert(ip_parse(str_of(text), &a));
    return a;
}

static struct ip_addr nth(uint32_t n)
{
    uint8_t b[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

    return ip_v4(b);
}

START_TEST(as_many_as_the_limit_says_are_in_and_one_that_leaves_makes_room)
{
    struct crowd_terms terms = {.inside = 3};
    struct crowd_place p[4];
    struct ip_addr who = ip("192.0.2.1");

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p[i]), CROWD_IN);
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p[3]), CROWD_TOO_MANY);
    ck_assert(!p[3].is_inside);
    crowd_leave(&crowd, &p[3]); /* of nowhere: counts nobody out */
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p[3]), CROWD_TOO_MANY);
    crowd_leave(&crowd, &p[0]);
    crowd_leave(&crowd, &p[0]); /* once is enough */
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p[0]), CROWD_IN);
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p[3]), CROWD_TOO_MANY);
}
END_TEST

START_TEST(a_limit_that_is_lowered_counts_for_the_next)
{
    struct crowd_terms wide = {.inside = 5}, narrow = {.inside = 2};
    struct crowd_place p[5], one;
    struct ip_addr who = ip("2001:db8::1");

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(crowd_enter(&crowd, &who, &wide, NOW, &p[i]), CROWD_IN);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(crowd_enter(&crowd, &who, &narrow, NOW, &one), CROWD_TOO_MANY);
        crowd_leave(&crowd, &p[i]);
    }
    ck_assert_int_eq(crowd_enter(&crowd, &who, &narrow, NOW, &one), CROWD_IN);
}
END_TEST

/* One session that comes and goes at once. */
static enum crowd_verdict visit(const struct ip_addr *who, uint32_t per_minute, uint64_t now_ms)
{
    struct crowd_terms terms = {.inside = 1, .per_minute = per_minute};
    struct crowd_place p;
    enum crowd_verdict v = crowd_enter(&crowd, who, &terms, now_ms, &p);

    crowd_leave(&crowd, &p);
    return v;
}

START_TEST(a_minutes_sessions_may_come_at_once_and_then_one_at_a_time)
{
    struct ip_addr who = ip("192.0.2.1");

    for (int i = 0; i < 60; i++)
        ck_assert_int_eq(visit(&who, 60, NOW), CROWD_IN);
    for (int i = 0; i < 1000; i++) /* refused ones cost nothing */
        ck_assert_int_eq(visit(&who, 60, NOW + 999), CROWD_TOO_FAST);
    ck_assert_int_eq(visit(&who, 60, NOW + 1000), CROWD_IN);
    ck_assert_int_eq(visit(&who, 60, NOW + 1000), CROWD_TOO_FAST);
    for (int i = 0; i < 60; i++) /* the bucket holds one minute's and no more */
        ck_assert_int_eq(visit(&who, 60, NOW + 1000000), CROWD_IN);
    ck_assert_int_eq(visit(&who, 60, NOW + 1000000), CROWD_TOO_FAST);
}
END_TEST

START_TEST(one_that_is_too_fast_is_not_counted_as_inside)
{
    struct crowd_terms terms = {.inside = 2, .per_minute = 1};
    struct crowd_place a, b;
    struct ip_addr who = ip("192.0.2.1");

    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &a), CROWD_IN);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &b), CROWD_TOO_FAST);
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW + 60000, &b), CROWD_IN);
}
END_TEST

START_TEST(one_that_was_not_to_be_gives_its_rate_back)
{
    struct crowd_terms terms = {.inside = 1, .per_minute = 2};
    struct crowd_place p;
    struct ip_addr who = ip("192.0.2.1");

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p), CROWD_IN);
        crowd_undo(&crowd, &terms, &p);
        crowd_undo(&crowd, &terms, &p); /* of nowhere */
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p), CROWD_IN);
        crowd_leave(&crowd, &p);
    }
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &p), CROWD_TOO_FAST);
}
END_TEST

START_TEST(no_rate_is_no_limit)
{
    struct ip_addr who = ip("192.0.2.1");

    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(visit(&who, 0, NOW), CROWD_IN);
}
END_TEST

/* 2,000 clients that have all they may have: what strangers can do to others by their number.
 */
START_TEST(strangers_at_their_limit_shut_nobody_else_out)
{
    struct crowd_terms terms = {.inside = 50, .per_minute = 50};
    struct crowd_place p;
    unsigned shut = 0;

    for (uint32_t n = 0; n < 2000; n++) {
        struct ip_addr who = nth(n);

        for (int i = 0; i < 50; i++)
            (void)crowd_enter(&crowd, &who, &terms, NOW, &p);
    }
    for (uint32_t n = 0; n < 20000; n++) {
        struct ip_addr other = nth(0xC0000000u + n);

        shut += crowd_enter(&crowd, &other, &terms, NOW, &p) != CROWD_IN;
        crowd_leave(&crowd, &p);
    }
    ck_assert_uint_le(shut, 20); /* expected: 4 */
}
END_TEST

/* Two neighbours under one secret are elsewhere under another. */
START_TEST(who_shares_a_cell_depends_on_the_secret)
{
    struct crowd_terms terms = {.inside = 1};
    struct crowd_place a, b;
    struct ip_addr who = ip("192.0.2.1");
    int same = 0;

    (void)crowd_enter(&crowd, &who, &terms, NOW, &a);
    crowd_init(&crowd, (const uint64_t[2]){1, 2});
    ck_assert_int_eq(crowd_enter(&crowd, &who, &terms, NOW, &b), CROWD_IN);
    for (int i = 0; i < CROWD_ROWS; i++)
        same += a.cells[i] == b.cells[i];
    ck_assert_int_eq(same, 0);
}
END_TEST

static const struct {
    const char *ip, *client, *network;
} kin[] = {
    {"192.0.2.77", "192.0.2.77", "192.0.2.0"},
    {"::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"},
    {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"},
    {"::1", "::", "::"},
};

START_TEST(a_client_is_an_address_or_a_64_and_its_network_a_24_or_a_48)
{
    struct ip_addr who = ip(kin[_i].ip), client = crowd_client(&who),
                   network = crowd_network(&who), want = ip(kin[_i].client);

    ck_assert(ip_eq(&client, &want));
    want = ip(kin[_i].network);
    ck_assert(ip_eq(&network, &want));
}
END_TEST

#define THREADS 4
#define VISITS  5000
static atomic_int inside_now, most_inside;

static void *come_and_go(void *arg)
{
    struct crowd_terms terms = {.inside = 2, .per_minute = 100000};
    struct crowd_place p;
    struct ip_addr who = ip("192.0.2.1");

    (void)arg;
    for (int i = 0; i < VISITS; i++) {
        if (crowd_enter(&crowd, &who, &terms, NOW, &p) != CROWD_IN)
            continue;
        int now = atomic_fetch_add(&inside_now, 1) + 1, most = atomic_load(&most_inside);

        while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now))
            ;
        atomic_fetch_sub(&inside_now, 1);
        crowd_leave(&crowd, &p);
    }
    return NULL;
}

START_TEST(threads_never_let_in_more_than_the_limit_and_forget_nobody)
{
    struct crowd_terms one = {.inside = 1};
    struct crowd_place p;
    struct ip_addr who = ip("192.0.2.1");
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, come_and_go, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    ck_assert_int_le(atomic_load(&most_inside), 2);
    ck_assert_int_eq(crowd_enter(&crowd, &who, &one, NOW, &p), CROWD_IN); /* all are out */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("crowd");
    TCase *t = tcase_create("crowd");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, as_many_as_the_limit_says_are_in_and_one_that_leaves_makes_room);
    tcase_add_test(t, a_limit_that_is_lowered_counts_for_the_next);
    tcase_add_test(t, a_minutes_sessions_may_come_at_once_and_then_one_at_a_time);
    tcase_add_test(t, one_that_is_too_fast_is_not_counted_as_inside);
    tcase_add_test(t, one_that_was_not_to_be_gives_its_rate_back);
    tcase_add_test(t, no_rate_is_no_limit);
    tcase_add_test(t, strangers_at_their_limit_shut_nobody_else_out);
    tcase_add_test(t, who_shares_a_cell_depends_on_the_secret);
    tcase_add_loop_test(t, a_client_is_an_address_or_a_64_and_its_network_a_24_or_a_48, 0,
                        sizeof kin / sizeof *kin);
    tcase_add_test(t, threads_never_let_in_more_than_the_limit_and_forget_nobody);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
