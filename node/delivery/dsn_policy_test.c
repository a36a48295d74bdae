#include "node/delivery/dsn_policy.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define NOW      UINT64_C(86400000000)

static struct dsn_policy *p;
static struct envelope env;

static void setup(void)
{
    static const uint64_t seed[2] = {1, 2};

    free(p);
    p = calloc(1, sizeof *p);
    ck_assert_ptr_nonnull(p);
    dsn_policy_init(p, seed);
    env = (struct envelope){
        .sender = STR("a@x.example"), .domain = STR("d.example"), .sender_auth = SENDER_PASS};
}

static void teardown(void)
{
    free(p);
    p = NULL;
}

static bool is_told(uint64_t now_ms)
{
    return dsn_policy_ask(p, &env, DOMAIN_DSN_AUTHENTICATED, now_ms) == NULL;
}

static void from(unsigned i, char buf[static 32])
{
    env.sender = (struct str){buf, (size_t)snprintf(buf, 32, "u%u@x.example", i)};
}

START_TEST(only_an_authenticated_sender_is_told_unless_the_owner_says_otherwise)
{
    for (int a = SENDER_UNASKED; a <= SENDER_PERMERROR; a++) {
        env.sender_auth = (enum sender_auth)a;
        ck_assert_int_eq(is_told(NOW), a == SENDER_PASS);
        ck_assert_ptr_null(dsn_policy_ask(p, &env, DOMAIN_DSN_ALL, NOW));
        ck_assert_ptr_nonnull(dsn_policy_ask(p, &env, DOMAIN_DSN_NONE, NOW));
        setup();
    }
}
END_TEST

START_TEST(a_sender_is_told_so_often_and_no_more_until_the_time_is_over)
{
    for (int i = 0; i < LIMIT_DSN_PER_SENDER; i++)
        ck_assert(is_told(NOW + (uint64_t)i));
    ck_assert(!is_told(NOW + 100));
    env.sender = STR("A@X.Example"); /* the same one */
    ck_assert(!is_told(NOW + 100));
    env.sender = STR("b@x.example");
    ck_assert(is_told(NOW + 100));
    env.sender = STR("a@x.example");
    ck_assert(!is_told(NOW + LIMIT_DSN_RATE_MS - 1));
    ck_assert(is_told(NOW + LIMIT_DSN_RATE_MS));
}
END_TEST

START_TEST(what_is_refused_does_not_count)
{
    env.sender_auth = SENDER_FAIL;
    for (int i = 0; i < 100; i++)
        ck_assert(!is_told(NOW));
    env.sender_auth = SENDER_PASS;
    ck_assert(is_told(NOW));
}
END_TEST

START_TEST(what_did_not_come_about_does_not_count)
{
    for (int i = 0; i < LIMIT_DSN_PER_SENDER; i++)
        ck_assert(is_told(NOW));
    dsn_policy_undo(p, &env);
    ck_assert(is_told(NOW));
    ck_assert(!is_told(NOW));
    setup();
    dsn_policy_undo(p, &env); /* of a counter that began anew meanwhile */
    ck_assert(is_told(1));
}
END_TEST

START_TEST(a_domain_tells_so_many_and_no_more_until_the_time_is_over)
{
    char buf[32];
    unsigned told = 0, i = 0;

    for (; i < 2 * LIMIT_DSN_PER_DOMAIN; i++) {
        from(i, buf);
        told += is_told(NOW);
    }
    ck_assert_uint_eq(told, LIMIT_DSN_PER_DOMAIN);
    env.domain = STR("other.example");
    ck_assert(is_told(NOW));
    env.domain = STR("d.example");
    from(i, buf);
    ck_assert(is_told(NOW + LIMIT_DSN_RATE_MS));
}
END_TEST

/* More senders than places: nobody is told more often than the limit says. */
START_TEST(no_number_of_senders_loosens_the_limit)
{
    char buf[32];

    for (int round = 0; round <= LIMIT_DSN_PER_SENDER; round++)
        for (unsigned i = 0; i < 2 * LIMIT_DSN_RATE_PLACES; i += 16) {
            char domain[32];

            from(i, buf);
            env.domain =
                (struct str){domain, (size_t)snprintf(domain, sizeof domain, "d%u.example", i)};
            ck_assert(!is_told(NOW) || round < LIMIT_DSN_PER_SENDER);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dsn_policy");
    TCase *tc = tcase_create("policy");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_an_authenticated_sender_is_told_unless_the_owner_says_otherwise);
    tcase_add_test(tc, a_sender_is_told_so_often_and_no_more_until_the_time_is_over);
    tcase_add_test(tc, what_is_refused_does_not_count);
    tcase_add_test(tc, what_did_not_come_about_does_not_count);
    tcase_add_test(tc, a_domain_tells_so_many_and_no_more_until_the_time_is_over);
    tcase_add_test(tc, no_number_of_senders_loosens_the_limit);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
