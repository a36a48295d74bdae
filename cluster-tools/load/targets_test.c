/* The order in which a sender tries targets, and when it stops. */
#include "cluster-tools/load/targets.h"

#include <check.h>
#include <string.h>

static struct targets t;
static struct prng prng;
static struct walk w;

static void add(const char *text)
{
    struct str bad;

    ck_assert_int_eq(targets_add(&t, (struct str){text, strlen(text)}, &bad), OK);
}

static void setup(void)
{
    memset(&t, 0, sizeof t);
    prng_seed(&prng, 1);
}

START_TEST(lists_are_taken_apart_and_mistakes_are_pointed_at)
{
    struct str bad = STR("");

    add("127.0.0.1:25/20,[::1]:26,127.0.0.1:27/0");
    ck_assert_uint_eq(t.n, 3);
    ck_assert_uint_eq(t.list[0].preference, 20);
    ck_assert_uint_eq(t.list[1].preference, TARGETS_DEFAULT_PREFERENCE);
    ck_assert_uint_eq(t.list[2].preference, 0);
    ck_assert_str_eq(t.list[1].address.text, "[::1]:26");

    ck_assert_int_eq(targets_add(&t, STR("127.0.0.1:25,127.0.0.1:x"), &bad), E_PROTO);
    ck_assert(str_eq(bad, STR("127.0.0.1:x")));
    ck_assert_int_eq(targets_add(&t, STR("127.0.0.1:25/-1"), &bad), E_PROTO);
    ck_assert_int_eq(targets_add(&t, STR(""), &bad), E_PROTO);
}
END_TEST

START_TEST(the_lowest_preference_comes_first_and_equals_in_random_order)
{
    unsigned first_of_equals[4] = {0};

    add("127.0.0.1:1/30,127.0.0.1:2/10,127.0.0.1:3/10,127.0.0.1:4/5");
    for (int i = 0; i < 400; i++) {
        walk_start(&w, &t, &prng, TARGETS_NONE);
        ck_assert_uint_eq(w.order[0], 3);
        ck_assert_uint_eq(w.order[3], 0);
        ck_assert_uint_eq(w.order[1] + w.order[2], 1 + 2);
        first_of_equals[w.order[1]]++;
    }
    ck_assert_uint_gt(first_of_equals[1], 100);
    ck_assert_uint_gt(first_of_equals[2], 100);
}
END_TEST

/* Measured: two sessions that end in a 4xx spend Postfix' budget, refused banners do not. */
START_TEST(the_budget_of_completed_sessions_ends_an_attempt)
{
    static const struct {
        struct walk_budget budget;
        unsigned completed; /* of the first targets */
        unsigned tried;     /* in all */
    } cases[] = {
        {{5, 2}, 0, 4}, {{5, 2}, 1, 4}, {{5, 2}, 2, 2}, {{0, 1}, 1, 1},
        {{0, 0}, 4, 4}, {{3, 0}, 0, 3}, {{5, 1}, 0, 4},
    };
    unsigned tried = 0;

    add("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4");
    walk_start(&w, &t, &prng, TARGETS_NONE);
    while (walk_next(&w, &t, cases[_i].budget, 0) != TARGETS_NONE)
        if (++tried <= cases[_i].completed)
            walk_completed(&w);
    ck_assert_uint_eq(tried, cases[_i].tried);
}
END_TEST

START_TEST(an_open_session_is_tried_first_and_the_others_stay)
{
    int at, seen = 0;

    add("127.0.0.1:1/10,127.0.0.1:2/20,127.0.0.1:3/30");
    walk_start(&w, &t, &prng, 1);
    while ((at = walk_next(&w, &t, (struct walk_budget){0, 0}, 0)) != TARGETS_NONE)
        seen = seen * 10 + at + 1;
    ck_assert_int_eq(seen, 13);
    walk_start(&w, &t, &prng, 1);
    ck_assert_int_eq(walk_next(&w, &t, (struct walk_budget){0, 1}, 0), TARGETS_NONE);
}
END_TEST

START_TEST(a_target_that_was_down_is_passed_over_unless_it_is_the_last)
{
    add("127.0.0.1:1/10,127.0.0.1:2/20");
    t.list[0].down_until_us = 100;
    walk_start(&w, &t, &prng, TARGETS_NONE);
    ck_assert_int_eq(walk_next(&w, &t, (struct walk_budget){1, 0}, 99), 1);
    walk_start(&w, &t, &prng, TARGETS_NONE);
    ck_assert_int_eq(walk_next(&w, &t, (struct walk_budget){1, 0}, 100), 0);
    t.list[1].down_until_us = 100;
    walk_start(&w, &t, &prng, TARGETS_NONE);
    ck_assert_int_eq(walk_next(&w, &t, (struct walk_budget){1, 0}, 99), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("targets");
    TCase *tc = tcase_create("walk");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, lists_are_taken_apart_and_mistakes_are_pointed_at);
    tcase_add_test(tc, the_lowest_preference_comes_first_and_equals_in_random_order);
    tcase_add_loop_test(tc, the_budget_of_completed_sessions_ends_an_attempt, 0, 7);
    tcase_add_test(tc, an_open_session_is_tried_first_and_the_others_stay);
    tcase_add_test(tc, a_target_that_was_down_is_passed_over_unless_it_is_the_last);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
